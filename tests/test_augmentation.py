"""Strong augmentation: masks and images move together, masks stay binary, all chance is the generator's."""

from pathlib import Path

import pytest
import torch

from pig.core.params import load
from pig.metrics.augmentation import strong
from pig.models.table import Params

SETTINGS = load(Path(__file__).parents[1] / "params.yaml", Params, "paper").augmentation
STILL = {"flip": 0.0, "rotation": 0, "shift": 0.0, "scale": [1.0, 1.0]}  # no geometry
PLAIN = {"brightness": 0.0, "contrast": 0.0, "blur": [1e-6, 1e-6], "noise": 0.0}  # no change of greys


def augment(images, masks, seed=0, **changed):
    generator = torch.Generator().manual_seed(seed)
    return strong(SETTINGS.model_copy(update=changed))(images, masks, generator)


@pytest.fixture
def pairs():
    """16 pairs of 24x24: a bright rectangle on grey noise, which is the mask."""
    masks = torch.zeros(16, 1, 24, 24, dtype=torch.bool)
    masks[:, :, 8:14, 6:18] = True
    noise = torch.randint(0, 60, masks.shape, generator=torch.Generator().manual_seed(1))
    return torch.where(masks, 220, noise).to(torch.uint8), masks


def test_nothing_asked_nothing_changed(pairs):
    found = augment(*pairs, **STILL, **PLAIN)
    assert torch.equal(found[0], pairs[0]) and torch.equal(found[1], pairs[1])


def test_a_flip_is_a_flip_of_both(pairs):
    images, masks = augment(*pairs, **{**STILL, **PLAIN, "flip": 1.0})
    assert torch.equal(images, pairs[0].flip(2, 3)) and torch.equal(masks, pairs[1].flip(2, 3))


def test_the_mask_goes_where_the_lesion_goes(pairs):
    images, masks = augment(*pairs, **PLAIN)
    assert masks.dtype == torch.bool and images.dtype == torch.uint8 and images.shape == pairs[0].shape
    bright = images > 130
    dice = 2 * (bright & masks).sum((1, 2, 3)) / (bright.sum((1, 2, 3)) + masks.sum((1, 2, 3)))
    assert dice.min() > 0.85
    moved = 2 * (pairs[1] & masks).sum((1, 2, 3)) / (pairs[1].sum((1, 2, 3)) + masks.sum((1, 2, 3)))
    assert moved.min() < 0.7  # and it did go somewhere


def test_greys_change_and_masks_do_not(pairs):
    images, masks = augment(*pairs, **STILL)
    assert torch.equal(masks, pairs[1])
    assert (images != pairs[0]).float().mean() > 0.9


def test_each_pair_is_changed_by_itself(pairs):
    same = tuple(part[:1].expand(16, -1, -1, -1) for part in pairs)
    images, masks = augment(*same)
    assert len({image.numpy().tobytes() for image in images}) == 16
    assert len({mask.numpy().tobytes() for mask in masks}) > 10


def test_all_chance_comes_from_the_generator_and_none_is_left_behind(pairs):
    before = torch.get_rng_state()
    first, again, other = augment(*pairs, seed=3), augment(*pairs, seed=3), augment(*pairs, seed=4)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert torch.equal(torch.get_rng_state(), before)
