"""Training and sampling beside the published code's way (benchmarks/reference.py), in one run of under nine minutes.

    python benchmarks/gpu.py                     on a GPU: 64, 128, 256 and 512; writes results/<name of the GPU>.json
    python benchmarks/gpu.py --device cpu        the small part that a CPU can do; writes results/cpu.json

Same network (the paper's), same machine, same batch. A pair counts as sampled after --reference-steps steps there and
--steps here, the numbers of steps of equal quality; of either a few are timed and the rest taken to be alike. Training
is one step of the guider and one of the guided model. Work is counted by FlopCounterMode; the machine's rate is that of
a large matrix product in this run, its bandwidth that of a large copy. On a CPU one thread computes, and seconds are
those that the processor gave it: other work on the machine counts little. A cell that takes
too long or too much memory says so, and the file is written after each.
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))
import reference

from pig.core.params import load
from pig.models.generator import Model
from pig.models.method import Batch, Trained, net, schedule
from pig.models.table import Params
from pig.models.train import for_gpu
from pig.training.fit import Recipe, compiled, fit

ROOT = Path(__file__).parents[1]
BATCH = {"cuda": {64: 64, 128: 32, 256: 16, 512: 8}, "cpu": {32: 2, 64: 2}}
TIMED = {"cuda": (3, 10), "cpu": (1, 2)}  # steps before and while timing
SETTINGS = load(ROOT / "params.yaml", Params, "paper")


class TooSlowError(Exception):
    pass


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise TooSlowError in the block once `seconds` are over."""

    def stop(*_):
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_each(device: torch.device, once: Callable[[], object], warm: int, timed: int) -> float:
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for _ in range(warm):
        once()
    wait(device)
    started = clock()
    for _ in range(timed):
        once()
    wait(device)
    return (clock() - started) / timed


def rates(device: torch.device) -> dict[str, float]:
    """Of this machine: 1e12 operations a second of a matrix product in fp32 (GPU: TF32) and bf16, GB/s of a copy."""
    side, size = (8192, 2**30) if device.type == "cuda" else (1024, 2**26)
    found = {}
    for name, dtype in [("fp32", torch.float32), ("bf16", torch.bfloat16)]:
        if dtype == torch.float32 or device.type == "cuda":
            a = torch.randn(side, side, device=device).to(dtype)
            found[f"{name}_tflops"] = 2 * side**3 / seconds_each(device, lambda a=a: a @ a, 2, 5) / 1e12
    a = torch.empty(size, dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    found["copy_gb_s"] = 2 * size / seconds_each(device, lambda: b.copy_(a), 2, 5) / 1e9
    return found


def networks(device: torch.device) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return net("guider").make(SETTINGS).to(device), net("guided").make(SETTINGS).to(device)


def flops(size: int) -> dict[str, int]:
    """Of one pair: both networks forward (sampling), and a training step of each with the frozen guider's forward."""
    with torch.device("meta"):
        guider, guided = networks(torch.device("meta"))
        x, t = torch.empty(1, 1, size, size), torch.ones(1, dtype=torch.int64)
        with FlopCounterMode(display=False) as forward:
            guider(x, x, t)
        with FlopCounterMode(display=False) as step:
            guided(x, x, t).sum().backward()
    one, both = forward.get_total_flops(), step.get_total_flops()
    return {"sampling": 2 * one, "training": 2 * both + one}


# ---------------------------- the cells: seconds of one training step of both nets, or of one sampling step
def reference_training(device, size, batch, warm, timed) -> float:
    guider, guided = networks(device)
    abar = reference.alphabar().to(device)
    x, y = torch.rand(2, batch, 1, size, size) * 2 - 1
    optimizer = reference.adam(guider)
    first = seconds_each(device, lambda: reference.guider_step(guider, optimizer, x, y, abar), warm, timed)
    optimizer = reference.adam(guided)
    guider.eval().requires_grad_(False)
    second = seconds_each(
        device, lambda: reference.guided_step(guided, guider, optimizer, x, y, abar), warm, timed
    )
    return first + second


def reference_sampling(device, size, batch, warm, timed) -> float:
    guider, guided = (net.eval() for net in networks(device))
    abar = reference.alphabar().to(device)
    xT, yT = torch.randn(2, batch, 1, size, size).to(device)
    times = range(reference.T, reference.T - 4 * timed - 1, -4)  # the first of 256 steps
    once = lambda: reference.sample(guider, guided, xT, yT, abar, times)  # noqa: E731
    return seconds_each(device, once, 1, 1) / timed


def our_training(device, size, batch, warm, timed, compile=False) -> float:
    """By pig.training.fit.fit, as `pig train` calls it."""
    guider, guided = networks(device)
    data = torch.randint(0, 2, (2, 4 * batch, 1, size, size), dtype=torch.uint8).to(device)
    alphabar = schedule(SETTINGS.process).to(device)
    precision = "bf16" if device.type == "cuda" else "fp32"
    recipe = Recipe(
        steps=10**6,
        batch=batch,
        learning_rate=2e-4,
        precision=precision,
        compile=compile,
        validate_every=10**6,
    )
    total = 0.0
    for name, model, frozen in [("guider", guider, {}), ("guided", guided, {"guider": guider})]:
        trained = {key: Trained(each.eval().requires_grad_(False), "eps") for key, each in frozen.items()}
        if device.type == "cuda":
            for_gpu(model, trained, compile)

        def loss(model, rows, generator, name=name, trained=trained):
            x0, y0 = (part[rows].float() * 2 - 1 for part in data)
            return net(name).loss(model, trained, Batch(x0, y0, alphabar, generator), SETTINGS)

        steps = fit(model, loss, 4 * batch, recipe)
        total += seconds_each(device, lambda steps=steps: next(steps), warm, timed)
    return total


def our_sampling(device, size, batch, warm, timed, compile=False) -> float:
    """By pig.models.generator.Model.frames, as `pig sample` calls it; on a GPU in bf16."""
    nets = {}
    for name, each in zip(("guider", "guided"), networks(device), strict=True):
        each = each.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        nets[name] = Trained(compiled(each) if compile else each, "eps")
    chosen = {"solver": "dpmpp2m", "spacing": "log_snr", "steps": 25, "tile": batch}
    precision = "bf16" if device.type == "cuda" else "fp32"
    sampling = SETTINGS.sampling.model_copy(update={**chosen, "precision": precision})
    model = Model("pig", (size, size), 0, sampling, {}, nets, SETTINGS.process)

    def once():
        deque(islice(model.frames(range(batch)), timed), maxlen=1)

    return seconds_each(device, once, 1, 1) / timed


CELLS = {
    ("training", "reference"): reference_training,
    ("training", "pig"): our_training,
    ("sampling", "reference"): reference_sampling,
    ("sampling", "pig"): our_sampling,
    ("training", "pig, compiled"): lambda *args: our_training(*args, compile=True),
    ("sampling", "pig, compiled"): lambda *args: our_sampling(*args, compile=True),
}


def measure(cell, device, size, batch, limit) -> dict[str, object]:
    """Seconds and peak memory of a cell, or why there are none."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        with at_most(limit):
            seconds = cell(device, size, batch, *TIMED[device.type])
    except TooSlowError:
        return {"failed": "not within its time"}
    except torch.OutOfMemoryError:
        return {"failed": "out of memory"}
    found: dict[str, object] = {"seconds": seconds}
    if device.type == "cuda":
        found["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return found


def table(result: dict) -> str:
    """Markdown: a row a cell; a second is one of training both networks, or of all steps of sampling."""
    head = [
        "",
        "size",
        "batch",
        "how",
        "a second",
        "against reference",
        "share of the product's rate",
        "peak GiB",
    ]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    kept = {(c["what"], c["size"], c["how"]): c for c in result["cells"]}
    for (what, size, how), cell in kept.items():
        row = [what, str(size), str(cell["batch"]), how]
        if "failed" in cell:
            lines.append("| " + " | ".join([*row, str(cell["failed"]), "", "", ""]) + " |")
            continue
        base = kept.get((what, size, "reference"), {}).get("a_second")
        ratio = f"{cell['a_second'] / base:.2f}" if base else ""
        memory = f"{cell['peak_gib']:.2f}" if "peak_gib" in cell else ""
        row += [f"{cell['a_second']:.3g}", ratio, f"{100 * cell['share']:.0f} %", memory]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument(
        "--steps", type=int, default=25, help="of pig's sampling (docs/speed.md: what quality they leave)"
    )
    parser.add_argument("--reference-steps", type=int, default=256, help="of the published sampling")
    parser.add_argument("--minutes", type=float, default=8.5, help="for all")
    parser.add_argument("--cell", type=float, default=60, help="seconds of one cell at most")
    parser.add_argument("--out", type=Path, help="json file (default: benchmarks/results/<machine>.json)")
    args = parser.parse_args()
    started = time.monotonic()
    device = torch.device(args.device, 0) if args.device == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        name = torch.cuda.get_device_name(device)
    else:
        torch.set_num_threads(1)
        name = "cpu"
    out = args.out or ROOT / "benchmarks/results" / f"{name.lower().replace(' ', '-')}.json"
    measured = rates(device)
    result = {
        "machine": machine(device),
        "rates": measured,
        "steps": {"reference": args.reference_steps, "pig": args.steps},
        "cells": [],
    }
    for how in ("reference and pig", "compiled")[: 2 if device.type == "cuda" else 1]:
        for size, batch in BATCH[device.type].items():
            work = flops(size)
            for (what, way), cell in CELLS.items():
                if ("compiled" in way) != (how == "compiled"):
                    continue
                left = 60 * args.minutes - (time.monotonic() - started)
                found = measure(cell, device, size, batch, min(args.cell, left) if left > 0 else 1e-3)
                if "seconds" in found:
                    steps = result["steps"]["reference" if way == "reference" else "pig"]
                    times = steps if what == "sampling" else 1
                    precision = "fp32" if way == "reference" or device.type == "cpu" else "bf16"
                    found["a_second"] = batch / found["seconds"] / times
                    found["share"] = (
                        batch * work[what] / found["seconds"] / 1e12 / measured[f"{precision}_tflops"]
                    )
                result["cells"].append({"what": what, "size": size, "batch": batch, "how": way, **found})
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))
    if device.type == "cpu":
        print("\nNo GPU: the table of 64, 128, 256 and 512 on a GPU is empty.")
    return 0


def machine(device: torch.device) -> dict[str, object]:
    """What computes; no name of a host."""
    found: dict[str, object] = {"torch": torch.__version__, "architecture": platform.machine()}
    if device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
        found |= {"memory_gib": round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1)}
        driver = Path("/proc/driver/nvidia/version")
        found["driver"] = driver.read_text(encoding="utf-8").splitlines()[0] if driver.exists() else "unknown"
    else:
        found |= {"cores": os.cpu_count(), "threads": 1, "load_at_start": round(os.getloadavg()[0], 1)}
    return found


if __name__ == "__main__":
    sys.exit(main())
