"""Mask-image pairs: in memory, in one archive file, on the networks' scale, and in folds by patient.

An archive is a ZIP of images/<id>.png (8-bit grey), masks/<id>.png (0 or 255) and pairs.csv (one row a pair),
with fixed timestamps and order: equal pairs give equal bytes.
"""

import csv
import hashlib
import io
import math
import os
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from pig.errors import InputError
from pig.reading import read_csv

if TYPE_CHECKING:
    import torch

Grey: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
COLUMNS = ("id", "patient", "view", "slice", "origin", "seed")
ROLES = ("train", "validation", "test")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # ids are file names, on any system
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can tell
PIXELS = 2**26  # of an image, 8192 x 8192: one of more is refused by its header, before it is decoded
BYTES = 2**27  # of a member, twice as many: no more are read, whatever the archive says of its size


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
        object.__setattr__(self, "table", _checked(table))

    def __len__(self) -> int:
        return len(self.images)

    def select(self, rows: ArrayLike) -> "Pairs":
        """The pairs at `rows`: integers, in their order, or N booleans."""
        index = np.asarray(rows)
        index = np.arange(len(self))[index if index.size else index.astype(int)]
        masks = None if self.masks is None else self.masks[index]
        return Pairs(self.images[index], masks, self.table.iloc[index])


def concatenate(parts: Iterable[Pairs]) -> Pairs:
    """All pairs, in order. Raises InputError: different sizes, masks in only some, an id twice."""
    parts = list(parts)
    sizes = sorted({part.images.shape[1:] for part in parts})
    if len(sizes) != 1:
        raise InputError(f"expected pairs of one size, found {', '.join(map(_size, sizes)) or 'none'}")
    given = [part.masks for part in parts if part.masks is not None]
    if given and len(given) < len(parts):
        raise InputError(f"expected masks in all {len(parts)} sets of pairs or in none, found {len(given)}")
    masks = np.concatenate(given) if given else None
    table = join_tables(part.table for part in parts)
    return Pairs(np.concatenate([part.images for part in parts]), masks, table)


def join_tables(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """All rows, in order, as the table of Pairs. Raises InputError: an id twice."""
    return _checked(pd.concat(tables, ignore_index=True))


def digest(pairs: Pairs) -> str:
    """sha256 of pixels and table, the same for equal pairs wherever they come from."""
    total = hashlib.sha256(f"{pairs.images.shape} {pairs.masks is not None}\n".encode())
    total.update(np.ascontiguousarray(pairs.images).tobytes())
    if pairs.masks is not None:
        total.update(np.packbits(pairs.masks).tobytes())
    total.update(_csv(pairs.table))
    return total.hexdigest()


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """`table` as text, "" for what is missing. Raises InputError."""
    text = table.astype(object).where(table.notna(), "").astype(str).reset_index(drop=True)
    _check(text, "table")
    return text


def _check(table: pd.DataFrame, name: str) -> None:
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


def _size(shape: tuple[int, ...]) -> str:
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


# --- archives ---


def write_archive(file: IO[bytes], pairs: Pairs) -> None:
    """Write `pairs` to an open binary file."""
    write_batches(file, pairs.table, [pairs])


def write_batches(file: IO[bytes], table: pd.DataFrame, batches: Iterable[Pairs], note: str = "") -> None:
    """Write the pairs of `table` to an open binary file, of them a batch in memory at a time.

    The bytes are those of `write_archive` of all at once. A `note` is the ZIP file's comment, of 65,535 bytes at most.

    Raises:
        InputError: batches of different sizes, masks in only some of them, or other pairs than the table's.
    """
    ids, first = iter(table["id"]), None
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = note.encode()
        _add(archive, "pairs.csv", _csv(table))
        for batch in batches:
            first = first or (batch.images.shape[1:], batch.masks is None)
            _alike(*first, batch)
            for i, name in enumerate(batch.table["id"]):
                if next(ids, None) != name:
                    raise InputError(f"expected the pairs of the table in its order, found {name!r}")
                _add(archive, f"images/{name}.png", _png(batch.images[i]))
                if batch.masks is not None:
                    _add(archive, f"masks/{name}.png", _png(batch.masks[i].astype(np.uint8) * np.uint8(255)))
    if (left := next(ids, None)) is not None:
        raise InputError(f"expected the pairs of the table, but {left!r} is not among them")


def _alike(shape: tuple[int, ...], maskless: bool, batch: Pairs) -> None:
    if batch.images.shape[1:] != shape:
        raise InputError(f"expected pairs of one size, found {_size(shape)}, {_size(batch.images.shape[1:])}")
    if (batch.masks is None) != maskless:
        raise InputError("expected masks in all sets of pairs or in none, found some of each")


def join_archives(file: IO[bytes], paths: Sequence[str | Path]) -> None:
    """Write one archive of those at `paths`, which `write_archive` wrote alike: their images are copied as they are."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "pairs.csv", _csv(join_tables(map(read_table, paths))))
        for path in paths:
            with _opened(path) as (part, name):
                for member in part.namelist():
                    if member != "pairs.csv":
                        _add(archive, member, _content(part, name, member))


def read_archive(file: str | Path | IO[bytes]) -> Pairs:
    """Read and check an archive: its path, or the open binary file.

    Raises:
        InputError: names the archive, the member, and what was expected.
    """
    with _opened(file) as (archive, name):
        return _pairs(archive, name, _table(archive, name))


def read_batches(path: str | Path, size: int) -> Iterator[Pairs]:
    """What `read_archive` reads, in batches of `size` pairs; raises as it does."""
    with _opened(path) as (archive, name):
        table, shape = _table(archive, name), ()
        for start in range(0, len(table), size):
            batch = _pairs(archive, name, table[start : start + size], shape)
            shape = batch.images.shape[1:]
            yield batch


def read_table(path: str | Path) -> pd.DataFrame:
    """The table of an archive alone. Raises InputError."""
    with _opened(path) as (archive, name):
        return _table(archive, name)


def read_note(path: str | Path) -> str:
    """The note of an archive, each member of which is whole. Raises InputError."""
    with _opened(path) as (archive, name):
        for member in archive.namelist():
            _content(archive, name, member)
        return archive.comment.decode(errors="replace")


@contextmanager
def _opened(file: str | Path | IO[bytes]) -> Iterator[tuple[zipfile.ZipFile, str]]:
    """The archive, and its name for complaints."""
    if isinstance(file, str | Path):
        with open(file, "rb") as opened, _opened(opened) as found:
            yield found
        return
    name = str(getattr(file, "name", "archive"))
    try:
        archive = zipfile.ZipFile(file)
    except Exception as error:  # arbitrary bytes make zipfile stumble in arbitrary ways
        raise InputError(f"{name}: expected a ZIP archive of pairs ({error})") from None
    with archive:
        yield archive, name


def _table(archive: zipfile.ZipFile, name: str) -> pd.DataFrame:
    if twice := [member for member, number in Counter(archive.namelist()).items() if number > 1]:
        raise InputError(f"{name}: {twice[0]}: expected one member of that name, found several")
    table = read_csv(io.BytesIO(_content(archive, name, "pairs.csv")), f"{name}: pairs.csv", text=True)
    _check(table, f"{name}: pairs.csv")
    if table.empty:
        raise InputError(f"{name}: pairs.csv: expected at least one pair")
    return table


def _pairs(archive: zipfile.ZipFile, name: str, table: pd.DataFrame, shape: tuple[int, ...] = ()) -> Pairs:
    """The pairs of some rows of the archive's table, all of one size: `shape`, or that of the first."""
    images = _stack(archive, name, [f"images/{text}.png" for text in table["id"]], shape)
    if not any(member.startswith("masks/") for member in archive.namelist()):
        return Pairs(images, None, table)
    masks = _stack(archive, name, [f"masks/{text}.png" for text in table["id"]], images.shape[1:])
    for i in np.flatnonzero(((masks != 0) & (masks != 255)).any(axis=(1, 2))):
        found = np.setdiff1d(masks[i], [0, 255])[0]
        raise InputError(f"{name}: masks/{table['id'].iloc[i]}.png: expected only 0 and 255, found {found}")
    return Pairs(images, masks > 0, table)


def _content(archive: zipfile.ZipFile, name: str, member: str) -> bytes:
    """What a member holds, never more than BYTES of it in memory."""
    if member not in archive.NameToInfo:
        raise InputError(f"{name}: expected a member {member}")
    info = archive.getinfo(member)
    method = info.compress_type
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others decompress without a bound
        raise InputError(f"{name}: {member}: expected it stored or deflated, found method {method}")
    try:
        with archive.open(info) as file:
            content = file.read(BYTES + 1)
    except Exception as error:  # encrypted, cut off, of another checksum; zlib's and the system's own
        raise InputError(f"{name}: {member}: expected a whole member ({error})") from None
    if len(content) > BYTES:
        raise InputError(f"{name}: {member}: expected at most {BYTES} bytes, found more")
    return content


def _stack(archive: zipfile.ZipFile, name: str, members: list[str], shape: tuple[int, ...] = ()) -> Grey:
    """(N, H, W) pixels of the members, all of one size: `shape`, or that of the first."""
    out: Grey | None = None
    for i, member in enumerate(members):
        pixels = _pixels(archive, name, member)
        if out is None:
            shape = shape or pixels.shape
            check_memory(len(members), shape, name)
            out = np.empty((len(members), *shape), np.uint8)
        if pixels.shape != shape:
            found = f"expected {_size(shape)} pixels (height x width), found {_size(pixels.shape)}"
            raise InputError(f"{name}: {member}: {found}")
        out[i] = pixels
    assert out is not None
    return out


def _pixels(archive: zipfile.ZipFile, name: str, member: str) -> Grey:
    content = io.BytesIO(_content(archive, name, member))
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(content, formats=["PNG"]) as image,
        ):
            if image.width * image.height > PIXELS:  # by the header; nothing is decoded yet
                raise ValueError(f"{image.width}x{image.height} pixels are more than {PIXELS}")
            if image.mode == "L":
                return np.asarray(image)
            found = image.mode
    except Exception as error:  # arbitrary bytes make Pillow stumble in arbitrary ways
        raise InputError(f"{name}: {member}: expected a whole PNG image ({error})") from None
    raise InputError(f"{name}: {member}: expected 8-bit grey (mode L), found mode {found}")


def check_memory(number: int, shape: tuple[int, ...], name: str) -> None:
    """Raise InputError, naming `name`, if that many images of `shape` are more than this machine's memory."""
    if number * math.prod(shape) > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        found = f"found {number} of {_size(shape)} pixels"
        raise InputError(f"{name}: expected images that fit into this machine's memory, {found}")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
    archive.writestr(info, content)


def _png(pixels: Grey) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=6)
    return file.getvalue()


def _csv(table: pd.DataFrame) -> bytes:
    text = table.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # which is not quoted by itself, but would end a row when it is read
        text = table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    return text.encode()


# --- folds ---


def split(table: pd.DataFrame, folds: int, validation: float, seed: int) -> pd.DataFrame:
    """Folds by patient, with about equal numbers of pairs.

    Returns the columns id, patient, fold0 .. fold{folds - 1}, each value train, validation or test. Each
    patient is tested in exactly one fold. Of a fold's other patients a share `validation`, drawn anew in each
    fold, at least one and never all, is held out of training.

    Raises:
        InputError: too few patients; a number of folds or a share that makes no sense.
    """
    if folds < 2:
        raise InputError(f"folds.count: expected 2 or more, found {folds}")
    if not 0 < validation < 1:
        raise InputError(f"folds.validation: expected a share between 0 and 1, found {validation}")
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
