"""The way to a GPU, as far as a machine without one can show it.

The meta device stands for the GPU: a tensor there has no values, so whatever a program would have to wait for a GPU to
learn, it cannot learn there either. A step that runs on it waits for no result.
"""

import copy
import sys
import time
from contextlib import nullcontext
from functools import cache
from itertools import islice
from pathlib import Path

import fits
import pytest
import torch
from fits import IMAGES, Constant, loss, validate
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pig.core.params import load
from pig.models import loading, weights
from pig.models.augment import augment
from pig.models.generator import Model
from pig.models.method import Batch, Trained, schedule
from pig.models.method import net as net_of
from pig.models.table import NETS, Params
from pig.models.train import for_gpu
from pig.training import fit as training
from pig.training.fit import Recipe, compiled, fit

SMOKE = load("params.yaml", Params, "smoke")
RECIPE = Recipe(steps=6, batch=3, learning_rate=0.01, schedule="plateau", plateau_every=4, plateau_patience=1,
                ema=(6.6,), clip_norm=1.0, keep="best", validate_every=3, seed=7)  # fmt: skip


def net():
    return fits.net(multipliers=(1, 2), groups=4)


# ---------------------------- no step waits for the device
class NoBlockingCopies(TorchDispatchMode):
    """Refuses copies between devices that the host would wait for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            target = kwargs.get("device") or args[0].device
            assert target == args[0].device or kwargs.get("non_blocking"), "a copy that the host waits for"
        if func is torch.ops.aten.copy_.default:
            assert args[0].device == args[1].device, "a copy that the host waits for"
        return func(*args, **kwargs)


@pytest.fixture
def far(monkeypatch):
    """torch as fit() finds it on a GPU, with the meta device for one."""
    monkeypatch.setitem(training.UNREAD, "meta", training.UNREAD["cuda"])
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *args, fused, **kwargs: adam(*args, **kwargs))


def steps_on_meta(name, changed=lambda loss: loss, study=SMOKE):
    """Three steps of a network of the study on the meta device; `changed` is what becomes of its loss."""
    kind = net_of(name)
    with torch.device("meta"):
        model = kind.make(study)
        frozen = {need: Trained(net_of(need).make(study).eval(), "v") for need in NETS[name].needs}
        data = torch.empty(2, 5, 1, 16, 16)
    alphabar = schedule(SMOKE.process).to("meta")

    def loss(model, rows, generator):
        x0, y0, told = data[0][rows], data[1][rows], None
        if study.training.flips:
            x0, y0, told = augment(x0, y0, study.training, generator)
        return changed(kind.loss(model, frozen, Batch(x0, y0, alphabar, generator, told), study))

    recipe = Recipe(steps=9, batch=3, learning_rate=0.01, ema=(6.6,), clip_norm=1.0, validate_every=9)
    with NoBlockingCopies():
        return len(list(islice(fit(model, loss, 5, recipe), 3)))


DENOISERS = ["guider", "guided", "ddpm", "segguided", "controlnet", "ldm", "joint"]


@pytest.mark.parametrize("name", DENOISERS)
def test_no_step_waits_for_the_device(far, name):
    assert steps_on_meta(name) == 3


@pytest.mark.parametrize("name", DENOISERS)
def test_no_step_with_drawn_log_snr_and_augmented_pairs_waits(far, name):
    own = {"times": "log_snr", "weight": "straight", "weight_most": 9.0}
    changes = dict.fromkeys(DENOISERS, own) | {
        "training": {"antithetic": False, "flips": ["horizontal"], "crop": 0.8},
        "network": {"told": True},
    }
    update = {key: getattr(SMOKE, key).model_copy(update=change) for key, change in changes.items()}
    assert steps_on_meta(name, study=SMOKE.model_copy(update=update)) == 3


def waiting(value):
    value.item()
    return value


def test_what_waits_is_found_out(far, monkeypatch):
    """A loss that is read in each step, by itself or by fit(), and a copy: the control of the test above."""
    with pytest.raises(RuntimeError, match="meta tensors"):
        steps_on_meta("guider", waiting)
    with pytest.raises(AssertionError, match="waits"):
        steps_on_meta("guider", lambda value: value * torch.ones(2).to("meta").sum())
    monkeypatch.setitem(training.UNREAD, "meta", 0)
    with pytest.raises(AssertionError, match="waits"):
        steps_on_meta("guider")


# ---------------------------- losses that are read late
def seen(unread, monkeypatch, stop=None, checkpoint=None, recipe=RECIPE):
    monkeypatch.setitem(training.UNREAD, "cpu", unread)
    *_, last = islice(fit(net(), loss, 5, recipe, validate, checkpoint), stop)
    return last


def test_reading_losses_late_changes_nothing(monkeypatch):
    at_once, late = (seen(unread, monkeypatch) for unread in (0, 50))
    assert at_once.curve == late.curve and len(late.curve) == 2
    assert all(torch.equal(value, late.weights()[key]) for key, value in at_once.weights().items())
    half = seen(50, monkeypatch, stop=2).checkpoint()
    assert (
        len(half["state"]["since"]) == len(half["state"]["epoch"]) == 2
    )  # what was not read yet is not lost
    resumed = seen(50, monkeypatch, checkpoint=half)
    assert resumed.curve == late.curve
    assert all(torch.equal(value, resumed.weights()[key]) for key, value in late.weights().items())


@pytest.mark.parametrize("asked", [None, "weights", "checkpoint"])
def test_the_step_whose_loss_is_no_number_is_named_however_late_it_is_read(monkeypatch, asked):
    monkeypatch.setitem(training.UNREAD, "cpu", 50)
    values = iter([1.0, 2.0, float("inf"), 4.0, float("nan"), 6.0])
    recipe = Recipe(steps=6, batch=1, learning_rate=0.1, validate_every=6)
    steps = fit(Constant(), lambda m, r, g: m.weight * 0 + next(values), 1, recipe)
    *_, fourth = islice(steps, 4)
    with pytest.raises(FloatingPointError, match="inf at step 3"):
        getattr(fourth, asked)() if asked else list(steps)


def test_losses_do_not_pile_up_where_no_plateau_needs_them(monkeypatch):
    recipe = Recipe(steps=6, batch=1, learning_rate=0.1, validate_every=6)
    assert seen(0, monkeypatch, stop=5, recipe=recipe).checkpoint()["state"]["epoch"] == []


# ---------------------------- compiled and channels-last
@pytest.fixture
def eagerly(monkeypatch):
    """torch.compile that traces and runs what it traced, without a compiler; gives a list of what it traced."""
    compile, traced = nn.Module.compile, []

    def keep(graph, inputs):
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(
        nn.Module, "compile", lambda module, **_: compile(module, backend=keep, dynamic=False)
    )
    return traced


def test_a_compiled_forward_shares_weights_and_leaves_names_and_copies_alone(eagerly):
    model = net()
    before = copy.deepcopy(model.state_dict())
    called = compiled(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, t = IMAGES[:2], torch.tensor([1, 2])
    out = called(x, None, t)
    torch.testing.assert_close(out, model(x, None, t))
    out.square().mean().backward()
    optimizer.step()
    assert list(model.state_dict()) == list(called.state_dict()) == list(before)
    assert any(not torch.equal(value, before[key]) for key, value in model.state_dict().items())
    torch.testing.assert_close(called(x, None, t), model(x, None, t))
    assert called._compiled_call_impl is not None
    assert model._compiled_call_impl is None and copy.deepcopy(called)._compiled_call_impl is None


def test_training_with_the_compiled_forward_is_training(eagerly, monkeypatch):
    """On a GPU fit() trains through `compiled`; here that part is put in its place by hand."""
    plain = seen(0, monkeypatch)
    step, once = training._step, cache(compiled)
    monkeypatch.setattr(training, "_step", lambda model, *rest: step(once(model), *rest))
    traced = seen(0, monkeypatch)
    assert traced.curve == [pytest.approx(point, rel=1e-4) for point in plain.curve]
    torch.testing.assert_close(traced.weights(), plain.weights(), rtol=1e-3, atol=1e-4)


def test_no_cpu_compiles(monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda *_, **__: pytest.fail("compiled on a CPU"))
    recipe = Recipe(steps=1, batch=1, learning_rate=0.1, compile=True)
    assert len(list(fit(net(), loss, 5, recipe))) == 1


@fits.double()
def test_a_state_from_a_cpu_goes_on_channels_last(monkeypatch):
    """Adam's moments follow the layout of the weights: fused Adam reads both in the order of memory."""
    whole = seen(0, monkeypatch).weights()
    half = seen(0, monkeypatch, stop=3).checkpoint()
    monkeypatch.setattr(f"{__name__}.net", lambda make=net: make().to(memory_format=torch.channels_last))
    resumed = seen(0, monkeypatch, checkpoint=half)
    assert any(value.dim() == 4 and not value.is_contiguous() for value in resumed.weights().values())
    torch.testing.assert_close(resumed.weights(), whole)


def test_what_a_gpu_trains_lies_channels_last_and_only_frozen_networks_are_compiled_at_once(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)
    model, guider = net(), net()
    for_gpu(model, {"guider": Trained(guider, "eps")}, compile=True)
    for part in (model, guider):
        assert part.net.conv_out.weight.is_contiguous(memory_format=torch.channels_last)
    assert guider._compiled_call_impl is not None and model._compiled_call_impl is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sampling_through_compiled_networks_is_sampling(eagerly, precision):
    """On a GPU `loading.read` gives networks that are compiled; here they are by hand. It counts eagerly."""
    sampling = SMOKE.sampling.model_copy(update={"precision": precision, "steps": 4})
    nets = {name: Trained(net_of(name).make(SMOKE).eval(), "v") for name in ("guider", "guided")}
    traced = {name: Trained(compiled(trained.model), "v") for name, trained in nets.items()}
    both = [Model("pig", (16, 16), 0, sampling, {}, kind, SMOKE.process) for kind in (nets, traced)]
    for a, b in zip(*(list(model.frames(range(2))) for model in both), strict=True):
        torch.testing.assert_close((a.x0_hat, a.y0_hat), (b.x0_hat, b.y0_hat))
    assert 0 < len(eagerly) <= len(nets)  # each once at most, in one piece
    assert both[0].operations() == both[1].operations() > 0


@pytest.mark.parametrize(
    ("gpu", "compile", "wanted"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_sampling_compiles_where_it_is_asked_to_and_there_is_a_gpu(
    tmp_path, monkeypatch, gpu, compile, wanted
):
    header = {"net": "ddpm", "prediction": "v", "network": SMOKE.network.model_dump()}
    header |= {"process": SMOKE.process.model_dump(), "size": [16, 16]}
    weights.save(tmp_path / "ddpm", weights.portable(net_of("ddpm").make(SMOKE)), header)
    monkeypatch.setattr(nn.Parameter, "is_cuda", gpu, raising=False)  # there is none here
    sampling = SMOKE.sampling.model_copy(update={"compile": compile})
    model = loading.read("ddim", [tmp_path / "ddpm"], sampling, torch.device("cpu"))
    assert (model.nets["ddpm"].model._compiled_call_impl is not None) == wanted


# ---------------------------- benchmarks/gpu.py
def test_a_cell_of_the_benchmark_that_is_slow_or_too_big_says_so_and_the_others_go_on():
    sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
    import gpu

    def too_big(*_):
        raise torch.OutOfMemoryError

    def measured(job, limit):
        return gpu.measure(job, torch.device("cpu"), 32, 2, limit)

    assert measured(lambda *_: time.sleep(60), 1e-3).keys() == measured(too_big, 60).keys() == {"failed"}
    assert measured(lambda *_: 2.0, 60) == {"seconds": 2.0}
    cell = {"what": "sampling", "size": 64, "batch": 2, "share": 0.5}
    cells = [{**cell, "how": how, "a_second": rate} for how, rate in (("reference", 0.5), ("pig", 2.0))]
    *_, base, ours = gpu.table({"cells": cells}).splitlines()
    assert [line.split(" | ")[5] for line in (base, ours)] == ["1.00", "4.00"]
