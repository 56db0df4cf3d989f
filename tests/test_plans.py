"""What Snakemake plans for studies that nobody runs here, and what networks of every method have to keep."""

import json
import re
import subprocess

import pandas as pd
import pytest
from clones import BIN, ROOT, planned, run
from tiny import fold_of, sample

from pig.core.params import load
from pig.data.archive import read_archive
from pig.models.table import METHODS, Params, order
from pig.models.weights import load as load_weights


def elsewhere(fresh, folder, *settings):
    """Flags that run the workflow of `fresh` in another folder."""
    place = ["--snakefile", str(fresh / "Snakefile"), "--directory", str(folder)]
    return [*place, "--config", *settings] if settings else place


def test_reports_in_git_do_not_make_a_clone_look_finished(fresh, tmp_path):
    assert (fresh / "reports/table1.csv").is_file()
    assert planned(fresh) == planned(tmp_path, *elsewhere(fresh, tmp_path))


def test_it_runs_elsewhere_without_the_environment_being_active(fresh, tmp_path):
    command = [str(BIN / "snakemake"), *elsewhere(fresh, tmp_path), "--cores", "1", "runs/smoke/split.csv"]
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=bare, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/smoke/split.csv").is_file()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("training={stepps: 3}", "training.stepps"),
        ("profile=busi", "data.source: expected the archive data/busi.zip"),
    ],
)
def test_a_bad_setting_or_a_missing_source_is_named_before_anything_runs(fresh, tmp_path, setting, named):
    shown = run("snakemake", "--dry-run", *elsewhere(fresh, tmp_path, setting), cwd=tmp_path, code=1)
    assert f"params.yaml: {named}" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("profile", ["paper", "demo", "busi"])
def test_every_profile_makes_a_plan(fresh, tmp_path, profile):
    p = load(fresh / "params.yaml", Params, profile)
    if p.data.source != "phantom":
        (tmp_path / p.data.source).parent.mkdir()
        (tmp_path / p.data.source).touch()
    jobs = planned(tmp_path, *elsewhere(fresh, tmp_path, f"profile={profile}"))
    samples = [re.match(r"Sample (\d+) with pig, fold 0", job) for job in jobs]
    number = max(*p.segmentation.doses, p.fidelity.slices)
    assert sum(int(found[1]) for found in samples if found) == number
    if profile == "demo":
        assert f" and {len(jobs) + 1} jobs" in (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert any(job.startswith("Join") for job in jobs) == (p.sampling.shards > 1)
    paired = [name for name in p.methods if METHODS[name].paired]
    leak = len(order(["pig"]))  # one generator that saw all patients
    assert sum(job.startswith("Train") for job in jobs) == len(order(p.methods)) * p.folds.count + leak
    sets = ["real", "augmented", "duplicated", "pig-leak", *paired]
    assert sum(job.startswith("Segment") for job in jobs) == p.folds.count * p.segmentation.seeds * len(sets)


@pytest.mark.parametrize(
    ("settings", "place"),
    [(["profile=busi"], "reports/busi"), (["profile=demo", "data={source: data/busi.zip}"], "runs/demo")],
)
def test_slices_of_a_user_are_drawn_in_the_reports_only_where_they_may_be_shown(
    fresh, tmp_path, settings, place
):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/busi.zip").touch()
    shown = run("snakemake", "--dry-run", *elsewhere(fresh, tmp_path, *settings), cwd=tmp_path)
    missing = ",".join(re.findall("Missing output files: (.*)", shown))
    found = set(re.findall(r"[\w/]+/figures/(?:data|pairs|copies)\.png", missing))
    assert found == {f"{place}/figures/{name}.png" for name in ("data", "pairs", "copies")}


@pytest.mark.parametrize(
    ("method", "trained"),
    [("pig", {"guider", "guided"}), ("controlnet", {"ddpm", "controlnet"}), ("ldm", {"autoencoder", "ldm"})],
)
def test_only_what_the_chosen_methods_need_is_made(fresh, tmp_path, method, trained):
    jobs = planned(tmp_path, *elsewhere(fresh, tmp_path, f"methods=[{method}]"))
    assert {job.split()[2] for job in jobs if job.startswith("Train")} == trained
    assert {job.split()[3].strip(",") for job in jobs if job.startswith("Sample")} == {method}


def test_without_pairs_there_is_nothing_to_pair(fresh, tmp_path):
    jobs = planned(tmp_path, *elsewhere(fresh, tmp_path, "methods=[ddim]"))
    assert {job.split()[2] for job in jobs if job.startswith("Train")} == {"ddpm"}
    assert not any(job.startswith(("Do mask and image", "Nearest neighbours")) for job in jobs)
    shown = run("snakemake", "--dry-run", *elsewhere(fresh, tmp_path, "methods=[ddim]"), cwd=tmp_path)
    made = set(re.findall(r"reports/(?:figures/)?(\w+)\.(?:png|csv|html)", shown))
    assert made == {"table1", "table2", "table5", "data", "curves", "index"}


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].masks])
def test_masks_given_to_rivals_are_of_the_folds_training_patients(tiny, tmp_path, name):
    split = pd.read_csv(tiny / "runs/smoke/split.csv", dtype=str).set_index("id")
    real = read_archive(tiny / "runs/smoke/pairs.zip")
    generated = sample(tiny, name, tmp_path / "pairs.zip", 4)
    sources = generated.table["mask_of"]
    assert set(split.loc[sources, "fold0"]) == {"train"}
    rows = real.table.set_index("id").index.get_indexer(sources)
    same = (generated.masks == real.masks[rows]).all(axis=(1, 2))
    assert same.all() if METHODS[name].masks == "given" else not same.all()


def test_a_network_that_starts_from_another_counts_what_both_saw(tiny):
    p = load(tiny / "params.yaml", Params, "smoke")
    for path in fold_of(tiny).glob("*.safetensors"):
        trainings = 2 if path.stem == "controlnet" else 1  # it starts from the trained ddpm
        assert load_weights(path)[1]["seen"] == trainings * p.training.steps * p.training.batch, path.stem


def test_ddpm_takes_steps_of_its_own(tiny, tmp_path):
    sample(tiny, "ddpm", tmp_path / "slices.zip", 2)
    p = load(tiny / "params.yaml", Params, "smoke")
    assert (
        json.loads((tmp_path / "slices.json").read_text())["steps"]
        == p.sampling.ddpm_steps
        != p.sampling.steps
    )
