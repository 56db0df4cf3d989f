"""requirements.txt is what pyproject.toml asks for, hashed, and says nothing of where it was made."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([\w.-]+)==([\w.+]+)", LOCK, flags=re.MULTILINE))
WANTED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["test"],
    *PROJECT["build-system"]["requires"],
]


@pytest.mark.parametrize("wanted", WANTED)
def test_the_lock_has_what_the_project_asks_for(wanted):
    requirement = Requirement(wanted)
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin)


def test_every_pin_has_hashes():
    blocks = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(PINS) > len(WANTED)
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_lock_names_no_host_and_no_path():
    assert re.search(r"https?:|file:|index-url|find-links|@ ", LOCK) is None
    assert re.search(r"(^|\s)/\w", LOCK) is None


def test_one_opencv_without_a_screen():
    assert [name for name in PINS if name.startswith("opencv")] == ["opencv-python-headless"]
