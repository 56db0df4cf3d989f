"""A code hash changes with what the code does, and with nothing else."""

import json
import shutil
import subprocess
import sys

import pytest

from pig.cli.main import STAGES
from pig.core import codehash as code
from pig.models.table import METHODS, NETS

FILES = {  # job -> helper (inside a function) -> leaf (through a dot)
    "verbs/job.py": '"""Doc."""\nfrom pig.core.errors import InputError\n\n\ndef run():\n    """Doc."""\n'
    "    from pig import helper\n    # why\n    return helper.f(1)\n",
    "helper.py": "import os\n\nfrom .leaf import g\nfrom pig.other import x\n\n\ndef f(x):\n    return g(x) + 1\n",
    "leaf.py": "def g(x):\n    return None if x else [x]\n",
    "core/errors.py": "class InputError(ValueError): ...\n",
    "other.py": "x = 1\n",
    "stranger.py": "x = 1\n",
}


def closure(*modules):
    """The modules whose code counts in the hash of `modules`."""
    below = [each.module for module in modules for each in code._read(module).imports]
    return {*modules, *(closure(*(name for name in below if name not in code.SHELL)) if below else ())}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def package(tmp_path, monkeypatch):
    write(tmp_path, FILES)
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    yield tmp_path
    forget()


def forget():
    for cached in (code._hash, code._read):
        cached.cache_clear()


def hashed(module="verbs.job"):
    forget()
    return code.code_hash(module)


def edit(package, name, old, new):
    text = (package / name).read_text()
    assert text.count(old) == 1
    (package / name).write_text(text.replace(old, new))


HELPER, ALL = {"verbs.job", "helper"}, {"verbs.job", "helper", "leaf"}


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("verbs/job.py", "f(1)", "f(2)", {"verbs.job"}),
        ("helper.py", "+ 1", "- 1", HELPER),
        ("helper.py", "import g\n", "import g as x\n", HELPER),
        ("leaf.py", "[x]", "(x,)", ALL),
        ("other.py", "1", "2", HELPER),
        # Comments, docstrings, layout, strangers and the modules of SHELL do not count.
        ("verbs/job.py", "# why", "# because", set()),
        ("verbs/job.py", '"""Doc."""\nfrom', '"""Something else."""\n\n\nfrom', set()),
        ("verbs/job.py", '    """Doc."""\n', "", set()),
        ("helper.py", "g(x) + 1", "(\n        g(x)\n        + 1\n    )", set()),
        ("stranger.py", "1", "2", set()),
        ("core/errors.py", "ValueError", "Exception", set()),
    ],
)
def test_a_changed_function_changes_the_hash_of_all_above_it(package, name, old, new, changed):
    before = {each: hashed(each) for each in ALL}
    edit(package, name, old, new)
    assert {each for each in before if hashed(each) != before[each]} == changed


def test_a_module_that_moves_changes_no_hash(package):
    """Its file is renamed, and the lines that import it with it: elsewhere in order, and absolute instead of dotted."""
    before = {module: hashed(module) for module in ("verbs.job", "helper", "leaf")}
    for old, new in {"leaf": "a/deep/room", "other": "zoo", "helper": "b/helper"}.items():
        (package / new).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{old}.py").rename(package / f"{new}.py")
    edit(package, "b/helper.py", "from .leaf import g\nfrom pig.other import x\n", "")
    lines = "import os\nfrom pig.zoo import x\nfrom ..a.deep.room import g\n"
    edit(package, "b/helper.py", "import os\n", lines)
    edit(package, "verbs/job.py", "from pig import helper", "from pig.b import helper")
    moved = {"verbs.job": "verbs.job", "helper": "b.helper", "leaf": "a.deep.room"}
    assert {old: hashed(new) for old, new in moved.items()} == before
    edit(package, "a/deep/room.py", "[x]", "(x,)")
    assert all(hashed(new) != before[old] for old, new in moved.items())


@pytest.mark.parametrize("line", ["from pig import one, two", "import pig.one as one, pig.two as two"])
def test_two_modules_that_change_places_change_the_hash(package, line):
    write(package, {"one.py": "x = 1\n", "two.py": "x = 2\n", "both.py": f"{line}\n\ny = one.x - two.x\n"})
    before = hashed("both")
    write(package, {"one.py": "x = 2\n", "two.py": "x = 1\n"})
    assert hashed("both") != before


def test_what_is_left_out_does_not_count_and_what_is_added_does(package):
    wanted = {"without": frozenset({"other"})}, {"also": "7"}
    plain, without, also = hashed(), *(code.code_hash("verbs.job", **each) for each in wanted)
    assert len({plain, without, also}) == 3
    edit(package, "other.py", "1", "2")
    forget()
    assert code.code_hash("verbs.job", **wanted[0]) == without and hashed() != plain


def test_a_typo_is_an_error():
    with pytest.raises(FileNotFoundError, match="trian"):
        code.code_hash("cli.verbs.trian")


# ---------------------------- of pig itself
CODES = """
import json
from pig.core.codehash import code_hash
from pig.models.table import METHODS, NETS
codes = {f"{name}, net": net.code() for name, net in NETS.items()}
codes |= {name: method.code() for name, method in METHODS.items()}
print(json.dumps({"train": code_hash("cli.verbs.train"), **codes}))
"""


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(code.PACKAGE, tmp_path / "pig", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "pig"


def codes_in(package, seed="7"):
    """The hashes in a process of its own, of the package in this folder."""
    environment = {"PYTHONPATH": str(package.parent), "PYTHONHASHSEED": seed}
    run = {"cwd": package.parent, "env": environment, "capture_output": True, "text": True, "check": True}
    return json.loads(subprocess.run([sys.executable, "-c", CODES], **run).stdout)


@pytest.fixture(scope="module")
def codes():
    return codes_in(code.PACKAGE, "8")


def test_the_hashes_are_the_same_in_another_process_and_folder(codes, copied):
    assert codes_in(copied) == codes


def test_a_new_rival_changes_the_code_of_no_other(codes, copied):
    """A file of its own, and its row."""
    rival = (copied / "models/ddpm.py").read_text()
    rival = rival.replace('"ddpm": Net(', '"rival": Net(').replace('"ddim": Sampler(', '"rival": Sampler(')
    (copied / "models/rival.py").write_text(rival)
    row = '    "rival": Method("Rival", "rival", (Net("rival", "Rival: slice", {"ddpm": Denoising}),), paired=False),\n'
    edit(copied, "models/table.py", "METHODS = {\n", f"METHODS = {{\n{row}")
    found = codes_in(copied)
    assert found.keys() - codes.keys() == {"rival", "rival, net"}
    assert {name for name in codes if found[name] != codes[name]} <= {"train"}


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("models/ldm.py", "clip=False", "clip=True", {"ldm", "ldm-varied", "ldm, net"}),
        ("models/table.py", '"LDM, varied masks"', '"LDM, other masks"', set()),
        ("models/table.py", 'LDM, masks="varied"', 'LDM, masks="given"', {"ldm-varied"}),
        ("diffusion.py", "(1 - a).sqrt() * eps\n", "(1 - a) * eps\n", None),
    ],
)
def test_a_change_counts_for_those_that_use_it(codes, copied, name, old, new, changed):
    edit(copied, name, old, new)
    found = codes_in(copied)
    expected = codes.keys() if changed is None else changed
    assert {each for each in codes if each != "train" and found[each] != codes[each]} == expected - {"train"}


def test_the_jobs_depend_on_what_they_should():
    for row in NETS.values():
        assert {"diffusion", "models.unet", "training.fit"} <= closure("cli.verbs.train", row.module)
    for row in METHODS.values():
        assert {"diffusion", "models.solvers", "data.archive"} <= closure("cli.verbs.sample", row.module)
    for verb in [*STAGES["score"], *STAGES["segment"], "phantom", "split", "merge"]:
        # Segmenters are files of networks, and no U-Net of ours.
        used = {"models.weights"} if verb in ("segment", "trts") else set()
        found = {name for name in closure(f"cli.verbs.{verb}") if name.startswith(("diffusion", "models."))}
        assert found == used, verb  # not even the table of methods: a new rival reruns none of them
    # Tables and figures name the methods; they come after everything anyway.
    for verb in ("tables", "figures"):
        assert not {"training.fit", "models.weights", "metrics.segmentation"} & closure(f"cli.verbs.{verb}")
