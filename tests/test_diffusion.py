"""The heart against oracles: closed forms, another library, identities."""

import math
from functools import partial
from itertools import pairwise

import diffusers
import numpy as np
import pytest
import torch
from scipy import ndimage

from pig import diffusion as D
from pig.models.losses import draw
from pig.models.pig import thresholded
from pig.models.solvers import SOLVERS, ancestral, times
from pig.models.unet import Concatenated, UNet

T = 1024
ALPHABAR = D.linear_schedule(T)
MEAN = torch.tensor([0.3, -0.2], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.36, 0.624], [0.624, 1.69]], dtype=torch.float64)


def last(frames):
    *_, final = frames
    return final


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rowwise(t):
    return ALPHABAR[t].view(-1, 1, 1, 1)


def denoiser(model, prediction="eps", clip=False):
    return D.Denoiser(model, ALPHABAR, prediction, clip)


def constant(out, prediction="eps", clip=False):
    """A Denoiser whose model gives `out`, whatever it is given."""
    return denoiser(lambda noised, guide, t: out, prediction, clip)


def chains(guider, guided, xT, yT, steps, spacing="trailing", solver="ddim"):
    return D.sample_pairs(guider, guided, xT, yT, ALPHABAR, times(ALPHABAR, steps, spacing), moves(solver))


def moves(solver, draws=()):
    """Of a solver, given the noise of its steps."""
    given = iter(draws)
    return lambda alphabar: SOLVERS[solver](alphabar, lambda: next(given))


def chain(model, yT, steps, move=D.ddim, guide=None, spacing="trailing"):
    return D.sample_images(model, yT, guide, ALPHABAR, times(ALPHABAR, steps, spacing), move)


# ------------------------------------------------------------------ schedules and the forward process
def test_linear_schedule_is_the_product_of_its_betas():
    assert ALPHABAR[0] == 1 and len(ALPHABAR) == T + 1
    expected = 1.0
    for i in range(T):
        expected *= 1 - (1e-4 + (0.02 - 1e-4) * i / (T - 1))
        assert math.isclose(ALPHABAR[i + 1].item(), expected, rel_tol=1e-10)


def test_cosine_schedule_equals_diffusers():
    theirs = diffusers.DDPMScheduler(T, beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    assert torch.allclose(D.cosine_schedule(T)[1:], theirs, atol=1e-6)


@pytest.mark.parametrize("prediction", D.PREDICTIONS)
def test_a_perfect_output_gives_back_x0_and_eps(prediction):
    x0, eps = randn(2, 1, 4, 4).clamp(-1, 1), randn(2, 1, 4, 4, seed=1)
    for t in (1, 500, T):
        a = ALPHABAR[t]
        assert torch.allclose(D.denoise(D.noise(x0, eps, a), eps, a), x0, atol=1e-9)
        xt, out = D.noise(x0, eps, a), D.PREDICTIONS[prediction].target(x0, eps, a)
        for clip in (False, True):
            for times_of_rows in (t, torch.tensor([t, t])):
                x0_hat, eps_hat = constant(out, prediction, clip)(xt, None, times_of_rows)
                assert torch.allclose(x0_hat, x0, atol=1e-8) and torch.allclose(eps_hat, eps, atol=1e-8)


# ------------------------------------------------------------------ training
def test_the_guider_receives_no_gradient_from_the_guided_loss():
    guider, guided = (Concatenated(UNet(width=8, multipliers=(1,), blocks=1)) for _ in "12")
    x0, y0 = randn(2, 1, 4, 4).float(), randn(2, 1, 4, 4, seed=1).float()
    D.guided_loss(denoiser(guided), denoiser(guider), x0, y0, draw(x0, ALPHABAR)).backward()
    assert all(p.grad is None for p in guider.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in guided.net.conv_in.parameters())


# ------------------------------------------------------------------ sampling
def gaussian_models(prediction):
    """Ideal denoisers of (x0, y0) ~ N(MEAN, COVARIANCE), each pixel a pair of its own.

    E[x0 | x_t, y_t] is linear in both; the guided model is given the true x0's estimate, and the ideal
    response to a guide g = E[x0 | x_t, y_t] at y_t is E[y0 | x0 = g, y_t] plus nothing else: Algorithm 2's
    own factorisation treats the guide as clean.
    """

    def guider(noised, guide, t):
        a = rowwise(t)
        z = torch.stack([noised, guide], -1) - a.sqrt()[..., None] * MEAN
        total = a[0].squeeze() * COVARIANCE + (1 - a[0].squeeze()) * torch.eye(2, dtype=torch.float64)
        gain = a[0].squeeze().sqrt() * COVARIANCE @ torch.linalg.inv(total)
        x0_hat = MEAN[0] + (z @ gain.T)[..., 0]
        return D.PREDICTIONS[prediction].target(x0_hat, (noised - a.sqrt() * x0_hat) / (1 - a).sqrt(), a)

    def guided(noised, guide, t):
        a = rowwise(t)
        slope = COVARIANCE[0, 1] / COVARIANCE[0, 0]
        mean, var = MEAN[1] + slope * (guide - MEAN[0]), COVARIANCE[1, 1] - slope * COVARIANCE[0, 1]
        y0_hat = mean + a.sqrt() * var / (a * var + 1 - a) * (noised - a.sqrt() * mean)
        return D.PREDICTIONS[prediction].target(y0_hat, (noised - a.sqrt() * y0_hat) / (1 - a).sqrt(), a)

    return denoiser(guider, prediction), denoiser(guided, prediction)


@pytest.mark.parametrize("prediction", D.PREDICTIONS)
def test_algorithm_2_gives_back_the_covariance_of_a_gaussian(prediction):
    xT, yT = randn(1, 1, 200, 200), randn(1, 1, 200, 200, seed=1)
    pair = last(chains(*gaussian_models(prediction), xT, yT, 256))
    found = torch.stack([z.flatten() for z in pair])
    assert torch.allclose(found.mean(1), MEAN, atol=0.03)
    assert torch.allclose(torch.cov(found), COVARIANCE, rtol=0.03)


def test_a_guider_that_finds_the_true_mask_makes_algorithm_2_the_conditional_sampler():
    mask = randn(2, 1, 8, 8, seed=3).sign().float()
    guided = denoiser(Concatenated(UNet(width=8, multipliers=(1, 2), blocks=1)).eval())
    xT, yT = randn(2, 1, 8, 8).float(), randn(2, 1, 8, 8, seed=1).float()
    pairs = chains(constant(mask, "x0"), guided, xT, yT, 16)
    images = chain(guided, yT, 16, guide=mask)
    for (x0_hat, y0_hat), alone in zip(pairs, images, strict=True):
        assert torch.equal(x0_hat, mask) and torch.equal(y0_hat, alone)


def uncoupled(noised, guide, t):
    """Some nonlinear model that does not look at its guide."""
    return torch.tanh(noised * (1 + t.view(-1, 1, 1, 1) / T))


LINEAR = {"num_train_timesteps": T, "beta_start": 1e-4, "beta_end": 0.02}  # of diffusers
NAMES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


def theirs(scheduler, z, draws=(), **how):
    """The end of diffusers' chain from z, whose times count from 0; draws: the noise of each step."""
    for i, t in enumerate(scheduler.timesteps):
        out = uncoupled(z, None, torch.full((len(z),), int(t) + 1))
        noise = {"variance_noise": draws[i]} if draws else {}
        z = scheduler.step(out, t, z, **how, **noise).prev_sample
    return z


def diffusers_ddim(noise, draws=(), prediction="eps", clip=False, steps=64):
    scheduler = diffusers.DDIMScheduler(
        **LINEAR, timestep_spacing="trailing", clip_sample=clip, prediction_type=NAMES[prediction]
    )
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = ALPHABAR[1:], ALPHABAR[0]
    scheduler.set_timesteps(steps)
    return theirs(scheduler, noise, draws, eta=float(bool(draws)), use_clipped_model_output=clip)


def diffusers_dpmpp2m(noise, prediction, spacing, steps=32, draws=()):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **LINEAR,
        prediction_type=NAMES[prediction],
        algorithm_type="sde-dpmsolver++" if draws else "dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        lower_order_final=False,
        final_sigmas_type="zero",
    )
    scheduler.alphas_cumprod = ALPHABAR[1:]
    scheduler.set_timesteps(steps)
    at = torch.tensor(times(ALPHABAR, steps, spacing)[:-1])
    scheduler.timesteps = at - 1
    scheduler.sigmas = torch.cat([((1 - ALPHABAR) / ALPHABAR).sqrt()[at], torch.zeros(1)])
    return theirs(scheduler, noise, draws)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("prediction", D.PREDICTIONS)
def test_two_uncoupled_chains_equal_diffusers_ddim(prediction, clip):
    xT, yT = randn(2, 1, 4, 4), randn(2, 1, 4, 4, seed=1)
    model = denoiser(uncoupled, prediction, clip)
    for found, start in zip(last(chains(model, model, xT, yT, 64)), (xT, yT), strict=True):
        expected = diffusers_ddim(start, prediction=prediction, clip=clip)
        assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@pytest.mark.parametrize("spacing", ["trailing", "log_snr"])
@pytest.mark.parametrize("prediction", D.PREDICTIONS)
def test_two_uncoupled_chains_equal_diffusers_dpm_solver(prediction, spacing):
    xT, yT = randn(2, 1, 4, 4), randn(2, 1, 4, 4, seed=1)
    model = denoiser(uncoupled, prediction)
    pair = last(chains(model, model, xT, yT, 32, spacing, "dpmpp2m"))
    for found, start in zip(pair, (xT, yT), strict=True):
        assert torch.allclose(found, diffusers_dpmpp2m(start, prediction, spacing), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@pytest.mark.parametrize("spacing", ["trailing", "log_snr"])
@pytest.mark.parametrize("prediction", D.PREDICTIONS)
def test_the_solver_with_noise_equals_that_of_diffusers_given_the_same_draws(prediction, spacing):
    yT, draws = randn(2, 1, 4, 4), [randn(2, 1, 4, 4, seed=9 + i).float().double() for i in range(32)]
    found = last(chain(denoiser(uncoupled, prediction), yT, 32, moves("dpmpp2m_sde", draws), spacing=spacing))
    expected = diffusers_dpmpp2m(yT, prediction, spacing, draws=draws)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def gaussian_error(steps, solver, spacing="log_snr", prediction="x0", mean=0.4, deviation=0.5):
    """Largest distance from the exact end of the flow, with the ideal denoiser of y0 ~ N(mean, deviation^2)."""
    yT = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64).view(1, 1, 1, -1)

    def ideal(noised, guide, t):
        a = rowwise(t)
        y0_hat = mean + a.sqrt() * deviation**2 / (a * deviation**2 + 1 - a) * (noised - a.sqrt() * mean)
        return D.PREDICTIONS[prediction].target(y0_hat, (noised - a.sqrt() * y0_hat) / (1 - a).sqrt(), a)

    a = ALPHABAR[T]
    exact = mean + deviation * (yT - a.sqrt() * mean) / (a * deviation**2 + 1 - a).sqrt()
    found = last(chain(denoiser(ideal, prediction), yT, steps, moves(solver), spacing=spacing))
    return (found - exact).abs().max().item()


@pytest.mark.parametrize("prediction", D.PREDICTIONS)
def test_the_solver_in_50_steps_is_closer_to_the_exact_flow_than_ddim_in_256(prediction):
    few = gaussian_error(50, "dpmpp2m", prediction=prediction)
    assert few < gaussian_error(256, "ddim", "trailing", prediction)
    assert few < gaussian_error(50, "ddim", prediction=prediction) / 4


def test_halving_the_step_halves_ddims_error_and_quarters_that_of_the_solver():
    """Orders 1 and 2, on an evenly spaced log-SNR, which 16 to 32 steps have up to the rounding to whole times."""
    solvers = ("ddim", "dpmpp2m")
    ratio = {solver: gaussian_error(16, solver) / gaussian_error(32, solver) for solver in solvers}
    assert ratio["ddim"] == pytest.approx(2, rel=0.2) and ratio["dpmpp2m"] == pytest.approx(4, rel=0.2)


def ancestral_end(yT, steps, draws):
    """Of our chain at eta = 1, given the noise of each step."""
    given = iter(draws)
    move = partial(ancestral, fresh=lambda: next(given))
    return last(chain(denoiser(uncoupled, clip=True), yT, steps, move))


@pytest.mark.parametrize("steps", [T, 64])
def test_eta_1_equals_ddpm_given_the_same_draws(steps):
    """Against the posterior mean and variance of Ho et al. 2020 (Eqs. 6, 7) with strided betas; strided, diffusers."""
    yT, draws = randn(2, 1, 4, 4), [randn(2, 1, 4, 4, seed=9 + i) for i in range(steps)]
    z = yT
    for i, (t, s) in enumerate(pairwise(range(T, -1, -T // steps))):
        a, b = ALPHABAR[t], ALPHABAR[s]
        beta = 1 - a / b
        y0 = (z - (1 - a).sqrt() * uncoupled(z, None, torch.full((2,), t))) / a.sqrt()
        y0 = y0.clamp(-1, 1)
        z = b.sqrt() * beta / (1 - a) * y0 + (1 - beta).sqrt() * (1 - b) / (1 - a) * z
        z = z + ((1 - b) / (1 - a) * beta).sqrt() * draws[i]
    found = ancestral_end(yT, steps, draws)
    assert torch.allclose(found, z, atol=1e-6)
    if steps < T:
        assert torch.allclose(found, diffusers_ddim(yT, draws, clip=True), atol=1e-6)


def test_the_published_guide_changes_what_the_guided_model_sees_and_nothing_else():
    seen = []

    def guided(noised, guide, t):
        seen.append(guide)
        return noised * 0

    frames = chains(denoiser(uncoupled, "x0"), thresholded(denoiser(guided)), *randn(2, 1, 1, 8, 8), 8)
    for (x0_hat, _), guide in zip(frames, seen, strict=False):
        assert torch.equal(guide, D.local_mean(x0_hat)) and not torch.equal(guide, x0_hat)
    assert len(seen) == 8


def test_timesteps_of_paper_and_published_code():
    for trailing in (D.timesteps(T, 256), times(ALPHABAR, 256)):
        assert list(trailing) == [*range(1024, 0, -4), 0]
    code = [t + 1 for t in range(1020, -1, -4)]  # 1020, 1016, .., 0 counted from 0
    assert list(times(ALPHABAR, 256, "leading")) == [*code, 0]
    few = D.linear_schedule(8)
    assert list(times(few, 8)) == list(times(few, 8, "leading")) == [8, 7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("alphabar", [ALPHABAR, D.cosine_schedule(T)], ids=["linear", "cosine"])
def test_log_snr_times_are_evenly_spaced_in_it(alphabar):
    found = times(alphabar, 12, "log_snr")
    assert (found[0], found[-2], found[-1], len(found)) == (T, 1, 0, 13)
    log_snr = torch.logit(alphabar)
    wanted = torch.linspace(log_snr[T], log_snr[1], 12, dtype=torch.float64)
    for t, value in zip(found[:-1], wanted, strict=True):
        nearest = 1 + (log_snr[1:] - value).abs().argmin()
        assert t == nearest or {t - 1, t + 1} & set(found)  # moved on where several fall on one time


@pytest.mark.parametrize("steps", [1, 2, 50, 300, 1000, T])
def test_log_snr_times_descend_strictly_however_many(steps):
    for alphabar in (ALPHABAR, D.cosine_schedule(T)):
        found = times(alphabar, steps, "log_snr")
        assert found[0] == T and found[-1] == 0 and len(found) == steps + 1
        assert all(t > s for t, s in pairwise(found))


@pytest.mark.parametrize("steps", [100, 0])
def test_bad_timesteps_are_refused(steps):
    with pytest.raises(ValueError, match=f"{steps} "):
        D.timesteps(T, steps)


def test_seeded_noise_of_a_row_depends_on_its_seed_alone():
    whole = D.seeded_noise(D.seeded([1, 2, 3]), (2, 4, 4))
    assert torch.equal(whole[1:2], D.seeded_noise(D.seeded([2]), (2, 4, 4)))
    assert not torch.equal(whole[0], whole[1]) and not torch.equal(whole[0, 0], whole[0, 1])
    going_on = D.seeded([1])
    first, second = (D.seeded_noise(going_on, (2, 4, 4)) for _ in "12")
    assert torch.equal(first[0], whole[0]) and not torch.equal(first, second)


# ------------------------------------------------------------------ from the estimate to a mask
def test_local_mean_is_the_published_rule():
    """Against scipy: the mean over those of the 5x5 neighbours that are inside the image."""
    x = torch.randn(3, 1, 9, 11, generator=torch.Generator().manual_seed(0)) * 2
    for image, found in zip(x[:, 0].numpy(), D.local_mean(x)[:, 0].numpy(), strict=True):
        clamped = image.clip(-1, 1)
        inside = ndimage.convolve(np.ones_like(clamped), np.ones((5, 5)), mode="constant")
        mean = ndimage.convolve(clamped, np.ones((5, 5)), mode="constant") / inside
        assert np.array_equal(found, np.where(mean > 0.75 * mean.max() + 0.25 * mean.min(), 1, -1))
    assert D.local_mean(torch.full((1, 1, 6, 6), 0.5)).eq(-1).all()  # a constant one is all background
    assert D.sign(torch.tensor([-3.0, -0.1, 0.0, 0.2])).tolist() == [-1, -1, -1, 1]
