"""Sample pairs or images from noise with trained networks.

METHOD is a row of the table METHODS in pig/models/table.py. Some methods give images without masks. The conditional
ones are given masks of the fold's training patients. Without --models the networks are those of the study in this
folder, of the profile that the settings name; so are the archive and the split that masks come from.

Sample i depends on the seed, the networks' fold and i alone: --first and --count cut one endless list into shards.
Pairs are written a batch at a time. The size of a batch changes none of them. After an interruption run the same
command again: it goes on after the last batch, and the archive is byte for byte that of an uninterrupted run. Writes an
archive and, with --report, a json file of what the samples cost.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pig.cli.console import say
from pig.cli.fitting import in_which
from pig.cli.options import add_compute, add_settings, size, start
from pig.cli.progress import track
from pig.core import paths
from pig.core.errors import InputError
from pig.core.files import atomic
from pig.models.table import METHODS

if TYPE_CHECKING:
    import torch

    from pig.core.params import Sampling


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
    parser.add_argument(
        "--size", metavar="HxW", type=size, help="pixels (default: the size that it was trained on)"
    )
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
    sampling, device = find(args)

    from pig.data.archive import Parts, read_archive
    from pig.data.conditions import Given
    from pig.models.loading import read
    from pig.training.precision import going_on

    model, kind = read(args.method, args.models, sampling, device, args.size), METHODS[args.method]
    if args.fold not in (None, model.fold):
        raise InputError(f"--fold {args.fold}: expected that of the networks, {model.fold}")
    given = None
    if kind.masks:
        pairs = read_archive(args.pairs)
        pairs.need_masks(args.pairs)
        if (found := pairs.images.shape[1:]) != model.size:
            raise InputError(f"{args.pairs}: expected pairs of {model.size} pixels, found {found}")
        train = pairs.of(args.split, model.fold, "train")
        given = Given(train, kind.masks == "varied", model.seeds(range(1))[0])
    # Stretched by the extremes of a tile, samples depend on those beside them, and so on where the numbers end.
    ends = (args.first, args.count) if sampling.grey_levels == "batch" else None
    job = (model.digest(), given and given.digest, ends)
    numbers = range(args.first, args.first + args.count)
    parts = Parts(args.state, job, numbers, wanted := sampling.precision)
    model = model.but(precision=going_on(wanted, parts.computed_in, device, "sampling", args.state))
    parts.computed_in = model.computed_in
    label, unit, done = f"sample {args.method} fold {model.fold}", kind.unit, parts.stop - args.first
    if done:
        as_begun = in_which(wanted, model.computed_in, device)
        say(f"{label}: resumed at {unit} {done} of {args.count} from {args.state}{as_begun}")
    drawn = model.draw(numbers, given, parts, args.batch or sampling.batch)
    for _ in track(drawn, args.count, label, done, unit):
        pass
    parts.join(args.out)
    if args.report:
        # All shards cost alike; counting loads half of torch again.
        counted = model.operations() if args.first == 0 else None
        report = {**model.report(), "number": args.count, **parts.cost._asdict(), "operations": counted}
        with atomic(args.report, "w") as file:
            file.write(json.dumps(report, indent=2) + "\n")
    parts.drop()
    return f"{args.count} {unit}s"


# ---------------------------- what it starts from
def check(args: Namespace) -> None:
    """Refuse at once what would else end a long run."""
    if args.models is None and args.cfg is not None:
        raise InputError("--models: expected with --cfg, which names no profile")
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


def find(args: Namespace) -> "tuple[Sampling, torch.device]":
    """Fill in --models, --pairs and --split: without --models what the study here has. Returns settings and device."""
    chosen, device = start(args, "sampling", *(() if args.models else ("profile", "data")))
    kind = METHODS[args.method]
    if args.models is None:
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
    return chosen.sampling, device
