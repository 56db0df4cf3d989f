"""pig.models.unet against a second, straight-line account of the authors' network that reads the state dict."""

import math

import pytest
import torch
from torch.nn import functional as F

from pig.core.errors import InputError
from pig.models.unet import Concatenated, UNet, Unguided

SMALL = {"width": 8, "multipliers": (1, 2, 3), "blocks": 2}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def randomised(**settings):
    """A U-Net in which no parameter has a special value, as a norm's ones and zeros are at birth."""
    net = UNet(**settings).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=parameter.numel() ** -0.25)
    return net


def inputs(height, width, batch=2, channels=2):
    return torch.randn(batch, channels, height, width), torch.tensor([1, 1024, 17, 500])[:batch]


# The reference: a function a sentence of the network's description, without the modules of pig.models.unet.


def reference(state, z, t, width=32, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, stem=1, groups=32):
    def conv(name, x, **how):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how)

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def swish(x):
        return x / (1 + torch.exp(-x))

    def norm(name, x):
        fit = max(g for g in range(1, groups + 1) if groups % g == 0 and x.shape[1] % g == 0)
        parts = x.reshape(len(x), fit, -1)
        mean, variance = parts.mean(2, keepdim=True), parts.var(2, keepdim=True, unbiased=False)
        parts = (parts - mean) / torch.sqrt(variance + 1e-6)
        scale, shift = state[f"{name}.weight"], state[f"{name}.bias"]
        return parts.reshape(x.shape) * scale[None, :, None, None] + shift[None, :, None, None]

    def residual(name, x):
        h = conv(f"{name}.conv1", swish(norm(f"{name}.norm1", x)), padding=1)
        h = h + linear(f"{name}.temb_proj", swish(temb))[:, :, None, None]
        h = conv(f"{name}.conv2", swish(norm(f"{name}.norm2", h)), padding=1)
        if f"{name}.nin_shortcut.weight" in state:
            x = conv(f"{name}.nin_shortcut", x)
        return x + h

    def attention(name, x):
        h = norm(f"{name}.norm", x)
        q, k, v = (conv(f"{name}.{which}", h).flatten(2) for which in "qkv")
        weight = torch.softmax(torch.einsum("bci,bcj->bij", q, k) * x.shape[1] ** -0.5, dim=2)
        return x + conv(f"{name}.proj_out", torch.einsum("bij,bcj->bci", weight, v).reshape(x.shape))

    half = width // 2
    frequency = torch.tensor([math.exp(-math.log(10000) * k / (half - 1)) for k in range(half)])
    angle = (t - 1)[:, None] * frequency[None]
    temb = torch.cat([torch.sin(angle), torch.cos(angle)], 1)
    temb = linear("temb.dense.1", swish(linear("temb.dense.0", temb)))

    batch, channels, height, breadth = z.shape
    z = z.reshape(batch, channels, height // stem, stem, breadth // stem, stem).permute(0, 1, 3, 5, 2, 4)
    h = conv("conv_in", z.reshape(batch, channels * stem**2, height // stem, breadth // stem), padding=1)

    last, skips = len(multipliers) - 1, [h]
    for level in range(len(multipliers)):
        for i in range(blocks):
            h = residual(f"down.{level}.block.{i}", h)
            if level == last:
                h = attention(f"down.{level}.attn.{i}", h)
            skips.append(h)
        if level != last:
            padded = torch.zeros(*h.shape[:2], h.shape[2] + 1, h.shape[3] + 1)
            padded[:, :, :-1, :-1] = h
            h = conv(f"down.{level}.downsample.conv", padded, stride=2)
            skips.append(h)

    h = residual("mid.block_2", attention("mid.attn_1", residual("mid.block_1", h)))

    for level in range(last, -1, -1):
        for i in range(blocks + 1):
            h = residual(f"up.{level}.block.{i}", torch.cat([h, skips.pop()], 1))
            if level == last:
                h = attention(f"up.{level}.attn.{i}", h)
        if level != 0:
            h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
            h = conv(f"up.{level}.upsample.conv", h, padding=1)

    out = conv("conv_out", swish(norm("norm_out", h)), padding=1)
    out = out.reshape(batch, -1, stem, stem, height // stem, breadth // stem).permute(0, 1, 4, 2, 5, 3)
    return out.reshape(batch, -1, height, breadth)


@pytest.mark.parametrize(
    ("settings", "height", "width"),
    [
        ({}, 64, 64),
        ({}, 32, 96),
        (SMALL, 16, 24),
        ({**SMALL, "blocks": 1, "stem": 2}, 24, 16),
        ({"width": 12, "multipliers": (2,), "blocks": 3, "stem": 3}, 9, 6),
        ({**SMALL, "groups": 2}, 16, 16),
    ],
)
def test_agrees_with_the_description_of_the_authors_network(settings, height, width):
    net = randomised(**settings)
    z, t = inputs(height, width)
    with torch.no_grad():
        expected = reference(net.state_dict(), z, t, **settings)
        found = net(z, t)
    assert found.shape == expected.shape == (2, 1, height, width)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_defaults_have_as_many_parameters_as_the_authors():
    with torch.device("meta"):
        assert sum(tensor.numel() for tensor in UNet().state_dict().values()) == 7_125_409


@pytest.mark.parametrize(
    "settings", [{**SMALL, "stem": 2}, {"width": 32, "multipliers": (1, 2), "blocks": 1}]
)
def test_channels_last_gives_the_same_output_and_gradients(settings):
    plain = randomised(**settings)
    other = UNet(**settings).eval()
    other.load_state_dict(plain.state_dict())
    other = other.to(memory_format=torch.channels_last)
    z, t = inputs(16, 32)
    z_plain, z_other = z.clone().requires_grad_(), z.to(memory_format=torch.channels_last).requires_grad_()
    out, out_other = plain(z_plain, t), other(z_other, t)
    size = out.abs().max().item()
    torch.testing.assert_close(out_other, out, rtol=1e-5, atol=1e-5 * size)
    (out**2).mean().backward()
    (out_other**2).mean().backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()} | {"z": z_plain.grad}  # all have one
    others = {name: p.grad for name, p in other.named_parameters()} | {"z": z_other.grad}
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (others[name] - gradient).abs().max().item() < 1e-5 * largest, name


@pytest.mark.parametrize("width", [5, 8, 11])
def test_an_output_is_the_same_bits_in_any_company(width):
    """At the same place of the batch: at another one, libraries round otherwise."""
    net = UNet(**SMALL | {"width": width}, stem=2).eval()
    z, t = inputs(24, 24, batch=4)
    other, times = inputs(24, 24, batch=4)[0], t.flip(0)
    with torch.no_grad():
        whole = net(z, t)
        for row in range(4):
            alone = torch.arange(4) == row
            mixed = torch.where(alone[:, None, None, None], z, other), torch.where(alone, t, times)
            assert torch.equal(net(*mixed)[row], whole[row])
            assert not torch.equal(net(*mixed), whole)


def test_dropout_is_drawn_in_training_only():
    net, given = randomised(**SMALL, dropout=0.5), inputs(16, 16)
    assert torch.equal(net(*given), net(*given))
    net.train()
    assert not torch.equal(net(*given), net(*given))


@pytest.mark.parametrize(("height", "width"), [(20, 16), (16, 12), (8, 16)])
def test_a_size_that_does_not_divide_is_refused(height, width):
    net = UNet(**{**SMALL, "multipliers": (1, 1, 1, 1)}, stem=2)
    with pytest.raises(InputError, match=rf"{height}x{width}.* 16"):
        net(*inputs(height, width))


def test_the_wrappers_take_a_guide_beside_the_noised_channel_or_none():
    net, one = randomised(**SMALL), randomised(**SMALL, in_channels=1)
    (noised, guide), t = torch.randn(2, 2, 1, 16, 16), torch.tensor([5, 6])
    assert torch.equal(Concatenated(net)(noised, guide, t), net(torch.cat([noised, guide], 1), t))
    assert torch.equal(Unguided(one)(noised, None, t), one(noised, t))
    with pytest.raises(ValueError, match="guide"):
        Unguided(one)(noised, guide, t)
