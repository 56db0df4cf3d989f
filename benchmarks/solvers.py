"""How few steps give the pairs of 256 DDIM steps? Solvers, spacings and a guider that rests, on trained networks.

    python benchmarks/solvers.py SET RECIPE IMAGES     networks of benchmarks/recipes.py, trained if they are not there

All samplers start from the same noise, so pair i of each is the same pair up to the solver's error: differences are
paired, and the same pairs and patients are drawn for both sides of an interval. The reference of the paper is DDIM in
256 steps; the end of the flow itself is taken from DPM-Solver++ (2M) in 256. Writes
benchmarks/results/solvers.json; benchmarks/page.py puts its table into docs/speed.md.
"""

import argparse

import numpy as np
import quality as Q
import recipes

from pig.metrics import fidelity

PAPER = ("ddim", "trailing", 256, None)
END = ("dpmpp2m", "log_snr", 256, None)
TRIED = [
    *(("dpmpp2m", "log_snr", n, None) for n in (20, 16, 25, 32, 12, 8, 50)),
    ("dpmpp2m", "log_snr", 20, 0.75),
    *(("ddim", "trailing", n, None) for n in (32, 64)),
    ("dpmpp2m", "trailing", 32, None),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SET")
    parser.add_argument("recipe", help="as of benchmarks/recipes.py")
    parser.add_argument("images", type=int)
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--draws", type=int, default=400)
    args = parser.parse_args()
    recipe = recipes.recipe(args.recipe)
    chosen = recipes.settings(args.source, recipe, args.images, 0, "sampling")
    of = Q.fold(chosen, args.pairs)
    nets = recipes.networks(of, recipe, args.source, args.images, 0)[0]
    rows = {}

    def tried(key):
        names = ("solver", "spacing", "steps", "settle")
        own = Q.laid_over(chosen, {"sampling": dict(zip(names, key, strict=True))})
        pairs = Q.sample(nets, own, args.pairs)
        print(*key, f"{pairs.seconds:.3f} s a pair", flush=True)
        return pairs, Q.judge(pairs, of, own)

    facts = {"machine": Q.machine(), "pairs": args.pairs, "draws": args.draws, "networks": vars(args)}
    for key in [END, PAPER, *TRIED]:
        rows[key] = tried(key)
        if PAPER in rows:
            lines = [
                {"solver": one[0], "spacing": one[1], "steps": one[2], "settle": one[3]}
                | row(rows, one, PAPER, END, of, args.draws)
                for one in rows
            ]
            Q.keep("solvers", {**facts, "rows": lines})


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


def equal_table(found):
    """Markdown: every sampler against DDIM in 256 steps, with intervals of the differences."""
    head = ["solver", "times", "steps", "guider rests", "s a pair", "FID", "difference", "KID x 1000",
            "difference", "TRTS Dice", "difference", "contrast", "difference", "greys off", "mask Dice"]  # fmt: skip
    lines = sorted(
        found["rows"], key=lambda row: (row["solver"], row["spacing"], row["steps"], row["settle"] or 1)
    )
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


NAMES = {"ddim": "DDIM", "dpmpp2m": "DPM-Solver++ (2M)", "dpmpp2m_sde": "the same with noise"}


def gap(values, digits):
    mean, low, high = values
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


if __name__ == "__main__":
    main()
