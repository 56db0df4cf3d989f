"""What `import pig` offers to those who will not run the pipeline: a trained generator to sample from.

It samples what `pig sample` does, bit for bit, since it is the same function (`pig.models.methods.generate`) with the same
networks, seeds and settings; on the CPU with the same number of threads (`pig sample` has one by default).
"""

import operator
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pig.core import params as settings
from pig.core.errors import InputError
from pig.core.reading import read_json
from pig.models.masks import RULES
from pig.models.methods import METHODS, Frame, Trained, generate
from pig.models.trained import alphabar_of, grey_levels, read_nets, seeds_of

CONFIG = "config.json"  # of an exported folder
LIBRARY, FORMAT = "pig", 1  # what it says of itself


class Pair(NamedTuple):
    """One sample, as archives hold it."""

    mask: NDArray[np.bool_] | None  # (H, W), True in the lesion; None from the methods that give images alone
    image: NDArray[np.uint8]  # (H, W), grey, 0..255


@dataclass(frozen=True)
class Model:
    """A trained generator, as `pig.load` gives it."""

    method: str  # of the table METHODS in pig/models/methods.py
    size: tuple[int, int]  # (H, W) of its samples, pixels
    fold: int  # of the study, whose training patients it saw
    sampling: settings.Sampling  # the section `sampling` of params.yaml
    headers: Mapping[str, Mapping[str, Any]] = field(repr=False)  # of each network: how it was made
    nets: Mapping[str, Trained] = field(repr=False)

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
        kind = METHODS[self.method]
        count, first = operator.index(count), operator.index(first)
        if count < 1 or first < 0:
            raise InputError(f"count {count}, first {first}: expected at least 1 and at least 0")
        own = {"seed": operator.index(seed)} | ({} if steps is None else {kind.steps: operator.index(steps)})
        sampling = settings.header(settings.Sampling, {**self.sampling.model_dump(), **own}, "sample")
        alphabar = alphabar_of(dict(self.headers[kind.nets[-1]]), sampling)
        if (masks is not None) != bool(kind.masks):
            raise InputError(f"masks: {self.method} {'paints given masks' if kind.masks else 'takes none'}")
        signs = None
        if masks is not None:
            masks = np.array(masks)  # a copy: what is computed later does not follow the caller's changes
            if masks.shape != (count, *self.size) or masks.dtype != np.bool_:
                wanted = (count, *self.size)
                raise InputError(f"masks: expected {wanted} bool, found {masks.shape} {masks.dtype}")
            device = next(self.nets[kind.nets[0]].model.parameters()).device
            signs = torch.from_numpy(masks)[:, None].to(device).float() * 2 - 1
        seeds = seeds_of(sampling.seed, self.fold, range(first, first + count))
        frames = generate(self.method, self.nets, seeds, self.size, alphabar, sampling, signs, first)
        return _pairs(frames, sampling, masks)


def _pairs(
    frames: Iterator[Frame], sampling: settings.Sampling, given: NDArray[np.bool_] | None
) -> Iterator[Pair]:
    for frame in frames:
        if not frame.last:
            continue
        for i, image in enumerate(grey_levels(frame.y0_hat, sampling.grey_levels)):
            mask = None
            if given is not None:
                mask = given[frame.first + i]
            elif frame.x0_hat is not None:
                mask = (RULES[sampling.mask](frame.x0_hat[i : i + 1]) > 0)[0, 0].cpu().numpy()
            yield Pair(mask, image)


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
    if (folder / CONFIG).is_file():
        if params is not None or profile is not None:
            raise InputError(f"{folder}: an export has its own settings; expected neither params nor profile")
        found, sampling = read_config(folder / CONFIG)
        if method not in (None, found):
            raise InputError(f"{folder}: method {method}: expected {found}, which was exported")
        method = found
    else:
        method = method or "pig"
        check_method(method, "method")
        sampling = settings_of(folder, params, profile).sampling
    return assemble(folder, method, sampling, _device(device))


def assemble(folder: Path, method: str, sampling: settings.Sampling, device: torch.device) -> Model:
    """The networks of `method` in `folder`, with settings that suit them. Raises InputError."""
    files = [folder / f"{net}.safetensors" for net in METHODS[method].nets]
    nets, headers = read_nets(method, files, device, sampling.compile)
    header = settings.header(settings.Header, headers[-1], str(files[-1]))
    if header.size is None:
        raise InputError(f"{files[-1]}: the header lacks size; expected [height, width]")
    alphabar_of(headers[-1], sampling)
    by_name = dict(zip(METHODS[method].nets, headers, strict=True))
    return Model(method, (header.size[0], header.size[1]), header.fold, sampling, by_name, nets)


def read_config(path: Path) -> tuple[str, settings.Sampling]:
    """Method and settings of an export. Raises InputError: of another library or format, or spoilt."""
    found = read_json(path, {"library_name": str, "format": int, "method": str, "sampling": dict})
    for key, wanted in (("library_name", LIBRARY), ("format", FORMAT)):
        if found[key] != wanted:
            raise InputError(
                f"{path}: {key}: expected {wanted}, as `pig export` writes; found {found[key]!r}"
            )
    check_method(found["method"], f"{path}: method")
    return found["method"], settings.header(settings.Sampling, found["sampling"], f"{path}: sampling")


def check_method(method: str, name: str) -> None:
    if method not in METHODS:
        raise InputError(f"{name}: expected one of {', '.join(METHODS)}; found {method!r}")


def settings_of(fold: Path, params: str | Path | None, profile: str | None) -> settings.Params:
    """The settings of the study that `fold`, ROOT/runs/PROFILE/fold0, is of. Raises InputError."""
    run = Path(os.path.abspath(fold)).parent  # which may be a link
    return settings.load(params or run.parent.parent / "params.yaml", profile or run.name)


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
