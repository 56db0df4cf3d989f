"""The paper's two tables, fidelity and segmentation: scores of many jobs -> frames, the paper's numbers beside ours.

docs/metrics.md says what each number is and where it comes from; pig/report/evidence.py makes the other tables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import UnionType
from typing import Any

import pandas as pd

from pig.core.errors import InputError
from pig.core.reading import Kind
from pig.metrics.inference import difference, estimate, holm, paired_p
from pig.models.table import METHODS
from pig.report.formats import SPAN, Column, Layout, Table

# Zhang et al., MICCAI 2025, on their private DBTMassSeg (367 patients, 8,723 slices of 512x512): Table 1, FID of
# 2,048 slices; Table 2, percent, means over five folds.
PAPER_FID = {"ddpm": 31.84, "ddim": 31.54, "pig": 15.88}
PAPER_OVERLAP: dict[tuple[str, int], tuple[str, tuple[float, ...]]] = {
    # set and place of the dose among three -> the paper's row, and OVERLAP; in the paper's order
    ("real", 0): ("DBTMassSeg", (52.36, 41.60, 56.14, 56.81)),
    ("ldm", 1): ("+ LDM_2048", (56.91, 45.88, 60.92, 60.99)),
    ("segguided", 1): ("+ SegGuidedDif_2048", (58.30, 46.99, 60.40, 64.76)),
    ("controlnet", 1): ("+ ControlNet_2048", (57.38, 46.09, 61.53, 61.78)),
    ("pig", 0): ("+ PIG_1024", (56.52, 45.39, 59.86, 61.70)),
    ("pig", 1): ("+ PIG_2048", (60.54, 49.10, 62.92, 66.01)),
    ("pig", 2): ("+ PIG_3072", (59.14, 47.92, 60.65, 65.66)),
}
NOT_COMPARABLE = "other, private data ({source}), not comparable with ours"
SECOND_ORDER = {  # solvers of `sampling`
    "dpmpp2m": "DPM-Solver++ (2M)",
    "dpmpp2m_sde": "SDE-DPM-Solver++ (2M)",
}

CROPS, PAPER = "Lesion crops", "Paper"  # heads over heads
LEAK = "-leak"  # ends the names of sets whose generator saw the test patients
LABELS = {"real": "Real (floor)"} | {name: method.label for name, method in METHODS.items()}
CONTROLS = {  # training sets of Table 2 beside real and the methods: the label of a dose, or of none
    "augmented": "Real, strong augmentation",
    "duplicated": "Real + {dose} of them again",
    "pig-leak": "LEAK: Real + {dose} PIG that saw the test patients",
}
ADDED = {  # panels' titles
    "duplicated": "Control: real pairs again",
    "pig-leak": "LEAK: PIG that saw the test patients",
}
PAPER_ROWS = ("real", *PAPER_FID)  # the first rows of Table 1; ours after
OVERLAP = {"dice": "Dice", "iou": "IoU", "precision": "Precision", "recall": "Recall"}
BUDGET = ["parameters_m", "seen", "evaluations", "giga", "seconds"]

# What the tables are made from. `pig segment` loads torch, so that its columns stand here too; a test compares them.
NAMES = ("id", "patient", "set")
OVERLAPS = Kind(NAMES, ("fold", "dose", "real", "seed"), (*OVERLAP, "empty"))  # of `pig segment`
FOUND = Kind(NAMES, ("fold", "seed"), ("dice", "shuffled"))  # of `pig trts`
NUMBER = int | float
FIDELITY: dict[str, type | UnionType] = {  # of `pig fidelity`
    "set": str,
    "extractor": str,
    **dict.fromkeys(("fid", "fid_low", "fid_high", "fd_infinity", "precision", "recall"), NUMBER),
    **dict.fromkeys(("kid", "kid_low", "kid_high", "kid_std", "kid_subsets", "kid_subset_size"), NUMBER),
    **dict.fromkeys(("n", "reference_n"), NUMBER),
}


@dataclass(frozen=True)
class Inference:
    """How Table 2 and 3 get intervals and tests; params.yaml says what each number means."""

    level: float
    draws: int
    seed: int


def sentences(*parts: str) -> str:
    """A caption: the parts that are not empty, each with a capital and its full stop."""
    return " ".join(
        f"{part[0].upper()}{part[1:].removesuffix('.')}{'' if part.endswith('?') else '.'}"
        for part in parts
        if part
    )


COST: dict[str, type | UnionType] = {  # of `pig sample --report`
    "method": str,
    "fold": int,
    "number": int,
    "seconds": NUMBER,
    "evaluations": int,
    "operations": int | None,
    "networks": dict,
}


def budgets(costs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """What each method costs, one row a method, its index.

    Args:
        costs: the reports of `pig sample`, any number a method (one a fold and shard).

    Returns:
        parameters_m (millions, of all networks that sample), seen (training images that passed through them and
        through those whose weights they started from, in the mean of a fold), evaluations (of a network, a sample),
        giga (multiply-adds a sample, 1e9) and seconds (a sample, over the rows that the batches were filled with).

    Raises:
        InputError: reports of one method that differ in what they should share.
    """
    rows = {}
    for name in sorted({cost["method"] for cost in costs}):
        mine = [cost for cost in costs if cost["method"] == name]
        shared = {}
        for key in ("evaluations", "operations"):
            found = {cost[key] for cost in mine} - {None}  # operations are counted on first shards only
            if len(found) != 1:
                raise InputError(f"costs of {name}: expected the same {key} in every fold and shard")
            (shared[key],) = found
        nets = [list(cost["networks"].values()) for cost in mine]
        rows[name] = {
            "parameters_m": sum(net["parameters"] for net in nets[0]) / 1e6,
            "seen": sum(net["seen"] for part in nets for net in part) / len(nets),
            "evaluations": shared["evaluations"],
            "giga": shared["operations"] / 1e9,
            "seconds": sum(cost["seconds"] for cost in mine) / sum(cost["number"] for cost in mine),
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=BUDGET)


# ------------------------------------------------------------------ Table 1
TABLE_1 = Layout(
    1,
    (
        Column("method", "Method"),
        Column("evaluations", "Evaluations", 0, optional=True),
        Column("n", "n", 0),
        Column("fid", "FID ↓", 1, "low", interval=True),
        Column("fd_infinity", "FD∞ ↓", 1, "low"),
        Column("kid_x1000", "KID × 1000 ↓", 1, "low", interval=True),
        Column("precision", "Precision ↑", 2, "high"),
        Column("recall", "Recall ↑", 2, "high"),
        Column("crop_fid", "FID ↓", 1, "low", interval=True, group=CROPS, optional=True),
        Column("crop_kid_x1000", "KID × 1000 ↓", 1, "low", interval=True, group=CROPS, optional=True),
        Column("paper_fid", "FID ↓", 2, "low", group=PAPER),
    ),
    ("fid", "fd_infinity", "kid_x1000", "precision", "recall", "crop_fid", "crop_kid_x1000"),
    more=Kind(("row",), ("n",)),
)
SHARED = ("extractor", "reference_n", "reference_source", "kid_subsets")  # by all sets that are compared


def table1(
    scores: Sequence[Mapping[str, Any]],
    crops: Sequence[Mapping[str, Any]] = (),
    costs: Sequence[Mapping[str, Any]] = (),
    title: str = "",
) -> Table:
    """Table 1: how close each method's slices are to real ones, and the floor.

    Args:
        scores: one mapping a set, with the keys of FIDELITY, as `pig fidelity` writes them.
        crops: the same of the lesions' crops, of the sets that have masks.
        costs: the reports of `pig sample`, as `budgets` takes them.
        title: what data and profile the numbers are of.

    Raises:
        InputError: a set that is unknown or there twice, no floor, or sets scored against different references.
    """
    by_set, cropped = _by_set(scores, "scores"), _by_set(crops, "crops") if crops else {}
    budget = budgets(costs)
    rows = [
        {
            "row": name,
            "method": label,
            **(budget.loc[name].to_dict() if name in budget.index else dict.fromkeys(BUDGET)),
            "reference_n": by_set[name]["reference_n"],
            **_distances(by_set[name]),
            **{f"crop_{key}": value for key, value in _distances(cropped.get(name, {})).items()},
            "paper_fid": PAPER_FID.get(name),
        }
        for name, label in {**{name: LABELS[name] for name in PAPER_ROWS}, **LABELS}.items()
        if name in by_set
    ]
    frame = pd.DataFrame(rows)
    frame = frame.astype(dict.fromkeys(frame.columns.difference(["row", "method"]), float))
    caption = _caption_1(scores[0], frame, sentences(title, _solver(costs)), bool(crops))
    return Table(TABLE_1, frame, caption)


def _solver(costs: Sequence[Mapping[str, Any]]) -> str:
    """What samples where it is not DDIM; the rows DDPM and DDIM are sampled as they are called."""
    used = {cost.get("solver", {}).get("solver") for cost in costs}
    names = [name for solver, name in SECOND_ORDER.items() if solver in used]
    return f"Sampled by {names[0]}, but DDPM and DDIM by the samplers of these names" if names else ""


def _by_set(scores: Sequence[Mapping[str, Any]], name: str) -> dict[str, Mapping[str, Any]]:
    """The scores by their sets, checked: known sets, each once, a floor among them, one reference for all."""
    by_set = {score["set"]: score for score in scores}
    if len(by_set) < len(scores) or not by_set.keys() <= LABELS.keys() or "real" not in by_set:
        found = ", ".join(str(score["set"]) for score in scores)
        raise InputError(
            f"table 1: {name}: expected {', '.join(LABELS)}, real always, each once at most; found {found}"
        )
    for key in SHARED:
        if len(values := {str(score.get(key)) for score in scores}) > 1:
            raise InputError(
                f"table 1: {name}: expected one {key} for all sets; found {', '.join(sorted(values))}"
            )
    return by_set


def _distances(score: Mapping[str, Any]) -> dict[str, float | None]:
    """The columns of Table 1 that come from one report of `pig fidelity`, KID times 1,000."""
    plain = ("n", "fid", "fid_low", "fid_high", "fd_infinity", "precision", "recall")
    kid = {"kid_x1000": "kid", "kid_x1000_sd": "kid_std"}
    kid |= {f"kid_x1000{end}": f"kid{end}" for end in SPAN[1:]}
    return {key: score.get(key) for key in plain} | {
        key: 1000 * score[of] if of in score else None for key, of in kid.items()
    }


def _caption_1(score: Mapping[str, Any], frame: pd.DataFrame, title: str, crops: bool) -> str:
    unequal = "" if frame["n"].nunique() == 1 else " Here n differs between rows."
    cropped = frame["crop_n"].dropna()
    return sentences(
        title,
        f"Distance of n slices from {score['reference_n']} real slices of test patients (lower is closer)",
        f"features: {score['extractor']}",
        "In brackets: 95 % intervals by bootstrap over patients (real) and slices (generated)",
        f"KID: mean over {score['kid_subsets']} subsets of {score['kid_subset_size']}",
        "FD∞: FID extrapolated to infinite n; an indication only where n is below the 2,048 features",
        "Precision: share of slices within the manifold of real ones; recall: share of real slices within theirs",
        f"Lesion crops: squares around the lesion, {cropped.min():.0f} or more a set" if crops else "",
        "Real (floor): real slices of the generators' training patients against the same reference, about the least "
        "that a generator can reach at this n; both distances depend on n, so numbers of another n mean nothing here."
        + unequal,
        f"The paper's FID is of 2,048 slices of {NOT_COMPARABLE.format(source='Zhang et al., MICCAI 2025, Table 1')}",
    )


# ------------------------------------------------------------------ Table 2
TABLE_2 = Layout(
    2,
    (
        Column("training_set", "Training set"),
        Column("test_images", "Test images", 0),
        Column("folds", "Folds", 0),
        Column("dice", "Dice ↑", 1, "high", interval=True, mark="mark"),
        Column("gain", "Δ Dice to Real", 1, interval=True),
        *(Column(key, f"{name} ↑", 1, "high") for key, name in OVERLAP.items() if key != "dice"),
        Column("paper_row", "Row", group=PAPER),
        *(Column(f"paper_{key}", f"{name} ↑", 2, "high", group=PAPER) for key, name in OVERLAP.items()),
    ),
    (*OVERLAP, "dice_low", "dice_high", "gain", "gain_low", "gain_high", "p_real", "p_rival"),
    apart=rf".*{LEAK}_\d+",
    more=Kind(
        ("row", "set", "added"),
        ("dose",),
        ("p_real", "p_rival", "best_rival", *(f"{key}{end}" for key in OVERLAP for end in SPAN[1:])),
    ),
)


def check_overlaps(scores: pd.DataFrame, table: int) -> pd.DataFrame:
    """The scores sorted; InputError for an image twice, or sets tested on different images."""
    scores = scores.sort_values(["dose", "set", "fold", "seed", "id"])  # real, dose 0, comes first
    tested = {
        key: sorted(zip(part["fold"], part["seed"], part["id"], strict=True))
        for key, part in scores.groupby(["dose", "set", scores["real"] > 0])  # folds differ in how many
    }
    (first, expected), *others = tested.items()
    for (dose, name, _), images in [(first, expected), *others]:
        if len(set(images)) < len(images):
            raise InputError(f"table {table}: {name} {dose}: expected each test image once a fold and seed")
        if images != expected:
            raise InputError(
                f"table {table}: {name} {dose}: expected the test images, folds and seeds of {first[1]} {first[0]}"
            )
    return scores


def table2(scores: pd.DataFrame, inference: Inference, steps: int | None = None, title: str = "") -> Table:
    """Table 2: how well a segmenter does that was trained on real pairs, without and with generated ones.

    Args:
        scores: one row a test image, fold, seed and training set, with the columns OVERLAPS; those without real
            pairs belong to Table 3.
        inference: of the intervals and tests.
        steps: optimiser steps of each segmenter, for the caption.
        title: what data and profile the numbers are of.

    Returns:
        Percent; means over seeds, then over the test images of a fold, then over folds, with intervals by bootstrap
        over patients. gain is Dice minus that of real pairs alone, p_real and p_rival are Wilcoxon's over patients,
        against real pairs alone and against the best rival, each adjusted by Holm. The paper's rows come first, in
        its order, its three doses standing for ours if there are three; then ours, by method and dose.

    Raises:
        InputError: as `check_overlaps`.
    """
    scores = check_overlaps(scores, 2)
    grouped: Any = scores[scores["real"] > 0].groupby(["dose", "set"])
    parts = {(int(dose), str(name)): part for (dose, name), part in grouped}
    doses = sorted({dose for dose, _ in parts if dose > 0})
    place = {0: 0} | ({dose: i for i, dose in enumerate(doses)} if len(doses) == 3 else {})
    rows = []
    for dose, name in sorted(parts, key=lambda key: _position(key, place)):
        label, numbers = PAPER_OVERLAP.get((name, place.get(dose, -1)), ("", (None,) * len(OVERLAP)))
        part = parts[dose, name]
        rows.append(
            {
                "row": f"{name}_{dose}" if dose else name,
                "training_set": _training_set(name, dose),
                "set": name,
                "added": ADDED.get(name, LABELS.get(name, name)),
                "dose": dose,
                "test_images": len(part.drop_duplicates(["fold", "id"])),
                "patients": part["patient"].nunique(),
                "folds": part["fold"].nunique(),
                "seeds": part["seed"].nunique(),
                **{
                    key: value
                    for metric in OVERLAP
                    for key, value in percent(metric, part, inference).items()
                },
                "paper_row": label,
                **{f"paper_{key}": number for key, number in zip(OVERLAP, numbers, strict=True)},
            }
        )
    frame = pd.DataFrame(rows).astype({f"paper_{key}": float for key in OVERLAP})
    frame = pd.concat([frame, _compared(frame, parts, inference)], axis=1)
    first = next(iter(parts.values()))
    images = first.drop_duplicates(["fold", "id"])
    return Table(TABLE_2, frame, _caption_2(frame, images, steps, title, inference))


def _position(key: tuple[int, str], place: Mapping[int, int]) -> tuple[int, ...]:
    """Where a row of Table 2 stands: the paper's rows, controls, our rows by method and dose, what leaks."""
    dose, name = key
    theirs = list(PAPER_OVERLAP)
    if (name, place.get(dose, -1)) in PAPER_OVERLAP:
        return (0, theirs.index((name, place[dose])), dose)
    group = 3 if name.endswith(LEAK) else 1 if name in CONTROLS else 2
    names = [*CONTROLS, *LABELS]
    return (group, names.index(name) if name in names else len(names), dose)


def _training_set(name: str, dose: int) -> str:
    if name in CONTROLS:
        return CONTROLS[name].format(dose=dose)
    return f"Real + {dose} {LABELS.get(name, name)}" if dose else "Real"


def percent(metric: str, scores: pd.DataFrame, inference: Inference) -> dict[str, float]:
    """METRIC, METRIC_low and METRIC_high of shares, in percent."""
    found = estimate(scores, metric, inference.draws, inference.seed, inference.level)
    return {metric: 100 * found.mean, f"{metric}_low": 100 * found.low, f"{metric}_high": 100 * found.high}


def _compared(
    frame: pd.DataFrame, parts: Mapping[tuple[int, str], pd.DataFrame], inference: Inference
) -> pd.DataFrame:
    """Of each row of Table 2, its Dice against real pairs alone and against the best rival.

    The best rival is the row of highest Dice among all methods but PIG.
    """
    keys = list(zip(frame["dose"], frame["set"], strict=True))
    rivals = frame["set"].isin(METHODS.keys() - {"pig"})
    best = int(frame["dice"].where(rivals).argmax()) if rivals.any() else None
    alone = (0, "real") if (0, "real") in parts else None
    rival = None if best is None else keys[best]

    def against(reference: tuple[int, str] | None, measure: Callable[..., Any], unknown: Any) -> list[Any]:
        return [
            unknown if reference in (None, key) else measure(parts[key], parts[reference], "dice")
            for key in keys
        ]

    gap = partial(difference, draws=inference.draws, seed=inference.seed, level=inference.level)
    out = pd.DataFrame(index=frame.index)
    gains = against(alone, gap, [float("nan")] * 3)
    out[["gain", "gain_low", "gain_high"]] = [[100 * value for value in found] for found in gains]
    out["p_real"] = holm(against(alone, paired_p, float("nan")))
    out["p_rival"] = holm(against(rival, paired_p, float("nan")))
    out["best_rival"] = [index == best for index in frame.index]
    alpha = 1 - inference.level
    out["mark"] = [
        ("*" if real < alpha else "") + ("†" if rival < alpha else "")
        for real, rival in zip(out["p_real"], out["p_rival"], strict=True)
    ]
    return out


def _caption_2(
    frame: pd.DataFrame, images: pd.DataFrame, steps: int | None, title: str, inference: Inference
) -> str:
    length = f", each of {steps} optimiser steps whatever the set" if steps else ""
    rival = frame[frame["best_rival"]]["training_set"].tolist()
    seeds = int(frame["seeds"].max())
    return sentences(
        title,
        f"Lesion segmentation by a U-Net trained on real pairs, or on real and generated ones{length}",
        "Percent; means over the test images of a fold, then over folds"
        + (f", of {seeds} segmenters each" if seeds > 1 else ", of one segmenter each (one seed)"),
        f"In brackets: {100 * inference.level:g} % intervals by bootstrap over the {images['patient'].nunique()} test "
        "patients within folds; they know the patients' chance, not that of training",
        f"* differs from Real, † from the best rival{f' ({rival[0]})' if rival else ''}: Wilcoxon's signed-rank test "
        f"over patients, adjusted by Holm over the column, p < {1 - inference.level:.2g}",
        "Rows that begin with LEAK are what a generator that saw the test patients would have claimed: never a result"
        if frame["set"].str.endswith(LEAK).any()
        else "",
        f"An image without lesion scores 100 if nothing is predicted and 0 otherwise ({int(images['empty'].sum())} of "
        f"{len(images)} images); a lesion of which nothing is predicted scores 0, precision too",
        "What the generators cost is in Table 5",
        f"The paper's numbers are of {NOT_COMPARABLE.format(source='Zhang et al., MICCAI 2025, Table 2, five folds')}; "
        "its three doses stand for ours in their order",
    )
