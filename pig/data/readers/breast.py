"""Where the breast is in a mammogram, and which way it points."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pig.data.pairs import Pairs
from pig.data.readers.folder import Crop, Opened
from pig.data.readers.pixels import Pixels, Size, resize, resize_mask

Grey: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Box: TypeAlias = tuple[slice, slice]
AIR = 0.05  # of the 99th percentile: darker is air
THIN = 0.03  # of the shorter side: what is nowhere as thick and as tall is no breast, but a label or a film's edge


def breast_box(image: Grey, mask: Mask) -> Box:
    """Rows and columns of the largest connected bright region and of the lesion; (H, W), air is dark.

    Only where squares of THIN sides fit in is a region one: a burnt-in label is left out, and so is the white edge of a
    film, even if it touches the breast. What is bright and no further than such a side from the breast stays, as skin.
    """
    bright = (image > AIR * np.percentile(image, 99)).astype(np.uint8)
    side = 2 * max(1, round(THIN * min(image.shape) / 2)) + 1
    thick = _grow(ndimage.minimum_filter(bright, side, mode="constant"), side)
    labels, count = ndimage.label(thick)
    if count:
        largest = (labels == np.bincount(labels.ravel())[1:].argmax() + 1).astype(np.uint8)
        bright &= _grow(largest, 2 * side + 1)
    kept = bright.astype(np.bool_) | mask
    if not kept.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(kept.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _grow(pixels: Grey, side: int) -> Grey:
    return ndimage.maximum_filter(pixels, side, mode="constant")


def side(image: Pixels) -> str:
    """L or R: the edge column with the larger sum is at the chest wall, the left one that of a left breast."""
    left, right = (int(image[:, column].sum(dtype=np.float64)) for column in (0, -1))
    return "R" if left < right else "L"


def mirror(pairs: Pairs, to: str) -> Pairs:
    """All chest walls on one side, L or R: pairs that have it on the other are flipped, image and mask alike."""
    flipped = np.array([side(image) != to for image in pairs.images], np.bool_)
    images, masks = pairs.images.copy(), None if pairs.masks is None else pairs.masks.copy()
    images[flipped] = images[flipped, :, ::-1]
    if masks is not None:
        masks[flipped] = masks[flipped, :, ::-1]
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
