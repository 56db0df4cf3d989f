"""params.yaml: every profile loads, `paper` is the paper, and a bad key is named."""

import re
from pathlib import Path

import pytest
import yaml

from pig.core.errors import InputError
from pig.core.params import from_json, load, overlay, resolve, to_json
from pig.models.table import Params

FILE = Path(__file__).parent.parent / "params.yaml"
RAW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
PAPER = {**RAW, "profile": "paper"}
SECTIONS = [name for name, value in RAW.items() if isinstance(value, dict) and name != "profiles"]


@pytest.mark.parametrize("profile", RAW["profiles"])
def test_every_profile_loads_and_names_only_keys_that_exist(profile):
    assert load(FILE, Params, profile).profile == profile
    for section, changes in (RAW["profiles"][profile] or {}).items():
        assert not isinstance(changes, dict) or set(changes) <= set(RAW[section])


def test_the_default_profile_is_demo_and_paper_overrides_nothing():
    assert load(FILE, Params).profile == "demo"
    assert not RAW["profiles"]["paper"]


def test_paper_is_the_paper():
    p = load(FILE, Params, "paper")
    assert (p.data.size, p.phantom.patients, p.folds.count, p.folds.leak) == (512, 367, 5, False)
    assert p.process.model_dump() == {"T": 1024, "schedule": "linear", "beta_1": 1e-4, "beta_T": 0.02}
    assert (p.sampling.steps, p.sampling.ddim_steps, p.sampling.ddpm_steps) == (256, 256, 1024)
    assert p.sampling.guide == "x0_hat"
    assert (p.sampling.solver, p.sampling.spacing) == ("ddim", "trailing")
    for net in (p.guider, p.guided, p.ddpm):
        assert (net.prediction, net.times, net.weight) == ("eps", "uniform", "none")
    assert (p.guided.loss_weight, p.guided.clip_guide, p.guided.initial_weights) == ("none", False, None)
    assert p.fidelity.slices == 2048
    assert p.segmentation.doses == [1024, 2048, 3072]
    # The authors' network and training, where the paper is silent.
    assert (p.network.width, p.network.multipliers, p.network.blocks) == (32, [1, 1, 2, 2, 4, 4], 2)
    assert (p.network.dropout, p.network.stem) == (0, 1)
    t = p.training
    assert (t.learning_rate, t.batch, t.epochs, t.steps, t.antithetic) == (2e-4, 6, 128, None, True)
    assert (t.schedule, t.plateau_factor, t.plateau_patience) == ("plateau", 0.25, 4)
    assert (t.ema, t.flips, t.crop, t.clip_norm, t.precision) == ([], [], 1.0, None, "fp32")


def test_steps_spaced_by_log_snr_need_not_divide_T():
    over = {"sampling": {"spacing": "log_snr", "steps": 25}}
    assert resolve(PAPER, Params, over=over).sampling.steps == 25


def refused(raw, named):
    """Resolving `raw` at profile paper ends in one line that begins with the key."""
    with pytest.raises(InputError) as caught:
        resolve(raw, Params)
    assert str(caught.value).startswith(f"params.yaml: {named}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_a_missing_and_an_ill_typed_key_are_named(section):
    refused(overlay(PAPER, {section: {"surprise": 1}}), f"{section}.surprise")
    for key in RAW[section]:
        rest = {name: value for name, value in RAW[section].items() if name != key}
        refused({**PAPER, section: rest}, f"{section}.{key}")
        refused(overlay(PAPER, {section: {key: {"not": "this"}}}), f"{section}.{key}")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"guider": {"weight": "snr", "weight_least": 5.0, "weight_most": 1.0}}, "guider"),
        ({"guided": {"weight_most": 5.0}}, "guided: weight"),
        ({"guided": {"times": "log_snr"}}, "training.antithetic"),
        ({"guided": {"times_width": 0.0}}, "guided.times_width"),
        ({"training": {"ema": 0.99}}, "training.ema"),
        ({"training": {"flips": ["diagonal"]}}, "training.flips.0"),
        ({"training": {"crop": 0.0}}, "training.crop"),
        ({"first_folds": 6}, "first_folds"),
        ({"training": {"batch": "6"}}, "training.batch"),
        ({"training": {"steps": 10}}, "training"),
        ({"folds": {"validation": 1.0}}, "folds.validation"),
        ({"phantom": {"views": ["LAT"]}}, "phantom.views.0"),
        ({"process": {"beta_T": 2.0}}, "process.beta_T"),
        ({"sampling": {"steps": 300}}, "sampling.steps"),
        ({"sampling": {"spacing": "log_snr", "steps": 2000}}, "sampling.steps"),
        ({"sampling": {"spacing": "log_snr", "ddpm_steps": 300}}, "sampling.ddpm_steps"),
        ({"sampling": {"spacing": "log_snr", "ddim_steps": 300}}, "sampling.ddim_steps"),
        ({"sampling": {"spacing": "leading", "ddim_steps": 300}}, "sampling.ddim_steps"),
        ({"data": {"size": 500}}, "data.size"),
        ({"augmentation": {"scale": [2.0, 1.0]}}, "augmentation.scale"),
        ({"segmentation": {"depth": 5, "decoder_channels": [8]}}, "segmentation"),
        ({"profile": "papper"}, "profile"),
        ({"trainning": {}}, "trainning"),
    ],
)
def test_a_bad_value_is_named_in_one_line(change, named):
    refused(overlay(PAPER, change), named)


def test_by_log_snr_steps_need_not_divide_T_where_the_solver_takes_them():
    own = {"solver": "dpmpp2m", "spacing": "log_snr", "steps": 25}
    assert resolve(overlay(PAPER, {"sampling": own}), Params).sampling.steps == 25


def test_the_command_line_wins_over_the_profile():
    found = resolve(RAW, Params, over={"methods": ["pig"], "training": {"batch": 3}})
    assert found.methods == ["pig"] and found.training.batch == 3
    assert found.training.steps == load(FILE, Params).training.steps != RAW["training"]["steps"]
    with pytest.raises(InputError, match=r"training\.bach: "):
        resolve(RAW, Params, over={"training": {"bach": 3}})


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml", Params)


def test_a_job_reads_back_the_sections_that_it_was_given():
    p = load(FILE, Params, "smoke")
    back = from_json(to_json(p, "network", "process"), ["process", "network"], Params, "--cfg")
    assert (back.network, back.process) == (p.network, p.process)
    assert not hasattr(back, "training")
    slip = to_json(p, "training").replace('"batch"', '"bach"')
    for text, named in ((to_json(p, "network"), "training"), (slip, r"training\.ba"), ("{", "")):
        with pytest.raises(InputError, match=f"^--cfg: {named}"):
            from_json(text, ["training"], Params, "--cfg")


def test_every_section_is_typed_and_every_type_has_its_section():
    assert set(Params.model_fields) == {*SECTIONS, "profile", "reports", "methods", "first_folds", "leak_arm"}


def test_every_key_says_what_it_is():
    section, bare = "", []
    for line in FILE.read_text(encoding="utf-8").split("\nprofiles:")[0].splitlines():
        if head := re.match(r"(\w+):", line):
            section = head[1]
        if (key := re.match(r"  (\w+):", line)) and "#" not in line:
            bare.append(f"{section}.{key[1]}")
    assert bare == []
