"""Mask-image pairs: in memory, on the networks' scale, and in folds by patient. pig/data/archive.py has their file."""

import csv
import hashlib
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pig.core.errors import InputError
from pig.core.reading import read_csv

if TYPE_CHECKING:
    import torch

Grey: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
COLUMNS = ("id", "patient", "view", "slice", "origin", "seed")
ROLES = ("train", "validation", "test")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # ids are file names, on any system
PIXELS = 2**26  # of an image, 8192 x 8192: one of more is refused by its header, before it is decoded


@dataclass(frozen=True)
class Pairs:
    """N slices, their lesion masks, and what is known about them.

    images: (N, H, W) uint8, grey; masks: (N, H, W) bool, or None from generators of images alone;
    table: one row a pair, all text, "" where a column does not apply; at least COLUMNS, and unique ids.

    Raises:
        InputError: the three do not fit together.
    """

    images: Grey
    masks: Mask | None
    table: pd.DataFrame

    def __post_init__(self) -> None:
        images, masks, table = self.images, self.masks, self.table
        if images.ndim != 3 or images.dtype != np.uint8:
            raise InputError(f"images: expected (N, H, W) uint8, found {images.shape} {images.dtype}")
        if masks is not None and (masks.shape != images.shape or masks.dtype != np.bool_):
            raise InputError(f"masks: expected {images.shape} bool, found {masks.shape} {masks.dtype}")
        if len(table) != len(images):
            raise InputError(f"table: expected {len(images)} rows, found {len(table)}")
        object.__setattr__(self, "table", checked(table))

    def __len__(self) -> int:
        return len(self.images)

    def need_masks(self, name: object = "pairs") -> Mask:
        """The masks. Raises InputError, naming `name`, if there are only images."""
        if self.masks is None:
            raise InputError(f"{name}: expected pairs, found images without masks")
        return self.masks

    def of(self, split: str | Path | pd.DataFrame, fold: int, *roles: str) -> "Pairs":
        """The pairs whose patients have one of `roles` in a fold of `split`: a file of `pig split`, or its table.

        Raises:
            InputError: as `rows`.
        """
        if not isinstance(split, pd.DataFrame):
            split = read_csv(split, columns=("id",), text=True)
        return self.select(rows(split, self.table, fold, *roles))

    def select(self, rows: ArrayLike) -> "Pairs":
        """The pairs at `rows`: integers, in their order, or N booleans."""
        index = np.asarray(rows)
        index = np.arange(len(self))[index if index.size else index.astype(int)]
        masks = None if self.masks is None else self.masks[index]
        return Pairs(self.images[index], masks, self.table.iloc[index])


def concatenate(parts: Iterable[Pairs]) -> Pairs:
    """All pairs, in order. Raises InputError: different sizes, masks in only some, an id twice."""
    parts = list(parts)
    check_alike(parts)
    masks = None if parts[0].masks is None else np.concatenate([part.need_masks() for part in parts])
    table = join_tables(part.table for part in parts)
    return Pairs(np.concatenate([part.images for part in parts]), masks, table)


def check_alike(parts: Sequence[Pairs]) -> None:
    """Raise InputError if pairs are of different sizes, or only some have masks."""
    sizes = sorted({part.images.shape[1:] for part in parts})
    if len(sizes) != 1:
        raise InputError(f"expected pairs of one size, found {', '.join(map(dimensions, sizes)) or 'none'}")
    if len({part.masks is None for part in parts}) > 1:
        raise InputError("expected masks in all sets of pairs or in none, found some of each")


def join_tables(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All rows, in order, as the table of Pairs. Raises InputError: an id twice."""
    return checked(pd.concat(tables, ignore_index=True))


def digest(pairs: Pairs) -> str:
    """sha256 of pixels and table, the same for equal pairs wherever they come from."""
    total = hashlib.sha256(f"{pairs.images.shape} {pairs.masks is not None}\n".encode())
    total.update(np.ascontiguousarray(pairs.images).tobytes())
    if pairs.masks is not None:
        total.update(np.packbits(pairs.masks).tobytes())
    total.update(table_csv(pairs.table))
    return total.hexdigest()


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """`table` as text, "" for what is missing. Raises InputError."""
    text = table.astype(object).where(table.notna(), "").astype(str).reset_index(drop=True)
    check_table(text, "table")
    return text


def check_table(table: pd.DataFrame, name: str) -> None:
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{name}: expected the columns {', '.join(COLUMNS)}; missing {', '.join(missing)}")
    ids = table["id"]
    if twice := sorted(ids[ids.duplicated()]):
        raise InputError(f"{name}: expected unique ids, found {twice[0]!r} more than once")
    folded = ids.str.casefold()
    if clash := sorted(ids[folded.duplicated(keep=False)]):
        raise InputError(
            f"{name}: ids {clash[0]!r} and {clash[1]!r}: expected names that differ by more than case"
        )
    if unfit := [text for text in ids if not NAME.fullmatch(text)]:
        raise InputError(f"{name}: id {unfit[0]!r}: expected letters, digits, '_', '-', '.' (a file name)")


def dimensions(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


# --- the networks' scale ---


Levels = TypeVar("Levels", NDArray[Any], "torch.Tensor")


def scale(images: Levels) -> Levels:
    """Grey 0..255, an array or a tensor -> [-1, 1], linearly (paper)."""
    return images / 127.5 - 1


def grey(values: ArrayLike) -> Grey:
    """[-1, 1] -> the nearest of 0..255; values beyond are clipped. Raises InputError on NaN."""
    array = np.asarray(values, dtype=np.float64)
    if np.isnan(array).any():
        raise InputError("grey levels: expected numbers in [-1, 1], found NaN")
    return np.rint((np.clip(array, -1, 1) + 1) * 127.5).astype(np.uint8)


def table_csv(table: pd.DataFrame) -> bytes:
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # which is not quoted by itself, but would end a row when it is read
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    return text.encode()


def check_memory(number: int, shape: tuple[int, ...], name: str) -> None:
    """Raise InputError, naming `name`, if that many images of `shape` are more than this machine's memory."""
    if number * math.prod(shape) > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        found = f"found {number} of {dimensions(shape)} pixels"
        raise InputError(f"{name}: expected images that fit into this machine's memory, {found}")


# --- folds ---


def split(table: pd.DataFrame, folds: int, validation: float, seed: int) -> pd.DataFrame:
    """Folds by patient, with about equal numbers of pairs.

    Returns the columns id, patient, fold0 .. fold{folds - 1}, each value train, validation or test. Each
    patient is tested in exactly one fold. Of a fold's other patients a share `validation`, drawn anew in each
    fold, at least one and never all, is held out of training.

    Raises:
        InputError: too few patients.
    """
    counts = table["patient"].astype(str).value_counts().sort_index()
    needed = max(folds, 4 if folds == 2 else 3)  # one to test, one to validate, one to train
    if len(counts) < needed:
        raise InputError(f"{folds} folds by patient need at least {needed} patients, found {len(counts)}")
    rng = np.random.default_rng(seed)
    tested = _deal(counts.iloc[rng.permutation(len(counts))], folds)
    out = table[["id", "patient"]].astype(str).reset_index(drop=True)
    for fold in range(folds):
        others = [patient for patient in counts.index if tested[patient] != fold]
        held = min(max(round(validation * len(others)), 1), len(others) - 1)
        role = {patient: "test" if tested[patient] == fold else "train" for patient in counts.index}
        role |= {others[i]: "validation" for i in rng.permutation(len(others))[:held]}
        out[f"fold{fold}"] = out["patient"].map(role)
    return out


def _deal(counts: "pd.Series[int]", folds: int) -> dict[str, int]:
    """Patient -> fold: most pairs first, each to the fold with fewest that still leaves two for the rest."""
    pairs, patients, fold_of = [0] * folds, [0] * folds, {}
    for patient, count in counts.sort_values(ascending=False, kind="stable").items():
        free = [fold for fold in range(folds) if patients[fold] < len(counts) - 2]
        fold = min(free, key=lambda f: (pairs[f], patients[f]))
        pairs[fold] += int(count)
        patients[fold] += 1
        fold_of[str(patient)] = fold
    return fold_of


def rows(split: pd.DataFrame, table: pd.DataFrame, fold: int, *roles: str) -> NDArray[np.int64]:
    """The rows of `table`, ascending, whose pairs have one of `roles` (train, validation, test) in `fold`.

    Raises:
        InputError: an unknown role or fold, a split that is none, or one of other pairs than the table's.
    """
    if unknown := [role for role in roles if role not in ROLES]:
        raise InputError(f"role {unknown[0]!r}: expected some of {', '.join(ROLES)}")
    column = f"fold{fold}"
    if missing := [name for name in ("id", column) if name not in split]:
        raise InputError(f"split: expected a column {missing[0]}, found {', '.join(map(str, split))}")
    role_of = dict(zip(split["id"].astype(str), split[column], strict=True))
    if len(role_of) < len(split):
        raise InputError(
            f"split: expected unique ids, found {split['id'][split['id'].duplicated()].iloc[0]!r} twice"
        )
    if odd := [(name, role) for name, role in role_of.items() if role not in ROLES]:
        raise InputError(
            f"split: {column} of {odd[0][0]!r}: expected {', '.join(ROLES)}, found {odd[0][1]!r}"
        )
    ids = table["id"].astype(str)
    if differ := sorted(role_of.keys() ^ set(ids)):
        where = "pairs" if differ[0] in role_of else "split"
        raise InputError(f"split: expected one of these pairs, but id {differ[0]!r} is not in the {where}")
    return np.flatnonzero(ids.map(role_of).isin(roles))
