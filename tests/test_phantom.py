"""The phantom: seeded, the same at any size, and worth learning from."""

import hashlib
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from pig.core.errors import InputError
from pig.data.pairs import Pairs, digest, scale
from pig.data.phantom.anatomy import MARGINS, Outline
from pig.data.phantom.phantom import RING, VIEWS, Volume, phantom
from pig.data.phantom.texture import Spectrum, Texture, ridges, stream


@cache
def study() -> Pairs:
    """36 patients in two views of three slices, 64 x 64."""
    return phantom(36, VIEWS, 3, 64, seed=5)


@cache
def contrast() -> np.ndarray:
    """(N,) mean inside the mask minus mean of a ring around it, on [-1, 1]."""
    pairs = study()
    out = []
    for image, mask in zip(scale(pairs.images), pairs.masks, strict=True):
        away = ndimage.distance_transform_edt(~mask) / len(mask)
        out.append(image[mask].mean() - image[(away > 0) & (away <= RING)].mean())
    return np.array(out)


def test_the_pixels_of_a_seed_are_pinned():
    pairs = phantom(3, VIEWS, 2, 48, seed=2025)
    pixels = hashlib.sha256(pairs.images.tobytes() + pairs.masks.tobytes()).hexdigest()
    assert pixels == "f8b81bdd36ece7abf60bb504f9fc52e9adb812728861893dd3c300b6267d7c2d"


def test_a_patient_is_the_same_among_any_others():
    few, many = phantom(2, VIEWS, 2, 32, seed=1), phantom(4, VIEWS, 2, 32, seed=1)
    assert digest(many.select(many.table["patient"] <= "p0001")) == digest(few)
    alone = phantom(4, ["MLO"], 2, 32, seed=1)
    assert digest(many.select(many.table["view"] == "MLO")) == digest(alone)
    assert not np.array_equal(few.images, phantom(2, VIEWS, 2, 32, seed=2).images)


@pytest.mark.parametrize("view", VIEWS)
def test_a_patient_looks_the_same_at_any_size(view):
    small, large = (phantom(3, [view], 2, size, seed=3) for size in (64, 256))
    for i in range(len(small)):
        shrunk = large.images[i].reshape(64, 4, 64, 4).mean(axis=(1, 3))
        cover = large.masks[i].reshape(64, 4, 64, 4).mean(axis=(1, 3))
        assert np.corrcoef(shrunk.ravel(), small.images[i].ravel())[0, 1] > 0.985
        assert abs(shrunk.mean() - small.images[i].mean()) < 2
        assert np.sum(np.minimum(cover, small.masks[i])) / np.sum(np.maximum(cover, small.masks[i])) > 0.85
        detail = large.images[i] - np.kron(shrunk, np.ones((4, 4)))  # that the smaller one lacks
        inside = ndimage.binary_erosion(large.images[i] > 0, iterations=8)
        assert np.std(detail[inside]) > 5


def test_rows_say_what_was_drawn():
    table = study().table
    assert list(table["id"][:2]) == ["p0000-CC-00", "p0000-CC-01"] and len(set(table["density"])) == 36
    assert set(table["origin"] + table["seed"]) == {"phantom5"}
    assert set(table["margin"]) == set(MARGINS)
    assert list(table["depth"][:3]) == ["-0.667", "0.000", "0.667"]
    assert (table.groupby("patient").size() == 6).all()
    assert (table.groupby("patient")[["density", "margin", "contrast"]].nunique() == 1).all(axis=None)


@pytest.mark.parametrize(("views", "size", "named"), [(["CC"], 8, "data.size"), (["CC"] * 2, 32, "views")])
def test_a_setting_that_makes_no_sense_is_named(views, size, named):
    with pytest.raises(InputError, match=named):
        phantom(1, views, 1, size, 0)


# --- masks ---


def test_each_mask_is_one_lesion_inside_the_breast_of_a_size_that_a_network_can_learn():
    pairs = study()
    assert pairs.masks.sum(axis=(1, 2)).min() >= 12
    for image, mask in zip(pairs.images, pairs.masks, strict=True):
        assert ndimage.label(mask)[1] == 1
        assert image[mask].min() > 0
        assert not (mask[0].any() or mask[-1].any() or mask[:, 0].any())


@pytest.mark.parametrize("size", [16, 33, 128])
def test_no_mask_is_empty_or_in_parts_at_other_sizes(size):
    masks = phantom(12, VIEWS, 2, size, seed=8).masks
    assert all(ndimage.label(mask, np.ones((3, 3)))[1] == 1 for mask in masks)


def test_contrast_varies_from_hard_to_easy():
    seen = contrast()
    assert 0.35 < seen.mean() < 0.5
    assert seen.min() > 0.08
    assert np.mean(seen < 0.25) > 0.08  # hard to see
    table = study().table
    wanted = table["contrast"].astype(float) * (1 - 0.35 * table["depth"].astype(float).abs())
    assert np.corrcoef(wanted, seen)[0, 1] > 0.95


def test_a_lesion_is_largest_and_clearest_in_focus():
    area, clear = (a.reshape(-1, 3) for a in (study().masks.sum(axis=(1, 2)), contrast()))
    assert (area[:, 1] > area[:, [0, 2]].max(axis=1)).all()
    assert np.mean(clear[:, [1]] > clear[:, [0, 2]]) > 0.95


# --- images ---


def test_the_chest_wall_is_left_the_air_black_and_mlo_has_the_pectoral_muscle():
    pairs = study()
    images = pairs.images
    assert (images[:, 20:40, 0] > 0).all()
    assert not images[:, :, -1].any() and not images[:, -1, 40:].any()
    corner = pairs.images[:, :6, :6].mean(axis=(1, 2))
    mlo = (pairs.table["view"] == "MLO").to_numpy()
    assert corner[mlo].min() > 100
    assert corner[~mlo].max() < 100


def test_patients_differ_more_than_the_slices_and_views_of_one():
    pairs = study()
    breast = [image[image > 0] for image in pairs.images]
    for name, trait in {
        "brightness": np.array([pixels.mean() for pixels in breast]),
        "spread": np.array([pixels.std() for pixels in breast]),
        "contrast": contrast(),
        "area": pairs.masks.mean(axis=(1, 2)),
    }.items():
        groups = trait.reshape(36, 6)
        between, within = groups.mean(axis=1).var(ddof=1), groups.var(axis=1, ddof=1).mean()
        assert between > within, name


def test_neighbouring_slices_share_the_coarse_and_differ_in_the_fine():
    views = study().images.reshape(-1, 3, 64, 64).astype(float)
    coarse = ndimage.gaussian_filter(views, (0, 0, 3, 3))
    fine = views - ndimage.gaussian_filter(views, (0, 0, 1, 1))

    def alike(ones: np.ndarray, others: np.ndarray) -> float:
        """Mean correlation of two stacks of images, well inside the breast."""
        pairs = zip(ones[:, 20:44, 8:40], others[:, 20:44, 8:40], strict=True)
        return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))

    assert alike(coarse[:, 0], coarse[:, 1]) > 0.95
    assert 0.6 < alike(fine[:, 0], fine[:, 1]) < 0.9
    assert alike(fine[:, 0], fine[:, 2]) < 0.5
    assert alike(coarse[:-2, 0], coarse[2:, 0]) < 0.4  # the same view of the next patient


def test_noise_grows_with_the_signal_and_air_has_none():
    volume = Volume(1, 0, "CC", 64)
    draws = np.stack([volume.draw(0.0, i)[0] for i in range(24)]).astype(float)
    mean, spread = draws.mean(axis=0), draws.std(axis=0)
    assert not spread[mean == 0].any()
    dark, bright = ((mean > 45) & (mean < 75), (mean > 120) & (mean < 170))
    ratio = spread[bright].mean() / spread[dark].mean()
    assert ratio == pytest.approx(np.sqrt(mean[bright].mean() / mean[dark].mean()), rel=0.1)


def test_depth_under_the_skin_is_a_distance():
    """Of a circle's half the first-order distance is near the true one, close to the skin."""
    outline = Outline(0.5, 0.5, 0.5, 0.5)
    angle = np.linspace(-1.2, -0.4, 9)  # away from the nipple, which stands out
    for depth in (-0.01, 0.01, 0.02):
        x, y = (0.5 - depth) * np.cos(angle), 0.5 + (0.5 - depth) * np.sin(angle)
        assert outline.skin(x, y) == pytest.approx(depth, abs=0.025)


# --- textures ---


@pytest.mark.parametrize("beta", [2.8, 3.2, 4.0])
def test_texture_has_a_power_law_spectrum(beta):
    size, edges = 256, np.array([12, 16, 22, 30, 42, 58, 80])
    f = np.hypot(np.fft.fftfreq(size, 1 / size)[:, None], np.fft.rfftfreq(size, 1 / size)[None, 1:])
    power = np.zeros_like(f)
    for seed in range(4):
        power += np.abs(np.fft.rfft2(Texture(stream(seed), Spectrum(beta, 2.0), size).at(0.3)))[:, 1:] ** 2
    shells = [(f >= low) & (f < high) for low, high in pairwise(edges)]
    slope = np.polyfit([np.log(f[s]).mean() for s in shells], [np.log(power[s].mean()) for s in shells], 1)[0]
    assert slope == pytest.approx(-beta, abs=0.12)


def test_a_small_texture_is_the_low_frequencies_of_a_large_one():
    spectrum = Spectrum(3.0, 3.0, stretch=1.4, angle=0.3)
    small, large = (np.fft.rfft2(Texture(stream(7), spectrum, size).at(0.5)) / size**2 for size in (32, 96))
    np.testing.assert_allclose(small[:15, 1:15], large[:15, 1:15], rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(small[-15:, 1:15], large[-15:, 1:15], rtol=1e-10, atol=1e-15)


def test_texture_is_stationary_in_depth():
    fields = [Texture(stream(seed), Spectrum(3.0, 4.0), 64) for seed in range(16)]
    for depth in (-1.0, 0.0, 0.7):
        values = np.stack([field.at(depth) for field in fields])
        assert values.mean() == pytest.approx(0, abs=1e-12)
        assert values.var() == pytest.approx(2, rel=0.1)


def test_fine_structures_change_faster_with_depth():
    """The correlation over a depth dz is the mean of cos(0.05 f dz), weighted by the power at f."""
    f = np.hypot(np.fft.fftfreq(64, 1 / 64)[:, None], np.fft.rfftfreq(64, 1 / 64)[None])
    seen, expected = [], []
    for start in (3.0, 10.0):
        fields = [Texture(stream(seed), Spectrum(6.0, start), 64) for seed in range(8)]
        near, far = (np.stack([field.at(depth) for field in fields]) for depth in (-0.8, 0.8))
        power = np.mean(np.abs(np.fft.rfft2(near)) ** 2, axis=0)
        power[:, 1:] *= 2  # the other half plane
        seen.append(np.corrcoef(near.ravel(), far.ravel())[0, 1])
        expected.append(np.sum(power * np.cos(0.05 * f * 1.6)) / np.sum(power))
    assert seen == pytest.approx(expected, abs=0.02)
    assert seen[0] > seen[1] + 0.2


def test_ridges_keep_their_mean_when_a_pixel_is_wider_than_a_line():
    values = stream(2).standard_normal((400, 400))
    thin, blurred = ridges(values, 0.05), ridges(values[:100, :100], 0.05)
    assert thin.max() <= 1
    assert blurred.max() < thin.max()
    assert blurred.mean() == pytest.approx(thin.mean(), rel=0.1)
