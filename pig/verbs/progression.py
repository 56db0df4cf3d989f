"""Keep some steps of Algorithm 2, for Figure 3.

Samples the first pairs of the networks' fold and writes x0_hat and y0_hat after evenly spaced steps, the
first and the last among them. Writes npz: t (K,) int64; x and y (K, B, H, W) float16, clamped to [-1, 1].
"""

from argparse import ArgumentParser, Namespace

from pig.errors import InputError
from pig.files import atomic
from pig.progress import track
from pig.verbs.common import add_compute, add_settings, compute, settings
from pig.verbs.networks import alphabar_of, read_nets, seeds_of, shape_of


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--models", metavar="FILE", nargs=2, required=True, help="trained guider and guided")
    parser.add_argument("--size", metavar="HxW", help="pixels (default: the size that it was trained on)")
    parser.add_argument("--out", metavar="NPZ", required=True, help="frames to write")
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, "sampling", "figures")
    sampling, number = chosen.sampling, chosen.figures.progression_pairs
    if chosen.figures.progression_steps > sampling.steps:
        raise InputError(f"figures.progression_steps: expected at most sampling.steps = {sampling.steps}")
    device = compute(args)
    nets, (header, _) = read_nets("pig", args.models, device)

    import numpy as np

    from pig.diffusion import timesteps
    from pig.methods import generate

    alphabar = alphabar_of(header, sampling)
    times = timesteps(len(alphabar) - 1, sampling.steps, sampling.spacing)
    kept = np.linspace(0, sampling.steps - 1, chosen.figures.progression_steps).round().astype(int)
    seeds = seeds_of(sampling.seed, header.get("fold", 0), range(min(number, sampling.batch)))
    frames = generate("pig", nets, seeds, shape_of(args, header), alphabar, sampling)
    shown = [frame for i, frame in enumerate(track(frames, sampling.steps, "progression")) if i in kept]
    with atomic(args.out) as file:
        np.savez_compressed(
            file,
            t=np.array([times[i] for i in kept]),
            x=np.stack([f.x0_hat.clamp(-1, 1)[:, 0].half().cpu().numpy() for f in shown]),  # type: ignore[union-attr]
            y=np.stack([f.y0_hat.clamp(-1, 1)[:, 0].half().cpu().numpy() for f in shown]),
        )
