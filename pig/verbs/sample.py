"""Sample pairs or images from noise with trained networks.

METHOD is an entry of the table METHODS in pig/methods.py; some give images without masks, and the conditional ones
are given masks of the fold's training patients (--pairs and --split). Sample i depends on the seed, the networks'
fold and i alone: --first and --number cut the same endless list into shards. Writes an archive, and if asked a
report (json) of what the samples cost.
"""

import json
import time
from argparse import ArgumentParser, Namespace
from typing import Any

from pig.errors import InputError
from pig.files import atomic
from pig.methods import METHODS
from pig.progress import track
from pig.trained import alphabar_of, grey_levels, read_nets, seeds_of, shape_of
from pig.verbs.common import add_compute, add_settings, compute, settings


def add_arguments(parser: ArgumentParser) -> None:
    conditional = ", ".join(name for name, method in METHODS.items() if method.masks)
    parser.add_argument("method", metavar="METHOD", choices=METHODS, help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--models", metavar="FILE", nargs="+", required=True, help="its trained networks")
    parser.add_argument("--pairs", metavar="ZIP", help=f"archive that masks are taken from ({conditional})")
    parser.add_argument("--split", metavar="CSV", help="roles by fold, from `pig split` (likewise)")
    parser.add_argument("--number", metavar="N", type=int, required=True, help="how many samples")
    parser.add_argument("--first", metavar="I", type=int, default=0, help="number of the first sample")
    parser.add_argument("--size", metavar="HxW", help="pixels (default: the size that it was trained on)")
    parser.add_argument("--out", metavar="ZIP", required=True, help="archive to write")
    parser.add_argument("--report", metavar="JSON", help="cost of the samples to write")
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    sampling = settings(args, "sampling").sampling
    kind = METHODS[args.method]
    if args.number < 1 or args.first < 0:
        raise InputError(f"--number {args.number} --first {args.first}: expected at least 1 and at least 0")
    if {args.pairs is not None, args.split is not None} != {bool(kind.masks)}:
        raise InputError(
            f"--pairs and --split: expected {'both' if kind.masks else 'neither'} for {args.method}"
        )
    device = compute(args)
    nets, headers = read_nets(args.method, args.models, device)

    import numpy as np
    import pandas as pd

    from pig import masks, methods
    from pig.pairs import Pairs, write_archive

    header = headers[-1]
    fold = header.get("fold", 0)
    numbers = range(args.first, args.first + args.number)
    seeds = seeds_of(sampling.seed, fold, numbers)
    shape = shape_of(args.size, header)
    given, sources = None, [""] * len(numbers)
    if kind.masks:
        given, sources = conditions(args, fold, numbers, kind.masks == "varied", sampling.seed)
        if list(given.shape[1:]) != shape:
            raise InputError(f"{args.pairs}: masks of {given.shape[1:]} pixels; expected {shape}")
    x = None if given is None else _signs(given, device)
    alphabar = alphabar_of(header, sampling)
    frames = methods.generate(args.method, nets, seeds, shape, alphabar, sampling, x, args.first)
    batches = -(-(args.first % sampling.tile + args.number) // sampling.tile)
    steps = getattr(sampling, kind.steps)
    started = time.perf_counter()
    shown = track(frames, steps * batches, f"sample {args.method} fold {fold}")
    last = [frame for frame in shown if frame.last]
    seconds = time.perf_counter() - started

    images = np.concatenate([grey_levels(frame.y0_hat, sampling.grey_levels) for frame in last])
    drawn = given
    if kind.paired and given is None:
        rule = masks.RULES[sampling.mask]
        found = [frame.x0_hat for frame in last if frame.x0_hat is not None]
        drawn = np.concatenate([(rule(x0_hat) > 0)[:, 0].cpu().numpy() for x0_hat in found])
    table = pd.DataFrame(
        {
            "id": [f"{args.method}-{fold}-{i:06d}" for i in numbers],
            "patient": "",
            "view": "",
            "slice": "",
            "origin": args.method,
            "seed": [str(seed) for seed in seeds],
            "mask_of": sources,
        }
    )
    with atomic(args.out) as file:
        write_archive(file, Pairs(images, drawn, table))
    if args.report:
        cost = {
            "method": args.method,
            "fold": fold,
            "number": args.number,
            "batches": batches,
            "seconds": seconds,
            "steps": steps,
            "evaluations": steps * kind.passes,
            "solver": {
                "solver": sampling.solver,
                "spacing": sampling.spacing,
                "clip": sampling.clip,
                "seed": sampling.seed,
            },
            # All shards cost alike; counting loads half of torch again.
            "operations": operations(args.method, nets, shape, header, sampling) if args.first == 0 else None,
            "machine": machine(device),
            "networks": {head["net"]: {key: head.get(key) for key in KEPT} for head in headers},
        }
        with atomic(args.report, "w") as file:
            file.write(json.dumps(cost, indent=2) + "\n")


KEPT = ("parameters", "seen", "trained_pairs", "data", "network", "training", "process", "validation")


def machine(device: Any) -> str:
    """What samples: the GPU, or the processor."""
    import platform

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            named = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        named = []
    return named[0] if named else platform.processor() or platform.machine()


def _signs(masks: Any, device: Any) -> Any:
    """bool (N, H, W) -> (N, 1, H, W) of -1 and 1."""
    import torch

    return torch.from_numpy(masks)[:, None].to(device).float() * 2 - 1


def conditions(args: Namespace, fold: int, numbers: range, varied: bool, seed: int) -> tuple[Any, list[str]]:
    """The masks (N, H, W) that the samples are given, and the ids of the training pairs they come from."""
    import numpy as np

    from pig.conditions import rows as rows_of
    from pig.conditions import vary
    from pig.pairs import read_archive, rows
    from pig.reading import read_csv

    pairs = read_archive(args.pairs)
    if pairs.masks is None:
        raise InputError(f"{args.pairs}: expected pairs, found images without masks")
    split = read_csv(args.split, columns=("id",), text=True)
    train = pairs.select(rows(split, pairs.table, fold, "train"))
    assert train.masks is not None
    seed = seeds_of(seed, fold, range(1))[0]
    chosen = rows_of(numbers, len(train), seed)
    found = [
        vary(train.masks[row], train.images[row], number, seed) if varied else train.masks[row]
        for number, row in zip(numbers, chosen, strict=True)
    ]
    return np.stack(found), train.table["id"].iloc[chosen].tolist()


def operations(method: str, nets: Any, shape: Any, header: dict[str, Any], sampling: Any) -> int:
    """Multiply-adds of all networks for one sample, counted on one and two steps, the rest being alike."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from pig.methods import generate

    kind = METHODS[method]
    device = next(nets[kind.nets[0]].model.parameters()).device
    given = -torch.ones(1, 1, *shape, device=device) if kind.masks else None

    def count(steps: int) -> int:
        few = sampling.model_copy(update={"tile": 1, kind.steps: steps})
        with FlopCounterMode(display=False) as counter:
            for _ in generate(method, nets, [0], shape, alphabar_of(header, few), few, given):
                pass
        return counter.get_total_flops() // 2

    one = count(1)
    return one + (getattr(sampling, kind.steps) - 1) * (count(2) - one)
