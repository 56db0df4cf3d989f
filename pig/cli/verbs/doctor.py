"""Check this machine for a study: what is missing, and what to do about it.

Makes the checks that a run makes at its start: settings, methods, data and the weights of InceptionV3. Then looks at
Python and its packages, the GPU, cores and memory, the disk, git, DVC's remote, and a lock that a killed run left.
Changes nothing, and asks nobody over a network. A line is ok, warning (it works, but) or problem (it will not work);
with --quiet the first kind is left out. Exit code 1 if there is a problem.
"""

import os
import platform
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pig.cli.console import amount, coloured, print_json
from pig.core import paths
from pig.core.errors import InputError, plain

if TYPE_CHECKING:
    from pig.core.params import Study

Verdict: TypeAlias = Literal["ok", "warning", "problem"]
Finding: TypeAlias = tuple[Verdict, str, str]  # verdict, what was found, what to do ("" if ok)
COLOURS = {"ok": "32", "warning": "33", "problem": "31"}  # green, yellow, red
INSTALL = "`make .venv` installs what the lock names"
LARGE = 128  # pixels a side from which training on processors takes weeks to years (docs/scale.md)
JOB = 1_100_000_000  # bytes of memory: the largest job of profile demo had 1,078 MB resident
BESIDES = 2_000_000_000  # bytes of disk for networks, features and reports (docs/scale.md)
CONTAINER = Path("/sys/fs/cgroup")  # a container's limits (cgroup v2)


class Check(NamedTuple):
    """One thing looked at."""

    name: str
    verdict: Verdict
    found: str
    advice: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--params", metavar="FILE", default="params.yaml", help="settings of the study")
    parser.add_argument("--profile", metavar="NAME", help="profile of FILE (default: the one it names)")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: Namespace) -> None:
    found = []
    for check in checks(args):
        found.append(check)
        if not args.json and (check.verdict != "ok" or not args.quiet):
            print(_line(check), flush=True)  # some take seconds
    if args.json:
        print_json([check._asdict() for check in found])
    if any(check.verdict == "problem" for check in found):
        sys.exit(1)


def _line(check: Check) -> str:
    verdict = f"{check.verdict:<8}"
    if coloured(sys.stdout):
        verdict = f"\x1b[{COLOURS[check.verdict]}m{verdict}\x1b[0m"
    advice = f"\n{'':<20}-> {plain(check.advice)}" if check.advice else ""
    return f"{verdict} {check.name:<10} {plain(check.found)}{advice}"


def checks(args: Namespace) -> Iterator[Check]:
    """All of them; without valid settings, those that need none."""
    from pig.core.params import load
    from pig.models.table import Params

    yield _check("Python", python)
    yield _check("packages", packages)
    try:
        p = load(args.params, Params, args.profile)
    except InputError as error:
        yield Check("settings", "problem", str(error), "")
    else:
        yield Check("settings", "ok", f"profile {p.profile}", "")
        yield _check("data", data, p, args.params)
        yield _check("device", device, p.data.size)
        yield _check("disk", disk, p)
        yield _check("weights", weights, p)
    yield _check("cores", cores)
    yield _check("git", git)
    yield _check("DVC", remote)
    yield _check("lock", lock)


def _check(name: str, look: Callable[..., Finding], *given: object) -> Check:
    """What `look` finds; what stops it is a problem itself."""
    try:
        return Check(name, *look(*given))
    except ImportError as error:
        return Check(name, "problem", str(error), INSTALL)
    except (InputError, OSError) as error:  # OSError: also a library of CUDA's that is not there
        return Check(name, "problem", str(error), "")


# ---------------------------- what a run checks at its start


def data(p: "Study", name: str) -> Finding:
    """Whether the archive of pairs is there."""
    p.data.check(name)
    return "ok", p.data.source, ""


def weights(p: "Study") -> Finding:
    """What `pig features` would use: the extractor of the profile, else InceptionV3."""
    import torch

    from pig.metrics import features

    own, device = p.fidelity, torch.device("cpu")
    if own.extractor is None:
        return "ok", features.inception(features.find_weights(None, os.environ), device).name, ""
    return "ok", features.pinned(Path(own.extractor), own.extractor_sha256, device).name, ""


# ---------------------------- the machine


def python() -> Finding:
    """The version against what pyproject.toml asks for."""
    from packaging.specifiers import SpecifierSet

    version, expected = platform.python_version(), metadata.metadata("pig")["Requires-Python"]
    if SpecifierSet(expected).contains(version, prereleases=True):
        return "ok", version, ""
    advice = f"install a Python {expected} and run `make .venv PYTHON=/path/to/it`"
    return "problem", f"{version}; expected {expected}", advice


def packages() -> Finding:
    """Those that pyproject.toml asks for."""
    from packaging.requirements import Requirement

    lacking = []
    for asked in map(Requirement, metadata.requires("pig") or []):
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            lacking.append(f"{asked.name} is missing")
        else:
            if not asked.specifier.contains(found, prereleases=True):
                lacking.append(f"{asked.name} {found}, expected {asked.specifier}")
    if lacking:
        return "problem", "; ".join(lacking), INSTALL
    return "ok", ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "snakemake", "dvc")), ""


def device(size: int) -> Finding:
    """The GPUs that torch finds; without one, whether images of `size` pixels a side want one."""
    import torch

    if count := torch.cuda.device_count():
        gpus = [torch.cuda.get_device_properties(i) for i in range(count)]
        return "ok", ", ".join(f"{gpu.name} ({amount(gpu.total_memory)})" for gpu in gpus), ""
    if shutil.which("nvidia-smi") is not None:
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        advice = "install a torch that is built for your driver's CUDA; look at CUDA_VISIBLE_DEVICES and `nvidia-smi`"
        return "warning", f"a GPU's driver, but torch, built {built}, finds no GPU", advice
    if size >= LARGE:
        advice = f"use a machine with a GPU, or a profile of images below {LARGE} pixels (docs/scale.md)"
        return "warning", f"no GPU for images of {size}x{size}", advice
    return "ok", f"no GPU; processors will do for images of {size}x{size}", ""


def cores() -> Finding:
    """As many jobs start as cores are seen: whether a container's quota and the memory are enough for them."""
    seen = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    share, period = _limit("cpu.max", "max 100000")
    quota = int(share) / int(period) if share.isdecimal() else seen
    (limit,) = _limit("memory.max", "max")
    memory = min(memory, int(limit)) if limit.isdecimal() else memory
    found = f"{seen}, of which {min(quota, seen):g} may be used, and {amount(memory)} of memory"
    few = max(1, min(int(quota), memory // JOB))
    if few >= seen:
        return "ok", found, ""
    return "warning", found, f"run fewer jobs at once: `make study CORES={few}`"


def _limit(name: str, otherwise: str) -> list[str]:
    file = CONTAINER / name
    return (file.read_text(encoding="ascii") if file.is_file() else otherwise).split()


def disk(p: "Study") -> Finding:
    """Free bytes against all samples, uncompressed, in shards and merged, and DVC's copy of them."""
    if not os.access(".", os.W_OK):
        return "problem", "this folder cannot be written", "work in a folder of your own"
    number = len(p.methods) * len(p.run_folds) * max(*p.segmentation.doses, p.fidelity.slices)
    study = 2 * number * p.data.size**2 + BESIDES
    run = Path(paths.folder(p.profile))
    there = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    free, left = shutil.disk_usage(".").free, max(study - there, 0)
    found = f"{amount(free)} free; the study takes up to {amount(left)} more"
    if free < left:
        return "problem", found, "free some, or work on another disk"
    if free < left + study:
        advice = "enough for `make study`; `dvc repro` copies all into its cache where the file system has no reflinks"
        return "warning", f"{found}, and DVC's cache {amount(study)}", advice
    return "ok", found, ""


# ---------------------------- git, DVC, Snakemake


def git() -> Finding:
    """Whether git is there, and this folder in a repository."""
    if shutil.which("git") is None:
        advice = "install git: networks record the revision that made them, and DVC needs it"
        return "warning", "not installed", advice
    if subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True, check=False).returncode:
        return "warning", "this folder is in no repository", "work in a clone, or `git init`: DVC needs it"
    return "ok", "this folder is in a repository", ""


def remote() -> Finding:
    """DVC's default remote. A folder must be there, or its parent; others are not contacted."""
    from dvc.config import Config, ConfigError

    if not Path(".dvc").is_dir():
        return "warning", "no .dvc here: nobody keeps the results", "work in a clone, or `dvc init`"
    try:
        config = Config(dvc_dir=".dvc")
    except ConfigError as error:
        return "problem", str(error), "mend .dvc/config, or write it anew with `dvc remote add`"
    name = config["core"].get("remote")
    url = config["remote"].get(name, {}).get("url")
    if not url:
        advice = "to share results: `dvc remote add --default store /a/folder` (docs/data.md)"
        return "warning", "no default remote: results stay on this machine", advice
    found = f"remote {name}: {url}"
    if "://" in url:
        return "ok", f"{found}, not contacted", ""
    place = Path(url)
    if os.access(place if place.exists() else place.parent, os.W_OK):  # the first push makes the folder
        return "ok", found, ""
    if place.exists():
        advice = "`dvc pull` works; ask its owner to let you push"
        return "warning", f"{found} cannot be written", advice
    return "problem", f"{found} is not there", "mount it, or change it: `dvc remote modify`"


def lock() -> Finding:
    """Whether Snakemake holds this folder, or a killed one left its lock."""
    locks = Path(".snakemake/locks")
    if locks.is_dir() and any(locks.iterdir()):
        advice = "if none is running here, one was killed: `.venv/bin/snakemake --unlock`"
        return "warning", "Snakemake holds this folder", advice
    return "ok", "no Snakemake holds this folder", ""
