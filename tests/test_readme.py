"""README: short, and what it says of results is what reports/ say."""

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


@pytest.mark.parametrize("folder", ["reports", "reports/busi"])
def test_each_score_of_the_table_is_in_the_csv(folder):
    column = list(readme.STUDIES.values()).index(folder)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in readme.table().splitlines()]
    dose = re.search(r"Dice, (\d+) pairs", lines[0][2])[1]
    with (
        open(ROOT / folder / "table1.csv", encoding="utf-8") as fidelity,
        open(ROOT / folder / "table2.csv", encoding="utf-8") as dice,
    ):
        fid = {row["method"]: row["fid"] for row in csv.DictReader(fidelity)}
        added = {row["added"]: row["dice"] for row in csv.DictReader(dice) if row["dose"] in ("0", dose)
                 and row["set"] not in ("augmented", "duplicated", "pig-leak")}  # fmt: skip
    assert len(lines) - 2 == len(fid)
    for name, *cells in lines[2:]:
        method = {"real slices alone": "Real (floor)"}.get(name, name.strip("*"))
        assert cells[2 * column].split(" ")[0] == f"{float(fid[method]):.1f}"
        shown = cells[2 * column + 1].split(" ")[0]
        assert shown == (f"{float(added[method]):.1f}" if method in added else "–")


CLOSER, COPIES = (
    "PIG's slices are closer to real ones than",
    "No more copies than by chance are among the pairs of",
)
FAR = "are as near to test patients as real slices are."
SAID = [  # of README, and the claims of the studies' pages that it is about: verdict on the phantom, on ultrasound
    ("closer to real ones than those of one joint network", f"{CLOSER} Joint's.", "hold", "fail"),
    ("not shown to differ from DDIM's", f"{CLOSER} DDIM's.", "leaves open", "fail"),
    ("on ultrasound they are farther away than both", f"{CLOSER} DDIM's.", "leaves open", "fail"),
    ("All are far from real.", FAR, "fail", "fail"),
    ("PIG's masks and slices belong together", "belong together.", "hold", "hold"),
    ("no more of its pairs than by chance repeat training pairs", COPIES, "hold", "hold"),
]


@pytest.mark.parametrize(("sentence", "claim", "phantom", "ultrasound"), SAID)
def test_what_it_says_of_results_is_a_finding_of_both_studies(sentence, claim, phantom, ultrasound):
    assert sentence in " ".join(PAGE.split())
    for folder, verdict in (("reports", phantom), ("reports/busi", ultrasound)):
        (found,) = [line for line in claims(folder, verdict).splitlines() if claim in line]
        assert "PIG" in found


@pytest.mark.parametrize("folder", ["reports", "reports/busi"])
def test_no_rise_of_dice_is_among_what_holds(folder):
    assert "No method's pairs are shown to raise Dice on either." in " ".join(PAGE.split())
    assert "raise Dice" not in claims(folder, "hold")


def claims(folder, verdict):
    """The section of a study's page with the claims of one verdict."""
    page = (ROOT / folder / "study.md").read_text(encoding="utf-8")
    sections = re.split(r"^### ", page, flags=re.MULTILINE)
    (found,) = [each for each in sections if re.match(rf"Claims that (this data )?{verdict}\b", each)]
    return found.split("\n## ")[0]


def test_the_printed_tree_names_every_entry_of_the_package():
    tree = re.search(r"^pig/ .*?(?=^```)", PAGE, re.MULTILINE | re.DOTALL)[0]
    first, *lines = tree.splitlines()
    printed = [*re.findall(r"[\w.]+\.\w+", first), *(line.split()[0].rstrip("/") for line in lines)]
    found = [path.name for path in (ROOT / "pig").iterdir() if path.name != "__pycache__"]
    assert sorted(printed) == sorted(found)


def test_it_stays_under_two_screens():
    assert len(PAGE.splitlines()) <= 100
    assert PAGE.count("![") == 1
    assert "\nmake study " in PAGE and "\nmake test " in PAGE
