"""A small network, its loss and its data, for the tests of fit()."""

from contextlib import contextmanager

import torch
from torch import nn

from pig.models.unet import UNet, Unguided

IMAGES = torch.linspace(-1, 1, 5 * 16).view(5, 1, 4, 4)


def net(dropout=0.0, **changed):
    torch.manual_seed(0)
    sizes = {"width": 8, "multipliers": (1,), "blocks": 1} | changed
    return Unguided(UNet(1, 1, dropout=dropout, **sizes))


def loss(model, rows, generator):
    eps = torch.randn(len(rows), 1, 4, 4, generator=generator)
    t = torch.randint(1, 9, (len(rows),), generator=generator)
    return (model(IMAGES[rows] + eps, None, t) - eps).square().mean()


def validate(model):
    return loss(model, torch.arange(5), torch.Generator().manual_seed(0)).item()


class Constant(nn.Module):
    """One weight, whose loss the test sets."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))


@contextmanager
def double():
    """Double precision, so that rounding cannot hide a difference."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
