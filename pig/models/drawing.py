"""How `pig sample` draws: a tile after the other, handed on in batches, and a GPU never waits for that."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pig.data.conditions import Given
from pig.data.pairs import Pairs, concatenate
from pig.models.generator import Frame, Model

WAITING = 2  # tiles of a GPU that may wait to be written before it does


class Cost(NamedTuple):
    """What some samples took, encoding and writing apart."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all threads of the process; other work on the machine does not lengthen it


Keep = Callable[[int, Pairs, Cost], Any]  # (number of the first, pairs, what they cost)


def draw(model: Model, numbers: range, at: int, size: int, given: Given | None, keep: Keep) -> Iterator[None]:
    """Sample those of `numbers` from `at` on, and `keep` them, `size` at a time; yields once for each.

    given: of the conditional methods, the masks that they are given. What is computed does not depend on `at`: the
    tile that holds it is drawn whole.
    """
    batches, tile = _Batches(model, at, size, keep), model.sampling.tile
    with _submitting(model.device) as submit:
        while at < numbers.stop:
            start = at - at % tile
            rows = range(max(start, numbers.start), min(start + tile, numbers.stop))
            started = _clocks()
            masks, sources = given.of(rows) if given else (None, [""] * len(rows))
            shown, wanted = 0, rows.stop - at
            for done, frame in enumerate(model.frames(rows, masks), 1):
                if frame.last:
                    submit(batches.take, *_fetched(frame), sources, started)
                due = wanted * done // model.steps
                for _ in range(due - shown):
                    yield
                shown = due
            at = rows.stop
        submit(batches.finish)


def _clocks() -> Cost:
    """Now, on the wall and in the processor."""
    return Cost(time.perf_counter(), time.process_time())


def _fetched(frame: Frame) -> tuple[Frame, Callable[[], Any]]:
    """The frame in the processor's memory, and what waits until it is there: a GPU computes on meanwhile."""
    if not frame.y0_hat.is_cuda:
        return frame, lambda: None

    def fetch(tensor: Tensor) -> Tensor:
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        return pinned.copy_(tensor, non_blocking=True)

    x0_hat = None if frame.x0_hat is None else fetch(frame.x0_hat)
    moved, copied = frame._replace(x0_hat=x0_hat, y0_hat=fetch(frame.y0_hat)), torch.cuda.Event()
    copied.record()
    return moved, copied.synchronize


@contextmanager
def _submitting(device: torch.device) -> Iterator[Callable[..., None]]:
    """Yields a submit function: inline, or of a GPU one worker with a bounded queue.

    On a CPU the worker would be a thread more than were granted.
    """
    if device.type != "cuda":
        yield lambda job, *given: job(*given)
        return
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as worker:

        def submit(job: Callable[..., None], *given: Any) -> None:
            while len(waiting) >= WAITING:
                waiting.popleft().result()
            waiting.append(worker.submit(job, *given))

        yield submit
        for job in waiting:
            job.result()


class _Batches:
    """Takes tiles in their order and keeps their pairs from number `at` on, `size` at a time."""

    def __init__(self, model: Model, at: int, size: int, keep: Keep) -> None:
        self.model, self.at, self.size, self.keep = model, at, size, keep
        self.held: Pairs | None = None  # fewer than `size`, from number `at` on
        self.cost = Cost()  # of what is not kept yet
        self.last = Cost()  # the clocks when the last tile was there

    def take(self, frame: Frame, wait: Callable[[], Any], sources: list[str], started: Cost) -> None:
        wait()
        now = _clocks()
        spent = (c + t - max(s, e) for c, t, s, e in zip(self.cost, now, started, self.last, strict=True))
        self.cost, self.last = Cost(*spent), now
        held = 0 if self.held is None else len(self.held)
        new = self.model.pairs(frame, sources)
        new = new.select(range(self.at + held - frame.numbers.start, len(new)))
        self.held = new if self.held is None else concatenate([self.held, new])
        while self.held is not None and len(self.held) >= self.size:
            self._keep(self.size)

    def finish(self) -> None:
        """Keep the last ones too."""
        if self.held is not None:
            self._keep(len(self.held))

    def _keep(self, number: int) -> None:
        assert self.held is not None
        self.keep(self.at, self.held.select(range(number)), self.cost)
        self.held = self.held.select(range(number, len(self.held))) if len(self.held) > number else None
        self.at, self.cost = self.at + number, Cost()
