"""A user's own images and masks -> pairs: matched by name, checked, cropped, resized.

An image is made grey and 8-bit (see `window`), blank borders are cut from image and mask alike, and both are
resized to one size, the aspect ratio not kept (paper: 512x512). An empty mask stays: a slice without lesion.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.core.reading import listed, read_csv
from pig.data.pairs import PIXELS, Pairs, check_memory

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(PIXELS)  # read once, when OpenCV is loaded
import cv2

Pixels: TypeAlias = NDArray[Any]
Size: TypeAlias = tuple[int, int]  # height, width
Crop: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.bool_]], tuple[slice, slice]]
Rejected: TypeAlias = list[tuple[str, str]]  # (file, reason)
LOSSY = (".jpg", ".jpeg")
SUFFIXES = (".png", ".tif", ".tiff", ".bmp", *LOSSY)
FILES = ("stem", "id", "image", "file")  # columns of a table of patients, the first that is there
PATIENTS = ("patient", "group", "patient_id")
PERCENTILES = (0.1, 99.9)  # of an image of more than 8 bits: become black and white
BLANK, NEAR = 0.99, 5  # a blank line: this share of its pixels is so near, in greys, to the frame's commonest
FAINT = 64  # greys between the two values of a JPEG mask, at least
BYTES = 2**30  # of a file, at most
INVERTED = 0.75  # a lesion that covers a larger share of the outermost frame is taken for the background

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a bad file is told once, by us


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
    check_memory(len(found.slices), size, "--size")
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


def read_folder(
    images: Sequence[Path],
    masks: Sequence[Path],
    patients: Mapping[str, str] | None,
    size: Size,
    crop: bool = True,
    watch: Callable[[Sequence[Slice]], Iterable[Slice]] = iter,
) -> tuple[Pairs, Rejected]:
    """`read_all` of `find_folder`, blank borders cut."""
    return read_all(find_folder(images, masks, patients), size, crop_box if crop else None, watch)


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


class UnusableError(InputError):
    """A file that cannot be used, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def read_case(case: Case) -> Opened:
    """Image and mask, of one size. Raises UnusableError."""
    stored = _decode(case.image)
    image, mask = window(stored, case.image), lesion(_decode(case.mask), case.mask)
    if image.shape != mask.shape:
        found = " and ".join(f"{w}x{h}" for h, w in (mask.shape, image.shape))
        raise UnusableError(case.mask, f"expected the image's size, found {found} pixels (width x height)")
    return Opened(stored, image, mask)


def _decode(path: Path) -> Pixels:
    """(H, W) grey, of the file's own type and values. What is too large is refused before it is decoded."""
    if not path.is_file():
        raise UnusableError(path, "expected a file, found a broken link or a device")
    try:
        if path.stat().st_size > BYTES:
            raise UnusableError(path, f"expected at most {BYTES} bytes")
        content = np.frombuffer(path.read_bytes(), np.uint8)
        pages = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED, range=(0, 2))[1]
    except (OSError, cv2.error) as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise UnusableError(path, f"expected at most {PIXELS} pixels") from None
        pages = ()
    if not pages:
        raise UnusableError(path, "not a whole image")
    if len(pages) > 1:
        raise UnusableError(path, "expected one slice a file, found several pages")
    pixels = pages[0]
    if not np.isfinite(pixels).all():
        raise UnusableError(path, "expected numbers, found NaN or infinity")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4 and np.ptp(pixels[..., 3]):
        raise UnusableError(path, "expected opaque pixels, found transparent ones")
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)


def window(pixels: Pixels, path: Path) -> NDArray[np.uint8]:
    """8-bit images as they are; of others the PERCENTILES of the image itself become 0 and 255.

    Files of 12 or 16 bits rarely use their range, and a few hot pixels or a burnt-in label would darken the
    rest of an image that is scaled by its extremes; those are the fallback where the percentiles are equal.
    """
    if np.ptp(pixels) == 0:
        raise UnusableError(path, "a blank image, one grey level")
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float64)
    low, high = np.percentile(values, PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    return np.rint(255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8)


def lesion(pixels: Pixels, path: Path) -> NDArray[np.bool_]:
    """The larger of two values is the lesion, unless it makes up the frame; all 0 is no lesion.

    Masks kept as JPEG have noise about two values: they are cut in the middle if the values are FAINT greys
    apart and no pixel is nearer to the middle than to an end, and cannot be used otherwise.
    """
    values = np.unique(pixels)
    if len(values) == 1:
        if values[0]:
            raise UnusableError(path, f"expected a mask of two values, found {values[0]} everywhere")
        return np.zeros(pixels.shape, np.bool_)
    low, high = float(values[0]), float(values[-1])
    share = (values.astype(np.float64) - low) / (high - low)
    if path.suffix.lower() in LOSSY:
        if high - low < FAINT or np.any(np.abs(share - 0.5) < 0.25):
            raise UnusableError(path, "expected a mask of two values, found JPEG noise; use PNG")
    elif len(values) > 2:
        raise UnusableError(path, f"expected a mask of two values, found {len(values)}")
    found = pixels > low + (high - low) / 2
    if np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]]).mean() > INVERTED:
        raise UnusableError(
            path, "expected a lesion within the image, found one around it; an inverted mask?"
        )
    return found


def crop_box(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns left when blank lines at the borders are cut, never through the lesion.

    Blank is what has the commonest grey of the outermost frame, but for a few pixels (dust, a thin label).
    """
    frame = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    level = np.bincount(frame).argmax()
    blank = (np.abs(image.astype(np.int16) - level) <= NEAR) & ~mask
    kept = []
    for axis in (1, 0):
        full = (blank.mean(axis=axis) < BLANK) | mask.any(axis=axis)
        lines = np.flatnonzero(full)
        kept.append(slice(int(lines[0]), int(lines[-1]) + 1) if lines.size else slice(None))
    return kept[0], kept[1]


def resize(image: Pixels, size: Size) -> Pixels:
    """(H, W) -> size: the mean over a pixel's area where it shrinks, linear where it grows."""
    height, width = (min(new, old) for new, old in zip(size, image.shape, strict=True))
    smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(smaller, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """(H, W) -> size: pixels covered by half or more; a part that would vanish keeps its best pixel."""
    out = resize(mask.astype(np.float32), size) >= 0.5
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    rows, columns = (np.arange(old) * new // old for old, new in zip(mask.shape, size, strict=True))
    for part in set(range(1, count)) - set(np.unique(parts[out[np.ix_(rows, columns)]])):
        cover = resize((parts == part).astype(np.float32), size)
        out[np.unravel_index(cover.argmax(), size)] = True
    return out
