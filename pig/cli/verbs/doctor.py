"""Check this machine for a study: what is there, what is missing, and what to do about it.

Looks at Python and its packages, the settings and the data, the GPU, memory and disk against what the profile needs at
most, the weights of InceptionV3 and their hash, git, DVC and its remote, and a lock that a killed run left. Changes
nothing, and asks nobody over a network. A line is ok, warning (it works, but) or problem (it will not work); with
--quiet the first kind is left out. Exit code 1 if there is a problem.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pig.cli.console import coloured, print_json
from pig.core import paths
from pig.core.errors import InputError, plain

if TYPE_CHECKING:
    from pig.cli.doctor import Check, Remote
    from pig.core.params import Study


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--params", metavar="FILE", default="params.yaml", help="settings of the study")
    parser.add_argument("--profile", metavar="NAME", help="profile of FILE (default: the one it names)")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: Namespace) -> None:
    from pig.cli import doctor

    found: list[Check] = []

    def tell(check: "Check") -> None:
        found.append(check)
        if not args.json and (check.verdict != "ok" or not args.quiet):
            print(_line(check), flush=True)  # some take seconds

    try:
        for check in checks(args):
            tell(check)
    except ImportError as error:  # the line of the packages says which are missing
        tell(doctor.Check("imports", "problem", str(error), doctor.INSTALL))
    if args.json:
        print_json([check._asdict() for check in found])
    if any(check.verdict == "problem" for check in found):
        sys.exit(1)


COLOURS = {"ok": "32", "warning": "33", "problem": "31"}  # green, yellow, red


def _line(check: "Check") -> str:
    verdict = f"{check.verdict:<8}"
    if coloured(sys.stdout):
        verdict = f"\x1b[{COLOURS[check.verdict]}m{verdict}\x1b[0m"
    advice = f"\n{'':<20}-> {plain(check.advice)}" if check.advice else ""
    return f"{verdict} {check.name:<10} {plain(check.found)}{advice}"


def checks(args: Namespace) -> Iterator["Check"]:
    """All of them; where one cannot be made for the problem of another, that one's line stands alone."""
    from pig.cli import doctor

    yield from _environment()
    try:
        p = _settings(args)
    except InputError as error:
        yield doctor.settings(None, str(error))
    else:
        yield doctor.settings(p.profile, "")
        pairs = _pairs(p)
        yield doctor.data(p.data.source, pairs if isinstance(pairs, int) else None, str(pairs))
        yield from _machine(p, pairs if isinstance(pairs, int) else 0)
        yield _weights(p)
    yield doctor.temporary(shutil.disk_usage(tempfile.gettempdir()).free, tempfile.gettempdir())
    yield doctor.git(*_git())
    try:
        yield doctor.remote(Path(".dvc").is_dir(), _remote(Path(".dvc")))
    except InputError as error:
        yield doctor.remote(True, None, str(error))
    locks = Path(".snakemake/locks")
    yield doctor.lock(locks.is_dir() and any(locks.iterdir()))


def _environment() -> Iterator["Check"]:
    """Python and the packages, against what pig's own metadata, made from pyproject.toml, ask for."""
    from pig.cli import doctor

    try:
        expected = metadata.metadata("pig")["Requires-Python"]
    except metadata.PackageNotFoundError:
        yield doctor.python(platform.python_version(), None)
        return
    yield doctor.python(platform.python_version(), expected)
    installed = {doctor.normalised(each.name): each.version for each in metadata.distributions()}
    yield doctor.packages(metadata.requires("pig") or [], installed)


def _settings(args: Namespace) -> "Study":
    """The settings; InputError for whatever the workflow would refuse too."""
    from pig.core import params
    from pig.models import table

    p = params.load(args.params, table.Params, args.profile)
    table.check_methods(p.methods, f"{args.params}: methods")
    return p


def _pairs(p: "Study") -> int | str:
    """How many pairs there are to learn from, or why that cannot be told."""
    if p.data.source == "phantom":
        return p.phantom.patients * len(p.phantom.views) * p.phantom.slices
    if not Path(p.data.source).is_file():
        return "no such file"
    try:
        with zipfile.ZipFile(p.data.source) as archive:
            return sum(name.startswith("images/") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        return f"expected an archive of pairs ({error})"


def _machine(p: "Study", pairs: int) -> Iterator["Check"]:
    """Device, cores, memory and disk against what `p` needs of each."""
    from pig.cli import doctor

    try:
        import torch

        from pig.report import needs

        trained = needs.training(p)
    except (ImportError, OSError) as error:  # OSError: a library of CUDA's that is not there
        yield doctor.Check("device", "problem", f"torch cannot be loaded: {error}", doctor.INSTALL)
        return
    except InputError as error:
        yield doctor.settings(None, str(error))
        return
    largest = max(own.memory for own in trained.values())
    gpus = {
        f"{torch.cuda.get_device_name(i)} #{i}": torch.cuda.get_device_properties(i).total_memory
        for i in range(torch.cuda.device_count())
    }
    driver, visible = shutil.which("nvidia-smi") is not None, len(os.sched_getaffinity(0))
    yield doctor.device(gpus, driver, torch.version.cuda, p.data.size, largest)
    yield doctor.cores(visible, _quota())
    job = needs.LIBRARIES + needs.arrays(pairs, p.data.size) + (0 if gpus else largest)
    yield doctor.memory(_memory(), 1 if gpus else visible, job)
    sizes = {name: own.parameters for name, own in trained.items()}
    study = sum(needs.disk(p, pairs, needs.counts(p), sizes))
    there = sum(path.stat().st_size for path in Path(paths.folder(p.profile)).rglob("*") if path.is_file())
    yield doctor.disk(shutil.disk_usage(".").free, there, study, os.access(".", os.W_OK))


CONTAINER = Path("/sys/fs/cgroup")  # where a container's limits are told (cgroup v2)


def _memory() -> int:
    """Bytes of memory that jobs here may use together."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    (limit,) = _limit("memory.max", "max")
    return min(whole, int(limit)) if limit.isdecimal() else whole


def _quota() -> float | None:
    """Processors that a container's quota is worth; None without one."""
    share, period = _limit("cpu.max", "max 100000")
    return int(share) / int(period) if share.isdecimal() else None


def _limit(name: str, otherwise: str) -> list[str]:
    file = CONTAINER / name
    return (file.read_text(encoding="ascii") if file.is_file() else otherwise).split()


def _weights(p: "Study") -> "Check":
    """What `pig features` would find: the extractor of the profile, else InceptionV3."""
    from pig.cli import doctor
    from pig.metrics import features

    own = p.fidelity
    try:
        path = Path(own.extractor) if own.extractor else features.find_weights(None, os.environ)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except InputError as error:
        return doctor.weights(None, None, str(error))
    except OSError as error:
        return doctor.weights(str(error.filename), None, f"it cannot be read: {error.strerror}")
    if own.extractor:
        name = "that of fidelity.extractor_sha256" if sha256 == own.extractor_sha256 else None
        return doctor.weights(str(path), name, f"fidelity.extractor_sha256: the file's is {sha256}")
    known = features.KNOWN.get(sha256)
    return doctor.weights(
        str(path), known and known.name, f"sha256 {sha256[:12]}..: remove it, or {features.HELP}"
    )


def _git() -> tuple[str | None, bool]:
    """The version of git, and whether this folder is in a repository."""
    if shutil.which("git") is None:
        return None, False
    told = [
        subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        for words in (["--version"], ["rev-parse", "--git-dir"])
    ]
    return told[0].stdout.strip(), told[1].returncode == 0


def _remote(folder: Path) -> "Remote | None":
    """The default remote that DVC's settings name, the user's and those of `folder`; None without one."""
    from pig.cli.doctor import Remote

    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "dvc")
    both = ConfigParser(interpolation=None)
    local = ConfigParser(interpolation=None)
    for file, parser in (
        (user / "config", both),
        (folder / "config", both),
        (folder / "config.local", local),
    ):
        try:
            parser.read(file, encoding="utf-8")
        except (ConfigError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: expected DVC's settings; {error}") from None
    both.read_dict(local)
    name = both.get("core", "remote", fallback="")
    section = f"'remote \"{name}\"'"
    url = both.get(section, "url", fallback="")
    if not name or not url:
        return None
    if "://" in url:
        keys = local.has_section(section) and any("key" in key for key in local[section])
        return Remote(name, url, folder=False, keys=keys)
    place = folder / url
    nearest = place if place.exists() else place.parent
    return Remote(name, url, True, place.is_dir(), nearest.is_dir() and os.access(nearest, os.W_OK))
