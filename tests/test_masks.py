import numpy as np
import torch
from scipy import ndimage

from pig.models.masks import local_mean, sign


def test_sign_is_plus_or_minus_one():
    assert sign(torch.tensor([-3.0, -0.1, 0.0, 0.2])).tolist() == [-1, -1, -1, 1]


def test_local_mean_is_the_published_rule():
    """Against scipy: the mean over those of the 5x5 neighbours that are inside the image."""
    x = torch.randn(3, 1, 9, 11, generator=torch.Generator().manual_seed(0)) * 2
    for image, found in zip(x[:, 0].numpy(), local_mean(x)[:, 0].numpy(), strict=True):
        clamped = image.clip(-1, 1)
        inside = ndimage.convolve(np.ones_like(clamped), np.ones((5, 5)), mode="constant")
        mean = ndimage.convolve(clamped, np.ones((5, 5)), mode="constant") / inside
        assert np.array_equal(found, np.where(mean > 0.75 * mean.max() + 0.25 * mean.min(), 1, -1))


def test_a_constant_estimate_is_all_background():
    assert local_mean(torch.full((1, 1, 6, 6), 0.5)).eq(-1).all()
