"""One thread for every test and every process that a test starts, before any library counts the cores; a salt; the one
study of a session, which tests/test_workflow.py and tests/test_round_trips.py share.

Property tests draw the same examples each time, so that they pass or fail for everyone alike; with PIG_FUZZ=N in the
environment they draw N new ones each.
"""

import os
import re
import shutil

import pytest
from clones import BIN, REPORTS, ROOT, commit, edit, planned, run, stamps
from hypothesis import HealthCheck, Phase, settings

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

os.environ["PIG_SALT"] = "the salt of tests, known to all"  # so that no import makes a file of its own

for profile, more in {
    "same": {"derandomize": True, "max_examples": 50},
    "fuzz": {"print_blob": True, "max_examples": int(os.environ.get("PIG_FUZZ", 1))},
}.items():
    settings.register_profile(
        profile,
        database=None,
        deadline=None,  # as for slowness, a matter of the machine; no other check is left out
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        **more,
    )
settings.load_profile("fuzz" if "PIG_FUZZ" in os.environ else "same")


def pytest_configure(config):
    config.addinivalue_line("markers", "slurm: starts a real Slurm of one node, if PIG_TEST_SLURM=1")


@pytest.fixture
def rng():
    import numpy as np  # not before threads are set

    return np.random.default_rng(0)


@pytest.fixture(scope="session", autouse=True)
def no_state_of_dvc_outside(tmp_path_factory):
    """DVC remembers folders by their path, and pytest uses a path again."""
    os.environ["DVC_SITE_CACHE_DIR"] = str(tmp_path_factory.mktemp("dvc"))


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """A clone of this tree as it is now, set to profile smoke, without what other profiles report."""
    assert (BIN / "pig").exists(), f"{BIN} has no pig: pip install --no-deps --no-build-isolation -e ."
    clone = tmp_path_factory.mktemp("study") / "pig"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        elsewhere = re.match("reports/(?!figures/)[^/]+/", name)
        if (ROOT / name).is_file() and not elsewhere:
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    (clone / "dvc.lock").unlink(missing_ok=True)
    edit(clone / "params.yaml", "\nprofile: demo", "\nprofile: smoke")
    run("git", "init", "--quiet", cwd=clone)
    commit(clone, "Fresh")
    return clone


@pytest.fixture(scope="session")
def study(fresh):
    """The clone after one `snakemake --cores 2`, although the reports in git made it look finished."""
    for name in REPORTS:
        (fresh / f"reports/{name}.csv").parent.mkdir(exist_ok=True)
        (fresh / f"reports/{name}.csv").write_text("stale\n", encoding="utf-8")
    run("snakemake", "--cores", "2", cwd=fresh)
    return fresh


@pytest.fixture(scope="session")
def kept(study):
    """The study after `dvc repro`, committed and pushed to a remote; and what was there before it."""
    before = stamps(study)
    shown = run("dvc", "repro", cwd=study)
    commit(study, "Study")
    run("dvc", "remote", "add", "--default", "--local", "kept", str(study.parent / "remote"), cwd=study)
    run("dvc", "push", cwd=study)
    return study, before, shown


@pytest.fixture(scope="session")
def pulled(kept):
    """A second clone after `dvc pull`, and whether Snakemake found it finished."""
    clone = kept[0].parent / "pulled"
    run("git", "clone", "--quiet", str(kept[0]), str(clone), cwd=kept[0])
    run("dvc", "remote", "add", "--default", "--local", "kept", str(kept[0].parent / "remote"), cwd=clone)
    run("dvc", "pull", cwd=clone)
    return clone, planned(clone)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with the networks of fold 0, trained for a few steps; tests only read it."""
    import tiny

    return tiny.make(tmp_path_factory.mktemp("tiny"))
