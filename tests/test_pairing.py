"""Contrast on pictures whose answer is known, the shuffled control, and components by flood fill."""

import math

import numpy as np
import pandas as pd
import pytest
from tiny import pairs_of, write

from pig.cli.main import main
from pig.core.errors import InputError
from pig.data.archive import read_archive
from pig.metrics import lesions
from pig.metrics.pairing import components, contrast, derangement, report, ring_around, ring_width, summary


def discs(n, size=32, level=0.6, seed=0):
    """n images of -0.2 with a brighter disc each, and the discs; places and radii differ."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    cy, cx = rng.uniform(6, size - 6, (2, n, 1, 1))
    masks = (y - cy) ** 2 + (x - cx) ** 2 <= rng.uniform(3, 5, (n, 1, 1)) ** 2
    return np.where(masks, level, -0.2).astype(np.float32), masks


def greys(images):
    """[-1, 1] -> 0..255."""
    return np.rint((images + 1) * 127.5).astype(np.uint8)


def flood_fill_count(mask):
    """Connected parts, counted by eating one after the other."""
    left, parts = set(zip(*np.nonzero(mask), strict=True)), 0
    while left:
        parts, edge = parts + 1, [left.pop()]
        while edge:
            i, j = edge.pop()
            near = {(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
            left -= near
            edge += near
    return parts


@pytest.mark.parametrize("level", [0.6, -0.9])
def test_contrast_of_a_disc_is_the_step_of_its_grey(level):
    images, masks = discs(5, level=level)
    assert [contrast(i, m, 2) for i, m in zip(images, masks, strict=True)] == pytest.approx([level + 0.2] * 5)


def test_ring_is_what_brute_force_finds():
    mask = np.random.default_rng(2).random((12, 10)) < 0.04
    inside = np.argwhere(mask)
    for width in (1, 2, 3):
        near = [[min(np.hypot(*(p - (i, j))) for p in inside) <= width for j in range(10)] for i in range(12)]
        np.testing.assert_array_equal(ring_around(mask, width), np.array(near) & ~mask)


def test_contrast_is_unknown_without_an_inside_or_a_ring():
    image, (images, masks) = np.zeros((4, 4)), discs(3)
    assert math.isnan(contrast(image, np.zeros((4, 4), bool), 1))
    assert math.isnan(contrast(image, np.ones((4, 4), bool), 1))
    found = summary(greys(images), np.zeros_like(masks), 0.06)
    assert found["empty"] == 1
    assert all(math.isnan(found[key]) for key in ("contrast", "contrast_sd", "area", "one_component"))


def test_ring_width_is_a_share_of_the_shorter_side_and_at_least_a_pixel():
    assert [ring_width(0.06, shape) for shape in [(64, 64), (512, 256), (8, 8)]] == [4, 15, 1]


@pytest.mark.parametrize("density", [0.1, 0.3, 0.5])
def test_components_as_counted_by_flood_fill(density):
    rng = np.random.default_rng(3)
    for mask in rng.random((20, 9, 9)) < density:
        assert components(mask) == flood_fill_count(mask)
    assert components(np.eye(4, dtype=bool)) == 1  # a diagonal line is one piece


@pytest.mark.parametrize("n", [2, 3, 7, 50])
def test_derangement_moves_every_mask_and_loses_none(n):
    for seed in range(5):
        order = derangement(n, seed)
        assert sorted(order) == list(range(n))
        assert (order != np.arange(n)).all()
    assert derangement(n, 4).tolist() == order.tolist()
    with pytest.raises(InputError):
        derangement(1, 0)


def test_summary_of_a_set_with_empty_and_broken_masks():
    images, masks = discs(4)
    masks = masks.copy()
    masks[0] = False
    masks[1] = np.eye(32, dtype=bool)[::-1] | np.eye(32, dtype=bool)  # one piece: they touch in the middle
    masks[2] = False
    masks[2, 0, 0] = masks[2, 5, 5] = True  # two pieces
    found = summary(greys(images), masks, 0.06)
    assert found["n"] == 4
    assert found["empty"] == 0.25
    assert found["one_component"] == pytest.approx(2 / 3)
    areas = masks[1:].mean((1, 2))
    assert (found["area"], found["area_sd"]) == pytest.approx((areas.mean(), areas.std(ddof=1)))


def test_report_tells_paired_from_shuffled():
    sets = [("real", *discs(60)), ("fold0/pig", *discs(60, level=0.2, seed=5))]
    shown = [(name, "real", greys(images), masks) for name, images, masks in sets]
    frame = report(shown, 0.06, 0).set_index("set")
    assert list(frame.index) == ["real", "real shuffled", "fold0/pig", "fold0/pig shuffled"]
    assert frame.contrast["real"] == pytest.approx(0.8, abs=0.01)
    assert frame.contrast_to_real["fold0/pig"] == pytest.approx(0.5, abs=0.01)
    assert abs(frame.contrast["real shuffled"]) < 0.1
    assert frame.area["real shuffled"] == frame.area["real"]  # the same masks, elsewhere
    assert frame.area_to_real["real"] == 1


@pytest.fixture
def archives(tmp_path):
    paths = []
    for name, seed in (("real", 0), ("pig", 1)):
        images, masks = discs(6, seed=seed)
        paths.append(tmp_path / "fold0" / f"{name}.zip")
        paths[-1].parent.mkdir(exist_ok=True)
        write(paths[-1], pairs_of(greys(images), masks, [f"{name}{i}" for i in range(6)]))
    roles = ["train"] * 4 + ["test"] * 2  # of the real pairs
    split = pd.DataFrame({"id": [f"real{i}" for i in range(6)], "patient": "", "fold0": roles})
    split.to_csv(tmp_path / "split.csv", index=False)
    return [*paths, tmp_path / "split.csv"]


def pairing(archives, out, *generated):
    real, made, split = archives
    cfg = '{"pairing": {"ring": 0.06, "floor_draws": 3, "seed": 0}}'
    words = ["--pairs", real, "--split", split, "--out", out, "--cfg", cfg]
    return main(["pairing", *map(str, [*words, "--generated", *(generated or [made])])])


def test_verb_writes_the_report(archives, tmp_path):
    out = tmp_path / "pairing.csv"
    real, generated, _ = archives
    assert pairing(archives, out) == 0
    frame = pd.read_csv(out)
    sets = ("real", "fold0/real", "fold0/pig")
    assert list(frame["set"]) == [f"{name}{end}" for name in sets for end in ("", " shuffled")]
    assert list(frame["n"]) == [6, 6, 4, 4, 6, 6]
    paired = frame.set_index("set")
    for key in ("contrast", "area"):  # relative to the pairs that the fold's generator was trained on
        ratio = paired[key]["fold0/pig"] / paired[key]["fold0/real"]
        assert paired[f"{key}_to_real"]["fold0/pig"] == pytest.approx(ratio)
        assert paired[f"{key}_to_real"]["fold0/real"] == 1
    far = [f"{what}_{key}" for what in ("w", "floor") for key in lesions.DESCRIPTORS]
    first = "set,n,contrast,contrast_sd,area,area_sd,one_component,empty,contrast_to_real,area_to_real"
    assert list(frame.columns) == [*first.split(","), *far]
    known = read_archive(real)
    parts = (known.select(range(4)), known.select([4, 5]), read_archive(generated))
    train, test, made = (lesions.describe(part.images, part.masks) for part in parts)
    for name, of in (("fold0/real", train), ("fold0/pig", made)):
        expected = [*lesions.distances(of, test).values()]
        expected += lesions.floor(train, test, len(of), 3, 0).values()
        assert paired.loc[name, far].tolist() == pytest.approx(expected)
    assert paired.loc[["real", "real shuffled", "fold0/pig shuffled"], far].isna().all(axis=None)


def test_verb_refuses_two_archives_of_one_name_and_one_of_no_fold(archives, tmp_path, capsys):
    generated = archives[1]
    assert pairing(archives, tmp_path / "x.csv", generated, generated) == 2
    assert "fold0/pig fold0/pig" in capsys.readouterr().err
    elsewhere = generated.rename(tmp_path / "pig.zip")
    assert pairing(archives, tmp_path / "x.csv", elsewhere) == 2
    assert str(elsewhere) in capsys.readouterr().err
