"""What the benchmarks of speed share: a fold of the phantom, networks trained on it, and how good their pairs are.

A gain in speed counts at equal quality only, so every such table has these columns beside its seconds.
"""

# ruff: noqa: E402  # the number of threads has to be set before numpy and torch are loaded
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from scipy import stats

from pig.cli.verbs.features import Folder
from pig.core import params
from pig.data.archive import read_archive
from pig.data.pairs import ROLES, Pairs, concatenate, split
from pig.data.phantom.phantom import volumes
from pig.metrics import features, pairing, segmentation
from pig.models.generator import Model
from pig.models.method import Trained, net
from pig.models.table import Params
from pig.models.train import losses, start
from pig.training.fit import fit, recipe
from pig.training.ranks import ALONE

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
CPU = torch.device("cpu")
RESULTS = ROOT / "benchmarks" / "results"


def settings(profile: str = "demo", **over: Any) -> params.Study:
    """A profile of params.yaml with sections laid over it."""
    return laid_over(params.load(ROOT / "params.yaml", Params, profile), over)


def laid_over(chosen: params.Study, over: Mapping[str, Mapping[str, Any]]) -> params.Study:
    return chosen.model_copy(
        update={key: getattr(chosen, key).model_copy(update=change) for key, change in over.items()}
    )


@dataclass(frozen=True)
class Fold:
    """Fold 0 of a data set, and what judges pairs that were generated in it."""

    train: Pairs
    held_out: Pairs
    test: Pairs
    extractor: features.Extractor
    store: Folder
    reference: np.ndarray  # features of test slices (n, d)
    floor: np.ndarray  # features of as many training slices
    groups: list[str]  # patients of the test slices
    segmenter: torch.nn.Module  # trained on real pairs alone
    contrast: float  # of real training pairs
    area: float


def fold(chosen: params.Study, slices: int | None = None) -> Fold:
    """Draw or read the data of `chosen`, split it, take features of test slices and train one segmenter."""
    own = chosen.phantom
    if chosen.data.source == "phantom":
        drawn = concatenate(volumes(own.patients, own.views, own.slices, chosen.data.size, own.seed))
    else:
        drawn = read_archive(chosen.data.source)
    roles = split(drawn.table, chosen.folds.count, chosen.folds.validation, chosen.folds.seed)
    train, held_out, test = (drawn.of(roles, 0, role) for role in ROLES)
    extractor = features.inception(features.find_weights(None, os.environ), CPU)
    store = Folder(ROOT / "scratch" / "features")
    taken = test.select(
        features.choose(range(len(test)), slices or chosen.fidelity.slices, chosen.fidelity.seed)
    )
    floor = train.select(features.choose(range(len(train)), len(taken), chosen.fidelity.seed))
    reference, floor = (
        taken_features(each.images, extractor, store, chosen.fidelity.batch) for each in (taken, floor)
    )
    real = pairing.summary(train.images, train.masks, chosen.pairing.ring)
    return Fold(
        train,
        held_out,
        test,
        extractor,
        store,
        reference,
        floor,
        taken.table["patient"].tolist(),
        segmenter(chosen, train),
        real["contrast"],
        real["area"],
    )


def taken_features(
    images: Any, extractor: features.Extractor, store: Folder | None, batch: int
) -> np.ndarray:
    """(N, d); none of no images."""
    found = dict(features.features(list(images), extractor, batch, store))
    return np.array([found[row] for row in range(len(images))])


def segmenter(chosen: params.Study, train: Pairs) -> torch.nn.Module:
    own = chosen.segmentation
    torch.manual_seed(own.seed)
    model = segmentation.build(own.encoder, own.depth, own.decoder_channels, train.images.shape[1:])
    data = segmentation.examples(train)
    for _ in fit(model, segmentation.training_loss(data, own.flip), len(train), recipe(own, len(train))):
        pass
    return model.eval()


@dataclass(frozen=True)
class Cost:
    """Of a training: optimiser steps, and seconds of this process on the processor."""

    steps: int
    seconds: float


def train(
    name: str,
    chosen: params.Study,
    of: Fold,
    frozen: Mapping[str, Trained],
    seconds: float | None = None,
    wrap: Callable[[torch.nn.Module], torch.nn.Module] = lambda model: model,
) -> tuple[Trained, Cost]:
    """The network `name` as `pig train` trains it, for training.steps, or for as many steps as take `seconds`.

    With `seconds` the schedule of the learning rate is fitted to the steps that a trial of five of them foretells.
    """
    model = wrap(start(name, chosen, frozen, CPU))
    loss, _ = losses(name, frozen, chosen, of.train, of.held_out, CPU, ALONE)
    plan = recipe(chosen.training, len(of.train))
    if seconds is not None:
        trial = wrap(start(name, chosen, frozen, CPU))
        started = [time.process_time() for _ in fit(trial, loss, len(of.train), replace(plan, steps=7))]
        a_step = (started[-1] - started[1]) / (len(started) - 2)
        plan = replace(plan, steps=max(2, round(seconds / a_step)))
    plan = replace(plan, validate_every=plan.steps)
    began = time.process_time()
    for progress in fit(model, loss, len(of.train), plan):
        last = progress
    cost = Cost(plan.steps, time.process_time() - began)
    model.load_state_dict(last.weights())
    model = model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return Trained(model, net(name).prediction(chosen)), cost


def replace(plan: Any, **changes: Any) -> Any:
    from dataclasses import replace as changed

    if "steps" in changes:
        changes.setdefault("warmup", min(plan.warmup, changes["steps"] // 5))
    return changed(plan, **changes)


@dataclass(frozen=True)
class Sampled:
    """Pairs, and the seconds of this process on the processor that each took."""

    images: np.ndarray  # (N, H, W) uint8
    masks: np.ndarray  # (N, H, W) bool
    seconds: float


def sample(
    nets: Mapping[str, Trained],
    chosen: params.Study,
    number: int,
    method: str = "pig",
    masks: np.ndarray | None = None,
) -> Sampled:
    """The first `number` pairs of fold 0, as `pig sample` draws them; `masks` (N, H, W) of methods that need them."""
    size = (chosen.data.size, chosen.data.size)
    model = Model(method, size, 0, chosen.sampling, {}, nets, chosen.process)
    began = time.process_time()
    frames = list(model.frames(range(number), masks))
    seconds = (time.process_time() - began) / number
    last = [frame for frame in frames if frame.last]
    masks, images = map(np.concatenate, zip(*map(model.pixels, last), strict=True))
    return Sampled(images, masks, seconds)


@dataclass(frozen=True)
class Judged:
    """One number a pair (nan where there is none), and the features of the slices."""

    features: np.ndarray
    contrast: np.ndarray  # as a share of the real pairs'
    dice: np.ndarray  # TRTS: of the segmenter of real pairs on the slice, against its mask
    shuffled: np.ndarray  # against another pair's mask
    area: np.ndarray  # as a share of the real pairs'
    single: np.ndarray  # 1 where the mask is in one piece
    empty: np.ndarray


def judge(pairs: Sampled, of: Fold, chosen: params.Study) -> Judged:
    """Quality of each pair."""
    from pig.metrics.segmentation import overlap

    width = pairing.ring_width(chosen.pairing.ring, pairs.images.shape[1:])
    contrast = [
        pairing.contrast(image / 127.5 - 1, mask, width)
        for image, mask in zip(pairs.images, pairs.masks, strict=True)
    ]
    seen = segmentation.predict(
        of.segmenter, torch.from_numpy(pairs.images)[:, None], chosen.segmentation.batch
    )
    order = pairing.derangement(len(seen), chosen.pairing.seed)
    dice, shuffled = (
        np.array([overlap(p >= 0.5, mask)[0] for p, mask in zip(probabilities, pairs.masks, strict=True)])
        for probabilities in (seen, seen[order])
    )
    return Judged(
        taken_features(pairs.images, of.extractor, None, chosen.fidelity.batch),
        np.array(contrast) / of.contrast,
        dice,
        shuffled,
        pairs.masks.mean((1, 2)) / of.area,
        np.array([pairing.components(mask) == 1 for mask in pairs.masks], float),
        (~pairs.masks.any((1, 2))).astype(float),
    )


def over_seeds(values: list[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and its interval over training seeds, by Student's t: wide for three."""
    found = np.asarray(values, float)
    half = stats.t.ppf((1 + level) / 2, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return float(found.mean()), float(found.mean() - half), float(found.mean() + half)


def machine() -> str:
    """The processor, and the versions that decide the speed."""
    from pig.models.generator import machine as processor

    threads = torch.get_num_threads()
    used = f"{threads} thread{'s' * (threads > 1)}"
    return f"{processor(CPU)}, {used}, torch {torch.__version__}, Python {platform.python_version()}"


def markdown(head: list[Any], rows: list[list[Any]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def keep(name: str, found: Mapping[str, Any]) -> None:
    """Write benchmarks/results/NAME.json, a line a row or cell, whole or not at all."""
    from pig.core.files import atomic

    with atomic(RESULTS / f"{name}.json", "w") as file:
        file.write(lines(found) + "\n")


def lines(found: Mapping[str, Any]) -> str:
    parts = []
    for key, value in found.items():
        text = json.dumps(value)
        if isinstance(value, dict) and value:
            text = (
                "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n }"
            )
        elif isinstance(value, list) and value:
            text = "[\n" + ",\n".join(f"  {json.dumps(v)}" for v in value) + "\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}"


def kept(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
