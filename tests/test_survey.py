"""The page of a data set: its numbers are those of the pairs, and it names nobody."""

import re

import numpy as np
import pandas as pd
import pytest

from pig.cli.main import main
from pig.data.archive import write_archive
from pig.data.pairs import Pairs
from pig.report import figures
from pig.report.survey import counts, lesions, of_patients, page


@pytest.fixture
def some() -> Pairs:
    """Six pairs (20, 20) of three patients: squares of 1 to 5 pixels' side at 153 on 102, and one empty mask."""
    images, masks = np.full((6, 20, 20), 102, np.uint8), np.zeros((6, 20, 20), bool)
    for i in range(1, 6):
        masks[i, 5 : 5 + i, 5 : 5 + i] = True
    images[masks] = 153
    table = pd.DataFrame(
        {"id": [f"name{i}" for i in range(6)], "patient": [f"who{i // 3 + (i == 5)}" for i in range(6)]}
    )
    table = table.assign(view=["CC", "MLO"] * 3, slice="", origin="inbreast", seed="", side="L")
    return Pairs(images, masks, table)


def test_lesions_are_measured_in_closed_form(some):
    found = lesions(some, 0.1)
    np.testing.assert_allclose(found["area"], [100 * i * i / 400 for i in range(1, 6)])
    np.testing.assert_allclose(found["contrast"], 51 / 127.5)
    assert len(lesions(Pairs(some.images, None, some.table), 0.1)) == 0


def test_pairs_and_patients_are_counted(some):
    assert list(of_patients(some)) == [1, 2, 3]
    rows = [tuple(row) for row in counts(some).itertuples(index=False)]
    assert rows == [("inbreast CC L", 3, 2), ("inbreast MLO L", 3, 3), ("all", 6, 3)]
    bare = Pairs(some.images, None, some.table.assign(view="", origin="", side=""))
    assert counts(bare).to_numpy().tolist() == [["all", 6, 3]]


def test_generated_pairs_are_of_no_patient(some):
    table = some.table.assign(patient=["", "", "", "", "who0", "who1"], origin=["pig"] * 4 + ["inbreast"] * 2)
    both = Pairs(some.images, some.masks, table.assign(view="", side=""))
    assert list(of_patients(both)) == [1, 1]
    assert counts(both).to_numpy().tolist() == [["inbreast", 2, 2], ["pig", 4, 0], ["all", 6, 2]]
    drawn = Pairs(both.images[:4], both.masks[:4], both.table[:4])
    assert "4 pairs of 20x20 pixels, 0 patients" in page(drawn, 0.1)
    assert "| pairs of a patient | - |" in page(drawn, 0.1)
    assert figures.to_png(figures.survey(of_patients(drawn), lesions(drawn, 0.1)), 50)


def test_the_page_has_the_numbers_and_no_id(some, tmp_path):
    text = page(some, 0.1, "page.png")
    assert "6 pairs of 20x20 pixels, 3 patients, 1 pairs without a lesion." in text
    assert "| inbreast MLO L | 3 | 3 |" in text
    assert "| pairs of a patient | 1 | 1 | 2 | 2 | 2 | 3 | 3 |" in text
    assert "| lesion, % of the image | 0.25 |" in text
    assert "![Pairs of a patient, area and contrast of lesions](page.png)" in text
    assert not re.search(r"name\d|who\d", text)
    empty = page(Pairs(some.images, None, some.table), 0.1, "p.png")
    assert "| contrast | - | - |" in empty


def test_histograms_count_everything(some):
    drawn = figures.survey(of_patients(some), lesions(some, 0.1))
    counted = [sum(bar.get_height() for bar in axes.patches) for axes in drawn.axes]
    assert counted == [3, 5, 5]
    nothing = figures.survey(of_patients(some), lesions(Pairs(some.images, None, some.table), 0.1))
    assert figures.to_png(nothing, 50)


def test_the_verb_writes_the_page_and_its_picture(some, tmp_path, capsys):
    with (tmp_path / "a.zip").open("wb") as file:
        write_archive(file, some)
    for name in ("page", "again"):
        assert main(["describe", str(tmp_path / "a.zip"), "--out", str(tmp_path / f"{name}.md")]) == 0
    assert (tmp_path / "page.md").read_text() == (tmp_path / "again.md").read_text().replace("again", "page")
    assert (tmp_path / "page.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert main(["describe", str(tmp_path / "a.zip"), "--out", str(tmp_path / "page.txt")]) == 2
    assert "expected a name that ends in .md" in capsys.readouterr().err
