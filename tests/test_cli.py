"""The command line: help for everyone, quickly; one line for a bad input."""

import re
import subprocess
import sys

import pytest

from pig.__main__ import VERBS, main, parser

ENDS = ("csv", "json", "md", "tex")
STUDY = ["study", "--pairs", "p.zip", "--nets", "n", "--costs", "c", "--out", "o.md"]
STUDY += ["--profile-name", "smoke", "--source", "phantom"]
HEAVY = "{'torch', 'numpy', 'pandas', 'matplotlib', 'scipy', 'cv2', 'PIL', 'cleanfid', 'snakemake'}"


def test_help_loads_no_heavy_library():
    script = (
        "import sys\nfrom pig.__main__ import main\ntry:\n    main(['--help'])\n"
        f"except SystemExit:\n    print('loaded:', *{HEAVY} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "loaded:"
    for verb in VERBS:
        assert re.search(rf"^    {verb}\s", shown.stdout, re.MULTILINE), verb


def test_a_verb_imports_no_other():
    script = (
        "import sys\nfrom pig.__main__ import main\ntry:\n    main(['merge', '--help'])\n"
        "except SystemExit:\n    print('loaded:', *sorted(m for m in sys.modules if m.startswith('pig.verbs.')))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "loaded: pig.verbs.merge"


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
    assert "--out" in shown


def test_every_argument_has_a_help_text():
    verbs = next(action for action in parser()._actions if action.dest == "run" or action.choices)
    for verb, sub in verbs.choices.items():
        for action in sub._actions:
            assert action.help or action.choices, (verb, action.dest)


@pytest.mark.parametrize(
    "arguments",
    [
        ["split", "--pairs", "missing.zip", "--out", "split.csv"],
        ["merge", "missing.zip", "--out", "all.zip"],
        ["sample", "pig", "--models", "missing.safetensors", "--number", "1", "--out", "out.zip"],
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
    from pig.params import load, to_json

    settings = to_json(load("params.yaml", "smoke"), "folds").replace('"seed"', '"sead"')
    assert main(["split", "--pairs", "x.zip", "--out", str(tmp_path / "s.csv"), "--cfg", settings]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "folds." in shown


def test_an_unknown_verb_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["paint"])
    assert end.value.code == 2
    assert "paint" in capsys.readouterr().err
