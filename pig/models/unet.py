"""The U-Net, and the wrappers that give every denoiser one calling convention.

Shapes: images (B, C, H, W) float; t (B,) int64 in 1..T. Every wrapped model is out = model(noised, guide, t).
The U-Net is that of Ho et al., "Denoising Diffusion Probabilistic Models" (2020), at the settings of PIG
(Zhang et al., 2025); its parameters carry the names of the authors' checkpoints, so that their weights load.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pig.core.errors import InputError


class UNet(nn.Module):
    """A denoiser: z (B, in_channels, H, W), t (B,) int64 in 1..T -> (B, out_channels, H, W).

    width        channels at the first level
    multipliers  channels of each level, in units of width; each level but the last halves the image
    blocks       residual blocks a level on the way down; one more on the way up
    dropout      inside the residual blocks
    stem         stem x stem pixels are folded into channels first, unfolded last: stem^2 times less work
    groups       of the group normalisation (as many of them as divide a layer's channels)
    told         numbers (B, told) that it may be given in training; none given is as good as zeros

    H and W must be divisible by stem * 2^(levels - 1), else InputError. The defaults are the authors' network
    (7,125,409 parameters). Attention sits at the last level and in the middle, whatever the image size.
    """

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 1,
        width: int = 32,
        multipliers: Sequence[int] = (1, 1, 2, 2, 4, 4),
        blocks: int = 2,
        dropout: float = 0.0,
        stem: int = 1,
        groups: int = 32,
        told: int = 0,
    ) -> None:
        super().__init__()
        last = len(multipliers) - 1
        self.stem = stem
        self.divisor = stem * 2**last
        inside = Inside(4 * width, dropout, groups)

        self.temb = TimeEmbedding(width, inside.features)
        self.told = nn.Linear(told, inside.features, bias=False) if told else None
        self.conv_in = nn.Conv2d(in_channels * stem**2, width, 3, padding=1)

        channels, skips = width, [width]  # skips: channels of what the encoder keeps for the decoder
        self.down = nn.ModuleList()
        for level, multiplier in enumerate(multipliers):
            wide = multiplier * width
            self.down.append(Down([channels, *[wide] * blocks], inside, attend=level == last))
            skips += [wide] * (blocks + (level != last))
            channels = wide

        self.mid = Middle(channels, inside)
        self.kept = tuple(skips)

        up = []
        for level, multiplier in reversed(list(enumerate(multipliers))):
            wide = multiplier * width
            taken = [skips.pop() for _ in range(blocks + 1)]
            up.append(Up([channels, *[wide] * (blocks + 1)], taken, inside, level == last, top=level == 0))
            channels = wide
        self.up = nn.ModuleList(reversed(up))  # up.{level} counts like down.{level}

        self.norm_out = group_norm(channels, groups)
        self.conv_out = nn.Conv2d(channels, out_channels * stem**2, 3, padding=1)

    def forward(self, z: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        height, width = z.shape[-2:]
        if height % self.divisor or width % self.divisor:
            raise InputError(
                f"image of {height}x{width} pixels: the network expects multiples of {self.divisor}"
            )
        temb = embed(self, t, told)
        skips = encode(self, z, temb)
        return self.decode(self.mid(skips[-1], temb), skips, temb)

    def decode(self, h: Tensor, skips: list[Tensor], temb: Tensor) -> Tensor:
        """From what the middle gives, h, and what the encoder kept, which is used up."""
        for up in reversed(self.up):
            h = up(h, temb, skips)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm_out(h))), self.stem)


class Encoder(Protocol):
    """What `embed` and `encode` use of a network, or of a copy of its encoder."""

    stem: int
    temb: "TimeEmbedding"
    told: nn.Linear | None
    conv_in: nn.Conv2d
    down: nn.ModuleList


def embed(net: Encoder, t: Tensor, told: Tensor | None = None) -> Tensor:
    """The embedding (B, features) of t, and of what `net` is told, if it listens."""
    temb: Tensor = net.temb(t)
    return temb if told is None or net.told is None else temb + net.told(told)


def encode(net: Encoder, z: Tensor, temb: Tensor, hint: Tensor | float = 0.0) -> list[Tensor]:
    """What the encoder of `net` keeps of z, first to last; `hint` is added to the first layer's output."""
    skips = [net.conv_in(F.pixel_unshuffle(z, net.stem)) + hint]
    for down in net.down:
        skips += down(skips[-1], temb)
    return skips


class Inside(NamedTuple):
    """What all blocks of a network share."""

    features: int  # of the time embedding; 0: there is none
    dropout: float
    groups: int


class TimeEmbedding(nn.Module):
    """t (B,) int64 in 1..T -> (B, features): sines, then cosines, of geometric frequencies; two layers.

    The authors count t from 0, hence t - 1.
    """

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.waves = width // 2
        self.dense = nn.ModuleList([nn.Linear(2 * self.waves, features), nn.Linear(features, features)])

    def forward(self, t: Tensor) -> Tensor:
        first, second = self.dense
        k = torch.arange(self.waves, device=t.device)
        frequencies = torch.exp(k * (-math.log(10_000) / (self.waves - 1)))
        angles = (t - 1)[:, None] * frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        return second(F.silu(first(waves)))


class Down(nn.Module):
    """One level of the encoder: h (B, channels[0], H, W) -> its activations in order, kept for the decoder.

    A residual block a step of `channels`, each followed by attention if `attend`; then half the size, except
    at the level with attention, which is the last.
    """

    def __init__(self, channels: Sequence[int], inside: Inside, attend: bool) -> None:
        super().__init__()
        steps = list(pairwise(channels))
        self.block = nn.ModuleList(ResidualBlock(c, d, inside) for c, d in steps)
        self.attn = nn.ModuleList(Attention(d, inside.groups) if attend else nn.Identity() for _, d in steps)
        self.downsample = None if attend else Downsample(channels[-1])

    def forward(self, h: Tensor, temb: Tensor) -> list[Tensor]:
        kept = []
        for block, attend in zip(self.block, self.attn, strict=True):
            h = attend(block(h, temb))
            kept.append(h)
        if self.downsample is not None:
            kept.append(self.downsample(h))
        return kept


class Up(nn.Module):
    """One level of the decoder: h (B, channels[0], H, W) -> (B, channels[-1], 2 H, 2 W), or H, W if `top`.

    Each residual block takes the last of `skips` off the list, beside its input; `taken` are their channels.
    """

    def __init__(
        self,
        channels: Sequence[int],
        taken: Sequence[int],
        inside: Inside,
        attend: bool,
        top: bool,
    ) -> None:
        super().__init__()
        steps = list(pairwise(channels))
        self.block = nn.ModuleList(
            ResidualBlock(c + skip, d, inside) for (c, d), skip in zip(steps, taken, strict=True)
        )
        self.attn = nn.ModuleList(Attention(d, inside.groups) if attend else nn.Identity() for _, d in steps)
        self.upsample = nn.Identity() if top else Upsample(channels[-1])

    def forward(self, h: Tensor, temb: Tensor, skips: list[Tensor]) -> Tensor:
        for block, attend in zip(self.block, self.attn, strict=True):
            h = attend(block(torch.cat([h, skips.pop()], dim=1), temb))
        return self.upsample(h)


class Middle(nn.Module):
    """Residual block, attention, residual block, at the lowest resolution."""

    def __init__(self, channels: int, inside: Inside) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, inside)
        self.attn_1 = Attention(channels, inside.groups)
        self.block_2 = ResidualBlock(channels, channels, inside)

    def forward(self, h: Tensor, temb: Tensor | None) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(h, temb)), temb)


class ResidualBlock(nn.Module):
    """h (B, in, H, W), temb (B, features) or None -> (B, out, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, inside: Inside) -> None:
        super().__init__()
        self.dropout = inside.dropout
        self.norm1 = group_norm(in_channels, inside.groups)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.temb_proj = nn.Linear(inside.features, out_channels) if inside.features else None
        self.norm2 = group_norm(out_channels, inside.groups)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor, temb: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.temb_proj is not None and temb is not None:
            h = h + self.temb_proj(F.silu(temb))[:, :, None, None]
        h = self.conv2(F.dropout(F.silu(self.norm2(h)), self.dropout, self.training))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class Attention(nn.Module):
    """Every pixel attends to every pixel, one head, scale C^-0.5, plus the input; same shape (B, C, H, W)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        # (B, 1, H * W, C) each: the pixels as tokens of a single head, whose scale is C^-0.5.
        q, k, v = (part(h).flatten(2).transpose(1, 2)[:, None] for part in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(mixed.transpose(2, 3).reshape(x.shape))


class Downsample(nn.Module):
    """Half the size: zeros on the right and at the bottom, then a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm of `groups` groups, or of as many of them as divide the channels.

    A group of one channel takes out what is added to the whole channel, the time embedding: so it is in the first
    levels of the authors' network, of 32 channels in 32 groups. Narrow networks want fewer groups than channels.
    """
    return nn.GroupNorm(math.gcd(groups, channels), channels, eps=1e-6)


class Unguided(nn.Module):
    """model(noised, None, t) = net(noised, t): the unconditional rivals, and Joint on two channels."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, noised: Tensor, guide: Tensor | None, t: Tensor, told: Tensor | None = None) -> Tensor:
        if guide is not None:
            raise ValueError("an unguided model takes no guide")
        return self.net(noised, t, told)


class Concatenated(nn.Module):
    """model(noised, guide, t) = net([noised, guide], t): guider and guided model.

    The noised channel comes first, as in the authors' checkpoints.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, noised: Tensor, guide: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        return self.net(torch.cat([noised, guide], dim=1), t, told)


def parameters(net: nn.Module) -> int:
    """How many numbers `net` holds that were learnt; a discriminator, which only training uses, does not count."""
    return sum(p.numel() for name, p in net.named_parameters() if "discriminator." not in name)
