"""What the file of a method offers, NETS that it trains and SAMPLERS that use them, and what these files share.

Shapes: x0 masks and y0 images (B, 1, H, W) in [-1, 1]; alphabar (T + 1,); see pig/diffusion.py.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Generator, Tensor, nn

from pig.core.params import Built, Process, Sampling, Shared
from pig.diffusion import (
    Denoiser,
    Move,
    cosine_schedule,
    linear_schedule,
    local_mean,
    sample_images,
    seeded_noise,
    sign,
)
from pig.models import table
from pig.models.augment import TOLD
from pig.models.solvers import SOLVERS, Fresh, times
from pig.models.unet import UNet

MASKS: dict[str, Callable[[Tensor], Tensor]] = {"sign": sign, "local_mean": local_mean}


# ---------------------------- what a file offers
class Trained(NamedTuple):
    """A network ready to sample with: a model of the one convention, and what it predicts."""

    model: nn.Module
    prediction: str


Frozen = Mapping[str, Trained]


class Batch(NamedTuple):
    """What a loss is computed from."""

    x0: Tensor
    y0: Tensor
    alphabar: Tensor  # on the device of x0
    generator: Generator  # of the CPU; the loss takes all its random numbers from it
    told: Tensor | None = None  # (B, TOLD) of pig/models/augment.py, if pairs are augmented


B = TypeVar("B", bound=Built)
S = TypeVar("S", bound=Shared)


@dataclass(frozen=True)
class Net(Generic[B, S]):
    """A network: how it is made and trained."""

    built: type[B]  # the sections of params.yaml that it is made from
    settings: type[S]  # the sections that its training uses
    make: Callable[[B], nn.Module]
    loss: Callable[[nn.Module, Frozen, Batch, S], Tensor]
    prediction: Callable[[S], str] = lambda settings: ""  # what it predicts; "": it is no denoiser
    initial: Callable[[S], str | None] = lambda settings: None  # a file of weights to start from
    adopts: str = ""  # a trained network to start from,
    adopt: Callable[[nn.Module, nn.Module], None] | None = None  # (model, that network)
    finish: Callable[[nn.Module, Sequence[Tensor]], None] | None = None  # (model, images), after training


class Tile(NamedTuple):
    """The rows that are sampled together."""

    generators: list[Generator]  # of each row its own
    shape: tuple[int, int]  # (H, W)
    alphabar: Tensor
    masks: Tensor | None  # (B, 1, H, W) of -1 and 1, of the conditional methods


@dataclass(frozen=True)
class Sampler:
    """How a method samples, step by step: (x0_hat or None, y0_hat)."""

    sample: Callable[[Frozen, Tile, Sampling], Iterator[tuple[Tensor | None, Tensor]]]
    steps: str = "steps"  # the key of `sampling` that holds its number of steps
    solver: str = ""  # what it always moves by, at uniform times; "": as `sampling` says
    guider: Callable[[Sampling], int] | None = None  # with a guider: in how many of them it is evaluated

    def by(self, sampling: Sampling) -> dict[str, str]:
        """The solver and the spacing that it really uses, named as in `sampling`."""
        if self.solver:
            return {"solver": self.solver, "spacing": sampling.uniform}
        return {"solver": sampling.solver, "spacing": sampling.spacing}


def net(name: str) -> "Net[Any, Any]":
    """A network of the table, from its file."""
    return import_module(f"pig.{table.NETS[name].module}").NETS[name]


def sampler(method: str) -> Sampler:
    """A method of the table, from its file."""
    return import_module(f"pig.{table.METHODS[method].module}").SAMPLERS[method]


# ---------------------------- what the files share
def schedule(process: Process) -> Tensor:
    """alphabar (T + 1,) of the section `process`."""
    if process.schedule == "cosine":
        return cosine_schedule(process.T)
    return linear_schedule(process.T, process.beta_1, process.beta_T)


def unet(built: Built, inputs: int, outputs: int = 1, **other: int) -> UNet:
    """The U-Net of the section `network`, where `other` does not say otherwise."""
    own = {**dict(built.network), "told": TOLD if built.network.told else 0}
    return UNet(in_channels=inputs, out_channels=outputs, **{**own, **other})


def on(trained: Trained) -> torch.device:
    """The device of a network."""
    return next(trained.model.parameters()).device


def denoiser(trained: Trained, alphabar: Tensor, sampling: Sampling, clip: bool) -> Denoiser:
    """The network as a sampler calls it: it computes in sampling.precision, the sampler in that of the noise.

    Its output is copied, since a compiled network's next call may write over it.
    """

    def model(noised: Tensor, guide: Tensor | None, t: Tensor) -> Tensor:
        # No disabled autocast: torch has none for "meta", where work is counted.
        half = sampling.precision == "bf16"  # `auto` was decided by Model
        with torch.autocast(noised.device.type, torch.bfloat16) if half else nullcontext():
            out = trained.model(noised, guide, t)
        return out.to(noised.dtype, copy=True)

    return Denoiser(model, alphabar, trained.prediction, clip)


def chain(model: Denoiser, guide: Tensor | None, fresh: Fresh, sampling: Sampling) -> Iterator[Tensor]:
    """One chain from fresh noise, by the times and moves of `sampling`: y0_hat after each step."""
    at = times(model.alphabar, sampling.steps, sampling.spacing)
    return sample_images(model, fresh(), guide, model.alphabar, at, solver(sampling, fresh))


def solver(sampling: Sampling, fresh: Fresh) -> Callable[[Tensor], Move]:
    """The moves of a chain by sampling.solver; what is drawn in a step comes from `fresh`."""
    return lambda alphabar: SOLVERS[sampling.solver](alphabar, fresh)


def noise_of(tile: Tile, channels: int, trained: Trained) -> Fresh:
    """Gives (B, channels, H, W) at each call, where the network is; each row's from its own generator."""
    return lambda: seeded_noise(tile.generators, (channels, *tile.shape)).to(on(trained))


def images(name: str) -> Sampler:
    """One chain of the network `name`, given the masks, if the method has any."""

    def sample(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[Tensor | None, Tensor]]:
        model = denoiser(nets[name], tile.alphabar, sampling, sampling.clip)
        steps = chain(model, tile.masks, noise_of(tile, 1, nets[name]), sampling)
        return ((tile.masks, y0_hat) for y0_hat in steps)

    return Sampler(sample)
