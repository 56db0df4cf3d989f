"""LDM: the chain runs on the latents of an autoencoder, beside the mask (Rombach et al., CVPR 2022)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pig.core.params import Sampling
from pig.models import autoencoder as kl
from pig.models.losses import loss_of_chain
from pig.models.method import Batch, Frozen, Net, Sampler, Tile, chain, denoiser, noise_of, unet
from pig.models.table import Denoising
from pig.models.unet import Concatenated


class Settings(kl.Settings):
    ldm: Denoising


def make(built: kl.Built) -> nn.Module:
    """The latent U-Net. Its stem is divided by the autoencoder's factor."""
    own = built.autoencoder
    stem = max(1, built.network.stem // own.factor)
    return Concatenated(unet(built, own.channels + 1, own.channels, stem=stem))


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """The loss on latents, given the mask, averaged over each latent's area."""
    autoencoder = frozen_autoencoder(frozen)
    with torch.no_grad():
        z0 = autoencoder.encode(batch.y0)
    return loss_of_chain(model, z0, autoencoder.shrink(batch.x0), batch, settings, settings.ldm)


def sample(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[Tensor | None, Tensor]]:
    """Latents are not bounded, so they are never clipped; only the last become an image."""
    assert tile.masks is not None
    autoencoder = frozen_autoencoder(nets)
    model = denoiser(nets["ldm"], tile.alphabar, sampling, clip=False)
    channels, height, width = autoencoder.shape(*tile.shape)
    fresh = noise_of(tile._replace(shape=(height, width)), channels, nets["ldm"])
    for i, z0_hat in enumerate(chain(model, autoencoder.shrink(tile.masks), fresh, sampling), 1):
        yield tile.masks, autoencoder.decode(z0_hat) if i == sampling.steps else z0_hat


def frozen_autoencoder(nets: Frozen) -> kl.Autoencoder:
    model = nets["autoencoder"].model
    assert isinstance(model, kl.Autoencoder)
    return model


NETS: dict[str, Net[Any, Any]] = {"ldm": Net(kl.Built, Settings, make, loss, lambda s: s.ldm.prediction)}
SAMPLERS = {"ldm": Sampler(sample), "ldm-varied": Sampler(sample)}
