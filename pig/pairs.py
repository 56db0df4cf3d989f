"""Mask-image pairs: in memory, in one archive file, on the networks' scale, and in folds by patient.

An archive is a ZIP of images/<id>.png (8-bit grey), masks/<id>.png (0 or 255) and pairs.csv (one row a pair), with
fixed timestamps and order, so equal pairs give equal bytes.
"""

import csv
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from pig.errors import InputError

Bytes: TypeAlias = NDArray[np.uint8]
Bools: TypeAlias = NDArray[np.bool_]
COLUMNS = ("id", "patient", "view", "slice", "origin", "seed")
ROLES = ("train", "validation", "test")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")  # an id is a file name on any system


@dataclass(frozen=True)
class Pairs:
    """N slices, their lesion masks, and what is known about them.

    images: (N, H, W) uint8, grey; masks: (N, H, W) bool, or None if there are none (generators of images only);
    table: one row a pair, all text, "" where a column does not apply; at least COLUMNS, ids unique.
    """

    images: Bytes
    masks: Bools | None
    table: pd.DataFrame

    def __post_init__(self) -> None:
        images, masks = self.images, self.masks
        if images.ndim != 3 or images.dtype != np.uint8:
            raise InputError(f"images: expected (N, H, W) uint8, found {images.shape} {images.dtype}")
        if masks is not None and (masks.shape != images.shape or masks.dtype != np.bool_):
            raise InputError(f"masks: expected {images.shape} bool, found {masks.shape} {masks.dtype}")
        if len(self.table) != len(images):
            raise InputError(f"table: expected {len(images)} rows, found {len(self.table)}")
        check_table(self.table, "table")
        object.__setattr__(self, "table", self.table.reset_index(drop=True).astype(str))

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: ArrayLike) -> "Pairs":
        """The pairs at `rows`: integers, or N booleans."""
        index = np.arange(len(self))[np.asarray(rows, dtype=None if np.size(rows) else int)]
        masks = None if self.masks is None else self.masks[index]
        return Pairs(self.images[index], masks, self.table.iloc[index])


def check_table(table: pd.DataFrame, name: str) -> None:
    """Raise InputError unless `table` has COLUMNS and unique ids that can be file names."""
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(f"{name}: expected the columns {', '.join(COLUMNS)}; missing {', '.join(missing)}")
    ids = table["id"].astype(str)
    if ids.duplicated().any():
        raise InputError(f"{name}: expected unique ids; found {ids[ids.duplicated()].iloc[0]!r} more than once")
    for unfit in (text for text in ids if not NAME.fullmatch(text)):
        raise InputError(f"{name}: id {unfit!r}: expected letters, digits, '_', '-' and '.', as in a file name")


def concatenate(parts: Iterable[Pairs]) -> Pairs:
    """All pairs, in order. Raises InputError on different sizes, masks in only some, or an id twice."""
    parts = list(parts)
    if not parts:
        raise InputError("expected at least one set of pairs")
    for kind, found in (
        ("images of one size", {part.images.shape[1:] for part in parts}),
        ("masks in all sets of pairs or in none", {part.masks is None for part in parts}),
    ):
        if len(found) > 1:
            raise InputError(f"expected {kind}, found {sorted(found)}")
    given = [part.masks for part in parts if part.masks is not None]
    table = pd.concat([part.table for part in parts], ignore_index=True).fillna("")
    return Pairs(np.concatenate([part.images for part in parts]), np.concatenate(given) if given else None, table)


def digest(pairs: Pairs) -> str:
    """sha256 of pixels and table: the same for equal pairs, whatever file they came from."""
    total = hashlib.sha256(repr((pairs.images.shape, pairs.masks is None)).encode())
    total.update(np.ascontiguousarray(pairs.images).tobytes())
    if pairs.masks is not None:
        total.update(np.packbits(pairs.masks).tobytes())
    total.update(_csv(pairs.table))
    return total.hexdigest()


# --- the networks' scale ---


def scale(images: Bytes) -> NDArray[np.float32]:
    """Grey 0..255 -> [-1, 1]."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1)


def scale_masks(masks: Bools) -> NDArray[np.float32]:
    """Lesion -> 1, elsewhere -1."""
    return np.where(masks, np.float32(1), np.float32(-1))


def grey(values: ArrayLike) -> Bytes:
    """[-1, 1] -> the nearest grey 0..255; beyond it is clipped. Raises InputError on what is not a number."""
    array = np.asarray(values, dtype=np.float64)
    if np.isnan(array).any():
        raise InputError("expected numbers in [-1, 1], found NaN")
    return np.rint((np.clip(array, -1, 1) + 1) * 127.5).astype(np.uint8)


# --- archives ---


def write_archive(file: BinaryIO, pairs: Pairs) -> None:
    """Write `pairs` to an open binary file; equal pairs give equal bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _member(archive, "pairs.csv", _csv(pairs.table))
        for i, name in enumerate(pairs.table["id"]):
            _member(archive, f"images/{name}.png", _png(pairs.images[i]))
            if pairs.masks is not None:
                _member(archive, f"masks/{name}.png", _png(pairs.masks[i].astype(np.uint8) * 255))


def read_archive(file: str | Path | BinaryIO) -> Pairs:
    """Read and check an archive, a path or an open binary file.

    Raises:
        InputError: names the archive, the member and what is wrong with it.
    """
    name = str(getattr(file, "name", None) or file) if not isinstance(file, io.BytesIO) else "archive"
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive, name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{name}: expected a ZIP archive of pairs ({error})") from None


def _read(archive: zipfile.ZipFile, name: str) -> Pairs:
    members = set(archive.namelist())
    if "pairs.csv" not in members:
        raise InputError(f"{name}: expected a member pairs.csv")
    try:
        text = archive.read("pairs.csv").decode()
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise InputError(f"{name}: pairs.csv: expected a table ({error})") from None
    check_table(table, f"{name}: pairs.csv")
    if table.empty:
        raise InputError(f"{name}: pairs.csv: expected at least one pair")
    images = _stack(archive, name, "images", list(table["id"]))
    if not any(member.startswith("masks/") for member in members):
        return Pairs(images, None, table)
    masks = _stack(archive, name, "masks", list(table["id"]), images.shape[1:])
    return Pairs(images, masks > 0, table)


def _stack(archive: zipfile.ZipFile, name: str, folder: str, ids: list[str], shape: tuple[int, ...] = ()) -> Bytes:
    """(N, H, W) grey pixels of FOLDER/ID.png, all of one size; masks hold only 0 and 255."""
    out: Bytes | None = None
    for i, text in enumerate(ids):
        member = f"{folder}/{text}.png"
        try:
            with Image.open(io.BytesIO(archive.read(member))) as image:
                if image.mode != "L":
                    raise InputError(f"{name}: {member}: expected 8-bit grey, found mode {image.mode}")
                pixels = np.asarray(image)
        except KeyError:
            raise InputError(f"{name}: expected a member {member}") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{name}: {member}: expected a PNG image ({error})") from None
        shape = shape or pixels.shape
        if pixels.shape != shape:
            raise InputError(f"{name}: {member}: expected {_size(shape)} pixels, found {_size(pixels.shape)}")
        if folder == "masks" and np.any((pixels != 0) & (pixels != 255)):
            raise InputError(f"{name}: {member}: expected only 0 and 255, found {pixels[(pixels != 0) & (pixels != 255)][0]}")
        out = np.empty((len(ids), *shape), np.uint8) if out is None else out
        out[i] = pixels
    assert out is not None
    return out


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _member(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    info.create_system = 3
    archive.writestr(info, content)


def _png(pixels: Bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=6)
    return file.getvalue()


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).encode()


# --- folds ---


def split(table: pd.DataFrame, folds: int, validation: float, seed: int) -> pd.DataFrame:
    """Folds by patient, of about equal numbers of pairs.

    Returns the columns id, patient, fold0 .. fold{folds - 1}, each value train, validation or test. Each patient is
    tested in exactly one fold; of the other patients of a fold a share `validation`, drawn anew in each fold, at least
    one and never all, is held out of training.

    Raises:
        InputError: too few patients, or a number of folds or a share that makes no sense.
    """
    if folds < 2:
        raise InputError(f"folds {folds}: expected 2 or more")
    if not 0 < validation < 1:
        raise InputError(f"validation {validation}: expected a share between 0 and 1")
    counts = table["patient"].astype(str).value_counts().sort_index()
    needed = max(folds, 4 if folds == 2 else 3)  # each fold tests one patient, and two others train and validate
    if len(counts) < needed:
        raise InputError(f"{folds} folds need at least {needed} patients, found {len(counts)}")
    rng = np.random.default_rng(seed)
    tested = _deal(counts.iloc[rng.permutation(len(counts))], folds)
    out = pd.DataFrame({"id": table["id"].astype(str), "patient": table["patient"].astype(str)})
    for fold in range(folds):
        others = [patient for patient in counts.index if tested[patient] != fold]
        held = min(max(round(validation * len(others)), 1), len(others) - 1)
        role = {patient: "test" if tested[patient] == fold else "train" for patient in counts.index}
        role |= {others[i]: "validation" for i in rng.permutation(len(others))[:held]}
        out[f"fold{fold}"] = out["patient"].map(role)
    return out.reset_index(drop=True)


def _deal(counts: "pd.Series[int]", folds: int) -> dict[str, int]:
    """Patient -> fold: those with most pairs first, each to the fold with fewest pairs that leaves two for the rest."""
    pairs, patients, fold_of = [0] * folds, [0] * folds, {}
    for patient, count in counts.sort_values(ascending=False, kind="stable").items():
        free = [fold for fold in range(folds) if patients[fold] < len(counts) - 2]
        fold = min(free, key=lambda f: (pairs[f], patients[f], f))
        pairs[fold] += int(count)
        patients[fold] += 1
        fold_of[str(patient)] = fold
    return fold_of


def rows(split: pd.DataFrame, table: pd.DataFrame, fold: int, *roles: str) -> NDArray[np.int64]:
    """The rows of `table`, ascending, whose pairs have one of `roles` (train, validation, test) in `fold`.

    Raises:
        InputError: an unknown role or fold, or a split of other pairs than the table's.
    """
    if unknown := [role for role in roles if role not in ROLES]:
        raise InputError(f"role {unknown[0]!r}: expected {', '.join(ROLES)}")
    column = f"fold{fold}"
    if "id" not in split or column not in split:
        raise InputError(f"split: expected the columns id and {column}, found {', '.join(map(str, split))}")
    role_of = dict(zip(split["id"].astype(str), split[column].astype(str), strict=True))
    ids = table["id"].astype(str)
    for text in sorted(role_of.keys() ^ set(ids)):
        where = "pairs" if text in role_of else "split"
        raise InputError(f"split and pairs differ: id {text!r} is not in the {where}; expected a split of these pairs")
    return np.flatnonzero(ids.map(role_of).isin(roles).to_numpy())
