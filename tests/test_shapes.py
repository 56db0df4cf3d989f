"""Boxes and polygons become masks of the right place and area."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path

from pig.data.readers.shapes import Box, ellipse, polygon, region

BLACK = np.zeros((80, 100), np.uint8)


@pytest.mark.parametrize("box", [Box(10, 20, 40, 30), Box(0, 0, 100, 80), Box(60, 5, 21, 66)])
def test_an_ellipse_touches_its_box_and_has_its_area(box):
    mask = ellipse(BLACK, box)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    ends = box.x + box.width, box.y + box.height
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (box.x, box.y, *ends)
    assert mask.sum() == pytest.approx(np.pi / 4 * box.width * box.height, rel=0.02)
    np.testing.assert_array_equal(mask[box.y : box.y + box.height], mask[box.y : box.y + box.height][::-1])


@given(st.integers(0, 99), st.integers(0, 79), st.integers(1, 100), st.integers(1, 80))
def test_no_box_is_too_small_and_nothing_leaves_it(x, y, width, height):
    box = Box(x, y, width, height)  # often beyond the right and lower edge
    whole = np.zeros((200, 200), np.uint8)
    for rule in (ellipse, region):
        mask = rule(BLACK, box)
        np.testing.assert_array_equal(mask, rule(whole, box)[:80, :100])
        mask[y : y + height, x : x + width] = False
        assert not mask.any()
        assert rule(whole, box).any()


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        (Box(-1, 0, 5, 5), 20),
        (Box(0, 76, 5, 5), 20),
        (Box(0, 80, 5, 5), 0),
        (Box(0, 0, 0, 5), 0),
        (Box(10, 10, 5, -5), 0),
    ],
)
def test_a_box_that_leaves_the_image_is_cut(box, pixels):
    assert BLACK[box.seen(BLACK.shape)].size == pixels


def test_a_region_is_what_is_bright_in_the_box_without_specks_and_holes():
    rows, columns = np.mgrid[:80, :100]
    truth = (rows - 40) ** 2 / 15**2 + (columns - 50) ** 2 / 11**2 <= 1
    image = np.where(truth, 150, 80) + np.random.default_rng(0).normal(0, 5, truth.shape)
    image[39:42, 49:52] = 80  # a hole
    image[22:24, 36:38] = 150  # a speck
    image[5:15, 5:15] = 255  # outside of the box
    mask = region(np.clip(image, 0, 255).astype(np.uint8), Box(35, 20, 32, 40))
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9
    assert mask[40, 50] and not mask[22, 36]


@pytest.mark.parametrize("seed", range(3))
def test_a_polygon_has_the_pixels_whose_centres_it_holds_and_no_far_ones(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 24))
    round_ = np.stack([50 + 30 * np.cos(angles), 40 + 25 * np.sin(angles)], 1)
    points = np.rint(round_ + rng.uniform(-4, 4, (24, 2)))
    y, x = np.mgrid[:80, :100]
    inside = Path(points).contains_points(np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape)
    mask = polygon(points, (80, 100))
    assert mask[inside].all()
    edge = points.astype(np.float32)
    for i, j in np.argwhere(mask & ~inside):
        assert abs(cv2.pointPolygonTest(edge, (float(j), float(i)), measureDist=True)) <= 0.51


def test_a_polygon_that_leaves_the_image_is_cut():
    mask = polygon(np.array([[-50.0, 10], [20, 10], [20, 20], [-50, 20]]), (80, 100))
    assert mask.sum() == 21 * 11
    far = polygon(np.array([[-np.inf, 10], [1e300, 10], [1e300, 20], [-np.inf, 20]]), (80, 100))
    assert far.sum() == 100 * 11
    assert not polygon(np.array([[200.0, 10], [220, 10], [220, 20]]), (80, 100)).any()
