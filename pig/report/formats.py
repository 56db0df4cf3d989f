"""A table for programs and people: one tidy frame -> csv, metrics json, markdown and LaTeX.

Frames hold numbers in full precision; rounding, intervals in brackets and bold are for the eye only.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Column:
    """How one column of a frame is shown."""

    key: str
    head: str
    digits: int | None = None  # after the point; None: as it is
    best: str = ""  # "low" or "high": the best of the rows that compete is bold
    interval: bool = False  # whether KEY_low and KEY_high are shown behind it
    mark: str = ""  # key of the signs to show behind all
    group: str = ""  # a head over the heads of neighbours


@dataclass(frozen=True)
class Table:
    """A frame, how to show it, and what a reader must know."""

    number: int
    frame: pd.DataFrame  # its column "row" names the rows, "competes" says which may be best
    columns: tuple[Column, ...]
    metrics: tuple[str, ...]  # columns that `dvc metrics` compares
    caption: str


# --- for programs ---


def to_csv(table: Table) -> str:
    """The whole frame, every digit."""
    return table.frame.drop(columns="competes").to_csv(index=False, lineterminator="\n")


def to_json(table: Table) -> str:
    """{row: {metric: number}}, for `dvc metrics show` and `diff`; a number that is not there is left out."""
    numbers = table.frame.set_index("row")[list(table.metrics)]
    rows = {
        row: {key: value for key, value in of.items() if pd.notna(value)} for row, of in numbers.iterrows()
    }
    return json.dumps(rows, indent=2) + "\n"


# --- for people ---


def cells(table: Table) -> list[list[tuple[str, bool]]]:
    """(text, is the best) of each row and column; a dash where there is no number."""
    shown = []
    for column in table.columns:
        values = table.frame[column.key]
        ranked = values[table.frame["competes"]].dropna() if column.best else values.iloc[:0]
        tie = ranked.nunique() < 2 < len(ranked)  # nothing to tell apart
        best = (ranked.min() if column.best == "low" else ranked.max()) if len(ranked) and not tie else None
        shown.append(
            [
                (_cell(row, column), best is not None and index in ranked.index and row[column.key] == best)
                for index, row in table.frame.iterrows()
            ]
        )
    return [list(row) for row in zip(*shown, strict=True)]


def _cell(row: "pd.Series[Any]", column: Column) -> str:
    value, digits = row[column.key], column.digits
    if pd.isna(value) or value == "":
        return "–"
    text = str(value) if digits is None else _fixed(value, digits)
    ends = [row[f"{column.key}_{end}"] for end in ("low", "high")] if column.interval else []
    if ends and not any(map(pd.isna, ends)):
        text += " [" + ", ".join(_fixed(end, digits or 0) for end in ends) + "]"
    return text + (row[column.mark] if column.mark else "")


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.0


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
    | {"†": r"$\dagger$", "∞": r"$\infty$", "Δ": r"$\Delta$", "−": "$-$"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--"}
    | {"<": "$<$", ">": "$>$", "×": r"$\times$", "±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$"}
)


def _tex(text: str) -> str:
    """With what is special to TeX escaped, and minus signs, which are hyphens in text, as such."""
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", text.translate(TEX))


def to_latex(table: Table) -> str:
    r"""A floating table for \input, no wider than a line; it needs the packages booktabs and graphicx."""
    grouped = [(group, len(list(run))) for group, run in groupby(column.group for column in table.columns)]
    ends = list(accumulate(n for _, n in grouped))
    over = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{_tex(group)}}}" for group, n in grouped)
    lines = " ".join(
        rf"\cmidrule(lr){{{end - n + 1}-{end}}}"
        for (group, n), end in zip(grouped, ends, strict=True)
        if group
    )
    groups = [rf"    {over} \\", f"    {lines}"] if lines else []
    body = [
        [rf"\textbf{{{_tex(text)}}}" if best else _tex(text) for text, best in row] for row in cells(table)
    ]
    align = "".join("l" if column.digits is None else "r" for column in table.columns)
    return "\n".join(
        [
            r"% \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            r"  \centering",
            r"  \setlength{\abovecaptionskip}{0pt}\setlength{\belowcaptionskip}{6pt}",
            rf"  \caption{{{_tex(table.caption)}}}",
            rf"  \label{{tab:pig-{table.number}}}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{align}}}",
            r"    \toprule",
            *groups,
            rf"    {' & '.join(_tex(column.head) for column in table.columns)} \\",
            r"    \midrule",
            *(rf"    {' & '.join(row)} \\" for row in body),
            r"    \bottomrule",
            r"  \end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


FORMATS = {".csv": to_csv, ".json": to_json, ".md": to_markdown, ".tex": to_latex}
