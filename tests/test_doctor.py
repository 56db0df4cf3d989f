"""Each check by making the problem it looks for."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
import yaml

from pig.cli.main import main
from pig.cli.verbs import doctor
from pig.core.params import load
from pig.models.table import Params

ROOT = Path(__file__).parent.parent
GB = 10**9
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256 of no bytes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with params.yaml, no git, no DVC, and the limits of a container that has none."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("PIG_INCEPTION", raising=False)
    monkeypatch.setattr(doctor, "CONTAINER", tmp_path)
    return tmp_path


def set_smoke(folder, section, **keys):
    raw = yaml.safe_load((folder / "params.yaml").read_text())
    raw["profiles"]["smoke"].setdefault(section, {}).update(keys)
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))


def set_dvc(folder, local="", url="../store"):
    (folder / ".dvc").mkdir(exist_ok=True)
    shared = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {url}\n"
    (folder / ".dvc/config").write_text(shared)
    (folder / ".dvc/config.local").write_text(local)


def examined(capsys):
    """The checks by name; a problem ends in exit code 1."""
    try:
        code = main(["doctor", "--profile", "smoke", "--json"])
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr()
    assert told.err == ""
    found = {check["name"]: check for check in json.loads(told.out)}
    assert code == int("problem" in {check["verdict"] for check in found.values()})
    return found


def test_a_healthy_folder_has_no_problem_and_stays_as_it_is(folder, capsys):
    subprocess.run(["git", "init", "--quiet"], check=True)
    set_dvc(folder)
    before = sorted(folder.rglob("*"))
    found = examined(capsys)
    sure = {"Python", "packages", "settings", "data", "weights", "git", "DVC", "lock"}
    assert found.keys() == sure | {"device", "cores", "disk"}
    assert {found[name]["verdict"] for name in sure} == {"ok"}
    assert sorted(folder.rglob("*")) == before


def test_problems_are_found_named_and_end_in_code_1(folder, capsys, monkeypatch):
    (folder / "w.pt").write_bytes(b"no weights")
    monkeypatch.setenv("PIG_INCEPTION", str(folder / "w.pt"))
    (folder / ".snakemake/locks").mkdir(parents=True)
    (folder / ".snakemake/locks/0.input.lock").touch()
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text("[core\n")
    set_smoke(folder, "data", source="mine.zip")
    found = examined(capsys)
    assert {found[name]["verdict"] for name in ("data", "weights", "DVC")} == {"problem"}
    assert "mine.zip" in found["data"]["found"] and "w.pt" in found["weights"]["found"]
    assert {found[name]["verdict"] for name in ("lock", "git")} == {"warning"}
    (folder / "mine.zip").touch()
    assert examined(capsys)["data"]["verdict"] == "ok"


def test_bad_settings_are_a_problem_and_what_needs_none_is_still_looked_at(folder, capsys):
    set_smoke(folder, "folds", leek=True)
    found = examined(capsys)
    assert found["settings"]["verdict"] == "problem" and "folds.leek" in found["settings"]["found"]
    assert set(found) == {"Python", "packages", "settings", "cores", "git", "DVC", "lock"}


def test_the_profiles_own_extractor_is_looked_at(folder, capsys):
    set_smoke(folder, "fidelity", extractor="own.pt", extractor_sha256="0")
    assert "own.pt" in examined(capsys)["weights"]["found"]
    (folder / "own.pt").write_bytes(b"")
    assert EMPTY in examined(capsys)["weights"]["found"]


@pytest.mark.parametrize("error", [ImportError("no torch"), OSError("libcudart.so: cannot open")])
def test_what_stops_a_check_is_a_problem_itself(error, folder, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "device", Mock(side_effect=error))
    found = examined(capsys)
    assert (found["device"]["verdict"], found["device"]["found"]) == ("problem", str(error))
    assert "lock" in found


# --- one check each


def test_python_and_packages_are_those_that_pig_asks_for(monkeypatch):
    meta = doctor.metadata
    monkeypatch.setattr(meta, "metadata", lambda name: {"Requires-Python": ">=3.99"})
    assert doctor.python()[0] == "problem"
    asked = ["torch<99,>=2.9", "pytest>=999; extra == 'test'", "x; sys_platform == 'win32'"]
    monkeypatch.setattr(meta, "requires", lambda name: asked)
    assert doctor.packages()[0] == "ok"
    asked += ["numpy>=99", "no.such_package"]
    verdict, found, _ = doctor.packages()
    assert verdict == "problem" and "numpy" in found and "no.such_package" in found
    assert "torch" not in found and "pytest" not in found


@pytest.mark.parametrize(
    ("gpus", "driver", "size", "verdict", "word"),
    [
        ([("A100", 80 * GB)], True, 512, "ok", "A100 (80 GB)"),
        ([], True, 48, "warning", "CUDA_VISIBLE_DEVICES"),
        ([], False, 512, "warning", "512x512"),
        ([], False, 48, "ok", "48x48"),
    ],
)
def test_device(gpus, driver, size, verdict, word, monkeypatch):
    cards = [SimpleNamespace(name=name, total_memory=memory) for name, memory in gpus]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_properties", cards.__getitem__)
    monkeypatch.setattr(shutil, "which", lambda name: name if driver else None)
    found = doctor.device(size)
    assert found[0] == verdict and word in "".join(found)


@pytest.mark.parametrize(
    ("cpu", "memory", "advice"),
    [
        ("800000 100000", "max", None),
        ("50000 100000", "max", "CORES=1`"),
        ("max 100000", "3500000000", "CORES=3`"),
    ],
)
def test_cores_are_those_that_a_containers_quota_and_memory_allow(cpu, memory, advice, folder, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10**7, "SC_PAGE_SIZE": 4096}.get)
    (folder / "cpu.max").write_text(f"{cpu}\n")
    (folder / "memory.max").write_text(f"{memory}\n")
    found = doctor.cores()
    assert (found[0] == "ok") == (advice is None) and (advice or "") in found[2]


@pytest.mark.parametrize(
    ("free", "there", "verdict"),
    [(7, 0, "ok"), (4, 0, "warning"), (1, 0, "problem"), (4, 3, "ok")],
)
def test_disk(free, there, verdict, folder, monkeypatch):
    """The study takes 2 GB for what is no sample, and its samples next to none."""
    smoke = load("params.yaml", Params, "smoke")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free * GB))
    (folder / "runs/smoke").mkdir(parents=True)
    with (folder / "runs/smoke/all.zip").open("wb") as file:
        file.truncate(there * GB)  # a hole, which takes no place
    assert doctor.disk(smoke)[0] == verdict
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert doctor.disk(smoke)[0] == "problem"


@pytest.mark.parametrize(
    ("local", "url", "verdict", "word"),
    [
        ("", "s3://bucket/x", "ok", "s3://bucket/x"),
        ("", "../store", "ok", "store"),  # which the first push makes
        ("", "none/store", "problem", "dvc remote modify"),
        ("[core]\n    remote = mine\n['remote \"mine\"']\n    url = ../params\n", "s3://b/x", "ok", "mine"),
        ("[core]\n    remote = other\n", "s3://b/x", "warning", "dvc remote add"),
    ],
    ids=["s3", "to be made", "not there", "local wins", "unknown"],
)
def test_the_remote_is_the_one_that_dvc_pushes_to(local, url, verdict, word, folder):
    set_dvc(folder, local, url)
    found = doctor.remote()
    assert found[0] == verdict and word in "".join(found)
