"""Keep some steps of Algorithm 2, for Figure 3.

Samples the first pairs of the networks' fold. Writes x0_hat and y0_hat after evenly spaced steps, the first and the
last among them, as npz: t (K,) int64; x and y (K, B, H, W) float16, clamped to [-1, 1].
"""

from argparse import ArgumentParser, Namespace
from typing import Any

from pig.cli.options import add_compute, add_settings, size, start
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--models", metavar="FILE", nargs=2, required=True, help="trained guider and guided")
    parser.add_argument(
        "--size", metavar="HxW", type=size, help="pixels (default: the size that it was trained on)"
    )
    parser.add_argument("--out", metavar="NPZ", required=True, help="frames to write")
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    chosen, device = start(args, "sampling", "figures")
    sampling, number = chosen.sampling, chosen.figures.progression_pairs
    if chosen.figures.progression_steps > sampling.steps:
        raise InputError(f"figures.progression_steps: expected at most sampling.steps = {sampling.steps}")

    import numpy as np

    from pig.models.loading import read
    from pig.models.solvers import times

    model = read("pig", args.models, sampling, device, args.size)
    at = times(model.alphabar, sampling.steps, sampling.spacing)
    kept = np.linspace(0, sampling.steps - 1, chosen.figures.progression_steps).round().astype(int)
    frames, total = model.frames(range(number)), sampling.steps * -(-number // sampling.tile)
    taken = [f for i, f in enumerate(track(frames, total, "progression")) if i % sampling.steps in kept]
    shown = [taken[i :: len(kept)] for i in range(len(kept))]  # of each step, the tiles
    with atomic(args.out) as file:
        np.savez_compressed(
            file,
            t=np.array([at[i] for i in kept]),
            x=np.stack([_halves([f.x0_hat for f in tiles]) for tiles in shown]),
            y=np.stack([_halves([f.y0_hat for f in tiles]) for tiles in shown]),
        )


def _halves(tiles: list[Any]) -> Any:
    """(N, H, W) float16 in [-1, 1] from tiles (B, 1, H, W)."""
    import torch

    return torch.cat(tiles).clamp(-1, 1)[:, 0].half().cpu().numpy()
