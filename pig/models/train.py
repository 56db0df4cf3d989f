"""How a network of the table is trained: its first weights, and the losses that `pig.training.fit.fit` calls."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pig.core.params import Shared
from pig.data.pairs import Pairs, scale
from pig.models import weights
from pig.models.augment import augment
from pig.models.method import Batch, Frozen, net, schedule
from pig.training.fit import Loss, seed_of
from pig.training.ranks import Ranks


def start(name: str, settings: Shared, frozen: Frozen, device: torch.device) -> nn.Module:
    """The network before its first step, seeded with training.seed; on a GPU it and those frozen are laid out for it.

    Raises:
        InputError: initial weights of another network.
    """
    kind = net(name)
    torch.manual_seed(settings.training.seed)
    model = kind.make(settings)
    if kind.adopt:
        kind.adopt(model, frozen[kind.adopts].model)
    if initial := kind.initial(settings):
        weights.fill(model, weights.load(initial)[0], initial)
    model.to(device)
    if device.type == "cuda":
        for_gpu(model, frozen, settings.training.compile)
    return model


def for_gpu(model: nn.Module, frozen: Frozen, compile: bool) -> None:
    """Lay the weights out as a GPU's convolutions want them (on a CPU it costs a training step a tenth).

    With `compile` the frozen networks are compiled too, without CUDA graphs: their outputs are the guide, which the
    trained network keeps for its gradient. `fit` compiles the trained one.
    """
    torch.backends.cudnn.benchmark = True  # all batches have one shape
    for part in (model, *(trained.model for trained in frozen.values())):
        part.to(memory_format=torch.channels_last)
    if compile:
        for trained in frozen.values():
            trained.model.compile(dynamic=False)


def losses(
    name: str,
    frozen: Frozen,
    settings: Any,
    train: Pairs,
    held_out: Pairs,
    device: torch.device,
    ranks: Ranks,
) -> tuple[Loss, Callable[[nn.Module], float]]:
    """(training loss, validation loss) of a network for `fit`; settings are its own (`Net.settings`).

    The validation's draws are always the same; its batches are dealt out among the ranks, and all get the mean.
    """
    alphabar, own, kind = schedule(settings.process).to(device), settings.training, net(name)

    def tensors(pairs: Pairs) -> tuple[Tensor, Tensor]:
        """uint8 on the device: (masks, images), each (N, 1, H, W); scaled to [-1, 1] a batch at a time."""
        masks = torch.from_numpy(pairs.need_masks()).to(device, torch.uint8)[:, None]
        return masks, torch.from_numpy(pairs.images).to(device)[:, None]

    data, validation = tensors(train), tensors(held_out)

    def batch(of: tuple[Tensor, Tensor], rows: Tensor, generator: Generator) -> Batch:
        masks, images = (part[rows] for part in of)
        return Batch(masks.float() * 2 - 1, scale(images), alphabar, generator)

    def loss(model: nn.Module, rows: Tensor, generator: Generator) -> Tensor:
        given = batch(data, rows, generator)
        if own.flips or own.crop < 1:
            x0, y0, told = augment(given.x0, given.y0, own, generator)
            given = given._replace(x0=x0, y0=y0, told=told)
        return kind.loss(model, frozen, given, settings)

    def validate(model: nn.Module) -> float:
        batches = torch.arange(own.validation_draws).split(own.batch)
        sums = torch.zeros(len(batches), dtype=torch.float64, device=device)
        for i in range(ranks.rank, len(batches), ranks.size):
            rows = (batches[i] % len(held_out)).to(device)
            generator = torch.Generator().manual_seed(seed_of(own.seed, 3, int(batches[i][0])))
            value = kind.loss(model, frozen, batch(validation, rows, generator), settings).item()
            sums[i] = value * len(rows)
        return sum(ranks.total(sums).tolist()) / own.validation_draws

    return loss, validate


def finish(name: str, model: nn.Module, train: Pairs, size: int, device: torch.device) -> None:
    """What follows the last step, on all training images, `size` at a time."""
    kind = net(name)
    if kind.finish:
        parts = torch.from_numpy(train.images).split(size)
        kind.finish(model.eval(), [scale(part.to(device)[:, None]) for part in parts])
