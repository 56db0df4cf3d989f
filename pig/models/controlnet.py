"""ControlNet: a frozen network steered by a trainable copy of its encoder (Zhang et al., ICCV 2023).

The copy sees the mask through a small encoder of its own, and speaks to the frozen decoder through 1x1
convolutions that start at zero: before the first step of training the output is the frozen network's, exactly.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pig.core.params import Built, Shared
from pig.models.losses import loss_of_chain
from pig.models.method import Batch, Frozen, Net, images, unet
from pig.models.table import Denoising, Objective
from pig.models.unet import UNet, Unguided, embed, encode


class Hint(nn.Module):
    """The mask (B, 1, H, W) at full resolution -> what is added to the first layer, (B, width, H/stem, W/stem).

    The last convolution starts at zero, as in the published code.
    """

    def __init__(self, width: int, stem: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv_2 = nn.Conv2d(16, 16, 3, padding=1)
        self.fold = nn.Conv2d(16, width, stem, stride=stem)
        self.zero = zeros(nn.Conv2d(width, width, 1))

    def forward(self, mask: Tensor) -> Tensor:
        h = F.silu(self.conv_2(F.silu(self.conv_1(mask))))
        return self.zero(F.silu(self.fold(h)))


class Control(nn.Module):
    """The trainable copy of a network's encoder and middle, the hint, and a zero convolution an output."""

    def __init__(self, net: UNet) -> None:
        super().__init__()
        self.stem = net.stem
        self.temb, self.told = copy.deepcopy(net.temb), copy.deepcopy(net.told)
        self.conv_in = copy.deepcopy(net.conv_in)
        self.down, self.mid = copy.deepcopy(net.down), copy.deepcopy(net.mid)
        self.hint = Hint(net.conv_in.out_channels, net.stem)
        kept = net.kept
        self.zero = nn.ModuleList(zeros(nn.Conv2d(c, c, 1)) for c in [*kept, kept[-1]])

    def forward(self, z: Tensor, mask: Tensor, t: Tensor, told: Tensor | None) -> list[Tensor]:
        """What is added to each activation that the frozen encoder keeps, and, last, to its middle."""
        temb = embed(self, t, told)
        skips = encode(self, z, temb, self.hint(mask))
        outputs = [*skips, self.mid(skips[-1], temb)]
        return [zero(output) for zero, output in zip(self.zero, outputs, strict=True)]


class Controlled(nn.Module):
    """model(noised, mask, t): the frozen `net`, its skips and middle shifted by the control branch."""

    def __init__(self, net: UNet) -> None:
        super().__init__()
        self.net = net
        self.control = Control(net)
        self.net.requires_grad_(False)

    def adopt(self, net: nn.Module) -> None:
        """Take the trained weights of `net`, in the frozen network and in its copy."""
        self.net.load_state_dict(net.state_dict())
        ours, theirs = self.control.state_dict(), self.net.state_dict()
        self.control.load_state_dict({key: theirs.get(key, value) for key, value in ours.items()})

    def forward(self, noised: Tensor, guide: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        with torch.no_grad():  # of the frozen encoder; its decoder passes the gradient on to the control
            temb = embed(self.net, t, told)
            skips = encode(self.net, noised, temb)
            middle = self.net.mid(skips[-1], temb)
        *shifts, shift = self.control(noised, guide, t, told)
        shifted = [skip + more for skip, more in zip(skips, shifts, strict=True)]
        return self.net.decode(middle + shift, shifted, temb)


def zeros(layer: nn.Conv2d) -> nn.Conv2d:
    """`layer` with weights and bias 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Settings(Shared):
    ddpm: Denoising
    controlnet: Objective


def make(built: Built) -> nn.Module:
    return Controlled(unet(built, 1))


def adopt(model: nn.Module, ddpm: nn.Module) -> None:
    """Start from the trained unconditional network."""
    assert isinstance(model, Controlled) and isinstance(ddpm, Unguided)
    model.adopt(ddpm.net)


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """It learns what the frozen network predicts, given the clean mask."""
    own = Denoising(**dict(settings.controlnet), prediction=settings.ddpm.prediction)
    return loss_of_chain(model, batch.y0, batch.x0, batch, settings, own)


NETS: dict[str, Net[Any, Any]] = {
    "controlnet": Net(Built, Settings, make, loss, lambda s: s.ddpm.prediction, adopts="ddpm", adopt=adopt)
}
SAMPLERS = {"controlnet": images("controlnet"), "controlnet-varied": images("controlnet")}
