"""Intervals and tests of segmentation scores over patients.

Slices of one patient are alike, so the patient is the unit of every interval and test, never the slice; folds share
training patients, so no test is over folds. Scores are frames with one row a test image (and seed of the segmenter):
the columns fold, patient, id and the scores, shares in [0, 1].
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pig.core.errors import InputError


class Estimate(NamedTuple):
    """A mean and its interval."""

    mean: float
    low: float
    high: float


def mean(scores: pd.DataFrame, key: str) -> float:
    """Mean of `key` over seeds of an image, then over images of a fold, then over folds (the paper's way)."""
    return float(_images(scores, key).groupby("fold").mean().mean())


def estimate(scores: pd.DataFrame, key: str, draws: int, seed: int, level: float = 0.95) -> Estimate:
    """`mean` with a percentile interval by bootstrap over patients (Efron & Tibshirani 1993, ch. 13).

    Patients are drawn with replacement within each fold, with all their images (Field & Welsh 2007).

    Raises:
        InputError: a score that is not a number.
    """
    return _bootstrap(_images(scores, key), draws, seed, level)


def difference(
    a: pd.DataFrame, b: pd.DataFrame, key: str, draws: int, seed: int, level: float = 0.95
) -> Estimate:
    """`estimate` of a minus b on the same images: the same patients are drawn for both.

    Raises:
        InputError: the two have other images, or a score that is not a number.
    """
    return _bootstrap(_paired(a, b, key), draws, seed, level)


def paired_p(a: pd.DataFrame, b: pd.DataFrame, key: str) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945) over patients, of their mean differences a - b.

    Patients without any difference are left out, as Wilcoxon did; 1 if there is no other.

    Raises:
        InputError: as `difference`, or a patient who is tested in two folds.
    """
    from scipy import stats  # takes longer to load than all else here

    gaps = _paired(a, b, key).groupby(["fold", "patient"]).mean().reset_index("fold")
    if gaps.index.duplicated().any():
        twice = gaps.index[gaps.index.duplicated()][0]
        raise InputError(f"scores: patient {twice}: expected one test fold; found two")
    values = gaps.iloc[:, -1].to_numpy()
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979) of p-values, in the order given; nan stays, and is not counted."""
    values = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1)
    return values.tolist()


def _images(scores: pd.DataFrame, key: str) -> "pd.Series[float]":
    """The score of each image, the mean over seeds, by fold, patient and id."""
    if scores[key].isna().any():
        name = scores.loc[scores[key].isna(), "id"].iloc[0]
        raise InputError(f"scores: {key} of {name}: expected a number")
    return scores.groupby(["fold", "patient", "id"])[key].mean()


def _paired(a: pd.DataFrame, b: pd.DataFrame, key: str) -> "pd.Series[float]":
    ours, theirs = _images(a, key), _images(b, key)
    if not ours.index.equals(theirs.index):
        lost = ours.index.symmetric_difference(theirs.index)[0]
        raise InputError(f"scores: expected the same images of both sets; found {lost[-1]} in one")
    return ours - theirs


def _bootstrap(images: "pd.Series[float]", draws: int, seed: int, level: float) -> Estimate:
    rng = np.random.default_rng(seed)
    total: NDArray[np.float64] = np.zeros(draws)
    folds = images.groupby("fold")
    for _, of_fold in folds:
        patients = of_fold.groupby("patient").agg(["sum", "count"]).to_numpy()
        drawn = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), draws)
        sums, counts = (drawn @ patients).T
        total += sums / counts
    low, high = np.quantile(total / len(folds), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(folds.mean().mean()), float(low), float(high))
