"""BCS-DBT: boxes land on the lesions of the right frame, however the file lies."""

import shutil

import numpy as np
import pandas as pd
import pytest
from local_copies import FRAMES, VIEWS, bcs_dbt, change
from pydicom.uid import JPEG2000Lossless, RLELossless

from pig.core.errors import InputError
from pig.data.readers.bcs_dbt import find, latest
from pig.data.readers.dicom import NO_SLICE
from pig.data.readers.folder import read_all
from pig.data.readers.listing import MISSING
from pig.data.readers.shapes import BOX_RULES, Box


@pytest.mark.parametrize(
    ("classic", "codec"), [(False, None), (True, RLELossless), (False, JPEG2000Lossless)]
)
def test_boxes_become_masks_on_the_frame_they_belong_to(tmp_path, classic, codec):
    bcs_dbt(tmp_path, VIEWS, codec, classic)
    found = find(tmp_path, "ellipse")
    assert not found.rejected
    assert found.skipped == {"view without a box": 1, "architectural distortion": 0}
    views = {each.name: each for each in VIEWS}
    expected = {("lcc2", 2): 1, ("rmlo", 1): 2, ("rmlo", 4): 1, ("lcc", 0): 1}
    assert len(found.slices) == len(expected)
    for each in found.slices:
        name, frame = each.row["id"].split("-")[-2], int(each.row["slice"])
        view = views[name]
        assert each.row["lesions"] == str(expected.pop((name, frame)))
        assert each.row["side"] + each.row["view"] == name.upper().rstrip("2")
        assert each.row["patient"] == view.patient
        assert each.row["mask_rule"] == "ellipse"
        opened = each.read()
        np.testing.assert_array_equal(opened.stored, view.volume()[frame])
        boxes = [Box(*box) for at, *box in view.boxes if at == frame]
        united = np.any([BOX_RULES["ellipse"](opened.grey, box) for box in boxes], axis=0)
        np.testing.assert_array_equal(opened.mask, united)
        assert opened.mask[opened.stored == 900].all()  # the drawn lesions


@pytest.mark.parametrize(
    ("view", "slices", "lesions"),
    [
        *((0, len(frames), dict.fromkeys(frames, 1)) for frames in ([2], [2, 3], [1, 2, 3], range(FRAMES))),
        (0, 9, dict.fromkeys(range(FRAMES), 1)),
        (1, FRAMES, {0: 2, 1: 2, 2: 3, 3: 3, 4: 1}),  # boxes that meet on a frame are united
    ],
)
def test_neighbours_of_the_central_slice_share_its_box(tmp_path, view, slices, lesions):
    bcs_dbt(tmp_path, VIEWS[view : view + 1])
    found = find(tmp_path, "ellipse", slices).slices
    assert {int(each.row["slice"]): int(each.row["lesions"]) for each in found} == lesions
    masks = [each.read().mask for each in found]
    assert view or all((mask == masks[0]).all() for mask in masks)


def test_what_is_missing_is_told_and_the_rest_read(tmp_path):
    bcs_dbt(tmp_path)
    shutil.rmtree(tmp_path / "Breast-Cancer-Screening-DBT" / "DBT-P00024")
    boxes = tmp_path / "BCS-DBT-boxes-train-v2.csv"
    table = pd.read_csv(boxes)
    pd.concat([table, table[:1].assign(View="rcc")]).to_csv(boxes, index=False)
    found = find(tmp_path, "ellipse")
    assert len(found.slices) == 3
    assert [error.kind for error in found.rejected] == [MISSING] * 2


@pytest.mark.parametrize(
    ("table", "columns", "kind"),
    [
        ("boxes", {"Slice": 5}, NO_SLICE),
        *(("boxes", {"Slice": odd}, "box that is none") for odd in ("Jane", "")),
        *(("boxes", {"X": odd}, "box that is none") for odd in ("6.5", "1e30")),
        *(("boxes", odd, "box outside of the image") for odd in ({"Width": 0}, {"X": 44}, {"Y": -7})),
        ("boxes", {"VolumeSlices": 6}, "volume of another length"),
        ("file-paths", {"descriptive_path": "../../secret/1-1.dcm"}, "path that leads elsewhere"),
        (
            "file-paths",
            dict.fromkeys(("classic_path", "descriptive_path"), "/1-1.dcm"),
            "path that leads elsewhere",
        ),
    ],
)
def test_a_row_that_makes_no_sense_is_told(tmp_path, table, columns, kind):
    bcs_dbt(tmp_path, VIEWS[:1])
    change(tmp_path / f"BCS-DBT-{table}-train-v2.csv", **columns)
    with pytest.raises(InputError, match=kind):
        read_all(find(tmp_path, "ellipse"), (16, 16), None)


def test_the_folder_may_be_that_of_the_files_or_a_manifests(tmp_path):
    bcs_dbt(tmp_path, VIEWS[:1])
    tree = tmp_path / "Breast-Cancer-Screening-DBT"
    for table in tmp_path.glob("*.csv"):
        shutil.copy(table, tree)
    assert not find(tree, "ellipse").rejected
    (tmp_path / "manifest-1").mkdir()
    tree.rename(tmp_path / "manifest-1" / tree.name)
    for table in (tmp_path / "manifest-1").rglob("*.csv"):
        table.unlink()
    assert not find(tmp_path, "ellipse").rejected


def test_the_latest_version_of_a_table_counts(tmp_path):
    names = ["boxes-train.csv", "boxes-train-v2.csv", "boxes-validation-v10.csv", "boxes-validation-v9.csv"]
    assert [path.name for path in latest([tmp_path / name for name in names])] == names[1:3]
