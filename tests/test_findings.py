"""The rules that turn numbers into words: nothing is claimed where an interval includes no difference."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from pig.report import findings
from pig.report.findings import CHANCE

LEVEL = 0.95


def with_interval(key, mean, half):
    return {key: mean, f"{key}_low": mean - half, f"{key}_high": mean + half}


def fidelity(**fids):
    """Table 1 of sets with FID mean and half-width."""
    rows = [
        {"row": name, "method": name.upper(), "n": 128, **with_interval("fid", *fid)}
        for name, fid in fids.items()
    ]
    return pd.DataFrame(rows)


def training(gain, half=1.0, p=0.001, name="pig", dose=40, rival=np.nan, best=False):
    """A row of Table 2."""
    return {
        "row": f"{name}_{dose}" if dose else name,
        "set": name,
        "dose": dose,
        "training_set": f"Real + {dose} {name}",
        **with_interval("dice", 70 + gain, 2),
        **with_interval("gain", gain, half),
        "p_real": p,
        "p_rival": rival,
        "best_rival": best,
    }


REAL = training(np.nan, name="real", dose=0, p=np.nan)


def told(found, word):
    """The verdicts of the findings with `word`."""
    return [finding.verdict for finding in found if word in f"{finding.claim} {finding.numbers}"]


def of_dice(*rows):
    """The findings of Table 2 with these rows, beside real pairs alone."""
    return findings.segmentation(pd.DataFrame([REAL, *rows]), LEVEL)


def test_pairs_help_only_where_interval_and_test_say_so():
    """Over a grid: an interval with 0 in it, or a test that disagrees, decides nothing."""
    gains, halves = [*np.linspace(-3, 3, 13), np.nan], [*np.linspace(0, 4, 9), np.nan]
    for gain, half, p, name in itertools.product(gains, halves, (0.0001, 0.04, 0.3, np.nan), ("pig", "ldm")):
        (verdict,) = told(of_dice(training(gain, half, p, name)), f"Pairs of {name.upper()} added")
        if abs(gain) > half and p < 1 - LEVEL:
            assert verdict == ("holds" if gain > 0 else "fails")
        else:
            assert verdict == "open"


def test_rivals_are_told_together_where_they_share_a_verdict():
    gains = {"ldm": (2.0, 1.0, 0.001), "joint": (-1.5, 2.0, 0.4), "controlnet": (-0.04, 2.0, 1.0)}
    found = of_dice(*(training(*gain, name=name) for name, gain in gains.items()))
    assert [finding.verdict for finding in found] == ["holds", "open"]
    assert "ControlNet; Joint" in found[1].claim and "-1.5 to +0.0" in found[1].numbers
    assert "p = 0.40" in found[1].numbers


def test_doses_that_contradict_each_other_decide_nothing():
    assert told(of_dice(training(2.0), training(-2.0, dose=80)), "Pairs of PIG") == ["open"]
    (finding,) = of_dice(training(2.0), training(0.1, dose=80))
    assert finding.verdict == "holds"
    assert finding.numbers == "40 pairs +2.0 [+1.0, +3.0], p = 0.001; 80 pairs +0.1 [-0.9, +1.1], p = 0.001."


@pytest.mark.parametrize(
    ("dice", "p", "verdict"), [(3.0, 0.01, "holds"), (3.0, 0.2, "open"), (0.5, 0.01, "fails")]
)
def test_pig_against_the_best_rival(dice, p, verdict):
    rows = training(dice, rival=p), training(1.0, name="ldm", best=True)
    assert told(of_dice(*rows), "best rival") == [verdict]


def test_a_leak_is_a_warning_and_never_a_result():
    for half, claimed in ((1.0, "a gain"), (6.0, "nothing")):
        (finding,) = of_dice(training(5.0, half, name="pig-leak"))
        assert finding.verdict == "note" and f"claimed {claimed}" in finding.claim
        assert "40 pairs +5.0" in finding.numbers


@pytest.mark.parametrize(
    ("gain", "p", "verdict"), [(2, 0.01, "holds"), (2, 0.5, "open"), (-2, 0.01, "fails")]
)
def test_classical_augmentation_is_put_to_the_same_rule(gain, p, verdict):
    assert told(of_dice(training(gain, p=p, name="augmented", dose=0)), "augmentation") == [verdict]


def test_fidelity_is_read_against_the_floor():
    found = findings.fidelity(fidelity(real=(30, 5), ldm=(33, 4), ddpm=(90, 5), gan=(60, 5), vae=(12, 4)))
    assert [(of.verdict, re.search("Slices of (.*) are as", of.claim)[1]) for of in found] == [
        ("holds", "VAE"),
        ("open", "LDM"),
        ("fails", "DDPM; GAN"),
    ]
    assert "30.0 [25.0, 35.0]" in found[2].numbers and "2.0 to 3.0 times" in found[2].numbers
    assert "1.1 times" in found[1].numbers


@pytest.mark.parametrize(("fid", "verdict"), [((50, 5), "holds"), ((58, 5), "open"), ((80, 5), "fails")])
def test_pig_against_ddpm_by_intervals_that_meet_or_not(fid, verdict):
    found = findings.fidelity(fidelity(real=(30, 5), pig=fid, ddpm=(65, 5)))
    assert told(found, "PIG's slices are closer to real ones than DDPM's") == [verdict]


def pair_row(name, trts, shuffled, tstr):
    return {
        "row": name,
        "label": name.upper(),
        **with_interval("trts", trts, 4),
        "trts_shuffled": shuffled,
        **with_interval("tstr", tstr, 4),
    }


@pytest.mark.parametrize(
    ("trts", "shuffled", "verdict"),
    [(69, 5, "holds"), (40, 5, "holds"), (8, 5, "open"), (90, 89, "open"), (20, 30, "fails")],
)
def test_pairs_belong_together_beyond_the_shuffled_control(trts, shuffled, verdict):
    table = pd.DataFrame([pair_row("real", 70, np.nan, 70), pair_row("pig", trts, shuffled, 30)])
    assert told(findings.pairing(table), "belong together") == [verdict]


@pytest.mark.parametrize(("tstr", "verdict"), [(30, "fails"), (66, "open"), (80, "holds")])
def test_pairs_replace_real_ones_only_where_the_intervals_say_so(tstr, verdict):
    table = pd.DataFrame([pair_row("real", 70, np.nan, 70), pair_row("pig", 60, 5, tstr)])
    assert told(findings.pairing(table), "can replace real ones") == [verdict]


def copies(name, n=128, image=1.0, mask=1.0, joint=1.0):
    shares = {"image_share": image, "mask_share": mask, "joint_share": joint}
    return {"row": name, "label": name.upper(), "n": n, **shares}


def of_copies(*rows):
    """The findings of Table 4 with these rows, beside held-out real pairs."""
    return findings.copying(pd.DataFrame([copies("real"), *rows]), LEVEL)


@pytest.mark.parametrize("what", ["image", "mask", "joint"])
def test_copies_beyond_chance_are_reported(what):
    (found,) = of_copies(copies("pig", **{what: 20.0}))
    assert found.verdict == "fails" and "20.0 %" in found.numbers


def test_shares_that_chance_explains_are_no_copies_and_how_many_may_hide():
    (found,) = of_copies(copies("pig", image=0.0, mask=0.0, joint=0.0))
    assert found.verdict == "holds"
    none_of_128 = 100 * (1 - 0.05 ** (1 / 128))  # the share of which 128 draws show none in 5 % of cases
    assert f"{none_of_128:.1f} %" in found.numbers
    assert [of.verdict for of in of_copies(copies("pig", image=2.3))] == ["holds"]


def test_masks_that_were_given_are_no_copies():
    assert [of.verdict for of in of_copies(copies("ldm", mask=100.0, joint=40.0))] == ["holds"]


def test_copying_is_claimed_of_clean_sets_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        flagged = [100 * rng.binomial(128, CHANCE) / 128 for _ in range(3)]
        wrong += any(finding.verdict == "fails" for finding in of_copies(copies("pig", 128, *flagged)))
    assert wrong / 300 < 0.08  # 5 % and the chance of 300 draws


def test_methods_whose_names_are_alike_are_told_apart():
    first, second = of_copies(copies("ldm", image=30.0), copies("ldm-varied"))
    assert (first.verdict, second.verdict) == ("fails", "holds")
    assert "LDM does" in first.claim and "LDM-VARIED." in second.claim


def test_all_together():
    tables = {
        1: fidelity(real=(30, 5), pig=(58, 5)),
        2: pd.DataFrame([REAL, training(0.5, 1.0, 0.7)]),
        3: pd.DataFrame([pair_row("real", 70, np.nan, 70), pair_row("pig", 60, 5, 30)]),
        4: pd.DataFrame([copies("real"), copies("pig")]),
    }
    found = findings.findings(tables, LEVEL)
    assert len(found) == 1 + 2 + 1 + 1
    assert {text[-1] for finding in found for text in finding[1:]} == {"."}
    assert len(findings.findings({1: tables[1], 2: tables[2]}, LEVEL)) == 2
