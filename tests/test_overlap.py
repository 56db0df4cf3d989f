"""Overlap scores against sets of pixels, identities and segmentation-models-pytorch."""

from itertools import product

import numpy as np
import pytest
import torch
from segmentation_models_pytorch import metrics

from pig.metrics.segmentation import overlap

SMALL = [np.array(bits, bool).reshape(2, 2) for bits in product([0, 1], repeat=4)]


def pixels(mask):
    return set(zip(*np.nonzero(mask), strict=True))


@pytest.mark.parametrize("prediction", SMALL)
def test_every_pair_of_small_masks_as_sets(prediction):
    for truth in SMALL:
        p, t = pixels(prediction), pixels(truth)
        found, swapped = overlap(prediction, truth), overlap(truth, prediction)
        if not p and not t:
            assert found == (1, 1, 1, 1)
        elif not p or not t:
            assert found == (0, 0, 0, 0)
        else:
            both = len(p & t)
            expected = (2 * both / (len(p) + len(t)), both / len(p | t), both / len(p), both / len(t))
            assert found == pytest.approx(expected)
        assert swapped == (found.dice, found.iou, found.recall, found.precision)
        assert found.dice == pytest.approx(2 * found.iou / (1 + found.iou))


def test_agrees_with_segmentation_models_pytorch():
    rng = np.random.default_rng(0)
    masks = rng.random((2, 20, 8, 9)) < rng.random((2, 20, 1, 1))
    masks[:, :, 0, 0] = True  # no empty masks: the libraries' rules for them differ
    prediction, truth = (torch.from_numpy(m[:, None]).long() for m in masks)
    stats = metrics.get_stats(prediction, truth, mode="binary")
    theirs = [
        f(*stats, reduction=None)
        for f in (metrics.f1_score, metrics.iou_score, metrics.precision, metrics.recall)
    ]
    ours = [overlap(p, t) for p, t in zip(*masks, strict=True)]
    np.testing.assert_allclose(ours, torch.cat(theirs, dim=1).numpy(), rtol=1e-6)
