"""What data sets tell of a lesion, a box or a polygon -> its mask, (H, W) bool.

Coordinates are (x, y) in pixels, x to the right and y down; pixel (row i, column j) has its centre at x = j, y = i in
polygons, and reaches from j to j + 1 and i to i + 1 in boxes.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Grey: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
SMOOTH = 0.04  # standard deviation of the blur before a box is thresholded, in sides of the box
FAR = 2**15  # pixels; no image is so large


class Box(NamedTuple):
    """Left, top, width and height in whole pixels."""

    x: int
    y: int
    width: int
    height: int

    def within(self, shape: tuple[int, ...]) -> bool:
        """Whether the box has pixels and lies in an image of (H, W)."""
        right, bottom = self.x + self.width, self.y + self.height
        return (
            min(self.x, self.y) >= 0 < min(self.width, self.height)
            and right <= shape[1]
            and bottom <= shape[0]
        )


def ellipse(image: Grey, box: Box) -> Mask:
    """The ellipse that touches the four sides of the box, whatever the image shows."""
    y, x = np.ogrid[: box.height, : box.width]
    across, down = (2 * x + 1) / box.width - 1, (2 * y + 1) / box.height - 1
    return _placed(across**2 + down**2 <= 1, image, box)


def region(image: Grey, box: Box) -> Mask:
    """The largest connected region of the box that is brighter than Otsu's threshold of the box, holes filled.

    N. Otsu, IEEE Trans. Systems, Man, and Cybernetics 9, 62-66, 1979. The box is blurred a little first.
    """
    part = image[box.y : box.y + box.height, box.x : box.x + box.width].astype(np.float32)
    blurred = ndimage.gaussian_filter(part, [SMOOTH * side for side in part.shape]).round().astype(np.uint8)
    level, _ = cv2.threshold(blurred, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    labels, count = ndimage.label(blurred > level)
    if not count:  # one grey level
        return _placed(np.ones(part.shape, np.bool_), image, box)
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return _placed(ndimage.binary_fill_holes(largest), image, box)


BOX_RULES: dict[str, Callable[[Grey, Box], Mask]] = {"ellipse": ellipse, "region": region}


def _placed(part: Mask, image: Grey, box: Box) -> Mask:
    mask = np.zeros(image.shape, np.bool_)
    mask[box.y : box.y + box.height, box.x : box.x + box.width] = part
    return mask


def polygon(points: NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    """Pixels of (H, W) inside the polygon through `points`, (N, 2), or crossed by its edge."""
    mask = np.zeros(shape, np.uint8)
    near = np.clip(points, -FAR, FAR)  # so that any number fits
    cv2.fillPoly(mask, [np.rint(near).astype(np.int32)], 1)
    return mask > 0
