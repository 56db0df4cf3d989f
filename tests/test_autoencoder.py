"""The autoencoder of LDM: sizes, the loss's separate parts, unit variance of latents, and that it can learn."""

import pytest
import torch

from pig.core.errors import InputError
from pig.core.params import load
from pig.models.autoencoder import Autoencoder, autoencoder_loss, calibrate
from pig.models.table import Params

SECTION = load("params.yaml", Params, "smoke").autoencoder


def penalty(kl=0.0, adversarial=0.0, start=0):
    return SECTION.model_copy(update={"kl": kl, "adversarial": adversarial, "adversarial_start": start})


def model(factor=2, seed=0):
    torch.manual_seed(seed)
    return Autoencoder(channels=3, factor=factor, width=8, blocks=1, groups=4, patches=2)


def images(n=4, height=16, width=16):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(n, 1, height // 4, width // 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear").clamp(-1, 1)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_latents_are_smaller_by_the_factor_and_images_come_back(factor):
    net, y = model(factor), images(2, 16, 24)
    z = net.encode(y)
    assert z.shape[1:] == net.shape(16, 24) == (3, 16 // factor, 24 // factor)
    assert net.decode(z).shape == y.shape
    assert net.shrink(y).shape == (2, 1, 16 // factor, 24 // factor)


def test_what_cannot_be_halved_is_refused():
    with pytest.raises(InputError):
        model(2).shape(16, 15)


def test_latents_have_unit_variance_over_all_batches_together():
    net, y = model(), images(6)
    calibrate(net, list(y.split(4)))
    assert net.encode(y).var(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    rebuilt = net.decode(net.encode(y))
    assert torch.allclose(rebuilt, net.decoder(net.posterior(y)[0]), atol=1e-5)


def test_the_loss_is_l1_and_kl_as_defined():
    net, y = model().train(), images()
    mean, logvar = net.posterior(y)
    eps = torch.randn(mean.shape, generator=torch.Generator().manual_seed(9))
    y_hat = net.decoder(mean + torch.exp(logvar / 2) * eps)
    normal = torch.distributions.Normal(mean, torch.exp(logvar / 2))
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1)).sum() / y.numel()
    expected = (y_hat - y).abs().mean() + 0.3 * kl
    found = autoencoder_loss(net, y, penalty(kl=0.3), torch.Generator().manual_seed(9))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_adversarial_term_waits_for_its_step_and_a_resumed_count_goes_on():
    net, y = model().train(), images()
    late = penalty(adversarial=0.5, start=2)
    losses = [autoencoder_loss(net, y, late, torch.Generator().manual_seed(1)).item() for _ in range(3)]
    assert losses[0] == losses[1] != losses[2]
    other = model().train()
    other.load_state_dict(net.state_dict())
    assert other.step == 3


def test_each_side_learns_from_its_own_part_only():
    """The discriminator's gradient is that of the hinge loss, the autoencoder's knows no hinge loss."""
    y = images()
    net = model().train()
    autoencoder_loss(net, y, penalty(adversarial=0.5), torch.Generator().manual_seed(1)).backward()
    found = {name: value.grad.clone() for name, value in net.discriminator.named_parameters()}

    again = model().train()
    mean, logvar = again.posterior(y)
    eps = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
    y_hat = again.decoder(mean + (logvar / 2).exp() * eps)
    judge = again.discriminator
    hinge = torch.relu(1 - judge(y)).mean() + torch.relu(1 + judge(y_hat.detach())).mean()
    (0.5 * hinge).backward()
    for name, value in judge.named_parameters():
        assert torch.allclose(found[name], value.grad, atol=1e-7), name

    for parameter in again.parameters():
        parameter.grad = None
    rebuilt, fooled = (y_hat - y).abs().mean(), -judge(y_hat).mean()
    last = again.decoder[-1].weight
    sizes = [torch.autograd.grad(term, last, retain_graph=True)[0].norm() for term in (rebuilt, fooled)]
    (rebuilt + 0.5 * sizes[0] / (sizes[1] + 1e-4) * fooled).backward()
    for name, value in again.encoder.named_parameters():
        assert torch.allclose(dict(net.encoder.named_parameters())[name].grad, value.grad, atol=1e-6), name
