"""The command line: help for everyone, quickly; one line for a bad input, and one for what was done."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pig.cli.main import ENVIRONMENT, GROUPS, VERBS, main, parser
from pig.cli.verbs.segment import _told as told_by_segment
from pig.core.params import load, to_json
from pig.data.archive import write_archive
from pig.data.pairs import Pairs
from pig.models.table import Params

ENDS = ("csv", "json", "md", "tex")
STUDY = ["report", "--pairs", "p.zip", "--nets", "n", "--costs", "c", "--curves", "c.csv"]
STUDY += ["--out", "o.md", "o.html", "--profile-name", "smoke"]
HEAVY = "{'torch', 'numpy', 'pandas', 'matplotlib', 'scipy', 'cv2', 'PIL', 'cleanfid', 'snakemake'}"


def test_help_loads_no_heavy_library():
    script = (
        "import sys\nfrom pig.cli.main import main\ntry:\n    main(['--help'])\n"
        f"except SystemExit:\n    print('loaded:', *{HEAVY} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "loaded:"
    for verb in VERBS:
        assert re.search(rf"^    {verb}\s", shown.stdout, re.MULTILINE), verb


def test_a_verb_imports_no_other():
    script = (
        "import sys\nfrom pig.cli.main import main\ntry:\n    main(['merge', '--help'])\n"
        "except SystemExit:\n    print('loaded:', *sorted(m for m in sys.modules if m.startswith('pig.cli.verbs.')))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "loaded: pig.cli.verbs.merge"


def test_a_verb_alone_has_the_help_that_it_has_among_all(capsys):
    for verb in VERBS:
        shown = []
        for wanted in (verb, None):
            with pytest.raises(SystemExit):
                parser(wanted).parse_args([verb, "--help"])
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert len(shown.split("\n\n")) > 2
    assert "--out" in shown or verb in ("results", "doctor")  # which write nothing
    assert "--quiet" in shown or verb == "import"  # whose kinds have it


def test_help_names_groups_exit_codes_and_the_environment(capsys):
    assert list(GROUPS) == [verb for verb in VERBS if verb in GROUPS]
    assert next(iter(VERBS)) in GROUPS  # so that every verb stands under a heading
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    for verb, heading in GROUPS.items():
        assert lines[lines.index(f"  {heading}") + 1].split()[0] == verb
    assert shown.endswith(ENVIRONMENT + "\n")


def test_every_variable_that_the_code_reads_is_in_the_help():
    package = Path(sys.modules["pig"].__file__).parent
    read = {name for path in package.rglob("*.py") for name in re.findall(r"PIG_[A-Z]+", path.read_text())}
    assert read == set(re.findall(r"PIG_[A-Z]+", ENVIRONMENT))


def test_no_verb_is_help(capsys):
    assert main([]) == 2
    told = capsys.readouterr()
    assert "train and sample:" in told.out and told.err == ""


def verbs():
    return next(action for action in parser()._actions if action.choices).choices


def test_every_argument_has_a_help_text():
    for verb, sub in verbs().items():
        for action in sub._actions:
            assert action.help or action.choices, (verb, action.dest)


@pytest.mark.parametrize(
    "arguments",
    [
        ["split", "--pairs", "missing.zip", "--out", "split.csv"],
        ["merge", "missing.zip", "--out", "all.zip"],
        ["sample", "pig", "--models", "missing.safetensors", "--count", "1", "--out", "out.zip"],
        ["import-official", "missing.pth", "--net", "guider", "--out", "net.safetensors"],
        ["copies", "--pairs", "missing.zip", "--split", "s.csv", "--fold", "0", "--out", "c.csv"],
        ["trts", "--models", "missing.safetensors", "--generated", "pig.zip", "--out", "t.csv"],
        ["features", "--pairs", "missing.zip", "--number", "4", "--crops", "--out", "f.npz"],
        ["tables", "5", "--scores", "missing.json", *f"--out {' '.join('t.' + e for e in ENDS)}".split()],
        [*STUDY, "--tables", "missing/table1.csv"],
        [*STUDY, "--tables", "missing.csv"],
    ],
)
def test_a_missing_file_is_one_line_and_code_2(arguments, tmp_path, monkeypatch, capsys, request):
    settings = request.config.rootpath / "params.yaml"
    monkeypatch.chdir(tmp_path)
    if arguments[0] not in ("merge", "import-official", "copies"):
        arguments = [*arguments, "--params", str(settings), "--profile", "smoke"]
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "missing" in shown
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_key_is_one_line_and_code_2(tmp_path, capsys):
    settings = to_json(load("params.yaml", Params, "smoke"), "folds").replace('"seed"', '"sead"')
    assert main(["split", "--pairs", "x.zip", "--out", str(tmp_path / "s.csv"), "--cfg", settings]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "folds." in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["paint"], f"pig: VERB: expected one of {', '.join(VERBS)}; found paint (see pig --help)"),
        (
            ["trian"],
            f"pig: VERB: expected one of {', '.join(VERBS)}; found trian; did you mean train? (see pig --help)",
        ),
        (["train", "guidr"], "; found guidr; did you mean guider? (see pig train --help)"),
        (
            ["split", "--out", "x"],
            "pig split: the following arguments are required: --pairs (see pig split --help)",
        ),
        (
            ["tables", "6"],
            "pig tables: NUMBER: expected one of 1, 2, 3, 4, 5; found 6 (see pig tables --help)",
        ),
        (["import", "foldr"], "; found foldr; did you mean folder? (see pig import --help)"),
        (["train", "a\x1b[2J"], "found a\\x1b[2J (see pig train --help)"),
    ],
    ids=lambda value: " ".join(value).replace("\x1b", "") if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_that_says_what_may_have_been_meant(arguments, told, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    shown = capsys.readouterr().err
    assert shown.endswith(told + "\n") and shown.count("\n") == 1


# --- what was done


@pytest.fixture
def archive(tmp_path, monkeypatch, request):
    """The path of an archive of eight pairs; the settings' folder is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((request.config.rootpath / "params.yaml").read_bytes())
    images = (np.arange(8 * 64) % 256).astype(np.uint8).reshape(8, 8, 8)
    masks = np.zeros((8, 8, 8), bool)
    masks[:, 2:5, 2:5] = True
    table = pd.DataFrame(
        {"id": [f"name{i}" for i in range(8)], "patient": [f"who{i // 2}" for i in range(8)]}
    )
    for column in ("view", "slice", "origin", "seed"):
        table[column] = ""
    with (tmp_path / "pairs.zip").open("wb") as file:
        write_archive(file, Pairs(images, masks, table))
    return "pairs.zip"


def test_the_last_line_says_what_was_written(archive, capsys):
    assert main(["merge", archive, "--out", "all.zip"]) == 0
    told = capsys.readouterr()
    assert told.out == "" and re.fullmatch(
        r"pig: 8 samples; wrote all\.zip \([\d.]+ kB\) in \d+\.\d s\n", told.err
    )
    assert main(["merge", archive, "--out", "all.zip", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_some_verbs_tell_their_key_number(archive, capsys):
    words = ["split", "--pairs", archive, "--out", "split.csv", "--profile", "smoke"]
    assert main(words) == 0
    assert capsys.readouterr().err.startswith("pig: 2 folds of 8 pairs of 4 patients; wrote split.csv (")
    head = "id,dose,real,dice\n"
    tables = ["a,0,300,0.5\nb,0,300,0.25\n", "a,40,300,1.0\nb,40,300,\n", "a,40,0,0.125\nb,40,0,0.0\n"]
    assert (
        told_by_segment([head + table for table in tables])
        == "Dice 37.5 %, 100.0 % with 40, 6.2 % with 40 alone"
    )


def test_of_several_processes_the_first_speaks(archive, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["merge", archive, "--out", "all.zip"]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_was_there_before_was_not_written(archive, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    (tmp_path / "all.zip").touch()
    words = ["import", "folder", "--images", "images", "--masks", "images", "--dry-run", "--out", "all.zip"]
    main(words)
    assert "wrote" not in capsys.readouterr().err


def test_errors_are_told_however_quiet(archive, capsys):
    assert main(["merge", "none.zip", "--out", "all.zip", "-q"]) == 2
    assert capsys.readouterr().err.startswith("pig: none.zip: ")


def test_describe_prints_the_page_or_its_numbers(archive, capsys):
    assert main(["describe", archive]) == 0
    page = capsys.readouterr()
    assert page.err == "" and page.out.startswith(
        "# What the data set holds\n\n8 pairs of 8x8 pixels, 4 patients"
    )
    assert "![" not in page.out  # there is no picture
    assert main(["describe", archive, "--json"]) == 0
    told = capsys.readouterr()
    numbers = json.loads(told.out)
    assert told.err == "" and (numbers["pairs"], numbers["patients"], numbers["without_lesion"]) == (8, 4, 0)
    assert numbers["quantiles"]["lesion_percent"]["0.5"] == pytest.approx(100 * 9 / 64)
    assert numbers["groups"] == [{"what": "all", "pairs": 8, "patients": 4}]
    assert not re.search(r"name\d|who\d", page.out + told.out)
    assert main(["describe", archive, "--json", "--out", "page.md"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == numbers and told.err.startswith(
        "pig: 8 pairs of 4 patients; wrote page.md ("
    )


# --- ends that are no errors


@pytest.mark.parametrize(
    ("state", "more"), [("s.pt", "; the same command again goes on from s.pt"), ("none", "")]
)
def test_ctrl_c_is_one_line_and_code_130(state, more, archive, tmp_path, capsys, monkeypatch):
    from pig.cli.verbs import train

    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run", interrupted)
    (tmp_path / "s.pt").touch()
    words = [
        "--pairs",
        archive,
        "--split",
        "s.csv",
        "--fold",
        "0",
        "--out",
        "n",
        "--curve",
        "c",
        "--state",
        state,
    ]
    assert main(["train", "guider", *words]) == 130
    assert capsys.readouterr().err == f"pig: interrupted{more}\n"


def test_a_reader_that_goes_away_is_no_error(archive):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pig", "describe", archive]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
