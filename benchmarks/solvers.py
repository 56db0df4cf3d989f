"""How few steps give the pairs of 256 DDIM steps? Solvers, spacings and a guider that rests, on trained networks.

    python benchmarks/solvers.py SET RECIPE IMAGES     networks of benchmarks/recipes.py, trained if they are not there

All samplers start from the same noise, so pair i of each is the same pair up to the solver's error: differences are
paired, and the same pairs and patients are drawn for both sides of an interval. The reference of the paper is DDIM in
256 steps; the end of the flow itself is taken from DPM-Solver++ (2M) in 256. Solvers with noise are compared with their
own 256 steps: all take their noise from one Brownian path a chain. Writes benchmarks/results/solvers.json;
benchmarks/page.py puts its tables into docs/speed.md.
"""

import argparse

import numpy as np
import quality as Q
import recipes
import torch

from pig.metrics import fidelity
from pig.models.solvers import SOLVERS, ancestral, second_order

PAPER = ("ddim", "trailing", 256, None)
END = ("dpmpp2m", "log_snr", 256, None)
TRIED = [
    *(("dpmpp2m", "log_snr", n, None) for n in (20, 16, 25, 32, 12, 8, 50)),
    ("dpmpp2m", "log_snr", 20, 0.75),
    *(("ddim", "trailing", n, None) for n in (32, 64)),
    ("dpmpp2m", "trailing", 32, None),
]
NOISED_END = ("dpmpp2m_sde", "log_snr", 256, None)
NOISED = [("dpmpp2m_sde", "log_snr", n, None) for n in (50, 25, 32, 100, 16)]


def on_one_path(alphabar, fresh):
    """dpmpp2m_sde whose noise in a step from t to s is the increment of a Brownian motion from snr_t to snr_s, over its
    standard deviation: what Eq. 7 adds is such an integral, so that few steps and many follow the same path."""
    generator = torch.Generator().manual_seed(int(torch.as_tensor(fresh()).double().abs().sum() * 1e6))
    shape, widths = fresh().shape, (-torch.logit(alphabar[1:]).exp().diff()).sqrt()

    def increment(t, s):
        parts = (widths[i - 1] * torch.randn(shape, generator=generator) for i in range(t - 1, s - 1, -1))
        return sum(parts) / widths[s - 1 : t - 1].norm()

    def move(xt, x0_hat, eps, t, s):
        return ancestral(alphabar, lambda: increment(t, s))(xt, x0_hat, eps, t, s)

    return second_order(alphabar, move)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SET")
    parser.add_argument("recipe", help="as of benchmarks/recipes.py")
    parser.add_argument("images", type=int)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--noise", action="store_true", help="the solvers with noise, not the others")
    args = parser.parse_args()
    recipe = recipes.recipe(args.recipe)
    chosen = recipes.settings(args.source, recipe, args.images, 0, "sampling")
    of = Q.fold(chosen, args.pairs)
    nets = recipes.networks(of, recipe, args.source, args.images, 0)[0]
    rows = {}
    end, reference, others = (NOISED_END, NOISED_END, NOISED) if args.noise else (END, PAPER, TRIED)
    SOLVERS["dpmpp2m_sde"] = on_one_path
    kept = Q.kept("solvers").get("rows", [])
    kept = [one for one in kept if (one["solver"] == NOISED_END[0]) != args.noise]

    def tried(key):
        names = ("solver", "spacing", "steps", "settle")
        own = Q.laid_over(chosen, {"sampling": dict(zip(names, key, strict=True))})
        pairs = Q.sample(nets, own, args.pairs)
        print(*key, f"{pairs.seconds:.3f} s a pair", flush=True)
        return pairs, Q.judge(pairs, of, own)

    networks = {"source": args.source, "recipe": args.recipe, "images": args.images}
    facts = {"machine": Q.machine(), "pairs": args.pairs, "draws": args.draws, "networks": networks}
    for key in dict.fromkeys([end, reference, *others]):
        rows[key] = tried(key)
        if reference in rows:
            lines = [
                {"solver": one[0], "spacing": one[1], "steps": one[2], "settle": one[3]}
                | row(rows, one, reference, end, of, args.draws)
                for one in rows
            ]
            Q.keep("solvers", {**facts, "rows": [*kept, *lines]})


def row(rows, key, against, end, of, draws):
    """One line of a table: the numbers of a sampler, how they differ from another's, and how far its pairs are off."""
    pairs, own = rows[key]
    _, paper = rows[against]
    end_pairs, _ = rows[end]
    rng = np.random.default_rng(0)
    ours = rng.multinomial(
        len(own.dice), np.full(len(own.dice), 1 / len(own.dice)), draws
    )  # the same pairs of both
    theirs = fidelity.weights(of.groups, draws, rng)
    grams = [fidelity.Gram.of(each.features, of.reference) for each in (own, paper)]
    gaps = [
        fidelity.weighted_frechet(grams[0], v, w) - fidelity.weighted_frechet(grams[1], v, w)
        for v, w in zip(ours, theirs, strict=True)
    ]
    fids = [fidelity.frechet_distance(each.features, of.reference) for each in (own, paper)]
    kids = [fidelity.kid(each.features, of.reference, 100, 100, 0).mean * 1000 for each in (own, paper)]
    drawn = [1000 * fidelity.weighted_kid(each.features, of.reference, ours, theirs) for each in (own, paper)]
    line = {
        "seconds": pairs.seconds,
        "fid": fids[0],
        "fid_gap": around(fids[0] - fids[1], gaps),
        "kid": kids[0],
        "kid_gap": around(kids[0] - kids[1], drawn[0] - drawn[1]),
        "grey_levels_off": float(np.abs(pairs.images.astype(float) - end_pairs.images).mean()),
        "mask_dice": dice_of(pairs.masks, end_pairs.masks),
    }
    for name in ("dice", "contrast", "area", "single", "empty"):
        mine, his = getattr(own, name), getattr(paper, name)
        line[name] = float(np.nanmean(mine))
        both = ~np.isnan(mine) & ~np.isnan(his)
        gaps = [np.average((mine - his)[both], weights=v[both]) for v in ours]
        line[f"{name}_gap"] = [
            float((mine - his)[both].mean()),
            *map(float, np.quantile(gaps, [0.025, 0.975])),
        ]
    return {
        key: [float(v) for v in value] if isinstance(value, list) else value for key, value in line.items()
    }


def around(estimate, draws):
    """[estimate, low, high]: the draws' quantiles, moved to the estimate, as in `fidelity.frechet_interval`."""
    return [estimate, *(np.quantile(draws, [0.025, 0.975]) - np.mean(draws) + estimate)]


def dice_of(a, b):
    """Mean Dice of masks (N, H, W) and theirs; 1 where both are empty."""
    both, sizes = (a & b).sum((1, 2)), a.sum((1, 2)) + b.sum((1, 2))
    return float(np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), 1.0).mean())


def equal_table(found, noise=False):
    """Markdown: every sampler, with noise in its steps or without, and how it differs from the 256 steps of these."""
    head = ["solver", "times", "steps", "guider rests", "s a pair", "FID", "difference", "KID x 1000",
            "difference", "TRTS Dice", "difference", "contrast", "difference", "greys off", "mask Dice"]  # fmt: skip
    rows = [row for row in found["rows"] if (row["solver"] == NOISED_END[0]) == noise]
    lines = sorted(rows, key=lambda row: (row["solver"], row["spacing"], row["steps"], row["settle"] or 1))
    return Q.markdown(head, [equal_line(row) for row in lines])


def equal_line(row):
    percent = {key: [100 * value for value in row[key]] for key in ("dice_gap", "contrast_gap")}
    return [
        NAMES[row["solver"]],
        row["spacing"],
        row["steps"],
        "never" if row["settle"] is None else f"after {100 * row['settle']:.0f} %",
        f"{row['seconds']:.3f}",
        f"{row['fid']:.1f}",
        gap(row["fid_gap"], 1),
        f"{row['kid']:.1f}",
        gap(row["kid_gap"], 1),
        f"{100 * row['dice']:.1f}",
        gap(percent["dice_gap"], 1),
        f"{100 * row['contrast']:.1f} %",
        gap(percent["contrast_gap"], 1),
        f"{row['grey_levels_off']:.2f}",
        f"{row['mask_dice']:.3f}",
    ]


NAMES = {"ddim": "DDIM", "dpmpp2m": "DPM-Solver++ (2M)", "dpmpp2m_sde": "SDE-DPM-Solver++ (2M)"}


def gap(values, digits):
    mean, low, high = values
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


if __name__ == "__main__":
    main()
