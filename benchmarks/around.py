"""What surrounds the networks: FID's distance, features, start-up, and a run that has nothing to do; as ratios.

    python benchmarks/around.py                                   all, at `demo`: minutes
    python benchmarks/around.py --only distance noop --profile paper --out benchmarks/results/around.json

Each row is measured beside its baseline in the same run, which it must not be slower than: FID from clean-fid's way
(covariances and the square root of their product) and by a full singular value decomposition; features from a first
run without a cache; a verb's help, and what a job imports until its end, beside the import of all libraries of pig; a
finished study beside 5 or 30 s. Seconds are of the clock and, since other programs may run, of the CPU, whose ratio is
printed; Python times imports itself, by the clock.

A finished study is imitated: an empty file for each that `snakemake --summary` names, marked as made by
`snakemake --touch`. Snakemake then builds the graph and compares settings, code and times as after a real one; only
files whose times lie wrong would be read, and of a finished study none does. DVC reads again what has another time or
size than when it was recorded: of a finished study nothing.
"""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
import scipy.linalg
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from pig.cli.main import VERBS
from pig.cli.verbs.features import Folder
from pig.metrics.features import Extractor, features
from pig.metrics.fidelity import Doubles, frechet_distance, statistics

ROOT = Path(__file__).parents[1]
PROGRAMS = f"{Path(sys.executable).parent}/"
LIMITS = {"smoke": 5.0, "demo": 5.0, "paper": 30.0}  # seconds of a run that has nothing to do
LIBRARIES = (
    "torch, torchvision, pandas, scipy.stats, matplotlib.pyplot, segmentation_models_pytorch, pydantic"
)


class Time(NamedTuple):
    """Seconds."""

    wall: float
    cpu: float


class Row(NamedTuple):
    """One comparison."""

    what: str
    baseline: str
    before: Time
    after: Time

    @property
    def ratio(self) -> float:
        return self.before.cpu / self.after.cpu


def timed(work: Callable[[], object]) -> Time:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return Time(time.perf_counter() - began, time.process_time() - cpu)


def command(*words: str, folder: Path = ROOT) -> Time:
    """Of a process and its children; an error if it fails."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        words, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, capture_output=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Time(time.perf_counter() - began, cpu)


# ---------------------------- FID's distance
def correlated(number: int, seed: int, width: int = 2048) -> Doubles:
    """(number, width) like those of InceptionV3: not below 0, and their spread falls as a power."""
    mix = np.random.default_rng(0).standard_normal((width, width))
    rng = np.random.default_rng(seed)
    scales = np.arange(1, width + 1) ** -0.7
    return np.maximum(rng.standard_normal((number, width)) * scales @ mix / 10 + 0.2, 0)


def by_root(a: Doubles, b: Doubles) -> float:
    """As clean-fid computes it."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    apart = a.mean(axis=0) - b.mean(axis=0)
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * np.trace(root))


def by_values(a: Doubles, b: Doubles) -> float:
    """By all singular values."""
    first, second = statistics(a), statistics(b)
    cross = scipy.linalg.svdvals(first.factor @ second.factor.T).sum()
    apart = first.mean - second.mean
    return float(apart @ apart + (first.factor**2).sum() + (second.factor**2).sum() - 2 * cross)


def distance(number: int = 2048) -> list[Row]:
    """FID of two sets of 2,048 slices."""
    a, b = correlated(number, 1), correlated(number, 2)
    ours = timed(lambda: frechet_distance(a, b))
    rows = []
    for baseline, way in (("sqrtm, as clean-fid", by_root), ("svdvals", by_values)):
        rows.append(Row(f"FID of {number} x 2048", baseline, timed(lambda way=way: way(a, b)), ours))
    return rows


# ---------------------------- features
def cached(number: int = 64) -> list[Row]:
    """Slices whose features are known beside the same for the first time; the network is a mean, so all is reading."""
    images = np.random.default_rng(0).integers(0, 256, (number, 512, 512), dtype=np.uint8)
    net = Extractor("mean", "0" * 64, lambda x: x.mean(axis=(2, 3)))
    with tempfile.TemporaryDirectory() as folder:
        first, again = (timed(lambda: list(features(images, net, 8, Folder(Path(folder))))) for _ in range(2))
    return [Row(f"features of {number} slices, again", "without a network, the first time", first, again)]


# ---------------------------- start-up
def startup() -> list[Row]:
    """The help of each verb and `import pig`, beside all libraries."""
    python = sys.executable
    everything = command(python, "-c", f"import {LIBRARIES}")
    rows = [Row("import pig", "all libraries", everything, command(python, "-c", "import pig"))]
    for verb in VERBS:
        told = command(python, "-m", "pig", verb, "--help")
        rows.append(Row(f"pig {verb} --help", "all libraries", everything, told))
    return rows


# ---------------------------- imports of jobs
JOBS = (  # of the profile `smoke`, in an order in which each finds what it reads
    "phantom --out pairs.zip",
    "split --pairs pairs.zip --out split.csv",
    "train ddpm --pairs pairs.zip --split split.csv --fold 0 --out ddpm.safetensors --curve ddpm.csv",
    "sample ddpm --models ddpm.safetensors --count 2 --out ddpm.zip",
    "features --pairs ddpm.zip --number 2 --out ddpm.npz",
    "segment real --pairs pairs.zip --split split.csv --fold 0 --seed 0 --out real.csv --curve curve.csv",
)


def imports() -> list[Row]:
    """What real jobs import, wherever in their code, beside all libraries."""

    def spent(folder: str, *words: str) -> Time:
        run, env = [sys.executable, "-X", "importtime", *words], os.environ | {"PYTHONPATH": str(ROOT)}
        told = subprocess.run(run, cwd=folder, env=env, check=True, capture_output=True, text=True).stderr
        each = re.findall(r"^import time: +(\d+) \|", told, re.MULTILINE)  # microseconds, of a module alone
        seconds = sum(map(int, each)) / 1e6
        return Time(seconds, seconds)

    chosen = "--params", str(ROOT / "params.yaml"), "--profile", "smoke"
    with tempfile.TemporaryDirectory() as folder:
        everything = spent(folder, "-c", f"import {LIBRARIES}")
        return [
            Row(
                f"imports of a job of pig {job.split()[0]}",
                "all libraries",
                everything,
                spent(folder, "-m", "pig", *job.split(), *chosen),
            )
            for job in JOBS
        ]


# ---------------------------- nothing to do
def noop(profile: str) -> list[Row]:
    """`snakemake` and `dvc repro` on a finished study of `profile`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        (folder / "data/pairs.zip").touch()
        run = [PROGRAMS + "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
        run += ["--workflow-profile", str(ROOT / "profiles/default"), "--directory", name]
        config = ["--config", f"profile={profile}", "data={source: data/pairs.zip}"]
        shown = subprocess.run(
            [*run, "--summary", *config], cwd=folder, check=True, capture_output=True, text=True
        ).stdout
        lines = shown.splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("output_file"))
        for line in lines[start + 1 :]:
            path = folder / line.split("\t")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        command(*run, "--touch", *config, folder=folder)
        found = {"snakemake": command(*run, *config, folder=folder), "dvc repro": repro(folder)}
        limit = LIMITS[profile]
        baseline = f"limit of {limit:g} s", Time(limit, limit)
        return [Row(f"{what}, nothing to do, {profile}", *baseline, time) for what, time in found.items()]


def repro(folder: Path) -> Time:
    """`dvc repro` of the finished study in `folder`, after `dvc commit` has recorded it as it is."""
    for name in ("dvc.yaml", "params.yaml", "Snakefile"):
        shutil.copy(ROOT / name, folder)
    for name in ("workflow", "profiles/default", "pig"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    stage = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["study"]
    for path in (folder / name for out in stage["outs"] + stage["metrics"] for name in out):
        if not path.exists():  # what it makes of the phantom alone
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    dvc = PROGRAMS + "dvc"
    for words in (["init", "--no-scm"], ["commit", "--force"]):
        command(dvc, *words, "--quiet", folder=folder)
    told = subprocess.run([dvc, "status"], cwd=folder, check=True, capture_output=True, text=True).stdout
    if "up to date" not in told:
        raise SystemExit(f"dvc status: expected nothing to do\n{told}")
    return command(dvc, "repro", folder=folder)


def machine() -> dict[str, str | int | None]:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ways: dict[str, Callable[[], list[Row]]] = {
        "distance": distance,
        "cached": cached,
        "startup": startup,
        "imports": imports,
    }
    parts = [*ways, "noop"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="what to measure")
    parser.add_argument("--profile", nargs="+", choices=LIMITS, default=["demo"], help="of `noop`")
    parser.add_argument("--out", help="json file to write")
    args = parser.parse_args()
    rows: list[Row] = []
    print(f"{'':>36}  {'ratio':>7}  {'CPU s':>7}  {'wall s':>7}  baseline (CPU s)")
    for part in args.only:
        done = [ways[part]] if part in ways else [lambda name=name: noop(name) for name in args.profile]
        for way in done:
            for row in way():
                rows.append(row)
                after = f"{row.ratio:7.1f}  {row.after.cpu:7.2f}  {row.after.wall:7.2f}"
                print(f"{row.what:>36}  {after}  {row.baseline} ({row.before.cpu:.2f})", flush=True)
    if args.out:
        told = [
            {"what": row.what, "baseline": row.baseline, "ratio": round(row.ratio, 2)}
            | {f"baseline_{unit}_s": round(value, 3) for unit, value in row.before._asdict().items()}
            | {f"{unit}_s": round(value, 3) for unit, value in row.after._asdict().items()}
            for row in rows
        ]
        text = json.dumps({"machine": machine(), "rows": told}, indent=2)
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
