"""What a study shows in plain words: the tables' numbers -> claims that hold, fail or stay open, by rules.

The claims are those of the paper, and of anyone who adds generated pairs to real ones. No rule calls something better
or worse where an interval includes no difference, whatever the means are.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import pandas as pd
from scipy.stats import binomtest

from pig.models.table import METHODS

Verdict = Literal["holds", "fails", "open", "note"]
VERDICTS: dict[int, Verdict] = {1: "holds", 0: "open", -1: "fails"}
CHANCE = 0.01  # share of pairs that are flagged as copies where nothing was copied (Table 4)


class Finding(NamedTuple):
    """A claim, what the numbers say of it, and the numbers in words."""

    verdict: Verdict
    claim: str
    numbers: str


def findings(tables: dict[int, pd.DataFrame], level: float) -> list[Finding]:
    """All that the tables decide or leave open.

    Args:
        tables: number -> frame of the csv that `pig tables` wrote; 1 and 2 always, 3 and 4 where there are pairs.
        level: of the intervals, e.g. 0.95; a difference in Dice counts from p < 1 - level on.
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
    others = [row for name, row in rows.items() if name != "real"]
    least = f"real slices of other patients score FID {_cell(floor, 'fid')} at n = {floor['n']:.0f}"
    found = []
    for where, told in _told(others, lambda row: -_apart(row, floor, "fid")):
        times = _span([row["fid"] / floor["fid"] for row in told])
        claim = f"Slices of {_names(told, 'method')} are as near to test patients as real slices are."
        numbers = f"{_capital(least)}, these {times} times as much{_meet(where)}."
        found.append(Finding(VERDICTS[where], claim, numbers))
    if "pig" in rows:
        found += [
            _closer(rows["pig"], rows[name])
            for name in ("ddpm", "ddim", "unconditional", "joint")
            if name in rows
        ]
    return found


def _closer(pig: Any, other: Any) -> Finding:
    """PIG's FID against another's; intervals that meet decide nothing."""
    where = -_apart(pig, other, "fid")
    numbers = f"FID {_cell(pig, 'fid')} against {_cell(other, 'fid')}{_meet(where)}."
    return Finding(
        VERDICTS[where], f"PIG's slices are closer to real ones than {other['method']}'s.", numbers
    )


def pairing(table: pd.DataFrame) -> list[Finding]:
    """Table 3: whether a segmenter of real pairs finds each method's masks, and one of its pairs real lesions."""
    rows = _rows(table)
    real = rows.pop("real")
    found = []
    for where, told in _told(rows.values(), _beyond_shuffled):
        claim = f"Mask and image of {_names(told, 'label')} belong together."
        numbers = (
            f"A segmenter trained on real pairs meets their masks with Dice {_cells(told, 'trts')}, masks shuffled "
            f"{_span([row['trts_shuffled'] for row in told])}; on real test slices it reaches {_cell(real, 'trts')}."
        )
        found.append(Finding(VERDICTS[where], claim, numbers))
    for where, told in _told(rows.values(), lambda row: _apart(row, real, "tstr")):
        claim = f"Pairs of {_names(told, 'label')} can replace real ones."
        numbers = (
            f"Trained on them alone, a segmenter reaches Dice {_cells(told, 'tstr')} on real test slices, on real "
            f"pairs {_cell(real, 'tstr')}{_meet(where)}."
        )
        found.append(Finding(VERDICTS[where], claim, numbers))
    return found


def _beyond_shuffled(row: Any) -> int:
    """1 where TRTS lies above its shuffled control, -1 below, 0 where the interval holds it."""
    return apart(row["trts_low"], row["trts_high"], row["trts_shuffled"], row["trts_shuffled"])


def copying(table: pd.DataFrame, level: float) -> list[Finding]:
    """Table 4: whether more pairs than chance are as near to a training pair as few real held-out pairs are.

    By mask and by both only of methods that are not given training masks. A one-sided binomial test against 1 %,
    adjusted by Bonferroni for the number of questions.
    """
    rows = {name: row for name, row in _rows(table).items() if name != "real"}
    asked = [
        (name, row, what)
        for name, row in rows.items()
        for what in ("image", "mask", "joint")
        if what == "image" or not METHODS[name].masks
    ]
    words = {"image": "slices", "mask": "masks", "joint": "pairs"}
    found, flagged = [], set()
    for name, row, what in asked:
        n, share = int(row["n"]), row[f"{what}_share"] / 100
        p = binomtest(round(share * n), n, CHANCE, alternative="greater").pvalue
        if p < (1 - level) / len(asked):
            flagged.add(name)
            numbers = (
                f"{100 * share:.1f} % of them are nearer to a training one, relative to held-out ones, than 99 % of "
                "real held-out ones are, where 1 % is chance; figures/copies.png shows PIG's closest."
            )
            claim = f"{row['label']} does not repeat training {words[what]}."
            found.append(Finding("fails", claim, numbers))
    if clean := [row for name, row in rows.items() if name not in flagged]:
        mine = [(row[f"{what}_share"], int(row["n"])) for name, row, what in asked if name not in flagged]
        most = [
            binomtest(round(share / 100 * n), n, alternative="less").proportion_ci(level).high
            for share, n in mine
        ]
        numbers = (
            f"{_span([share for share, _ in mine])} % of their slices, own masks and pairs are nearer to training "
            "ones, relative to held-out ones, than 99 % of real held-out ones are, where 1 % is chance; so few pairs "
            f"leave room for up to {100 * max(most):.1f} %."
        )
        claim = f"No more copies than by chance are among the pairs of {_names(clean, 'label')}."
        found.append(Finding("holds", claim, numbers))
    return found


def segmentation(table: pd.DataFrame, level: float) -> list[Finding]:
    """Table 2: what generated pairs add to real ones, against chance, rivals, augmentation and a leak."""
    rows = list(_rows(table).values())
    doses = {name: [row for row in rows if row["set"] == name] for name in [*METHODS, *_leaks(rows)]}
    found = []
    if doses.get("pig"):
        found.append(_adds("Pairs of PIG added to the real ones raise Dice.", doses["pig"], level))
    rivals = [name for name in METHODS if name != "pig" and doses[name]]
    for where, told in _told(rivals, lambda name: _overall(doses[name], level)):
        claim = (
            f"Pairs of {'; '.join(METHODS[name].label for name in told)} added to the real ones raise Dice."
        )
        theirs = [row for name in told for row in doses[name]]
        gains, least = _span([row["gain"] for row in theirs], "+.1f"), min(row["p_real"] for row in theirs)
        numbers = f"By {gains} over all doses, {_p(least)} at the least; Table 2 has each."
        found.append(Finding(VERDICTS[where], claim, numbers))
    best = [row for row in rows if row["best_rival"]]
    if best and doses.get("pig"):
        top = max(doses["pig"], key=lambda row: row["dice"])
        above = 1 if top["dice"] > best[0]["dice"] else -1
        where = above if top["p_rival"] < 1 - level else 0
        numbers = (
            f"Dice {_cell(top, 'dice')} ({top['training_set']}) against {_cell(best[0], 'dice')} "
            f"({best[0]['training_set']}), {_p(top['p_rival'])}."
        )
        found.append(Finding(VERDICTS[where], "PIG's pairs help more than the best rival's.", numbers))
    if strong := [row for row in rows if row["set"] == "augmented"]:
        found.append(_adds("Strong classical augmentation alone raises Dice.", strong, level))
    for name in _leaks(rows):
        seen = max((_decided(row, level) for row in doses[name]), key=abs)
        claimed = {-1: "a loss", 0: "nothing", 1: "a gain"}[seen]
        claim = f"A generator that had seen the test patients would have claimed {claimed}; what leaks is no result."
        found.append(Finding("note", claim, _gains(doses[name])))
    return found


def _adds(claim: str, rows: list[Any], level: float) -> Finding:
    return Finding(VERDICTS[_overall(rows, level)], claim, _gains(rows))


def _overall(rows: list[Any], level: float) -> int:
    """1 where Dice rises at any dose and falls at none, -1 for the reverse, 0 where neither is shown."""
    where = {_decided(row, level) for row in rows} - {0}
    return where.pop() if len(where) == 1 else 0


def _decided(row: Any, level: float) -> int:
    """1 or -1 for a gain or a loss over real pairs that both the interval and the adjusted test show, else 0."""
    return sign(row["gain_low"], row["gain_high"]) if row["p_real"] < 1 - level else 0


def _leaks(rows: list[Any]) -> list[str]:
    return sorted({row["set"] for row in rows if str(row["set"]).endswith("-leak")})


def _rows(table: pd.DataFrame) -> dict[str, Any]:
    return {str(row["row"]): row for _, row in table.iterrows()}


def _apart(row: Any, other: Any, key: str) -> int:
    return apart(row[f"{key}_low"], row[f"{key}_high"], other[f"{key}_low"], other[f"{key}_high"])


def _told(items: Iterable[Any], decide: Callable[[Any], int]) -> Iterator[tuple[int, list[Any]]]:
    """The items of each verdict, if there are any."""
    decided = [(decide(item), item) for item in items]
    for where in VERDICTS:
        if told := [item for found, item in decided if found == where]:
            yield where, told


# --- words


def _names(rows: list[Any], key: str) -> str:
    return "; ".join(row[key] for row in rows)  # some names have commas


def _meet(where: int) -> str:
    return "; the intervals meet" if where == 0 else ""


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _cell(row: Any, key: str) -> str:
    return f"{row[key]:.1f} [{row[f'{key}_low']:.1f}, {row[f'{key}_high']:.1f}]"


def _cells(rows: list[Any], key: str) -> str:
    """The number of one row with its interval, or the span of several."""
    return _cell(rows[0], key) if len(rows) == 1 else _span([row[key] for row in rows])


def _gains(rows: list[Any]) -> str:
    told = []
    for row in sorted(rows, key=lambda row: row["dose"]):
        mean, low, high = (f"{round(row[key], 1) + 0.0:+.1f}" for key in ("gain", "gain_low", "gain_high"))
        pairs = f"{row['dose']} pairs " if row["dose"] else ""
        told.append(f"{pairs}{mean} [{low}, {high}], {_p(row['p_real'])}")
    return f"{_capital('; '.join(told))}."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"


def _span(values: list[float], form: str = ".1f") -> str:
    low, high = (f"{round(value, 1) + 0.0:{form}}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
