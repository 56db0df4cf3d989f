"""fit(): exact resume, fixed draws, schedules and averages against their definitions."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from fits import IMAGES, Constant, loss, net, validate
from tiny import PARAMS, fold_of

from pig.cli.main import main
from pig.core.params import Shared, load
from pig.models import weights
from pig.models.loading import read_net
from pig.models.table import Params
from pig.training.fit import Recipe, batch_rows, fit, learning_rate, seed_of

RECIPE = Recipe(steps=4, batch=3, learning_rate=0.01, warmup=1, schedule="cosine", ema=(6.6,), clip_norm=1.0,
                keep="best", validate_every=2, seed=7)  # fmt: skip


def run(model, recipe=RECIPE, checkpoint=None, stop=None):
    *_, last = itertools.islice(fit(model, loss, 5, recipe, validate, checkpoint), stop)
    return last


@pytest.mark.parametrize("schedule", ["cosine", "plateau", "constant"])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_2_and_2_steps_equal_4_bit_for_bit(schedule, keep):
    recipe = dataclasses.replace(RECIPE, schedule=schedule, keep=keep, plateau_every=1, plateau_patience=1)
    whole = run(net(0.1), recipe)
    half = run(net(0.1), recipe, stop=2).checkpoint()
    other = net(0.1)
    torch.manual_seed(99)  # the state of the global generator must not matter
    resumed = run(other, recipe, checkpoint=half)
    assert resumed.step == whole.step == 4 and resumed.curve == whole.curve
    for key, value in whole.weights().items():
        assert torch.equal(value, resumed.weights()[key]), key
    changed = run(net(0.1), dataclasses.replace(recipe, seed=8)).weights()
    assert any(not torch.equal(value, changed[key]) for key, value in whole.weights().items())


def test_a_checkpoint_is_not_changed_by_going_on():
    steps = fit(net(0.1), loss, 5, RECIPE, validate)
    next(steps)
    checkpoint = next(steps).checkpoint()
    before = {key: value.clone() for key, value in checkpoint["model"].items()}
    moments = [s["exp_avg"].clone() for s in checkpoint["optimizer"]["state"].values()]
    list(steps)
    assert all(torch.equal(value, checkpoint["model"][key]) for key, value in before.items())
    after = [s["exp_avg"] for s in checkpoint["optimizer"]["state"].values()]
    assert all(torch.equal(a, b) for a, b in zip(moments, after, strict=True))
    assert checkpoint["state"]["step"] == 2


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    model = net(0.1)
    torch.manual_seed(3)
    run(model)
    assert torch.equal(torch.rand(4), expected)


def test_every_row_comes_once_a_pass():
    walk = torch.cat([batch_rows(step, 5, 3, seed=0) for step in range(10)])
    for epoch in walk.view(6, 5):
        assert sorted(epoch.tolist()) == [0, 1, 2, 3, 4]
    assert not torch.equal(walk[:5], walk[5:10])
    assert batch_rows(0, 2, 5, seed=0).sort().values.tolist()[0] == 0  # a batch larger than the set
    assert len({seed_of(a, b) for a in range(20) for b in range(20)}) == 400


def test_learning_rate_warms_up_and_falls_to_nearly_zero():
    recipe = Recipe(steps=100, batch=1, learning_rate=1.0, warmup=9, schedule="cosine")
    rates = [learning_rate(recipe, step) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[9] == max(rates) and rates[-1] < 1e-3
    assert rates[9 + 45] == pytest.approx(0.5 * (1 + math.cos(math.pi * 45 / 91)))
    flat = Recipe(steps=100, batch=1, learning_rate=1.0)
    assert {learning_rate(flat, step) for step in range(100)} == {1.0}


def test_plateau_scales_the_rate_after_epochs_without_a_new_best():
    """By 1/4 where the mean of an epoch of two steps, twice in a row, is no new best; a warm-up is scaled too."""
    means = [3.0, 2.0, 2.0, 2.0, 1.9999, 1.9, 1.9, 1.9, 1.9, 1.0]
    given = iter([mean + shift for mean in means for shift in (0.5, -0.5)])
    recipe = Recipe(steps=20, batch=1, learning_rate=1.0, warmup=1, schedule="plateau", plateau_every=2,
                    plateau_factor=0.25, plateau_patience=1, validate_every=1)  # fmt: skip
    *_, last = fit(Constant(), lambda m, r, g: m.weight * 0 + next(given), 1, recipe)
    scales = [1, 1, 1, 1, 1 / 4, 1 / 4, 1 / 4, 1 / 4, 1 / 16, 1 / 16]
    expected = [scale * (0.5 if step == 0 else 1) for step, scale in enumerate(np.repeat(scales, 2))]
    assert [point["learning_rate"] for point in last.curve] == expected


def test_ema_is_the_weighted_mean_of_the_weights_seen():
    model, expected = Constant(), 0.0
    recipe = Recipe(steps=3, batch=1, learning_rate=0.5, ema=(0.08,))
    for k, progress in enumerate(fit(model, lambda m, r, g: -m.weight, 1, recipe)):
        kept = 0.5 ** (1 / min(0.08, max(k, 1) / 20))  # early on the half-life is a 20th of the steps done
        expected = kept * expected + (1 - kept) * model.weight.item()
        assert progress.weights()["weight"].item() == pytest.approx(expected)


def test_several_averages_are_kept_side_by_side_and_the_first_counts():
    def loss(model, rows, generator):
        return -model.weight

    recipe = Recipe(steps=40, batch=1, learning_rate=0.5, ema=(1.5, 0.5))
    alone = [list(fit(Constant(), loss, 1, dataclasses.replace(recipe, ema=(h,))))[-1] for h in recipe.ema]
    *_, both = fit(Constant(), loss, 1, recipe)
    assert both.averages() == {h: one.weights() for h, one in zip(recipe.ema, alone, strict=True)}
    assert both.weights() == both.averages()[1.5] != both.averages()[0.5]


def test_best_keeps_the_weights_of_the_lowest_validation_loss():
    model, values = Constant(), iter([3.0, 1.0, 2.0])
    recipe = Recipe(steps=3, batch=1, learning_rate=0.5, keep="best", validate_every=1)
    weights = [
        (p.weights()["weight"].item(), model.weight.item())
        for p in fit(model, lambda m, r, g: -m.weight, 1, recipe, lambda m: next(values))
    ]
    assert weights[-1][0] == weights[1][1] != weights[2][1]


def test_bf16_autocast_reaches_the_network():
    seen = []

    def watch(model, rows, generator):
        out = model(IMAGES[rows], None, torch.ones(len(rows), dtype=torch.int64))
        seen.append(out.dtype)
        return out.float().square().mean()

    list(fit(net(0.0), watch, 5, dataclasses.replace(RECIPE, steps=1, precision="bf16")))
    assert seen == [torch.bfloat16]


def test_pig_train_writes_each_average_that_is_asked_for_and_the_first_is_the_network(tiny, tmp_path, capsys):
    data = ["--pairs", tiny / "runs/smoke/pairs.zip", "--split", tiny / "runs/smoke/split.csv", "--fold", 0]
    study = load(PARAMS, Params, "smoke")
    out = ["--out", tmp_path / "ddpm.safetensors", "--curve", tmp_path / "ddpm.csv", "--averages", tmp_path]

    def train(ema, code=0):
        own = {name: getattr(study, name).model_dump() for name in (*Shared.model_fields, "ddpm")}
        own["training"] |= {"ema": ema, "flips": ["horizontal"], "crop": 0.8}
        own["network"] |= {"told": True}
        arguments = ["train", "ddpm", "--cfg", json.dumps(own), *data, *out]
        assert main([str(argument) for argument in arguments]) == code

    train([5.0, 0.1])
    whole, first, second = (
        weights.load(tmp_path / f"{name}.safetensors") for name in ("ddpm", "ddpm-5", "ddpm-0.1")
    )
    assert first[1] == whole[1] and first[0].keys() == whole[0].keys() == second[0].keys()
    assert all(torch.equal(first[0][key], value) for key, value in whole[0].items())
    assert not any(torch.equal(second[0][key], value) for key, value in whole[0].items() if value.ndim == 4)
    assert {**second[1], "validation": 0} == {**whole[1], "validation": 0}
    assert "told.weight" in whole[0]
    train([], code=2)
    assert "training.ema" in capsys.readouterr().err


def test_a_network_of_before_networks_were_told_anything_is_read(tiny, tmp_path):
    state, header = weights.load(fold_of(tiny) / "ddpm.safetensors")
    del header["network"]["told"]
    weights.save(tmp_path / "ddpm.safetensors", state, header)
    assert read_net(tmp_path / "ddpm.safetensors", torch.device("cpu")).header["network"] == header["network"]
