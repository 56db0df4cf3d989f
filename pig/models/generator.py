"""A trained method that samples: what `pig.load` gives, and what `pig sample` and the study's jobs use.

Sample i depends on the seed, the networks' fold and i alone: it is the same bit for bit in any call, batch or shard;
on the CPU with the same number of threads (`pig sample` has one by default).
"""

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pig.core import params as settings
from pig.core import paths
from pig.core.errors import InputError
from pig.core.reading import read_json
from pig.data.pairs import Grey, Mask, Pairs, grey
from pig.diffusion import seeded
from pig.models import table, weights
from pig.models.method import MASKS, Tile, Trained, net, on, sampler, schedule
from pig.training.fit import compiled, seed_of

LIBRARY, FORMAT = "pig", 1  # what an exported folder says of itself


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

    def but(self, **changes: int) -> "Model":
        """The same with other values in `sampling`. Raises InputError if they do not suit the networks."""
        merged = {**self.sampling.model_dump(), **changes}
        sampling = settings.header(settings.Sampling, merged, "sample")
        _check_steps(sampling, self.process)
        return replace(self, sampling=sampling)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return on(next(iter(self.nets.values())))

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
        given = None if masks is None else torch.from_numpy(masks)[:, None].to(self.device).float() * 2 - 1
        seeds = self.seeds(numbers)
        for start in range(-(numbers.start % size), len(numbers), size):
            places = range(start, start + size)
            rows = range(max(start, 0), min(places.stop, len(numbers)))
            filled = [min(max(row, rows[0]), rows[-1]) for row in places]
            generators = seeded([seeds[i] for i in filled])
            below = None if given is None else given[torch.tensor(filled)]
            steps = sampler(self.method).sample(
                self.nets, Tile(generators, self.size, alphabar, below), self.sampling
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


def evaluations(method: str, sampling: settings.Sampling) -> int:
    """How often a network is evaluated for one sample."""
    kind = sampler(method)
    return getattr(sampling, kind.steps) + (kind.guider(sampling) if kind.guider else 0)


# ---------------------------- from files
def load(
    path: str | Path,
    method: str | None = None,
    *,
    device: str | torch.device | None = None,
    params: str | Path | None = None,
    profile: str | None = None,
) -> Model:
    """A trained generator from a folder: one that `pig export` wrote, or a fold of a study, runs/PROFILE/fold0.

    Nothing is downloaded, and no code out of a file is run.

    Args:
        path: the folder.
        method: of a study, which of its generators, "pig" if not said; an export holds one.
        device: "cpu", "cuda", "cuda:1", or a torch.device; None: a GPU if there is one.
        params: of a study, the file of its settings, whose section `sampling` counts; None: params.yaml beside runs.
        profile: of a study, the profile of `params`; None: the name of the folder above the fold's.

    Raises:
        InputError: no such folder; no networks of the method in it; settings or files that do not fit together.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; expected one of `pig export`, or of a study, runs/PROFILE/fold0"
        )
    if (config := folder / paths.CONFIG).is_file():
        if params is not None or profile is not None:
            raise InputError(f"{folder}: an export has its own settings; expected neither params nor profile")
        found, sampling = read_config(config)
        if method not in (None, found):
            raise InputError(f"{folder}: method {method}: expected {found}, which was exported")
        method = found
    else:
        method = method or "pig"
        table.check_methods([method], "method")
        sampling = study_of(folder, params, profile).sampling
    return read(method, files_in(folder, method), sampling, _device(device))


def study_of(fold: Path, params: str | Path | None, profile: str | None) -> settings.Study:
    """The settings of the study that `fold`, ROOT/runs/PROFILE/fold0, is of. Raises InputError."""
    file, name = paths.study_of(fold)
    return settings.load(params or file, table.Params, profile or name)


def files_in(folder: str | Path, method: str) -> list[str]:
    """The files of a method's networks in a folder."""
    return [paths.net(folder, name) for name in table.METHODS[method].nets]


def read_config(path: Path) -> tuple[str, settings.Sampling]:
    """Method and settings of an export. Raises InputError: of another library or format, or spoilt."""
    found = read_json(path, {"library_name": str, "format": int, "method": str, "sampling": dict})
    for key, wanted in (("library_name", LIBRARY), ("format", FORMAT)):
        if found[key] != wanted:
            raise InputError(
                f"{path}: {key}: expected {wanted}, as `pig export` writes; found {found[key]!r}"
            )
    table.check_methods([found["method"]], f"{path}: method")
    return found["method"], settings.header(settings.Sampling, found["sampling"], f"{path}: sampling")


def read(
    method: str,
    files: Sequence[str | Path],
    sampling: settings.Sampling,
    device: torch.device,
    size: tuple[int, int] | None = None,
) -> Model:
    """A generator from the files of its networks, channels last, on a GPU compiled if sampling.compile says so.

    size: (H, W) of the samples, if another than that of the networks' training.

    Raises:
        InputError: files of other networks, or of several folds; a file without a size; steps that do not suit them.
    """
    found: dict[str, Trained] = {}
    headers: dict[str, dict[str, Any]] = {}
    for path in files:
        trained, header = read_net(path, device)
        model = trained.model.to(memory_format=torch.channels_last)  # faster inference
        if sampling.compile and device.type == "cuda":
            model = compiled(model)
        found[header["net"]], headers[header["net"]] = Trained(model, trained.prediction), header
    named, wanted = " ".join(map(str, files)), table.METHODS[method].nets
    if sorted(found) != sorted(wanted) or len(files) != len(found):
        raise InputError(f"{named}: {method} expects {' and '.join(wanted)}; found {', '.join(found)}")
    if len(folds := {header["fold"] for header in headers.values() if "fold" in header}) > 1:
        raise InputError(f"{named}: expected networks of one fold; found {sorted(folds)}")
    last = settings.header(settings.Header, headers[wanted[-1]], str(files[-1]))
    if size is None:
        if last.size is None:
            raise InputError(f"{files[-1]}: the header lacks size; expected [height, width]")
        size = (last.size[0], last.size[1])
    _check_steps(sampling, last.process)
    ordered = {name: headers[name] for name in wanted}
    return Model(method, size, last.fold, sampling, ordered, found, last.process)


def _check_steps(sampling: settings.Sampling, process: settings.Process) -> None:
    if complaint := sampling.unfit(process.T):
        raise InputError(f"{complaint} of the network's T = {process.T}")


def read_net(path: str | Path, device: torch.device) -> tuple[Trained, dict[str, Any]]:
    """A trained network, in evaluation mode on `device`, and its header. Raises InputError."""
    state, header = weights.load(path, ("net", "network", "prediction", "process"))
    checked = settings.header(settings.Header, header, str(path))
    if checked.net not in table.NETS:
        raise InputError(f"{path}: net is {checked.net!r}; expected one of {', '.join(table.NETS)}")
    kind = net(checked.net)
    built = settings.header(kind.built, header, str(path))
    with torch.device("meta"):  # takes no memory: the tensors must be there before a network of their size is
        weights.match(weights.portable(kind.make(built)), state, path)
    model = kind.make(built)
    weights.fill(model, state, path)
    return Trained(model.to(device).eval().requires_grad_(False), checked.prediction), header


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda"):
        raise InputError(f"device: expected cpu, cuda or cuda:N; found {str(device)!r}")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {found}: torch finds {torch.cuda.device_count()} GPUs here")
    return found
