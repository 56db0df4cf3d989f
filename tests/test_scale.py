"""docs/scale.md says what benchmarks/scale.py counts."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from pig.core.params import load
from pig.models.table import Params

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import scale

ROOT = scale.ROOT
P = load(ROOT / "params.yaml", Params, "paper")
PAGE = (ROOT / "docs/scale.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def counted():
    return scale.count("paper")


@pytest.mark.parametrize(
    "heading", ["Jobs", "Work of an image", "Work of a sample", "Work of the study", "Hours", "Disk"]
)
def test_the_page_holds_what_the_script_counts(counted, heading):
    assert scale.tables(P, counted)[heading] in PAGE


def test_the_page_extends_measured_seconds_to_the_study_as_the_script_does(counted):
    names = {"train": "guider, a training step", "sample": "guider, forward", "segment": "segmenter, a training step",
             "draw": "noise of a training image"}  # fmt: skip
    seconds = {kind: float(re.search(rf"\| {name} \| ([\d.]+) \|", PAGE)[1]) for kind, name in names.items()}
    assert scale.measured_table(P, counted, seconds) in PAGE


def test_every_planned_job_is_counted(counted):
    assert len(counted.plan) == sum(counted.rules.values())
    found = scale.totals(P, counted)
    assert sum(jobs for jobs, _ in found.values()) == len(counted.plan)
    assert all(sum(counted.rows[f"fold {k}"].values()) == scale.PAIRS for k in range(P.folds.count))


def test_a_convolutions_work_and_memory_are_those_of_the_formula():
    layer = nn.Conv2d(2, 4, 3, padding=1, device="meta")
    x = torch.zeros(1, 2, 8, 8, device="meta")
    found = scale.work(layer, lambda: layer(x).sum())
    one = 8 * 8 * 4 * 2 * 9
    assert (found.validation, found.training) == (one, 2 * one)  # backward: the weights' gradient, none of x
    assert found.kept == 4 * x.numel() and found.parameters == 4 * 2 * 9 + 4


def test_an_hour_at_a_teraflop_is_1_8e15_multiply_adds():
    assert scale.hours(1_800 * 10**12, 1.0) == "1"
