"""The KL autoencoder of latent diffusion (Rombach et al., CVPR 2022, Section 3.1 and Appendix G).

Shapes: images y (B, 1, H, W) in [-1, 1]; latents z (B, channels, H / factor, W / factor) of unit variance over the
training images once `calibrate` has run. Built from the U-Net's blocks, without time and attention. The loss is L1 +
KL + an adversarial term on patches (Isola et al. 2017) after a warm-up; there is no perceptual term, since the usual
one is made of the features of an ImageNet classifier, which is what FID measures.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from pig.core import params
from pig.core.errors import InputError
from pig.models import table
from pig.models.method import Batch, Frozen, Net
from pig.models.unet import Downsample, Inside, ResidualBlock, Upsample, group_norm
from pig.training.ranks import batch_mean, whole


class Autoencoder(nn.Module):
    """Images to latents of 1 / factor the size and back.

    channels   of the latents
    factor     power of two; the image is halved log2(factor) times
    width      channels at full size; twice as many after each halving
    blocks     residual blocks a level
    groups     as in the U-Net
    patches    halvings of the patch discriminator, which only training uses
    """

    def __init__(
        self, channels: int, factor: int, width: int, blocks: int, groups: int = 32, patches: int = 3
    ) -> None:
        super().__init__()
        levels = factor.bit_length() - 1
        inside = Inside(0, 0.0, groups)
        wide = [width * 2**level for level in range(levels + 1)]
        self.factor = factor
        self.channels = channels

        down: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1)]
        before = width
        for level, after in enumerate(wide):
            down += _blocks(before, after, blocks, inside)
            down += [Downsample(after)] if level < levels else []
            before = after
        self.encoder = nn.Sequential(*down, *_head(before, 2 * channels, groups))

        up: list[nn.Module] = [nn.Conv2d(channels, before, 3, padding=1)]
        for level, after in reversed(list(enumerate(wide))):
            up += _blocks(before, after, blocks, inside)
            up += [Upsample(after)] if level else []
            before = after
        self.decoder = nn.Sequential(*up, *_head(before, 1, groups))
        self.discriminator = Discriminator(width, patches, groups)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.scale: Tensor
        self.step: Tensor

    def posterior(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | y), before scaling."""
        mean, logvar = self.encoder(y).chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def encode(self, y: Tensor) -> Tensor:
        """The mean of q(z | y), scaled."""
        return self.posterior(y)[0] * self.scale

    def decode(self, z: Tensor) -> Tensor:
        """The image of scaled latents."""
        return self.decoder(z / self.scale)

    def shrink(self, mask: Tensor) -> Tensor:
        """A mask (B, 1, H, W) at the size of the latents, each its mean over the latent's area."""
        return F.avg_pool2d(mask, self.factor)

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Of the latents of an image; InputError if it cannot be halved that often."""
        if height % self.factor or width % self.factor:
            raise InputError(
                f"image of {height}x{width} pixels: the autoencoder expects multiples of {self.factor}"
            )
        return self.channels, height // self.factor, width // self.factor


class Discriminator(nn.Module):
    """Real or reconstructed? One number a patch: (B, 1, H, W) -> (B, 1, H', W'); the PatchGAN of pix2pix."""

    def __init__(self, width: int, halvings: int, groups: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        before = width
        for level in range(1, halvings):
            after = width * 2**level
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1),
                group_norm(after, groups),
                nn.LeakyReLU(0.2),
            ]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, padding=1))

    def forward(self, y: Tensor) -> Tensor:
        return self.layers(y)


def autoencoder_loss(
    model: Autoencoder, y0: Tensor, own: table.Autoencoder, generator: Generator | None = None
) -> Tensor:
    """L1 + KL + patch-adversarial loss of the autoencoder, and the hinge loss of its discriminator, in one scalar.

    Each sees only its own part: the discriminator judges a detached reconstruction, and the autoencoder is judged
    by a discriminator whose weights are constants. The adversarial term is weighted by the ratio of the gradients
    at the decoder's last layer, as in Esser et al. 2021, Eq. 7. The KL of an image is the sum over its latents,
    divided by its pixels as L1 is. In evaluation mode the loss is the L1 of the mean alone.
    """
    mean, logvar = model.posterior(y0)
    if not model.training:
        return (model.decoder(mean) - y0).abs().mean()
    device = mean.device if generator is None else generator.device
    rows, mine = whole(generator, len(mean))
    eps = torch.randn((rows, *mean.shape[1:]), generator=generator, device=device, dtype=mean.dtype)[mine]
    y_hat = model.decoder(mean + (0.5 * logvar).exp() * eps.to(mean.device))
    rebuilt = (y_hat - y0).abs().mean()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum() / y0.numel()
    total = rebuilt + own.kl * kl
    model.step += 1
    if own.adversarial == 0 or model.step <= own.adversarial_start:
        return total
    judge = model.discriminator
    constants = {name: value.detach() for name, value in judge.named_parameters()}
    fooled = -functional_call(judge, constants, (y_hat,)).mean()
    last = next(model.decoder[-1].parameters())
    parts = [torch.autograd.grad(term, last, retain_graph=True)[0] for term in (rebuilt, fooled)]
    by_l1, by_judge = (gradient.norm() for gradient in batch_mean(generator, *parts))
    ratio = (by_l1 / (by_judge + 1e-4)).clamp(max=1e4)
    hinge = F.relu(1 - judge(y0)).mean() + F.relu(1 + judge(y_hat.detach())).mean()
    return total + own.adversarial * ratio * fooled + 0.5 * hinge


@torch.no_grad()
def calibrate(model: nn.Module, batches: Sequence[Tensor]) -> None:
    """Set the scale to 1 / std of the latents of all `batches` together, (B, 1, H, W) each."""
    assert isinstance(model, Autoencoder)
    count, total, squares = 0, 0.0, 0.0
    for y in batches:
        z = model.posterior(y)[0].double()
        count, total, squares = count + z.numel(), total + z.sum().item(), squares + z.square().sum().item()
    variance = squares / count - (total / count) ** 2
    model.scale.fill_(max(variance, 1e-12) ** -0.5)


def _blocks(before: int, after: int, blocks: int, inside: Inside) -> list[nn.Module]:
    return [ResidualBlock(before if i == 0 else after, after, inside) for i in range(blocks)]


def _head(channels: int, out: int, groups: int) -> list[nn.Module]:
    return [group_norm(channels, groups), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1)]


class Built(params.Built):
    autoencoder: table.Autoencoder


class Settings(params.Shared):
    autoencoder: table.Autoencoder


def make(built: Built) -> nn.Module:
    own = built.autoencoder
    return Autoencoder(own.channels, own.factor, own.width, own.blocks, built.network.groups, own.patches)


def loss(model: nn.Module, frozen: Frozen, batch: Batch, settings: Settings) -> Tensor:
    """`autoencoder_loss` of the images."""
    assert isinstance(model, Autoencoder)
    return autoencoder_loss(model, batch.y0, settings.autoencoder, batch.generator)


NETS: dict[str, Net[Any, Any]] = {"autoencoder": Net(Built, Settings, make, loss, finish=calibrate)}
