"""Round trips: a changed number, a kill, two people who merge, object storage, with real git, dvc and snakemake.

They start from the study of tests/test_day.py and leave its clones as they are. The commands are those of docs/data.md,
read from the page.
"""

import json
import os
import re
import signal
import subprocess
import time
from types import SimpleNamespace

import boto3
import guard
import pandas as pd
import pytest
import yaml
from clones import (
    BIN,
    NOTHING,
    ROOT,
    TAIL,
    blocks,
    commit,
    edit,
    environment,
    jobs,
    planned,
    run,
    shell,
    stamps,
)
from moto.server import ThreadedMotoServer
from tiny import FILE, NAME

from pig.data.archive import read_archive

PAIRING = "Do mask and image belong together?"


def join(day, name):
    """A clone of somebody who has pulled everything."""
    clone = day.place / name
    run("git", "clone", "--quiet", str(day.hub), str(clone), cwd=day.place)
    run("dvc", "pull", cwd=clone)
    return clone


def changed(clone):
    """The reports that say something else than those in git."""
    return set(run("git", "diff", "--name-only", "--diff-filter=d", "--", "reports", cwd=clone).split())


def contents(clone, *names):
    return [(clone / "reports" / name).read_bytes() for name in names]


# --- one number ---


@pytest.fixture(scope="module")
def cy(day):
    """A clone after `dvc repro` with one other number, and what was said."""
    clone = join(day, "cy")
    edit(clone / "params.yaml", "draws: 2000", "draws: 300")
    return clone, run("dvc", "repro", cwd=clone)


def test_dvc_runs_a_change_and_shows_what_it_did(cy):
    clone, said = cy
    assert "Running stage" in said and jobs(said) == TAIL
    names = {"table2", "table3", "figures/table2", "figures/doses", "study", "index"}
    assert {re.sub(r"reports/(.*)\.\w+", r"\1", name) for name in changed(clone)} == names
    assert planned(clone) == set()
    assert "up to date" in run("dvc", "status", cwd=clone)
    params = json.loads(run("dvc", "params", "diff", "--json", cwd=clone))
    assert params == {"params.yaml": {"statistics.draws": {"old": 2000, "new": 300, "diff": -1700}}}
    metrics = json.loads(run("dvc", "metrics", "diff", "--json", cwd=clone))
    assert list(metrics) == ["reports/table2.json"]  # metrics of Table 3 have no intervals
    assert "reports/table4.json" in run("dvc", "metrics", "show", "--json", cwd=clone)
    assert "WARNING" not in run("dvc", "plots", "diff", "HEAD", cwd=clone)
    page = (clone / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "Table 1" in page and "Table 2" in page


# --- a kill in the middle ---


@pytest.fixture(scope="module")
def di(day):
    """A clone in which `dvc repro` after a changed number was killed between two jobs, and went on; what was said."""
    clone = join(day, "di")
    run("git", "switch", "--quiet", "--create", "bo", cwd=clone)
    edit(clone / "params.yaml", "ring: 0.1 ", "ring: 0.08 ")
    log = day.place / "di.log"
    with log.open("w") as file:
        where = {"cwd": clone, "env": environment(), "stdout": file, "stderr": file}
        job = subprocess.Popen([BIN / "dvc", "repro"], **where, start_new_session=True)
        while not re.search(r"^Job \d+: Tables$", log.read_text(), flags=re.MULTILINE):
            assert job.poll() is None, log.read_text()
            time.sleep(0.05)
        os.killpg(job.pid, signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
    first = changed(clone)
    locked = run("dvc", "repro", cwd=clone, code=255)
    again = shell("\n".join(blocks("data.md", "After a kill")), clone)
    return clone, SimpleNamespace(first=first, locked=locked, again=again)


def test_a_killed_run_goes_on_after_the_jobs_that_were_finished(di):
    clone, killed = di
    assert killed.first == {"reports/pairing.csv"}
    assert "--unlock" in killed.locked
    assert jobs(killed.again) == TAIL
    assert planned(clone) == set()
    assert "up to date" in run("dvc", "status", cwd=clone)


# --- two people ---


@pytest.fixture(scope="module")
def merged(cy, di):
    """Her clone after both pushed and she merged by the page; the results of both; what git said and what was run."""
    clone, other = cy[0], di[0]
    for person, name in ((clone, "Fewer draws"), (other, "A wider ring")):
        commit(person, name)
        run("dvc", "push", cwd=person)
        run("git", "push", "--quiet", "origin", "HEAD", cwd=person)
    both = [contents(person, "table2.csv", "pairing.csv", "table3.csv") for person in (clone, other)]
    before = stamps(clone)
    (script,) = blocks("data.md", "Two people, two results")
    resolve, make = script.split("dvc repro\n")
    said = shell(resolve, clone)
    plan = planned(clone)
    shell(f"dvc repro\n{make}", clone)
    remade = {
        name for name, when in stamps(clone).items() if name.startswith("runs") and before.get(name) != when
    }
    return SimpleNamespace(clone=clone, both=both, said=said, plan=plan, remade=remade)


def test_two_results_conflict_in_what_is_made_and_not_in_the_settings(merged):
    conflicts = set(re.findall(r"Merge conflict in (\S+)", merged.said))
    assert {"dvc.lock", "reports/table3.csv", "reports/study.md"} <= conflicts
    assert all(name == "dvc.lock" or name.startswith("reports/") for name in conflicts)


def test_a_merge_makes_anew_just_what_the_other_side_changed(merged):
    assert merged.plan == {PAIRING, *TAIL}
    assert merged.remade and all("/figures/" in name for name in merged.remade)


def test_a_merge_holds_both_changes(merged):
    clone, (hers, his) = merged.clone, merged.both
    settings = yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))
    locked = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"]["study"]
    for params in (settings, locked["params"]["params.yaml"]):
        assert (params["statistics"]["draws"], params["pairing"]["ring"]) == (300, 0.08)
    table2, pairing, table3 = contents(clone, "table2.csv", "pairing.csv", "table3.csv")
    assert table2 == hers[0] != his[0]
    assert pairing == his[1] != hers[1]
    assert table3 not in (hers[2], his[2])
    assert planned(clone) == set()
    assert "up to date" in run("dvc", "status", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""


def test_each_branch_checked_out_and_pulled_has_nothing_to_do(merged, di):
    clone = di[0]
    run("git", "switch", "--quiet", "main", cwd=clone)
    run("git", "pull", "--quiet", cwd=clone)
    run("dvc", "pull", cwd=clone)
    assert planned(clone) == set()
    names = ("table2.csv", "pairing.csv", "table3.csv", "table3.tex", "study.md", "figures/doses.png")
    assert contents(clone, *names) == contents(merged.clone, *names)
    run("git", "switch", "--quiet", "bo", cwd=clone)
    run("dvc", "checkout", cwd=clone)
    assert planned(clone) == set()
    assert "up to date" in run("dvc", "status", cwd=clone)


# --- remotes ---


def test_a_folder_as_a_remote_and_the_guard_are_commands_of_the_day(day):
    done = "".join(blocks("day.md")).splitlines()
    for heading in ("Private data", "A remote in a folder"):
        (block,) = blocks("data.md", heading)
        assert [line for line in block.splitlines() if line not in done] == []
    assert "in sync" in run("dvc", "status", "--cloud", cwd=day.ada)


@pytest.fixture
def s3(monkeypatch):
    """moto's S3 on loopback, which checks signatures; a bucket, and the key of the one user who may use it."""
    monkeypatch.setattr(
        "moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 4
    )  # the calls below; then the key's owner
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    anyone = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    iam = boto3.client("iam", endpoint_url=url, **anyone)
    iam.create_user(UserName="ada")
    key = iam.create_access_key(UserName="ada")["AccessKey"]
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="ada", PolicyName="all", PolicyDocument=policy)
    boto3.client("s3", endpoint_url=url, **anyone).create_bucket(Bucket="pig")
    yield SimpleNamespace(url=url, id=key["AccessKeyId"], secret=key["SecretAccessKey"])
    server.stop()


def test_a_study_travels_through_s3_with_keys_in_the_local_config_alone(study, s3, tmp_path):
    alone = {name: None for name in os.environ if name.startswith("AWS_")}  # no keys but those of the clone
    alone |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    shared, keys, finds = blocks("data.md", "A remote in S3, or what speaks its language")
    places = {"s3://bucket/study": "s3://pig/study", "https://s3.example.org": s3.url}

    here, there = tmp_path / "here", tmp_path / "there"
    run("git", "clone", "--quiet", str(study), str(here), cwd=tmp_path)
    run("dvc", "cache", "dir", "--local", str(study / ".dvc/cache"), cwd=here)  # its files need no copy
    run("dvc", "remote", "remove", "store", cwd=here)
    shell(shared, here, places, **alone)
    assert "Unable to locate credentials" in run("dvc", "push", cwd=here, code=255, **alone)
    shell(keys, here, {"KEY_ID": s3.id, "SECRET_KEY": "wrong"}, **alone)
    assert "Forbidden" in run("dvc", "push", cwd=here, code=255, **alone)
    shell(keys, here, {"KEY_ID": s3.id, "SECRET_KEY": s3.secret}, **alone)
    assert re.search(r"\d+ files pushed", run("dvc", "push", cwd=here, **alone))

    run("git", "clone", "--quiet", str(here), str(there), cwd=tmp_path)
    assert "Unable to locate credentials" in run("dvc", "pull", cwd=there, code=1, **alone)
    assert not (there / "runs").exists()
    shell(keys, there, {"KEY_ID": s3.id, "SECRET_KEY": s3.secret}, **alone)
    assert NOTHING in shell(finds, there, **alone)

    for clone in (here, there):
        assert s3.secret in (clone / ".dvc/config.local").read_text(encoding="utf-8")
        run("git", "add", "--all", cwd=clone)
        command = ["git", "cat-file", "--batch", "--batch-all-objects", "--unordered"]
        everything = subprocess.run(command, cwd=clone, capture_output=True, check=True).stdout
        assert s3.url.encode() in everything
        assert s3.secret.encode() not in everything and s3.id.encode() not in everything


# --- names ---


def test_no_report_names_a_patient_or_a_slice(study):
    """Neither what this study generated nor what the repository has committed, which is of 1,000 virtual patients.

    In pictures nothing can hide: the guard refuses one with any text in it.
    """
    table = read_archive(study / "data/dbt.zip").table
    split = pd.read_csv(study / "runs/dbt/split.csv", dtype=str)
    assert set(table["id"]) == set(split["id"]) and len(table) == 16
    names = {NAME, FILE, *table["patient"], *table["id"]}
    virtual = {f"p{patient:04d}" for patient in range(1000)}
    reports = [
        (top, path) for top in (study, ROOT) for path in (top / "reports").rglob("*") if path.is_file()
    ]
    assert len(reports) > 40
    for top, path in reports:
        content = path.read_bytes()
        assert guard.refusal(path.relative_to(top).as_posix(), content) is None, path
        content = guard.EMBEDDED.sub(b"", content)  # base64 may spell anything, and so may
        content = re.sub(rb"\b[a-z]+[0-9]+-p[0-9a-f]{10}\b", b"", content)  # a clip path, which a hash names
        looked_for = (
            names if path.suffix == ".png" else names | virtual
        )  # so short a one stands in pixels by chance
        assert [name for name in looked_for if name.encode() in content] == [], path
