"""The command line: help for everyone, quickly; one line for a bad input, and one for what was done."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from pig.cli.main import ENVIRONMENT, STAGES, VERBS, main, parser
from pig.data.archive import read_archive, write_archive
from pig.data.phantom.phantom import phantom

ROOT = Path(__file__).parent.parent
STUDY = ["report", "--pairs", "p.zip", "--nets", "n", "--costs", "c", "--curves", "c.csv"]
STUDY += ["--out", "o.md", "o.html", "--profile-name", "smoke"]
HEAVY = {"torch", "numpy", "pandas", "matplotlib", "scipy", "cv2", "PIL", "cleanfid", "snakemake"}


def loaded_by(*words):
    """The modules of a process that shows a help."""
    script = "import sys\nfrom pig.cli.main import main\ntry:\n    main(sys.argv[1:])\n"
    script += "except SystemExit:\n    print(*sys.modules)"
    command = [sys.executable, "-c", script, *words, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return set(shown.splitlines()[-1].split())


def test_help_loads_no_heavy_library_and_a_verb_no_other():
    assert not HEAVY & loaded_by()
    verbs = {name for name in loaded_by("merge") if name.startswith("pig.cli.verbs.")}
    assert verbs == {"pig.cli.verbs.merge"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_alone_and_among_all(verb, capsys):
    shown = []
    for wanted in (verb, None):
        with pytest.raises(SystemExit):
            parser(wanted).parse_args([verb, "--help"])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and len(shown[0].split("\n\n")) > 2
    assert "--quiet" in shown[0] or verb == "import"  # whose kinds have it


def test_the_verbs_stand_by_stage_in_the_help_and_in_the_documentation(capsys):
    page = (ROOT / "docs/verbs.md").read_text(encoding="utf-8")
    sections = [section.splitlines() for section in page.split("\n## ")[1:]]
    found = {lines[0].lower(): re.findall(r"^\| `([\w-]+)` \|", "\n".join(lines), re.M) for lines in sections}
    assert found == STAGES
    modules = {path.stem.rstrip("_").replace("_", "-") for path in (ROOT / "pig/cli/verbs").glob("[a-z]*.py")}
    assert modules == set(VERBS)
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.err == "" and ENVIRONMENT in told.out
    assert [verb for verb in VERBS if f"  {verb}" not in told.out] == []


def test_every_variable_that_the_code_reads_is_in_the_help():
    text = "".join(path.read_text() for path in (ROOT / "pig").rglob("*.py"))
    assert set(re.findall(r"PIG_[A-Z]+", text)) == set(re.findall(r"PIG_[A-Z]+", ENVIRONMENT))


def test_every_argument_has_a_help_text():
    verbs = next(action for action in parser()._actions if action.choices).choices
    for verb, sub in verbs.items():
        for action in sub._actions:
            assert action.help or action.choices, (verb, action.dest)


@pytest.mark.parametrize(
    "arguments",
    [
        ["split", "--pairs", "missing.zip", "--out", "split.csv"],
        ["merge", "missing.zip", "--out", "all.zip", "-q"],  # errors are told however quiet
        ["sample", "pig", "--models", "missing.safetensors", "--count", "1", "--out", "out.zip"],
        ["import-official", "missing.pth", "--net", "guider", "--out", "net.safetensors"],
        ["copies", "--pairs", "missing.zip", "--split", "s.csv", "--fold", "0", "--out", "c.csv"],
        ["trts", "--models", "missing.safetensors", "--generated", "pig.zip", "--out", "t.csv"],
        ["features", "--pairs", "missing.zip", "--number", "4", "--crops", "c.npz", "--out", "f.npz"],
        ["tables", "--costs", "missing.json", "--out", "reports"],
        [*STUDY, "--tables", "missing/table1.csv"],
        [*STUDY, "--tables", "missing.csv"],
    ],
)
def test_a_missing_file_is_one_line_and_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if arguments[0] not in ("merge", "import-official", "copies"):
        arguments = [*arguments, "--params", str(ROOT / "params.yaml"), "--profile", "smoke"]
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and "missing" in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("trian", "mean train?"),
        ("train guidr", "mean guider?"),
        ("split --out x", "--pairs"),
        ("train a\x1b[2J", "a\\x1b[2J"),
    ],
    ids=ascii,
)
def test_a_mistake_is_one_line_that_says_what_may_have_been_meant(words, named, capsys):
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert end.value.code == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and shown[:-1].isprintable() and named in shown


# --- what was done


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The path of an archive of eight pairs; the settings' folder is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    pairs = phantom(4, ["CC"], 2, 16, 0)
    with (tmp_path / "pairs.zip").open("wb") as file:
        write_archive(file, pairs)
    return "pairs.zip"


def test_the_last_line_says_what_was_written_and_of_several_processes_the_first_says_it(
    archive, capsys, monkeypatch
):
    assert main(["merge", archive, "--out", "all.zip"]) == 0
    told = capsys.readouterr()
    assert told.out == "" and re.fullmatch(r"pig: .*8.*all\.zip \([\d.]+ kB\).*\n", told.err)
    assert main(["merge", archive, "--out", "all.zip", "--quiet"]) == 0
    monkeypatch.setenv("RANK", "1")
    assert main(["merge", archive, "--out", "all.zip"]) == 0
    assert capsys.readouterr() == ("", "")


def test_describe_prints_the_page_or_its_numbers(archive, capsys):
    assert main(["describe", archive]) == 0
    page = capsys.readouterr()
    assert page.err == "" and page.out.startswith("# ") and "![" not in page.out  # there is no picture
    assert main(["describe", archive, "--json"]) == 0
    told = capsys.readouterr()
    numbers = json.loads(told.out)
    assert told.err == "" and (numbers["pairs"], numbers["patients"], numbers["without_lesion"]) == (8, 4, 0)
    shares = 100 * read_archive(archive).masks.mean(axis=(1, 2))
    assert numbers["quantiles"]["lesion_percent"]["0.5"] == pytest.approx(np.median(shares))
    assert not re.search(r"p000\d", page.out + told.out)  # no patient, no id
    assert main(["describe", archive, "--json", "--out", "page.md"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == numbers and "page.md" in told.err


# --- ends that are no errors


@pytest.mark.parametrize("state", ["s.pt", "none"])
def test_ctrl_c_is_one_line_and_code_130(state, archive, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pig.cli.verbs.train.run", Mock(side_effect=KeyboardInterrupt))
    (tmp_path / "s.pt").touch()
    words = f"train guider --pairs {archive} --split s.csv --fold 0 --out n --curve c --state {state}"
    assert main(words.split()) == 130
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and (state in shown) == (state == "s.pt")


def test_a_reader_that_goes_away_is_no_error(archive):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pig", "describe", archive]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
