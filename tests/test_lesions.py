"""Lesions' descriptors in closed form, and distances between their distributions."""

import numpy as np
import pandas as pd
import pytest

from pig.metrics import lesions
from pig.metrics.lesions import DESCRIPTORS

SIDE = 96
Y, X = np.mgrid[:SIDE, :SIDE]
BREAST = X**2 + (Y - SIDE / 2 + 0.5) ** 2 <= 44**2  # half a disc at the chest wall, on the left
IMAGE = np.where(BREAST, 120, 0).astype(np.uint8)


def ellipse(a, b, centre=(48.3, 20.4), tilt=0.0):  # off the grid, whose symmetry would bias areas
    u = (Y - centre[0]) * np.cos(tilt) + (X - centre[1]) * np.sin(tilt)
    v = (X - centre[1]) * np.cos(tilt) - (Y - centre[0]) * np.sin(tilt)
    return (u / a) ** 2 + (v / b) ** 2 <= 1


def one(mask, image=IMAGE):
    return lesions.describe(image[None], mask[None]).iloc[0]


@pytest.mark.parametrize("tilt", [0.0, 0.4, 1.2])
@pytest.mark.parametrize(("a", "b"), [(14, 14), (16, 10), (18, 6)])
def test_ellipses_in_closed_form(a, b, tilt):
    found = one(ellipse(a, b, tilt=tilt))
    assert found["area"] == pytest.approx(np.pi * a * b / SIDE**2, rel=0.02)
    squared = 1 - (b / a) ** 2
    assert found["eccentricity"] ** 2 == pytest.approx(squared, abs=0.03)
    assert 0.9 < found["solidity"] < 1  # stairs at the edge of a convex shape


def test_squares_are_solid_and_crescents_are_not():
    square = np.zeros((SIDE, SIDE), bool)
    square[40:50, 10:20] = True
    assert one(square)["solidity"] == pytest.approx(1)
    assert one(square)["eccentricity"] == pytest.approx(0, abs=1e-6)
    assert one(ellipse(14, 14) & ~ellipse(12, 12, centre=(48, 28)))["solidity"] < 0.7
    corner = square.copy()
    corner[45:50, 15:20] = False  # an L: 75 of the 87.5 pixels of its hull
    assert one(corner)["solidity"] == pytest.approx(75 / 87.5)


@pytest.mark.parametrize("pixels", [[(40, 10)], [(40, 10), (40, 11)], [(40, 10), (41, 11)]])
def test_lesions_of_few_pixels(pixels):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[tuple(np.transpose(pixels))] = True
    found = one(mask)
    assert found.notna().all() and 0 <= found["eccentricity"] < 1 and 0 < found["solidity"] <= 1


@pytest.mark.parametrize("place", [(48, 3), (48, 20), (30, 10), (70, 15)])
def test_depth_and_height_in_half_a_disc(place):
    """The depth of a half disc whose flat side is no edge is its radius minus the distance from its centre."""
    found = one(ellipse(3, 3, place))
    radius = np.hypot(place[0] - 47.5, place[1])
    assert found["depth"] == pytest.approx((44 - radius) / 44, abs=0.03)
    assert found["height"] == pytest.approx((place[0] + 0.5 - 4) / 88, abs=0.01)


def test_an_image_that_is_all_tissue_has_its_border_for_an_edge():
    full = np.full((SIDE, SIDE), 99, np.uint8)
    assert one(ellipse(3, 3, (48, 48)), full)["depth"] == pytest.approx(1, abs=0.03)
    assert one(ellipse(3, 3, (48, 11)), full)["depth"] == pytest.approx(0.25, abs=0.03)


def test_empty_masks_have_no_row():
    masks = np.stack([ellipse(5, 5), np.zeros((SIDE, SIDE), bool)])
    assert len(lesions.describe(np.stack([IMAGE] * 2), masks)) == 1
    none = lesions.describe(IMAGE[None], masks[1:])
    assert none.empty and list(none.columns) == list(DESCRIPTORS)
    assert np.isnan(list(lesions.distances(none, TABLE).values())).all()


TABLE = pd.DataFrame(np.random.default_rng(0).random((60, 5)), columns=DESCRIPTORS)


def test_a_shift_is_as_far_as_it_shifts():
    found = lesions.distances(TABLE + 0.25, TABLE)
    assert list(found) == list(DESCRIPTORS)
    for key, value in found.items():
        assert value == pytest.approx(0.25 / TABLE[key].std())
    assert set(lesions.distances(TABLE.sample(frac=1, random_state=0), TABLE).values()) == {0.0}


def test_the_floor_is_of_the_same_number_and_falls_with_it():
    reference = pd.DataFrame(np.random.default_rng(1).random((200, 5)), columns=DESCRIPTORS)
    whole = lesions.distances(TABLE, reference)
    assert lesions.floor(TABLE, reference, 60, 4, 0) == pytest.approx(whole)
    assert lesions.floor(TABLE, reference, 999, 4, 0) == pytest.approx(whole)
    few, some = (lesions.floor(TABLE, reference, n, 40, 0) for n in (5, 30))
    assert all(few[key] > some[key] for key in DESCRIPTORS)
    assert few != lesions.floor(TABLE, reference, 5, 40, 1)
