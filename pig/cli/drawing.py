"""How `pig sample` draws: in tiles, regrouped into batches, which a GPU does not wait for."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from pig.cli.parts import Cost, Part

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pig.data.pairs import Mask, Pairs
    from pig.models.methods import Frame

WAITING = 2  # tiles of a GPU that may wait to be written before it does


def clocks() -> Cost:
    """Now, on the wall and in the processor."""
    return Cost(time.perf_counter(), time.process_time())


class Tile(NamedTuple):
    """Some successive samples as the networks left them, in this process's memory once `wait` has returned."""

    numbers: range
    given: "Mask | None"  # (B, H, W), of the conditional methods
    sources: list[str]  # the pairs that these are of
    x0_hat: "Tensor | None"
    y0_hat: "Tensor"
    started: Cost  # the clocks before
    wait: Callable[[], Any]


def ranges(numbers: range, at: int, size: int) -> Iterator[range]:
    """The tiles of `numbers` that hold what is from `at` on: cut at multiples of `size`, wherever it begins."""
    while at < numbers.stop:
        start = at - at % size
        yield range(max(start, numbers.start), min(start + size, numbers.stop))
        at = start + size


def paced(frames: "Iterator[Frame]", steps: int, items: int) -> "Iterator[Frame | None]":
    """The last of `steps` frames, as the last of `items`: the others are None, each when its share of steps is done."""
    shown = 0
    for step, frame in enumerate(frames, 1):
        while shown < min(items - 1, items * step // steps):
            shown += 1
            yield None
        if step == steps:
            yield frame


def fetched(tensor: "Tensor") -> "tuple[Tensor, Callable[[], Any]]":
    """`tensor` in this process's memory, and what waits until it is there: meanwhile a GPU computes on."""
    import torch

    if not tensor.is_cuda:
        return tensor, lambda: None
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return pinned, copied.synchronize


def aside(device: "torch.device") -> bool:
    """Whether pairs are encoded and written in a thread of their own; on a CPU that were one more than granted."""
    return device.type == "cuda"


@contextmanager
def in_order(aside: bool) -> "Iterator[Callable[[Callable[[Tile], None], Tile], None]]":
    """What does jobs one after another: at once, or aside, where WAITING of them may wait."""
    if not aside:
        yield lambda job, tile: job(tile)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as thread:

        def later(job: Callable[[Tile], None], tile: Tile) -> None:
            while len(waiting) >= WAITING:
                waiting.popleft().result()
            waiting.append(thread.submit(job, tile))

        yield later
        for job in waiting:
            job.result()


class Batches:
    """Takes tiles in their order and keeps their pairs from number `at` on, `size` at a time."""

    def __init__(
        self,
        at: int,
        size: int,
        to_pairs: "Callable[[Tile], Pairs]",
        keep: "Callable[[int, Pairs, Cost], Part]",
    ):
        self.at, self.size, self.to_pairs, self.keep = at, size, to_pairs, keep
        self.parts: list[Part] = []
        self.held: Pairs | None = None  # fewer than `size`, from number `at` on
        self.cost = Cost()  # of what no part has yet
        self.last = Cost()  # the clocks when the last tile was there

    def take(self, tile: Tile) -> None:
        from pig.data.pairs import concatenate

        tile.wait()
        now = clocks()
        self.cost = Cost(
            *(c + t - max(s, e) for c, t, s, e in zip(self.cost, now, tile.started, self.last, strict=True))
        )
        self.last = now
        held = 0 if self.held is None else len(self.held)
        new = self.to_pairs(tile)
        new = new.select(range(self.at + held - tile.numbers.start, len(new)))
        self.held = new if self.held is None else concatenate([self.held, new])
        while self.held is not None and len(self.held) >= self.size:
            self._write(self.size)

    def finish(self) -> list[Part]:
        """The parts, once the last pairs are kept too."""
        if self.held is not None:
            self._write(len(self.held))
        return self.parts

    def _write(self, number: int) -> None:
        assert self.held is not None
        self.parts.append(self.keep(self.at, self.held.select(range(number)), self.cost))
        self.held = self.held.select(range(number, len(self.held))) if len(self.held) > number else None
        self.at, self.cost = self.at + number, Cost()
