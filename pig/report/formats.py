"""A table for programs and people: one tidy frame -> csv, metrics json, markdown and LaTeX.

Frames hold numbers in full precision; rounding, intervals in brackets and bold are for the eye only.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import pandas as pd

from pig.core.errors import InputError
from pig.core.reading import Kind, read_text

SPAN = ("", "_low", "_high")  # ends of the columns of a number with its interval
ROW = Kind(("row",))


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
    optional: bool = False  # not shown where no row has it

    @property
    def keys(self) -> tuple[str, ...]:
        """Its columns in the csv file."""
        return tuple(f"{self.key}{end}" for end in SPAN) if self.interval else (self.key,)


@dataclass(frozen=True)
class Layout:
    """One of the tables: the columns of its csv file and how they are shown, for its writer and its readers."""

    number: int
    columns: tuple[Column, ...]
    metrics: tuple[str, ...]  # columns that `dvc metrics` compares
    apart: str = "real"  # names of rows that are never the best, as a regular expression
    more: Kind = ROW  # columns of the csv file that are not shown

    @property
    def kind(self) -> Kind:
        """The csv file. Of texts only the first, the label, is there in every row."""
        label, *others = self.columns
        numbers = [key for column in others if column.digits is not None for key in column.keys]
        blanks = [column.key for column in others if column.digits is None]
        marks = [column.mark for column in others if column.mark]
        own = Kind((label.key,), (), tuple(numbers), (*blanks, *marks))
        return Kind(*(a + b for a, b in zip(self.more, own, strict=True)))

    def read(self, path: str | Path) -> "Table":
        """The table whose csv file is at `path`; its caption stands in the md file beside it. Raises InputError."""
        frame, beside = self.kind.read(path), Path(path).with_suffix(".md")
        _, head, caption = read_text(beside).rpartition(f"**Table {self.number}.** ")
        if not head:
            raise InputError(f"{beside}: expected a table and its caption, as `pig tables` writes them")
        return Table(self, frame, caption.strip())


@dataclass(frozen=True)
class Table:
    """A frame, how to show it, and what a reader must know."""

    layout: Layout
    frame: pd.DataFrame  # its column "row" names the rows
    caption: str

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those that are shown."""
        shown = self.frame.notna().any()
        return tuple(column for column in self.layout.columns if shown[column.key] or not column.optional)


# --- for programs ---


def to_csv(table: Table) -> str:
    """The whole frame, every digit."""
    return table.frame.to_csv(index=False, lineterminator="\n")


def to_json(table: Table) -> str:
    """{row: {metric: number}}, for `dvc metrics show` and `diff`; a number that is not there is left out."""
    numbers = table.frame.set_index("row")[list(table.layout.metrics)]
    rows = {
        row: {key: value for key, value in of.items() if pd.notna(value)} for row, of in numbers.iterrows()
    }
    return json.dumps(rows, indent=2) + "\n"


# --- for people ---


def cells(table: Table) -> list[list[tuple[str, bool]]]:
    """(text, is the best) of each row and column; a dash where there is no number."""
    shown = []
    competes = ~table.frame["row"].str.fullmatch(table.layout.apart)
    for column in table.columns:
        values = table.frame[column.key]
        ranked = values[competes].dropna() if column.best else values.iloc[:0]
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
    ends = [row[key] for key in column.keys[1:]]
    if ends and not any(map(pd.isna, ends)):
        text += " [" + ", ".join(_fixed(end, digits or 0) for end in ends) + "]"
    marks = row[column.mark] if column.mark else ""
    return text + ("" if pd.isna(marks) else marks)


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
    caption = f"**Table {table.layout.number}.** {table.caption}"
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


def groups(table: Table) -> list[tuple[str, int]]:
    """The heads over the heads, "" for none, and over how many neighbours each stands."""
    return [(group, len(list(run))) for group, run in groupby(column.group for column in table.columns)]


def to_latex(table: Table) -> str:
    r"""A floating table for \input, no wider than a line; it needs the packages booktabs and graphicx."""
    grouped = groups(table)
    ends = list(accumulate(n for _, n in grouped))
    over = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{_tex(group)}}}" for group, n in grouped)
    lines = " ".join(
        rf"\cmidrule(lr){{{end - n + 1}-{end}}}"
        for (group, n), end in zip(grouped, ends, strict=True)
        if group
    )
    heads = [rf"    {over} \\", f"    {lines}"] if lines else []
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
            rf"  \label{{tab:pig-{table.layout.number}}}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{align}}}",
            r"    \toprule",
            *heads,
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
