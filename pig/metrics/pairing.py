"""How well a set's masks and images belong together, which FID cannot see.

A lesion differs from the tissue around it, so the measure is the contrast between the two,
held against the same masks shuffled among the same images: that control keeps where masks lie and how bright images
are, and breaks only the pairing. It need not be 0: breasts are brighter where masses are than towards the skin.

Air, the black around a breast, is not treated apart: a ring pixel or a shuffled mask on air counts as it is. Any level
that told air from tissue would also cut into the dark lesions of ultrasound, and generated air is not quite black;
ratios to the real set and the shuffled control see the same air.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from pig.core.errors import InputError

Images = NDArray[np.floating[Any]]
Masks = NDArray[np.bool_]
EIGHT = np.ones((3, 3), bool)  # the neighbours of a pixel, diagonal ones too


def ring_width(share: float, shape: tuple[int, ...]) -> int:
    """`share` of the shorter side of (H, W) in whole pixels, at least 1."""
    return max(1, round(share * min(shape)))


def ring_around(mask: Masks, width: int) -> Masks:
    """Pixels outside `mask`, (H, W), at most `width` pixels (Euclidean) from one inside; none if it is empty."""
    if not mask.any():
        return np.zeros_like(mask)
    return ~mask & (ndimage.distance_transform_edt(~mask) <= width)


def contrast(image: Images, mask: Masks, width: int) -> float:
    """Mean of `image`, (H, W), inside `mask` minus its mean in the ring around it; negative for dark lesions.

    nan where there is no inside or no ring: a mask that is empty or covers the whole image.
    """
    ring = ring_around(mask, width)
    return float(image[mask].mean() - image[ring].mean()) if ring.any() else float("nan")


def components(mask: Masks) -> int:
    """How many connected parts `mask` has; pixels that touch at a corner are connected."""
    return int(ndimage.label(mask, EIGHT)[1])


def derangement(n: int, seed: int) -> NDArray[np.int64]:
    """A random order (n,) of 0..n-1 that leaves nothing in its place: one cycle through all, each equally likely.

    Raises:
        InputError: n < 2, where there is none.
    """
    if n < 2:
        raise InputError(f"pairing: expected 2 or more pairs to shuffle, found {n}")
    cycle = np.random.default_rng(seed).permutation(n)
    order = np.empty(n, np.int64)
    order[cycle] = np.roll(cycle, 1)
    return order


def summary(images: NDArray[np.uint8], masks: Masks, ring: float) -> dict[str, float]:
    """Facts about one set of pairs: images (N, H, W), grey 0..255, and masks (N, H, W).

    Returns:
        n; contrast and contrast_sd (with greys on [-1, 1]; mean and standard deviation over pairs);
        area and area_sd (share of the image, of masks that are not empty); one_component (share of those in one
        piece); empty (share of all masks). nan where there is nothing to average.
    """
    width = ring_width(ring, images.shape[1:])
    found = [contrast(image / 127.5 - 1, mask, width) for image, mask in zip(images, masks, strict=True)]
    full = masks[masks.any((1, 2))]
    single = [components(mask) == 1 for mask in full]
    return {
        "n": len(masks),
        **_mean_sd("contrast", found),
        **_mean_sd("area", full.mean((1, 2))),
        "one_component": float(np.mean(single)) if single else float("nan"),
        "empty": 1 - len(full) / len(masks),
    }


def report(sets: Iterable[tuple[str, str, NDArray[np.uint8], Masks]], ring: float, seed: int) -> pd.DataFrame:
    """Two rows a set, as it is and "NAME shuffled", with the columns set, those of `summary`, and two ratios.

    Args:
        sets: (name, name of its real set, images, masks), the arrays as in `summary`; the ratios contrast_to_real
            and area_to_real are to the numbers of the real set, which comes before and is its own.
        ring: width of the ring, as a share of the shorter side.
        seed: of the shuffling of masks among images.

    Raises:
        InputError: a set of fewer than 2 pairs.
    """
    rows = []
    real: dict[str, dict[str, float]] = {}
    for name, reference, images, masks in sets:
        order = derangement(len(masks), seed)
        for label, paired in ((name, masks), (f"{name} shuffled", masks[order])):
            found = summary(images, paired, ring)
            if label == reference:
                real[reference] = found
            theirs = real[reference]
            keys = [key for key in ("contrast", "area") if theirs[key]]  # flat images have no contrast
            ratios = {f"{key}_to_real": found[key] / theirs[key] for key in keys}
            rows.append({"set": label, **found, **ratios})
    return pd.DataFrame(rows)


def _mean_sd(name: str, values: Any) -> dict[str, float]:
    """Mean and standard deviation (n - 1) of the values that are numbers."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return {
        name: float(known.mean()) if len(known) else float("nan"),
        f"{name}_sd": float(known.std(ddof=1)) if len(known) > 1 else float("nan"),
    }
