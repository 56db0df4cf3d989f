"""CBIS-DDSM, scanned film mammograms with outlined masses -> slices.

R. S. Lee et al., *A curated mammography data set for use in computer-aided detection and diagnosis research*,
Scientific Data 4, 2017. The paths in its tables do not match what is downloaded, so files are found by PatientID and
SeriesInstanceUID: in a DICOM tree by the files' headers, in the JPEG layout by the folder jpeg/<SeriesInstanceUID>/.
A lesion's mask and its crop often share a series, in either order: the mask has the size of the whole image.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pig.core.errors import InputError
from pig.data.images import jpeg_shape
from pig.data.readers.dicom import Header, read_frame, read_header, read_mask
from pig.data.readers.folder import Found, Opened, Rejected, Slice, read_case, shown, usable
from pig.data.readers.listing import files_below, fit_name, known, read_tables
from pig.data.readers.pixels import LOSSY, UnusableError, lesion

TABLES = "mass_case_description_*_set.csv"
IMAGE, CROP, MASK = "image file path", "cropped image file path", "ROI mask file path"
PATIENT, SIDE, VIEW, PATHOLOGY = "patient_id", "left or right breast", "image view", "pathology"
PATHOLOGIES = ("malignant", "benign", "benign_without_callback")
NO_MASK = "no single mask of the image's size"
SIDES = {"LEFT": "L", "RIGHT": "R"}


Series = dict[str, list[Header]]  # by SeriesInstanceUID


def find(root: Path, watch: Callable[[Sequence[Path]], Iterable[Path]] = iter) -> Found:
    """The images of the tables of masses below `root`, each with all its lesions; headers are read, no pixels.

    Raises:
        InputError: no tables, or tables of something else.
    """
    files = list(files_below(root))
    tables = [path for path in files if path.match(TABLES)]
    if not tables:
        raise InputError(f"{root}: expected {TABLES} in it or below")
    table = read_tables(tables, [PATIENT, SIDE, VIEW, PATHOLOGY, IMAGE, CROP, MASK])
    series, rejected = _series(files, watch)
    groups = table.groupby(IMAGE, sort=True)
    slices = usable(lambda group: _slice(str(group[0]), group[1], series), groups, rejected)
    return Found(list(slices), rejected)


def _series(
    files: Sequence[Path], watch: Callable[[Sequence[Path]], Iterable[Path]]
) -> tuple[Series, Rejected]:
    """Files by SeriesInstanceUID: DICOM files where there are any, else those of folders in `jpeg`."""
    series: Series = {}
    rejected: Rejected = []
    dicoms = [path for path in files if path.suffix.lower() == ".dcm"]
    jpegs = [path for path in files if path.suffix.lower() in LOSSY and path.parent.parent.name == "jpeg"]
    for file in usable(read_header if dicoms else _jpeg, watch(dicoms or jpegs), rejected):
        series.setdefault(file.series, []).append(file)
    return series, rejected


def _jpeg(path: Path) -> Header:
    shape = jpeg_shape(path)
    if shape is None:
        raise UnusableError(path, "broken file", "expected a whole image")
    return Header(path, "", path.parent.name, shape)


def _slice(key: str, lesions: pd.DataFrame, series: Series) -> Slice:
    """One image and all its lesions, or none of it: an image with a lesion that is not marked would be wrong."""
    image = _files(key, series)
    if len(image) != 1:
        raise UnusableError(Path(key), "no single file of the image", f"found {len(image)} of that series")
    masks = [_mask(row, image[0], series) for _, row in lesions.iterrows()]
    first = lesions.iloc[0]
    if not first[PATIENT] or len(lesions[[PATIENT, SIDE, VIEW]].drop_duplicates()) > 1:
        detail = "expected one in all rows of the table"
        raise UnusableError(image[0].path, "more or less than one patient, side and view", detail)
    side, view = SIDES.get(first[SIDE].upper()), first[VIEW].upper()
    if side is None or view not in ("CC", "MLO"):
        raise UnusableError(image[0].path, "unknown side or view", "expected LEFT or RIGHT, CC or MLO")
    row = {
        "id": fit_name(f"{first[PATIENT]}_{side}_{view}_{_parts(key)[-1][-12:]}"),
        "patient": first[PATIENT],
        "file": shown(image[0].path),
        "view": view,
        "slice": "",
        "origin": "cbis-ddsm",
        "seed": "",
        "side": side,
        "mask_rule": "mask",
        "lesions": str(len(masks)),
        "finding": known(lesions[PATHOLOGY], PATHOLOGIES),
        "part": "+".join(sorted(set(lesions["part"]))),
    }
    return Slice(row, partial(_read, image[0].path, tuple(masks)))


def _parts(path: str) -> list[str]:
    """PatientID, StudyInstanceUID and SeriesInstanceUID of a path of the tables."""
    parts = path.split("/")
    if len(parts) < 4:
        raise UnusableError(Path(path), "path that leads elsewhere", "expected patient/study/series/file")
    return parts[:3]


def _files(path: str, series: Series) -> list[Header]:
    patient, _, uid = _parts(path)
    return [file for file in series.get(uid, []) if file.patient in ("", patient)]


def _mask(row: "pd.Series[str]", image: Header, series: Series) -> Path:
    """The one file of a lesion's series that has the image's size; the others are crops."""
    files = {file.path: file.shape for key in (MASK, CROP) for file in _files(row[key], series)}
    fitting = sorted(path for path, shape in files.items() if shape == image.shape and path != image.path)
    if len(fitting) != 1:
        height, width = image.shape
        found = ", ".join(f"{w}x{h}" for h, w in files.values()) or "no file of that series"
        raise UnusableError(Path(row[MASK]), NO_MASK, f"expected one of {width}x{height}, found {found}")
    return fitting[0]


def _read(image: Path, masks: tuple[Path, ...]) -> Opened:
    if image.suffix.lower() in LOSSY:
        opened = [read_case(image, mask) for mask in masks]
        stored, grey = opened[0].stored, opened[0].grey
        lesions = [each.mask for each in opened]
    else:
        stored, grey = read_frame(image)
        lesions = [lesion(read_mask(mask), mask) for mask in masks]
    for path, found in zip(masks, lesions, strict=True):
        if not found.any():
            raise UnusableError(path, "empty mask", "expected a lesion")
    return Opened(stored, grey, np.logical_or.reduce(lesions))
