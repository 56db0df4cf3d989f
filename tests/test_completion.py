"""The scripts are read by the shells themselves; bash and fish are asked what they would complete."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pig.cli.main import VERBS, main
from pig.cli.verbs.completion import SHELLS
from pig.models.table import METHODS, NETS

ASK = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
function=$(complete -p pig | sed -E 's/.*-F ([^ ]+).*/\1/')
"$function"
printf '%s\n' "${COMPREPLY[@]}"
"""
SETTINGS = """reports: reports
profiles:
  paper: {}

  mine: &mine   # a comment
    data: {size: 8}
  other_1:
    <<: *mine
last: 1
"""


@pytest.fixture
def script(tmp_path, capsys, monkeypatch):
    """Writes the script for a shell; the folder that one is in has a params.yaml and two files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(SETTINGS)
    (tmp_path / "pairs.zip").touch()
    (tmp_path / "images").mkdir()

    def write(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"no {shell} here")
        assert main(["completion", shell]) == 0
        told = capsys.readouterr()
        assert told.err == ""
        path = tmp_path / f"script.{shell}"
        path.write_text(told.out)
        return path

    return write


def bash(path, *words):
    command = ["bash", "--norc", "-c", ASK, "bash", str(path), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def fish(path, *words):
    command = ["fish", "--no-config", "-c", f'source {path}; complete -C "{" ".join(words)}"']
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t")[0].rstrip("/") for line in shown.splitlines()]


ASKED = {"bash": bash, "fish": fish}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_finds_no_mistake(shell, script):
    path = script(shell)
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ASKED)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pig", ""], set(VERBS)),
        (["pig", "trai"], {"train"}),
        (["pig", "train", ""], set(NETS)),
        (["pig", "sample", "ldm"], {name for name in METHODS if name.startswith("ldm")}),
        (["pig", "train", "guider", "--profile", ""], {"paper", "mine", "other_1"}),
        (["pig", "import", ""], {"folder", "bcs-dbt", "cbis-ddsm", "inbreast"}),
        (["pig", "import", "folder", "--images", "im"], {"images"}),
        (["pig", "split", "--pairs", "pa"], {"pairs.zip", "params.yaml"}),
        (["pig", "describe", "pai"], {"pairs.zip"}),
        (["pig", "doctor", "--q"], {"--quiet"}),
        (["pig", "train", "guider", "--device", ""], {"auto", "cpu", "cuda"}),
        (["pig", "completion", ""], set(SHELLS)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_are_completed(shell, words, expected, script):
    path = script(shell)
    assert set(ASKED[shell](path, *words)) == expected


def test_a_folder_without_settings_has_no_profiles(script):
    path = script("bash")
    Path("params.yaml").unlink()
    assert bash(path, "pig", "train", "guider", "--profile", "") == []


def test_an_unknown_shell_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["completion", "bahs"])
    assert end.value.code == 2
    assert "did you mean bash?" in capsys.readouterr().err
