"""Sample pairs or images from noise with trained networks.

METHOD is a row of the table METHODS in pig/models/table.py; some give images without masks, and the conditional ones
are given masks of the fold's training patients. Without --models the networks are those of the study in this folder,
of the profile of the settings, and so are the archive and the split that masks are taken from.

Sample i depends on the seed, the networks' fold and i alone: --first and --count cut the same endless list into shards.
Pairs are written a batch at a time, and the batch changes none of them. After an interruption run the same command
again: it goes on after the last batch, and the archive is byte for byte that of an uninterrupted run. Writes an
archive, and if asked a report (json) of what the samples cost.
"""

import json
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli import parts
from pig.cli.console import say
from pig.cli.fitting import digest_of
from pig.cli.options import add_compute, add_settings, compute, read_size, settings
from pig.cli.progress import track
from pig.core import params, paths
from pig.core.errors import InputError
from pig.core.files import atomic
from pig.models.table import METHODS, Params, code_hash

if TYPE_CHECKING:
    from pig.data.conditions import Given
    from pig.models.drawing import Cost
    from pig.models.generator import Model


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
    check(args)
    find(args)
    size = read_size(args.size)
    device = compute(args)
    sampling = settings(args, "sampling").sampling

    from pig.data.archive import join_archives
    from pig.models.drawing import draw
    from pig.models.generator import read

    model = read(args.method, args.models, sampling, device, size)
    if args.fold not in (None, model.fold):
        raise InputError(f"--fold {args.fold}: expected that of the networks, {model.fold}")
    given = read_masks(args, model) if METHODS[args.method].masks else None
    job = fingerprint(args, model, given)
    numbers = range(args.first, args.first + args.count)
    done = parts.kept(args.state, job, numbers)
    at = done[-1].numbers.stop if done else numbers.start
    label, unit = (
        f"sample {args.method} fold {model.fold}",
        "pair" if METHODS[args.method].paired else "image",
    )
    if done:
        say(f"{label}: resumed at {unit} {at - args.first} of {args.count} from {args.state}")
    keep = partial(parts.keep, args.state, job)
    steps = draw(model, numbers, at, args.batch or sampling.batch, given, keep)
    for _ in track(steps, args.count, label, at - args.first, unit):
        pass
    done = parts.kept(args.state, job, numbers)
    with atomic(args.out) as file:
        join_archives(file, [part.path for part in done])
    if args.report:
        with atomic(args.report, "w") as file:
            file.write(json.dumps(report(args, model, parts.total(done)), indent=2) + "\n")
    parts.drop(args.state, job)
    return f"{args.count} {unit}s"


# ---------------------------- what it starts from
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


def find(args: Namespace) -> None:
    """Fill in --models, --pairs and --split where they are not given: without --models what the study here has."""
    kind = METHODS[args.method]
    if args.models is None:
        if args.cfg is not None:
            raise InputError("--models: expected with --cfg, which names no profile")
        chosen = params.load(args.params, Params, args.profile)
        fold = paths.fold(chosen.profile, args.fold or 0)
        args.models = [paths.net(fold, name) for name in kind.nets]
        trains = f"snakemake {' '.join(args.models)} --cores all --config profile={chosen.profile}"
        hint = f"expected --models, or the networks of the study in this folder: `{trains}` trains them"
        if kind.masks:
            args.pairs = args.pairs or paths.pairs(chosen.profile, chosen.data.source)
            args.split = args.split or paths.split(chosen.profile)
    elif len(args.models) == 1 and Path(args.models[0]).is_dir():
        args.models = [paths.net(args.models[0], name) for name in kind.nets]
        hint = f"expected {' and '.join(kind.nets)} in that folder"
    else:
        hint = "expected a network that `pig train` wrote"
    for path in args.models:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file; {hint}")
    if {args.pairs is not None, args.split is not None} != {bool(kind.masks)}:
        raise InputError(
            f"--pairs and --split: expected {'both' if kind.masks else 'neither'} for {args.method}"
        )


def read_masks(args: Namespace, model: "Model") -> "Given":
    """The masks of the fold's training pairs, as they are or varied."""
    from pig.core.reading import read_csv
    from pig.data.archive import read_archive
    from pig.data.conditions import Given
    from pig.data.pairs import rows

    pairs = read_archive(args.pairs)
    if pairs.masks is None:
        raise InputError(f"{args.pairs}: expected pairs, found images without masks")
    split = read_csv(args.split, columns=("id",), text=True)
    train = pairs.select(rows(split, pairs.table, model.fold, "train"))
    if train.images.shape[1:] != model.size:
        raise InputError(f"{args.pairs}: masks of {train.images.shape[1:]} pixels; expected {model.size}")
    return Given(train, METHODS[args.method].masks == "varied", model.seeds(range(1))[0])


def fingerprint(args: Namespace, model: "Model", given: "Given | None") -> str:
    """What decides a sample beside its number: equal for runs that may go on from each other's batches."""
    import torch

    from pig.data.pairs import digest

    # Stretched by the extremes of a tile, samples depend on those beside them, and so on where the numbers end.
    ends = (args.first, args.count) if model.sampling.grey_levels == "batch" else None
    code = code_hash("sample", [args.method], METHODS[args.method].nets)
    solver = model.sampling.model_dump(exclude={"batch", "shards"})
    masks = digest(given.pairs) if given else None
    made_by = (code, torch.__version__, model.device.type)
    return digest_of(args.method, *args.models, solver, model.size, masks, ends, *made_by)


# ---------------------------- the report
SOLVING = ("solver", "spacing", "settle", "clip", "precision", "compile", "seed")
KEPT = ("parameters", "seen", "trained_pairs", "data", "network", "training", "process", "validation")


def report(args: Namespace, model: "Model", cost: "Cost") -> dict[str, Any]:
    """What was sampled, how, and what it cost."""
    from pig.models.generator import evaluations

    return {
        "method": args.method,
        "fold": model.fold,
        "number": args.count,
        "tile": model.sampling.tile,
        "steps": model.steps,
        "evaluations": evaluations(args.method, model.sampling),
        "solver": {key: getattr(model.sampling, key) for key in SOLVING},
        **cost._asdict(),
        # All shards cost alike; counting loads half of torch again.
        "operations": model.operations() if args.first == 0 else None,
        "machine": machine(model.device),
        "networks": {name: {key: head.get(key) for key in KEPT} for name, head in model.headers.items()},
    }


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
