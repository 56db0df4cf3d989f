"""ControlNet: a no-op before training, then steered by the mask, its base untouched."""

import copy

import pytest
import torch

from pig.models.controlnet import Controlled
from pig.models.unet import UNet

SIZE = (16, 16)


def network(stem=1, seed=0):
    torch.manual_seed(seed)
    return UNet(1, 1, width=8, multipliers=(1, 2), blocks=1, stem=stem)


def inputs():
    torch.manual_seed(5)
    mask = torch.zeros(2, 1, *SIZE) - 1
    mask[:, :, 4:9, 3:8] = 1
    return torch.randn(2, 1, *SIZE), mask, torch.tensor([3, 900])


@pytest.mark.parametrize("stem", [1, 2])
def test_at_initialisation_it_is_the_frozen_network_bit_for_bit(stem):
    net = network(stem).eval()
    model = Controlled(copy.deepcopy(net)).eval()
    noised, mask, t = inputs()
    with torch.no_grad():
        assert torch.equal(model(noised, mask, t), net(noised, t))


def test_it_adopts_the_weights_of_a_trained_network_in_base_and_copy():
    model, trained = Controlled(network(seed=0)), network(seed=1)
    noised, mask, t = inputs()
    assert not torch.equal(model(noised, mask, t), trained(noised, t))
    model.adopt(trained)
    assert torch.equal(model(noised, mask, t), trained(noised, t))
    for name in ("temb", "conv_in", "down", "mid"):
        copied, own = getattr(model.control, name).state_dict(), getattr(trained, name).state_dict()
        assert all(torch.equal(copied[key], own[key]) for key in own)


def test_training_moves_the_control_and_leaves_the_base_alone():
    model = Controlled(network())
    before = copy.deepcopy(model.net.state_dict())
    noised, mask, t = inputs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(4):  # zero convolutions first, then the hint's, then what lies behind them
        optimizer.zero_grad()
        model(noised, mask, t).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in model.net.state_dict().items())
    first = Controlled(network()).control.state_dict()
    moved = {key for key, value in model.control.state_dict().items() if not torch.equal(first[key], value)}
    parts = [
        "temb.",
        "conv_in.",
        "down.0.",
        "down.1.",
        "mid.",
        "hint.conv_1.",
        "hint.fold.",
        "zero.0.",
        "zero.3.",
    ]
    assert all(any(name.startswith(part) for name in moved) for part in parts)
    with torch.no_grad():
        assert not torch.equal(model(noised, mask, t), model(noised, -mask, t))
