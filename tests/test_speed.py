"""docs/speed.md holds what the benchmarks measured, and they measure what they say."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import page
import quality
import solvers

from pig.diffusion import linear_schedule
from pig.models.solvers import times


def test_the_page_holds_the_results():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text) == text


def test_an_interval_over_seeds_is_students():
    mean, low, high = quality.over_seeds([1.0, 2.0, 4.0])
    expected = stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert (mean, low, high) == pytest.approx((7 / 3, expected.low, expected.high))


def test_few_steps_with_noise_and_many_follow_one_path():
    """While x0_hat stays the same the moves are exact: 8 steps end where T do, and what is left is standard noise."""
    alphabar = linear_schedule(256, 1e-4, 0.05)
    x0_hat = torch.linspace(-1, 1, 4096).reshape(4, 1, 32, 32).double()

    def end(steps):
        generator = torch.Generator().manual_seed(0)
        fresh = lambda: torch.randn(x0_hat.shape, generator=generator)  # noqa: E731
        xt, move = fresh().double(), solvers.on_one_path(alphabar, fresh)
        at = times(alphabar, steps, "log_snr")
        for t, s in pairwise(at[:-1]):
            xt = move(xt, x0_hat, (xt - alphabar[t].sqrt() * x0_hat) / (1 - alphabar[t]).sqrt(), t, s)
        return (xt - alphabar[at[-2]].sqrt() * x0_hat) / (1 - alphabar[at[-2]]).sqrt()

    few, many = end(8), end(256)
    torch.testing.assert_close(few, many, rtol=0, atol=1e-5)  # noise is drawn in single precision
    assert stats.kstest(few.flatten().numpy(), "norm").pvalue > 0.01
