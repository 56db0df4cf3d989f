"""The compared generators as two tables: the networks that are trained, and the methods that sample with them.

A new rival is an entry here (and its parameters): which wrapper, which loss, which sampler.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from pig import masks
from pig.diffusion import (
    Draws,
    cosine_schedule,
    guided_loss,
    guider_loss,
    image_loss,
    linear_schedule,
    sample_images,
    sample_pairs,
    seeded,
    seeded_noise,
)
from pig.nets import Concatenated, UNet, Unguided

Settings = Any  # sections of params.yaml as attributes
Frames = Iterator[
    tuple[Tensor | None, Tensor]
]  # (x0_hat or None, y0_hat), each (B, 1, H, W), after each step


class Trained(NamedTuple):
    """A network ready to sample with: a model of the one convention, and what it predicts."""

    model: nn.Module
    prediction: str


@dataclass(frozen=True)
class Net:
    """A network of the study."""

    wrap: Callable[[UNet], nn.Module]
    in_channels: int
    needs: tuple[str, ...]  # trained networks that its loss uses, frozen
    loss: Callable[[nn.Module, Mapping[str, Trained], Tensor, Tensor, Tensor, Draws, Settings], Tensor]


@dataclass(frozen=True)
class Method:
    """A generator of the study."""

    nets: tuple[str, ...]
    paired: bool  # whether it gives masks
    steps: str  # the key of `sampling` that holds its number of steps
    sample: Callable[[Mapping[str, Trained], list[Generator], Sequence[int], Tensor, Settings], Frames]


def _weights(own: Settings) -> dict[str, float | None]:
    return {"min_snr": own.min_snr, "max_snr": own.max_snr}


# ---------------------------- losses: (model, frozen, x0, y0, alphabar, draws, settings)
def _guider(model, frozen, x0, y0, alphabar, draws, settings):  # type: ignore[no-untyped-def]
    own = settings.guider
    return guider_loss(model, x0, y0, alphabar, draws, prediction=own.prediction, **_weights(own))


def _guided(model, frozen, x0, y0, alphabar, draws, settings):  # type: ignore[no-untyped-def]
    own, guider = settings.guided, frozen["guider"]
    return guided_loss(
        model,
        guider.model,
        x0,
        y0,
        alphabar,
        draws,
        prediction=own.prediction,
        guider_prediction=guider.prediction,
        clip_guide=own.clip_guide,
        weight={"none": None, "sigmoid": torch.sigmoid}[own.loss_weight],
        **_weights(own),
    )


def _ddpm(model, frozen, x0, y0, alphabar, draws, settings):  # type: ignore[no-untyped-def]
    own = settings.ddpm
    return image_loss(model, y0, None, alphabar, draws, prediction=own.prediction, **_weights(own))


# ---------------------------- samplers: (nets, generators, shape, alphabar, sampling)
def _device(trained: Trained) -> torch.device:
    return next(trained.model.parameters()).device


def _pig(nets, generators, shape, alphabar, sampling):  # type: ignore[no-untyped-def]
    guider, guided = nets["guider"], nets["guided"]
    xT, yT = seeded_noise(generators, (2, *shape)).to(_device(guider)).split(1, dim=1)
    yield from sample_pairs(
        guider.model,
        guided.model,
        xT,
        yT,
        alphabar,
        sampling.steps,
        guider_prediction=guider.prediction,
        guided_prediction=guided.prediction,
        clip=sampling.clip,
        spacing=sampling.spacing,
        as_guide={"x0_hat": lambda x0_hat: x0_hat, "local_mean": masks.local_mean}[sampling.guide],
    )


def _images(steps: str, eta: float):  # type: ignore[no-untyped-def]
    def sample(nets, generators, shape, alphabar, sampling):  # type: ignore[no-untyped-def]
        ddpm = nets["ddpm"]

        def draw() -> Tensor:
            return seeded_noise(generators, (1, *shape)).to(_device(ddpm))

        frames = sample_images(
            ddpm.model,
            draw(),
            None,
            alphabar,
            getattr(sampling, steps),
            eta,
            prediction=ddpm.prediction,
            clip=sampling.clip,
            spacing=sampling.spacing,
            fresh=draw,
        )
        yield from ((None, y0_hat) for y0_hat in frames)

    return sample


NETS = {
    "guider": Net(Concatenated, 2, (), _guider),
    "guided": Net(Concatenated, 2, ("guider",), _guided),
    "ddpm": Net(Unguided, 1, (), _ddpm),
}
METHODS = {
    "pig": Method(("guider", "guided"), True, "steps", _pig),
    "ddpm": Method(("ddpm",), False, "ddpm_steps", _images("ddpm_steps", eta=1.0)),
    "ddim": Method(("ddpm",), False, "steps", _images("steps", eta=0.0)),
}


# ------------------------------------------------------------------ what the verbs call
def schedule(process: Settings) -> Tensor:
    """alphabar (T + 1,) of the section `process`."""
    makers = {
        "linear": lambda: linear_schedule(process.T, process.beta_1, process.beta_T),
        "cosine": lambda: cosine_schedule(process.T),
    }
    return makers[process.schedule]()


def build(net: str, network: Mapping[str, Any]) -> nn.Module:
    """A fresh network of NETS, wrapped, from the keys of the section `network`."""
    kind = NETS[net]
    return kind.wrap(UNet(in_channels=kind.in_channels, **network))


class Frame(NamedTuple):
    """One sampling step of one batch."""

    first: int  # row of its first sample among the seeds
    x0_hat: Tensor | None  # (B, 1, H, W), estimates so far
    y0_hat: Tensor
    last: bool  # whether these are the samples


def generate(
    method: str,
    nets: Mapping[str, Trained],
    seeds: Sequence[int],
    shape: Sequence[int],
    alphabar: Tensor,
    sampling: SimpleNamespace | Any,
) -> Iterator[Frame]:
    """Sample one pair (or image) a seed with a method of METHODS; yields a Frame after each step.

    shape is (H, W). Networks are always called with sampling.batch rows, the last batch being filled up
    with copies: the arithmetic of a row then does not depend on how many others are wanted, and sample i
    is the same bit for bit alone, in a batch and in a shard.
    """
    kind = METHODS[method]
    steps = getattr(sampling, kind.steps)
    for first in range(0, len(seeds), sampling.batch):
        some = list(seeds[first : first + sampling.batch])
        filled = some + some[-1:] * (sampling.batch - len(some))
        frames = kind.sample(nets, seeded(filled), shape, alphabar, sampling)
        for i, (x0_hat, y0_hat) in enumerate(frames, 1):
            x = None if x0_hat is None else x0_hat[: len(some)]
            yield Frame(first, x, y0_hat[: len(some)], i == steps)
