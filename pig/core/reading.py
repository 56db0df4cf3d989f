"""Tables and JSON from files that may hold anything: read whole, checked, or refused by name."""

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import IO, Any, NamedTuple

import pandas as pd

from pig.core.errors import InputError

# Columns of text, even if it looks like numbers.
IDS = ("id", "patient", "image_of", "mask_of", "joint_of", "duplicate_of")
SEPARATORS = (";", "\t", "|")  # that others write where we expect a comma


def read_csv(
    source: str | Path | IO[bytes],
    name: str | None = None,
    *,
    columns: Iterable[str] = (),
    counts: Iterable[str] = (),
    numbers: Iterable[str] = (),
    blanks: Iterable[str] = (),
    text: bool = False,
    separator: str = ",",
) -> pd.DataFrame:
    """The table in `source`, a path or an open binary file: CSV, UTF-8 with or without a BOM.

    Args:
        name: of the source, for errors; the path itself if not given.
        columns, counts, numbers, blanks: what must be there, in at least one row: text, whole numbers, numbers or
            nothing, text or nothing.
        text: every cell is text, "" where empty. Otherwise only `columns`, `blanks` and IDS are.

    Raises:
        InputError: no such table; it names the source, the column and what was expected.
    """
    name = str(source) if name is None else name
    columns, counts, numbers, blanks = map(tuple, (columns, counts, numbers, blanks))
    kinds: Any = str if text else dict.fromkeys((*IDS, *columns, *blanks), str)
    try:
        with warnings.catch_warnings():
            # Where all rows are longer than the header pandas would cut them, with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(source, sep=separator, dtype=kinds, keep_default_na=not text, index_col=False)
    except (ValueError, pd.errors.ParserWarning) as error:  # pandas' own errors are among them
        raise InputError(f"{name}: expected a CSV table in UTF-8 ({' '.join(str(error).split())})") from None
    needed = (*columns, *counts, *numbers, *blanks)
    if missing := [column for column in needed if column not in table]:
        raise InputError(f"{name}: expected a column {missing[0]}; has {listed(table)}")
    if needed and table.empty:
        raise InputError(f"{name}: expected at least one row under {', '.join(map(str, table))}")
    for column in (*counts, *numbers):
        found = pd.to_numeric(table[column], errors="coerce")
        if (bad := table[column][found.isna() & table[column].notna()]).size:
            raise InputError(f"{name}: {column}: expected numbers; found {bad.iloc[0]!r}")
    for column in columns:
        if table[column].isna().any():
            raise InputError(f"{name}: {column}: expected text in every row; found an empty cell")
    for column in counts:
        if not (table[column] % 1 == 0).all():
            raise InputError(f"{name}: {column}: expected whole numbers in every row; found others")
    return table


class Kind(NamedTuple):
    """The columns of one kind of csv file, as `read_csv` takes them: told once, for all who read it."""

    columns: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    blanks: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(dict.fromkeys(name for part in self for name in part))

    def read(self, *paths: str | Path) -> pd.DataFrame:
        """The rows of all the files at `paths`. Raises InputError."""
        return pd.concat([read_csv(path, **self._asdict()) for path in paths], ignore_index=True)


def listed(table: pd.DataFrame) -> str:
    """The columns of `table`, and what that tells if there is only one."""
    names = ", ".join(map(str, table))
    used = [mark for mark in SEPARATORS if mark in names]
    return names + (f"; expected commas, found {used[0]!r}" if used and table.shape[1] == 1 else "")


def read_text(path: str | Path) -> str:
    """The text in a file. Raises InputError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8 ({error})") from None


def read_json(path: str | Path, kinds: Mapping[str, type | UnionType] | None = None) -> Any:
    """What a JSON file holds; with `kinds`, an object that has these keys, with values of these kinds.

    Raises:
        InputError: it names the file, the key and what was expected.
    """
    try:
        found = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON ({error})") from None
    if kinds is not None:
        check(found, kinds, str(path))
    return found


def check(found: Any, kinds: Mapping[str, type | UnionType], name: str) -> None:
    """Raise InputError, naming `name`, unless `found` is an object that has these keys, with values of these kinds."""
    for key, kind in kinds.items():
        if not isinstance(found, dict) or key not in found:
            has = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise InputError(f"{name}: expected the key {key}; found {has or 'nothing'}")
        if not isinstance(found[key], kind):
            wanted = getattr(kind, "__name__", str(kind))
            raise InputError(f"{name}: {key}: expected {wanted}; found {found[key]!r}")
