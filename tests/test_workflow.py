"""The whole study, once, tiny, in a clone: what Snakemake and DVC promise together.

The study is that of tests/test_day.py. Plans of other studies are in tests/test_plans.py.
"""

import json
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from clones import METHODS as CHOSEN
from clones import NOTHING, REPORT, REPORTS, TAIL, change, edit, planned, run, stamps
from tiny import call

from pig.cli.main import main
from pig.core.params import load, to_json
from pig.data.archive import read_archive
from pig.data.pairs import digest
from pig.models.table import METHODS, Params, order
from pig.models.weights import load as load_weights
from pig.report.findings import findings


def test_everything_is_made(study):
    p = load(study / "params.yaml", Params)
    run_ = study / "runs/dbt"
    paired = [name for name in p.methods if METHODS[name].paired]
    trained = ["real", "augmented", "duplicated", "pig-leak", *paired]
    expected = [run_ / name for name in ("split.csv", "progression.npz", "leak0/pig.zip")]
    for fold in (run_ / f"fold{number}" for number in range(p.folds.count)):
        made = p.methods if fold.name == "fold0" else paired
        expected += [fold / f"{net}.{end}" for net in order(made) for end in ("safetensors", "csv")]
        expected += [fold / f"{name}.zip" for name in made]
        runs = [f"{name}.{seed}" for name in trained for seed in range(p.segmentation.seeds)]
        expected += [fold / f"segment/{name}{end}" for name in runs for end in (".csv", ".curve.csv")]
        expected += [fold / "trts.csv", *(fold / f"copies/{name}.csv" for name in ["real", *paired])]
    scored = ["real", *(name for name in p.methods if METHODS[name].masks != "varied")]
    for view, names in (("slices", scored), ("crops", [name for name in scored if name in trained])):
        expected += [run_ / f"features/{view}/{name}.npz" for name in ("reference", *names)]
        expected += [run_ / f"fidelity/{view}/{name}.json" for name in names]
    ends = ("csv", "json", "md", "tex")
    expected += [study / f"reports/table{n}.{end}" for n in range(1, 6) for end in ends]
    expected += [study / f"reports/{name}" for name in ("pairing.csv", "study.md", "index.html")]
    shown = ("progression", "curves", "table1", "table2", "doses")
    expected += [study / f"reports/figures/{name}.png" for name in shown]
    expected += [run_ / f"figures/{name}.png" for name in ("pairs", "data", "copies")]
    assert [str(p) for p in expected if not p.is_file() or p.stat().st_size == 0] == []
    assert [p.name for p in (study / "scratch").rglob("*.pt*")] == []  # no training left anything


def test_stale_reports_do_not_make_a_clone_look_finished(study):
    for name in REPORTS:
        assert (study / f"reports/{name}.csv").read_text(encoding="utf-8") != "stale\n"


def test_a_second_call_does_nothing(study):
    before = stamps(study)
    assert NOTHING in run("snakemake", "--cores", "2", cwd=study)
    assert stamps(study) == before


def test_dvc_keeps_every_output_and_deletes_none(study):
    dvc = yaml.safe_load((study / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["study"]
    outs = {name: flags for out in dvc["outs"] for name, flags in out.items()}
    assert all(flags["persist"] for flags in outs.values())
    for file in stamps(study):
        assert any(file == out or file.startswith(f"{out}/") for out in outs), file
    assert dvc["params"] == [{"params.yaml": None}]  # every key of it


@pytest.fixture
def clone(day):
    """Bo's clone, which had pulled everything; git takes back what a test changes."""
    yield day.bo
    run("git", "checkout", "--quiet", "--", ".", cwd=day.bo)


CHANGES = {  # tests/test_round_trips.py runs a change of the ring, and of the statistics' draws
    "figures.dpi": (81, ["The steps of Figure 3", "Figures", REPORT]),
    "segmentation.flip": (0.25, ["Segment", "Find the lesions", *TAIL]),
    "segmentation.seeds": (2, ["Segment .*, seed 1", "Find the lesions", *TAIL]),
    "fidelity.kid_subsets": (3, ["Features", "Distance", *TAIL]),
    "guided.prediction": (
        "x0",
        ["Train the guided", "Sample .* with pig", "Join .* of pig", "The steps of Figure 3", "Features of pig",
         "Distance .*: pig", "Segment .*: pig,", "Segment .*: pig-leak,", "Find the lesions", "Nearest neighbours",
         "Do mask and image", *TAIL],
    ),
    "ddpm.prediction": (
        "x0",
        ["Train the ddpm", "Sample .* with ddim", "Join .* of ddim", "Features of ddim", "Distance .*: ddim", *TAIL],
    ),
}  # fmt: skip


def just(jobs, expected):
    """Each job is of an expected kind, and each kind has a job."""
    assert {job for job in jobs if not any(re.match(pattern, job) for pattern in expected)} == set()
    assert [pattern for pattern in expected if not any(re.match(pattern, job) for job in jobs)] == []


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_number_reruns_just_what_depends_on_it(clone, key):
    value, expected = CHANGES[key]
    change(clone, key, value)
    just(planned(clone), expected)


def test_after_a_changed_comment_dvc_only_records(clone):
    with (clone / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("# a comment\n")
    assert "up to date" in run("dvc", "status", cwd=clone)
    edit(clone / "pig/diffusion.py", '"""', '"""Changed. ')
    edit(clone / "pig/training/fit.py", "\nimport", "\n# changed\nimport")
    before = stamps(clone)
    assert NOTHING in run("dvc", "repro", cwd=clone)
    assert "up to date" in run("dvc", "status", cwd=clone)
    assert stamps(clone) == before


def test_a_changed_function_reruns_just_what_runs_it(clone):
    edit(clone / "pig/metrics/segmentation.py", "\nSCORES = ", "\nMARK = 1\nSCORES = ")
    just(planned(clone), CHANGES["segmentation.flip"][1])


def test_a_new_rival_is_a_file_a_row_and_a_section_and_reruns_no_other(clone):
    table, params, twin = (
        clone / name for name in ("pig/models/table.py", "params.yaml", "pig/models/twin.py")
    )
    joint = (clone / "pig/models/joint.py").read_text(encoding="utf-8")
    twin.write_text(re.sub(r"\bjoint\b", "twin", joint), encoding="utf-8")
    row = '"twin": Method("Twin", "twin", (Net("twin", "Twin: mask and slice", {"twin": Denoising}),)),'
    edit(table, "\nMETHODS = {", f"\nMETHODS = {{\n    {row}")
    edit(
        params,
        "\ntraining:",
        "\ntwin: {prediction: v, times: uniform, times_mean: 0.0, times_width: 1.0, "
        "weight: none, weight_least: null, weight_most: null}\n\ntraining:",
    )
    chosen = ", ".join(CHOSEN)
    edit(params, f"[{chosen}]", f"[twin, {chosen}]")
    try:
        run(sys.executable, "-c", "from pig.models.method import *; net('twin'); sampler('twin')", cwd=clone)
        jobs = planned(clone)
    finally:
        twin.unlink()
    made = [
        "Train the twin",
        "Sample .* with twin",
        "Join .* of twin",
        "Features of twin",
        "Distance .*: twin",
    ]
    tested = ["Segment .*: twin", "Find the lesions", "Nearest neighbours", "Do mask and image"]
    just(jobs, [*made, *tested, *TAIL])


def costs(study):
    return [json.loads(path.read_text()) for path in (study / "runs/dbt").glob("fold*/shards/*.json")]


def test_every_method_was_trained_and_sampled_alike(study):
    """Fairness, from what the jobs themselves wrote: the same data, optimiser steps, sampler and numbers."""
    p = load(study / "params.yaml", Params)
    found = costs(study)
    assert {cost["method"] for cost in found} == set(p.methods)
    for fold in range(p.folds.count):
        nets = [net for cost in found if cost["fold"] == fold for net in cost["networks"].values()]
        for key in ("data", "trained_pairs", "training", "process"):
            assert len({json.dumps(net[key], sort_keys=True) for net in nets}) == 1, key
    for name, net in (pair for cost in found for pair in cost["networks"].items()):
        assert net["seen"] == p.training.steps * p.training.batch, name
    assert len({json.dumps(cost["solver"], sort_keys=True) for cost in found}) == 1
    for cost in found:
        assert cost["steps"] == p.sampling.steps
    table = pd.read_csv(study / "reports/table1.csv")
    assert table["n"].nunique() == 1
    table = pd.read_csv(study / "reports/table2.csv")
    doses = table[table["dose"] > 0].groupby("set")["dose"].apply(list).map(sorted)
    assert all(found == p.segmentation.doses for found in doses)


def test_only_the_leak_arm_saw_the_test_patients(study):
    split = pd.read_csv(study / "runs/dbt/split.csv", dtype=str)
    for path in sorted((study / "runs/dbt").glob("*/*.safetensors")):
        arm, net = path.parent.name, path.stem
        header = load_weights(path, ("fold",))[1]
        assert header["folds"]["leak"] == (arm == "leak0"), net
        train = len(split) if arm == "leak0" else (split[arm] == "train").sum()
        assert header["trained_pairs"] == train, (arm, net)
    table = pd.read_csv(study / "reports/table2.csv")
    leaks = table[table["set"] == "pig-leak"]
    assert len(leaks) == 3 and leaks["training_set"].str.startswith("LEAK").all()


def test_scores_of_test_patients_are_of_test_patients_alone(study):
    split = pd.read_csv(study / "runs/dbt/split.csv", dtype=str).set_index("id")
    for path in sorted((study / "runs/dbt").glob("fold*/segment/*.0.csv")):
        scores = pd.read_csv(path, dtype={"id": str})
        assert set(split.loc[scores["id"], path.parent.parent.name]) == {"test"}, path


def test_the_page_to_read_first_says_what_was_run_and_only_what_the_rules_say(study):
    page = (study / "reports/study.md").read_text(encoding="utf-8")
    trained = ("git", "log", "--grep=^Our data$", "--format=%h", "--abbrev=12")
    revision = run(*trained, cwd=study).strip()
    pairs = read_archive(study / "data/dbt.zip")
    for part in ("`dbt`", revision, digest(pairs)[:16], "pig 0.", "| Hardware | "):
        assert part in page, part
    assert "hours of jobs" in run("git", "show", "HEAD~2:reports/study.md", cwd=study)  # logs are not pulled
    tables = {n: pd.read_csv(study / f"reports/table{n}.csv") for n in range(1, 6)}
    level = load(study / "params.yaml", Params).statistics.level
    for finding in findings(tables, level):
        assert f"- **{finding.claim}** {finding.numbers}" in page
    said = [line for line in page.splitlines() if line.startswith("- ")]
    assert len(said) == len(findings(tables, level))
    for n in tables:
        assert (study / f"reports/table{n}.md").read_text(encoding="utf-8") in page
    for link in re.findall(r"\]\((.*?)\)", page):
        assert (study / "reports" / link).is_file(), link


def test_where_a_study_is_pig_sample_draws_its_own_pairs(study, tmp_path, monkeypatch):
    made, drawn = study / "runs/dbt/fold0/pig.zip", tmp_path / "pig.zip"
    monkeypatch.chdir(study)
    call("sample", "pig", "--count", len(read_archive(made)), "--batch", 3, "--out", drawn)
    assert drawn.read_bytes() == made.read_bytes()


def test_networks_of_two_folds_are_not_sampled_together(study, tmp_path, monkeypatch, capsys):
    nets = [f"runs/dbt/fold{fold}/{net}.safetensors" for fold, net in enumerate(("guider", "guided"))]
    monkeypatch.chdir(study)
    assert main(["sample", "pig", "--count", "1", "--out", str(tmp_path / "x.zip"), "--models", *nets]) == 2
    assert "expected networks of one fold; found [0, 1]" in capsys.readouterr().err
    assert not (tmp_path / "x.zip").exists()


def test_a_killed_training_goes_on_where_it_was(study, tmp_path):
    p = load(study / "params.yaml", Params)
    settings = json.loads(to_json(p, "network", "process", "training", "folds", "guider"))
    settings["training"] |= {"steps": 60, "checkpoint_every": 10, "validate_every": 10}

    def train(name):
        flags = {"--cfg": json.dumps(settings), "--pairs": "data/dbt.zip", "--split": "runs/dbt/split.csv"}
        ends = {"--out": "safetensors", "--curve": "csv", "--state": "pt"}
        files = {flag: str(tmp_path / f"{name}.{end}") for flag, end in ends.items()}
        more = [text for pair in (flags | files).items() for text in pair]
        return [sys.executable, "-m", "pig", "train", "guider", "--fold", "0", *more]

    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen(train("killed"), cwd=study, stderr=log, stdout=log)
        while not (tmp_path / "killed.pt").exists():
            assert job.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.002)
        job.send_signal(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.safetensors").exists()
    assert re.search(r"resumed at step \d+0 of 60", run(*train("killed"), cwd=study))
    run(*train("whole"), cwd=study)
    for end in ("safetensors", "csv"):
        assert (tmp_path / f"killed.{end}").read_bytes() == (tmp_path / f"whole.{end}").read_bytes()
    assert not (tmp_path / "killed.pt").exists()


def test_snakemake_reports_the_study_in_one_file(study, tmp_path):
    report = tmp_path / "report.html"
    run("snakemake", "--report", str(report), cwd=study)
    text = report.read_text(encoding="utf-8")
    for name in ("index.html", "table1.csv", "progression.png", "doses.png"):
        assert name in text, name
    assert planned(study) == set()
