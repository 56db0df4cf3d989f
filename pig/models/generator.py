"""A trained generator: what `pig.load` gives, and what `pig sample` and the study's jobs use.

Sample i depends on the seed, the networks' fold and i alone: it is the same bit for bit in any call, batch or shard;
on the CPU with the same number of threads (`pig sample` has one by default).
"""

import hashlib
import operator
import platform
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pig.core import params as settings
from pig.core.errors import InputError
from pig.data.archive import Cost, Parts
from pig.data.conditions import Given
from pig.data.pairs import Grey, Mask, Pairs, concatenate, grey
from pig.diffusion import seeded
from pig.models import table
from pig.models.method import MASKS, Tile, Trained, on, sampler, schedule
from pig.training.fit import seed_of
from pig.training.precision import cpuinfo, decided

# Of the weights on a CPU, by what is faster (docs/speed.md, "Precision"); `loading` has laid those on a GPU out.
LAYOUT = {"fp32": torch.channels_last, "bf16": torch.contiguous_format}
WAITING = 2  # tiles of a GPU that may wait to be written before it does
# What a report says of the section `sampling`, and of the networks' headers.
SOLVING = ("solver", "spacing", "settle", "clip", "compile", "seed")
KEPT = (
    "parameters",
    "seen",
    "trained_pairs",
    "data",
    "network",
    "training",
    "process",
    "computed_in",
    "validation",
)


class Pair(NamedTuple):
    """One sample, as archives hold it."""

    mask: NDArray[np.bool_] | None  # (H, W), True in the lesion; None from the methods that give images alone
    image: NDArray[np.uint8]  # (H, W), grey, 0..255


class Frame(NamedTuple):
    """One sampling step of one tile of samples."""

    numbers: range  # of its samples
    x0_hat: Tensor | None  # (B, 1, H, W), estimates so far, or the mask that was given
    y0_hat: Tensor  # of LDM latents, but for the last step
    last: bool  # whether these are the samples


@dataclass(frozen=True)
class Model:
    """A trained generator, as `pig.load` gives it."""

    method: str  # of the table METHODS in pig/models/table.py
    size: tuple[int, int]  # (H, W) of its samples, pixels
    fold: int  # of the study, whose training patients it saw
    sampling: settings.Sampling  # the section `sampling` of params.yaml
    headers: Mapping[str, Mapping[str, Any]] = field(repr=False)  # of each network: how it was made
    nets: Mapping[str, Trained] = field(repr=False)
    process: settings.Process = field(repr=False)

    def sample(
        self,
        count: int,
        seed: int = 0,
        *,
        first: int = 0,
        masks: NDArray[np.bool_] | None = None,
        steps: int | None = None,
    ) -> Iterator[Pair]:
        """Samples number `first` to `first + count - 1` of the endless list that `seed` stands for.

        They come one after another, and are computed `self.sampling.tile` at a time, when they are asked for. Sample i
        depends on the seed and i alone: it is the same in any call, and that of `pig sample` with sampling.seed = seed.

        Args:
            count: how many, 1 or more.
            seed: 0 or more.
            first: number of the first, counted from 0.
            masks: (count, H, W) bool: what the conditional methods (LDM, SegGuidedDif, ControlNet) are to paint.
            steps: network evaluations of each net, if others than the study took.

        Raises:
            InputError: a number out of its range; steps that do not suit the networks; masks of another shape, for a
                method that makes its own, or none for one that needs them.
        """
        count, first = operator.index(count), operator.index(first)
        if count < 1 or first < 0:
            raise InputError(f"count {count}, first {first}: expected at least 1 and at least 0")
        own = {"seed": operator.index(seed)}
        if steps is not None:
            own[sampler(self.method).steps] = operator.index(steps)
        model = self.but(**own)
        conditional = bool(table.METHODS[self.method].masks)
        if (masks is not None) != conditional:
            raise InputError(f"masks: {self.method} {'paints given masks' if conditional else 'takes none'}")
        if masks is not None:
            masks = np.array(masks)  # a copy: what is computed later does not follow the caller's changes
            if masks.shape != (count, *self.size) or masks.dtype != np.bool_:
                wanted = (count, *self.size)
                raise InputError(f"masks: expected {wanted} bool, found {masks.shape} {masks.dtype}")
        return model._one_by_one(range(first, first + count), masks)

    def _one_by_one(self, numbers: range, given: NDArray[np.bool_] | None) -> Iterator[Pair]:
        for frame in self.frames(numbers, given):
            if frame.last:
                masks, images = self.pixels(frame)
                for i, image in enumerate(images):
                    yield Pair(None if masks is None else masks[i], image)

    def but(self, **changes: int | str) -> "Model":
        """The same with other values in `sampling`. Raises InputError if they do not suit the networks."""
        merged = {**self.sampling.model_dump(), **changes}
        sampling = settings.checked(settings.Sampling, merged, "sample")
        sampling.check(self.process.T, "the network's T")
        return replace(self, sampling=sampling)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return on(next(iter(self.nets.values())))

    @property
    def computed_in(self) -> str:
        """The precision of its samples, fp32 or bf16, where sampling.precision may be auto."""
        return decided(self.sampling.precision, self.device)

    @property
    def alphabar(self) -> Tensor:
        """The schedule that its networks were trained on, (T + 1,)."""
        return schedule(self.process)

    @property
    def steps(self) -> int:
        """Frames of a sample."""
        return getattr(self.sampling, sampler(self.method).steps)

    def seeds(self, numbers: range) -> list[int]:
        """The seed of each sample."""
        return [seed_of(self.sampling.seed, self.fold, number) for number in numbers]

    def frames(self, numbers: range, masks: NDArray[np.bool_] | None = None) -> Iterator[Frame]:
        """The samples `numbers` step by step, a tile after the other; masks are (len(numbers), H, W) bool, or None.

        Libraries round a row otherwise at another place in the batch, or in a batch of another size. So networks are
        always called with sampling.tile rows, and sample i always stands in row i mod sampling.tile, copies filling the
        others: it is the same bit for bit alone, in any batch and in a shard.
        """
        size, alphabar = self.sampling.tile, self.alphabar
        sampling = self.sampling.model_copy(update={"precision": self.computed_in})
        if self.device.type == "cpu":
            for trained in self.nets.values():
                trained.model.to(memory_format=LAYOUT[sampling.precision])
        given = None if masks is None else torch.from_numpy(masks)[:, None].to(self.device).float() * 2 - 1
        seeds = self.seeds(numbers)
        for start in range(-(numbers.start % size), len(numbers), size):
            places = range(start, start + size)
            rows = range(max(start, 0), min(places.stop, len(numbers)))
            filled = [min(max(row, rows[0]), rows[-1]) for row in places]
            generators = seeded([seeds[i] for i in filled])
            below = None if given is None else given[torch.tensor(filled)]
            steps = sampler(self.method).sample(
                self.nets, Tile(generators, self.size, alphabar, below), sampling
            )
            wanted = slice(places.index(rows[0]), places.index(rows[-1]) + 1)
            for i, (x0_hat, y0_hat) in enumerate(steps, 1):
                x0_hat = None if x0_hat is None else x0_hat[wanted]
                yield Frame(numbers[rows.start : rows.stop], x0_hat, y0_hat[wanted], i == self.steps)

    def pixels(self, frame: Frame) -> tuple[Mask | None, Grey]:
        """The samples of a last frame: masks (B, H, W) or None, and images (B, H, W)."""
        y0_hat, masks = frame.y0_hat, None
        if frame.x0_hat is not None:
            rule = "sign" if table.METHODS[self.method].masks else self.sampling.mask  # given masks are masks
            masks = (MASKS[rule](frame.x0_hat) > 0)[:, 0].cpu().numpy()
        if self.sampling.grey_levels == "batch":  # the published code: stretched by the batch's extremes
            low, high = y0_hat.min(), y0_hat.max()
            y0_hat = (y0_hat - low) / (high - low).clamp(min=1e-12) * 2 - 1
        return masks, grey(y0_hat[:, 0].cpu().numpy())

    def pairs(self, frame: Frame, sources: Sequence[str]) -> Pairs:
        """The same as an archive holds them. sources: of each sample the pair that its mask is of, or ""."""
        masks, images = self.pixels(frame)
        rows = {
            "id": [f"{self.method}-{self.fold}-{i:06d}" for i in frame.numbers],
            "patient": "",
            "view": "",
            "slice": "",
            "origin": self.method,
            "seed": [str(seed) for seed in self.seeds(frame.numbers)],
            "mask_of": list(sources),
        }
        return Pairs(images, masks, pd.DataFrame(rows))

    def draw(self, numbers: range, given: Given | None, parts: Parts, size: int) -> Iterator[None]:
        """Sample those of `numbers` that `parts` has not yet, and add them, `size` at a time; yields once for each.

        given: of the conditional methods, the masks that they are given. What is computed does not depend on where it
        goes on: the tile that holds the first is drawn whole.
        """
        at, tile = parts.stop, self.sampling.tile
        batches = _Batches(self, parts, size)
        with _submitting(self.device) as submit:
            while at < numbers.stop:
                start = at - at % tile
                rows = range(max(start, numbers.start), min(start + tile, numbers.stop))
                started = _clocks()
                masks, sources = given.of(rows) if given else (None, [""] * len(rows))
                shown, wanted = 0, rows.stop - at
                for done, frame in enumerate(self.frames(rows, masks), 1):
                    if frame.last:
                        submit(batches.take, *_fetched(frame), sources, started)
                    due = wanted * done // self.steps
                    for _ in range(due - shown):
                        yield
                    shown = due
                at = rows.stop
            submit(batches.finish)

    def operations(self) -> int:
        """Multiply-adds of all networks for one sample, counted on one and two steps, the rest being alike."""
        kind, own = sampler(self.method), self.sampling
        masks = np.zeros((1, *self.size), np.bool_) if table.METHODS[self.method].masks else None

        def count(steps: int, settle: float | None = None) -> int:
            few = replace(
                self, sampling=own.model_copy(update={"tile": 1, "settle": settle, kind.steps: steps})
            )
            with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
                for _ in few.frames(range(1), masks):
                    pass
            return counter.get_total_flops() // 2

        one, two = count(1), count(2)
        resting = self.steps - kind.guider(own) if kind.guider else 0
        return one + (self.steps - 1) * (two - one) - (resting * (two - count(2, 0.5)) if resting else 0)

    def digest(self) -> str:
        """Of all that decides a sample beside its number, the mask that it is given and the precision."""
        solver = self.sampling.model_dump(exclude={"batch", "shards", "precision"})
        code = table.METHODS[self.method].code()
        what = (self.method, self.size, solver, dict(self.headers), code)
        total = hashlib.sha256(repr(what).encode())
        total.update(f"{torch.__version__} {self.device.type}".encode())
        for trained in self.nets.values():
            for value in trained.model.state_dict().values():
                total.update(value.cpu().contiguous().numpy().tobytes())
        return total.hexdigest()

    def report(self) -> dict[str, Any]:
        """What samples, and how: ready for JSON."""
        return {
            "method": self.method,
            "fold": self.fold,
            "tile": self.sampling.tile,
            "steps": self.steps,
            "evaluations": evaluations(self.method, self.sampling),
            "computed_in": self.computed_in,
            "solver": {key: getattr(self.sampling, key) for key in SOLVING}
            | sampler(self.method).by(self.sampling),
            "machine": machine(self.device),
            "networks": {name: {key: head.get(key) for key in KEPT} for name, head in self.headers.items()},
        }


def evaluations(method: str, sampling: settings.Sampling) -> int:
    """How often a network is evaluated for one sample."""
    kind = sampler(method)
    return getattr(sampling, kind.steps) + (kind.guider(sampling) if kind.guider else 0)


def machine(device: torch.device) -> str:
    """What computes: the GPU, or the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    named = re.search(r"^model name\s*:(.*)", cpuinfo(), re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


# ---------------------------- how a GPU does not wait for what becomes of its samples
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
    """Takes tiles in their order and adds their pairs to the parts, `size` at a time."""

    def __init__(self, model: Model, parts: Parts, size: int) -> None:
        self.model, self.parts, self.size = model, parts, size
        self.held: Pairs | None = None  # fewer than `size`, which come next
        self.cost = Cost()  # of what is not kept yet
        self.last = Cost()  # the clocks when the last tile was there

    def take(self, frame: Frame, wait: Callable[[], Any], sources: list[str], started: Cost) -> None:
        wait()
        now = _clocks()
        spent = (c + t - max(s, e) for c, t, s, e in zip(self.cost, now, started, self.last, strict=True))
        self.cost, self.last = Cost(*spent), now
        held = 0 if self.held is None else len(self.held)
        new = self.model.pairs(frame, sources)
        new = new.select(range(self.parts.stop + held - frame.numbers.start, len(new)))
        self.held = new if self.held is None else concatenate([self.held, new])
        while self.held is not None and len(self.held) >= self.size:
            self._add(self.size)

    def finish(self) -> None:
        """Add the last ones too."""
        if self.held is not None:
            self._add(len(self.held))

    def _add(self, number: int) -> None:
        assert self.held is not None
        self.parts.add(self.held.select(range(number)), self.cost)
        self.held = self.held.select(range(number, len(self.held))) if len(self.held) > number else None
        self.cost = Cost()
