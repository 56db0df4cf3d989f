"""Images of others as pixels: decoded, made grey and 8-bit, cropped, resized; and shapes drawn into masks.

Only this module imports OpenCV.
"""

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.data.pairs import PIXELS, Grey, Mask

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(PIXELS)  # read once, when OpenCV is loaded
import cv2

Pixels: TypeAlias = NDArray[Any]
Size: TypeAlias = tuple[int, int]  # height, width
LOSSY = (".jpg", ".jpeg")
PERCENTILES = (0.1, 99.9)  # of an image of more than 8 bits: become black and white
BLANK, NEAR = 0.99, 5  # a blank line: this share of its pixels is so near, in greys, to the frame's commonest
FAINT = 64  # greys between the two values of a JPEG mask, at least
BYTES = 2**30  # of a file, at most
NOT_TWO = "mask of more or fewer than two values"
INVERTED = 0.75  # a lesion that covers a larger share of the outermost frame is taken for the background

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a bad file is told once, by us


class UnusableError(InputError):
    """A file that cannot be used.

    kind: what is wrong with it, in words that name no file and no patient; detail: what was expected or found.
    """

    def __init__(self, path: Path, kind: str, detail: str) -> None:
        self.path, self.kind, self.reason = path, kind, f"{kind}: {detail}"
        super().__init__(f"{path}: {self.reason}")


def decode(path: Path) -> Pixels:
    """(H, W) grey, of the file's own type and values. What is too large is refused before it is decoded."""
    if not path.is_file():
        raise UnusableError(path, "broken link or device", "expected a file")
    try:
        if path.stat().st_size > BYTES:
            raise UnusableError(path, "too large", f"expected at most {BYTES} bytes")
        content = np.frombuffer(path.read_bytes(), np.uint8)
        pages = cv2.imdecodemulti(content, cv2.IMREAD_UNCHANGED, range=(0, 2))[1]
    except (OSError, cv2.error) as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise UnusableError(path, "too large", f"expected at most {PIXELS} pixels") from None
        pages = ()
    if not pages:
        raise UnusableError(path, "broken file", "expected a whole image")
    if len(pages) > 1:
        raise UnusableError(path, "file of several images", "expected one page")
    pixels = pages[0]
    if not np.isfinite(pixels).all():
        raise UnusableError(path, "NaN or infinity", "expected numbers")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4 and np.ptp(pixels[..., 3]):
        raise UnusableError(path, "transparent image", "expected opaque pixels")
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)


def window(pixels: Pixels, path: Path) -> Grey:
    """8-bit images as they are; of others the PERCENTILES of the image itself become 0 and 255.

    Files of 12 or 16 bits rarely use their range, and a few hot pixels or a burnt-in label would darken the
    rest of an image that is scaled by its extremes; those are the fallback where the percentiles are equal.
    """
    if np.ptp(pixels) == 0:
        raise UnusableError(path, "blank image", "expected more than one grey level")
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float64)
    low, high = np.percentile(values, PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    return np.rint(255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8)


def lesion(pixels: Pixels, path: Path) -> Mask:
    """The larger of two values is the lesion, unless it makes up the frame; all 0 is no lesion.

    Masks kept as JPEG have noise about two values: they are cut in the middle if the values are FAINT greys
    apart and no pixel is nearer to the middle than to an end, and cannot be used otherwise.
    """
    values = np.unique(pixels)
    if len(values) == 1:
        if values[0]:
            raise UnusableError(path, NOT_TWO, f"found {values[0]} everywhere")
        return np.zeros(pixels.shape, np.bool_)
    low, high = float(values[0]), float(values[-1])
    share = (values.astype(np.float64) - low) / (high - low)
    if path.suffix.lower() in LOSSY:
        if high - low < FAINT or np.any(np.abs(share - 0.5) < 0.25):
            raise UnusableError(path, NOT_TWO, "found JPEG noise; use PNG")
    elif len(values) > 2:
        raise UnusableError(path, NOT_TWO, f"found {len(values)}")
    found = pixels > low + (high - low) / 2
    if np.concatenate([found[0], found[-1], found[:, 0], found[:, -1]]).mean() > INVERTED:
        raise UnusableError(path, "inverted mask", "expected a lesion within the image, found one around it")
    return found


def crop_box(image: Grey, mask: Mask) -> tuple[slice, slice]:
    """Rows and columns left when blank lines at the borders are cut, never through the lesion.

    Blank is what has the commonest grey of the outermost frame, but for a few pixels (dust, a thin label).
    """
    frame = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    level = np.bincount(frame).argmax()
    blank = (np.abs(image.astype(np.int16) - level) <= NEAR) & ~mask
    kept = []
    for axis in (1, 0):
        full = (blank.mean(axis=axis) < BLANK) | mask.any(axis=axis)
        lines = np.flatnonzero(full)
        kept.append(slice(int(lines[0]), int(lines[-1]) + 1) if lines.size else slice(None))
    return kept[0], kept[1]


def resize(image: Pixels, size: Size) -> Pixels:
    """(H, W) -> size: the mean over a pixel's area where it shrinks, linear where it grows."""
    height, width = (min(new, old) for new, old in zip(size, image.shape, strict=True))
    smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(smaller, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def resize_mask(mask: Mask, size: Size) -> Mask:
    """(H, W) -> size: pixels covered by half or more; a part that would vanish keeps its best pixel."""
    out = resize(mask.astype(np.float32), size) >= 0.5
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    rows, columns = (np.arange(old) * new // old for old, new in zip(mask.shape, size, strict=True))
    for part in set(range(1, count)) - set(np.unique(parts[out[np.ix_(rows, columns)]])):
        cover = resize((parts == part).astype(np.float32), size)
        out[np.unravel_index(cover.argmax(), size)] = True
    return out


def otsu(image: Grey) -> float:
    """The grey level that splits an image best into dark and bright (N. Otsu, 1979)."""
    level, _ = cv2.threshold(image, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(level)


def filled(points: NDArray[np.int32], shape: tuple[int, ...]) -> Mask:
    """Pixels of (H, W) inside the polygon through `points`, (N, 2) of (x, y), or crossed by its edge."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [points], 1)
    return mask > 0
