"""pig.models.weights: what is written is read back; what is not a network is refused by name; no file runs code."""

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


def test_equal_content_makes_equal_bytes_and_shared_tensors_are_saved(tmp_path):
    tensor = torch.arange(3.0)
    state = {**UNet(**SMALL).state_dict(), "a": tensor, "b": tensor, "c": tensor[1:]}
    weights.save(tmp_path / "a", state, HEADER)
    weights.save(tmp_path / "b", dict(reversed(state.items())), dict(reversed(HEADER.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found, _ = weights.load(tmp_path / "a")
    assert [found[key].tolist() for key in "abc"] == [[0, 1, 2], [0, 1, 2], [1, 2]]


def test_a_file_that_is_no_network_is_named(tmp_path):
    """None, another one, one that is cut off; one without a header, or whose header is no JSON or lacks a key."""
    path = tmp_path / "net.safetensors"
    weights.save(path, {"a": torch.zeros(9)}, {"net": "guider", "network": {}})
    assert weights.load(path)[1] == {"net": "guider", "network": {}}
    with pytest.raises(InputError, match=r"net\.safetensors: .*prediction"):
        weights.load(path, required=["net", "prediction"])
    spoilt = [path.read_bytes()[:-4], b"no network"]
    spoilt += [weights.to_bytes({"a": torch.zeros(1)}, metadata=told) for told in ({}, {"pig": "{"})]
    for content in spoilt:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"net\.safetensors: "):
            weights.load(path)
    path.unlink()
    with pytest.raises(InputError, match=r"net\.safetensors: "):
        weights.load(path)


@pytest.mark.parametrize("new", [True, False])
def test_an_official_checkpoint_becomes_a_network(tmp_path, official, new):
    """The weights beside the optimiser, of DataParallel; or bare, in torch's old format."""
    parallel = {f"module.{key}": tensor for key, tensor in official.items()}
    content = [parallel, {"state": {}, "param_groups": [{"lr": 2e-4}]}, 127] if new else official
    torch.save(content, tmp_path / "their.pth", _use_new_zipfile_serialization=new)
    out = tmp_path / "guided.safetensors"
    assert main(["import-official", str(tmp_path / "their.pth"), "--net", "guided", "--out", str(out)]) == 0
    state, header = weights.load(out)
    assert (header["net"], header["prediction"], header["process"]["T"]) == ("guided", "eps", 1024)
    net = UNet(**header["network"])
    weights.fill(net, state, out)
    for key, tensor in official.items():
        assert torch.equal(net.state_dict()[key], tensor), key


def refused(path, capsys):
    """What is said of a checkpoint that `pig import-official` refuses: one line that names it."""
    out = path.with_name("out.safetensors")
    assert main(["import-official", str(path), "--net", "guider", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and error.count("\n") == 1 and not out.exists()
    return error


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda w: [{k: v for k, v in w.items() if k != "conv_in.weight"}, {}, 1], "conv_in.weight"),
        (lambda w: [{**w, "extra.weight": torch.zeros(2)}, {}, 1], "extra.weight"),
        (lambda w: {**w, "conv_in.weight": torch.zeros(32, 1, 3, 3)}, "conv_in.weight"),
        (lambda w: [{**w, "epoch": 3}], "'epoch' is int"),
        (lambda w: [], "list"),
        (lambda w: [3, {}, 1], "int"),
        (lambda w: {}, "temb.dense.0.weight"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(tmp_path, capsys, official, spoil, named):
    torch.save(spoil(official), tmp_path / "their.pth")
    assert named in refused(tmp_path / "their.pth", capsys)


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
    assert "refused" in refused(path, capsys)
    assert not trace.exists()


def test_the_malicious_checkpoint_would_make_its_file(tmp_path):
    """The control of the test above."""
    pickle.loads(pickle.dumps(Malicious(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x80\x02.", b'{"a": 1}'])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, capsys, content):
    path = tmp_path / "their.pth"
    path.write_bytes(content)
    refused(path, capsys)
