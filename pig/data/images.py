"""PNG files in memory, and the size of a JPEG file. Only this module imports Pillow."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from pig.data.pairs import PIXELS, Grey


def encode(pixels: Grey, smallest: bool = False) -> bytes:
    """(H, W) grey as a PNG file; `smallest` takes longer. Equal pixels give equal bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=6, optimize=smallest)
    return file.getvalue()


def decode(content: bytes) -> Grey:
    """The pixels of a PNG file of 8-bit grey, at most PIXELS of them.

    Raises:
        ValueError: anything else; it says what was expected.
    """
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(content), formats=["PNG"]) as image,
        ):
            if image.width * image.height > PIXELS:  # by the header; nothing is decoded yet
                raise ValueError(f"{image.width}x{image.height} pixels are more than {PIXELS}")
            if image.mode == "L":
                return np.asarray(image)
            found = image.mode
    except Exception as error:  # arbitrary bytes make Pillow stumble in arbitrary ways
        raise ValueError(f"expected a whole PNG image ({error})") from None
    raise ValueError(f"expected 8-bit grey (mode L), found mode {found}")


def shrink(pixels: Grey, factor: int) -> Grey:
    """(H, W) -> the means of blocks of factor x factor pixels; blocks at the edge may be smaller."""
    return np.asarray(Image.fromarray(pixels).reduce(factor))


def jpeg_shape(path: Path) -> tuple[int, int] | None:
    """(height, width) of a JPEG file by its header; None if it is not one."""
    try:
        with Image.open(path, formats=["JPEG"]) as image:
            return image.height, image.width
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return None
