"""The rules that turn numbers into words: nothing is claimed where an interval includes no difference."""

import itertools

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


CASES = {  # gain, half of its interval, adjusted p -> verdict
    (2.0, 1.0, 0.001): "holds",
    (2.0, 3.0, 0.001): "open",  # the interval includes 0, whatever the test says
    (2.0, 1.0, 0.2): "open",  # the test does not agree
    (2.0, 2.0, 0.001): "open",  # 0 itself is within
    (-2.0, 1.0, 0.001): "fails",
    (-2.0, 3.0, 0.001): "open",
    (0.0, 0.0, 0.001): "open",
    (2.0, np.nan, np.nan): "open",
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pairs_help_only_where_interval_and_test_say_so(case):
    found = findings.segmentation(pd.DataFrame([REAL, training(*case)]), LEVEL)
    assert told(found, "Pairs of PIG added") == [CASES[case]]


def test_no_improvement_is_claimed_where_the_interval_includes_zero():
    """Over a grid of gains, intervals and tests: never, whatever the other doses say."""
    cases = itertools.product(
        np.linspace(-3, 3, 13), np.linspace(0, 4, 9), (0.0001, 0.04, 0.3), ("pig", "ldm")
    )
    for gain, half, p, name in cases:
        found = findings.segmentation(pd.DataFrame([REAL, training(gain, half, p, name)]), LEVEL)
        (verdict,) = told(found, f"Pairs of {name.upper()} added")
        if gain - half <= 0 <= gain + half or p >= 1 - LEVEL:
            assert verdict == "open"
        else:
            assert verdict == ("holds" if gain > 0 else "fails")


def test_rivals_are_told_together_where_they_share_a_verdict():
    gains = {"ldm": (2.0, 1.0, 0.001), "joint": (-1.5, 2.0, 0.4), "controlnet": (-0.04, 2.0, 1.0)}
    rows = [REAL, *(training(*gain, name=name) for name, gain in gains.items())]
    found = findings.segmentation(pd.DataFrame(rows), LEVEL)
    assert [finding[:2] for finding in found] == [
        ("holds", "Pairs of LDM added to the real ones raise Dice."),
        ("open", "Pairs of ControlNet; Joint added to the real ones raise Dice."),
    ]
    assert found[1].numbers == "By -1.5 to +0.0 over all doses, p = 0.40 at the least; Table 2 has each."


def test_doses_that_contradict_each_other_decide_nothing():
    rows = [REAL, training(2.0, dose=40), training(-2.0, dose=80)]
    assert told(findings.segmentation(pd.DataFrame(rows), LEVEL), "Pairs of PIG") == ["open"]
    rows = [REAL, training(2.0, dose=40), training(0.1, dose=80)]
    (finding,) = [f for f in findings.segmentation(pd.DataFrame(rows), LEVEL) if "Pairs of PIG" in f.claim]
    assert finding.verdict == "holds"
    assert finding.numbers == "40 pairs +2.0 [+1.0, +3.0], p = 0.001; 80 pairs +0.1 [-0.9, +1.1], p = 0.001."


@pytest.mark.parametrize(
    ("dice", "p", "verdict"), [(3.0, 0.01, "holds"), (3.0, 0.2, "open"), (0.5, 0.01, "fails")]
)
def test_pig_against_the_best_rival(dice, p, verdict):
    rows = [REAL, training(dice, rival=p), training(1.0, name="ldm", best=True)]
    assert told(findings.segmentation(pd.DataFrame(rows), LEVEL), "best rival") == [verdict]


def test_a_leak_is_a_warning_and_never_a_result():
    rows = [REAL, training(5.0, name="pig-leak")]
    found = findings.segmentation(pd.DataFrame(rows), LEVEL)
    assert [finding.verdict for finding in found] == ["note"]
    assert "would have claimed a gain" in found[0].claim and "40 pairs +5.0" in found[0].numbers
    nothing = findings.segmentation(pd.DataFrame([REAL, training(5.0, 6.0, name="pig-leak")]), LEVEL)
    assert "would have claimed nothing" in nothing[0].claim


def test_classical_augmentation_is_put_to_the_same_rule():
    for gain, p, verdict in ((2.0, 0.01, "holds"), (2.0, 0.5, "open"), (-2.0, 0.01, "fails")):
        rows = [REAL, training(gain, p=p, name="augmented", dose=0)]
        assert told(findings.segmentation(pd.DataFrame(rows), LEVEL), "augmentation") == [verdict]


def test_fidelity_is_read_against_the_floor():
    found = findings.fidelity(fidelity(real=(30, 5), ldm=(33, 4), ddpm=(90, 5), gan=(60, 5), vae=(12, 4)))
    assert [finding[:2] for finding in found] == [
        ("holds", "Slices of VAE are as near to test patients as real slices are."),
        ("open", "Slices of LDM are as near to test patients as real slices are."),
        ("fails", "Slices of DDPM; GAN are as near to test patients as real slices are."),
    ]
    assert "30.0 [25.0, 35.0] at n = 128, these 2.0 to 3.0 times as much." in found[2].numbers
    assert "1.1 times as much; the intervals meet." in found[1].numbers
    assert told(findings.fidelity(fidelity(real=(30, 5), ddpm=(90, 5))), "as real slices are") == ["fails"]


@pytest.mark.parametrize(("fid", "verdict"), [((50, 5), "holds"), ((58, 5), "open"), ((80, 5), "fails")])
def test_pig_against_ddpm_by_intervals_that_meet_or_not(fid, verdict):
    found = findings.fidelity(fidelity(real=(30, 5), pig=fid, ddpm=(65, 5)))
    assert told(found, "PIG's slices are closer to real ones than DDPM's") == [verdict]
    assert ("the intervals meet" in found[-1].numbers) == (verdict == "open")


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
    found = findings.pairing(table)
    assert told(found, "belong together") == [verdict]


@pytest.mark.parametrize(("tstr", "verdict"), [(30, "fails"), (66, "open"), (80, "holds")])
def test_pairs_replace_real_ones_only_where_the_intervals_say_so(tstr, verdict):
    table = pd.DataFrame([pair_row("real", 70, np.nan, 70), pair_row("pig", 60, 5, tstr)])
    assert told(findings.pairing(table), "can replace real ones") == [verdict]


def copies(name, n=128, image=1.0, mask=1.0, joint=1.0):
    shares = {"image_share": image, "mask_share": mask, "joint_share": joint}
    return {"row": name, "label": name.upper(), "n": n, **shares}


@pytest.mark.parametrize("what", ["image", "mask", "joint"])
def test_copies_beyond_chance_are_reported(what):
    found = findings.copying(pd.DataFrame([copies("real"), copies("pig", **{what: 20.0})]), LEVEL)
    assert [finding.verdict for finding in found] == ["fails"]
    assert "20.0 %" in found[0].numbers


def test_shares_that_chance_explains_are_no_copies_and_how_many_may_hide():
    found = findings.copying(
        pd.DataFrame([copies("real"), copies("pig", image=0.0, mask=0.0, joint=0.0)]), LEVEL
    )
    assert [finding.verdict for finding in found] == ["holds"]
    none_of_128 = 100 * (1 - 0.05 ** (1 / 128))  # the share of which 128 draws show none in 5 % of cases
    assert f"room for up to {none_of_128:.1f} %" in found[0].numbers
    found = findings.copying(pd.DataFrame([copies("real"), copies("pig", image=2.3)]), LEVEL)
    assert [finding.verdict for finding in found] == ["holds"]


def test_masks_that_were_given_are_no_copies():
    found = findings.copying(pd.DataFrame([copies("real"), copies("ldm", mask=100.0, joint=40.0)]), LEVEL)
    assert [finding.verdict for finding in found] == ["holds"]


def test_copying_is_claimed_of_clean_sets_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        flagged = [100 * rng.binomial(128, CHANCE) / 128 for _ in range(3)]
        table = pd.DataFrame([copies("real"), copies("pig", 128, *flagged)])
        wrong += any(finding.verdict == "fails" for finding in findings.copying(table, LEVEL))
    assert wrong / 300 < 0.08  # 5 % and the chance of 300 draws


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


def test_methods_whose_names_are_alike_are_told_apart():
    rows = [copies("real"), copies("ldm", image=30.0), copies("ldm-varied")]
    found = findings.copying(pd.DataFrame(rows), LEVEL)
    assert [(finding.verdict, finding.claim) for finding in found] == [
        ("fails", "LDM does not repeat training slices."),
        ("holds", "No more copies than by chance are among the pairs of LDM-VARIED."),
    ]
