"""Which recipe gives good pairs, and at what budget? PIG's two networks, trained and scored side by side.

    python benchmarks/recipes.py SET ROUND ..     train and score what a round lacks; SET is phantom, or an archive

A round is a list of recipes, a number of training images a network and training seeds (ROUNDS below). A recipe changes
some settings of BASE. Networks that several recipes share are trained once and kept in scratch/recipes; finished cells
are kept in benchmarks/results/recipes.json, and the same command goes on with the next. Seconds are of this process on
the processor, so that other work on the machine does not count.
"""

import argparse
import fcntl
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import quality as Q
import torch
import variants

from pig.core.params import Built, Study
from pig.metrics import copying, fidelity
from pig.models.method import Trained, net
from pig.models.table import METHODS
from pig.models.train import start

Over = dict[str, dict[str, Any]]  # sections of params.yaml
KEPT = Q.ROOT / "scratch" / "recipes"
PAIRS = 256  # generated, against as many real test slices

UNIFORM = {"times": "uniform"}
STRAIGHT = {"weight": "straight", "weight_least": None, "weight_most": 400.0}


def snr(least: float | None, most: float | None) -> dict[str, Any]:
    return {"weight": "snr", "weight_least": least, "weight_most": most}


def normal(mean: float, width: float) -> dict[str, Any]:
    return {"times": "log_snr", "times_mean": mean, "times_width": width}


BASE: Over = {
    "network": {
        "width": 32,
        "multipliers": [1, 1, 2, 2],
        "blocks": 1,
        "stem": 2,
        "groups": 8,
        "dropout": 0.0,
        "told": False,
    },
    "process": {"beta_T": 0.02},
    "guider": {"prediction": "x0", **UNIFORM, **snr(1.0, 5.0)},
    "guided": {"prediction": "x0", **normal(1.6, 1.6), **STRAIGHT, "clip_guide": True, "loss_weight": "none"},
    "autoencoder": {"factor": 2, "width": 16, "blocks": 1, "patches": 2, "adversarial_start": 250},
    "training": {
        "epochs": None,
        "batch": 32,
        "learning_rate": 1e-3,
        "warmup": 100,
        "schedule": "cosine",
        "ema": [100.0],
        "flips": [],
        "crop": 1.0,
        "clip_norm": 1.0,
        "antithetic": False,
        "keep": "last",
        "precision": "bf16",
        "compile": False,
    },
    "sampling": {
        "solver": "dpmpp2m",
        "spacing": "log_snr",
        "steps": 20,
        "clip": True,
        "settle": None,
        "tile": 32,
        "precision": "bf16",
    },
    "segmentation": {"steps": 600, "batch": 16, "precision": "bf16"},
    "fidelity": {"slices": PAIRS},
}


class Recipe(NamedTuple):
    """What a recipe lays over BASE: for both networks, for one of them, for sampling."""

    both: Over = {}  # noqa: RUF012
    guider: Over = {}  # noqa: RUF012
    guided: Over = {}  # noqa: RUF012
    sampling: dict[str, Any] = {}  # noqa: RUF012
    method: str = "pig"
    rival: Over = {}  # noqa: RUF012  # for the networks of another method than PIG
    guide: dict[str, float] = {}  # noqa: RUF012  # of variants.Spoilt, while the guided model is trained
    self_conditioned: bool = False  # the guider
    autoguided: tuple[int, float] | None = None  # images that the worse networks saw, strength


def guider(**own: Any) -> Recipe:
    return Recipe(guider={"guider": own})


def guided(**own: Any) -> Recipe:
    return Recipe(guided={"guided": own})


def joint(**own: Any) -> Recipe:
    return Recipe(method="joint", rival={"joint": {"prediction": "x0", **own}})


def ldm(**own: Any) -> Recipe:
    return Recipe(method="ldm", rival={"ldm": {"prediction": "x0", **own}})


def both(**sections: dict[str, Any]) -> Recipe:
    return Recipe(both=sections)


MASKS: Over = {"guider": {**normal(-1.0, 2.4), **STRAIGHT}}
WIDE: Over = {"network": {"stem": 4, "width": 64, "multipliers": [1, 2, 2]}}
RECIPES: dict[str, Recipe] = {
    "base": Recipe(),
    "guided snr 5, uniform": guided(**UNIFORM, **snr(None, 5.0)),
    "guider straight 1.6 1.6": guider(**normal(1.6, 1.6), **STRAIGHT),
    "guider snr 1-5, -1 2.4": guider(**normal(-1.0, 2.4)),
    "guided 0 2": guided(**normal(0.0, 2.0)),
    "guided 1.6 2.4": guided(**normal(1.6, 2.4)),
    "guided 2.6 1.6": guided(**normal(2.6, 1.6)),
    "guided 0.6 1.6": guided(**normal(0.6, 1.6)),
    "guided uniform": guided(**UNIFORM),
    "guided snr 20": guided(**snr(None, 20.0)),
    "guided v": guided(prediction="v"),
    "guided eps": guided(prediction="eps"),
    "guide unclamped": guided(clip_guide=False),
    "guided 1 1.6": guided(**normal(1.0, 1.6)),
    "crops, told": both(training={"crop": 0.75}, network={"told": True}),
    "chosen": Recipe(guider=MASKS),
    "chosen; stem 4, width 64": Recipe(WIDE, MASKS),
    "chosen; flips, crops, told, dropout": Recipe(
        {
            "training": {"flips": ["horizontal"], "crop": 0.75},
            "network": {"told": True, "dropout": 0.1},
        },
        MASKS,
    ),
    "guide noised 0.2": Recipe(guider=MASKS, guide={"noise": 0.2}),
    "guide dropped 0.1": Recipe(guider=MASKS, guide={"drop": 0.1}),
    "guider self-conditioned": Recipe(guider=MASKS, self_conditioned=True),
    "autoguided 1.5": Recipe(guider=MASKS, autoguided=(15_000, 1.5)),
    "autoguided 2": Recipe(guider=MASKS, autoguided=(15_000, 2.0)),
    "flips, crops, told": both(training={"flips": ["horizontal"], "crop": 0.75}, network={"told": True}),
    "dropout": both(network={"dropout": 0.1}),
    "chosen; rate 0.002": Recipe({"training": {"learning_rate": 2e-3}}, MASKS),
    "chosen; batch 8": Recipe({"training": {"batch": 8}}, MASKS),
    "chosen; batch 16": Recipe({"training": {"batch": 16}}, MASKS),
    "chosen; batch 16, rate 0.002": Recipe({"training": {"batch": 16, "learning_rate": 2e-3}}, MASKS),
    "chosen; batch 8, rate 0.002": Recipe({"training": {"batch": 8, "learning_rate": 2e-3}}, MASKS),
    "chosen; batch 16, rate 0.004": Recipe({"training": {"batch": 16, "learning_rate": 4e-3}}, MASKS),
    "chosen; batch 4": Recipe({"training": {"batch": 4}}, MASKS),
    "chosen; flips": Recipe({"training": {"flips": ["horizontal"]}}, MASKS),
    "no average": both(training={"ema": []}),
    "average 30": both(training={"ema": [30.0]}),
    "average 300": both(training={"ema": [300.0]}),
    "stem 4, width 64": Recipe(WIDE),
    "stem 4": both(network={"stem": 4, "multipliers": [1, 2, 2]}),
    "stem 1": both(network={"stem": 1, "multipliers": [1, 1, 2, 2]}),
    "width 48": both(network={"width": 48}),
    "joint snr 1-5": joint(**UNIFORM, **snr(1.0, 5.0)),
    "joint straight 1.6 1.6": joint(**normal(1.6, 1.6), **STRAIGHT),
    "joint straight 0 2.4": joint(**normal(0.0, 2.4), **STRAIGHT),
    "joint straight uniform": joint(**UNIFORM, **STRAIGHT),
    "ldm snr 1-5": ldm(**UNIFORM, **snr(1.0, 5.0)),
    "ldm straight 1.6 1.6": ldm(**normal(1.6, 1.6), **STRAIGHT),
    "ldm straight 0 1.6": ldm(**normal(0.0, 1.6), **STRAIGHT),
    "ldm straight 0 2.4": ldm(**normal(0.0, 2.4), **STRAIGHT),
    "ldm straight uniform": ldm(**UNIFORM, **STRAIGHT),
    "blocks 2": both(network={"blocks": 2}),
}


class Round(NamedTuple):
    recipes: list[str]
    images: int
    seeds: tuple[int, ...]


ROUNDS: dict[str, Round] = {
    "screen": Round(list(RECIPES), 15_000, (0, 1)),
    "5": Round(["chosen", "guided snr 5, uniform"], 5_000, (0, 1)),
    "15": Round(["chosen", "guided snr 5, uniform"], 15_000, (0, 1)),
    "40": Round(["chosen", "guided snr 5, uniform"], 40_000, (0, 1)),
    "120": Round(["chosen", "guided snr 5, uniform"], 120_000, (0, 1)),
}


def settings(of: str, recipe: Recipe, images: int, seed: int, which: str) -> Study:
    """Those that the network `which` is trained with; of "sampling", those of the samples."""
    own = {
        "guider": recipe.guider,
        "guided": recipe.guided,
        "sampling": {"sampling": recipe.sampling},
    }.get(which, recipe.rival)
    chosen = Q.settings("demo", **BASE, data={"source": of, "size": 64})
    chosen = Q.laid_over(Q.laid_over(chosen, recipe.both), own)
    steps = -(-images // chosen.training.batch)
    return Q.laid_over(chosen, {"training": {"steps": steps, "seed": seed}})


def trained(
    name: str, chosen: Study, of: Q.Fold, frozen: dict[str, Trained], built_on: str, wrap: Any = None
) -> Any:
    """(network, what it cost, its key), from KEPT if it is there; `built_on` is the key of the frozen one."""
    wrap = wrap or (lambda model: model)
    sections = ("network", "process", "training", "data", "phantom", "folds", name)
    told = json.dumps([name, built_on, chosen.model_dump(include=set(sections))], sort_keys=True)
    key = hashlib.sha256(told.encode()).hexdigest()[:24]
    path = KEPT / f"{key}.pt"
    if path.exists():
        saved = torch.load(path)
        model = wrap(start(name, chosen, frozen, Q.CPU))
        model.load_state_dict(saved["weights"])
        model = model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        return Trained(model, net(name).prediction(chosen)), Q.Cost(*saved["cost"]), key
    found, cost = Q.train(name, chosen, of, frozen, wrap=wrap)
    KEPT.mkdir(parents=True, exist_ok=True)
    weights = {part: value.contiguous() for part, value in found.model.state_dict().items()}
    torch.save({"weights": weights, "cost": (cost.steps, cost.seconds)}, path)
    return found, cost, key


def networks(
    of: Q.Fold, recipe: Recipe, source: str, images: int, seed: int
) -> tuple[dict[str, Trained], list[float], str]:
    """Those of a recipe by name, the seconds that their training took, and the last one's key."""
    nets: dict[str, Trained] = {}
    costs, key = [], ""
    for name in METHODS[recipe.method].nets:
        own, frozen, wrap = settings(source, recipe, images, seed, name), dict(nets), None
        if name == "guided" and recipe.guide:
            spoilt = variants.Spoilt(nets["guider"].model, **recipe.guide)
            frozen["guider"], key = nets["guider"]._replace(model=spoilt), f"{key} {recipe.guide}"
        if name == "guider" and recipe.self_conditioned:
            built, key = Built(network=own.network), "self-conditioned"
            wrap = lambda model, built=built: variants.SelfConditioned(built)  # noqa: E731
        nets[name], cost, key = trained(name, own, of, frozen, key, wrap)
        costs.append(cost.seconds)
    if recipe.autoguided:
        seen, strength = recipe.autoguided
        worse, _, _ = networks(of, recipe._replace(autoguided=None), source, seen, seed)
        for name, net_ in nets.items():
            led = variants.Autoguided(net_.model, worse[name].model, strength)
            nets[name] = net_._replace(model=led)
        key = f"{key}-{seen}-{strength}"
    return nets, costs, key


def cell(of: Q.Fold, recipe: Recipe, source: str, images: int, seed: int) -> dict[str, Any]:
    """Quality of PAIRS pairs, and what training and sampling cost."""
    nets, costs, key = networks(of, recipe, source, images, seed)
    chosen = settings(source, recipe, images, seed, "sampling")
    given = np.random.default_rng(0).permutation(len(of.train))[np.arange(PAIRS) % len(of.train)]
    masks = of.train.masks[given] if METHODS[recipe.method].masks else None
    pairs = Q.sample(nets, chosen, PAIRS, recipe.method, masks)
    np.savez_compressed(KEPT / f"{key}.npz", images=pairs.images[:64], masks=pairs.masks[:64])
    return {
        **score(pairs, of, chosen),
        "sampling_seconds": pairs.seconds,
        "training_seconds": costs,
    }


def score(pairs: Q.Sampled, of: Q.Fold, chosen: Study) -> dict[str, Any]:
    """Means over the pairs, and distances of their sets."""
    found = Q.judge(pairs, of, chosen)
    names = ("contrast", "dice", "shuffled", "area", "single", "empty")
    means = {
        name: float(np.nanmean(values)) if np.isfinite(values := getattr(found, name)).any() else 0.0
        for name in names
    }
    return {
        **means,
        "copies": copies(pairs.images, pairs.masks, of),
        "kid": fidelity.kid(found.features, of.reference, 100, 50, 0).mean * 1000,
        "fid": fidelity.frechet_distance(found.features, of.reference),
    }


def copies(images: Any, masks: Any, of: Q.Fold) -> float:
    """Share of pairs flagged as copies of a training pair by image and mask together; 0.01 is chance."""

    def searched(images: Any, masks: Any, own: list[str]) -> copying.Set:
        ids = [str(i) for i in range(len(images))]
        return copying.Set(images, copying.lesions_of(masks), ids, own)

    real = [searched(each.images, each.masks, each.table["patient"].tolist()) for each in (of.train, of.test)]
    scales = copying.calibrate(real[1], real[0])
    queries = searched(images, masks, [f"generated {i}" for i in range(len(images))])
    found, expected = (copying.report(each, *real, scales) for each in (queries, real[1]))
    return float(copying.are_copies(found, expected, "joint").mean())


def floors(of: Q.Fold, chosen: Study) -> dict[str, Any]:
    """Scores of real pairs: FID and KID of training slices, the rest of test pairs, which no segmenter has seen."""
    test = of.test.select(np.random.default_rng(0).permutation(len(of.test))[:PAIRS])
    return {
        **score(Q.Sampled(test.images, test.masks, 0.0), of, chosen),
        "kid": fidelity.kid(of.floor, of.reference, 100, 50, 0).mean * 1000,
        "fid": fidelity.frechet_distance(of.floor, of.reference),
    }


def add(key: str, found: dict[str, Any]) -> None:
    """Keep a cell; several processes may do so."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = Q.kept("recipes") or {"pairs": PAIRS, "cells": {}}
        kept["cells"][key] = {**found, "machine": Q.machine()}
        Q.keep("recipes", kept)
    print(key, {k: round(v, 3) for k, v in found.items() if isinstance(v, float)}, flush=True)


def run(source: str, rounds: list[str], only: list[str]) -> None:
    label = "phantom" if source == "phantom" else Path(source).stem
    of = Q.fold(settings(source, Recipe(), 32, 0, "sampling"), PAIRS)
    if f"{label} | real" not in Q.kept("recipes").get("cells", {}):
        add(f"{label} | real", floors(of, settings(source, Recipe(), 32, 0, "sampling")))
    for name in rounds:
        recipes, images, seeds = ROUNDS[name]
        for seed in seeds:
            for recipe in only or recipes:
                key = f"{label} | {recipe} | {images} | {seed}"
                if key not in Q.kept("recipes").get("cells", {}):
                    add(key, cell(of, RECIPES[recipe], source, images, seed))


COLUMNS = {  # of a cell: its head, the factor and the digits that it is shown with
    "fid": ("FID", 1, 0),
    "kid": ("KID x 1000", 1, 0),
    "dice": ("TRTS Dice", 100, 1),
    "contrast": ("contrast, % of real", 100, 0),
    "area": ("area, % of real", 100, 0),
    "single": ("one piece, %", 100, 0),
    "empty": ("empty, %", 100, 0),
    "copies": ("copies, %", 100, 1),
}


def table(found: dict[str, Any], label: str) -> str:
    """Markdown: the recipes of a set by images, best FID first; several seeds as mean (least to most)."""
    cells: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for key, one in found["cells"].items():
        of, recipe, *rest = key.split(" | ")
        if of == label:
            cells.setdefault((recipe, int(rest[0]) if rest else 0), []).append(one)
    order = sorted(cells, key=lambda row: (row[1], np.mean([one["fid"] for one in cells[row]])))
    head = ["recipe", "images", "seeds", *(head for head, _, _ in COLUMNS.values()), "training, s"]
    rows = []
    for recipe, images in order:
        own = cells[recipe, images]
        shown = [
            several([factor * one[key] for one in own if one.get(key) is not None], digits)
            for key, (_, factor, digits) in COLUMNS.items()
        ]
        seconds = [sum(one["training_seconds"]) for one in own if "training_seconds" in one]
        cost = f"{np.mean(seconds):.0f}" if seconds else ""
        rows.append([recipe, f"{images:,}" if images else "", len(own) if images else "", *shown, cost])
    return Q.markdown(head, rows)


def several(values: list[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}" if values else ""
    return mean if len(values) < 2 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SET")
    parser.add_argument("rounds", nargs="+", choices=ROUNDS)
    parser.add_argument("--only", nargs="*", default=[])
    args = parser.parse_args()
    run(args.source, args.rounds, args.only)
