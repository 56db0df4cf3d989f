"""Sample pairs or images from noise with trained networks.

METHOD is pig (Algorithm 2; needs a guider and a guided network and gives pairs), ddpm or ddim (one
unguided network; gives images without masks). Sample i depends on the seed, the networks' fold and i
alone: --first and --number cut the same endless list into shards. Writes an archive.
"""

from argparse import ArgumentParser, Namespace
from typing import Any

from pig.errors import InputError
from pig.files import atomic
from pig.progress import track
from pig.verbs.common import add_compute, add_settings, compute, settings
from pig.verbs.networks import alphabar_of, read_nets, seeds_of, shape_of

METHODS = ("pig", "ddpm", "ddim")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("method", metavar="METHOD", choices=METHODS, help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--models", metavar="FILE", nargs="+", required=True, help="its trained networks")
    parser.add_argument("--number", metavar="N", type=int, required=True, help="how many samples")
    parser.add_argument("--first", metavar="I", type=int, default=0, help="number of the first sample")
    parser.add_argument("--size", metavar="HxW", help="pixels (default: the size that it was trained on)")
    parser.add_argument("--out", metavar="ZIP", required=True, help="archive to write")
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    sampling = settings(args, "sampling").sampling
    if args.number < 1 or args.first < 0:
        raise InputError(f"--number {args.number} --first {args.first}: expected at least 1 and at least 0")
    device = compute(args)
    nets, header = read_nets(args.method, args.models, device)

    import numpy as np
    import pandas as pd

    from pig import masks, methods
    from pig.pairs import Pairs, write_archive

    numbers = range(args.first, args.first + args.number)
    seeds = seeds_of(sampling.seed, header.get("fold", 0), numbers)
    frames = methods.generate(
        args.method, nets, seeds, shape_of(args, header), alphabar_of(header, sampling), sampling
    )
    batches = -(-args.number // sampling.batch)
    steps = getattr(sampling, methods.METHODS[args.method].steps) * batches
    label = f"sample {args.method} fold {header.get('fold', 0)}"
    last = [frame for frame in track(frames, steps, label) if frame.last]

    images = np.concatenate([grey_levels(frame.y0_hat, sampling.grey_levels) for frame in last])
    drawn = None
    if methods.METHODS[args.method].paired:
        rule = masks.RULES[sampling.mask]
        found = [frame.x0_hat for frame in last if frame.x0_hat is not None]
        drawn = np.concatenate([(rule(x0_hat) > 0)[:, 0].cpu().numpy() for x0_hat in found])
    fold = header.get("fold", 0)
    table = pd.DataFrame(
        {
            "id": [f"{args.method}-{fold}-{i:06d}" for i in numbers],
            "patient": "",
            "view": "",
            "slice": "",
            "origin": args.method,
            "seed": [str(seed) for seed in seeds],
        }
    )
    with atomic(args.out) as file:
        write_archive(file, Pairs(images, drawn, table))


def grey_levels(y0_hat: Any, rule: str) -> Any:
    """(B, 1, H, W) in [-1, 1] -> (B, H, W) uint8; "batch" first stretches by the batch's extremes."""
    from pig.pairs import grey

    if rule == "batch":
        low, high = y0_hat.min(), y0_hat.max()
        y0_hat = (y0_hat - low) / (high - low).clamp(min=1e-12) * 2 - 1
    return grey(y0_hat[:, 0].cpu().numpy())
