"""docs/speed.md holds what the benchmarks measured, and they measure what they say."""

import sys
from pathlib import Path

import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import page
import quality


def test_the_page_holds_the_results():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text) == text


def test_an_interval_over_seeds_is_students():
    mean, low, high = quality.over_seeds([1.0, 2.0, 4.0])
    expected = stats.ttest_1samp([1.0, 2.0, 4.0], 0).confidence_interval()
    assert (mean, low, high) == pytest.approx((7 / 3, expected.low, expected.high))
