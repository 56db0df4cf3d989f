"""`import pig` is light; a loaded model samples what `pig sample` does; what cannot be meant is refused in one line."""

import ast
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import fold_of, sample

import pig
from pig.core.errors import InputError
from pig.core.params import load
from pig.models.table import METHODS, Params

HEAVY = {"torch", "numpy", "pandas", "pydantic", "scipy", "PIL", "safetensors", "jinja2", "yaml"}


# --- the package ---


def test_import_pig_loads_no_library():
    code = f"import sys, pig; print(sorted({HEAVY} & set(sys.modules)), pig.__version__, 'load' in dir(pig))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == f"[] {pig.__version__} True\n"


def test_every_public_name_is_documented_and_type_checkers_see_it():
    tree = ast.parse(Path(pig.__file__).read_text(encoding="utf-8"))
    block, _ = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == pig._HOMES
    assert {*seen, "__version__"} == set(pig.__all__) <= set(dir(pig))
    assert all(getattr(pig, name).__doc__ for name in seen)


# --- sampling ---


@pytest.mark.parametrize("method", METHODS)
def test_samples_are_those_of_pig_sample_bit_for_bit(method, tiny, tmp_path):
    wanted = sample(tiny, method, tmp_path / "cli.zip", 4, first=1, seed=7)
    model = pig.load(fold_of(tiny), method, device="cpu")
    given = wanted.masks if METHODS[method].masks else None
    found = list(model.sample(4, seed=7, first=1, masks=given))
    assert np.array_equal([image for _, image in found], wanted.images)
    assert all(image.dtype == np.uint8 and image.shape == model.size == (32, 32) for _, image in found)
    if METHODS[method].paired:
        assert np.array_equal([mask for mask, _ in found], wanted.masks)
        assert all(mask.dtype == np.bool_ for mask, _ in found)
    else:
        assert wanted.masks is None and all(mask is None for mask, _ in found)


@pytest.mark.parametrize(
    "changed",
    [
        {"mask": "local_mean", "grey_levels": "batch", "clip": False},
        {"solver": "dpmpp2m", "spacing": "log_snr", "tile": 3},
        {"precision": "bf16", "compile": True},
    ],
)
@pytest.mark.parametrize("method", ["pig", "segguided"])
def test_samples_follow_the_settings_as_pig_sample_does(method, changed, tiny, tmp_path):
    wanted = sample(tiny, method, tmp_path / "cli.zip", 5, **changed)
    loaded = pig.load(fold_of(tiny), method, device="cpu")
    model = dataclasses.replace(loaded, sampling=loaded.sampling.model_copy(update=changed))
    given = wanted.masks if METHODS[method].masks else None
    found = list(model.sample(5, masks=given))
    assert np.array_equal([image for _, image in found], wanted.images)
    assert np.array_equal([mask for mask, _ in found], wanted.masks)
    assert images(found) != images(loaded.sample(5, masks=given))


@pytest.fixture(scope="module")
def model(tiny):
    return pig.load(fold_of(tiny), device="cpu")


def images(pairs):
    return [image.tobytes() for _, image in pairs]


def test_sample_i_depends_on_seed_and_i_alone(model, capfd):
    whole = images(model.sample(5, seed=3))
    assert images(model.sample(2, seed=3, first=3)) == whole[3:]
    assert images(model.sample(5)) != whole
    assert len(set(whole)) == 5
    assert capfd.readouterr() == ("", "")  # a library prints nothing


def counted(model):
    """The model's guider, counting: how many rows each of its calls had."""
    calls = []
    model.nets["guider"].model.register_forward_pre_hook(lambda net, inputs: calls.append(len(inputs[0])))
    return calls


def test_samples_are_computed_a_tile_at_a_time_when_they_are_asked_for(tiny):
    model = pig.load(fold_of(tiny), device="cpu")
    calls, tile = counted(model), model.sampling.tile
    pairs = model.sample(100)
    assert calls == []
    next(pairs)
    assert calls == [tile] * model.sampling.steps
    for _ in range(tile):
        next(pairs)
    assert calls == [tile] * model.sampling.steps * 2
    calls.clear()
    list(
        model.sample(2, first=tile - 1)
    )  # the last of a tile and the first of the next, each in its own place
    assert calls == [tile] * model.sampling.steps * 2


def test_another_number_of_steps(tiny):
    model = pig.load(fold_of(tiny), device="cpu")
    calls = counted(model)
    fewer = images(model.sample(1, steps=4))
    assert len(calls) == 4
    changed = dataclasses.replace(model, sampling=model.sampling.model_copy(update={"steps": 4}))
    assert images(changed.sample(1)) == fewer


ONE = np.zeros((1, 32, 32), np.bool_)


@pytest.mark.parametrize(
    ("method", "arguments", "named"),
    [
        ("pig", {"count": 0}, "count 0"),
        ("pig", {"count": 1, "first": -1}, "first -1"),
        ("pig", {"count": 1, "seed": -1}, "seed: .* -1"),
        ("pig", {"count": 1, "steps": 0}, "steps: .* 0"),
        ("pig", {"count": 1, "steps": 7}, "sampling.steps: .* T = 1024"),
        ("ddpm", {"count": 1, "steps": 7}, "sampling.ddpm_steps: "),
        ("pig", {"count": 1, "masks": ONE}, "masks: pig"),
        ("segguided", {"count": 1}, "masks: segguided"),
        ("segguided", {"count": 2, "masks": ONE}, r"masks: .*\(2, 32, 32\) bool.*\(1, 32, 32\) bool"),
        ("segguided", {"count": 1, "masks": ONE * 1.0}, r"masks: .*\(1, 32, 32\) float64"),
    ],
)
def test_what_cannot_be_sampled_is_refused_at_once(method, arguments, named, tiny):
    model = pig.load(fold_of(tiny), method, device="cpu")
    with pytest.raises(InputError, match=named):
        model.sample(**arguments)


# --- loading ---


def test_the_profile_is_named_by_the_folder_even_through_a_link(tiny, tmp_path):
    (tmp_path / "params.yaml").write_bytes((tiny / "params.yaml").read_bytes())
    (tmp_path / "runs").mkdir()
    os.symlink(fold_of(tiny).parent, tmp_path / "runs/demo")
    loaded = pig.load(tmp_path / "runs/demo/fold0")
    assert loaded.sampling == load("params.yaml", Params, "demo").sampling
    assert pig.load(tmp_path / "runs/demo/fold0", profile="smoke").sampling.steps == 8
    os.rename(tmp_path / "runs/demo", tmp_path / "runs/mine")
    with pytest.raises(InputError, match=r"params.yaml: profile: .*'mine'"):
        pig.load(tmp_path / "runs/mine/fold0")


@pytest.mark.parametrize(
    ("folder", "arguments", "named"),
    [
        ("", {"method": "gan"}, "^method: .*'gan'"),
        ("", {"device": "tpu9"}, "^device: .*'tpu9'"),
        ("", {"device": "cuda:99"}, "^device cuda:99: "),
        ("", {"params": "nowhere.yaml"}, "^nowhere.yaml: "),
        ("nowhere", {}, "/nowhere: "),
        ("..", {"params": "params.yaml", "profile": "smoke"}, "/guider.safetensors: "),
    ],
)
def test_what_cannot_be_loaded_is_refused(folder, arguments, named, tiny):
    with pytest.raises(InputError, match=named):
        pig.load(fold_of(tiny) / folder, **arguments)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"library_name": "diffusers"}, "library_name: .*'diffusers'"),
        ({"format": 2}, "format: .*2"),
        ({"method": "gan"}, "method: .*'gan'"),
        ({"sampling": {}}, "sampling: steps: "),
        ({"sampling": None}, "sampling: .*None"),
    ],
)
def test_a_spoilt_config_is_refused(change, named, tmp_path):
    sampling = load("params.yaml", Params, "smoke").sampling.model_dump()
    whole = {"library_name": "pig", "format": 1, "method": "pig", "sampling": sampling}
    config = tmp_path / "config.json"
    config.write_text(json.dumps(whole | change), encoding="utf-8")
    with pytest.raises(InputError, match=f"^{config}: {named}"):
        pig.load(tmp_path)
