"""Joint: mask and image as two channels of one network, the control of PIG's two (ours)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pig.core.params import Built, Sampling, Shared
from pig.models.losses import loss_of_chain
from pig.models.method import Batch, Frozen, Net, Sampler, Tile, chain, denoiser, noise_of, unet
from pig.models.table import Denoising
from pig.models.unet import Unguided, parameters


class Settings(Shared):
    joint: Denoising


def make(built: Built) -> nn.Module:
    """One net with about as many parameters as PIG's two: the width that comes closest."""
    width = built.network.width
    with torch.device("meta"):
        wanted = 2 * parameters(unet(built, 2))
        sizes = {w: parameters(unet(built, 2, 2, width=w)) for w in range(width, 2 * width + 1)}
    best = min(sizes, key=lambda w: abs(sizes[w] - wanted))
    # The normalisation's groups must divide that width: as near as can be to those of the other networks.
    divisors = (n for n in range(1, best + 1) if best % n == 0)
    groups = min(divisors, key=lambda n: abs(n - built.network.groups))
    return Unguided(unet(built, 2, 2, width=best, groups=groups))


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """The loss of an image of two channels."""
    both = torch.cat([batch.x0, batch.y0], 1)
    return loss_of_chain(model, both, None, batch, settings, settings.joint)


def sample(nets: Frozen, tile: Tile, sampling: Sampling) -> Iterator[tuple[Tensor, Tensor]]:
    """One chain of two channels."""
    model = denoiser(nets["joint"], tile.alphabar, sampling, sampling.clip)
    steps = chain(model, None, noise_of(tile, 2, nets["joint"]), sampling)
    return ((both[:, :1], both[:, 1:]) for both in steps)


NETS: dict[str, Net[Any, Any]] = {"joint": Net(Built, Settings, make, loss, lambda s: s.joint.prediction)}
SAMPLERS = {"joint": Sampler(sample)}
