"""Strong classical augmentation of mask-image pairs: the control that generated pairs have to beat.

Its kinds are those that nnU-Net applies by default (Isensee et al., Nature Methods 2021, supplement 4), by torchvision.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from pig.metrics.segmentation import Augment


def strong(settings: Any) -> Augment:
    """(images (B, 1, H, W) uint8, masks (B, 1, H, W) bool, CPU generator) -> the same, each pair changed by itself.

    `settings` is the section `augmentation` of params.yaml. A pair's mask and image move alike, masks stay binary, and
    grey levels change in images alone. What a batch becomes depends on the generator alone.
    """
    low, high = settings.scale
    change = v2.Compose(
        [
            v2.RandomHorizontalFlip(settings.flip),
            v2.RandomVerticalFlip(settings.flip),
            v2.RandomAffine(
                settings.rotation,
                translate=(settings.shift, settings.shift),
                scale=(low, high),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            # From here on of images alone.
            v2.ColorJitter(brightness=settings.brightness, contrast=settings.contrast),
            v2.RandomApply([v2.GaussianBlur(5, settings.blur)], 0.5),
            v2.ToDtype(torch.float32, scale=True),
            v2.GaussianNoise(sigma=settings.noise),
            v2.ToDtype(torch.uint8, scale=True),
        ]
    )

    def augment(images: Tensor, masks: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        seed = int(torch.randint(2**62, (), generator=generator))
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices):  # torchvision draws from torch's own generators
            torch.manual_seed(seed)
            pairs = zip(map(tv_tensors.Image, images), map(tv_tensors.Mask, masks), strict=True)
            changed = zip(*(change(*pair) for pair in pairs), strict=True)
            images, masks = (torch.stack([part.as_subclass(Tensor) for part in parts]) for parts in changed)
        return images, masks

    return augment
