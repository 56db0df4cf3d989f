"""pig.models.weights: what is written is read back; what is not a network is refused by name; no file runs code."""

import json
import os
import pickle

import pytest
import torch

from pig.cli.main import main
from pig.core.errors import InputError
from pig.models import weights
from pig.models.unet import UNet

SMALL = {"width": 8, "multipliers": [1, 2], "blocks": 1}
HEADER = {"net": "guider", "network": SMALL, "prediction": "x0", "step": 7, "share": 0.1}


@pytest.fixture(scope="module")
def official():
    torch.manual_seed(0)
    return UNet().state_dict()


def test_what_is_saved_is_loaded(tmp_path):
    net = UNet(**SMALL).to(memory_format=torch.channels_last)
    weights.save(tmp_path / "deep" / "net.safetensors", net.state_dict(), HEADER)
    state, header = weights.load(tmp_path / "deep" / "net.safetensors")
    assert header == HEADER
    other = UNet(**header["network"])
    weights.fill(other, state, "net.safetensors")
    for key, tensor in net.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key


def test_equal_content_makes_equal_bytes(tmp_path):
    state = UNet(**SMALL).state_dict()
    weights.save(tmp_path / "a", state, HEADER)
    weights.save(tmp_path / "b", dict(reversed(state.items())), dict(reversed(HEADER.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_shared_tensors_are_saved(tmp_path):
    tensor = torch.arange(3.0)
    weights.save(tmp_path / "net", {"a": tensor, "b": tensor, "c": tensor[1:]}, HEADER)
    state, _ = weights.load(tmp_path / "net")
    assert {key: tensor.tolist() for key, tensor in state.items()} == {
        "a": [0, 1, 2],
        "b": [0, 1, 2],
        "c": [1, 2],
    }


def test_a_file_that_is_no_network_is_named(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(InputError, match=r"net\.safetensors: no such file"):
        weights.load(path)
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match=r"net\.safetensors: not a \.safetensors file"):
        weights.load(path)
    weights.save(path, {"a": torch.zeros(9)}, HEADER)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"net\.safetensors: not a \.safetensors file"):
        weights.load(path)


def test_a_header_that_is_missing_or_incomplete_is_named(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"net\.safetensors: no header"):
        weights.load(path)
    save_file({"a": torch.zeros(1)}, path, metadata={"pig": "{"})
    with pytest.raises(InputError, match=r"net\.safetensors: the header is not JSON"):
        weights.load(path)
    weights.save(path, {"a": torch.zeros(1)}, {"net": "guider", "network": {}})
    assert weights.load(path)[1] == {"net": "guider", "network": {}}
    with pytest.raises(InputError, match=r"net\.safetensors: .* lacks prediction; found net, network"):
        weights.load(path, required=["net", "prediction"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_in.bias": None}, r"conv_in\.bias is missing; expected a tensor of shape \(8,\)"),
        ({"conv_in.bias": torch.zeros(3)}, r"conv_in\.bias has shape \(3,\); expected \(8,\)"),
        ({"extra": torch.zeros(2, 5)}, r"extra of shape \(2, 5\) is unexpected"),
    ],
)
def test_the_first_key_that_does_not_fit_is_named(change, message):
    net = UNet(**SMALL)
    state = {key: tensor for key, tensor in {**net.state_dict(), **change}.items() if tensor is not None}
    with pytest.raises(InputError, match=f"^net.safetensors: {message}$"):
        weights.fill(net, state, "net.safetensors")


@pytest.mark.parametrize("layout", ["list", "parallel", "bare", "old"])
def test_an_official_checkpoint_becomes_a_network(tmp_path, official, layout):
    content = {
        "list": [official, {"state": {}, "param_groups": [{"lr": 2e-4}]}, 127],
        "parallel": [{f"module.{key}": tensor for key, tensor in official.items()}, {}, 127],
        "bare": official,
        "old": [official, {}, 127],
    }[layout]
    torch.save(content, tmp_path / "their.pth", _use_new_zipfile_serialization=layout != "old")
    out = tmp_path / "guided.safetensors"
    assert main(["import-official", str(tmp_path / "their.pth"), "--net", "guided", "--out", str(out)]) == 0
    state, header = weights.load(out)
    assert (header["net"], header["prediction"], header["process"]["T"]) == ("guided", "eps", 1024)
    net = UNet(**header["network"])
    weights.fill(net, state, out)
    for key, tensor in official.items():
        assert torch.equal(net.state_dict()[key], tensor), key


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda w: [{k: v for k, v in w.items() if k != "conv_in.weight"}, {}, 1],
            "conv_in.weight is missing",
        ),
        (
            lambda w: [{**w, "extra.weight": torch.zeros(2)}, {}, 1],
            "extra.weight of shape (2,) is unexpected",
        ),
        (
            lambda w: {**w, "conv_in.weight": torch.zeros(32, 1, 3, 3)},
            "conv_in.weight has shape (32, 1, 3, 3); expected",
        ),
        (lambda w: [{**w, "epoch": 3}], "'epoch' is int"),
        (lambda w: [], "found list"),
        (lambda w: [3, {}, 1], "found int"),
        (lambda w: {}, "temb.dense.0.weight is missing"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, capsys, official, spoil, message):
    path, out = tmp_path / "their.pth", tmp_path / "out.safetensors"
    torch.save(spoil(official), path)
    assert main(["import-official", str(path), "--net", "guider", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(path) in error
    assert error.count("\n") == 1
    assert not out.exists()


class Malicious:
    """Unpickled without care, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "old", "pickle"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, capsys, kind):
    path, trace = tmp_path / "their.pth", tmp_path / "trace"
    content = [Malicious(trace), {}, 1]
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    assert main(["import-official", str(path), "--net", "guider", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "refused" in error
    assert str(path) in error
    assert error.count("\n") == 1
    assert not trace.exists()


def test_the_malicious_checkpoint_would_make_its_file(tmp_path):
    """The control of the test above."""
    pickle.loads(pickle.dumps(Malicious(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 not a zip", b"\x80\x02.", json.dumps({"a": 1}).encode()]
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, capsys, content):
    path = tmp_path / "their.pth"
    path.write_bytes(content)
    assert main(["import-official", str(path), "--net", "guider", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
