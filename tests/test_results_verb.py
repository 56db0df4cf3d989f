"""What `make study` ends with: the numbers of Tables 1 and 2, as those tables round them."""

import io
import json
import re

import pandas as pd
import pytest
from kinds import filled

from pig.cli.main import main
from pig.report.evidence import LAYOUTS

TABLE1 = """row,method,fid,fid_low,fid_high
real,Real (floor),10.0,9.0,11.04
pig,PIG,20.0,19.0,21.0
ddpm,DDPM,30.0,29.0,31.0
"""
TABLE2 = """row,set,dose,dice,dice_low,dice_high,gain,gain_low,gain_high
real,real,0,70.0,69.0,71.0,,,
pig_40,pig,40,60.0,59.0,61.0,-10,-11,-9
pig_80,pig,80,69.96,69.0,71.0,-0.04,-1.0,1.0
pig-leak_80,pig-leak,80,99,99,99,29,29,29
"""


@pytest.fixture
def study(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((request.config.rootpath / "params.yaml").read_bytes())
    (tmp_path / "reports").mkdir()
    for number, text in ((1, TABLE1), (2, TABLE2)):
        frame = filled(LAYOUTS[number].kind, pd.read_csv(io.StringIO(text)))
        frame.to_csv(tmp_path / f"reports/table{number}.csv", index=False)
    return tmp_path


def test_a_row_a_method_with_its_largest_dose(study, capsys):
    assert main(["results"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    _, *rows, last = (re.split(r"  +", line) for line in told.out.splitlines())
    assert rows == [
        ["Real (floor)", "-", "10.0 [9.0, 11.0]", "70.0 [69.0, 71.0]", "-"],
        ["PIG", "80", "20.0 [19.0, 21.0]", "70.0 [69.0, 71.0]", "0.0 [-1.0, 1.0]"],
        ["DDPM", "-", "30.0 [29.0, 31.0]", "-", "-"],
    ]
    assert "reports/study.md" in last[0]
    assert main(["results", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_json_has_them_in_full(study, capsys):
    assert main(["results", "--json"]) == 0
    real, pig, ddpm = json.loads(capsys.readouterr().out)
    assert pig == {"row": "pig", "method": "PIG", "pairs_added": 80, "fid": [20, 19, 21],
                   "dice": [69.96, 69, 71], "dice_to_real": [-0.04, -1, 1]}  # fmt: skip
    assert real["pairs_added"] is ddpm["dice"] is real["dice_to_real"] is None


def test_what_is_missing_is_one_line(study, capsys):
    path = study / "reports/table2.csv"
    path.write_text("row,set\nreal,real\n")
    for spoil in (lambda: None, path.unlink):
        spoil()
        assert main(["results"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "reports/table2.csv" in line


@pytest.mark.parametrize("profile", ["demo", "busi"])
def test_the_numbers_are_those_of_the_committed_tables(profile, capsys, request):
    root = request.config.rootpath
    assert main(["results", "--params", str(root / "params.yaml"), "--profile", profile]) == 0
    folder = root / ("reports" if profile == "demo" else "reports/busi")
    tables = [(folder / f"table{number}.md").read_text().replace("*", "") for number in (1, 2)]
    _, *rows, _ = capsys.readouterr().out.splitlines()
    assert len(rows) > 2
    for row in rows:
        method, added, *numbers = re.split(r"  +", row)
        fid, *overlap = numbers
        line = next(line for line in tables[0].splitlines() if line.startswith(f"| {method} "))
        assert f" {fid} |" in line
        name = f"Real + {added} {method}" if added != "-" else "Real"
        line = next(line for line in tables[1].splitlines() if line.startswith(f"| {name} "))
        assert all(f" {number} |" in line.replace("†", "") for number in overlap if number != "-")
