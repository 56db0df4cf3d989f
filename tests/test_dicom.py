"""DICOM pixels: what is read is what was stored, through the file's window or the image's own."""

from pathlib import Path
from unittest.mock import Mock, call

import numpy as np
import pydicom
import pytest
from local_copies import dicom, window_of, write_dicom
from pydicom import Dataset
from pydicom.pixels import apply_windowing
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from pig.data.readers import dicom as reader
from pig.data.readers.dicom import NO_SLICE, Frame, read_frame, read_header
from pig.data.readers.pixels import UnusableError, window


@pytest.fixture
def ramp() -> np.ndarray:
    """(40, 50) uint16, 12 bits of content."""
    return np.linspace(0, 4095, 2000).astype(np.uint16).reshape(40, 50)


@pytest.fixture
def read(tmp_path):
    """Write a file of pixels and tags, and read a frame of it."""

    def run(pixels: np.ndarray, number: int = 0, **tags: object) -> Frame:
        return read_frame(write_dicom(tmp_path / "a.dcm", pixels, **tags), number)

    return run


@pytest.mark.parametrize("codec", [None, RLELossless, JPEG2000Lossless])
def test_every_frame_is_read_alone_whatever_its_coding(tmp_path, codec, monkeypatch):
    volume = np.random.default_rng(0).integers(0, 4096, (3, 40, 50), dtype=np.uint16)
    path = write_dicom(tmp_path / "a.dcm", volume, codec)
    whole = Mock(wraps=reader.pixel_array)
    monkeypatch.setattr(reader, "pixel_array", whole)
    for number, frame in enumerate(volume):
        stored, grey = read_frame(path, number, frames=3)
        np.testing.assert_array_equal(stored, frame)
        np.testing.assert_array_equal(grey, window(frame, path))
    assert whole.call_args_list == [call(path, index=number) for number in range(3)]


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_is_the_standards(tmp_path, ramp, function):
    tags = {"WindowCenter": 1500, "WindowWidth": 1001} | ({"VOILUTFunction": function} if function else {})
    path = write_dicom(tmp_path / "a.dcm", ramp, BitsStored=12, HighBit=11, **tags)
    grey, whole = read_frame(path).grey, pydicom.dcmread(path)
    np.testing.assert_allclose(grey, apply_windowing(whole.pixel_array, whole) / 4095 * 255, atol=0.51)
    if function != "SIGMOID":
        assert grey[ramp <= 999].max() == 0
        assert grey[ramp >= 2001].min() == 255


def test_windows_are_found_in_functional_groups_first_the_frames_own(read, ramp):
    volume = np.stack([ramp, ramp])
    shared = {"SharedFunctionalGroupsSequence": [window_of(1000, 1000)], "WindowCenter": 9, "WindowWidth": 9}
    own = shared | {"PerFrameFunctionalGroupsSequence": [Dataset(), window_of(3000, 1000)]}
    low = read(ramp, WindowCenter=1000, WindowWidth=1000).grey
    high = read(ramp, WindowCenter=[3000, 5], WindowWidth=[1000, 5]).grey
    assert (low != high).any()
    for tags, number, expected in [(shared, 0, low), (shared, 1, low), (own, 0, low), (own, 1, high)]:
        np.testing.assert_array_equal(read(volume, number, **tags).grey, expected)


@pytest.mark.parametrize(
    "tags", [{}, {"WindowCenter": 9, "WindowWidth": 0}, {"WindowCenter": 1e6, "WindowWidth": 2}]
)
def test_without_a_window_that_shows_anything_percentiles_are_taken(read, ramp, tags):
    np.testing.assert_array_equal(read(ramp, **tags).grey, window(ramp, Path("a")))


def test_monochrome1_is_inverted_and_rescaled_values_are_windowed(read, ramp):
    plain = read(ramp, WindowCenter=2000, WindowWidth=3000)
    inverted = read(4095 - ramp, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(inverted.stored, ramp)
    np.testing.assert_allclose(inverted.grey, window(ramp, Path("b")), atol=1)
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 3000.5, "WindowWidth": 5999}
    np.testing.assert_allclose(read(ramp, **rescaled).grey, plain.grey, atol=1)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_moves_no_percentile(read, ramp, kind):
    part = ramp[10:, :]
    padded = np.concatenate([np.full((10, 50), 65000, np.uint16), part])
    padded[3] = 64990
    ends = {"PixelPaddingValue": 65000, "PixelPaddingRangeLimit": 64980}
    grey = read(padded, PhotometricInterpretation=kind, **ends).grey
    assert not grey[:10].any()
    expected = window(part, Path("a"))
    np.testing.assert_array_equal(grey[10:], expected if kind == "MONOCHROME2" else 255 - expected)


def test_signed_values_are_read_and_what_files_are_joined_by(read, ramp, tmp_path):
    signed = ramp.astype(np.int16) - 2000
    np.testing.assert_array_equal(read(signed, PatientID="X_1", SeriesInstanceUID="1.2.3").stored, signed)
    assert read_header(tmp_path / "a.dcm") == (tmp_path / "a.dcm", "X_1", "1.2.3", (40, 50))


RAMP = np.arange(2000, dtype=np.uint16).reshape(40, 50)
WHOLE, RLE, TWO = dicom(RAMP), dicom(RAMP, RLELossless), dicom(np.stack([RAMP] * 2))
RGB = {
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    "NumberOfFrames": 1,
}
OTHER = dicom(RAMP, JPEG2000Lossless).replace(JPEG2000Lossless.encode(), JPEGLSLossless.encode())


@pytest.mark.parametrize(
    ("content", "number", "frames", "kind"),
    [
        *((bad, 0, None, "broken file") for bad in (b"", b"no image", WHOLE[:200], WHOLE[:-100], RLE[:-200])),
        (dicom(RAMP, JPEG2000Lossless)[:-200], 0, None, "broken file"),
        (dicom(RAMP, WindowCenter=9, WindowWidth=9, VOILUTFunction="CURVE"), 0, None, "broken file"),
        (dicom(np.full((4, 4), 7, np.uint16)), 0, None, "blank image"),
        (dicom(np.zeros((3, 4, 4), np.uint8), **RGB), 0, None, "image in colour"),
        (dicom(RAMP, Rows=65535, Columns=65535), 0, None, "image of too many pixels"),
        (TWO, 2, None, NO_SLICE),
        (TWO, 0, 3, "volume of another length"),
        (OTHER, 0, None, "coding that is not read"),
    ],
)
def test_what_cannot_be_read_is_told_without_a_tag(tmp_path, content, number, frames, kind):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    with pytest.raises(UnusableError) as error:
        read_frame(path, number, frames)
    assert (error.value.path, error.value.kind) == (path, kind)
    assert "nobody" not in str(error.value)
