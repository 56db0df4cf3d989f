"""Archives: mask-image pairs in one file.

An archive is a ZIP of images/<id>.png (8-bit grey), masks/<id>.png (0 or 255) and pairs.csv (one row a pair),
with fixed timestamps and order: equal pairs give equal bytes.
"""

import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from pig.core.errors import InputError
from pig.core.files import PREFIX, atomic
from pig.core.reading import read_csv
from pig.data.images import decode, encode
from pig.data.pairs import (
    Grey,
    Pairs,
    check_alike,
    check_memory,
    check_table,
    dimensions,
    join_tables,
    table_csv,
)

PART = re.compile(r"([0-9a-f]{16})-(\d+)-(\d+)(?:\.(fp32|bf16))?\.zip")  # job, first, end, precision
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can tell
BYTES = 2**27  # of a member, twice `pairs.PIXELS`: no more are read, whatever the archive says of its size


def write_archive(file: IO[bytes], pairs: Pairs) -> None:
    """Write `pairs` to an open binary file."""
    write_batches(file, pairs.table, [pairs])


def write_batches(file: IO[bytes], table: pd.DataFrame, batches: Iterable[Pairs], note: str = "") -> None:
    """Write the pairs of `table` to an open binary file, with one batch in memory at a time.

    The bytes are those of `write_archive` of all at once. `note` becomes the ZIP file's comment, at most 65,535 bytes.

    Raises:
        InputError: batches of different sizes, masks in only some of them, or other pairs than the table's.
    """
    ids, parts = iter(table["id"]), list[Pairs]()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = note.encode()
        archive.writestr(_info("pairs.csv"), table_csv(table))
        for batch in batches:
            parts = [*parts[:1], batch.select([])]  # without pixels: the first and this one
            check_alike(parts)
            for i, name in enumerate(batch.table["id"]):
                if next(ids, None) != name:
                    raise InputError(f"expected the pairs of the table in its order, found {name!r}")
                archive.writestr(_info(f"images/{name}.png"), encode(batch.images[i]))
                if batch.masks is not None:
                    archive.writestr(_info(f"masks/{name}.png"), encode(np.uint8(255) * batch.masks[i]))
    if (left := next(ids, None)) is not None:
        raise InputError(f"expected the pairs of the table, but {left!r} is not among them")


def read_archive(path: str | Path) -> Pairs:
    """Read and check an archive.

    Raises:
        InputError: names the archive, the member, and what was expected.
    """
    with _opened(path) as archive:
        return _pairs(archive, _table(archive))


def read_batches(path: str | Path, size: int) -> Iterator[Pairs]:
    """The pairs of an archive in batches of `size`. Raises InputError as `read_archive` does."""
    with _opened(path) as archive:
        table, shape = _table(archive), ()
        for start in range(0, len(table), size):
            batch = _pairs(archive, table[start : start + size], shape)
            shape = batch.images.shape[1:]
            yield batch


def read_table(path: str | Path) -> pd.DataFrame:
    """The table of an archive alone. Raises InputError."""
    with _opened(path) as archive:
        return _table(archive)


def read_note(path: str | Path) -> str:
    """The note of an archive. Raises InputError if a member is damaged."""
    with _opened(path) as archive:
        for member in archive.namelist():
            _content(archive, member)
        return archive.comment.decode(errors="replace")


# --- an archive in the making ---


class Cost(NamedTuple):
    """Time to make some samples, without encoding and writing."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all threads of the process; other work on the machine does not lengthen it


class Part(NamedTuple):
    """An archive of the pairs `numbers`."""

    path: Path
    numbers: range
    cost: Cost


class Parts:
    """Those of the pairs `numbers` that are finished: archives in one folder, from which an interrupted run goes on.

    A part is an archive of successive pairs, written whole or not at all. Its name tells its job, its pairs and the
    precision that they were computed in, its note what they cost. `job` is everything else that decides the pairs.
    Parts of other jobs are removed, and those of another precision than `wanted`, unless that is `auto`.

    `stop` is the number of the first missing pair. `computed_in` is the precision that parts to come must have. It is
    None under `auto` where there are no parts yet; the caller then sets it.

    Raises:
        InputError: a part is damaged.
    """

    def __init__(
        self, folder: str | Path, job: tuple[object, ...], numbers: range, wanted: str = "fp32"
    ) -> None:
        self.folder, self.stop, self.found = Path(folder), numbers.start, list[Part]()
        self.job = hashlib.sha256(repr(job).encode()).hexdigest()[:16]
        there = {path: match for path in self._files() if (match := PART.fullmatch(path.name))}
        begun = {match[4] for match in there.values() if match[1] == self.job} - {None}
        self.computed_in = wanted if wanted != "auto" else min(begun, default=None)
        for path, match in sorted(there.items(), key=lambda item: (int(item[1][2]), -int(item[1][3]))):
            first, end = int(match[2]), int(match[3])
            if (match[1], match[4]) != (self.job, self.computed_in):
                path.unlink(missing_ok=True)
            elif first == self.stop and first < end <= numbers.stop:
                self.found.append(Part(path, range(first, end), _cost(path)))
                self.stop = end

    def add(self, pairs: Pairs, cost: Cost) -> None:
        """Write the next pairs."""
        numbers = range(self.stop, self.stop + len(pairs))
        path = self.folder / f"{self.job}-{numbers.start:09d}-{numbers.stop:09d}.{self.computed_in}.zip"
        with atomic(path) as file:
            write_batches(file, pairs.table, [pairs], note=json.dumps(cost._asdict()))
        self.found.append(Part(path, numbers, cost))
        self.stop = numbers.stop

    @property
    def cost(self) -> Cost:
        """What all of them cost."""
        return Cost(*(sum(of) for of in zip(*(part.cost for part in self.found), strict=True)))

    def join(self, path: str | Path) -> None:
        """Write the one archive at `path`."""
        members = _members([part.path for part in self.found])
        with atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for info, content in members:
                archive.writestr(info, content)

    def drop(self) -> None:
        """Remove the parts, and the folder if nothing else is in it but what a killed run was writing."""
        for path in self._files():
            if (match := PART.fullmatch(path.name)) and match[1] == self.job:
                path.unlink(missing_ok=True)
        left = self._files()
        if all(path.name.startswith(PREFIX) for path in left):
            for path in left:
                path.unlink(missing_ok=True)
            with suppress(OSError):
                self.folder.rmdir()

    def _files(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []


def _members(paths: Sequence[Path]) -> Iterator[tuple[zipfile.ZipInfo, bytes]]:
    """The members of one archive made of those at `paths`; images are copied unchanged."""
    yield _info("pairs.csv"), table_csv(join_tables(map(read_table, paths)))
    for path in paths:
        with _opened(path) as part:
            for member in part.namelist():
                if member != "pairs.csv":
                    yield _info(member), _content(part, member)


def _cost(path: Path) -> Cost:
    try:
        return Cost(**{key: float(value) for key, value in json.loads(read_note(path)).items()})
    except (InputError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected samples of an interrupted run; remove it to start anew"
        ) from error


# --- reading with care ---


@contextmanager
def _opened(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """The archive, whose `filename` is the path."""
    with open(path, "rb") as file:
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # arbitrary bytes make zipfile stumble in arbitrary ways
            raise InputError(f"{path}: expected a ZIP archive of pairs ({error})") from None
        with archive:
            yield archive


def _table(archive: zipfile.ZipFile) -> pd.DataFrame:
    name = archive.filename
    if twice := [member for member, number in Counter(archive.namelist()).items() if number > 1]:
        raise InputError(f"{name}: {twice[0]}: expected one member of that name, found several")
    table = read_csv(io.BytesIO(_content(archive, "pairs.csv")), f"{name}: pairs.csv", text=True)
    check_table(table, f"{name}: pairs.csv")
    if table.empty:
        raise InputError(f"{name}: pairs.csv: expected at least one pair")
    return table


def _pairs(archive: zipfile.ZipFile, table: pd.DataFrame, shape: tuple[int, ...] = ()) -> Pairs:
    """The pairs of some rows of the archive's table, all of one size: `shape`, or that of the first."""
    images = _stack(archive, [f"images/{text}.png" for text in table["id"]], shape)
    if not any(member.startswith("masks/") for member in archive.namelist()):
        return Pairs(images, None, table)
    masks = _stack(archive, [f"masks/{text}.png" for text in table["id"]], images.shape[1:])
    for i in np.flatnonzero(((masks != 0) & (masks != 255)).any(axis=(1, 2))):
        found = np.setdiff1d(masks[i], [0, 255])[0]
        member = f"{archive.filename}: masks/{table['id'].iloc[i]}.png"
        raise InputError(f"{member}: expected only 0 and 255, found {found}")
    return Pairs(images, masks > 0, table)


def _content(archive: zipfile.ZipFile, member: str) -> bytes:
    """What a member holds, never more than BYTES of it in memory."""
    name = archive.filename
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


def _stack(archive: zipfile.ZipFile, members: list[str], shape: tuple[int, ...] = ()) -> Grey:
    """(N, H, W) pixels of the members, all of one size: `shape`, or that of the first."""
    name, out = str(archive.filename), np.empty((0, 0, 0), np.uint8)
    for i, member in enumerate(members):
        content = _content(archive, member)
        try:
            pixels = decode(content)
        except ValueError as error:
            raise InputError(f"{name}: {member}: {error}") from None
        if i == 0:
            shape = shape or pixels.shape
            check_memory(len(members), shape, name)
            out = np.empty((len(members), *shape), np.uint8)
        if pixels.shape != shape:
            found = f"expected {dimensions(shape)} pixels (height x width), found {dimensions(pixels.shape)}"
            raise InputError(f"{name}: {member}: {found}")
        out[i] = pixels
    return out


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system, info.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
    return info
