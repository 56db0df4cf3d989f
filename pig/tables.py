"""Tables 1 and 2: scores -> one tidy frame -> csv, metrics json, markdown and LaTeX.

The frames hold numbers in full precision and the paper's beside ours; rounding and bold are for the eye only.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import pandas as pd

from pig.errors import InputError
from pig.methods import METHODS

# Zhang et al., MICCAI 2025, on their private DBTMassSeg (367 patients, 8,723 slices of 512x512): Table 1, FID of
# 2,048 slices; Table 2, percent, means over five folds.
PAPER_FID = {"ddpm": 31.84, "ddim": 31.54, "pig": 15.88}
PAPER_OVERLAP = {  # (set, place of the dose among three) -> numbers, in the paper's order
    ("real", 0): ("DBTMassSeg", {"dice": 52.36, "iou": 41.60, "precision": 56.14, "recall": 56.81}),
    ("ldm", 1): ("+ LDM_2048", {"dice": 56.91, "iou": 45.88, "precision": 60.92, "recall": 60.99}),
    ("segguided", 1): (
        "+ SegGuidedDif_2048",
        {"dice": 58.30, "iou": 46.99, "precision": 60.40, "recall": 64.76},
    ),
    ("controlnet", 1): (
        "+ ControlNet_2048",
        {"dice": 57.38, "iou": 46.09, "precision": 61.53, "recall": 61.78},
    ),
    ("pig", 0): ("+ PIG_1024", {"dice": 56.52, "iou": 45.39, "precision": 59.86, "recall": 61.70}),
    ("pig", 1): ("+ PIG_2048", {"dice": 60.54, "iou": 49.10, "precision": 62.92, "recall": 66.01}),
    ("pig", 2): ("+ PIG_3072", {"dice": 59.14, "iou": 47.92, "precision": 60.65, "recall": 65.66}),
}
NOT_COMPARABLE = "other, private data ({source}), not comparable with ours"

LABELS = {"real": "Real (floor)"} | {name: method.label for name, method in METHODS.items()}
PAPER_ROWS = ("real", *PAPER_FID)  # the first rows of Table 1; ours after
OVERLAP = {"dice": "Dice", "iou": "IoU", "precision": "Precision", "recall": "Recall"}
FIDELITY_KEYS = (
    "set",
    "fid",
    "kid",
    "kid_std",
    "kid_subsets",
    "kid_subset_size",
    "n",
    "reference_n",
    "extractor",
)
BUDGET = ["parameters_m", "seen", "evaluations", "giga", "seconds"]
OVERLAP_KEYS = ("id", "fold", "set", "dose", *OVERLAP, "empty")


@dataclass(frozen=True)
class Column:
    """How one column of a frame is shown."""

    key: str
    head: str
    digits: int | None = None  # after the point; None: as it is
    best: str = ""  # "low" or "high": the best of the rows that compete is bold
    spread: str = ""  # key of the standard deviation to show behind it
    group: str = ""  # a head over the heads of neighbours


TABLE_1 = (
    Column("method", "Method"),
    Column("parameters_m", "Parameters, M", 2),
    Column("seen", "Images seen", 0),
    Column("evaluations", "Evaluations", 0),
    Column("giga", "GMAC / image", 1),
    Column("seconds", "s / image", 2),
    Column("n", "n", 0),
    Column("fid", "FID ↓", 2, "low"),
    Column("kid_x1000", "KID × 1000 ↓", 2, "low", "kid_x1000_sd"),
    Column("paper_fid", "FID ↓", 2, "low", group="Paper"),
)
TABLE_2 = (
    Column("training_set", "Training set"),
    Column("test_images", "Test images", 0),
    Column("folds", "Folds", 0),
    *(Column(key, f"{name} ↑", 2, "high") for key, name in OVERLAP.items()),
    Column("paper_row", "Row", group="Paper"),
    *(Column(f"paper_{key}", f"{name} ↑", 2, "high", group="Paper") for key, name in OVERLAP.items()),
)


@dataclass(frozen=True)
class Table:
    """A frame, how to show it, and what a reader must know."""

    number: int
    frame: pd.DataFrame  # its column "row" names the rows, "competes" says which may be best
    columns: tuple[Column, ...]
    metrics: tuple[str, ...]  # columns that `dvc metrics` compares
    caption: str


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


def rebuilt(costs: Sequence[Mapping[str, Any]]) -> float | None:
    """Mean absolute error of LDM's autoencoder on validation patients, in grey levels of 255; None without it."""
    errors = [
        net["validation"] * 127.5
        for cost in costs
        for name, net in cost["networks"].items()
        if name == "autoencoder"
    ]
    return sum(errors) / len(errors) if errors else None


def table1(
    scores: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]] = (), title: str = ""
) -> Table:
    """Table 1: how close each method's slices are to real ones, and the floor.

    Args:
        scores: one mapping a set, with FIDELITY_KEYS, as `pig fidelity` writes them.
        costs: the reports of `pig sample`, as `budgets` takes them.
        title: what data and profile the numbers are of.

    Raises:
        InputError: a set that is unknown or there twice, no floor, or sets scored against different references.
    """
    for score in scores:
        if missing := [key for key in FIDELITY_KEYS if key not in score]:
            raise InputError(
                f"table 1: expected scores with {', '.join(FIDELITY_KEYS)}; missing {missing[0]}"
            )
    by_set = {score["set"]: score for score in scores}
    if len(by_set) < len(scores) or not by_set.keys() <= LABELS.keys() or "real" not in by_set:
        found = ", ".join(str(score["set"]) for score in scores)
        raise InputError(
            f"table 1: expected {', '.join(LABELS)}, real always, each once at most; found {found}"
        )
    same = ("extractor", "reference_n", "reference_source", "kid_subsets")
    for key in same:
        if len(values := {str(score.get(key)) for score in scores}) > 1:
            raise InputError(f"table 1: expected one {key} for all sets; found {', '.join(sorted(values))}")
    budget = budgets(costs)
    rows = [
        {
            "row": name,
            "method": label,
            "competes": name != "real",
            **(budget.loc[name].to_dict() if name in budget.index else dict.fromkeys(BUDGET)),
            "n": by_set[name]["n"],
            "reference_n": by_set[name]["reference_n"],
            "fid": by_set[name]["fid"],
            "kid_x1000": 1000 * by_set[name]["kid"],
            "kid_x1000_sd": 1000 * by_set[name]["kid_std"],
            "paper_fid": PAPER_FID.get(name),
        }
        for name, label in {**{name: LABELS[name] for name in PAPER_ROWS}, **LABELS}.items()
        if name in by_set
    ]
    frame = pd.DataFrame(rows).astype(dict.fromkeys((*BUDGET, "paper_fid"), float))
    columns = tuple(column for column in TABLE_1 if costs or column.key not in BUDGET)
    return Table(1, frame, columns, ("fid", "kid_x1000"), _caption_1(scores[0], frame, title, rebuilt(costs)))


def _caption_1(score: Mapping[str, Any], frame: pd.DataFrame, title: str, error: float | None) -> str:
    unequal = "" if frame["n"].nunique() == 1 else " Here n differs between rows."
    return _sentences(
        title,
        f"Distance of n slices from {score['reference_n']} real slices of test patients (lower is closer)",
        f"features: {score['extractor']}",
        f"KID: mean ± standard deviation over {score['kid_subsets']} subsets of {score['kid_subset_size']}",
        "Real (floor): real slices of the generators' training patients against the same reference, about the least "
        "that a generator can reach at this n; both distances depend on n, so numbers of another n mean nothing here."
        + unequal,
        ""
        if error is None
        else f"LDM's autoencoder rebuilds validation patients' slices to {error:.1f} of 255 greys (mean absolute)",
        f"The paper's FID is of 2,048 slices of {NOT_COMPARABLE.format(source='Zhang et al., MICCAI 2025, Table 1')}",
    )


def table2(
    scores: pd.DataFrame, steps: int | None = None, title: str = "", costs: Sequence[Mapping[str, Any]] = ()
) -> Table:
    """Table 2: how well a segmenter does that was trained on real pairs, without and with generated ones.

    Args:
        scores: one row a test image, fold and training set, with OVERLAP_KEYS, as `pig segment` writes them.
        steps: optimiser steps of each segmenter, for the caption.
        title: what data and profile the numbers are of.
        costs: the reports of `pig sample`, as `budgets` takes them.

    Returns:
        Percent; means over the test images of a fold, then over folds. The paper's rows come first, in its order, its
        three doses standing for ours if there are three; then ours, by method and dose.

    Raises:
        InputError: a missing column, an image twice, or training sets tested on different images.
    """
    if missing := [key for key in OVERLAP_KEYS if key not in scores]:
        raise InputError(f"table 2: expected scores with {', '.join(OVERLAP_KEYS)}; missing {missing[0]}")
    scores = scores.sort_values(["dose", "set", "fold", "id"])  # real, dose 0, comes first
    sets = scores.groupby(["dose", "set"])
    tested = {key: sorted(zip(part["fold"], part["id"], strict=True)) for key, part in sets}
    (first, expected), *others = tested.items()
    for (dose, name), images in [(first, expected), *others]:
        if len(set(images)) < len(images):
            raise InputError(f"table 2: {name} {dose}: expected each test image once a fold")
        if images != expected:
            raise InputError(
                f"table 2: {name} {dose}: expected the test images and folds of {first[1]} {first[0]}"
            )
    folds = scores.groupby(["dose", "set", "fold"])[list(OVERLAP)].mean()
    means = 100 * folds.groupby(["dose", "set"]).mean()
    doses = sorted({dose for dose, _ in means.index if dose > 0})
    place = {0: 0} | ({dose: i for i, dose in enumerate(doses)} if len(doses) == 3 else {})
    paper = {(dose, name): (name, place[dose]) for dose, name in means.index if dose in place}
    theirs, names = list(PAPER_OVERLAP), list(LABELS)

    def position(key: tuple[int, str]) -> tuple[int, ...]:
        of_paper = paper.get(key) in PAPER_OVERLAP
        of_method = names.index(key[1]) if key[1] in names else len(names)
        return (theirs.index(paper[key]), 0, 0) if of_paper else (len(theirs), of_method, key[0])

    rows = []
    for dose, name in sorted(means.index, key=position):
        label, numbers = PAPER_OVERLAP.get(paper.get((dose, name), ("", 0)), ("", {}))
        rows.append(
            {
                "row": f"{name}_{dose}" if dose else name,
                "training_set": f"Real + {dose} {LABELS.get(name, name)}" if dose else "Real",
                "competes": True,
                "set": name,
                "dose": dose,
                "test_images": len(expected),
                "folds": len({fold for fold, _ in expected}),
                **means.loc[(dose, name)].to_dict(),
                "paper_row": label,
                **{f"paper_{key}": numbers.get(key) for key in OVERLAP},
            }
        )
    frame = pd.DataFrame(rows).astype({f"paper_{key}": float for key in OVERLAP})
    empty = int(scores[scores["dose"] == first[0]]["empty"].sum())
    return Table(
        2, frame, TABLE_2, tuple(OVERLAP), _caption_2(len(expected), empty, steps, title, budgets(costs))
    )


def _caption_2(images: int, empty: int, steps: int | None, title: str, budget: pd.DataFrame) -> str:
    spent = "; ".join(
        f"{LABELS.get(str(name), name)} {row.parameters_m:.2f} M, {row.seen:,.0f}, {row.evaluations:.0f},"
        f" {row.giga:.1f}, {row.seconds:.2f} s"
        for name, row in budget.iterrows()
    )
    length = f", each of {steps} optimiser steps whatever the set" if steps else ""
    return _sentences(
        title,
        f"Lesion segmentation by a U-Net trained on real pairs, or on real and generated ones{length}",
        "Percent; means over the test images of a fold, then over folds",
        spent
        and "The generators' parameters, training images seen, and network evaluations, 1e9 multiply-adds and "
        f"seconds a pair: {spent}",
        f"An image without lesion scores 100 if nothing is predicted and 0 otherwise ({empty} of {images} images); a "
        "lesion of which nothing is predicted scores 0, precision too",
        f"The paper's numbers are of {NOT_COMPARABLE.format(source='Zhang et al., MICCAI 2025, Table 2, five folds')}; "
        "its three doses stand for ours in their order",
    )


def _sentences(*parts: str) -> str:
    return " ".join(f"{part[0].upper()}{part[1:].removesuffix('.')}." for part in parts if part)


# --- for programs ---


def to_csv(table: Table) -> str:
    """The whole frame, every digit."""
    return table.frame.drop(columns="competes").to_csv(index=False, lineterminator="\n")


def to_json(table: Table) -> str:
    """{row: {metric: number}}, for `dvc metrics show` and `diff`."""
    numbers = table.frame.set_index("row")[list(table.metrics)]
    return json.dumps(numbers.to_dict(orient="index"), indent=2) + "\n"


# --- for people ---


def cells(table: Table) -> list[list[tuple[str, bool]]]:
    """(text, is the best) of each row and column; a dash where there is no number."""
    shown = []
    for column in table.columns:
        values = table.frame[column.key]
        ranked = values[table.frame["competes"]].dropna() if column.best else values.iloc[:0]
        best = (ranked.min() if column.best == "low" else ranked.max()) if len(ranked) else None
        spreads = table.frame[column.spread] if column.spread else [None] * len(values)
        shown.append(
            [
                (
                    _cell(value, column.digits, spread),
                    best is not None and index in ranked.index and value == best,
                )
                for (index, value), spread in zip(values.items(), spreads, strict=True)
            ]
        )
    return [list(row) for row in zip(*shown, strict=True)]


def _cell(value: Any, digits: int | None, spread: float | None) -> str:
    if pd.isna(value) or value == "":
        return "–"
    text = str(value) if digits is None else f"{value:.{digits}f}"
    return text if spread is None or pd.isna(spread) else f"{text} ± {spread:.{digits}f}"


def to_markdown(table: Table) -> str:
    """A pipe table and its caption; numbers to the right, the best in bold."""
    heads = [f"{column.group}: {column.head}" if column.group else column.head for column in table.columns]
    body = [[f"**{text}**" if best else text for text, best in row] for row in cells(table)]
    widths = [max(3, *(len(row[i]) for row in [heads, *body])) for i in range(len(heads))]
    words = [column.digits is None for column in table.columns]

    def line(row: Sequence[str]) -> str:
        padded = (
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(row, widths, words, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = [
        ":" + "-" * (w - 1) if left else "-" * (w - 1) + ":" for w, left in zip(widths, words, strict=True)
    ]
    caption = f"**Table {table.number}.** {table.caption}"
    return "\n".join([line(heads), line(rule), *map(line, body), "", caption, ""])


TEX = str.maketrans(
    {char: f"\\{char}" for char in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}
    | {"<": "$<$", ">": "$>$", "×": r"$\times$", "±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$"}
)


def to_latex(table: Table) -> str:
    r"""A floating table for \input, no wider than a line; it needs the packages booktabs and graphicx."""
    grouped = [(group, len(list(run))) for group, run in groupby(column.group for column in table.columns)]
    over = [rf"\multicolumn{{{n}}}{{c}}{{{group.translate(TEX)}}}" for group, n in grouped]
    ends = list(accumulate(n for _, n in grouped))
    lines = [
        rf"\cmidrule(lr){{{end - n + 1}-{end}}}"
        for (group, n), end in zip(grouped, ends, strict=True)
        if group
    ]
    body = [
        [rf"\textbf{{{text.translate(TEX)}}}" if best else text.translate(TEX) for text, best in row]
        for row in cells(table)
    ]
    align = "".join("l" if column.digits is None else "r" for column in table.columns)
    return "\n".join(
        [
            r"% \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{table.caption.translate(TEX)}}}",
            rf"  \label{{tab:pig-{table.number}}}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{align}}}",
            r"    \toprule",
            rf"    {' & '.join(over)} \\",
            f"    {' '.join(lines)}",
            rf"    {' & '.join(column.head.translate(TEX) for column in table.columns)} \\",
            r"    \midrule",
            *(rf"    {' & '.join(row)} \\" for row in body),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


FORMATS = {".csv": to_csv, ".json": to_json, ".md": to_markdown, ".tex": to_latex}
