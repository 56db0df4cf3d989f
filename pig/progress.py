"""Progress that a person can follow, and silence in a log."""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
LINE_EVERY = 10.0  # seconds between two lines of one job when several jobs share a terminal


def track(
    items: Iterable[Item], total: int, label: str, initial: int = 0, unit: str = "step"
) -> Iterator[Item]:
    """Yield `items` and show how many of `total` are done, the rate in `unit`s a second and the remaining time.

    A live bar when standard error is a terminal. With PIG_PROGRESS=lines (set by the Snakefile when
    Snakemake itself runs in a terminal) whole lines, so that jobs side by side do not overwrite each
    other. Otherwise silent.
    """
    if os.environ.get("PIG_PROGRESS") == "lines":
        yield from _lines(items, total, label, initial, unit)
    else:
        columns, lines = shutil.get_terminal_size((100, 24))  # of a terminal that says 0 too
        yield from tqdm(
            items,
            total=total,
            desc=label,
            initial=initial,
            unit=unit,
            disable=None,
            ncols=columns,
            nrows=lines,
        )


def _lines(items: Iterable[Item], total: int, label: str, initial: int, unit: str) -> Iterator[Item]:
    start = last = time.monotonic()
    done = initial
    for done, item in enumerate(items, initial + 1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_EVERY or done == total:
            last = now
            bar = tqdm.format_meter(
                done, total, now - start, prefix=label, ncols=100, initial=initial, unit=unit
            )
            print(bar, file=sys.stderr, flush=True)
