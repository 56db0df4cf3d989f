"""The unconditional rivals, one network of images alone: DDPM (Ho et al. 2020), DDIM (Song et al. 2021), or as PIG."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from pig.core.params import Built, Sampling, Shared
from pig.diffusion import Move, sample_images
from pig.models.losses import loss_of_chain
from pig.models.method import Batch, Frozen, Net, Sampler, Tile, denoiser, images, noise_of, unet
from pig.models.solvers import SOLVERS, Fresh, ancestral, times
from pig.models.table import Denoising
from pig.models.unet import Unguided


class Settings(Shared):
    ddpm: Denoising


def make(built: Built) -> nn.Module:
    return Unguided(unet(built, 1))


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """Ho et al. 2020, Eq. 14."""
    return loss_of_chain(model, batch.y0, None, batch, settings, settings.ddpm)


def uniform(solver: str, key: str, move: Callable[[Tensor, Fresh], Move]) -> Sampler:
    """sampling.`key` uniform steps by `move`, whatever sampling.solver and log_snr say."""

    def sample(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[None, Tensor]]:
        model = denoiser(nets["ddpm"], tile.alphabar, sampling, sampling.clip)
        fresh = noise_of(tile, 1, nets["ddpm"])
        at = times(tile.alphabar, getattr(sampling, key), sampling.uniform)
        steps = sample_images(model, fresh(), None, tile.alphabar, at, lambda alphabar: move(alphabar, fresh))
        return ((None, y0_hat) for y0_hat in steps)

    return Sampler(sample, key, solver)


NETS: dict[str, Net[Any, Any]] = {"ddpm": Net(Built, Settings, make, loss, lambda s: s.ddpm.prediction)}
SAMPLERS = {
    "ddpm": uniform("ancestral", "ddpm_steps", ancestral),
    "ddim": uniform("ddim", "ddim_steps", SOLVERS["ddim"]),
    "unconditional": images("ddpm"),
}
