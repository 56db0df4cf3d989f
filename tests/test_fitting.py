"""Sections of params.yaml become the recipe of a training, and a training that was killed goes on from its file."""

from dataclasses import asdict

import pytest
import torch

from pig.cli.fitting import run_fit
from pig.core.params import load
from pig.models.table import Params
from pig.training.fit import recipe


@pytest.mark.parametrize("name", ["training", "segmentation"])
@pytest.mark.parametrize("profile", ["paper", "smoke", "demo", "busi"])
def test_every_number_that_fit_knows_comes_from_the_section(profile, name):
    given = getattr(load("params.yaml", Params, profile), name)
    section, found = given.model_dump(), asdict(recipe(given, rows=100))
    shared = (section.keys() & found.keys()) - {"steps"}
    assert {"batch", "learning_rate", "warmup", "schedule", "clip_norm", "keep", "seed"} <= shared
    assert {key: found[key] for key in shared} == {key: section[key] for key in shared}


def test_epochs_become_steps_and_the_last_batch_of_an_epoch_may_be_short():
    paper = load("params.yaml", Params, "paper").training  # 128 epochs, batch 6
    assert recipe(paper, rows=6978).steps == 128 * 1163
    assert recipe(paper, rows=6979).steps == 128 * 1164
    assert recipe(paper, rows=6979).plateau_every == 1164
    steps = load("params.yaml", Params, "demo").training
    assert recipe(steps, rows=640).steps == steps.steps


def trained(state, fingerprint="a", dies_after=None):
    """The weights of a training of six steps, which is interrupted after so many."""
    torch.manual_seed(0)
    model, data, calls = torch.nn.Linear(2, 1), torch.arange(10.0).reshape(5, 2), iter(range(6))

    def loss(model, rows, generator):
        if next(calls) == dies_after:
            raise KeyboardInterrupt
        return (model(data[rows]) - torch.rand(len(rows), 1, generator=generator)).square().mean()

    section = load("params.yaml", Params, "smoke").segmentation
    section = section.model_copy(update={"steps": 6, "batch": 2, "checkpoint_every": 2})
    job = {"label": "toy", "state": state, "fingerprint": fingerprint}
    return run_fit(model, loss, 5, section, lambda model: 0.0, **job)[0]


def test_a_killed_training_goes_on_from_its_file_and_ends_as_if_it_were_not(tmp_path, capsys):
    state = str(tmp_path / "s.pt")
    whole = trained(None)
    with pytest.raises(KeyboardInterrupt):
        trained(state, dies_after=5)
    assert "resumed" not in capsys.readouterr().err
    found = trained(state)
    assert "toy: resumed at step 4 of 6" in capsys.readouterr().err
    assert all(torch.equal(found[key], whole[key]) for key in whole)
    assert torch.load(state)["checkpoint"]["state"]["step"] == 4  # the verb removes it


def test_a_file_of_another_job_is_overwritten(tmp_path, capsys):
    state = tmp_path / "s.pt"
    trained(str(state))
    trained(str(state), "b")
    assert "resumed" not in capsys.readouterr().err and torch.load(state)["fingerprint"] == "b"
