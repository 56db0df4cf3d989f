"""Intervals and tests over patients: against scipy, definitions, and coverage on simulated studies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pig.core.errors import InputError
from pig.metrics import inference


def study(rng, patients=40, slices=5, folds=2, between=0.1, within=0.05, mean=0.7, seeds=1):
    """Scores with patients' effects: slices of one patient are alike."""
    number = patients * folds
    effect = np.repeat(mean + between * rng.standard_normal(number), slices)
    frame = pd.DataFrame(
        {
            "fold": np.repeat(np.arange(folds), patients * slices),
            "patient": np.repeat([f"p{i}" for i in range(number)], slices),
            "id": [f"i{i}" for i in range(number * slices)],
        }
    )
    parts = [
        frame.assign(seed=k, dice=effect + within * rng.standard_normal(len(frame))) for k in range(seeds)
    ]
    return pd.concat(parts, ignore_index=True)


def test_the_mean_is_over_seeds_then_images_then_folds(rng):
    scores = study(rng, patients=4, slices=3, seeds=2)
    few = scores[(scores["fold"] == 0) | (scores["id"].isin([f"i{i}" for i in range(12, 15)]))]
    by_hand = []
    for fold in (0, 1):
        part = few[few["fold"] == fold]
        by_hand.append(np.mean([part.loc[part["id"] == name, "dice"].mean() for name in part["id"].unique()]))
    assert inference.mean(few, "dice") == pytest.approx(np.mean(by_hand))
    assert inference.mean(few, "dice") != pytest.approx(few["dice"].mean())  # folds count alike


def test_the_interval_is_scipys_where_a_patient_has_one_slice(rng):
    scores = study(rng, patients=50, slices=1, folds=1)
    found = inference.estimate(scores, "dice", 20_000, 0)
    theirs = stats.bootstrap((scores["dice"],), np.mean, method="percentile", n_resamples=20_000, rng=1)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert found.mean == pytest.approx(scores["dice"].mean())
    # the Monte Carlo error of a quantile of 20,000 draws is below 1 % of the width
    assert found.low == pytest.approx(theirs.confidence_interval.low, abs=0.03 * width)
    assert found.high == pytest.approx(theirs.confidence_interval.high, abs=0.03 * width)


def test_a_patients_images_are_drawn_together_and_pooled(rng):
    """Against a plain loop over draws of patients, with unequal numbers of images."""
    scores = study(rng, patients=12, slices=4)
    scores = scores[~scores["id"].isin(["i1", "i2", "i3", "i60", "i61"])]
    found = inference.estimate(scores, "dice", 4000, 0)
    parts = {
        fold: [group["dice"].to_numpy() for _, group in part.groupby("patient")]
        for fold, part in scores.groupby("fold")
    }
    draws = [
        np.mean(
            [
                np.concatenate([own[i] for i in rng.integers(len(own), size=len(own))]).mean()
                for own in parts.values()
            ]
        )
        for _ in range(4000)
    ]
    width = np.ptp(np.quantile(draws, [0.025, 0.975]))
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.06 * width)


def coverage(interval, truth, studies=400):
    return np.mean([low <= truth <= high for _, low, high in map(interval, range(studies))])


def test_intervals_over_patients_cover_and_those_over_slices_do_not():
    """95 % of 400 simulated studies; the binomial standard error is 1.1 %."""

    def over_patients(seed):
        return inference.estimate(study(np.random.default_rng(seed)), "dice", 400, seed)

    def over_slices(seed):
        scores = study(np.random.default_rng(seed))
        return inference.estimate(scores.assign(patient=scores["id"]), "dice", 400, seed)

    assert 0.91 < coverage(over_patients, 0.7) < 0.98
    assert coverage(over_slices, 0.7) < 0.8


def test_differences_cover_and_are_narrower_than_unpaired_ones():
    def pair(seed):
        rng = np.random.default_rng(seed)
        a = study(rng)
        return a.assign(dice=a["dice"] + 0.02 + 0.05 * rng.standard_normal(len(a))), a

    def interval(seed):
        return inference.difference(*pair(seed), "dice", 400, seed)

    assert 0.91 < coverage(interval, 0.02) < 0.98
    a, b = pair(0)
    alone = inference.estimate(a, "dice", 400, 0)
    found = inference.difference(a, b, "dice", 400, 0)
    assert found.high - found.low < 0.5 * (alone.high - alone.low)
    assert found.mean == pytest.approx(inference.mean(a, "dice") - inference.mean(b, "dice"))


def test_the_test_is_scipys_over_patients(rng):
    a, b = study(rng), study(rng)
    gaps = (a["dice"] - b["dice"]).groupby(a["patient"]).mean()
    expected = stats.wilcoxon(gaps).pvalue
    assert inference.paired_p(a, b, "dice") == pytest.approx(expected)
    shuffled = a.sample(frac=1, random_state=0)
    assert inference.paired_p(shuffled, b, "dice") == pytest.approx(expected)
    assert inference.paired_p(a, a, "dice") == 1


def test_the_test_is_wrong_as_often_as_it_says_and_one_over_slices_more_often():
    def wrong(unit, studies):
        found = []
        for seed in range(studies):
            rng = np.random.default_rng(seed)
            both = [study(rng, patients=15) for _ in "ab"]
            found.append(inference.paired_p(*(of.assign(patient=of[unit]) for of in both), "dice") < 0.05)
        return np.mean(found)

    assert 0.02 < wrong("patient", 300) < 0.09
    assert wrong("id", 300) > 0.2


def test_holm_by_its_definition_a_worked_example_and_with_what_is_not_known(rng):
    p = rng.random(7) ** 3
    ordered = np.sort(p)
    ranks = [int((p < value).sum()) for value in p]
    expected = [min(1, max((7 - j) * ordered[j] for j in range(rank + 1))) for rank in ranks]
    assert inference.holm(p) == pytest.approx(expected)
    assert inference.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    found = inference.holm([np.nan, 0.04, 0.01])
    assert np.isnan(found[0]) and found[1:] == pytest.approx([0.04, 0.02])
    assert inference.holm([]) == [] and inference.holm([0.7, 0.9]) == [1, 1]


def test_holm_keeps_the_chance_of_any_wrong_mark(rng):
    wrong = sum(min(inference.holm(rng.random(10))) < 0.05 for _ in range(2000))
    assert 0.035 < wrong / 2000 < 0.065


def test_equal_input_gives_equal_intervals_in_any_order(rng):
    scores = study(rng, seeds=2)
    found = inference.estimate(scores, "dice", 100, 3)
    assert found == pytest.approx(inference.estimate(scores.sample(frac=1, random_state=1), "dice", 100, 3))
    assert found != inference.estimate(scores, "dice", 100, 4)
    wide, narrow = (inference.estimate(scores, "dice", 2000, 0, level) for level in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_what_cannot_be_compared_is_named(rng):
    scores = study(rng, patients=3)
    less, twice = scores[scores["id"] != "i4"], scores.assign(patient=scores["patient"].replace("p3", "p0"))
    for named, compare in (
        ("i4", lambda: inference.estimate(scores.assign(dice=less["dice"]), "dice", 9, 0)),
        ("i4", lambda: inference.difference(scores, less, "dice", 9, 0)),
        ("p0", lambda: inference.paired_p(twice, twice, "dice")),
    ):
        with pytest.raises(InputError, match=named):
            compare()
