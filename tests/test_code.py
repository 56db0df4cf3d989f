"""A code hash changes with what the code does, and with nothing else."""

import shutil
import subprocess
import sys

import pytest

from pig.core import codehash as code


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules: job -> helper (inside a function) -> leaf."""
    write = {
        "verbs/job.py": '"""Doc."""\nfrom pig.core.errors import InputError\n\n\ndef run():\n    """Doc."""\n'
        "    from pig import helper\n    # why\n    return helper.f(1)\n",
        "helper.py": "from .leaf import g\n\n\ndef f(x):\n    return g(x) + 1\n",
        "leaf.py": "def g(x):\n    return None if x else [x]\n",
        "errors.py": "class InputError(ValueError): ...\n",
        "other.py": "x = 1\n",
    }
    for name, text in write.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "PACKAGE", tmp_path)
    yield tmp_path
    forget()


def forget():
    for cached in (code._hash, code._read, code._names):
        cached.cache_clear()


def edited(package, name, old, new):
    """The hash of the job before and after an edit."""
    forget()
    before = code.code_hash("verbs.job")
    text = (package / name).read_text()
    assert old in text
    (package / name).write_text(text.replace(old, new))
    forget()
    return before, code.code_hash("verbs.job")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("verbs/job.py", "f(1)", "f(2)"),
        ("helper.py", "+ 1", "- 1"),
        ("leaf.py", "[x]", "(x,)"),
        ("leaf.py", "None if x", "x if x"),
        ("leaf.py", "[x]", "[]"),
    ],
)
def test_a_changed_function_changes_the_hash_of_all_above_it(package, name, old, new):
    before, after = edited(package, name, old, new)
    assert before != after


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("verbs/job.py", "# why", "# because"),
        ("verbs/job.py", '    """Doc."""', '    """Something else."""'),
        ("verbs/job.py", '"""Doc."""\nfrom', '"""Something else."""\n\n\nfrom'),
        ("verbs/job.py", '    """Doc."""\n', ""),
        ("helper.py", "g(x) + 1", "(\n        g(x)\n        + 1\n    )"),
        ("other.py", "1", "2"),
        ("errors.py", "ValueError", "Exception"),
    ],
)
def test_comments_docstrings_layout_and_strangers_do_not(package, name, old, new):
    before, after = edited(package, name, old, new)
    assert before == after


def test_imports_are_followed_inside_functions_and_through_dots(package):
    forget()
    assert code.closure(["verbs.job"]) == {"verbs.job", "helper", "leaf"}


def test_a_typo_is_an_error():
    with pytest.raises(FileNotFoundError, match=r"pig\.verbs\.trian"):
        code.code_hash("verbs.trian")


def test_the_hash_of_a_module_is_the_same_in_another_process_and_folder(tmp_path):
    shutil.copytree(code.PACKAGE, tmp_path / "pig", ignore=shutil.ignore_patterns("__pycache__"))
    there = subprocess.run(
        [sys.executable, "-c", "from pig.core.codehash import code_hash; print(code_hash('verbs.train'))"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == code.code_hash("verbs.train")


def test_the_jobs_depend_on_what_they_should():
    assert {"diffusion", "nets", "methods", "training"} <= code.closure(["verbs.train"])
    assert {"diffusion", "nets", "methods"} <= code.closure(["verbs.sample"])
    for verb in ("phantom", "split", "merge", "features", "fidelity", "pairing", "copies"):
        assert not {"diffusion", "nets", "methods", "training"} & code.closure([f"verbs.{verb}"]), verb
    for verb in ("segment", "trts"):  # files of networks, and with them nets, are what they read and write
        assert not {"diffusion", "methods"} & code.closure([f"verbs.{verb}"]), verb
    # Tables and figures name the methods, which brings these in; they come after everything anyway.
    for verb in ("tables", "figures"):
        assert not {"training", "weights", "segmentation"} & code.closure([f"verbs.{verb}"]), verb


TABLES = """
from pig.core.errors import InputError


def _shared(x):
    from pig import leaf

    return leaf.g(x)


def _one(x):
    return _shared(x)


def _two(x):
    from pig import other

    return _shared(x) + other.x


def public():
    return NETS


NETS = {"one": _one, "two": _two}
"""


def cut_hash(entry):
    forget()
    return code.code_hash("tables", only={"NETS": [entry]})


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("tables.py", "+ other.x", "- other.x", {"two"}),
        ("other.py", "1", "2", {"two"}),
        ("tables.py", "return _shared(x)\n\n\ndef _two", "return 2 * _shared(x)\n\n\ndef _two", {"one"}),
        ("leaf.py", "[x]", "(x,)", {"one", "two"}),
        ("tables.py", "leaf.g(x)", "leaf.g(2 * x)", {"one", "two"}),
        ("tables.py", "return NETS", "return NETS, 1", {"one", "two"}),
        ("tables.py", '"two": _two', '"two": lambda x: _two(x)', {"two"}),
        ("tables.py", '"two": _two', '"two": _two, "three": _one', set()),
        ("tables.py", "def public", "def _three(x):\n    return other\n\n\ndef public", set()),
    ],
)
def test_of_a_table_only_the_entries_that_a_job_uses_count(package, name, old, new, changed):
    (package / "tables.py").write_text(TABLES)
    before = {entry: cut_hash(entry) for entry in ("one", "two")}
    text = (package / name).read_text()
    assert text.count(old) == 1
    (package / name).write_text(text.replace(old, new))
    assert {entry for entry in before if cut_hash(entry) != before[entry]} == changed


def test_planning_a_run_loads_neither_torch_nor_pandas():
    script = (
        "import sys, pig.core.params, pig.core.codehash; pig.core.codehash.code_hash('verbs.train');"
        "print(*{'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == ""
