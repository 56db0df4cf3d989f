"""Round trips: experiments, a kill, two people who merge, object storage, with real git, dvc and snakemake.

They start from the study of tests/test_workflow.py, which holds what one clone promises, and leave it as it is. The
commands are those of docs/data.md, read from the page.
"""

import json
import os
import re
import signal
import socket
import subprocess
import time
import zlib
from types import SimpleNamespace

import boto3
import pandas as pd
import pytest
import yaml
from clones import BIN, NOTHING, ROOT, blocks, commit, edit, environment, planned, run, shell, stamps
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pig.data.archive import read_archive

DRAWS = {
    "table2",
    "table3",
    "figures/table2",
    "figures/doses",
    "study",
    "index",
}  # what depends on statistics.draws
RING = {"pairing", "table3", "study", "index"}  # and on pairing.ring


@pytest.fixture(scope="module")
def hub(kept):
    """The repository that all push to, and the folder that is their remote."""
    place = kept[0].parent
    run("git", "clone", "--quiet", "--bare", str(kept[0]), "hub.git", cwd=place)
    return SimpleNamespace(git=place / "hub.git", store=place / "remote", branch=branch_of(kept[0]))


def branch_of(clone):
    return run("git", "branch", "--show-current", cwd=clone).strip()


def join(hub, name):
    """A clone of somebody who has pulled everything."""
    run("git", "clone", "--quiet", str(hub.git), name, cwd=hub.git.parent)
    clone = hub.git.parent / name
    run("dvc", "remote", "add", "--default", "--local", "store", str(hub.store), cwd=clone)
    run("dvc", "pull", cwd=clone)
    return clone


def remade(clone, before):
    """What is written now and was not `before`: reports by their stem, other files by their name."""
    names = {name for name, when in stamps(clone).items() if before.get(name) != when}
    return {re.sub(r"^reports/(.*)\.\w+$", r"\1", name) for name in names}


def settings(clone):
    return yaml.safe_load((clone / "params.yaml").read_text(encoding="utf-8"))


def contents(clone, *names):
    return [(clone / "reports" / name).read_bytes() for name in names]


# --- one number, as an experiment ---


@pytest.fixture(scope="module")
def ada(hub):
    """A clone after an experiment with one number; what was there before; what DVC said."""
    clone = join(hub, "ada")
    before = stamps(clone)
    shown = run("dvc", "exp", "run", "--name", "few-draws", "-S", "statistics.draws=300", cwd=clone)
    return clone, before, shown


def test_an_experiment_reruns_just_what_depends_on_its_number(ada):
    clone, before, shown = ada
    assert "few-draws" in shown
    assert remade(clone, before) == DRAWS
    assert planned(clone) == set()
    assert settings(clone)["statistics"]["draws"] == 300


def test_an_experiment_is_shown_beside_its_baseline(ada):
    clone = ada[0]
    (baseline,) = json.loads(run("dvc", "exp", "show", "--json", cwd=clone))[1:]
    (found,) = baseline["experiments"]
    assert found["name"] == "few-draws"
    draws = [
        each["data"]["params"]["params.yaml"]["data"]["statistics"]["draws"]
        for each in (baseline, found["revs"][0])
    ]
    assert draws == [2000, 300]
    params = json.loads(run("dvc", "params", "diff", "--json", cwd=clone))
    assert params == {"params.yaml": {"statistics.draws": {"old": 2000, "new": 300, "diff": -1700}}}
    metrics = json.loads(run("dvc", "metrics", "diff", "--json", cwd=clone))
    assert list(metrics) == ["reports/table2.json"]  # metrics of Table 3 have no intervals
    assert (
        json.loads(run("dvc", "exp", "diff", "--json", "HEAD", "few-draws", cwd=clone))["metrics"] == metrics
    )
    run("dvc", "plots", "diff", "HEAD", "few-draws", cwd=clone)
    assert "few-draws" in (clone / "dvc_plots/index.html").read_text(encoding="utf-8")


# --- a kill in the middle ---


@pytest.fixture(scope="module")
def bo(hub):
    """A clone in which `dvc repro` after a changed number was killed between two jobs, and went on; what was said."""
    clone = join(hub, "bo")
    run("git", "switch", "--quiet", "--create", "bo", cwd=clone)
    edit(clone / "params.yaml", "ring: 0.06", "ring: 0.08")
    before = stamps(clone)
    log = clone.parent / "bo.log"
    with log.open("w") as file:
        job = subprocess.Popen(
            [BIN / "dvc", "repro"],
            cwd=clone,
            env=environment(),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        while not re.search(r"^Job \d+: Table 3$", log.read_text(), flags=re.MULTILINE):
            assert job.poll() is None, log.read_text()
            time.sleep(0.05)
        os.killpg(job.pid, signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
    first = remade(clone, before)
    locked = run("dvc", "repro", cwd=clone, code=255)
    at_kill = stamps(clone)
    shell("\n".join(blocks("data.md", "After a kill")), clone)
    return clone, SimpleNamespace(first=first, locked=locked, second=remade(clone, at_kill))


def test_a_killed_run_goes_on_after_the_jobs_that_were_finished(bo):
    clone, killed = bo
    assert killed.first == {"pairing"}
    assert "--unlock" in killed.locked
    assert killed.second == RING - {"pairing"}
    assert planned(clone) == set()
    assert "up to date" in run("dvc", "status", cwd=clone)


# --- two people ---


@pytest.fixture(scope="module")
def merged(hub, ada, bo):
    """Her clone after both pushed and she merged by the page; the results of both; what git said and what was run."""
    run("git", "checkout", "--quiet", "HEAD", "--", "params.yaml", cwd=ada[0])  # DVC's layout would conflict
    edit(ada[0] / "params.yaml", "draws: 2000", "draws: 300")
    assert "up to date" in run("dvc", "status", cwd=ada[0])
    for clone, name in ((ada[0], "Fewer draws"), (bo[0], "A wider ring")):
        commit(clone, name)
        run("dvc", "push", cwd=clone)
        run("git", "push", "--quiet", "origin", "HEAD", cwd=clone)
    clone = ada[0]
    both = [contents(person, "table2.csv", "pairing.csv", "table3.csv") for person in (clone, bo[0])]
    before = stamps(clone)
    (script,) = blocks("data.md", "Two people, two results")
    resolve, make = script.split("dvc repro\n")
    said = shell(resolve, clone)
    plan = planned(clone)
    shown = shell(f"dvc repro\n{make}", clone)
    again = {name for name in remade(clone, before) if name.startswith("runs/")}
    return SimpleNamespace(clone=clone, both=both, said=said, plan=plan, shown=shown, runs_remade=again)


def test_two_results_conflict_in_what_is_made_and_not_in_the_settings(merged):
    conflicts = set(re.findall(r"Merge conflict in (\S+)", merged.said))
    assert {"dvc.lock", "reports/table3.csv", "reports/study.md"} <= conflicts
    assert all(name == "dvc.lock" or name.startswith("reports/") for name in conflicts)


def test_a_merge_makes_anew_just_what_the_other_side_changed(merged):
    assert {re.sub(r"\?$", "", job) for job in merged.plan} == {
        "Do mask and image belong together",
        "Table 3",
        "The report as a web page and in Markdown",
    }
    assert merged.runs_remade == set()


def test_a_merge_holds_both_changes(merged):
    clone, (hers, his) = merged.clone, merged.both
    locked = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))["stages"]["study"]
    for params in (settings(clone), locked["params"]["params.yaml"]):
        assert (params["statistics"]["draws"], params["pairing"]["ring"]) == (300, 0.08)
    table2, pairing, table3 = contents(clone, "table2.csv", "pairing.csv", "table3.csv")
    assert table2 == hers[0] != his[0]
    assert pairing == his[1] != hers[1]
    assert table3 not in (hers[2], his[2])
    assert planned(clone) == set()
    assert "up to date" in run("dvc", "status", cwd=clone)
    assert run("git", "status", "--porcelain", cwd=clone) == ""


def test_each_branch_checked_out_and_pulled_has_nothing_to_do(hub, merged, bo):
    clone = bo[0]
    run("git", "switch", "--quiet", hub.branch, cwd=clone)
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


def beside(study, place):
    """A clone at `place` that uses the study's own cache: its files need no copy."""
    run("git", "clone", "--quiet", str(study), str(place), cwd=study)
    run("dvc", "cache", "dir", "--local", str(study / ".dvc/cache"), cwd=place)
    return place


def test_a_folder_becomes_the_remote_under_the_guards_eyes(kept, tmp_path):
    clone = beside(kept[0], tmp_path / "here")
    (watch,) = blocks("data.md", "Private data")
    (share,) = blocks("data.md", "A remote in a folder")
    shell(watch, clone)
    assert re.search(r"\d+ files pushed", shell(share, clone, {"/mnt/lab/store": tmp_path / "store"}))
    assert "in sync" in run("dvc", "status", "--cloud", cwd=clone)


@pytest.fixture
def s3(tmp_path):
    """moto's S3 on loopback, which checks signatures; a bucket, and the key of the one user who may use it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    env = {
        **os.environ,
        "INITIAL_NO_AUTH_ACTION_COUNT": "4",
    }  # the four calls below; then only the key's owner
    with (tmp_path / "moto.log").open("w") as log:
        server = subprocess.Popen(
            [BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], env=env, stdout=log, stderr=log
        )
        try:
            while True:
                assert server.poll() is None, (tmp_path / "moto.log").read_text()
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            anyone = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
            iam = boto3.client("iam", endpoint_url=url, **anyone)
            iam.create_user(UserName="ada")
            key = iam.create_access_key(UserName="ada")["AccessKey"]
            allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            iam.put_user_policy(UserName="ada", PolicyName="all", PolicyDocument=policy)
            boto3.client("s3", endpoint_url=url, **anyone).create_bucket(Bucket="pig")
            yield SimpleNamespace(url=url, id=key["AccessKeyId"], secret=key["SecretAccessKey"])
        finally:
            server.terminate()
            server.wait()


def test_a_study_travels_through_s3_with_keys_in_the_local_config_alone(kept, s3, tmp_path):
    alone = {name: None for name in os.environ if name.startswith("AWS_")}  # no keys but those of the clone
    alone |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    shared, keys, finds = blocks("data.md", "A remote in S3, or what speaks its language")
    places = {"s3://bucket/study": "s3://pig/study", "https://s3.example.org": s3.url}

    here, there = beside(kept[0], tmp_path / "here"), tmp_path / "there"
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


def told(path):
    """What a report says: its bytes, and in a PNG what its compressed chunks of text hide.

    Pictures in a page are left out: tests/guard.py refuses one with any text in it, and base64 may spell anything.
    """
    content = re.sub(rb"data:image/png;base64,[A-Za-z0-9+/=]+", b"", path.read_bytes())
    yield content
    if path.suffix == ".png":
        at = 8
        while at < len(content):
            size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
            data = content[at + 8 : at + 8 + size]
            if kind == b"zTXt":
                yield zlib.decompress(data.split(b"\0", 1)[1][1:])
            if kind == b"iTXt" and data.split(b"\0", 1)[1][:1] == b"\1":
                yield zlib.decompress(data.split(b"\0", 1)[1][2:].split(b"\0", 2)[2])
            at += 12 + size


def test_no_report_names_a_patient_or_a_slice(study):
    """Neither what this study generated nor what the repository has committed, which is of 100 virtual patients."""
    table = read_archive(study / "runs/smoke/pairs.zip").table
    split = pd.read_csv(study / "runs/smoke/split.csv", dtype=str)
    assert set(table["id"]) == set(split["id"]) and len(table) == 32
    names = {*table["patient"], *table["id"], *(f"p{patient:04d}" for patient in range(100))}
    reports = [path for top in (study, ROOT) for path in (top / "reports").rglob("*") if path.is_file()]
    assert len(reports) > 40
    for path in reports:
        for content in told(path):
            assert [name for name in names if name.encode() in content] == [], path


def test_names_hidden_in_a_picture_would_be_found(tmp_path):
    for zipped in (False, True):
        for add in (PngInfo.add_text, PngInfo.add_itxt):
            about = PngInfo()
            add(about, "Title", "patient p0001", zip=zipped)
            Image.new("L", (8, 8)).save(tmp_path / "a.png", pnginfo=about)
            assert any(b"p0001" in content for content in told(tmp_path / "a.png"))
