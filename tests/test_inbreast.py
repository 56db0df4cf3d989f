"""INbreast: patients by the names of files, masses by polygons, and nothing else."""

import plistlib

import numpy as np
import pytest
from local_copies import inbreast, outlines

from pig.data.readers.folder import read_all
from pig.data.readers.inbreast import NO_MASS, find, read_masses
from pig.data.readers.listing import MISSING
from pig.data.readers.pixels import UnusableError


def square(y: int, x: int) -> np.ndarray:
    mask = np.zeros((60, 44), bool)
    mask[max(0, y - 5) : y + 6, max(0, x - 5) : x + 6] = True
    return mask


def test_masses_are_read_and_united_and_nothing_else(tmp_path):
    inbreast(tmp_path / "INbreast Release 1.0")
    found = find(tmp_path)
    assert not found.rejected
    assert found.skipped == {"no mass": 2}
    names = ("id", "patient", "side", "view", "lesions", "finding")
    assert [[each.row[name] for name in names] for each in found.slices] == [
        ["20586908", "a1b2c3d4e5f60718", "L", "CC", "2", "BI-RADS 2"],
        ["20586934", "a1b2c3d4e5f60718", "R", "MLO", "1", "BI-RADS 3"],
    ]
    np.testing.assert_array_equal(found.slices[0].read().mask, square(20, 10) | square(40, 8))
    np.testing.assert_array_equal(found.slices[1].read().mask, square(30, 30))


def test_what_is_missing_or_named_otherwise_is_told(tmp_path):
    inbreast(tmp_path)
    (tmp_path / "AllDICOMs" / "20586960_ffee0011aabbccdd_MG_L_ML_ANON.dcm").unlink()
    lost = tmp_path / "AllDICOMs" / "20586934_a1b2c3d4e5f60718_MG_R_ML_ANON.dcm"
    lost.rename(lost.with_name("20586934_copy.dcm"))
    found = find(tmp_path)
    assert len(found.slices) == 1
    assert [error.kind for error in found.rejected] == ["unknown form of name", MISSING]


@pytest.mark.parametrize(
    "content",
    [
        b"<plist",
        plistlib.dumps({"Images": []}),
        plistlib.dumps({"Images": [{"ROIs": [{"Name": "Mass"}]}]}),
        plistlib.dumps({"Images": [{"ROIs": [{"Name": 3, "Point_px": [], "NumberOfPoints": 0}]}]}),
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><plist><string>&a;</string></plist>',
    ],
)
def test_a_broken_file_of_outlines_leaves_its_image_out(tmp_path, content):
    inbreast(tmp_path)
    (tmp_path / "AllXML" / "20586934.xml").write_bytes(content)
    found = find(tmp_path)
    assert [each.row["id"] for each in found.slices] == ["20586908"]
    assert [error.kind for error in found.rejected] == ["broken file"]


@pytest.mark.parametrize(
    ("points", "number"),
    [(["(1, 2)"], 1), (["(1, 2)"] * 4, 5), (["(1, 2)", "(2, 3)", "(e, .)"], 3)],
)
def test_a_mass_that_is_no_polygon_is_refused(tmp_path, points, number):
    path = outlines(tmp_path, "1", [{"Name": "Mass", "NumberOfPoints": number, "Point_px": points}])
    with pytest.raises(UnusableError) as error:
        read_masses(path)
    assert error.value.path == path


def test_a_mass_outside_of_the_image_is_refused(tmp_path):
    inbreast(tmp_path)
    far = {"Name": "Mass", "NumberOfPoints": 3, "Point_px": ["(900, 900)", "(950, 900)", "(950, 950)"]}
    outlines(tmp_path, "20586934", [far])
    _, rejected = read_all(find(tmp_path), (16, 16), None)
    assert [error.kind for error in rejected] == [NO_MASS]
