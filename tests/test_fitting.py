"""Sections of params.yaml become the recipe of a training: nothing is lost, and epochs become steps."""

from dataclasses import asdict

import pytest

from pig.cli.fitting import recipe
from pig.core.params import load


@pytest.mark.parametrize("name", ["training", "segmentation"])
@pytest.mark.parametrize("profile", ["paper", "smoke", "demo", "busi"])
def test_every_number_that_fit_knows_comes_from_the_section(profile, name):
    section = getattr(load("params.yaml", profile), name).model_dump()
    found = asdict(recipe(getattr(load("params.yaml", profile), name), rows=100))
    shared = (section.keys() & found.keys()) - {"steps"}
    assert {"batch", "learning_rate", "warmup", "schedule", "clip_norm", "keep", "seed"} <= shared
    assert {key: found[key] for key in shared} == {key: section[key] for key in shared}


def test_epochs_become_steps_and_the_last_batch_of_an_epoch_may_be_short():
    paper = load("params.yaml", "paper").training  # 128 epochs, batch 6
    assert recipe(paper, rows=6978).steps == 128 * 1163
    assert recipe(paper, rows=6979).steps == 128 * 1164
    assert recipe(paper, rows=6979).plateau_every == 1164
    steps = load("params.yaml", "demo").training
    assert recipe(steps, rows=640).steps == steps.steps
