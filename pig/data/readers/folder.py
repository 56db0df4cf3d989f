"""A user's own images and masks -> pairs: matched by name, checked, cropped, resized.

An image is made grey and 8-bit (see `pixels.window`), blank borders are cut from image and mask alike, and both are
resized to one size, the aspect ratio not kept (paper: 512x512). An empty mask stays: a slice without lesion.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.core.reading import listed, read_csv
from pig.data.pairs import Pairs, check_memory
from pig.data.readers.pixels import (
    LOSSY,
    Pixels,
    Size,
    UnusableError,
    decode,
    lesion,
    resize,
    resize_mask,
    window,
)

Crop: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.bool_]], tuple[slice, slice]]
Rejected: TypeAlias = list[tuple[str, str]]  # (file, reason)
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", *LOSSY)
FILES = ("stem", "id", "image", "file")  # columns of a table of patients, the first that is there
PATIENTS = ("patient", "group", "patient_id")


@dataclass(frozen=True)
class Case:
    """An image file and the mask file of the same name."""

    id: str
    patient: str
    image: Path
    mask: Path


class Opened(NamedTuple):
    """One slice at full size: the file's own values, those as grey levels, and the lesion, each (H, W)."""

    stored: Pixels
    grey: NDArray[np.uint8]
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Slice:
    """What a slice's row of pairs.csv says, and how it is read; `read` raises UnusableError."""

    row: Mapping[str, str]
    read: Callable[[], Opened]


@dataclass(frozen=True)
class Found:
    """A data set before its pixels are read.

    rejected: what is missing or cannot be used. skipped: reason -> how many others the data set's own rules leave out.
    """

    slices: Sequence[Slice]
    rejected: Rejected
    skipped: Mapping[str, int] = field(default_factory=dict)


def read_all(
    found: Found, size: Size, crop: Crop | None, watch: Callable[[Sequence[Slice]], Iterable[Slice]] = iter
) -> tuple[Pairs, Rejected]:
    """Pairs of `size` (height, width), one slice in memory at a time, and what cannot be used, with its reason.

    crop: the part of an image to keep, or None: all of it. `watch` wraps the list of slices, to show progress.

    Raises:
        InputError: nothing can be used.
    """
    rejected = list(found.rejected)
    rows: list[Mapping[str, str]] = []
    check_memory(len(found.slices), size, "size")
    images = np.empty((len(found.slices), *size), np.uint8)
    masks = np.empty(images.shape, np.bool_)
    for each in watch(found.slices):
        try:
            _, image, mask = each.read()
        except UnusableError as error:
            rejected.append((str(error.path), error.reason))
            continue
        box = crop(image, mask) if crop else ...
        images[len(rows)], masks[len(rows)] = resize(image[box], size), resize_mask(mask[box], size)
        rows.append(each.row)
    if not rows:
        first = f"; the first of {len(rejected)} files: {': '.join(rejected[0])}" if rejected else ""
        raise InputError(f"expected images with masks, found none of use{first}")
    return Pairs(images[: len(rows)], masks[: len(rows)], pd.DataFrame(rows)), rejected


def find_folder(images: Sequence[Path], masks: Sequence[Path], patients: Mapping[str, str] | None) -> Found:
    """Slices from files of images and masks.

    patients: stem of an image -> patient, or None: every image is a patient of its own.
    """
    cases, rejected = match(images, masks, patients)
    fixed = {"view": "", "slice": "", "origin": "folder", "seed": ""}
    slices = [
        Slice(
            {"id": case.id, "patient": case.patient, "file": shown(case.image), **fixed},
            partial(read_case, case),
        )
        for case in cases
    ]
    return Found(slices, rejected)


def shown(path: Path) -> str:
    """A file's name, with what is not UTF-8 in it escaped: what a table can hold."""
    return path.name.encode(errors="backslashreplace").decode()


def read_patients(path: Path) -> dict[str, str]:
    """Stem -> patient, from the columns stem|id|image|file and patient|group|patient_id of a CSV file.

    Raises:
        InputError: no such columns, or two patients for one image.
    """
    table = read_csv(path, text=True)
    keys = [next((name for name in names if name in table), None) for names in (FILES, PATIENTS)]
    for key, names in zip(keys, (FILES, PATIENTS), strict=True):
        if key is None:
            raise InputError(f"{path}: expected a column {'|'.join(names)}; has {listed(table)}")
    out: dict[str, str] = {}
    for file, patient in zip(table[keys[0]], table[keys[1]].str.strip(), strict=True):
        stem = _stem(Path(file.strip()))
        if out.setdefault(stem, patient) != patient:
            raise InputError(f"{path}: {stem}: expected one patient, found {out[stem]} and {patient}")
    return {stem: patient for stem, patient in out.items() if patient}


def match(
    images: Sequence[Path], masks: Sequence[Path], patients: Mapping[str, str] | None
) -> tuple[list[Case], Rejected]:
    """Cases by stem: `a.png` goes with the mask `a.*` or `a_mask.*`. Files that are no images are left out.

    Images and masks may lie in one folder, where the masks are those named `_mask`.
    """
    shared = set(images) & set(masks)
    image_of, rejected = _by_stem([path for path in images if path not in shared or not _is_mask(path)])
    mask_of, more = _by_stem([path for path in masks if path not in shared or _is_mask(path)], "_mask")
    rejected += more
    cases: dict[str, Case] = {}
    for stem, image in image_of.items():
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).lstrip(".-") or "_"
        patient = name if patients is None else patients.get(stem)
        if stem not in mask_of:
            rejected.append((str(image), f"no mask named {stem} or {stem}_mask"))
        elif patient is None:
            rejected.append((str(image), f"no patient for {stem}"))
        elif (key := name.casefold()) in cases:  # ids are file names, on any system
            rejected.append((str(image), f"its id {name} is that of {cases[key].image.name}"))
        else:
            cases[key] = Case(name, patient, image, mask_of[stem])
    alone = [(str(mask), f"no image named {stem}") for stem, mask in mask_of.items() if stem not in image_of]
    return list(cases.values()), rejected + alone


def _is_mask(path: Path) -> bool:
    return path.stem.endswith("_mask")


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _by_stem(paths: Iterable[Path], ending: str = "") -> tuple[dict[str, Path], Rejected]:
    found: dict[str, Path] = {}
    rejected = []
    for path in sorted(path for path in paths if path.suffix.lower() in SUFFIXES):
        stem = path.stem.removesuffix(ending)
        if stem in found:
            rejected.append((str(path), f"named as {found[stem].name} is"))
        else:
            found[stem] = path
    return found, rejected


# --- one pair ---


def read_case(case: Case) -> Opened:
    """Image and mask, of one size. Raises UnusableError."""
    stored = decode(case.image)
    image, mask = window(stored, case.image), lesion(decode(case.mask), case.mask)
    if image.shape != mask.shape:
        found = " and ".join(f"{w}x{h}" for h, w in (mask.shape, image.shape))
        raise UnusableError(case.mask, f"expected the image's size, found {found} pixels (width x height)")
    return Opened(stored, image, mask)
