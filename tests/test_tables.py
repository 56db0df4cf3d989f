"""How tables are written: numbers that survive, bold where the best is, LaTeX that is well formed."""

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pig.core.errors import InputError
from pig.report.evidence import LAYOUTS
from pig.report.formats import TEX, Column, Layout, Table, cells, to_csv, to_json, to_latex, to_markdown

FRAME = pd.DataFrame(
    {
        "row": ["floor", "a_1", "b", "c"],
        "label": ["Floor", "A & 50 %", "B", "C {†}"],
        "n": [20, 20, 20, 20.0],
        "score": [-0.04, 1 / 3, 0.2, np.nan],
        "score_low": [0.5, 0.25, np.nan, np.nan],
        "score_high": [1.5, 0.5, np.nan, np.nan],
        "sign": ["", "*†", "*", ""],
        "theirs": [np.nan, 3.25, 1.5, np.nan],
    }
)
COLUMNS = (
    Column("label", "What ↓"),
    Column("n", "n", 0),
    Column("score", "Score × 2 ↑", 1, "high", interval=True, mark="sign"),
    Column("theirs", "Δ ∞", 2, "low", group="Paper"),
)
LAYOUT = Layout(7, COLUMNS, ("score", "theirs"), apart="floor")
TABLE = Table(LAYOUT, FRAME, "About 50 % of a_1 ± 2 < 3 † − ∞.")


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_intervals_marks_and_dashes():
    body = rows_of(to_markdown(TABLE))[2:]
    assert [row[2] for row in body] == ["0.0 [0.5, 1.5]", "**0.3 [0.2, 0.5]*†**", "0.2*", "–"]
    assert [row[3] for row in body] == ["–", "3.25", "**1.50**", "–"]


def test_a_column_that_may_be_empty_is_shown_where_a_row_has_it():
    layout = replace(LAYOUT, columns=tuple(replace(column, optional=True) for column in COLUMNS))
    shown = Table(layout, FRAME.assign(score=np.nan), "").columns
    assert [column.key for column in shown] == ["label", "n", "theirs"]


@pytest.mark.parametrize("folder", ["reports", "reports/busi"])
@pytest.mark.parametrize("number", LAYOUTS)
def test_a_table_is_read_from_its_csv_as_it_was_shown(folder, number, request):
    path = request.config.rootpath / f"{folder}/table{number}.csv"
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    assert to_markdown(LAYOUTS[number].read(path)) == text


def test_what_is_no_table_is_named(tmp_path, request):
    path = request.config.rootpath / "reports/table2.csv"
    with pytest.raises(InputError, match="table1"):
        LAYOUTS[1].read(shutil.copy(path, tmp_path / "table1.csv"))
    shutil.copy(path, tmp_path)
    (tmp_path / "table2.md").write_text("| a |\n| - |\n| 1 |\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"table2\.md"):
        LAYOUTS[2].read(tmp_path / "table2.csv")
    for column in LAYOUTS[2].kind.names:
        pd.read_csv(path).drop(columns=column).to_csv(tmp_path / "table2.csv", index=False)
        with pytest.raises(InputError, match=column):
            LAYOUTS[2].kind.read(tmp_path / "table2.csv")


@pytest.mark.parametrize("table", [TABLE])
class TestFormats:
    def test_csv_and_json_keep_every_digit(self, table):
        read = {line["row"]: line for line in csv.DictReader(io.StringIO(to_csv(table)))}
        metrics = json.loads(to_json(table))
        assert list(metrics) == list(read)
        for row, numbers in metrics.items():
            expected = table.frame.set_index("row").loc[row]
            assert list(numbers) == [key for key in table.layout.metrics if not np.isnan(expected[key])]
            assert all(read[row][key] == "" for key in set(table.layout.metrics) - set(numbers))
            for key, number in numbers.items():
                assert number == float(read[row][key]) == expected[key]

    def test_each_bold_number_is_the_best_of_its_column(self, table):
        shown = cells(table)
        for i, column in enumerate(table.columns):
            bold = [row for row, line in enumerate(shown) if line[i][1]]
            assert len(bold) == (1 if column.best else 0)
            if bold:
                rivals = table.frame.loc[table.frame["row"] != "floor", column.key].dropna()
                best = rivals.min() if column.best == "low" else rivals.max()
                assert table.frame.loc[bold[0], column.key] == best

    def test_a_tie_of_all_has_no_best(self, table):
        flat = replace(table, frame=table.frame.assign(score=0.0))
        assert not any(row[2][1] for row in cells(flat))

    def test_markdown_has_one_cell_a_column(self, table):
        widths = {len(row) for row in rows_of(to_markdown(table))}
        assert widths == {len(table.columns)}
        assert to_markdown(table).splitlines()[-1].startswith(f"**Table {table.layout.number}.** ")

    def test_latex_is_well_formed(self, table):
        text = to_latex(table)
        assert text.isascii()
        bare = re.sub(r"(?<!\\)%.*", "", text).replace(r"\\", "")  # without comments and ends of rows
        assert len(re.findall(r"(?<!\\)\{", bare)) == len(re.findall(r"(?<!\\)\}", bare))
        assert len(re.findall(r"(?<!\\)\$", bare)) % 2 == 0
        assert not re.search(r"(?<!\\)[#_^~]", bare)
        ends = re.findall(r"\\(begin|end)\{(\w+)\}", bare)
        assert ends == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) == any(column.group for column in table.columns) + 1 + len(table.frame)
        for row in rows:
            spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
            cells_of_row = len(re.findall(r"(?<!\\)&", row)) + 1
            assert cells_of_row + sum(spans) - len(spans) == len(table.columns)

    @pytest.mark.skipif(
        shutil.which("pdflatex") is None, reason="needs pdflatex, of texlive-latex-recommended"
    )
    def test_latex_compiles_and_fits_the_page(self, table, tmp_path):
        (tmp_path / "table.tex").write_text(to_latex(table), encoding="utf-8")
        used = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{table}\end{document}"
        (tmp_path / "all.tex").write_text(used, encoding="utf-8")
        run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "Overfull" not in done.stdout


def test_latex_has_minus_signs_and_keeps_hyphens():
    frame = pd.DataFrame({"row": ["of 2015-12-05, x-1"], "delta": [-1.25]})
    frame = frame.assign(delta_low=-2.0, delta_high=0.5)
    columns = (Column("row", "Row"), Column("delta", "Delta", 2, interval=True))
    text = to_latex(Table(Layout(1, columns, ("delta",)), frame, "few-shot"))
    assert r"of 2015-12-05, x-1 & $-$1.25 [$-$2.00, 0.50] \\" in text
    assert r"\caption{few-shot}" in text
    assert "multicolumn" not in text  # no line of groups where there are none


def test_latex_escapes_what_is_special():
    assert r"a_b & 50% #1 {x} \y ~ ^ $".translate(TEX) == (
        r"a\_b \& 50\% \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \$"
    )
