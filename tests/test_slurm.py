"""The study on a cluster: what jobs ask for, and the whole of it on a real Slurm of one node.

The tests marked `slurm` start that Slurm (tests/slurm/cluster.py) and take a quarter of an hour:
    PIG_TEST_SLURM=1 .venv/bin/python -m pytest tests/test_slurm.py -m slurm
"""

import os
import re
import subprocess
import time

import pytest
import yaml
from clones import BIN, NOTHING, ROOT, environment, run
from slurm.cluster import cluster, installed

PROFILE = ROOT / "profiles/slurm"
SMOKE = ("snakemake", "--snakefile", str(ROOT / "Snakefile"), "--config", "profile=smoke")
ASKED = ("threads", "mem_mb", "runtime", "gpu")


def rules():
    """The text of each rule of the workflow that runs something, by its name."""
    found = {}
    for path in [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]:
        for text in re.split(r"(?m)^ *(?=rule \w+:$)", path.read_text(encoding="utf-8"))[1:]:
            if re.search(r"(?m)^ +shell:$", text):
                found[re.match(r"rule (\w+):", text)[1]] = text
    return found


def snakemake(folder, *flags, method="pig", path=BIN, code=0):
    """What `snakemake` prints in `folder`; it must end with `code`. Programs in `path` come before all others."""
    programs = os.pathsep.join([str(path), environment()["PATH"]])
    return run(*SMOKE, f"methods=[{method}]", *flags, cwd=folder, code=code, PATH=programs)


def put(folder, **programs):
    """Stand-ins for programs, by name: shell lines."""
    folder.mkdir(exist_ok=True)
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def test_every_rule_that_is_submitted_says_what_it_needs():
    found = rules()
    submitted = {name: text for name, text in found.items() if "localrule: True" not in text}
    local = {"tables", "figures"}
    assert set(found) - set(submitted) == local
    assert {"train", "sample", "segment", "merge"} <= set(submitted)
    for name, text in submitted.items():
        for key in ASKED:
            assert re.search(rf"(?m)^ +{key}[=:] *\S", text), f"{name}: {key}"


def test_the_profile_and_its_page_name_rules_that_exist():
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text(encoding="utf-8"))
    named = {name for key in ("set-resources", "set-threads", "groups") for name in profile.get(key, {})}
    for path in (PROFILE / "config.yaml", ROOT / "docs/cluster.md"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"\b(\w+):(?:runtime|mem_mb|gpu|slurm_\w+)=", text))
        named |= set(re.findall(r"--(?:groups|set-threads) (\w+)=", text))
    assert named and named <= set(rules())


@pytest.fixture
def started(tmp_path):
    """A folder where a training, a segmentation on real pairs and a search for copies can start."""
    (tmp_path / "runs/smoke/fold1/shards").mkdir(parents=True)
    trained = [f"fold1/{net}.{end}" for net in ("guider", "guided") for end in ("safetensors", "csv")]
    sampled = [f"fold1/shards/pig.{shard}.{end}" for shard in (0, 1) for end in ("zip", "json")]
    for name in ("pairs.zip", "split.csv", *trained, *sampled, "fold1/pig.zip"):
        (tmp_path / "runs/smoke" / name).touch()
    return tmp_path


TARGETS = {
    "train": "runs/smoke/fold0/guider.safetensors",
    "segment_real": "runs/smoke/fold0/segment/real.0.csv",
    "copies": "runs/smoke/fold1/copies/real.csv",
}


def submitted(folder, *flags, **programs):
    """The flags of `sbatch` by rule, on a host with `programs`; the stand-in for sbatch accepts no job."""
    path = put(folder / "bin", sbatch="exit 1", sinfo="echo 'main*'", sacct="exit 1", squeue="", **programs)
    profile = ["--workflow-profile", str(PROFILE), "--retries", "0", "--keep-going"]
    profile += ["--slurm-init-seconds-before-status-checks", "1"]  # no job will run: wait for none
    printed = snakemake(folder, *profile, *flags, "--", *TARGETS.values(), path=path, code=1)
    calls = re.findall(r"^ +(sbatch .*?) --wrap=", printed, flags=re.MULTILINE)
    return {re.search(r"--comment '?rule_([a-z_]+?)(?:_wildcards|'?\s)", call)[1]: call for call in calls}


@pytest.mark.parametrize("host", [{}, {"nvidia-smi": ""}], ids=["login node", "with a GPU"])
def test_what_a_job_asks_of_slurm_does_not_depend_on_the_host_that_submits(started, host):
    calls = submitted(started, **host)
    assert set(calls) == set(TARGETS)
    asked = {"train": ("4320", "16000"), "segment_real": ("4320", "16000"), "copies": ("1440", "8000")}
    for rule, (minutes, memory) in asked.items():
        assert f" -p main -t {minutes} --mem {memory} --nodes=1 " in calls[rule]
        assert " --cpus-per-task=1" in calls[rule]
        assert (" --gpus=1" in calls[rule]) == (rule != "copies")


def test_a_cluster_without_gpus_is_asked_for_none(started):
    calls = submitted(started, "--resources", "gpu=0")
    assert set(calls) == set(TARGETS)
    assert not any("--gpus" in call or "--gres" in call for call in calls.values())


def test_several_gpus_their_model_and_the_partition_that_has_them(started):
    more = ["train:gpu=4", "train:gpu_model=a100", "train:runtime=7d"]
    partitions = str(PROFILE / "partitions.yaml")
    calls = submitted(started, "--slurm-partition-config", partitions, "--set-resources", *more)
    assert " --gpus=a100:4" in calls["train"]
    assert " -p gpu " in calls["segment_real"] and " -p cpu " in calls["copies"]


@pytest.mark.parametrize(("host", "gpus"), [({}, 0), ({"nvidia-smi": ""}, 1)], ids=["without", "with"])
def test_on_one_machine_a_job_asks_for_a_gpu_that_is_there(tmp_path, host, gpus):
    common = ROOT / "workflow/rules/common.smk"
    rule = "rule job:\n    output: 'job'\n    resources: gpu=GPU\n    shell: 'touch {output}'\n"
    file = put(tmp_path / "bin", **host).parent / "Snakefile"
    file.write_text(f"configfile: '{ROOT / 'params.yaml'}'\ninclude: '{common}'\n{rule}", encoding="utf-8")
    printed = snakemake(tmp_path, "--snakefile", str(file), "--dry-run", path=tmp_path / "bin")
    assert re.findall(r"gpu=(\d)", printed) == [str(gpus)]


opted_in = pytest.mark.skipif(
    os.environ.get("PIG_TEST_SLURM") != "1" or not installed(),
    reason="starts a Slurm: set PIG_TEST_SLURM=1, with slurm-wlm and munge installed",
)
HERE = [  # what this Slurm differs in: no accounting, and nobody's file system is slow
    "--workflow-profile", str(PROFILE), "--slurm-status-command", "squeue",
    "--slurm-init-seconds-before-status-checks", "5", "--latency-wait", "5",
]  # fmt: skip


@pytest.fixture(scope="module")
def node():
    """A running Slurm of one node, in this process's environment."""
    with cluster() as env, pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        yield


def jobs_of(printed):
    return re.findall(r"Job (\d+) has been submitted with SLURM jobid (\d+)", printed)


@pytest.mark.slurm
@opted_in
def test_the_study_runs_on_slurm(node, tmp_path):
    printed = snakemake(tmp_path, *HERE, method="ddim")
    local = len(re.findall(r"^Job \d+: (?:Table|Figure)", printed, flags=re.MULTILINE))
    steps = int(re.search(r"(\d+) of \1 steps \(100%\) done", printed)[1])
    assert local == 2
    assert len(jobs_of(printed)) == steps - local - 1  # the last is the target
    assert (tmp_path / "reports/study.md").is_file() and (tmp_path / "reports/table2.csv").is_file()
    assert NOTHING in snakemake(tmp_path, *HERE, method="ddim")


@pytest.mark.slurm
@opted_in
def test_a_training_that_the_time_limit_stops_goes_on_where_it_was(node, tmp_path):
    """Its first attempt is halted as soon as there is something to go on from, and its limit set to a minute."""
    steps = {"steps": 300, "checkpoint_every": 10, "validate_every": 300}
    more = tmp_path / "more.yaml"
    more.write_text(yaml.safe_dump({"profiles": {"smoke": {"training": steps}}}), encoding="utf-8")
    local = ["--workflow-profile", str(ROOT / "profiles/default"), "--cores", "1"]
    snakemake(tmp_path, *local, "--", "runs/smoke/split.csv")
    command = [*SMOKE, "methods=[pig]", *HERE, "--configfile", str(more), "--", TARGETS["train"]]
    printed, state = tmp_path / "printed", tmp_path / "scratch/smoke/fold0/guider.pt"
    with printed.open("w") as out:
        running = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=out, stderr=out)
        try:
            while not state.exists():
                assert running.poll() is None, printed.read_text()
                time.sleep(0.1)
            [(_, first)] = jobs_of(printed.read_text())
            asked = run("scontrol", "show", "job", first, cwd=tmp_path)
            assert "mem=16000M" in asked and "gres:gpu:1" in asked
            run("scancel", "--signal=STOP", first, cwd=tmp_path)
            run("scontrol", "update", f"JobId={first}", "TimeLimit=1", cwd=tmp_path)
            assert running.wait() == 0, printed.read_text()
        finally:
            running.kill()
    assert f"SLURM-job '{first}' failed, SLURM status is: 'TIMEOUT'" in printed.read_text()
    log = (tmp_path / "logs/smoke/fold0/guider.log").read_text()
    assert re.search(r"guider fold 0: resumed at step \d+0 of 300 from scratch/smoke/fold0/guider.pt", log)
    assert (tmp_path / TARGETS["train"]).is_file() and not state.exists()
