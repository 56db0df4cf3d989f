"""Training pairs of generators, flipped and cropped: mask and image alike, and nothing from outside the image.

What was done can be told to the network (`network.told`), as in Karras et al. 2022, section 5: it then paints whole,
unflipped pairs when it is told nothing. It is not the strong augmentation of segmenters, whose borders it would learn.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from pig.core.params import Training
from pig.training.fit import send
from pig.training.ranks import whole

TOLD = 5  # numbers a pair: flipped left to right, flipped upside down, magnified, moved right, moved down


def augment(x0: Tensor, y0: Tensor, own: Training, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(x0, y0, told (B, TOLD)) of masks and images (B, 1, H, W) in [-1, 1]; told is 0 of an unchanged pair.

    Of each pair a random square of own.crop to 1 of the side is kept, anywhere, and resized to H x W (bilinear; masks
    are thresholded at 0). What a batch becomes depends on the generator alone.
    """
    rows, mine = whole(generator, len(x0))
    u = send(torch.rand((rows, TOLD), generator=generator)[mine], x0.device)
    chances = [0.5 * (way in own.flips) for way in ("horizontal", "vertical")]
    flipped = torch.stack([u[:, i] < chance for i, chance in enumerate(chances)], 1).to(x0.dtype)
    side = 1 - (1 - own.crop) * u[:, 2:3]
    centre = (2 * u[:, 3:] - 1) * (1 - side)
    theta = torch.cat([torch.diag_embed(side * (1 - 2 * flipped)), centre[:, :, None]], 2)
    grid = F.affine_grid(theta, list(x0.shape), align_corners=False)
    # A border of half a pixel is repeated where bilinear weights reach over the edge.
    x0, y0 = (F.grid_sample(z, grid, padding_mode="border", align_corners=False) for z in (x0, y0))
    return torch.where(x0 > 0, 1.0, -1.0), y0, torch.cat([flipped, 1 / side - 1, centre], 1)
