"""Sample pairs or images from noise with trained networks.

METHOD is an entry of the table METHODS in pig/models/methods.py; some give images without masks, and the conditional ones
are given masks of the fold's training patients. Without --models the networks are those of the study in this folder,
of the profile of the settings, and so are the archive and the split that masks are taken from.

Sample i depends on the seed, the networks' fold and i alone: --first and --count cut the same endless list into shards.
Pairs are written a batch at a time, and the batch changes none of them. After an interruption run the same command
again: it goes on after the last batch, and the archive is byte for byte that of an uninterrupted run. Writes an
archive, and if asked a report (json) of what the samples cost.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pig.cli import parts
from pig.cli.console import say
from pig.cli.drawing import Batches, Tile, aside, clocks, fetched, in_order, paced, ranges
from pig.cli.fitting import digest_of
from pig.cli.options import add_compute, add_settings, compute, settings
from pig.cli.parts import Cost, Part
from pig.cli.progress import track
from pig.core import params
from pig.core import paths as layout
from pig.core.errors import InputError
from pig.core.files import atomic
from pig.models.methods import METHODS, evaluations
from pig.models.trained import alphabar_of, grey_levels, read_nets, seeds_of, shape_of

if TYPE_CHECKING:
    from pig.data.pairs import Mask, Pairs


def add_arguments(parser: ArgumentParser) -> None:
    conditional = ", ".join(name for name, method in METHODS.items() if method.masks)
    parser.add_argument("method", metavar="METHOD", choices=METHODS, help=f"one of {', '.join(METHODS)}")
    parser.add_argument(
        "--models",
        metavar="FILE",
        nargs="+",
        help="its trained networks, or their folder (default: the study's)",
    )
    parser.add_argument("--fold", metavar="K", type=int, help="fold of the study's networks (default: 0)")
    parser.add_argument(
        "--pairs",
        metavar="ZIP",
        help=f"archive that masks are taken from ({conditional}; default: the study's)",
    )
    parser.add_argument("--split", metavar="CSV", help="roles by fold, from `pig split` (likewise)")
    parser.add_argument("--count", metavar="N", type=int, required=True, help="how many samples")
    parser.add_argument("--first", metavar="I", type=int, default=0, help="number of the first sample")
    parser.add_argument("--size", metavar="HxW", help="pixels (default: the size that it was trained on)")
    parser.add_argument(
        "--batch", metavar="N", type=int, help="samples written at once (default: sampling.batch)"
    )
    parser.add_argument("--out", metavar="ZIP", required=True, help="archive to write")
    parser.add_argument(
        "--state",
        metavar="FOLDER",
        help="resume from and save to FOLDER; removed when done (default: the archive's name and .part)",
    )
    parser.add_argument("--report", metavar="JSON", help="cost of the samples to write")
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> str:
    args.state = args.state or f"{args.out}.part"  # where whoever interrupts it is told that it goes on from
    sampling = settings(args, "sampling").sampling
    check(args)
    kind = METHODS[args.method]
    inputs = find(args)
    device = compute(args)
    nets, headers = read_nets(args.method, inputs.models, device, sampling.compile)

    from pig.data.archive import join_archives
    from pig.models import methods

    header = headers[-1]
    fold = header.get("fold", 0)
    if args.fold not in (None, fold):
        raise InputError(f"--fold {args.fold}: expected that of the networks, {fold}")
    shape = shape_of(args.size, header)
    alphabar = alphabar_of(header, sampling)
    numbers = range(args.first, args.first + args.count)
    masks = read_masks(inputs, fold, shape, kind.masks == "varied", sampling.seed) if kind.masks else None
    job = fingerprint(args, inputs, sampling, shape, masks, device)
    done = parts.kept(args.state, job, numbers)
    at = done[-1].numbers.stop if done else numbers.start
    label, unit = f"sample {args.method} fold {fold}", "pair" if kind.paired else "image"
    if done:
        say(f"{label}: resumed at {unit} {at - args.first} of {args.count} from {args.state}")
    steps = getattr(sampling, kind.steps)

    def drawn() -> "Iterator[Tile | None]":
        """An item a sample: None, and as the last of a tile what all its samples have become."""
        for rows in ranges(numbers, at, sampling.tile):
            started = clocks()
            given, sources = masks.of(rows) if masks else (None, [""] * len(rows))
            x = None if given is None else _signs(given, device)
            seeds = seeds_of(sampling.seed, fold, rows)
            frames = methods.generate(args.method, nets, seeds, shape, alphabar, sampling, x, rows.start)
            for frame in paced(frames, steps, rows.stop - max(rows.start, at)):
                yield frame and _tile(rows, given, sources, frame, started)

    def to_pairs(tile: Tile) -> "Pairs":
        return pairs_of(tile, args.method, fold, sampling)

    def keep(first: int, pairs: "Pairs", cost: Cost) -> Part:
        return parts.keep(args.state, job, first, pairs, cost)

    batches = Batches(at, args.batch or sampling.batch, to_pairs, keep)
    with in_order(aside(device)) as later:
        for tile in track(drawn(), args.count, label, at - args.first, unit):
            if tile is not None:
                later(batches.take, tile)
    done += batches.finish()
    with atomic(args.out) as file:
        join_archives(file, [part.path for part in done])
    if args.report:
        cost = parts.total(done)._asdict() | {
            # All shards cost alike; counting loads half of torch again.
            "operations": operations(args.method, nets, shape, header, sampling) if args.first == 0 else None,
            "machine": machine(device),
            "networks": {head["net"]: {key: head.get(key) for key in KEPT} for head in headers},
        }
        with atomic(args.report, "w") as file:
            file.write(json.dumps(described(args, fold, sampling) | cost, indent=2) + "\n")
    parts.drop(args.state, job)
    return f"{args.count} {unit}s"


SOLVING = ("solver", "spacing", "settle", "clip", "precision", "compile", "seed")
KEPT = ("parameters", "seen", "trained_pairs", "data", "network", "training", "process", "validation")


# ---------------------------- what it starts from
class Inputs(NamedTuple):
    """The files that are read."""

    models: list[str]
    pairs: str | None  # what masks are taken from; None: it needs none
    split: str | None


def check(args: Namespace) -> None:
    """Refuse at once what would else end a long run."""
    for option, least in (("count", 1), ("first", 0), ("batch", 1), ("fold", 0)):
        value = getattr(args, option)
        if value is not None and value < least:
            raise InputError(f"--{option} {value}: expected at least {least}")
    for path in filter(None, (args.out, args.report)):
        if Path(path).exists() and not Path(path).is_file():
            raise InputError(f"{path}: expected a file to write, found a folder or a device")
        above = next(folder for folder in Path(path).parents if folder.exists())
        if not above.is_dir():
            raise InputError(f"{above}: expected a folder, found a file")
    if Path(args.state).exists() and not Path(args.state).is_dir():
        raise InputError(f"{args.state}: expected a folder, found a file")


def find(args: Namespace) -> Inputs:
    """What the options name; without --models what the study in this folder has."""
    kind = METHODS[args.method]
    pairs, split = args.pairs, args.split
    if args.models is None:
        if args.cfg is not None:
            raise InputError("--models: expected with --cfg, which names no profile")
        chosen = params.load(args.params, args.profile)
        models = [layout.net(chosen.profile, args.fold or 0, name) for name in kind.nets]
        trains = f"snakemake {' '.join(models)} --cores all --config profile={chosen.profile}"
        hint = f"expected --models, or the networks of the study in this folder: `{trains}` trains them"
        if kind.masks:
            pairs = pairs or layout.pairs(chosen.profile, chosen.data.source)
            split = split or layout.split(chosen.profile)
    elif len(args.models) == 1 and Path(args.models[0]).is_dir():
        models = [str(Path(args.models[0]) / f"{name}.safetensors") for name in kind.nets]
        hint = f"expected {' and '.join(kind.nets)} in that folder"
    else:
        models, hint = args.models, "expected a network that `pig train` wrote"
    for path in models:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; {hint}")
    if {pairs is not None, split is not None} != {bool(kind.masks)}:
        raise InputError(
            f"--pairs and --split: expected {'both' if kind.masks else 'neither'} for {args.method}"
        )
    return Inputs(models, pairs, split)


class Masks(NamedTuple):
    """What a conditional method is given."""

    of: "Callable[[range], tuple[Mask, list[str]]]"  # for samples: (B, H, W), and ids of the pairs they come from
    digest: str  # of all that may be given


def read_masks(inputs: Inputs, fold: int, shape: list[int], varied: bool, seed: int) -> Masks:
    """The masks of the fold's training pairs, as they are or varied."""
    import numpy as np

    from pig.core.reading import read_csv
    from pig.data.archive import read_archive
    from pig.data.conditions import rows as rows_of
    from pig.data.conditions import vary
    from pig.data.pairs import digest, rows

    assert inputs.pairs is not None and inputs.split is not None
    pairs = read_archive(inputs.pairs)
    if pairs.masks is None:
        raise InputError(f"{inputs.pairs}: expected pairs, found images without masks")
    split = read_csv(inputs.split, columns=("id",), text=True)
    train = pairs.select(rows(split, pairs.table, fold, "train"))
    if list(train.images.shape[1:]) != shape:
        raise InputError(f"{inputs.pairs}: masks of {train.images.shape[1:]} pixels; expected {shape}")
    first = seeds_of(seed, fold, range(1))[0]

    def of(numbers: range) -> "tuple[Mask, list[str]]":
        assert train.masks is not None
        chosen = rows_of(numbers, len(train), first)
        found = [
            vary(train.masks[row], train.images[row], number, first) if varied else train.masks[row]
            for number, row in zip(numbers, chosen, strict=True)
        ]
        return np.stack(found), train.table["id"].iloc[chosen].tolist()

    return Masks(of, digest(train))


def fingerprint(
    args: Namespace, inputs: Inputs, sampling: Any, shape: list[int], masks: Masks | None, device: Any
) -> str:
    """What decides a sample beside its number: equal for runs that may go on from each other's batches."""
    import torch

    from pig.core.codehash import code_hash

    # Stretched by the extremes of a tile, samples depend on those beside them, and so on where the numbers end.
    ends = (args.first, args.count) if sampling.grey_levels == "batch" else None
    code = code_hash("cli.verbs.sample")
    solver = sampling.model_dump(exclude={"batch", "shards"})
    given = masks.digest if masks else None
    return digest_of(
        args.method, *inputs.models, solver, shape, given, ends, code, torch.__version__, device.type
    )


# ---------------------------- what it makes
def described(args: Namespace, fold: int, sampling: Any) -> dict[str, Any]:
    """What was sampled and how, for the report."""
    kind = METHODS[args.method]
    steps = getattr(sampling, kind.steps)
    return {
        "method": args.method,
        "fold": fold,
        "number": args.count,
        "tile": sampling.tile,
        "steps": steps,
        "evaluations": evaluations(args.method, sampling),
        "solver": {key: getattr(sampling, key) for key in SOLVING},
    }


def _signs(masks: Any, device: Any) -> Any:
    """bool (N, H, W) -> (N, 1, H, W) of -1 and 1."""
    import torch

    return torch.from_numpy(masks)[:, None].to(device).float() * 2 - 1


def _tile(rows: range, given: "Mask | None", sources: list[str], frame: Any, started: Cost) -> Tile:
    """The last frame of a tile, on its way to this process's memory; a mask that was given is there."""
    import torch

    if given is not None or frame.x0_hat is None:
        y0_hat, wait = fetched(frame.y0_hat)
        return Tile(rows, given, sources, None, y0_hat, started, wait)
    both, wait = fetched(torch.cat([frame.x0_hat, frame.y0_hat], 1))
    return Tile(rows, None, sources, both[:, :1], both[:, 1:], started, wait)


def pairs_of(tile: Tile, method: str, fold: int, sampling: Any) -> "Pairs":
    """The samples of a tile as grey levels, binary masks and rows of a table."""
    import pandas as pd

    from pig.data.pairs import Pairs
    from pig.models import masks

    drawn = tile.given
    if tile.x0_hat is not None:
        drawn = (masks.RULES[sampling.mask](tile.x0_hat) > 0)[:, 0].numpy()
    table = pd.DataFrame(
        {
            "id": [f"{method}-{fold}-{i:06d}" for i in tile.numbers],
            "patient": "",
            "view": "",
            "slice": "",
            "origin": method,
            "seed": [str(seed) for seed in seeds_of(sampling.seed, fold, tile.numbers)],
            "mask_of": tile.sources,
        }
    )
    return Pairs(grey_levels(tile.y0_hat, sampling.grey_levels), drawn, table)


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


def operations(method: str, nets: Any, shape: Any, header: dict[str, Any], sampling: Any) -> int:
    """Multiply-adds of all networks for one sample, counted on one and two steps, the rest being alike."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from pig.diffusion import awake
    from pig.models.methods import generate

    kind = METHODS[method]
    device = next(nets[kind.nets[0]].model.parameters()).device
    given = -torch.ones(1, 1, *shape, device=device) if kind.masks else None

    def count(steps: int, settle: float | None = None) -> int:
        few = sampling.model_copy(update={"tile": 1, "settle": settle, kind.steps: steps})
        with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
            for _ in generate(method, nets, [0], shape, alphabar_of(header, few), few, given):
                pass
        return counter.get_total_flops() // 2

    one, two, steps = count(1), count(2), getattr(sampling, kind.steps)
    resting = steps - awake(steps, sampling.settle or 1.0) if kind.guided else 0
    return one + (steps - 1) * (two - one) - (resting * (two - count(2, 0.5)) if resting else 0)
