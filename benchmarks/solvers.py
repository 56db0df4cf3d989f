"""How few steps give the pairs of 256 DDIM steps? Solvers, spacings and a guider that rests, on trained networks.

    python benchmarks/solvers.py --models FOLDER           FOLDER with guider.safetensors and guided.safetensors of demo
    python benchmarks/solvers.py --models FOLDER --rest    a guider that rests, alone

All samplers start from the same noise, so pair i of each is the same pair up to the solver's error: differences are
paired, and the same pairs and patients are drawn for both sides of an interval. The reference of the paper is DDIM in
256 steps; the end of the flow itself is taken from DPM-Solver++ (2M) in 256. Writes benchmarks/results/solvers.json,
and prints the tables of docs/speed.md.
"""

import argparse
from pathlib import Path

import numpy as np
import quality as Q

from pig.metrics import fidelity
from pig.models.loading import read_net

PAPER = ("ddim", "trailing", 256)
END = ("dpmpp2m", "trailing", 256)
TRIED = [
    *(("ddim", "trailing", n) for n in (8, 16, 32, 64)),
    *(("dpmpp2m", "trailing", n) for n in (8, 16, 32, 64)),
    *(("ddim", "log_snr", n) for n in (16, 25)),
    *(("dpmpp2m", "log_snr", n) for n in (6, 8, 10, 12, 16, 20, 25, 50)),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--rest", action="store_true")
    args = parser.parse_args()
    chosen = Q.settings()
    nets = {}
    for name in ("guider", "guided"):
        trained, header, _ = read_net(args.models / f"{name}.safetensors", Q.CPU)
        if header["process"] != chosen.process.model_dump() or header["size"] != [chosen.data.size] * 2:
            raise SystemExit(f"{args.models}: expected networks of the profile demo")
        nets[name] = trained._replace(model=trained.model.to(memory_format=Q.torch.channels_last))
    of = Q.fold(chosen, args.pairs)

    def tried(solver, spacing, steps, nets=nets):
        own = chosen.sampling.model_copy(update={"solver": solver, "spacing": spacing, "steps": steps})
        pairs = Q.sample(nets, chosen.model_copy(update={"sampling": own}), args.pairs, keep_masks=True)
        return pairs, Q.judge(pairs, of, chosen)

    facts = {"machine": Q.machine(), "pairs": args.pairs, "draws": args.draws}
    if args.rest:
        lines = []
        for key in RESTED:
            rows = {key: tried(*key)}
            for rule, number in RULES:
                guider = Resting(nets["guider"].model, rule, number, key[2])
                rows[rule, number] = tried(*key, {**nets, "guider": nets["guider"]._replace(model=guider)})
                line = row(rows, (rule, number), key, key, of, args.draws)
                lines.append(
                    {"sampler": key, "rule": rule, "number": number, "saved": 1 - guider.share, **line}
                )
                Q.keep("resting", {**facts, "rows": lines})
                print(*key, rule, number, f"saved {1 - guider.share:.3f}", flush=True)
        print(rest_table(Q.kept("resting")))
        return
    rows = {}
    for key in [END, PAPER, *TRIED]:
        rows[key] = tried(*key)
        print(*key, f"{rows[key][0].seconds:.3f} s a pair", flush=True)
    lines = [
        {"solver": key[0], "spacing": key[1], "steps": key[2], "settling": settling(rows[key][0].settled)}
        | row(rows, key, PAPER, END, of, args.draws)
        for key in rows
    ]
    Q.keep("solvers", {**facts, "rows": lines})
    print(equal_table(Q.kept("solvers")))


RESTED = [("ddim", "trailing", 32), ("dpmpp2m", "log_snr", 16)]
RULES = [("after", 0.5), ("after", 0.75), ("unchanged", 1), ("unchanged", 2)]


class Resting(Q.torch.nn.Module):
    """A guider that predicts x0 and gives its last output again for each pair whose mask has settled.

    `after`: when this share of the steps is done; `unchanged`: after as many steps in a row that left the mask, which
    is not empty, as it was. `share` of the evaluations that were made, where a tile is evaluated while any pair of it
    has not settled. The mask of a pair that rests does not change, whoever is evaluated beside it.
    """

    def __init__(self, model, rule, number, steps):
        super().__init__()
        self.model, self.rule, self.number, self.steps = model, rule, number, steps
        self.calls = self.made = 0

    @property
    def share(self):
        return self.made / self.calls

    def forward(self, noised, guide, t):
        step = self.calls % self.steps
        self.calls += 1
        if step == 0:
            self.out, self.quiet = self.model(noised, guide, t), Q.torch.zeros(len(noised))
            self.made += 1
            return self.out
        if self.rule == "after":
            rests = Q.torch.full((len(noised),), step >= self.number * self.steps)
        else:
            rests = self.quiet >= self.number
        if not rests.all():
            self.made += 1
            new = Q.torch.where(rests[:, None, None, None], self.out, self.model(noised, guide, t))
            masks = [(out > 0).flatten(1) for out in (new, self.out)]
            still = (masks[0] == masks[1]).all(1) & masks[0].any(1)
            self.out, self.quiet = new, Q.torch.where(still | rests, self.quiet + 1, 0)
        return self.out


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


def settling(after):
    """(steps, N, H, W) masks after each step -> of which share of the steps a mask is in its last change: quantiles."""
    steps = len(after)
    changed = np.array([np.any(after[i] != after[i - 1], axis=(1, 2)) for i in range(1, steps)])
    last = np.array([np.flatnonzero(c)[-1] + 2 if c.any() else 1 for c in changed.T]) / steps
    return [float(q) for q in np.quantile(last, [0.1, 0.5, 0.9])]


def equal_table(found):
    """Markdown: every sampler against DDIM in 256 steps, with intervals of the differences."""
    head = ["solver", "times", "steps", "s a pair", "FID", "difference", "KID x 1000", "difference", "TRTS Dice",
            "difference", "contrast", "difference", "greys off", "mask Dice"]  # fmt: skip
    lines = sorted(found["rows"], key=lambda row: (row["solver"], row["spacing"], row["steps"]))
    return markdown(head, [equal_line(row) for row in lines])


def equal_line(row):
    percent = {key: [100 * value for value in row[key]] for key in ("dice_gap", "contrast_gap")}
    return [
        NAMES[row["solver"]],
        row["spacing"],
        row["steps"],
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


def rest_table(found):
    """Markdown: what a guider that rests saves, and how its pairs differ from those of one that never does."""
    head = ["sampler", "the guider rests", "its evaluations saved", "mask Dice", "TRTS Dice, difference",
            "contrast, difference", "area, difference", "FID, difference"]  # fmt: skip
    return markdown(head, [rest_line(row) for row in found["rows"]])


def rest_line(row):
    solver, _, steps = row["sampler"]
    when = f"after {100 * row['number']:.0f} % of the steps"
    if row["rule"] == "unchanged":
        when = f"after {row['number']} step{'s' * (row['number'] > 1)} without a change"
    return [
        f"{NAMES[solver]}, {steps} steps",
        when,
        f"{100 * row['saved']:.0f} %",
        f"{row['mask_dice']:.3f}",
        *(gap([100 * value for value in row[f"{key}_gap"]], 1) for key in ("dice", "contrast", "area")),
        gap(row["fid_gap"], 1),
    ]


def settle_table(found):
    """Markdown: at which share of the steps masks change for the last time."""
    head = ["solver", "times", "steps", "10 % of the masks", "half", "90 %"]
    return markdown(
        head,
        [
            [NAMES[row["solver"]], row["spacing"], row["steps"]]
            + [f"{100 * share:.0f} %" for share in row["settling"]]
            for row in found["rows"]
            if row["steps"] >= 16
        ],
    )


NAMES = {"ddim": "DDIM", "dpmpp2m": "DPM-Solver++ (2M)"}


def gap(values, digits):
    mean, low, high = values
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    main()
