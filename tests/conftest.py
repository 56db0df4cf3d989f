"""One thread for every test and every process that a test starts, before any library counts the cores; a salt; the one
study of a session, which tests/test_day.py, test_round_trips.py and test_workflow.py share.

Property tests draw the same examples each time, so that they pass or fail for everyone alike; with PIG_FUZZ=N in the
environment they draw N new ones each.
"""

import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from clones import BIN, METHODS, REPORTS, ROOT, blocks, commit, edit, run, shell
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


TOGETHER = {  # a fixture of a session, and the files whose tests share it
    "day": ("test_day", "test_round_trips", "test_workflow"),
    "tiny": ("test_api", "test_dataset", "test_examples", "test_export", "test_plans"),
}


def pytest_configure(config):
    config.addinivalue_line("markers", "slurm: starts a real Slurm of one node, if PIG_TEST_SLURM=1")


def pytest_collection_modifyitems(items):
    """Whole studies, the longest, begin."""
    items.sort(key=lambda item: item.path.stem not in TOGETHER["day"])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A process takes a file at a time, in the order of collection, and files that share a costly fixture as one."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return next((name for name, files in TOGETHER.items() if Path(file).stem in files), file)

    config.option.loadscopereorder = False
    return Files(config, log)


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
    clone = tmp_path_factory.mktemp("fresh") / "pig"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        elsewhere = re.match("reports/(?!figures/)[^/]+/", name)
        if (ROOT / name).is_file() and not elsewhere:
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, clone / name)
    (clone / "dvc.lock").unlink(missing_ok=True)
    edit(clone / "params.yaml", "\nprofile: demo", "\nprofile: smoke")
    run("git", "init", "--quiet", "--initial-branch", "main", cwd=clone)
    commit(clone, "Fresh")
    return clone


@pytest.fixture(scope="session")
def day(fresh, tmp_path_factory):
    """The one study: every command of docs/day.md in order, on small private images, with METHODS and stale reports.

    It has the hub that all push to, the clones of Ada and Bo, what each block said, and the reports that Bo changed.
    """
    import tiny

    place = tmp_path_factory.mktemp("day")
    tiny.private(place / "dbt")
    run("git", "clone", "--quiet", "--bare", str(fresh), "hub.git", cwd=place)
    stale = " ".join(f"reports/{name}.csv" for name in REPORTS)
    placeholders = {
        "git@git.example.org:lab/pig.git": place / "hub.git",
        "/mnt/lab/dbt": place / "dbt",
        "/mnt/lab/store": place / "store",
        "make .venv": "true",
        "*demo": "*smoke",
        "methods: [pig]": f"methods: [{', '.join(METHODS)}]",
        "quiet reports\n": f"quiet reports\nmkdir reports\necho stale | tee {stale}\n",
        "dvc exp show": "git diff --name-only -- reports > ../changed\ndvc exp show",
    }
    script = "".join(f"echo '::: block'\n{block}" for block in blocks("day.md"))
    said = shell(f"exec 2>&1\n{script}", place, placeholders).split("::: block\n")[1:]
    changed = (place / "changed").read_text(encoding="utf-8").splitlines()
    return SimpleNamespace(
        place=place, hub=place / "hub.git", ada=place / "ada", bo=place / "bo", said=said, changed=changed
    )


@pytest.fixture(scope="session")
def study(day):
    """Ada's clone in the evening; tests only read it."""
    return day.ada


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with the networks of fold 0, trained for a few steps; tests only read it."""
    import tiny

    return tiny.make(tmp_path_factory.mktemp("tiny"))
