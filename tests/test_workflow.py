"""The whole study, once, tiny, in a clone: what Snakemake and DVC promise together."""

import json
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from clones import BIN, NOTHING, REPORTS, change, commit, edit, planned, run, stamps

from pig.core.params import load, to_json
from pig.data.archive import read_archive
from pig.data.pairs import digest
from pig.models.table import METHODS, Params, order
from pig.models.weights import load as load_weights
from pig.report.findings import findings


def load_network(path):
    """(state, header) of a network, or of a segmenter."""
    return load_weights(path, ("fold",))


def test_everything_is_made(study):
    p = load(study / "params.yaml", Params)
    run_ = study / "runs/smoke"
    expected = [run_ / name for name in ("pairs.zip", "split.csv", "progression.npz")]
    for fold in range(p.folds.count):
        nets = order(p.methods)
        expected += [run_ / f"fold{fold}/{net}.{end}" for net in nets for end in ("safetensors", "csv")]
        expected += [
            run_ / f"fold{fold}/{name}.zip" for name in p.methods if METHODS[name].paired or fold == 0
        ]
        paired = [name for name in p.methods if METHODS[name].paired]
        expected += [
            run_ / f"fold{fold}/segment/{name}.{seed}{end}"
            for name in ["real", "augmented", "duplicated", "pig-leak", *paired]
            for seed in range(p.segmentation.seeds)
            for end in (".csv", ".curve.csv")
        ]
        expected += [run_ / f"fold{fold}/copies/{name}.csv" for name in ["real", *paired]]
        expected += [run_ / f"fold{fold}/trts.csv"]
    expected += [run_ / "leak0/pig.zip"]
    scored = ["real", *(name for name in p.methods if METHODS[name].masks != "varied")]
    with_masks = [name for name in scored if name == "real" or METHODS[name].paired]
    for view, names in (("slices", scored), ("crops", with_masks)):
        expected += [run_ / f"features/{view}/{name}.npz" for name in ("reference", *names)]
        expected += [run_ / f"fidelity/{view}/{name}.json" for name in names]
    ends = ("csv", "json", "md", "tex")
    expected += [study / f"reports/table{n}.{end}" for n in range(1, 6) for end in ends]
    expected += [study / f"reports/{name}" for name in ("pairing.csv", "study.md", "index.html")]
    figures = ("progression", "pairs", "curves", "table1", "table2", "doses", "data", "copies")
    expected += [study / f"reports/figures/{name}.png" for name in figures]
    assert [str(p) for p in expected if not p.is_file() or p.stat().st_size == 0] == []


def test_nothing_of_a_finished_training_is_left_in_scratch(study):
    assert [p.name for p in (study / "scratch").rglob("*.pt*")] == []


def test_reports_in_git_do_not_make_a_fresh_clone_look_finished(study):
    for name in REPORTS:
        assert (study / f"reports/{name}.csv").read_text(encoding="utf-8") != "stale\n"


def test_a_second_call_does_nothing(study):
    before = stamps(study)
    assert NOTHING in run("snakemake", "--cores", "2", cwd=study)
    assert stamps(study) == before


def test_dvc_after_snakemake_only_records(kept):
    study, before, shown = kept
    assert NOTHING in shown
    assert stamps(study) == before
    assert "up to date" in run("dvc", "status", cwd=study)
    assert planned(study) == set()


def test_dvc_keeps_every_output_and_deletes_none(kept):
    study, before, _ = kept
    dvc = yaml.safe_load((study / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["study"]
    outs = {name: flags for out in dvc["outs"] for name, flags in out.items()}
    assert all(flags["persist"] for flags in outs.values())
    for file in before:
        assert any(file == out or file.startswith(f"{out}/") for out in outs), file
    assert dvc["params"] == [{"params.yaml": None}]  # every key of it


def test_a_clone_after_dvc_pull_has_nothing_to_do(pulled):
    assert pulled[1] == set()
    assert "up to date" in run("dvc", "status", cwd=pulled[0])


PAGES = ["The report as a web page and in Markdown"]
TAIL = ["Tables", "Figures", *PAGES]
EVERYTHING_OF_PIG = [
    "Sample .* with pig", "Join .* of pig", "The steps of Figure 3", "Features of pig", "Distance .*: pig",
    "Segment .*: pig,", "Segment .*: pig-leak,", "Find the lesions", "Nearest neighbours", "Do mask and image", *TAIL,
]  # fmt: skip
CHANGES = {
    "figures.dpi": (81, ["The steps of Figure 3", "Figures", *PAGES]),
    "pairing.ring": (0.07, ["Do mask and image", *TAIL]),
    "statistics.draws": (300, TAIL),
    "segmentation.flip": (0.25, ["Segment", "Find the lesions", *TAIL]),
    "segmentation.seeds": (2, ["Segment .*, seed 1", "Find the lesions", *TAIL]),
    "fidelity.kid_subsets": (3, ["Features", "Distance", *TAIL]),
    "guided.prediction": ("x0", ["Train the guided", *EVERYTHING_OF_PIG]),
    "ddpm.prediction": (
        "x0",
        ["Train the ddpm", "Train the controlnet", "Segment .*: controlnet", "Do mask and image", *TAIL,
         "Find the lesions", "Nearest neighbours",
         *(f"{job} .*{name}" for job in ["Sample", "Join", "Features", "Distance"]
           for name in ("ddpm", "ddim", "controlnet"))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", CHANGES)
def test_a_changed_number_reruns_just_what_depends_on_it(pulled, key):
    value, expected = CHANGES[key]
    before = change(pulled[0], key, value)
    try:
        jobs = planned(pulled[0])
        status = run("dvc", "status", cwd=pulled[0])
    finally:
        (pulled[0] / "params.yaml").write_text(before, encoding="utf-8")
    assert {job for job in jobs if not any(re.match(pattern, job) for pattern in expected)} == set()
    assert [pattern for pattern in expected if not any(re.match(pattern, job) for job in jobs)] == []
    assert re.search(r"params\.yaml:\s+modified:\s+profiles", status)


def test_a_changed_comment_reruns_nothing(pulled):
    clone = pulled[0]
    with (clone / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("# a comment\n")
    assert "up to date" in run("dvc", "status", cwd=clone)
    edit(clone / "pig/diffusion.py", '"""', '"""Changed. ')
    edit(clone / "pig/training/fit.py", "\nimport", "\n# changed\nimport")
    assert planned(clone) == set()
    assert NOTHING in run("dvc", "repro", cwd=clone)


def test_a_changed_function_reruns_just_what_runs_it(pulled):
    edit(pulled[0] / "pig/metrics/segmentation.py", "\nSCORES = ", "\nMARK = 1\nSCORES = ")
    try:
        jobs = {job.split(" of ")[0] for job in planned(pulled[0])}
        assert jobs == {"Segment the test patients", "Find the lesions", *TAIL}
    finally:
        edit(pulled[0] / "pig/metrics/segmentation.py", "\nMARK = 1\nSCORES = ", "\nSCORES = ")


def test_a_new_rival_is_a_file_a_row_and_a_section_and_reruns_no_other(pulled):
    clone = pulled[0]
    table, params, twin = (
        clone / name for name in ("pig/models/table.py", "params.yaml", "pig/models/twin.py")
    )
    before = {path: path.read_text(encoding="utf-8") for path in (table, params)}
    joint = (clone / "pig/models/joint.py").read_text(encoding="utf-8")
    twin.write_text(re.sub(r"\bjoint\b", "twin", joint), encoding="utf-8")
    row = '"twin": Method("Twin", "twin", (Net("twin", "Twin: mask and slice", {"twin": Denoising}),)),'
    edit(table, "\nMETHODS = {", f"\nMETHODS = {{\n    {row}")
    edit(params, "\ntraining:", "\ntwin: {prediction: v, min_snr: null, max_snr: null}\n\ntraining:")
    edit(params, "[ldm, controlnet, pig,", "[ldm, controlnet, twin, pig,")
    try:
        run(sys.executable, "-c", "from pig.models.method import *; net('twin'); sampler('twin')", cwd=clone)
        jobs = planned(clone)
    finally:
        twin.unlink()
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")
    expected = [
        "Train the twin", "Sample .* with twin", "Join .* of twin", "Features of twin", "Distance .*: twin",
        "Segment .*: twin", "Find the lesions", "Nearest neighbours", "Do mask and image", *TAIL,
    ]  # fmt: skip
    assert {job for job in jobs if not any(re.match(pattern, job) for pattern in expected)} == set()
    assert [pattern for pattern in expected if not any(re.match(pattern, job) for job in jobs)] == []


def test_dvc_runs_a_change_and_shows_what_it_did(pulled):
    clone = pulled[0]
    commit(clone, "Before")
    size = load(clone / "params.yaml", Params).fidelity.kid_subset_size
    change(clone, "fidelity.kid_subset_size", size - 1)
    networks = {name: when for name, when in stamps(clone).items() if name.endswith(".safetensors")}
    shown = run("dvc", "repro", cwd=clone)
    assert "Running stage" in shown
    assert NOTHING in run("snakemake", "--cores", "2", cwd=clone)
    assert "up to date" in run("dvc", "status", cwd=clone)
    assert networks == {name: when for name, when in stamps(clone).items() if name.endswith(".safetensors")}

    params = json.loads(run("dvc", "params", "diff", "--json", cwd=clone))
    assert params == {
        "params.yaml": {"profiles.smoke.fidelity.kid_subset_size": {"old": size, "new": size - 1, "diff": -1}}
    }
    metrics = json.loads(run("dvc", "metrics", "diff", "--json", cwd=clone))
    assert list(metrics) == ["reports/table1.json"]
    assert "reports/table4.json" in run("dvc", "metrics", "show", "--json", cwd=clone)
    assert "reports/table2.json" in run("dvc", "metrics", "show", "--json", cwd=clone)
    for command in (["show"], ["diff", "HEAD"]):
        assert "WARNING" not in run("dvc", "plots", *command, cwd=clone)
        page = (clone / "dvc_plots/index.html").read_text(encoding="utf-8")
        assert "Table 1" in page
        assert "Table 2" in page


def test_it_runs_elsewhere_without_the_environment_being_active(fresh, tmp_path):
    command = [
        "snakemake",
        "--snakefile",
        str(fresh / "Snakefile"),
        "--directory",
        str(tmp_path),
        "--cores",
        "1",
    ]
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:], "runs/smoke/split.csv"],
        cwd=tmp_path, env=bare, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/smoke/split.csv").is_file()


def test_a_bad_setting_is_named_before_anything_runs(fresh, tmp_path):
    shown = run(
        "snakemake", "--dry-run", "--snakefile", str(fresh / "Snakefile"), "--directory", str(tmp_path),
        "--config", "training={stepps: 3}", cwd=tmp_path, code=1,
    )  # fmt: skip
    assert "params.yaml: training.stepps: unknown key" in shown
    assert "Traceback" not in shown


def test_a_source_that_is_not_there_is_named_and_old_results_do_not_pass_for_finished(fresh, tmp_path):
    place = ["--snakefile", str(fresh / "Snakefile"), "--directory", str(tmp_path)]
    shown = run("snakemake", "--dry-run", *place, "--config", "profile=busi", cwd=tmp_path, code=1)
    assert "params.yaml: data.source: expected the archive data/busi.zip; found none" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("profile", ["paper", "demo", "busi"])
def test_every_profile_makes_a_plan(fresh, tmp_path, profile):
    p = load(fresh / "params.yaml", Params, profile)
    if p.data.source != "phantom":
        (tmp_path / p.data.source).parent.mkdir()
        (tmp_path / p.data.source).touch()
    flags = [
        "--snakefile",
        str(fresh / "Snakefile"),
        "--directory",
        str(tmp_path),
        "--config",
        f"profile={profile}",
    ]
    jobs = planned(tmp_path, *flags)
    samples = [re.match(r"Sample (\d+) with pig, fold 0", job) for job in jobs]
    number = max(*p.segmentation.doses, p.fidelity.slices)
    assert sum(int(found[1]) for found in samples if found) == number
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
    where = ["--snakefile", str(fresh / "Snakefile"), "--directory", str(tmp_path)]
    shown = run("snakemake", "--dry-run", *where, "--config", *settings, cwd=tmp_path)
    missing = ",".join(re.findall("Missing output files: (.*)", shown))
    found = set(re.findall(r"[\w/]+/figures/(?:data|pairs|copies)\.png", missing))
    assert found == {f"{place}/figures/{name}.png" for name in ("data", "pairs", "copies")}


def test_only_what_the_chosen_methods_need_is_made(fresh, tmp_path):
    place = ["--snakefile", str(fresh / "Snakefile"), "--directory", str(tmp_path)]
    jobs = planned(tmp_path, *place, "--config", "profile=smoke", "methods=[pig]")
    trained = {job.split()[2] for job in jobs if job.startswith("Train")}
    assert trained == {"guider", "guided"}
    assert {job.split()[3].strip(",") for job in jobs if job.startswith("Sample")} == {"pig"}


def test_without_pairs_there_is_nothing_to_pair(fresh, tmp_path):
    place = ["--snakefile", str(fresh / "Snakefile"), "--directory", str(tmp_path)]
    chosen = ["--config", "profile=smoke", "methods=[ddim]"]
    jobs = planned(tmp_path, *place, *chosen)
    trained = {job.split()[2] for job in jobs if job.startswith("Train")}
    assert trained == {"ddpm"}
    assert not any(job.startswith(("Do mask and image", "Nearest neighbours")) for job in jobs)
    shown = run("snakemake", "--dry-run", *place, *chosen, cwd=tmp_path)
    made = set(re.findall(r"reports/(?:figures/)?(\w+)\.(?:png|csv|html)", shown))
    assert made == {"table1", "table2", "table5", "data", "curves", "index"}


def costs(study):
    return [json.loads(path.read_text()) for path in (study / "runs/smoke").glob("fold*/shards/*.json")]


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
        trainings = 2 if name == "controlnet" else 1  # it starts from the trained ddpm
        assert net["seen"] == trainings * p.training.steps * p.training.batch
    assert len({json.dumps(cost["solver"], sort_keys=True) for cost in found}) == 1
    for cost in found:
        wanted = p.sampling.ddpm_steps if cost["method"] == "ddpm" else p.sampling.steps
        assert cost["steps"] == wanted
    table = pd.read_csv(study / "reports/table1.csv")
    assert table["n"].nunique() == 1
    table = pd.read_csv(study / "reports/table2.csv")
    doses = table[table["dose"] > 0].groupby("set")["dose"].apply(list).map(sorted)
    assert all(found == p.segmentation.doses for found in doses)


def test_only_the_leak_arm_saw_the_test_patients(study):
    split = pd.read_csv(study / "runs/smoke/split.csv", dtype=str)
    for path in sorted((study / "runs/smoke").glob("*/*.safetensors")):
        arm, net = path.parent.name, path.stem
        header = load_network(path)[1]
        assert header["folds"]["leak"] == (arm == "leak0"), net
        train = len(split) if arm == "leak0" else (split[arm] == "train").sum()
        assert header["trained_pairs"] == train, (arm, net)
    table = pd.read_csv(study / "reports/table2.csv")
    leaks = table[table["set"] == "pig-leak"]
    assert len(leaks) == 3 and leaks["training_set"].str.startswith("LEAK").all()


def test_scores_of_test_patients_are_of_test_patients_alone(study):
    split = pd.read_csv(study / "runs/smoke/split.csv", dtype=str).set_index("id")
    for path in sorted((study / "runs/smoke").glob("fold*/segment/*.0.csv")):
        scores = pd.read_csv(path, dtype={"id": str})
        assert set(split.loc[scores["id"], path.parent.parent.name]) == {"test"}, path


def test_the_page_to_read_first_says_what_was_run_and_only_what_the_rules_say(study):
    page = (study / "reports/study.md").read_text(encoding="utf-8")
    first = ("git", "rev-list", "--max-parents=0", "--abbrev-commit", "--abbrev=12", "HEAD")
    revision = run(*first, cwd=study).strip()
    pairs = read_archive(study / "runs/smoke/pairs.zip")
    for part in ("`smoke`", revision, digest(pairs)[:16], "pig 0.", "hours of jobs", "| Hardware | "):
        assert part in page, part
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


def test_masks_given_to_rivals_are_of_the_folds_training_patients(study):
    split = pd.read_csv(study / "runs/smoke/split.csv", dtype=str).set_index("id")
    real = read_archive(study / "runs/smoke/pairs.zip")
    for path in sorted((study / "runs/smoke").glob("fold*/*.zip")):
        fold, method = path.parent.name, METHODS[path.stem]
        generated = read_archive(path)
        sources = generated.table["mask_of"]
        if not method.masks:
            assert (sources == "").all()
            continue
        assert set(split.loc[sources, fold]) == {"train"}
        if method.masks == "given":
            rows = real.table.set_index("id").index.get_indexer(sources)
            assert (generated.masks == real.masks[rows]).all()


def test_where_a_study_is_pig_sample_draws_its_own_pairs(study, tmp_path):
    made = study / "runs/smoke/fold0/pig.zip"
    number = str(len(read_archive(made)))
    job = [sys.executable, "-m", "pig", "sample", "pig", "--count", number, "--batch", "3"]
    run(*job, "--out", str(tmp_path / "pig.zip"), cwd=study)
    assert (tmp_path / "pig.zip").read_bytes() == made.read_bytes()


def test_networks_of_two_folds_are_not_sampled_together(study, tmp_path):
    nets = [f"runs/smoke/fold{fold}/{net}.safetensors" for fold, net in enumerate(("guider", "guided"))]
    job = [sys.executable, "-m", "pig", "sample", "pig", "--count", "1", "--out", str(tmp_path / "x.zip")]
    shown = run(*job, "--models", *nets, cwd=study, code=2)
    assert "expected networks of one fold; found [0, 1]" in shown and not (tmp_path / "x.zip").exists()


def test_a_killed_training_goes_on_where_it_was(study, tmp_path):
    settings = json.loads(
        to_json(load(study / "params.yaml", Params), "network", "process", "training", "folds", "guider")
    )
    settings["training"] |= {"steps": 150, "checkpoint_every": 10, "validate_every": 10}

    def train(name):
        flags = {
            "--cfg": json.dumps(settings),
            "--pairs": "runs/smoke/pairs.zip",
            "--split": "runs/smoke/split.csv",
        }
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
    assert re.search(r"resumed at step \d+0 of 150", run(*train("killed"), cwd=study))
    run(*train("whole"), cwd=study)
    for end in ("safetensors", "csv"):
        assert (tmp_path / f"killed.{end}").read_bytes() == (tmp_path / f"whole.{end}").read_bytes()
    assert not (tmp_path / "killed.pt").exists()


def test_snakemake_reports_the_study_in_one_file(study, tmp_path):
    report = tmp_path / "report.html"
    run("snakemake", "--report", str(report), cwd=study)
    text = report.read_text(encoding="utf-8")
    for name in ("index.html", "table1.csv", "progression.png", "copies.png"):
        assert name in text, name
    assert planned(study) == set()
