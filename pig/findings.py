"""What a study shows in plain words: the tables' numbers -> sentences, by rules.

Each claim of the paper, or of anyone who adds generated pairs, is put to the tables and holds, fails or stays open. No
rule calls something better or worse where an interval includes no difference, whatever the means are.
"""

from typing import Any, Literal, NamedTuple

import pandas as pd
from scipy.stats import binomtest

from pig.methods import METHODS

Verdict = Literal["holds", "fails", "open", "note"]
CHANCE = 0.01  # share of pairs that are flagged as copies where nothing was copied (Table 4)


class Finding(NamedTuple):
    """A claim, what the numbers say of it, and in which words."""

    verdict: Verdict
    text: str


def findings(tables: dict[int, pd.DataFrame], level: float) -> list[Finding]:
    """All that the tables decide or leave open.

    Args:
        tables: number -> frame of the csv that `pig tables` wrote; 1 and 2 always, 3 and 4 where there are pairs.
        level: of the intervals, e.g. 0.95; a difference counts from p < 1 - level on.
    """
    found = fidelity(tables[1])
    if 3 in tables:
        found += pairing(tables[3])
    if 4 in tables:
        found += copying(tables[4], level)
    return found + segmentation(tables[2], level)


def apart(low: float, high: float, other_low: float, other_high: float) -> int:
    """-1: the first interval lies below the second; 1: above; 0: they meet, or one of them is unknown."""
    return -1 if high < other_low else 1 if low > other_high else 0


def sign(low: float, high: float) -> int:
    """-1 or 1 where the interval of a difference lies below or above 0; 0 where it includes 0 or is unknown."""
    return apart(low, high, 0.0, 0.0)


def fidelity(table: pd.DataFrame) -> list[Finding]:
    """Table 1: each method against the floor, and PIG against the methods that the paper or we hold it against."""
    rows = _rows(table)
    floor = rows["real"]
    found = []
    near = [row for name, row in rows.items() if name != "real" and _apart(row, floor, "fid") < 1]
    if near:
        names = ", ".join(row["method"] for row in near)
        found.append(
            Finding("holds", f"By FID the slices of {names} are as near to test patients as real slices are.")
        )
    far = [row for name, row in rows.items() if name != "real" and _apart(row, floor, "fid") == 1]
    if far:
        times = [row["fid"] / floor["fid"] for row in far]
        names = ", ".join(row["method"] for row in far)
        found.append(
            Finding(
                "fails",
                f"Slices as near to test patients as real ones are: the floor is FID {_cell(floor, 'fid')} at "
                f"n = {floor['n']:.0f}, and {names} {'are' if len(far) > 1 else 'is'} {_span(times)} times as far.",
            )
        )
    if "pig" in rows:
        others = [rows[name] for name in ("ddpm", "ddim", "joint") if name in rows]
        found += [_closer(rows["pig"], other) for other in others]
    return found


def _closer(pig: Any, other: Any) -> Finding:
    """PIG's FID against another's; intervals that meet decide nothing."""
    where = _apart(pig, other, "fid")
    verdict: Verdict = {-1: "holds", 0: "open", 1: "fails"}[where]  # type: ignore[assignment]
    meets = "; the intervals meet" if where == 0 else ""
    claim = f"PIG's slices are closer to real ones than {other['method']}'s"
    return Finding(verdict, f"{claim}: FID {_cell(pig, 'fid')} against {_cell(other, 'fid')}{meets}.")


def pairing(table: pd.DataFrame) -> list[Finding]:
    """Table 3: whether a segmenter of real pairs finds each method's masks, and one of its pairs real lesions."""
    rows = _rows(table)
    real = rows["real"]
    found = []
    for name, row in rows.items():
        if name == "real":
            continue
        together = row["trts_low"] > row["trts_shuffled"]
        as_real = _apart(row, real, "trts") >= 0
        text = (
            f"Mask and image of {row['label']} belong together: a segmenter trained on real pairs meets its masks with "
            f"Dice {_cell(row, 'trts')}, with masks shuffled {row['trts_shuffled']:.1f}"
        )
        text += (
            f"; no worse than it does on real test slices ({_cell(real, 'trts')})."
            if together and as_real
            else f"; on real test slices it reaches {_cell(real, 'trts')}."
        )
        found.append(Finding("holds" if together else "fails", text))
        where = _apart(row, real, "tstr")
        verdict: Verdict = {-1: "fails", 0: "open", 1: "holds"}[where]  # type: ignore[assignment]
        meets = "; the intervals meet" if where == 0 else ""
        found.append(
            Finding(
                verdict,
                f"Pairs of {row['label']} can stand in for real ones: trained on them alone, a segmenter reaches Dice "
                f"{_cell(row, 'tstr')} on real test slices, on real pairs {_cell(real, 'tstr')}{meets}.",
            )
        )
    return found


def copying(table: pd.DataFrame, level: float) -> list[Finding]:
    """Table 4: whether more pairs than chance are nearer to a training pair than real held-out pairs are.

    In image and in both; by mask alone only of methods that are not given training masks. A one-sided binomial test
    against 1 %, adjusted by Bonferroni for the number of questions.
    """
    rows = {name: row for name, row in _rows(table).items() if name != "real"}
    asked = [
        (name, row, what)
        for name, row in rows.items()
        for what in ("image", "mask", "joint")
        if what != "mask" or not METHODS[name].masks
    ]
    found, flagged = [], set()
    for name, row, what in asked:
        n, share = int(row["n"]), row[f"{what}_share"] / 100
        p = binomtest(round(share * n), n, CHANCE, alternative="greater").pvalue
        if p < (1 - level) / len(asked):
            flagged.add(name)
            words = {"image": "slices", "mask": "masks", "joint": "pairs"}[what]
            found.append(
                Finding(
                    "fails",
                    f"{row['label']} does not copy: {100 * share:.1f} % of its {words} are nearer to a training one "
                    "than 99 % of real held-out ones are, where 1 % is chance; see figures/copies.png.",
                )
            )
    clean = [row["label"] for name, row in rows.items() if name not in flagged]
    if clean:
        found.append(
            Finding(
                "holds",
                f"No copies beyond chance were found of {', '.join(clean)}: no more of its slices and pairs are nearer "
                "to training ones than real held-out ones are.",
            )
        )
    return found


def segmentation(table: pd.DataFrame, level: float) -> list[Finding]:
    """Table 2: what generated pairs add to real ones, against chance, rivals, augmentation and a leak."""
    rows = _rows(table)
    doses = {name: [row for row in rows.values() if row["set"] == name] for name in METHODS}
    found = [_adds(of, level) for of in doses.values() if of]
    best = [row for row in rows.values() if row["best_rival"]]
    mine = [row for row in rows.values() if row["set"] == "pig"]
    if best and mine:
        top = max(mine, key=lambda row: row["dice"])
        decided = top["p_rival"] < 1 - level
        verdict: Verdict = "open" if not decided else "holds" if top["dice"] > best[0]["dice"] else "fails"
        against = f"Dice {_cell(top, 'dice')} ({top['training_set']}) against {_cell(best[0], 'dice')}"
        found.append(
            Finding(
                verdict,
                f"PIG's pairs help more than the best rival's ({best[0]['training_set']}): {against}, "
                f"{_p(top['p_rival'])}.",
            )
        )
    if "augmented" in rows:
        control = rows["augmented"]
        where = _decided(control, level)
        verdict = {-1: "fails", 0: "open", 1: "holds"}[where]  # type: ignore[assignment]
        found.append(Finding(verdict, f"Strong classical augmentation alone raises Dice: {_gain(control)}."))
    for row in rows.values():
        if str(row["set"]).endswith("-leak"):
            where = _decided(row, level)
            told = {-1: "a loss", 0: "nothing", 1: "a gain"}[where]
            found.append(
                Finding(
                    "note",
                    f"A generator that had seen the test patients would have claimed {told} with {row['dose']} pairs "
                    f"({_gain(row)}): what leaks is no result.",
                )
            )
    return found


def _adds(rows: list[Any], level: float) -> Finding:
    """Whether a method's pairs, in any dose, change Dice."""
    label = METHODS[rows[0]["set"]].label
    where = [_decided(row, level) for row in rows]
    told = "; ".join(f"{row['dose']} pairs {_gain(row)}" for row in rows)
    claim = f"Pairs of {label} added to the real ones raise Dice"
    if 1 in where and -1 not in where:
        verdict: Verdict = "holds"
    elif -1 in where and 1 not in where:
        verdict = "fails"
    else:
        verdict = "open"
    return Finding(verdict, f"{claim}: {told}.")


def _decided(row: Any, level: float) -> int:
    """1 or -1 for a gain or a loss over real pairs that both the interval and the adjusted test show, else 0."""
    return sign(row["gain_low"], row["gain_high"]) if row["p_real"] < 1 - level else 0


def _rows(table: pd.DataFrame) -> dict[str, Any]:
    return {str(row["row"]): row for _, row in table.iterrows()}


def _apart(row: Any, other: Any, key: str) -> int:
    return apart(row[f"{key}_low"], row[f"{key}_high"], other[f"{key}_low"], other[f"{key}_high"])


def _cell(row: Any, key: str) -> str:
    return f"{row[key]:.1f} [{row[f'{key}_low']:.1f}, {row[f'{key}_high']:.1f}]"


def _gain(row: Any) -> str:
    return f"{row['gain']:+.1f} [{row['gain_low']:+.1f}, {row['gain_high']:+.1f}], {_p(row['p_real'])}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def _span(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
