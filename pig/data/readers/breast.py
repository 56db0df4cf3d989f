"""Where the breast is in a mammogram, and which way it points."""

from typing import TypeAlias

import numpy as np
from scipy import ndimage

from pig.data.conditions import largest
from pig.data.pairs import Grey, Mask, Pairs
from pig.data.readers.folder import Crop, Opened
from pig.data.readers.pixels import Pixels, Size, resize, resize_mask

Box: TypeAlias = tuple[slice, slice]
AIR = 0.05  # of the 99th percentile: darker is air
THIN = 0.03  # of the shorter side: what is nowhere as thick and as tall is no breast, but a label or a film's edge


def breast_box(image: Grey, mask: Mask) -> Box:
    """Rows and columns of the largest connected bright region and of the lesion; (H, W), air is dark.

    Only where squares of THIN sides fit in is a region one: a burnt-in label is left out, and so is the white edge of a
    film, even if it touches the breast. Bright pixels near the breast stay: they may be skin.
    """
    bright = (image > AIR * np.percentile(image, 99)).astype(np.uint8)
    side = 2 * max(1, round(THIN * min(image.shape) / 2)) + 1
    thick = _grow(ndimage.minimum_filter(bright, side, mode="constant"), side)
    kept = bright & _grow(largest(thick).astype(np.uint8), 2 * side + 1) | mask
    return next(iter(ndimage.find_objects(kept)), (slice(None), slice(None)))


def _grow(pixels: Grey, side: int) -> Grey:
    return ndimage.maximum_filter(pixels, side, mode="constant")


def side(image: Pixels) -> str:
    """L or R: the edge column with the larger sum is at the chest wall, the left one that of a left breast."""
    left, right = (int(image[:, column].sum(dtype=np.float64)) for column in (0, -1))
    return "R" if left < right else "L"


def mirror(pairs: Pairs, to: str) -> Pairs:
    """All chest walls on one side, L or R: pairs that have it on the other are flipped, image and mask alike."""
    flipped = np.array([side(image) != to for image in pairs.images], np.bool_)
    images, masks = pairs.images.copy(), pairs.need_masks().copy()
    for pixels in (images, masks):
        pixels[flipped] = pixels[flipped, :, ::-1]
    return Pairs(images, masks, pairs.table)


def small(opened: Opened, crop: Crop | None, longest: int = 400) -> tuple[Pixels, Mask, Box, Grey]:
    """For a picture: stored values and lesion, shrunk to `longest` pixels; the crop's box in them; the crop's greys."""
    shape = opened.grey.shape
    size = _fit(shape, longest)
    box = crop(opened.grey, opened.mask) if crop else (slice(None), slice(None))
    ends = zip(box, size, shape, strict=True)
    rows, columns = ([end * new / old for end in part.indices(old)[:2]] for part, new, old in ends)
    part = opened.grey[box]
    return (
        resize(opened.stored.astype(np.float32), size),
        resize_mask(opened.mask, size),
        (slice(*rows), slice(*columns)),
        resize(part, _fit(part.shape, longest)),
    )


def _fit(shape: tuple[int, ...], longest: int) -> Size:
    factor = min(1.0, longest / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
