"""DDPM and DDIM, the unconditional rivals: one network, images alone (Ho et al. 2020; Song et al. 2021)."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from pig.core.params import Built, Sampling, Shared
from pig.models.losses import loss_of_chain
from pig.models.method import Batch, Frozen, Net, Sampler, Tile, chain, denoiser, first_noise, images, unet
from pig.models.solvers import ancestral
from pig.models.table import Denoising
from pig.models.unet import Unguided


class Settings(Shared):
    ddpm: Denoising


def make(built: Built) -> nn.Module:
    return Unguided(unet(built, 1))


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """Ho et al. 2020, Eq. 14."""
    return loss_of_chain(model, batch.y0, None, batch, settings, settings.ddpm)


def ancestral_chain(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[None, Tensor]]:
    """Ancestral sampling; each row's noise comes from its own generator."""

    def fresh() -> Tensor:
        return first_noise(tile, 1, nets["ddpm"])

    model = denoiser(nets["ddpm"], tile.alphabar, sampling, sampling.clip)
    steps = chain(model, None, fresh(), sampling, partial(ancestral, fresh=fresh), sampling.ddpm_steps)
    return ((None, y0_hat) for y0_hat in steps)


NETS: dict[str, Net[Any, Any]] = {"ddpm": Net(Built, Settings, make, loss, lambda s: s.ddpm.prediction)}
SAMPLERS = {"ddpm": Sampler(ancestral_chain, steps="ddpm_steps"), "ddim": images("ddpm")}
