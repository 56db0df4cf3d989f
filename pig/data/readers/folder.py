"""A user's own images and masks -> pairs: matched by name, checked, cropped, resized.

An image is made grey and 8-bit (see `pixels.window`), blank borders are cut from image and mask alike, and both are
resized to one size, the aspect ratio not kept (paper: 512x512). An empty mask stays: a slice without lesion.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import pandas as pd

from pig.core.errors import InputError
from pig.core.reading import listed, read_csv
from pig.data.pairs import Grey, Mask, Pairs, check_memory
from pig.data.readers.listing import fit_name
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

Crop: TypeAlias = Callable[[Grey, Mask], tuple[slice, slice]]
Rejected: TypeAlias = list[UnusableError]
Given = TypeVar("Given")
Made = TypeVar("Made")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", *LOSSY)
FILES = ("stem", "id", "image", "file")  # columns of a table of patients, the first that is there
PATIENTS = ("patient", "group", "patient_id")


class Opened(NamedTuple):
    """One slice at full size: the file's own values, those as grey levels, and the lesion, each (H, W)."""

    stored: Pixels
    grey: Grey
    mask: Mask


@dataclass(frozen=True)
class Slice:
    """What a slice's row of pairs.csv says, and how it is read; `read` raises UnusableError."""

    row: Mapping[str, str]
    read: Callable[[], Opened]


@dataclass(frozen=True)
class Found:
    """A data set before its pixels are read.

    rejected: what is missing or cannot be used. skipped: reason -> how many the data set's own rules leave out.
    """

    slices: Sequence[Slice]
    rejected: Rejected
    skipped: Mapping[str, int] = field(default_factory=dict)


def usable(read: Callable[[Given], Made], given: Iterable[Given], rejected: Rejected) -> Iterator[Made]:
    """What `read` makes of each of `given`; an UnusableError is added to `rejected` instead."""
    for each in given:
        try:
            yield read(each)
        except UnusableError as error:
            rejected.append(error)


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
    for row, (_, image, mask) in usable(lambda each: (each.row, each.read()), watch(found.slices), rejected):
        box = crop(image, mask) if crop else ...
        images[len(rows)], masks[len(rows)] = resize(image[box], size), resize_mask(mask[box], size)
        rows.append(row)
    if not rows:
        first = f"; the first of {len(rejected)} files: {rejected[0]}" if rejected else ""
        raise InputError(f"expected images with masks, found none of use{first}")
    return Pairs(images[: len(rows)], masks[: len(rows)], pd.DataFrame(rows)), rejected


def find_folder(images: Sequence[Path], masks: Sequence[Path], patients: Mapping[str, str] | None) -> Found:
    """Slices by stem: `a.png` goes with the mask `a.*` or `a_mask.*`. Files that are no images are left out.

    Images and masks may lie in one folder, where the masks are those named `_mask`.

    patients: stem of an image -> patient, or None: every image is a patient of its own.
    """
    shared, rejected = set(images) & set(masks), Rejected()
    image_of = _by_stem((path for path in images if path not in shared or not _is_mask(path)), rejected)
    mask_of = _by_stem((path for path in masks if path not in shared or _is_mask(path)), rejected, "_mask")
    slices: dict[str, Slice] = {}
    for stem, image in image_of.items():
        name = fit_name(stem)
        patient = name if patients is None else patients.get(stem)
        if stem not in mask_of:
            rejected.append(UnusableError(image, "image without a mask", f"expected {stem} or {stem}_mask"))
        elif patient is None:
            rejected.append(UnusableError(image, "image without a patient", f"expected one for {stem}"))
        elif (key := name.casefold()) in slices:  # ids are file names, on any system
            detail = f"{name} is that of {slices[key].row['file']}"
            rejected.append(UnusableError(image, "id of another image", detail))
        else:
            row = {"id": name, "patient": patient, "file": shown(image), "view": "", "slice": ""}
            row |= {"origin": "folder", "seed": ""}
            slices[key] = Slice(row, partial(read_case, image, mask_of[stem]))
    for stem, mask in mask_of.items():
        if stem not in image_of:
            rejected.append(UnusableError(mask, "mask without an image", f"expected {stem}"))
    return Found(list(slices.values()), rejected)


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


def _is_mask(path: Path) -> bool:
    return path.stem.endswith("_mask")


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _by_stem(paths: Iterable[Path], rejected: Rejected, ending: str = "") -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(path for path in paths if path.suffix.lower() in SUFFIXES):
        stem = path.stem.removesuffix(ending)
        if found.setdefault(stem, path) != path:
            rejected.append(UnusableError(path, "name of another image", f"that of {found[stem].name}"))
    return found


def read_case(image: Path, mask: Path) -> Opened:
    """Image and mask, of one size. Raises UnusableError."""
    stored = decode(image)
    grey, outlined = window(stored, image), lesion(decode(mask), mask)
    if grey.shape != outlined.shape:
        found = " and ".join(f"{w}x{h}" for h, w in (outlined.shape, grey.shape))
        raise UnusableError(mask, "mask of another size", f"found {found} pixels (width x height)")
    return Opened(stored, grey, outlined)
