"""Which recipe gives good pairs first? Training recipes of PIG side by side on a phantom, three training seeds each.

    python benchmarks/recipes.py predictions      what networks predict, weights, EMA, schedules, guides: profile demo
    python benchmarks/recipes.py stems            stem 1, 2, 4 at equal time and at equal steps, at 64x64 and 128x128
    python benchmarks/recipes.py report           the tables of docs/speed.md, from the results so far

Every finished cell is kept in benchmarks/results/, and the same command goes on with the next. Seconds are those of the
process on the processor, so that other work on the machine does not count.
"""

import argparse
import functools
from typing import Any, NamedTuple

import numpy as np
import quality as Q
import torch
from solvers import markdown
from torch.nn import functional as F

from pig.core.params import Study
from pig.metrics import fidelity
from pig.models.method import Trained

SEEDS = (0, 1, 2)
STEPS = 300  # half of demo's
PAIRS = 64  # that are scored
PLAIN = {"min_snr": None, "max_snr": None}
SECONDS = {64: 40.0, 128: 120.0}  # of the processor for each network, by size, where time is what is equal

Over = dict[str, dict[str, Any]]  # sections of params.yaml, laid over demo's


class Row(NamedTuple):
    """A recipe: what it lays over profile demo for both networks, and for the guided one and for sampling alone."""

    name: str
    guider: Over = {}  # noqa: RUF012
    guided: Over = {}  # noqa: RUF012
    sampling: dict[str, Any] = {}  # noqa: RUF012
    half: bool = False  # the guider works at half the resolution


def predicting(guider: str, guided: str) -> tuple[Over, Over]:
    return (
        {"guider": {"prediction": guider, **PLAIN}},
        {"guided": {"prediction": guided, **PLAIN}},
    )


PUBLISHED = {
    "sigmoid weight": ({"loss_weight": "sigmoid"}, {}),
    "guide not clamped": ({"clip_guide": False}, {}),
    "guide binarised": ({}, {"guide": "local_mean"}),
    "all three": ({"loss_weight": "sigmoid", "clip_guide": False}, {"guide": "local_mean"}),
}


def published(name: str, guider: Over, guided: Over) -> list[Row]:
    """The three deviations of the published code, singly and together, on a recipe."""
    return [
        Row(
            f"{name}; {what}",
            guider,
            {**guided, "guided": {**guided.get("guided", {}), **of_guided}},
            of_sampling,
        )
        for what, (of_guided, of_sampling) in PUBLISHED.items()
    ]


SMALL, DEMO = {"network": {"multipliers": [1, 1, 2]}}, {"network": {"multipliers": [1, 1, 2, 2], "stem": 2}}
RECIPES = [
    Row("demo"),
    Row("eps, eps", *predicting("eps", "eps")),
    Row("v, v", *predicting("v", "v")),
    Row("x0, v", *predicting("x0", "v")),
    Row("x0, x0", *predicting("x0", "x0")),
    Row("demo; guided without min-SNR", {}, {"guided": PLAIN}),
    Row("demo; guided v", {}, {"guided": {"prediction": "v"}}),
    Row("demo; no EMA", {"training": {"ema": None}}),
    Row("demo; EMA 0.999", {"training": {"ema": 0.999}}),
    Row("demo; beta to 0.02", {"process": {"beta_T": 0.02}}),
    Row("demo; cosine", {"process": {"schedule": "cosine"}}),
    *published("demo", {}, {}),
    *published("eps, eps", *predicting("eps", "eps")),
    # 48 pixels can be halved this often only with three levels: so there is a control with three.
    Row("demo; guider of three levels", SMALL, DEMO),
    Row("demo; guider of three levels, stem 4", {"network": {**SMALL["network"], "stem": 4}}, DEMO),
    Row("demo; guider of three levels, half resolution", SMALL, DEMO, half=True),
]


class Half(torch.nn.Module):
    """A guider that sees both images at half the resolution, and whose output is enlarged."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, noised: torch.Tensor, guide: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        small = self.model(F.avg_pool2d(noised, 2), F.avg_pool2d(guide, 2), t)
        return F.interpolate(small, scale_factor=2, mode="bilinear")


class Done:
    """Cells by key, kept after each one."""

    def __init__(self, name: str, facts: dict[str, Any]) -> None:
        found = Q.kept(name)
        self.name, self.facts = name, {**facts, "machine": Q.machine()}
        same = found and {key: found[key] for key in facts} == facts
        self.cells = found["cells"] if same else {}

    def __contains__(self, key: str) -> bool:
        return key in self.cells

    def add(self, key: str, cell: dict[str, Any]) -> None:
        self.cells[key] = cell
        Q.keep(self.name, {**self.facts, "cells": self.cells})
        print(key, {k: round(v, 3) for k, v in cell.items() if isinstance(v, float)}, flush=True)


def cell(nets: dict[str, Trained], chosen: Study, of: Q.Fold, costs: list[Q.Cost]) -> dict[str, Any]:
    """Quality of PAIRS pairs, and what training and sampling cost."""
    pairs = Q.sample(nets, chosen, PAIRS)
    found = Q.judge(pairs, of, chosen)
    means = {
        name: float(np.nanmean(getattr(found, name))) if np.isfinite(getattr(found, name)).any() else 0.0
        for name in ("contrast", "dice", "shuffled", "area", "single", "empty")
    }
    return {
        **means,
        "kid": fidelity.kid(found.features, of.reference, 100, 50, 0).mean * 1000,
        "fid": fidelity.frechet_distance(found.features, of.reference),
        "sampling_seconds": pairs.seconds,
        "training_seconds": sum(cost.seconds for cost in costs),
        "steps": [cost.steps for cost in costs],
    }


def predictions() -> None:
    base = Q.settings(training={"steps": STEPS})
    done = Done("recipes", {"steps": STEPS, "pairs": PAIRS, "size": base.data.size})
    of = Q.fold(base, PAIRS)
    for seed in SEEDS:
        seeded = Q.laid_over(base, {"training": {"seed": seed}})

        @functools.cache
        def guider(over: str, half: bool, seeded: Study = seeded) -> tuple[Trained, Q.Cost]:
            chosen = Q.laid_over(seeded, eval(over))
            return Q.train("guider", chosen, of, {}, wrap=Half if half else lambda model: model)

        @functools.cache
        def guided(over: str, half: bool, own: str, seeded: Study = seeded) -> tuple[Trained, Q.Cost]:
            chosen = Q.laid_over(Q.laid_over(seeded, eval(over)), eval(own))
            return Q.train("guided", chosen, of, {"guider": guider(over, half)[0]})

        for row in RECIPES:
            if (key := f"{row.name} | {seed}") in done:
                continue
            first, cost_x = guider(repr(row.guider), row.half)
            second, cost_y = guided(repr(row.guider), row.half, repr(row.guided))
            chosen = Q.laid_over(Q.laid_over(seeded, row.guider), {"sampling": row.sampling})
            done.add(key, cell({"guider": first, "guided": second}, chosen, of, [cost_x, cost_y]))


def stems() -> None:
    done = Done("stems", {"seconds": {str(size): value for size, value in SECONDS.items()}, "pairs": PAIRS})
    order = [(size, equal) for equal in ("time", "steps") for size in (64, 128)]
    folds: dict[int, Q.Fold] = {}
    for size, equal in order:
        for seed in SEEDS:
            for stem in (2, 4, 1):
                key = f"{size} | {stem} | {equal} | {seed}"
                if key in done or (equal == "steps" and stem == 2):
                    continue  # one run is both
                chosen = Q.settings(data={"size": size}, network={"stem": stem}, training={"seed": seed})
                of = folds[size] = folds.get(size) or Q.fold(chosen, PAIRS)
                seconds, steps = SECONDS[size], [None, None]
                if equal == "steps":  # as many as stem 2 took in the time
                    seconds, steps = None, done.cells[f"{size} | 2 | time | {seed}"]["steps"]
                one = Q.laid_over(chosen, {"training": {"steps": steps[0]}}) if steps[0] else chosen
                two = Q.laid_over(chosen, {"training": {"steps": steps[1]}}) if steps[1] else chosen
                guider, cost_x = Q.train("guider", one, of, {}, seconds)
                guided, cost_y = Q.train("guided", two, of, {"guider": guider}, seconds)
                done.add(key, cell({"guider": guider, "guided": guided}, chosen, of, [cost_x, cost_y]))


COLUMNS = {  # of a cell: its head, the factor and the digits that it is shown with
    "contrast": ("contrast, % of real", 100, 0),
    "dice": ("TRTS Dice", 100, 1),
    "single": ("one piece, %", 100, 0),
    "empty": ("empty, %", 100, 0),
    "area": ("area, % of real", 100, 0),
    "kid": ("KID x 1000", 1, 0),
    "fid": ("FID", 1, 0),
}


def shown(cells: list[dict[str, Any]]) -> list[str]:
    """Mean over the training seeds and its interval, of each column."""
    texts = []
    for key, (_, factor, digits) in COLUMNS.items():
        mean, low, high = (factor * value for value in Q.over_seeds([cell[key] for cell in cells]))
        texts.append(f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
    return texts


def seconds(cells: list[dict[str, Any]], key: str, digits: int) -> str:
    return f"{np.mean([cell[key] for cell in cells]):.{digits}f}"


def recipes_table(found: dict[str, Any]) -> str:
    """Markdown: the recipes, those with all seeds."""
    head = ["recipe", *(head for head, _, _ in COLUMNS.values()), "training, s", "sampling, s a pair"]
    rows = []
    for row in RECIPES:
        cells = [
            found["cells"][key] for seed in SEEDS if (key := f"{row.name} | {seed}") in found.get("cells", {})
        ]
        if len(cells) == len(SEEDS):
            costs = [seconds(cells, "training_seconds", 0), seconds(cells, "sampling_seconds", 3)]
            rows.append([row.name, *shown(cells), *costs])
    return markdown(head, rows)


def stems_table(found: dict[str, Any]) -> str:
    """Markdown: stems at equal time and at equal steps, those with all seeds."""
    head = [
        "size",
        "equal",
        "stem",
        "steps",
        *(head for head, _, _ in COLUMNS.values()),
        "training, s",
        "sampling, s a pair",
    ]
    rows = []
    for size in (64, 128):
        for equal in ("time", "steps"):
            for stem in (1, 2, 4):
                kind = "time" if stem == 2 else equal  # one run is both
                keys = [f"{size} | {stem} | {kind} | {seed}" for seed in SEEDS]
                cells = [found["cells"][key] for key in keys if key in found.get("cells", {})]
                if len(cells) < len(SEEDS):
                    continue
                steps = " + ".join(f"{np.mean([cell['steps'][i] for cell in cells]):.0f}" for i in (0, 1))
                costs = [seconds(cells, "training_seconds", 0), seconds(cells, "sampling_seconds", 3)]
                rows.append([size, equal, stem, steps, *shown(cells), *costs])
    return markdown(head, rows)


def report() -> None:
    """Print the tables of docs/speed.md."""
    print(recipes_table(Q.kept("recipes")), stems_table(Q.kept("stems")), sep="\n\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["predictions", "stems", "report"])
    {"predictions": predictions, "stems": stems, "report": report}[parser.parse_args().part]()
