"""What losses draw and how errors weigh: densities, identities, and the optimum that neither moves."""

import numpy as np
import pytest
import torch
from scipy import stats

from pig import diffusion as D
from pig.core.params import Training
from pig.models.augment import TOLD, augment
from pig.models.losses import draw, normal_log_snr, uniform, weight
from pig.models.table import Objective

T = 1024
ALPHABAR = D.linear_schedule(T)
LOG_SNR = torch.logit(ALPHABAR[1:])
UNIFORM = {"times": "uniform", "times_mean": 0.0, "times_width": 1.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def objective(kind, least=None, most=None):
    return Objective(**UNIFORM, weight=kind, weight_least=least, weight_most=most)


# ---------------------------- draws
def test_draws_are_uniform_on_1_to_T_and_independent():
    draws = draw(torch.zeros(40_000, 1, 1, 1), D.linear_schedule(4), seeded())
    assert torch.bincount(draws.t).tolist()[0] == 0
    assert torch.allclose(torch.bincount(draws.t)[1:] / 40_000, torch.full((4,), 0.25), atol=0.01)
    both = torch.stack([draws.eps_1.flatten(), draws.eps_2.flatten()])
    assert torch.allclose(torch.cov(both), torch.eye(2), atol=0.02)


@pytest.mark.parametrize("rows", [6, 7])
def test_antithetic_times_mirror_each_other(rows):
    t = uniform(rows, ALPHABAR, seeded(), antithetic=True)
    half = rows // 2
    assert len(t) == rows and torch.equal(t[:half] + t[-half:], torch.full((half,), T + 1))


@pytest.mark.parametrize(
    ("mean", "width"), [(1.6, 1.6), (-2.0, 0.7), (0.0, 3.0), (12.0, 2.0), (-30.0, 1.0), (30.0, 1.0)]
)
def test_log_snr_is_drawn_from_the_normal_that_is_asked_for(mean, width):
    """Within the process, by Kolmogorov and Smirnov: t stands for all log-SNR up to the middles to its neighbours."""
    t = normal_log_snr(20_000, ALPHABAR, seeded(), mean, width)
    assert t.dtype == torch.int64 and t.min() >= 1 and t.max() <= T
    edges = torch.cat([LOG_SNR[:1], (LOG_SNR[1:] + LOG_SNR[:-1]) / 2, LOG_SNR[-1:]]).numpy()
    high, low = edges[t - 1], edges[t]
    within = stats.truncnorm((edges[-1] - mean) / width, (edges[0] - mean) / width, mean, width)
    # Spread evenly over its mass, each t is a draw of the density itself.
    u = np.random.default_rng(0).uniform(within.cdf(low), within.cdf(high))
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert stats.kstest(u + 0.02, "uniform").pvalue < 1e-3  # and the test would see 2 %


def test_width_is_a_standard_deviation():
    drawn = LOG_SNR[normal_log_snr(50_000, ALPHABAR, seeded(), 1.0, 1.5) - 1]
    assert drawn.mean() == pytest.approx(1.0, abs=0.03) and drawn.std() == pytest.approx(1.5, abs=0.03)


# ---------------------------- weights
def rowwise(t):
    return ALPHABAR[t].view(-1, 1, 1, 1)


def constant(out, prediction):
    return D.Denoiser(lambda noised, guide, t: out, ALPHABAR, prediction)


@pytest.mark.parametrize("kind", ["snr", "straight"])
@pytest.mark.parametrize(("least", "most"), [(None, None), (None, 0.5), (None, 5.0), (1.0, None), (0.1, 5.0)])
def test_every_prediction_weighs_the_error_of_x0_alike(kind, least, most):
    """The weights differ so that the same error of x0_hat costs the same, whatever the network predicts."""
    x0, eps, wrong = randn(5, 1, 2, 2), randn(5, 1, 2, 2, seed=1), randn(5, 1, 2, 2, seed=2)
    t = torch.tensor([1, 50, 200, 600, T])
    xt, snr = D.noise(x0, eps, rowwise(t)), rowwise(t) / (1 - rowwise(t))
    of_x0 = {"snr": snr, "straight": 1 + 2 * snr.sqrt() + snr}[kind]
    weights = of_x0.maximum(torch.tensor(least or 0.0)).minimum(torch.tensor(most or torch.inf))
    expected = (weights * (wrong - x0) ** 2).mean()
    _, wrong_eps = constant(wrong, "x0")(xt, None, t)
    for prediction, its in D.PREDICTIONS.items():
        out = constant(its.target(wrong, wrong_eps, rowwise(t)), prediction)
        how = weight(objective(kind, least, most), prediction)
        for loss in (
            D.image_loss(out, x0, None, D.Draws(t, eps, eps), how),
            D.guider_loss(out, x0, x0, D.Draws(t, eps, eps), how),
            D.guided_loss(out, out, x0, x0, D.Draws(t, eps, eps), how),
        ):
            assert torch.allclose(loss, expected, rtol=1e-6)


def test_the_straight_weight_is_the_loss_of_the_velocity_on_the_straight_path():
    """Values and gradients: z = (1 - s) x0 + s eps is x_t scaled, and its velocity, eps - x0, is what is learnt."""
    x0, eps, t = randn(6, 1, 3, 3), randn(6, 1, 3, 3, seed=1), torch.tensor([1, 9, 80, 300, 700, T])
    net = torch.nn.Linear(9, 9, dtype=torch.float64)
    a = rowwise(t)
    s = (1 - a).sqrt() / (a.sqrt() + (1 - a).sqrt())

    def estimate(xt, guide=None, t=None):
        return net(xt.flatten(1)).view_as(xt)

    z = (1 - s) * x0 + s * eps
    velocity = (z - estimate(z * (a.sqrt() + (1 - a).sqrt()))) / s
    straight = (velocity - (eps - x0)).square().mean()
    ours = D.image_loss(
        D.Denoiser(estimate, ALPHABAR, "x0"),
        x0,
        None,
        D.Draws(t, eps, eps),
        weight(objective("straight"), "x0"),
    )
    weights = list(net.parameters())
    torch.testing.assert_close(ours, straight, rtol=1e-9, atol=0)
    for one, other in zip(
        torch.autograd.grad(ours, weights), torch.autograd.grad(straight, weights), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


WAYS = [
    ("none", UNIFORM),
    ("snr", UNIFORM),
    ("straight", UNIFORM),
    ("straight", {"times_mean": 3.0, "times_width": 2.0}),
]


@pytest.mark.parametrize(("kind", "times"), WAYS)
def test_no_weight_or_density_moves_the_optimum(kind, times):
    """Of a Gaussian pair the best estimate at each t is linear, and known: there the expected gradient is zero.

    With c = E[y0 | y_t] = M_t y_t, whatever the weight of t and however often it is drawn; elsewhere it is not.
    """
    alphabar = D.linear_schedule(8, 0.05, 0.6)
    root = torch.tensor([[1.0, 0.0], [0.7, 0.5]], dtype=torch.float64)
    covariance = root @ root.T
    a = alphabar[1:, None, None]
    eye = torch.eye(2, dtype=torch.float64)
    best = a.sqrt() * covariance @ torch.linalg.inv(a * covariance + (1 - a) * eye)  # (T, 2, 2)
    rows = 200_000
    x0 = (randn(rows, 2) @ root.T)[:, :, None, None]
    drawn = uniform if times is UNIFORM else lambda *given: normal_log_snr(*given, mean=3.0, width=2.0)
    draws = draw(x0, alphabar, seeded(3), drawn)
    assert len(draws.t.unique()) == 8  # full support

    def gradient(matrices):
        matrices = matrices.clone().requires_grad_()

        def model(noised, guide, t):
            return torch.einsum("bij,bjhw->bihw", matrices[t - 1], noised)

        how = weight(objective(kind, None, None if kind == "none" else 4.0), "x0")
        loss = D.image_loss(D.Denoiser(model, alphabar, "x0"), x0, None, draws, how)
        return torch.autograd.grad(loss, matrices)[0].abs().max()

    assert gradient(best) < 0.1 * gradient(best + 0.1)


# ---------------------------- augmentation
def changed(x0, y0, seed=0, **own):
    from pig.core.params import load
    from pig.models.table import Params

    training = load("params.yaml", Params, "smoke").training
    return augment(x0, y0, Training(**{**training.model_dump(), **own}), seeded(seed))


def pairs(n=64, side=16):
    y0 = randn(n, 1, side, side).float().clamp(-1, 1)
    return torch.where(y0 > 0, 1.0, -1.0), y0


def test_flips_are_flips_of_both_and_are_told():
    x0, y0 = pairs()
    x, y, told = changed(x0, y0, flips=["horizontal", "vertical"])
    assert told.shape == (64, TOLD) and not told[:, 2:].any()
    for i, (left, down) in enumerate(told[:, :2].bool().tolist()):
        dims = [2] * left + [1] * down
        assert torch.equal(x[i], x0[i].flip(dims))
        torch.testing.assert_close(y[i], y0[i].flip(dims), rtol=0, atol=1e-5)
    assert told[:, :2].mean(0).sub(0.5).abs().max() < 0.25
    assert not changed(x0, y0, flips=["horizontal"])[2][:, 1].any()


def test_crops_show_nothing_from_outside_and_move_mask_and_image_alike():
    """Of a ramp a crop is a ramp: its greys tell where it was taken, and the mask is where the image says."""
    side = 32
    at = (torch.arange(side) + 0.5) / side * 2 - 1
    y0 = at.expand(200, 1, side, side).contiguous()
    x, y, told = changed(torch.where(y0 > 0.25, 1.0, -1.0), y0, crop=0.5)
    share, right = 1 / (told[:, 2] + 1), told[:, 3]
    inside = slice(1, -1)  # half a pixel at the border is repeated
    expected = (share[:, None] * at + right[:, None])[:, None, None, :].expand_as(y)
    torch.testing.assert_close(y[..., inside], expected[..., inside], rtol=0, atol=0.02)
    far = (y - 0.25).abs() > 0.05
    assert torch.equal(x[far] > 0, y[far] > 0.25)
    assert y.min() >= at[0] and y.max() <= at[-1]
    assert 0.5 <= share.min() < 0.55 and 0.95 < share.max() <= 1
    assert (right.abs() <= 1 - share + 1e-6).all()


def test_augmentation_depends_on_the_generator_alone():
    x0, y0 = pairs()
    one, two, other = (changed(x0, y0, seed, crop=0.7, flips=["vertical"]) for seed in (1, 1, 2))
    assert all(map(torch.equal, one, two)) and not torch.equal(one[1], other[1])
    assert set(one[0].unique().tolist()) == {-1.0, 1.0}
