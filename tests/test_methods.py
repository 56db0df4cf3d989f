"""Every sample depends on its own seed alone, and every method on its own networks."""

from types import SimpleNamespace

import pytest
import torch

from pig import methods
from pig.diffusion import linear_schedule
from pig.params import load

NETWORK = {"width": 8, "multipliers": [1, 2], "blocks": 1, "stem": 2}
ALPHABAR = linear_schedule(1024)
SAMPLING = SimpleNamespace(steps=4, ddpm_steps=8, batch=4, clip=True, spacing="trailing", guide="x0_hat")


def trained(name, prediction="v"):
    torch.manual_seed(1)
    return methods.Trained(methods.build(name, NETWORK).eval(), prediction)


def samples(method, seeds, sampling=SAMPLING):
    nets = {name: trained(name) for name in methods.METHODS[method].nets}
    frames = list(methods.generate(method, nets, seeds, (16, 16), ALPHABAR, sampling))
    last = [frame for frame in frames if frame.last]
    assert len(frames) == len(last) * getattr(sampling, methods.METHODS[method].steps)
    both = [f.y0_hat if f.x0_hat is None else torch.cat([f.x0_hat, f.y0_hat], 1) for f in last]
    return torch.cat(both)


@pytest.mark.parametrize("method", methods.METHODS)
def test_sample_i_is_bit_identical_alone_in_a_batch_and_in_a_shard(method):
    seeds = [11, 12, 13, 14, 15, 16]
    whole = samples(method, seeds)
    assert len(whole) == 6
    assert torch.equal(whole[4:5], samples(method, seeds[4:5]))
    assert torch.equal(whole, torch.cat([samples(method, seeds[:1]), samples(method, seeds[1:])]))
    assert not torch.equal(whole[0], whole[1])


def test_pig_alone_gives_masks():
    assert samples("pig", [1]).shape == (1, 2, 16, 16)
    assert samples("ddim", [1]).shape == samples("ddpm", [1]).shape == (1, 1, 16, 16)


def test_ddpm_draws_noise_and_ddim_none():
    """From one start and with one network: eta = 1 at the same number of steps ends elsewhere."""
    same = SimpleNamespace(**{**vars(SAMPLING), "ddpm_steps": SAMPLING.steps})
    assert not torch.equal(samples("ddpm", [1], same), samples("ddim", [1], same))


def test_the_published_guide_changes_the_image():
    other = SimpleNamespace(**{**vars(SAMPLING), "guide": "local_mean"})
    assert not torch.equal(samples("pig", [1])[:, 1], samples("pig", [1], other)[:, 1])


@pytest.mark.parametrize("profile", ["smoke", "demo", "paper"])
@pytest.mark.parametrize("name", methods.NETS)
def test_every_net_has_a_finite_loss_under_every_profile(profile, name):
    chosen = load("params.yaml", profile)
    alphabar = methods.schedule(chosen.process)
    torch.manual_seed(0)
    x0, y0 = torch.randn(2, 2, 1, 16, 16).clamp(-1, 1)
    draws = methods.Draws(torch.tensor([1, chosen.process.T]), torch.randn_like(x0), torch.randn_like(x0))
    loss = methods.NETS[name].loss(
        trained(name).model,
        {"guider": trained("guider", chosen.guider.prediction)},
        x0,
        y0,
        alphabar,
        draws,
        chosen,
    )
    assert torch.isfinite(loss) and loss > 0
