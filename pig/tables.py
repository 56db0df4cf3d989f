"""Tables 1 and 2: scores in, rows and four forms of text out.

The paper's numbers are Zhang et al., MICCAI 2025, Tables 1 and 2, measured on their private data: they stand beside
ours to show the size of an effect, and are not to be compared with ours digit by digit.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pig.errors import InputError

SCORES = ["dice", "iou", "precision", "recall"]
NAMES = {"real": "Real (floor)", "ddpm": "DDPM", "ddim": "DDIM", "pig": "PIG"}
PAPER_FID = {"ddpm": 31.84, "ddim": 31.54, "pig": 15.88}
PAPER_REAL = (52.36, 41.60, 56.14, 56.81)  # DBTMassSeg alone: Dice, IoU, precision, recall in percent
PAPER_PIG = (  # + PIG_1024, + PIG_2048, + PIG_3072
    (56.52, 45.39, 59.86, 61.70),
    (60.54, 49.10, 62.92, 66.01),
    (59.14, 47.92, 60.65, 65.66),
)


def table1(scores: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Table 1, a row a set: set, method, n, reference_n, fid, kid, kid_std, paper_fid, extractor.

    scores: what `pig fidelity` wrote, one a set. KID is as measured, not times 1000. Raises InputError if they
    were not measured alike: another number of slices, reference or extractor in one row than in the others.
    """
    frame = pd.DataFrame([dict(score) for score in scores])
    for key in ("n", "reference_n", "reference_source", "extractor_sha256"):
        if frame[key].nunique() > 1:
            raise InputError(f"Table 1: expected one {key} in all rows; found {sorted(set(frame[key]))}")
    order = {name: place for place, name in enumerate(NAMES)}
    frame = frame.sort_values("set", key=lambda column: column.map(order), ignore_index=True)
    frame["method"] = frame["set"].map(NAMES).fillna(frame["set"])
    frame["paper_fid"] = frame["set"].map(PAPER_FID)
    return frame[["set", "method", "n", "reference_n", "fid", "kid", "kid_std", "paper_fid", "extractor"]]


def table2(scores: pd.DataFrame) -> pd.DataFrame:
    """Table 2, a row a training set: set, method, dose, images, folds, the four scores in percent, the paper's.

    scores: a row a test image, with set, dose, fold and the scores as shares. A score is the mean over the test
    images of a fold, then over folds, as in the paper.
    """
    by_fold = fold_means(scores)
    frame = by_fold.groupby(["dose", "set"], as_index=False).agg(
        images=("images", "sum"), folds=("fold", "nunique"), **{key: (key, "mean") for key in SCORES}
    )
    if frame["images"].nunique() > 1 or frame["folds"].nunique() > 1:
        raise InputError("Table 2: expected the same folds and test images in all rows; found different ones")
    doses = [dose for dose in frame["dose"] if dose]
    paper = {0: PAPER_REAL, **dict(zip(doses, PAPER_PIG, strict=False))}
    for place, key in enumerate(SCORES):
        frame[f"paper_{key}"] = [paper.get(dose, (None,) * 4)[place] for dose in frame["dose"]]
    frame["method"] = ["Real" if not dose else f"Real + {dose} of PIG" for dose in frame["dose"]]
    frame["set"] = ["real" if not dose else f"pig_{dose}" for dose in frame["dose"]]
    first = ["set", "method", "dose", "images", "folds", *SCORES]
    return frame[[*first, *(f"paper_{key}" for key in SCORES)]]


def fold_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Means over the test images of each fold, in percent: set, dose, fold, images and the four scores."""
    groups = scores.groupby(["set", "dose", "fold"], as_index=False)
    means = groups[SCORES].mean()
    means[SCORES] *= 100
    means["images"] = groups.size()["size"]
    return means


def caption1(table: pd.DataFrame, title: str) -> str:
    """What Table 1 is of, how it was measured, and what it cannot be compared with."""
    row = table.iloc[0]
    return (
        f"Table 1. {title} Distance of {row['n']} slices a row from {row['reference_n']} real slices of patients that "
        "no generator saw (test patients of fold 0). Real (floor): slices of the generators' own training patients, "
        "what a perfect generator would score at this n. FID with clean-fid's resizing, features of "
        f"{row['extractor']}; KID x 1000, mean and standard deviation over subsets. Lower is better. The paper's "
        "numbers are of its private data, 2,048 slices."
    )


def caption2(table: pd.DataFrame, title: str) -> str:
    """What Table 2 is of, how it was measured, and what it cannot be compared with."""
    row = table.iloc[0]
    return (
        f"Table 2. {title} Segmentation of {row['images']} test images, {row['folds']} folds by patient; generators were "
        "trained inside each fold, and every row's segmenter for the same number of steps. Percent: mean over the "
        "test images of a fold, then over folds. An image whose mask and prediction are both empty scores 1, one where only "
        "one is empty 0. One seed and no interval: small differences mean nothing. The paper's numbers (in "
        "brackets) are of its private data, at 1,024, 2,048 and 3,072 pairs."
    )


def cells1(table: pd.DataFrame) -> pd.DataFrame:
    """Table 1 as text."""
    return pd.DataFrame(
        {
            "Method": table["method"],
            "n": table["n"].astype(str),
            "FID": _best(table["fid"], table["set"] != "real", high=False),
            "KID x 1000": [
                f"{1000 * m:.1f} ± {1000 * s:.1f}"
                for m, s in zip(table["kid"], table["kid_std"], strict=True)
            ],
            "FID in the paper": ["-" if pd.isna(value) else f"{value:.2f}" for value in table["paper_fid"]],
        }
    )


def cells2(table: pd.DataFrame) -> pd.DataFrame:
    """Table 2 as text, the paper's numbers in brackets."""
    out = {"Training set": table["method"]}
    for key, name in zip(SCORES, ("Dice", "IoU", "Precision", "Recall"), strict=True):
        ours = _best(table[key], pd.Series(True, table.index), high=True)
        theirs = ["" if pd.isna(value) else f" ({value:.2f})" for value in table[f"paper_{key}"]]
        out[name] = pd.Series(ours) + pd.Series(theirs)
    return pd.DataFrame(out)


def _best(values: "pd.Series[float]", rivals: "pd.Series[bool]", high: bool) -> list[str]:
    """Two decimals, the best of the rivals in **bold**."""
    best = values[rivals].max() if high else values[rivals].min()
    return [
        f"**{v:.2f}**" if rival and v == best else f"{v:.2f}" for v, rival in zip(values, rivals, strict=True)
    ]


def markdown(cells: pd.DataFrame, caption: str) -> str:
    """A table that a person reads on a forge, its caption below."""
    lines: list[list[str]] = [
        [str(name) for name in cells],
        ["---", *["---:"] * (cells.shape[1] - 1)],
        *cells.to_numpy().tolist(),
    ]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + f"\n\n{caption}\n"


def latex(cells: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table for a paper."""
    body = "\n".join(
        " & ".join(_tex(str(cell)) for cell in row) + r" \\" for row in cells.to_numpy().tolist()
    )
    head = " & ".join(_tex(str(name)) for name in cells)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_tex(caption.split('. ', 1)[1])}}}\\label{{tab:{label}}}\n"
        f"\\begin{{tabular}}{{l{'r' * (cells.shape[1] - 1)}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\n"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _tex(text: str) -> str:
    for plain, escaped in (("%", r"\%"), ("_", r"\_"), ("±", r"$\pm$"), (" x ", r" $\times$ ")):
        text = text.replace(plain, escaped)
    if text.startswith("**"):
        bold, rest = text[2:].split("**", 1)
        text = rf"\textbf{{{bold}}}{rest}"
    return text


def metrics(table: pd.DataFrame, keys: Sequence[str]) -> str:
    """JSON for `dvc metrics`: {set: {key: number}}."""
    return (
        json.dumps({row["set"]: {key: row[key] for key in keys} for _, row in table.iterrows()}, indent=2)
        + "\n"
    )
