"""Tables and trees of files, as data sets come with them."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from pig.core.errors import InputError
from pig.core.reading import read_csv

MISSING = "missing file"


def read_table(path: Path, columns: Sequence[str], separator: str = ",") -> pd.DataFrame:
    """A CSV file as text, with spaces and newlines around names and values cut; at least `columns`.

    Raises:
        InputError: no such table.
    """
    table = read_csv(path, text=True, separator=separator)
    table.columns = table.columns.str.strip()
    if missing := [name for name in columns if name not in table]:
        found = ", ".join(map(str, table))
        raise InputError(
            f"{path}: expected columns separated by {separator!r}, {missing[0]!r} among them; has {found}"
        )
    return table.apply(lambda column: column.str.strip())


def read_tables(paths: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """The rows of all tables, with the column part: train, validation or test, as a file's name says."""
    tables = []
    for path in paths:
        part = re.search(r"train|validation|test", path.stem)
        tables.append(read_table(path, columns).assign(part=part[0] if part else ""))
    return pd.concat(tables, ignore_index=True)


def files_below(root: Path) -> Iterator[Path]:
    """All files below `root` in a fixed order; hidden ones and links to folders are passed over."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def known(texts: Iterable[str], words: Iterable[str]) -> str:
    """Those texts, in lower case, that are among `words`, joined by "+"; all others are left out."""
    return "+".join(sorted({text.lower() for text in texts} & set(words)))


def fit_name(text: str) -> str:
    """`text` with all but letters, digits, '_', '-', '.' made '_': an id of a pair."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).lstrip(".-") or "_"
