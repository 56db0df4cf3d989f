"""Progress that a person can follow: a bar in a terminal, now and then a line in a log."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from pig.cli.console import redraws, silent

Item = TypeVar("Item")
LINE_EVERY = 10.0  # seconds between two lines of one job when several jobs share a terminal
LOG_EVERY = 60.0  # seconds in a log
GROWTH = 0.05  # between two lines, as a share of the time so far: a job of three days writes about 130


def track(
    items: Iterable[Item], total: int, label: str, initial: int = 0, unit: str = "step"
) -> Iterator[Item]:
    """Yield `items` and show how many of `total` are done, the rate in `unit`s a second and the time left.

    A live bar when standard error is a terminal that can redraw. Otherwise whole lines. With PIG_PROGRESS=lines and in
    a dumb terminal: one every ten seconds, and one at the end. (The Snakefile sets PIG_PROGRESS when Snakemake runs in
    a terminal, since its jobs share it.) In a log: one a minute, then ever fewer, and none of what takes less than a
    minute. Nothing with --quiet. `initial`: how many were done before.
    """
    shared = os.environ.get("PIG_PROGRESS") == "lines"
    if silent():
        yield from items
    elif not shared and redraws(sys.stderr):
        yield from _bar(items, total, label, initial, unit)
    elif shared or sys.stderr.isatty():
        yield from _lines(items, total, label, initial, unit, LINE_EVERY, always=True)
    else:
        yield from _lines(items, total, label, initial, unit, LOG_EVERY, always=False)


def _bar(items: Iterable[Item], total: int, label: str, initial: int, unit: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Left
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(rate(task.finished_speed or task.speed or 0.0, unit))

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        Rate(),
        Left(elapsed_when_finished=True),
    )
    # Two drawings a second: more would cost a training time. What others print to standard error goes above the bar;
    # standard output is left alone, for it may be a file.
    bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=2, redirect_stdout=False)
    with bar:
        task = bar.add_task(label, total=total, completed=initial)
        for item in items:
            yield item
            bar.advance(task)


def _lines(
    items: Iterable[Item], total: int, label: str, initial: int, unit: str, every: float, always: bool
) -> Iterator[Item]:
    """A line each time that `every` seconds and GROWTH of the time so far have passed; one at the end if `always`."""
    start = last = time.monotonic()
    for done, item in enumerate(items, initial + 1):
        yield item
        now = time.monotonic()
        spent = now - start
        ended = done == total and (always or spent >= every)
        if ended or now - last >= max(every, GROWTH * spent):
            last = now
            print(line(label, done, total, done - initial, spent, unit), file=sys.stderr, flush=True)


def line(label: str, done: int, total: int, worked: int, spent: float, unit: str) -> str:
    """`label: 50 % (300/600), 6.5 step/s, 0:00:46 left`: `worked` of the `done` took `spent` seconds, just now."""
    speed = worked / spent if spent > 0 else 0.0
    parts = [f"{100 * done // max(total, 1)} % ({done}/{total})", rate(speed, unit)]
    if done >= total:
        parts.append(f"{_clock(spent)} spent")
    elif speed:
        parts.append(f"{_clock((total - done) / speed)} left")
    return f"{label}: " + ", ".join(filter(None, parts))


def rate(speed: float, unit: str) -> str:
    """`speed` units a second as `6.5 step/s`, or as `4.2 s/step` where it is less than one."""
    if speed <= 0:
        return ""
    number = speed if speed >= 1 else 1 / speed
    shown = f"{number:.3g}" if number < 100 else f"{number:,.0f}"
    return f"{shown} {unit}/s" if speed >= 1 else f"{shown} s/{unit}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
