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

# Zhang et al., MICCAI 2025, on their private DBTMassSeg (367 patients, 8,723 slices of 512x512): Table 1, FID of
# 2,048 slices; Table 2, percent, means over five folds.
PAPER_FID = {"ddpm": 31.84, "ddim": 31.54, "pig": 15.88}
PAPER_OVERLAP = {
    "DBTMassSeg": {"dice": 52.36, "iou": 41.60, "precision": 56.14, "recall": 56.81},
    "+ PIG_1024": {"dice": 56.52, "iou": 45.39, "precision": 59.86, "recall": 61.70},
    "+ PIG_2048": {"dice": 60.54, "iou": 49.10, "precision": 62.92, "recall": 66.01},
    "+ PIG_3072": {"dice": 59.14, "iou": 47.92, "precision": 60.65, "recall": 65.66},
}
NOT_COMPARABLE = "other, private data ({source}), not comparable with ours"

METHODS = {"real": "Real (floor)", "ddpm": "DDPM", "ddim": "DDIM", "pig": "PIG"}  # in the order of the rows
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
    Column("steps", "Steps", 0),
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


def table1(scores: Sequence[Mapping[str, Any]], steps: Mapping[str, int], title: str = "") -> Table:
    """Table 1: how close each method's slices are to real ones, and the floor.

    Args:
        scores: one mapping a set, with FIDELITY_KEYS, as `pig fidelity` writes them.
        steps: sampling steps by set, where known.
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
    if len(by_set) < len(scores) or not by_set.keys() <= METHODS.keys() or "real" not in by_set:
        found = ", ".join(str(score["set"]) for score in scores)
        raise InputError(f"table 1: expected real, and {', '.join(METHODS)} once at most; found {found}")
    same = ("extractor", "reference_n", "reference_source", "kid_subsets")
    for key in same:
        if len(values := {str(score.get(key)) for score in scores}) > 1:
            raise InputError(f"table 1: expected one {key} for all sets; found {', '.join(sorted(values))}")
    rows = [
        {
            "row": name,
            "method": label,
            "competes": name != "real",
            "steps": steps.get(name),
            "n": by_set[name]["n"],
            "reference_n": by_set[name]["reference_n"],
            "fid": by_set[name]["fid"],
            "kid_x1000": 1000 * by_set[name]["kid"],
            "kid_x1000_sd": 1000 * by_set[name]["kid_std"],
            "paper_fid": PAPER_FID.get(name),
        }
        for name, label in METHODS.items()
        if name in by_set
    ]
    frame = pd.DataFrame(rows).astype({"steps": "Int64", "paper_fid": float})
    columns = tuple(column for column in TABLE_1 if steps or column.key != "steps")
    return Table(1, frame, columns, ("fid", "kid_x1000"), _caption_1(scores[0], frame, title))


def _caption_1(score: Mapping[str, Any], frame: pd.DataFrame, title: str) -> str:
    unequal = "" if frame["n"].nunique() == 1 else " Here n differs between rows."
    return _sentences(
        title,
        f"Distance of n slices from {score['reference_n']} real slices of test patients (lower is closer)",
        f"features: {score['extractor']}",
        f"KID: mean ± standard deviation over {score['kid_subsets']} subsets of {score['kid_subset_size']}",
        "Real (floor): real slices of the generators' training patients against the same reference, about the least "
        "that a generator can reach at this n; both distances depend on n, so numbers of another n mean nothing here."
        + unequal,
        f"The paper's FID is of 2,048 slices of {NOT_COMPARABLE.format(source='Zhang et al., MICCAI 2025, Table 1')}",
    )


def table2(scores: pd.DataFrame, steps: int | None = None, title: str = "") -> Table:
    """Table 2: how well a segmenter does that was trained on real pairs, without and with generated ones.

    Args:
        scores: one row a test image, fold and training set, with OVERLAP_KEYS, as `pig segment` writes them.
        steps: optimiser steps of each segmenter, for the caption.
        title: what data and profile the numbers are of.

    Returns:
        Percent; means over the test images of a fold, then over folds. The paper's rows stand beside ours in the
        order of the doses, if there are as many.

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
    generated = [key for key in means.index if key[0] > 0]
    theirs: list[str] = list(PAPER_OVERLAP)[1:]
    paper = dict(zip(generated, theirs, strict=True)) if len(generated) == len(theirs) else {}
    paper |= {key: "DBTMassSeg" for key in means.index if key == (0, "real")}
    rows = [
        {
            "row": f"{name}_{dose}" if dose else name,
            "training_set": f"Real + {dose} {METHODS.get(name, name)}" if dose else "Real",
            "competes": True,
            "set": name,
            "dose": dose,
            "test_images": len(expected),
            "folds": len({fold for fold, _ in expected}),
            **means.loc[(dose, name)].to_dict(),
            "paper_row": paper.get((dose, name), ""),
            **{
                f"paper_{key}": PAPER_OVERLAP.get(paper.get((dose, name), ""), {}).get(key) for key in OVERLAP
            },
        }
        for dose, name in means.index
    ]
    frame = pd.DataFrame(rows).astype({f"paper_{key}": float for key in OVERLAP})
    empty = int(scores[scores["dose"] == first[0]]["empty"].sum())
    return Table(2, frame, TABLE_2, tuple(OVERLAP), _caption_2(len(expected), empty, steps, title))


def _caption_2(images: int, empty: int, steps: int | None, title: str) -> str:
    length = f", each of {steps} optimiser steps whatever the set" if steps else ""
    return _sentences(
        title,
        f"Lesion segmentation by a U-Net trained on real pairs, or on real and generated ones{length}",
        "Percent; means over the test images of a fold, then over folds",
        f"An image without lesion scores 100 if nothing is predicted and 0 otherwise ({empty} of {images} images); a "
        "lesion of which nothing is predicted scores 0, precision too",
        f"The paper's numbers are of {NOT_COMPARABLE.format(source='Zhang et al., MICCAI 2025, Table 2, five folds')}; "
        "its rows stand beside ours in the order of the doses",
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
