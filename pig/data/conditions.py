"""The masks that conditional rivals are given: those of the fold's training patients, as they are or varied.

The k-th mask depends on the seed and k alone, so shards of any size ask for the same ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pig.data.pairs import Grey, Mask, Pairs, digest

SCALES = (0.75, 4 / 3)
TRIES = 64


@dataclass(frozen=True)
class Given:
    """The masks that a conditional method is given: those of training pairs, as they are or varied."""

    pairs: Pairs
    varied: bool
    seed: int

    @property
    def digest(self) -> str:
        """sha256 of all that may be given."""
        return digest(self.pairs)

    def of(self, numbers: range) -> tuple[Mask, list[str]]:
        """For the samples `numbers`: masks (N, H, W), and the ids of the pairs that they come from."""
        chosen = rows(numbers, len(self.pairs), self.seed)
        masks = self.pairs.need_masks()[chosen]
        if self.varied:
            images = self.pairs.images[chosen]
            masks = np.stack([vary(*each, self.seed) for each in zip(masks, images, numbers, strict=True)])
        return masks, self.pairs.table["id"].iloc[chosen].tolist()


def rows(numbers: Iterable[int], available: int, seed: int) -> list[int]:
    """Which of `available` masks each sample is given: each once in a shuffled order, then with replacement."""
    order = np.random.default_rng([seed, 0]).permutation(available)
    return [
        int(order[k] if k < available else np.random.default_rng([seed, 1, k]).integers(available))
        for k in numbers
    ]


def vary(mask: Mask, image: Grey, number: int, seed: int) -> Mask:
    """`mask` (H, W) mirrored, scaled by 0.75 to 1.33 and moved to another place within the breast of its image.

    The breast is what is brighter than the blank part of the image, holes filled; an image without a blank part is
    all breast. A mask for which no place is found within 64 tries keeps its own.
    """
    random = np.random.default_rng([seed, 2, number])
    lesion = mask[ndimage.find_objects(mask.astype(np.uint8))[0]] if mask.any() else mask[:0, :0]
    breast = tissue(image)
    for _ in range(TRIES):
        if not lesion.size:
            break
        flipped = lesion[:: random.choice([-1, 1]), :: random.choice([-1, 1])]
        factor = np.exp(random.uniform(*np.log(SCALES)))
        shape = np.maximum(1, np.rint(np.array(lesion.shape) * factor).astype(int))
        if (shape > mask.shape).any():
            continue
        zoomed = ndimage.zoom(
            flipped.astype(float), shape / lesion.shape, order=1, grid_mode=True, mode="nearest"
        )
        top, left = (int(random.integers(room + 1)) for room in np.array(mask.shape) - zoomed.shape)
        moved = np.zeros_like(mask)
        moved[top : top + zoomed.shape[0], left : left + zoomed.shape[1]] = zoomed > 0.5
        if moved.any() and not (moved & ~breast).any():
            return moved
    return mask


def tissue(image: Grey) -> Mask:
    """The largest connected region brighter than 5 % of the image's 99th percentile, holes filled."""
    return ndimage.binary_fill_holes(largest(image > 0.05 * np.percentile(image, 99)))


def largest(pixels: Mask | Grey) -> Mask:
    """The largest connected region of (H, W) pixels that are not 0; all pixels if there is none."""
    labels, count = ndimage.label(pixels)
    return labels == (np.bincount(labels.ravel())[1:].argmax() + 1 if count else 0)
