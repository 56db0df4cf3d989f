"""SegGuidedDif: the clean mask is a second channel of the network (Konz et al., MICCAI 2024)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pig.core.params import Built, Sampling, Shared
from pig.diffusion import Denoiser, image_loss
from pig.models.losses import draw, weight
from pig.models.method import Batch, Frozen, Net, Sampler, Tile, chain, denoiser, first_noise, on, unet
from pig.models.table import SegGuided
from pig.models.unet import Concatenated
from pig.training.ranks import whole


class Settings(Shared):
    segguided: SegGuided


def make(built: Built) -> nn.Module:
    return Concatenated(unet(built, 2))


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """The paper's mask ablation: in training the mask is dropped with probability `ablation`."""
    own, guide = settings.segguided, batch.x0
    if model.training and own.ablation > 0:
        rows, mine = whole(batch.generator, len(guide))
        kept = torch.rand((rows, 1, 1, 1), generator=batch.generator)[mine] >= own.ablation
        guide = torch.where(kept.to(guide.device), guide, torch.full_like(guide, -1))
    draws = draw(batch.y0, settings.process.T, batch.generator, settings.training.antithetic)
    model_y = Denoiser(model, batch.alphabar, own.prediction)
    return image_loss(model_y, batch.y0, guide, draws, weight(own, own.prediction))


def sample(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[Tensor | None, Tensor]]:
    """One chain, given the masks."""
    model = denoiser(nets["segguided"], tile.alphabar, sampling, sampling.clip)
    steps = chain(model, tile.masks, first_noise(tile, 1, on(nets["segguided"])), sampling)
    return ((tile.masks, y0_hat) for y0_hat in steps)


NETS: dict[str, Net[Any, Any]] = {
    "segguided": Net(Built, Settings, make, loss, lambda s: s.segguided.prediction)
}
SAMPLERS = {"segguided": Sampler(sample), "segguided-varied": Sampler(sample)}
