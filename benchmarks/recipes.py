"""Which recipe gives good pairs, and at what budget? PIG's two networks, trained and scored side by side.

    python benchmarks/recipes.py phantom 15000 chosen "batch 32; flips" --seeds 0 1

trains and scores what is missing. The first word is phantom or an archive, the second the training images a network.
A recipe is named by what it changes of BASE, parts of PARTS. Networks that several recipes share are trained once and
kept in scratch/recipes; finished cells are kept in benchmarks/results/recipes.json. Seconds are of this process on the
processor, so that other work on the machine does not count.
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

from pig.core.params import Built, Study, overlay
from pig.data.conditions import Given
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
    "phantom": {"patients": 100, "slices": 4},
    "process": {"beta_T": 0.02},
    "guider": {"prediction": "x0", **normal(-1.0, 2.4), **STRAIGHT},
    "guided": {"prediction": "x0", **normal(1.6, 1.6), **STRAIGHT, "clip_guide": True, "loss_weight": "none"},
    "autoencoder": {"factor": 2, "width": 16, "blocks": 1, "patches": 2, "adversarial_start": 250},
    "training": {
        "epochs": None,
        "batch": 16,
        "learning_rate": 2e-3,
        "warmup": 100,
        "schedule": "cosine",
        "ema": [100.0],
        "flips": [],
        "crop": 1.0,
        "clip_norm": 1.0,
        "validate_every": 160,
        "validation_draws": 64,
        "checkpoint_every": 400,
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
    """What a recipe lays over BASE: for all networks, for one of them, for sampling."""

    method: str = "pig"
    all: Over = {}  # noqa: RUF012
    guider: Over = {}  # noqa: RUF012
    guided: Over = {}  # noqa: RUF012
    sampling: Over = {}  # noqa: RUF012
    rival: Over = {}  # noqa: RUF012  # for the networks of another method than PIG
    guide: dict[str, float] = {}  # noqa: RUF012  # of variants.Spoilt, while the guided model is trained
    self_conditioned: bool = False  # the guider
    autoguided: tuple[int, float] | None = None  # images that the worse networks saw, strength


def guider(**own: Any) -> Recipe:
    return Recipe(guider={"guider": own})


def guided(**own: Any) -> Recipe:
    return Recipe(guided={"guided": own})


def rival(method: str, **own: Any) -> Recipe:
    return Recipe(method, rival={method: {"prediction": "x0", **own}})


def training(**own: Any) -> Recipe:
    return Recipe(all={"training": own})


def network(**own: Any) -> Recipe:
    return Recipe(all={"network": own})


PARTS: dict[str, Recipe] = {
    "chosen": Recipe(),
    # batches and rates
    "batch 8": training(batch=8),
    "batch 32": training(batch=32),
    "rate 0.001": training(learning_rate=1e-3),
    "rate 0.004": training(learning_rate=4e-3),
    "no average": training(ema=[]),
    "average 30": training(ema=[30.0]),
    "average 300": training(ema=[300.0]),
    # draws and weights
    "guider snr 1-5, uniform": guider(**UNIFORM, **snr(1.0, 5.0)),
    "guider snr 1-5, -1 2.4": guider(**snr(1.0, 5.0)),
    "guider -3 2.4": guider(**normal(-3.0, 2.4)),
    "guider 1.6 1.6": guider(**normal(1.6, 1.6)),
    "guided snr 5, uniform": guided(**UNIFORM, **snr(None, 5.0)),
    "guided snr 20": guided(**snr(None, 20.0)),
    "guided uniform": guided(**UNIFORM),
    "guided 0 2": guided(**normal(0.0, 2.0)),
    "guided 1 1.6": guided(**normal(1.0, 1.6)),
    "guided 1.6 2.4": guided(**normal(1.6, 2.4)),
    "guided 2.6 1.6": guided(**normal(2.6, 1.6)),
    "guided v": guided(prediction="v"),
    "guided eps": guided(prediction="eps"),
    # sampling
    **{
        f"noise, {n} steps": Recipe(sampling={"sampling": {"solver": "dpmpp2m_sde", "steps": n}})
        for n in (25, 50)
    },
    # the guide
    "guide unclamped": guided(clip_guide=False),
    "guide noised 0.2": Recipe(guide={"noise": 0.2}),
    "guide dropped 0.1": Recipe(guide={"drop": 0.1}),
    "guider self-conditioned": Recipe(self_conditioned=True),
    "autoguided 1.5": Recipe(autoguided=(15_000, 1.5)),
    "autoguided 2": Recipe(autoguided=(15_000, 2.0)),
    # augmentation
    "flips": training(flips=["horizontal"]),
    "crops": training(crop=0.75),
    "told": network(told=True),
    "dropout": network(dropout=0.1),
    # networks
    "stem 1": network(stem=1),
    "stem 4": network(stem=4, multipliers=[1, 2, 2]),
    "stem 4, width 64": network(stem=4, width=64, multipliers=[1, 2, 2]),
    "width 48": network(width=48),
    "blocks 2": network(blocks=2),
    # rivals
    "joint snr 1-5, uniform": rival("joint", **UNIFORM, **snr(1.0, 5.0)),
    "joint uniform": rival("joint", **UNIFORM, **STRAIGHT),
    "joint 0 2.4": rival("joint", **normal(0.0, 2.4), **STRAIGHT),
    "joint 1.6 1.6": rival("joint", **normal(1.6, 1.6), **STRAIGHT),
    "ldm snr 1-5, uniform": rival("ldm", **UNIFORM, **snr(1.0, 5.0)),
    "ldm uniform": rival("ldm", **UNIFORM, **STRAIGHT),
    "ldm 0 1.6": rival("ldm", **normal(0.0, 1.6), **STRAIGHT),
    "ldm 1.6 1.6": rival("ldm", **normal(1.6, 1.6), **STRAIGHT),
}


def recipe(name: str) -> Recipe:
    """Parts of PARTS, "batch 32; flips", each laid over those before it."""
    found = Recipe()
    for part in name.split("; "):
        if part not in PARTS:
            raise SystemExit(f"{part!r}: expected one of {', '.join(PARTS)}")
        found = Recipe(**overlay(found._asdict(), changes(PARTS[part])))
    return found


def changes(part: Recipe) -> dict[str, Any]:
    """The fields that differ from those of a recipe that changes nothing."""
    nothing = Recipe()._asdict()
    return {key: value for key, value in part._asdict().items() if value != nothing[key]}


def settings(of: str, recipe: Recipe, images: int, seed: int, which: str) -> Study:
    """Those that the network `which` is trained with; of "sampling", those of the samples."""
    own = {
        "guider": recipe.guider,
        "guided": recipe.guided,
        "sampling": recipe.sampling,
    }.get(which, recipe.rival)
    chosen = Q.settings("demo", **BASE, data={"source": of, "size": 64})
    chosen = Q.laid_over(Q.laid_over(chosen, recipe.all), own)
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
    given = METHODS[recipe.method].masks
    masks = Given(of.train, given == "varied", 0).of(range(PAIRS))[0] if given else None
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
        **copies(pairs.images, pairs.masks, of),
        "kid": fidelity.kid(found.features, of.reference, 100, 50, 0).mean * 1000,
        "fid": fidelity.frechet_distance(found.features, of.reference),
    }


def copies(images: Any, masks: Any, of: Q.Fold) -> dict[str, float]:
    """Share flagged as copies of a training pair, by slice alone and by slice and mask together; 0.01 is chance."""

    def searched(images: Any, masks: Any, own: list[str]) -> copying.Set:
        ids = [str(i) for i in range(len(images))]
        return copying.Set(images, copying.lesions_of(masks), ids, own)

    real = [searched(each.images, each.masks, each.table["patient"].tolist()) for each in (of.train, of.test)]
    scales = copying.calibrate(real[1], real[0])
    queries = searched(images, masks, [f"generated {i}" for i in range(len(images))])
    found, expected = (copying.report(each, *real, scales) for each in (queries, real[1]))
    by = {"copied_slices": "image", "copies": "joint"}
    return {key: float(copying.are_copies(found, expected, kind).mean()) for key, kind in by.items()}


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


def run(source: str, images: int, names: list[str], seeds: list[int]) -> None:
    label = "phantom" if source == "phantom" else Path(source).stem
    own = settings(source, Recipe(), images, 0, "sampling")
    of = Q.fold(own, PAIRS)
    if f"{label} | real" not in Q.kept("recipes").get("cells", {}):
        add(f"{label} | real", floors(of, own))
    for seed in seeds:
        for name in names:
            key = f"{label} | {name} | {images} | {seed}"
            if key not in Q.kept("recipes").get("cells", {}):
                add(key, cell(of, recipe(name), source, images, seed))


COLUMNS = {  # of a cell: its head, the factor and the digits that it is shown with
    "fid": ("FID", 1, 0),
    "kid": ("KID x 1000", 1, 0),
    "dice": ("TRTS Dice", 100, 0),
    "single": ("one piece, %", 100, 0),
    "copied_slices": ("copied slices, %", 100, 1),
    "copies": ("copied pairs, %", 100, 1),
}


def table(found: dict[str, Any], labels: dict[str, str], left_out: str) -> str:
    """Markdown: recipes by images and by FID, a group of columns a set; several seeds as mean (least to most).

    labels: name of each set by its label in the cells; left_out: start of the names of recipes that are not shown.
    """
    cells: dict[tuple[int, str], dict[str, list[dict[str, Any]]]] = {}
    for key, one in found["cells"].items():
        of, recipe, *rest = key.split(" | ")
        if of in labels and not recipe.startswith(left_out):
            cells.setdefault((int(rest[0]) if rest else 0, recipe), {}).setdefault(of, []).append(one)

    def order(row: tuple[int, str]) -> tuple[int, float]:
        return row[0], min(np.mean([one["fid"] for one in own]) for own in cells[row].values())

    head = [
        "recipe",
        "images",
        *(f"{name}: {own}" for name in labels.values() for own, _, _ in COLUMNS.values()),
    ]
    rows = []
    for images, recipe in sorted(cells, key=order):
        sets = cells[images, recipe]
        shown = [
            several([factor * one[key] for one in sets.get(of, []) if one.get(key) is not None], digits)
            for of in labels
            for key, (_, factor, digits) in COLUMNS.items()
        ]
        seconds = [
            sum(one["training_seconds"]) for own in sets.values() for one in own if "training_seconds" in one
        ]
        cost = f"{np.mean(seconds):.0f}" if seconds else ""
        rows.append([recipe, f"{images:,}" if images else "", *shown, cost])
    return Q.markdown([*head, "training, s"], rows)


def several(values: list[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}" if values else ""
    return mean if len(values) < 2 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="SET")
    parser.add_argument("images", type=int, metavar="IMAGES")
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="parts of PARTS, joined by '; '")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    run(args.source, args.images, args.recipes, args.seeds)
