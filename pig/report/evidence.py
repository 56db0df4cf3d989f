"""The tables that the paper lacks: whether mask and image belong together, copying, and what each method cost.

docs/metrics.md says what each number is and where it comes from.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pig.core.errors import InputError
from pig.core.reading import Kind
from pig.metrics.copying import summary
from pig.metrics.inference import mean
from pig.metrics.lesions import DESCRIPTORS
from pig.models.table import METHODS
from pig.report.formats import Column, Layout, Table
from pig.report.tables import (
    BUDGET,
    LABELS,
    TABLE_1,
    TABLE_2,
    Inference,
    budgets,
    check_overlaps,
    percent,
    sentences,
)

SEARCHED = {"image": "Image", "mask": "Mask", "joint": "Both"}
W = tuple(f"w_{key}" for key in DESCRIPTORS)  # distances of lesions from real ones
PAIRING = Kind(  # of `pig pairing`
    ("set",),
    (),
    ("n", "contrast_to_real", "one_component", "empty", *W, *(f"floor_{key}" for key in DESCRIPTORS)),
)


# ------------------------------------------------------------------ Table 3
TABLE_3 = Layout(
    3,
    (
        Column("label", "Set"),
        Column("n", "n", 0),
        Column("trts", "TRTS Dice ↑", 1, "high", interval=True),
        Column("trts_shuffled", "shuffled", 1),
        Column("tstr", "TSTR Dice ↑", 1, "high", interval=True),
        Column("contrast", "Contrast, % of real", 0),
        Column("contrast_shuffled", "shuffled", 0),
        Column("one_component", "In one piece, %", 1),
        Column("empty", "Empty, %", 1),
        *(Column(f"w_{key}", key, 2, "low", group="Lesions") for key in DESCRIPTORS),
    ),
    ("trts", "trts_shuffled", "tstr", "contrast", "one_component", "empty", *W),
)


def table3(
    pairing: pd.DataFrame,
    trts: pd.DataFrame,
    scores: pd.DataFrame,
    inference: Inference,
    title: str = "",
) -> Table:
    """Table 3: whether mask and image belong together, and whether the lesions are like real ones.

    Args:
        pairing: the csv of `pig pairing`.
        trts: what `pig trts` wrote, of all folds.
        scores: what `pig segment` wrote, with the rows of segmenters trained on generated pairs alone.
        inference: of the intervals.
        title: what data and profile the numbers are of.

    Returns:
        One row a method, and first one of real pairs: percent, means over folds; distances of lesions in standard
        deviations of the test patients', the first row being the floor at the same n, the mean over the sets.
    """
    scores = check_overlaps(scores, 3)
    name_of = pairing["set"].str.partition("/")[2]  # of fold{K}/NAME

    def over_folds(name: str) -> pd.DataFrame:
        return pairing[name_of == name]

    methods = [name for name in METHODS if name in set(name_of)]
    if not methods:
        raise InputError(
            f"table 3: expected sets fold{{K}}/NAME of methods in the pairing; found {pairing['set'].iloc[0]}"
        )
    generated = pd.concat(map(over_folds, methods))
    rows = []
    for name in ["real", *methods]:
        mine, real = over_folds(name), name == "real"
        alone = scores[(scores["set"] == name) & (real | (scores["real"] == 0))]
        own = alone if real else trts[trts["set"] == name]
        if own.empty or alone.empty:
            raise InputError(f"table 3: expected TRTS and TSTR scores of {name}, a set of the pairing")
        rows.append(
            {
                "row": name,
                "label": LABELS[name],
                "n": mine["n"].sum(),
                **_scored("trts", own, inference),
                "trts_shuffled": float("nan") if real else 100 * mean(own, "shuffled"),
                **_scored("tstr", alone, inference),
                "contrast": 100.0 if real else 100 * mine["contrast_to_real"].mean(),
                "contrast_shuffled": 100 * over_folds(f"{name} shuffled")["contrast_to_real"].mean(),
                "one_component": 100 * mine["one_component"].mean(),
                "empty": 100 * mine["empty"].mean(),
                **{
                    f"w_{key}": (generated[f"floor_{key}"] if real else mine[f"w_{key}"]).mean()
                    for key in DESCRIPTORS
                },
            }
        )
    caption = sentences(
        title,
        "Do mask and image belong together?",
        "TRTS: Dice of the masks against what a segmenter trained on real pairs alone finds in the slices, and with "
        "masks shuffled among slices (real: on real test slices)",
        "TSTR: Dice on real test slices of a segmenter trained on generated pairs alone (real: on real pairs)",
        f"in brackets {100 * inference.level:g} % intervals by bootstrap over patients, or over generated pairs (TRTS)",
        "Contrast: inside a mask minus a ring around it, relative to the generator's training pairs",
        "Lesions: 1-Wasserstein distance of a descriptor's distribution from that of real test patients, "
        "in its standard deviations; Real is the floor, training patients at the same n",
        "Methods that are given real masks have real lesions by construction",
    )
    return Table(TABLE_3, pd.DataFrame(rows), caption)


def _scored(key: str, scores: pd.DataFrame, inference: Inference) -> dict[str, float]:
    """KEY, KEY_low and KEY_high: Dice in percent."""
    found = percent("dice", scores, inference)
    return {name.replace("dice", key): value for name, value in found.items()}


# ------------------------------------------------------------------ Table 4
TABLE_4 = Layout(
    4,
    (
        Column("label", "Set"),
        Column("n", "n", 0),
        *(
            column
            for key, name in SEARCHED.items()
            for column in (
                Column(f"{key}_ratio", "ratio", 2, group=name),
                Column(f"{key}_share", "copies, %", 1, group=name),
            )
        ),
        Column("duplicates", "Duplicates, %", 1),
    ),
    (*(f"{key}_{what}" for key in SEARCHED for what in ("ratio", "share")), "duplicates"),
    more=Kind(("row",), ("n",)),
)


def table4(copies: Mapping[tuple[str, int], pd.DataFrame], title: str = "") -> Table:
    """Table 4: whether generated pairs repeat training pairs.

    Args:
        copies: (set, fold) -> what `pig copies` wrote; the set "real" of each fold are its held-out pairs.

    Returns:
        Means over folds; shares in percent.

    Raises:
        InputError: a fold without held-out real pairs.
    """
    folds: dict[str, list[dict[str, float]]] = {}
    for (name, fold), frame in sorted(copies.items()):
        if ("real", fold) not in copies:
            raise InputError(f"table 4: fold {fold}: expected the set real, its held-out pairs")
        folds.setdefault(name, []).append(summary(frame, copies["real", fold]))
    order = [name for name in LABELS if name in folds]
    if unknown := sorted(folds.keys() - set(order)):
        raise InputError(f"table 4: expected sets of {', '.join(LABELS)}; found {unknown[0]}")
    rows = []
    for name in order:
        found = pd.DataFrame(folds[name])
        shares = [key for key in map(str, found) if key == "duplicates" or key.endswith("_share")]
        found[shares] = 100 * found[shares]
        rows.append(
            {
                "row": name,
                "label": "Real, held out" if name == "real" else LABELS[name],
                **found.drop(columns="n").mean().to_dict(),
                "n": found["n"].sum(),
            }
        )
    caption = sentences(
        title,
        "Do generated pairs repeat training pairs?",
        "Each pair's nearest neighbour among the training pairs of its fold, by image (correlation, mirrored too), by "
        "mask (overlap of the lesions alone, whatever their place and flip), and by both at once",
        "Ratio: distance to the nearest training pair over that to the nearest held-out pair, the median, relative to "
        "what real held-out pairs show; below 1 is nearer to what was trained on than chance",
        "Copies: share of pairs whose ratio is lower than that of 99 % of real held-out pairs; about 1 % by chance",
        "Duplicates: share of pairs nearer to another of the set than 99 % of real held-out pairs are to one of "
        "another patient",
        "Methods that are given training masks repeat these by construction, so that only their slices can tell",
    )
    return Table(TABLE_4, pd.DataFrame(rows), caption)


# ------------------------------------------------------------------ Table 5
TABLE_5 = Layout(
    5,
    (
        Column("method", "Method"),
        Column("parameters_m", "Parameters, M", 2),
        Column("seen", "Images seen", 0),
        Column("evaluations", "Evaluations / sample", 0),
        Column("giga", "GMAC / sample", 1),
        Column("seconds", "s / sample", 2),
    ),
    tuple(BUDGET[:-1]),
)


def table5(costs: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """Table 5: what each method cost; `costs` as `budgets` takes them."""
    budget = budgets(costs)
    order = [name for name in LABELS if name in budget.index]
    if unknown := budget.index.difference(order).tolist():
        raise InputError(f"table 5: expected costs of {', '.join(METHODS)}; found {unknown[0]}")
    frame = budget.loc[order].reset_index(names="row")
    frame.insert(1, "method", [LABELS[name] for name in order])
    encoders = [cost["networks"]["autoencoder"] for cost in costs if "autoencoder" in cost["networks"]]
    errors = [127.5 * encoder["validation"] for encoder in encoders]  # on [-1, 1]
    caption = sentences(
        title,
        "What each method cost: parameters of the networks that sample; training images that passed through them, and "
        "through those that they started from; for a sample, evaluations of a network, 1e9 multiply-adds and seconds",
        f"Sampled on {told}, one job at a time a core" if (told := machines(costs)) else "",
        "LDM's autoencoder rebuilds validation patients' slices to "
        f"{sum(errors) / len(errors):.1f} of 255 greys (mean absolute)"
        if errors
        else "",
    )
    return Table(TABLE_5, frame, caption)


def machines(costs: Sequence[Mapping[str, Any]]) -> str:
    """What the samples were drawn on, and in which precision; older reports do not say in which."""
    found = {(str(cost.get("machine", "")), str(cost.get("computed_in", ""))) for cost in costs}
    return ", ".join(f"{name} in {of}" if of else name for name, of in sorted(found) if name)


LAYOUTS = {layout.number: layout for layout in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5)}
