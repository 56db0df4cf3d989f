"""SegGuidedDif: the clean mask is a second channel of the network (Konz et al., MICCAI 2024)."""

from typing import Any

import torch
from torch import Tensor, nn

from pig.core.params import Built, Shared
from pig.models.losses import loss_of_chain
from pig.models.method import Batch, Frozen, Net, images, unet
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
    return loss_of_chain(model, batch.y0, guide, batch, settings, own)


NETS: dict[str, Net[Any, Any]] = {
    "segguided": Net(Built, Settings, make, loss, lambda s: s.segguided.prediction)
}
SAMPLERS = {"segguided": images("segguided"), "segguided-varied": images("segguided")}
