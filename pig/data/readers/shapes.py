"""What data sets tell of a lesion, a box or a polygon -> its mask, (H, W) bool.

Coordinates are (x, y) in pixels, x to the right and y down; pixel (row i, column j) has its centre at x = j, y = i in
polygons, and reaches from j to j + 1 and i to i + 1 in boxes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pig.data.conditions import largest
from pig.data.pairs import Grey, Mask
from pig.data.readers.pixels import filled, otsu

SMOOTH = 0.04  # standard deviation of the blur before a box is thresholded, in sides of the box
FAR = 2**15  # pixels; no image is so large


class Box(NamedTuple):
    """Left, top, width and height in whole pixels; it may reach out of an image."""

    x: int
    y: int
    width: int
    height: int

    def seen(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Rows and columns of an image of (H, W) that the box covers; a slice without pixels if there are none."""
        ends = zip((self.y, self.x), (self.height, self.width), shape, strict=True)
        rows, columns = (slice(max(0, first), max(0, min(first + length, n))) for first, length, n in ends)
        return rows, columns


def ellipse(image: Grey, box: Box) -> Mask:
    """The ellipse that touches the four sides of the box, as far as it is in the image, whatever that shows."""
    mask = np.zeros(image.shape, np.bool_)
    rows, columns = box.seen(image.shape)
    down = (2 * (np.arange(rows.start, rows.stop) - box.y) + 1) / box.height - 1
    across = (2 * (np.arange(columns.start, columns.stop) - box.x) + 1) / box.width - 1
    mask[rows, columns] = down[:, None] ** 2 + across**2 <= 1
    return mask


def region(image: Grey, box: Box) -> Mask:
    """The largest connected region of the box that is brighter than Otsu's threshold of the box, holes filled.

    N. Otsu, IEEE Trans. Systems, Man, and Cybernetics 9, 62-66, 1979. The box is blurred a little first. If it has a
    single grey level, all of it is the region.
    """
    mask = np.zeros(image.shape, np.bool_)
    place = box.seen(image.shape)
    part = image[place].astype(np.float32)
    blurred = ndimage.gaussian_filter(part, [SMOOTH * side for side in part.shape]).round().astype(np.uint8)
    mask[place] = ndimage.binary_fill_holes(largest(blurred > otsu(blurred)))
    return mask


BOX_RULES: dict[str, Callable[[Grey, Box], Mask]] = {"ellipse": ellipse, "region": region}


def polygon(points: NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    """Pixels of (H, W) inside the polygon through `points`, (N, 2), or crossed by its edge."""
    near = np.clip(points, -FAR, FAR)  # so that any number fits
    return filled(np.rint(near).astype(np.int32), shape)
