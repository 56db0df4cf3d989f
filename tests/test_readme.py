"""README: short, its table of results is that of reports/, and its tree that of pig/."""

import csv
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "docs/make"))
import readme

ROOT = readme.ROOT
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_table_is_that_of_the_reports():
    assert readme.BLOCK.search(PAGE)[0] == readme.table(), "run .venv/bin/python docs/make/readme.py"


def rows(folder, number):
    with open(ROOT / folder / f"table{number}.csv", encoding="utf-8") as table:
        return list(csv.DictReader(table))


@pytest.mark.parametrize("folder", ["reports", "reports/busi"])
def test_each_score_of_the_table_is_in_the_csv(folder):
    column = list(readme.STUDIES.values()).index(folder)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in readme.table().splitlines()]
    dose = re.search(r"Dice, (\d+) pairs", lines[0][2])[1]
    fid = {row["method"]: row["fid"] for row in rows(folder, 1)}
    added = {
        row["added"]: row["dice"]
        for row in rows(folder, 2)
        if row["dose"] in ("0", dose) and row["set"] not in ("augmented", "duplicated", "pig-leak")
    }
    real = {"real slices alone": "Real (floor)"}
    names = [real.get(name, name.strip("*")) for name, *_ in lines[2:]]
    every = {row["method"] for each in readme.STUDIES.values() for row in rows(each, 1)}
    assert set(names) == every and len(names) == len(every)
    for method, (_, *cells) in zip(names, lines[2:], strict=True):
        scored = f"{float(fid[method]):.1f}" if method in fid else "–"  # a row that this study has not
        assert cells[2 * column].split(" ")[0] == scored
        shown = cells[2 * column + 1].split(" ")[0]
        assert shown == (f"{float(added[method]):.1f}" if method in added else "–")


def test_the_printed_tree_names_every_entry_of_the_package():
    tree = re.search(r"^pig/ .*?(?=^```)", PAGE, re.MULTILINE | re.DOTALL)[0]
    first, *lines = tree.splitlines()
    printed = [*re.findall(r"[\w.]+\.\w+", first), *(line.split()[0].rstrip("/") for line in lines)]
    found = [path.name for path in (ROOT / "pig").iterdir() if path.name != "__pycache__"]
    assert sorted(printed) == sorted(found)


def test_it_stays_under_two_screens():
    assert len(PAGE.splitlines()) <= 100
