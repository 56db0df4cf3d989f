"""DDPM and DDIM, the unconditional rivals: one network, images alone (Ho et al. 2020; Song et al. 2021)."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from pig.core.params import Built, Sampling, Shared
from pig.diffusion import Denoiser, image_loss
from pig.models.losses import draw, weight
from pig.models.method import Batch, Frozen, Net, Sampler, Tile, chain, denoiser, first_noise, on, unet
from pig.models.solvers import ancestral
from pig.models.table import Denoising
from pig.models.unet import Unguided


class Settings(Shared):
    ddpm: Denoising


def make(built: Built) -> nn.Module:
    return Unguided(unet(built, 1))


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """Ho et al. 2020, Eq. 14."""
    own = settings.ddpm
    draws = draw(batch.y0, settings.process.T, batch.generator, settings.training.antithetic)
    model_y = Denoiser(model, batch.alphabar, own.prediction)
    return image_loss(model_y, batch.y0, None, draws, weight(own, own.prediction))


def sample_ddpm(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[None, Tensor]]:
    """Ancestral sampling; each row's noise comes from its own generator."""
    device = on(nets["ddpm"])

    def fresh() -> Tensor:
        return first_noise(tile, 1, device)

    model = denoiser(nets["ddpm"], tile.alphabar, sampling, sampling.clip)
    steps = chain(model, None, fresh(), sampling, partial(ancestral, fresh=fresh), sampling.ddpm_steps)
    return ((None, y0_hat) for y0_hat in steps)


def sample_ddim(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[None, Tensor]]:
    """The deterministic chain of the same network."""
    model = denoiser(nets["ddpm"], tile.alphabar, sampling, sampling.clip)
    steps = chain(model, None, first_noise(tile, 1, on(nets["ddpm"])), sampling)
    return ((None, y0_hat) for y0_hat in steps)


NETS: dict[str, Net[Any, Any]] = {"ddpm": Net(Built, Settings, make, loss, lambda s: s.ddpm.prediction)}
SAMPLERS = {"ddpm": Sampler(sample_ddpm, steps="ddpm_steps"), "ddim": Sampler(sample_ddim)}
