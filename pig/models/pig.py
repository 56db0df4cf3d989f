"""PIG, the paper's method: a guider for the mask and a guided model for the slice (Zhang et al., MICCAI 2025)."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from pig.core.params import Built, Sampling, Shared
from pig.diffusion import Denoiser, Estimate, guided_loss, guider_loss, sample_pairs
from pig.models.losses import draw_for, times_sigmoid, told, weight
from pig.models.method import MASKS, Batch, Frozen, Net, Sampler, Tile, denoiser, noise_of, solver, unet
from pig.models.solvers import times
from pig.models.table import Denoising, Guided
from pig.models.unet import Concatenated


class GuiderSettings(Shared):
    guider: Denoising


class GuidedSettings(GuiderSettings):
    guided: Guided


def make(built: Built) -> nn.Module:
    """Both: a U-Net that sees its guide as a second channel."""
    return Concatenated(unet(built, 2))


def loss_of_guider(model: nn.Module, frozen: Frozen, batch: Batch, settings: GuiderSettings) -> Tensor:
    """Algorithm 1."""
    own = settings.guider
    guider = Denoiser(told(model, batch), batch.alphabar, own.prediction)
    return guider_loss(
        guider, batch.x0, batch.y0, draw_for(batch.x0, batch, settings, own), weight(own, own.prediction)
    )


def loss_of_guided(model: nn.Module, frozen: Frozen, batch: Batch, settings: GuidedSettings) -> Tensor:
    """The guided model's, on the frozen guider's estimates."""
    own, trained = settings.guided, frozen["guider"]
    guided = Denoiser(told(model, batch), batch.alphabar, own.prediction)
    guider = Denoiser(told(trained.model, batch), batch.alphabar, trained.prediction, own.clip_guide)
    how = weight(own, own.prediction)
    if own.loss_weight == "sigmoid":
        how = times_sigmoid(how)
    return guided_loss(guided, guider, batch.x0, batch.y0, draw_for(batch.x0, batch, settings, own), how)


def sample(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[Tensor, Tensor]]:
    """Algorithm 2."""
    guider, guided = (
        denoiser(nets[name], tile.alphabar, sampling, sampling.clip) for name in ("guider", "guided")
    )
    # Laid out in memory as later x_t and y_t are, or the networks would be compiled once more.
    both = noise_of(tile, 2, nets["guider"])()
    xT, yT = both[:, :1].contiguous(), both[:, 1:].contiguous()
    at = times(tile.alphabar, sampling.steps, sampling.spacing)
    first = resting(guider, at[awake(sampling) - 1])
    second = thresholded(guided) if sampling.guide == "local_mean" else guided
    moves = solver(sampling, noise_of(tile, 1, nets["guider"]))
    return sample_pairs(first, second, xT, yT, tile.alphabar, at, moves)


def awake(sampling: Sampling) -> int:
    """Of sampling.steps, in how many the guider is evaluated: the share `settle`, but once at least."""
    return max(1, round((1.0 if sampling.settle is None else sampling.settle) * sampling.steps))


def resting(guider: Estimate, last: int) -> Estimate:
    """`guider`, which rests after time `last`: the mask has settled, and its estimate stays as it is."""
    kept: list[tuple[Tensor, Tensor]] = []

    def estimate(xt: Tensor, yt: Tensor | None, t: int) -> tuple[Tensor, Tensor]:
        if t >= last:
            kept[:] = [guider(xt, yt, t)]
        return kept[0]

    return estimate


def thresholded(guided: Estimate) -> Estimate:
    """`guided` that sees a mask of two values, as in the published code."""

    def estimate(yt: Tensor, x0_hat: Tensor | None, t: int) -> tuple[Tensor, Tensor]:
        assert x0_hat is not None
        return guided(yt, MASKS["local_mean"](x0_hat), t)

    return estimate


NETS: dict[str, Net[Any, Any]] = {
    "guider": Net(Built, GuiderSettings, make, loss_of_guider, lambda s: s.guider.prediction),
    "guided": Net(
        Built,
        GuidedSettings,
        make,
        loss_of_guided,
        lambda s: s.guided.prediction,
        initial=lambda s: s.guided.initial_weights,
    ),
}
SAMPLERS = {"pig": Sampler(sample, guider=awake)}
