"""docs/speed.md holds what the benchmarks measured, and they measure what they say."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import page
import quality
import solvers


def test_the_page_holds_the_results():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text) == text


def test_an_interval_over_seeds_is_students():
    mean, low, high = quality.over_seeds([1.0, 2.0, 4.0])
    expected = stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert (mean, low, high) == pytest.approx((7 / 3, expected.low, expected.high))


def test_settling_tells_the_step_of_the_last_change():
    after = np.zeros((4, 3, 2, 2), bool)
    after[1:, 0, 0, 0] = True  # changes in step 2 of 4
    after[3, 1, 0, 0] = True  # in the last
    assert solvers.settling(after[:, :1]) == pytest.approx([0.5] * 3)
    assert solvers.settling(after[:, 1:2]) == pytest.approx([1.0] * 3)
    assert solvers.settling(after[:, 2:]) == pytest.approx([0.25] * 3)  # as it was after the first


@pytest.mark.parametrize(("rule", "number", "made"), [("after", 0.5, 4), ("unchanged", 2, 4)])
def test_a_resting_guider_gives_its_last_output_again(rule, number, made):
    """Outputs 0, 1, 2, ..: the mask, where they are above 0, does not change after the second call."""
    calls = []

    def model(noised, guide, t):
        calls.append(t)
        return torch.full((1, 1, 1, 1), float(len(calls) - 1))

    guider = solvers.Resting(model, rule, number, 8)
    outputs = [guider(torch.zeros(1, 1, 1, 1), None, t).item() for t in range(8)]
    assert outputs == [min(i, made - 1) for i in range(8)]
    assert guider.share == made / 8
