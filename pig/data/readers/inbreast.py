"""INbreast, full-field digital mammograms with polygons around masses -> slices.

I. C. Moreira et al., *INbreast: toward a full-field digital mammographic database*, Academic Radiology 19, 2012. A
patient is told by the hash in a file's name alone: INbreast.csv has "removed" in its place. Masses only. What the names
call ML is the view MLO.
"""

import plistlib
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

import numpy as np
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.data.readers.dicom import read_frame
from pig.data.readers.folder import Found, Opened, Rejected, Slice, shown, usable
from pig.data.readers.listing import MISSING, files_below, read_table
from pig.data.readers.pixels import UnusableError
from pig.data.readers.shapes import polygon

NAME = re.compile(r"(\d+)_([0-9a-z]+)_MG_([LR])_(CC|MLO?)_ANON\.dcm", re.IGNORECASE)
POINT = re.compile(r"\(\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*\)")
BI_RADS = re.compile(r"[0-6][abc]?")
NO_MASS = "outline that is none"
TABLE, FILE, GRADE = "INbreast.csv", "File Name", "Bi-Rads"


def find(root: Path) -> Found:
    """The mammograms with masses below `root`; the files of polygons are read, no pixels.

    Raises:
        InputError: no table, or a table of something else.
    """
    files = list(files_below(root))
    tables = [path for path in files if path.name == TABLE]
    if len(tables) != 1:
        raise InputError(f"{root}: expected one {TABLE} in it or below, found {len(tables)}")
    table = read_table(tables[0], [FILE], ";")
    grades = dict(zip(table[FILE], table[GRADE], strict=True)) if GRADE in table else {}
    outlines = {path.stem: path for path in files if path.suffix == ".xml" and path.parent.name == "AllXML"}
    images = [path for path in files if path.suffix.lower() == ".dcm" and path.parent.name == "AllDICOMs"]
    rejected: Rejected = []
    found = list(usable(lambda path: _slice(path, outlines, grades), images, rejected))
    slices = [each for each in found if each is not None]
    there = {path.name.split("_")[0] for path in images}
    for name in table[FILE]:
        if name and name not in there:
            rejected.append(UnusableError(Path(name), MISSING, f"{TABLE} names it, AllDICOMs lacks it"))
    return Found(slices, rejected, {"no mass": len(found) - len(slices)})


def _slice(path: Path, outlines: Mapping[str, Path], grades: Mapping[str, str]) -> Slice | None:
    """The slice of a file, or None if no mass is marked in it."""
    named = NAME.fullmatch(path.name)
    if named is None:
        form = "<id>_<patient>_MG_<L|R>_<CC|ML>_ANON.dcm"
        raise UnusableError(path, "unknown form of name", f"expected {form}")
    number, patient, side, view = named.groups()
    masses = read_masses(outlines[number]) if number in outlines else []
    if not masses:
        return None
    row = {
        "id": number,
        "patient": patient.lower(),
        "file": shown(path),
        "view": "CC" if view.upper() == "CC" else "MLO",
        "slice": "",
        "origin": "inbreast",
        "seed": "",
        "side": side.upper(),
        "mask_rule": "polygon",
        "lesions": str(len(masses)),
        "finding": f"BI-RADS {grade}" if BI_RADS.fullmatch(grade := grades.get(number, "")) else "",
        "part": "",
    }
    return Slice(row, partial(_read, path, masses))


def read_masses(path: Path) -> list[NDArray[np.float64]]:
    """The polygons, (N, 2) of (x, y) in pixels, of the regions named Mass in a file of AllXML. Raises UnusableError."""
    try:
        with path.open("rb") as file:
            regions = plistlib.load(file, fmt=plistlib.FMT_XML)["Images"][0]["ROIs"]
            masses = [each for each in regions if each["Name"].strip().lower() == "mass"]
            return [_points(path, each) for each in masses]
    except UnusableError:
        raise
    except (ExpatError, AttributeError, LookupError, TypeError, ValueError):
        detail = "expected a plist of Images[0].ROIs with Name and Point_px"
        raise UnusableError(path, "broken file", detail) from None


def _points(path: Path, region: Mapping[str, Any]) -> NDArray[np.float64]:
    points = [POINT.fullmatch(text.strip()) for text in region["Point_px"]]
    if len(points) != region["NumberOfPoints"] or len(points) < 3 or None in points:
        raise UnusableError(path, NO_MASS, f"expected 3 or more points (x, y), found {len(points)}")
    return np.array([[float(number) for number in point.groups()] for point in points if point])


def _read(path: Path, masses: list[NDArray[np.float64]]) -> Opened:
    stored, grey = read_frame(path)
    mask = np.logical_or.reduce([polygon(points, grey.shape) for points in masses])
    if not mask.any():
        raise UnusableError(path, NO_MASS, "expected a mass within the image")
    return Opened(stored, grey, mask)
