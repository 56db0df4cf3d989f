"""What `pig doctor` thinks of this machine: from what was found to a verdict and what to do about it.

Every check takes values and returns a Check; pig/cli/verbs/doctor.py looks at the machine.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pig.cli.console import amount

Verdict = Literal["ok", "warning", "problem"]
LARGE = 128  # pixels a side from which training on processors takes weeks to years (docs/scale.md)
TEMPORARY = 100_000_000  # bytes free for temporary files of libraries: ours lie beside what they become
INSTALL = "`make .venv` installs what the lock names"


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""  # what to do; "" if ok


def python(version: str, expected: str | None) -> Check:
    """`version` of Python against a specifier like ">=3.11,<3.14"; None: pig is not installed, and does not say."""
    if expected is None:
        return Check("Python", "problem", f"{version}, in which pig is not installed", INSTALL)
    if SpecifierSet(expected).contains(version, prereleases=True):
        return Check("Python", "ok", version)
    advice = f"install a Python {expected} and run `make .venv PYTHON=/path/to/it`"
    return Check("Python", "problem", f"{version}; expected {expected}", advice)


def packages(required: Sequence[str], installed: Mapping[str, str]) -> Check:
    """Requirements such as "torch>=2.9" against the versions installed, by normalised name."""
    lacking = []
    for text in required:
        asked = Requirement(text)
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        found = installed.get(normalised(asked.name))
        if found is None:
            lacking.append(f"{asked.name} is missing")
        elif not asked.specifier.contains(found, prereleases=True):
            lacking.append(f"{asked.name} {found}, expected {asked.specifier}")
    if lacking:
        return Check("packages", "problem", "; ".join(lacking), INSTALL)
    shown = [f"{name} {installed[name]}" for name in ("torch", "snakemake", "dvc") if name in installed]
    return Check("packages", "ok", ", ".join(shown) or "all that pig asks for")


def normalised(name: str) -> str:
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def device(gpus: Mapping[str, int], driver: bool, cuda: str | None, size: int, needed: int) -> Check:
    """What computes.

    gpus: name -> bytes of memory of what torch finds. driver: whether nvidia-smi is there. cuda: the version that torch
    was built for. size: pixels a side. needed: bytes of memory to train the largest network.
    """
    if gpus:
        shown = ", ".join(f"{name} ({amount(memory)})" for name, memory in gpus.items())
        if needed > min(gpus.values()):
            advice = (
                "lower training.batch or network.width, or leave the largest out of `methods` in params.yaml"
            )
            return Check("device", "problem", f"{shown}; the largest training wants {amount(needed)}", advice)
        return Check("device", "ok", shown)
    if driver:
        if cuda is None:
            advice = "install the torch of the same version that is built for CUDA (pytorch.org)"
        else:
            advice = (
                f"update NVIDIA's driver to one of CUDA {cuda}; look at CUDA_VISIBLE_DEVICES and `nvidia-smi`"
            )
        built = f"built for CUDA {cuda}" if cuda else "built without CUDA"
        return Check("device", "warning", f"a GPU's driver, but torch, {built}, finds no GPU", advice)
    if size >= LARGE:
        advice = f"use a machine with a GPU, or a profile of images below {LARGE} pixels (docs/scale.md)"
        return Check("device", "warning", f"no GPU for images of {size}x{size}", advice)
    return Check("device", "ok", f"no GPU; processors will do for images of {size}x{size}")


def cores(visible: int, quota: float | None) -> Check:
    """Processors that this process sees, and how many of them a container's quota is worth."""
    if quota is not None and quota < visible:
        few = max(int(quota), 1)
        advice = f"more jobs than that slow each other down: `make study CORES={few}`"
        return Check("cores", "warning", f"{visible}, of which a quota gives {quota:g}", advice)
    return Check("cores", "ok", f"{visible}, a job of one thread on each")


def memory(total: int, cores: int, job: int) -> Check:
    """`total` bytes of memory against one job of `job` bytes at most, and one on each of `cores`."""
    found = f"{amount(total)}; a job takes up to {amount(job)}"
    if total < job:
        advice = "use a machine with more, lower training.batch or data.size, or another profile"
        return Check("memory", "problem", found, advice)
    if total < cores * job:
        advice = f"run {total // job} at once: `make study CORES={total // job}`"
        return Check("memory", "warning", f"{found}, and {cores} cores start as many", advice)
    return Check("memory", "ok", found)


def disk(free: int, there: int, study: int, writable: bool) -> Check:
    """`free` bytes, and `there` bytes of earlier runs, against a `study` of that many at most, and DVC's copy of it."""
    if not writable:
        return Check("disk", "problem", "this folder cannot be written", "work in a folder of your own")
    left = max(study - there, 0)
    found = f"{amount(free)} free; the study takes up to {amount(left)} more"
    if free < left:
        return Check("disk", "problem", found, "free some, or work on another disk")
    if free < left + study:
        advice = "enough for `make study`; `dvc repro` copies all into its cache where the file system has no reflinks"
        return Check("disk", "warning", f"{found}, and DVC's cache {amount(study)}", advice)
    return Check("disk", "ok", found)


def temporary(free: int, folder: str) -> Check:
    """Bytes free where libraries put temporary files."""
    if free < TEMPORARY:
        return Check(
            "temporary",
            "warning",
            f"{folder}: {amount(free)} free",
            "free some, or set TMPDIR to another folder",
        )
    return Check("temporary", "ok", f"{folder}: {amount(free)} free")


def weights(place: str | None, name: str | None, error: str) -> Check:
    """The extractor of features: its place (None: nowhere), what it is by its hash (None: another), or the `error`."""
    if place is None:
        return Check("weights", "problem", "no InceptionV3 weights", error)
    if name is None:
        return Check("weights", "problem", f"{place}: not the file that is expected", error)
    return Check("weights", "ok", f"{place}: {name}")


def settings(profile: str | None, error: str) -> Check:
    """Whether params.yaml is valid for the profile."""
    if profile is None:
        return Check("settings", "problem", error, "mend the file of settings, or choose another --profile")
    return Check("settings", "ok", f"profile {profile}")


def data(source: str, pairs: int | None, error: str) -> Check:
    """data.source: the embedded data set, or an archive with that many pairs, or None and the `error`."""
    if source == "phantom":
        return Check("data", "ok", f"the embedded data set, {pairs} pairs")
    if pairs is None:
        advice = "`pig import` makes an archive, `dvc pull` fetches one that was shared"
        return Check("data", "problem", f"data.source {source}: {error}", advice)
    return Check("data", "ok", f"{source}: {pairs} pairs")


def git(version: str | None, repository: bool) -> Check:
    """Whether git is there, and this folder within its reach."""
    if version is None:
        advice = "install git: networks record the revision that made them, and DVC needs it"
        return Check("git", "warning", "not installed", advice)
    if not repository:
        return Check(
            "git",
            "warning",
            "this folder is in no repository",
            "work in a clone, or `git init`: DVC needs it",
        )
    return Check("git", "ok", version)


def lock(locked: bool) -> Check:
    """Whether Snakemake holds this folder, or a killed one left its lock."""
    if locked:
        advice = "if none is running here, one was killed: `.venv/bin/snakemake --unlock`"
        return Check("lock", "warning", "Snakemake holds this folder", advice)
    return Check("lock", "ok", "no Snakemake holds this folder")


class Remote(NamedTuple):
    """A place that DVC pushes to; of a folder, whether it is there and may be written."""

    name: str
    url: str
    folder: bool
    exists: bool = False
    writable: bool = False  # the folder; if it is not there, the one that it would be made in
    keys: bool = False  # of others: whether .dvc/config.local has any


def remote(initialised: bool, default: Remote | None, error: str = "") -> Check:
    """DVC: set up, with a default remote that can be reached. Others than folders are not contacted."""
    if error:
        return Check("DVC", "problem", error, "mend the file, or write it anew with `dvc remote add`")
    if not initialised:
        return Check(
            "DVC", "warning", "no .dvc here: results are kept by nobody", "work in a clone, or `dvc init`"
        )
    if default is None:
        advice = "to share results: `dvc remote add --default store /a/folder` (docs/data.md)"
        return Check("DVC", "warning", "no default remote: results stay on this machine", advice)
    found = f"remote {default.name}: {default.url}"
    if not default.folder:
        keys = "" if default.keys else "; no keys in .dvc/config.local"
        return Check("DVC", "ok", f"{found}, not contacted{keys}")
    if default.exists and default.writable:
        return Check("DVC", "ok", found)
    if default.exists:
        return Check(
            "DVC", "warning", f"{found} cannot be written", "`dvc pull` works; ask its owner to let you push"
        )
    if default.writable:
        return Check("DVC", "ok", f"{found}, which the first `dvc push` makes")
    return Check("DVC", "problem", f"{found} is not there", "mount it, or change it: `dvc remote modify`")
