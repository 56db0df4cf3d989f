"""What a study spends beside its networks: FID's distance, start-up of jobs, a graph with nothing to do.

    python benchmarks/around.py fid                   the distance at 2,048 x 2,048, against clean-fid's way
    python benchmarks/around.py startup               what each verb loads before it works, against torch alone
    python benchmarks/around.py noop --study FOLDER   snakemake and dvc repro on a finished study; planning of paper
    python benchmarks/around.py report                the tables of docs/speed.md, from the results so far

Seconds are of the processor, so that other work on the machine does not count; the clock's stand beside them. Results are
kept in benchmarks/results/around.json.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import quality as Q
from solvers import markdown

SIDE = 2048  # slices, and features
JOBS = {  # what a job of the study loads before it works
    "train, sample": "import pig.methods, pig.training, pig.nets, pig.pairs",
    "segment": "import pig.segmentation, pig.training",
    "features": "import torch, pig.features, pig.pairs",
    "fidelity": "import pig.fidelity, pig.features",
    "copies": "import pig.copying, pig.pairs",
    "pairing": "import pig.pairing, pig.lesions, pig.pairs",
    "tables": "import pig.results, pig.evidence",
    "figures": "import pig.figures",
}
LIMITS = {"demo": 5.0, "paper": 30.0}  # seconds that a graph with nothing to do may take


def seconds(call: Callable[[], object]) -> dict[str, float]:
    """Of the processor, with children, and of the clock."""

    def used() -> float:
        of = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in of)

    began, before = time.perf_counter(), used()
    call()
    return {"processor": used() - before, "clock": time.perf_counter() - began}


def run(*command: str, **options: Any) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def add(part: str, found: dict[str, Any]) -> None:
    Q.keep("around", {**Q.kept("around"), part: {"machine": Q.machine(), **found}})


def fid(_: argparse.Namespace) -> None:
    """Features with the spectrum of Inception's: a few strong directions, and ever weaker ones."""
    import numpy as np
    from scipy import linalg

    from pig import fidelity

    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.standard_normal((SIDE, SIDE)))[0]
    spectrum = np.exp(-np.arange(SIDE) / 150) + 1e-4
    a, b = (np.abs(rng.standard_normal((SIDE, SIDE)) * spectrum * k) @ turn for k in (1.0, 1.1))

    def theirs() -> float:  # as clean-fid does, without its deprecated argument
        root = linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
        trace = sum(np.trace(np.cov(x, rowvar=False)) for x in (a, b))
        return float(((a.mean(0) - b.mean(0)) ** 2).sum() + trace - 2 * np.trace(root))

    values: dict[str, float] = {}
    times = {
        name: seconds(lambda name=name, call=call: values.update({name: call()}))
        for name, call in (("ours", lambda: fidelity.frechet_distance(a, b)), ("sqrtm", theirs))
    }
    threads = int(os.environ["OMP_NUM_THREADS"])
    gap = abs(values["ours"] - values["sqrtm"]) / values["sqrtm"]
    add(f"fid, {threads} threads" if threads > 1 else "fid, 1 thread", {**times, "relative_difference": gap})


def startup(_: argparse.Namespace) -> None:
    found = {}
    for name, code in {"python": "pass", "import pig": "import pig", "torch": "import torch", **JOBS}.items():
        tries = [seconds(lambda code=code: run(sys.executable, "-c", code, cwd=Q.ROOT)) for _ in range(3)]
        found[name] = min(tries, key=lambda each: each["processor"])
        print(name, found[name], flush=True)
    add("startup", found)


def noop(args: argparse.Namespace) -> None:
    """`snakemake` and `dvc repro` where all is done, and the plan of the whole paper study."""
    study = args.study.resolve()
    text = run("snakemake", "--cores", "2", cwd=study, stderr=subprocess.STDOUT) if False else ""
    found = {}
    commands = {
        "snakemake, demo": ["snakemake", "--cores", "2"],
        "dvc repro, demo": ["dvc", "repro"],
    }
    for name, command in commands.items():
        tries = [seconds(lambda command=command: run(*command, cwd=study)) for _ in range(2)]
        found[name] = min(tries, key=lambda each: each["processor"])
        print(name, found[name], text, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        plan = [
            "snakemake",
            "-n",
            "--quiet",
            "--config",
            "profile=paper",
            "--snakefile",
            str(Q.ROOT / "Snakefile"),
        ]
        found["snakemake -n, paper"] = seconds(lambda: run(*plan, "--directory", folder, cwd=Q.ROOT))
    add("noop", found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["fid", "startup", "noop", "report"])
    parser.add_argument("--study", type=Path, metavar="FOLDER")
