"""What lesions look like and where they are, and how far a set's are from real ones."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.stats import wasserstein_distance

from pig.data.conditions import tissue

Images = NDArray[np.uint8]
Masks = NDArray[np.bool_]
DESCRIPTORS = ("area", "eccentricity", "solidity", "depth", "height")


def describe(images: Images, masks: Masks) -> pd.DataFrame:
    """One row a mask that is not empty, of pairs (N, H, W): the columns DESCRIPTORS.

    area: share of the image. eccentricity: of the ellipse with the lesion's second moments, 0 for a disc. solidity:
    area over that of the convex hull of its pixels' corners. depth: distance of its centroid to the edge of the breast,
    over the largest such distance in this breast. height: its centroid from the top (0) to the bottom (1) of the
    breast. Parts of one mask count as one lesion.
    """
    rows = [_describe(image, mask) for image, mask in zip(images, masks, strict=True) if mask.any()]
    return pd.DataFrame(rows, columns=list(DESCRIPTORS), dtype=float)


def _describe(image: Images, mask: Masks) -> tuple[float, ...]:
    pixels = np.argwhere(mask)
    centre = pixels.mean(axis=0)
    # A pixel is a square, not a point: 1/12 is the variance within it.
    spread = np.cov(pixels, rowvar=False, bias=True) if len(pixels) > 1 else np.zeros((2, 2))
    small, large = np.linalg.eigvalsh(spread + np.eye(2) / 12)
    corners = (pixels[:, None] + [[0, 0], [0, 1], [1, 0], [1, 1]]).reshape(-1, 2)
    breast = tissue(image)
    depths = depth(breast)
    rows = np.flatnonzero(breast.any(axis=1))
    at = tuple(np.rint(centre).astype(int))
    return (
        mask.mean(),
        np.sqrt(max(0.0, 1 - small / large)),
        len(pixels) / ConvexHull(corners).volume,
        depths[at] / depths.max(),
        (centre[0] - rows[0] + 0.5) / (rows[-1] - rows[0] + 1),
    )


def depth(breast: Masks) -> NDArray[np.float64]:
    """Distance in pixels of each pixel of (H, W) to the edge of the breast.

    Where the image cuts the breast, as at the chest wall, is no edge, unless there is no other.
    """
    room = max(breast.shape)
    if breast.all():
        return ndimage.distance_transform_edt(np.pad(breast, 1))[1:-1, 1:-1]
    return ndimage.distance_transform_edt(np.pad(breast, room, mode="edge"))[room:-room, room:-room]


def distances(lesions: pd.DataFrame, reference: pd.DataFrame) -> dict[str, float]:
    """1-Wasserstein distance of each descriptor's distribution, in standard deviations of the reference.

    nan where a set has no lesion, or the reference no spread.
    """
    out = {}
    for key in DESCRIPTORS:
        unit = reference[key].std() if len(reference) > 1 else 0.0
        known = len(lesions) > 0 and unit > 0
        out[key] = float(wasserstein_distance(lesions[key], reference[key]) / unit) if known else float("nan")
    return out


def floor(
    real: pd.DataFrame, reference: pd.DataFrame, number: int, draws: int, seed: int
) -> dict[str, float]:
    """`distances` of real lesions from the reference at the same number: the mean over random subsets.

    Args:
        real: lesions of the patients that a generator was trained on.
        number: how many a subset has, without replacement; all, if there are fewer.
        draws: how many subsets.
    """
    rng = np.random.default_rng(seed)
    number = min(number, len(real))
    subsets = [real.iloc[rng.choice(len(real), number, replace=False)] for _ in range(draws)]
    means = pd.DataFrame([distances(subset, reference) for subset in subsets]).mean()
    return {key: float(means[key]) for key in DESCRIPTORS}
