"""What a person reads while a verb works: lines on standard error; and the one document that a machine reads."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pig.core.errors import plain

_silent = False


@contextmanager
def silence(on: bool) -> Iterator[None]:
    """While the block runs, `say` and `pig.cli.progress.track` show nothing, if `on` (--quiet)."""
    global _silent
    before, _silent = _silent, on
    try:
        yield
    finally:
        _silent = before


def silent() -> bool:
    """Whether --quiet was given."""
    return _silent


def say(line: str) -> None:
    """One line for the person who started the verb; nothing with --quiet."""
    if not _silent:
        complain(line)


def complain(line: str) -> None:
    """One line of an error, which --quiet does not take away."""
    print(f"pig: {plain(line)}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """`value` as the only thing on standard output (--json)."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns on standard output, all but the first flush right, under a head that is bold in a terminal."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        first, *others = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        line = "  ".join([first.strip().ljust(widths[0]), *others])
        print(f"\x1b[1m{line}\x1b[0m" if row is head and coloured(sys.stdout) else line)


def redraws(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal that can draw over what it shows; one with TERM=dumb can not."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def coloured(stream: IO[str]) -> bool:
    """Whether `stream` may be coloured: a terminal that redraws, and no NO_COLOR (no-color.org)."""
    return redraws(stream) and not os.environ.get("NO_COLOR")


def amount(size: float) -> str:
    """Bytes as a person says them: 999 bytes, 1.5 kB, 12 MB."""
    if size < 1000:
        return f"{size:.0f} bytes"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:,.0f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: 0.4 s, 59 s, 3 min 12 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def summary(told: str | None, written: Iterable[Path], seconds: float) -> str:
    """The last line of a verb: what it has to tell, what it wrote, how long it took."""
    files = [f"{path}/" if path.is_dir() else f"{path} ({amount(path.stat().st_size)})" for path in written]
    listed = " and ".join(filter(None, [", ".join(files[:-1]), *files[-1:]]))
    wrote = f"wrote {listed} in {duration(seconds)}" if files else f"done in {duration(seconds)}"
    return f"{told}; {wrote}" if told else wrote
