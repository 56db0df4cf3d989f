"""Masks for conditional rivals: which, how often, and where a varied one may lie."""

import numpy as np
import pytest

from pig.data.conditions import Given, rows, tissue, vary
from pig.data.phantom.phantom import phantom


def test_each_mask_is_used_once_before_any_is_used_again():
    found = rows(range(25), 10, seed=3)
    assert sorted(found[:10]) == list(range(10))
    assert set(found[10:]) <= set(range(10))
    assert found[:10] != list(range(10)) and found != rows(range(25), 10, seed=2)


@pytest.fixture(scope="module")
def pairs():
    return phantom(6, ["CC", "MLO"], 1, 64, 11)


def test_a_varied_mask_lies_in_the_breast_in_one_piece_and_elsewhere(pairs):
    moved = 0
    for number, (image, mask) in enumerate(zip(pairs.images, pairs.masks, strict=True)):
        found = vary(mask, image, number, seed=4)
        assert found.shape == mask.shape and found.dtype == bool
        ratio = found.sum() / mask.sum()
        assert 0.4 < ratio < 2.2  # 0.75^2 .. 1.33^2, and the rounding of small lesions
        if not np.array_equal(found, mask):
            moved += 1
            assert not (found & ~tissue(image)).any()
    assert moved >= len(pairs) - 1


@pytest.mark.parametrize("varied", [False, True])
def test_what_a_sample_is_given_depends_on_its_number_alone(pairs, varied):
    """More samples than masks; each id is that of the pair whose mask it is, or from which it was varied."""
    given = Given(pairs, varied, seed=3)
    masks, ids = given.of(range(20))
    some, theirs = given.of(range(8, 15))
    assert np.array_equal(some, masks[8:15]) and theirs == ids[8:15]
    of = [pairs.table["id"].tolist().index(each) for each in ids]
    assert of == rows(range(20), len(pairs), 3)
    assert varied != np.array_equal(masks, pairs.masks[of])
    assert varied != np.array_equal(masks[-1], masks[of.index(of[-1])])  # of the same pair
    assert given.digest != Given(pairs.select(range(3)), varied, seed=3).digest


def test_where_there_is_no_room_the_mask_stays():
    image = np.full((16, 16), 9, np.uint8)
    image[:, 8:] = 255
    image[3, 3] = 0
    for mask in (np.ones((16, 16), bool), np.zeros((16, 16), bool)):
        assert np.array_equal(vary(mask, image, 0, 0), mask)


def test_tissue_is_the_largest_bright_region_with_its_holes():
    image = np.zeros((12, 12), np.uint8)
    image[2:10, 1:8] = 100
    image[5, 4] = 0
    image[11, 11] = 100
    expected = np.zeros((12, 12), bool)
    expected[2:10, 1:8] = True
    assert np.array_equal(tissue(image), expected)
    assert tissue(np.zeros((4, 4), np.uint8)).all()
