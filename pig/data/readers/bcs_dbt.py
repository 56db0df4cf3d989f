"""BCS-DBT (Duke), breast tomosynthesis with boxes around lesions -> slices.

M. Buda et al., *A data set and deep learning algorithm for the detection of masses and architectural distortions in
digital breast tomosynthesis images*, JAMA Network Open 4, 2021. One file is one view of many frames. The tables are
joined on PatientID, StudyUID and View, where a view may carry a digit (lcc2). Boxes hold for an image that lies as its
view says: if the chest wall is on the other side, the frame is rotated by 180 degrees first. There are boxes and no
outlines: a mask is made by a rule of `shapes.BOX_RULES`, and pairs.csv names the rule.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from pig.core.errors import InputError
from pig.data.readers.breast import side
from pig.data.readers.dicom import NO_SLICE, read_frame
from pig.data.readers.folder import Found, Opened, Rejected, Slice, shown, usable
from pig.data.readers.listing import MISSING, files_below, fit_name, known, read_tables
from pig.data.readers.pixels import UnusableError
from pig.data.readers.shapes import BOX_RULES, Box

PATHS, BOXES = "BCS-DBT-file-paths-*.csv", "BCS-DBT-boxes-*.csv"
KEY = ["PatientID", "StudyUID", "View"]
PLACES = ["descriptive_path", "classic_path"]
NUMBERS = ["Slice", "X", "Y", "Width", "Height", "VolumeSlices"]
CLASSES = ("benign", "cancer")
WHOLE = r"-?\d{1,9}(\.0*)?"
VIEW = re.compile(r"([lr])(cc|mlo)\d*")


def find(root: Path, rule: str, slices: int = 1, distortions: bool = True) -> Found:
    """Frames with lesions of the views below `root`: no file is opened but the tables.

    Args:
        rule: of BOX_RULES, box -> mask.
        slices: frames of a lesion, its central one and the nearest around it, all with the same box; where boxes
            of a view share a frame they are united.
        distortions: whether architectural distortions (AD 1) count as lesions; if not, only masses do.

    Raises:
        InputError: no tables, or tables of something else.
    """
    files = list(files_below(root))
    named = {each: latest([path for path in files if path.match(each)]) for each in (PATHS, BOXES)}
    for each, tables in named.items():
        if not tables:
            raise InputError(f"{root}: expected {each} in it or below")
    paths = read_tables(named[PATHS], [*KEY, *PLACES])
    boxes = read_tables(named[BOXES], [*KEY, *NUMBERS, "Class", "AD"])
    for table in (paths, boxes):
        table["View"] = table["View"].str.lower()
    masses = boxes if distortions else boxes[boxes["AD"] != "1"]
    marked = set(map(tuple, boxes[KEY].to_numpy()))
    plain = sum(tuple(key) not in marked for key in paths[KEY].drop_duplicates().to_numpy())
    skipped = {"view without a box": plain, "architectural distortion": len(boxes) - len(masses)}
    places = {tuple(row[KEY]): row for _, row in paths.iterrows()}
    rejected: Rejected = []

    def view(group: tuple[Any, pd.DataFrame]) -> list[Slice]:
        key = tuple(map(str, group[0]))
        return _view(_file(root, key, places.get(key)), key, group[1], rule, slices)

    views = usable(view, masses.groupby(KEY, sort=True), rejected)
    return Found([each for found in views for each in found], rejected, skipped)


def latest(tables: Sequence[Path]) -> list[Path]:
    """Of tables that differ by a version only (-v2) the highest of each."""
    best: dict[str, tuple[int, Path]] = {}
    for path in tables:
        found = re.fullmatch(r"(.*?)(?:-v(\d+))?", path.stem)
        assert found is not None
        best[found[1]] = max(best.get(found[1], (0, path)), (int(found[2] or 1), path))
    return [path for _, path in best.values()]


def _file(root: Path, key: tuple[str, ...], row: "pd.Series[str] | None") -> Path:
    """The view's file: by either of its two paths, from `root`, the folder above, or a manifest's folder in it."""
    if row is None:
        raise UnusableError(Path("-".join(key)), MISSING, "expected a path in the tables")
    for name in PLACES:
        place = PurePosixPath(row[name])
        if place.is_absolute() or ".." in place.parts:
            raise UnusableError(Path(row[name]), "path that leads elsewhere", "expected it in the folder")
        for base in (root, root.absolute().parent, *sorted(root.glob("manifest-*"))):
            if row[name] and (base / place).is_file():
                return base / place
    raise UnusableError(Path(row[PLACES[0]]), MISSING, "expected it below the folder")


def _view(path: Path, key: tuple[str, ...], lesions: pd.DataFrame, rule: str, slices: int) -> list[Slice]:
    patient, study, view = key
    told = VIEW.fullmatch(view)
    if told is None or not patient:
        raise UnusableError(path, "no patient, or unknown view", f"expected one such as lcc; found {view}")
    if not lesions[NUMBERS].apply(lambda column: column.str.fullmatch(WHOLE)).all(axis=None):
        raise UnusableError(path, "box that is none", f"expected whole numbers {', '.join(NUMBERS)}")
    numbers = lesions[NUMBERS].astype(float).astype(int).to_numpy()
    frames = int(numbers[0, -1])
    boxes: dict[int, list[int]] = {}  # frame -> rows of its lesions
    for i, (centre, *_) in enumerate(numbers):
        if not 0 <= centre < frames:
            raise UnusableError(path, NO_SLICE, f"expected 0..{frames - 1} in the table, found {centre}")
        first = centre - (slices - 1) // 2
        for frame in range(max(0, first), min(frames, first + slices)):
            boxes.setdefault(frame, []).append(i)
    laterality, projection = told.groups()
    out = []
    for frame, chosen in sorted(boxes.items()):
        row = {
            "id": fit_name(f"{patient}-{study}-{view}-{frame:03d}"),
            "patient": patient,
            "file": shown(path),
            "view": projection.upper(),
            "slice": str(frame),
            "origin": "bcs-dbt",
            "seed": "",
            "side": laterality.upper(),
            "mask_rule": rule,
            "lesions": str(len(chosen)),
            "finding": known(lesions["Class"].iloc[chosen], CLASSES),
            "part": lesions["part"].iloc[0],
        }
        placed = [Box(*map(int, numbers[i, 1:5])) for i in chosen]
        out.append(Slice(row, partial(_read, path, frame, frames, laterality.upper(), placed, rule)))
    return out


def _read(path: Path, frame: int, frames: int, laterality: str, boxes: list[Box], rule: str) -> Opened:
    stored, grey = read_frame(path, frame, frames)
    if side(stored) != laterality:
        stored, grey = stored[::-1, ::-1], grey[::-1, ::-1].copy()
    for box in boxes:
        if not grey[box.seen(grey.shape)].size:
            height, width = grey.shape
            detail = f"expected it within {width}x{height} pixels, found {tuple(box)}"
            raise UnusableError(path, "box outside of the image", detail)
    return Opened(stored, grey, np.logical_or.reduce([BOX_RULES[rule](grey, box) for box in boxes]))
