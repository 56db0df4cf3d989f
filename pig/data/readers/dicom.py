"""The pixels of DICOM files as grey levels: one frame in memory at a time, and only the tags that pixels need.

The window is the file's own where it has one, else from percentiles (`pixels.window`). After DICOM PS3.3: C.7.5.1.1.2
(padding), C.7.6.16.2.10 (windows of multi-frame files), C.11.1 (rescaling) and C.11.2 (windows).
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom import Dataset, FileDataset, config, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, apply_windowing, get_decoder, pixel_array

from pig.data.pairs import Grey, Mask
from pig.data.readers.pixels import Pixels, UnusableError, window

NO_SLICE = "slice that the volume lacks"
MOST_PIXELS = 2**27  # of a frame: a header that claims more is not believed
SHARED, EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
PIXELS = (
    "BitsStored",
    "Columns",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelPaddingRangeLimit",
    "PixelPaddingValue",
    "PixelRepresentation",
    "Rows",
    "SamplesPerPixel",
)
WINDOW = ("WindowCenter", "WindowWidth", "VOILUTFunction")
RESCALE = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")

config.settings.reading_validation_mode = config.IGNORE  # its warnings would print the tags' values


class Frame(NamedTuple):
    """One frame, (H, W): the file's values, larger is brighter, and the same as grey levels 0..255."""

    stored: Pixels
    grey: Grey


class Header(NamedTuple):
    """What tells the files of a tree apart; patient is "" where a file does not say."""

    path: Path
    patient: str
    series: str
    shape: tuple[int, int]


def read_header(path: Path) -> Header:
    """The identifying tags that data sets are joined by. Raises UnusableError."""
    with _told(path):
        names = ["PatientID", "SeriesInstanceUID", "Rows", "Columns"]
        tags = dcmread(path, stop_before_pixels=True, specific_tags=names)
        shape = int(tags.Rows), int(tags.Columns)
        return Header(path, str(tags.PatientID), str(tags.SeriesInstanceUID), shape)


def read_frame(path: Path, number: int = 0, frames: int | None = None) -> Frame:
    """Frame `number`, counted from 0, of a grey image; `frames`: how many the file must have, if that is known.

    MONOCHROME1 is inverted; padding is black, and does not count where levels are chosen.

    Raises:
        UnusableError: no DICOM file of grey pixels, a frame it does not have, or one without content.
    """
    with _told(path):
        tags, raw = _decode(path, number, frames)
        values = apply_modality_lut(raw, _part(tags, "PixelValueTransformationSequence", number, RESCALE))
        levels = _part(tags, "FrameVOILUTSequence", number, WINDOW)
        padding = _padding(raw, tags)
        grey = _levels(values, levels, ~padding, path)
        if tags.PhotometricInterpretation == "MONOCHROME1":
            grey, values = 255 - grey, values.max() - values.astype(np.float64)
        grey[padding] = 0
        if np.ptp(grey) == 0:
            raise UnusableError(path, "blank image", "expected more than one grey level")
        return Frame(values, grey)


def read_mask(path: Path) -> Pixels:
    """The values of a file of one frame, nothing done to them. Raises UnusableError."""
    with _told(path):
        return _decode(path, 0, 1)[1]


def _decode(path: Path, number: int, frames: int | None) -> tuple[FileDataset, Pixels]:
    """The tags that pixels need, and one frame."""
    names = [*PIXELS, *WINDOW, *RESCALE, SHARED, EACH]
    tags = dcmread(path, stop_before_pixels=True, specific_tags=names)
    _check(path, tags, number, frames)
    return tags, pixel_array(path, index=number)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Any error in a file becomes one UnusableError: decoders raise errors of any kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the tags' values
            yield
    except UnusableError:
        raise
    except InvalidDicomError:
        raise UnusableError(path, "broken file", "expected a DICOM file") from None
    except Exception as error:
        detail = f"expected a whole DICOM image ({type(error).__name__})"
        raise UnusableError(path, "broken file", detail) from None


def _check(path: Path, tags: FileDataset, number: int, frames: int | None) -> None:
    found = int(tags.get("NumberOfFrames") or 1)
    if frames is not None and found != frames:
        raise UnusableError(path, "volume of another length", f"expected {frames} frames, found {found}")
    if not 0 <= number < found:
        raise UnusableError(path, NO_SLICE, f"expected 0..{found - 1}, found {number}")
    if not 0 < tags.Rows * tags.Columns <= MOST_PIXELS:
        size = f"{tags.Columns}x{tags.Rows}"
        raise UnusableError(path, "image of too many pixels", f"expected 1 to {MOST_PIXELS}, found {size}")
    kind = tags.get("PhotometricInterpretation", "none")
    if tags.get("SamplesPerPixel") != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnusableError(path, "image in colour", f"expected grey pixels, found {kind}")
    syntax = tags.file_meta.TransferSyntaxUID
    if not get_decoder(syntax).is_available:
        detail = f"expected a codec of pydicom for it, found {syntax.name}"
        raise UnusableError(path, "coding that is not read", detail)


def _part(tags: Dataset, group: str, number: int, names: tuple[str, ...]) -> Dataset:
    """The elements `names`: those of frame `number`, else those that all frames share, else the file's own."""
    found = tags
    for groups, item in ((SHARED, 0), (EACH, number)):
        listed = tags.get(groups) or []
        if item < len(listed) and listed[item].get(group):
            found = listed[item].get(group)[0]
    part = Dataset()
    for name in names:
        if name in found:
            part[name] = found[name]
    return part


def _padding(raw: Pixels, tags: Dataset) -> Mask:
    ends = [tags.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if ends[0] is None:
        return np.zeros(raw.shape, np.bool_)
    low, high = sorted(int(end if end is not None else ends[0]) for end in ends)
    return (raw >= low) & (raw <= high)


def _levels(values: Pixels, levels: Dataset, shown: Mask, path: Path) -> Grey:
    """0..255 by the window, or by percentiles of the `shown` pixels where there is none that leaves any contrast."""
    grey = np.zeros(values.shape, np.uint8)
    if not shown.any():
        return grey
    if _positive(levels):
        eight: Any = Dataset()  # the range that windowing maps to
        eight.update(levels)
        eight.BitsStored, eight.PixelRepresentation = 8, 0
        eight.PhotometricInterpretation = "MONOCHROME2"
        grey[:] = np.rint(apply_windowing(values, eight))
        if np.ptp(grey[shown]):
            return grey
    grey[shown] = window(values[shown], path)
    return grey


def _positive(levels: Dataset) -> bool:
    """Whether there is a window, of the first or only width of at least 1."""
    widths = np.ravel(levels.get("WindowWidth", []))
    return len(widths) > 0 and "WindowCenter" in levels and float(widths[0]) >= 1
