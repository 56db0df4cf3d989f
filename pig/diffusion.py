"""The paired diffusion process: Eqs. 3-10 and Algorithms 1-2 of the paper.

Symbols and shapes, told once:
    x         lesion mask                    (B, 1, H, W) in [-1, 1]
    y         image, a DBT slice             (B, 1, H, W) in [-1, 1]
    t         diffusion step of each row     (B,) int64 in 1..T
    alphabar  cumulative product of 1 - beta (T + 1,) float64, alphabar[0] = 1
    a         alphabar at the step in hand, a scalar or (B, 1, 1, 1)
Every model has one calling convention, `out = model(noised, guide, t)`: the guide is None, an image of
one channel, or a latent; `out` has the shape of `noised`. What `out` estimates is its `prediction`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor

Model = Callable[[Tensor, Tensor | None, Tensor], Tensor]


# ------------------------------------------------------------------ schedules and the forward process
def linear_schedule(T: int, beta_1: float = 1e-4, beta_T: float = 0.02) -> Tensor:
    """alphabar_0..alphabar_T, (T + 1,), for betas that rise linearly from beta_1 to beta_T (the paper)."""
    return _alphabar(torch.linspace(beta_1, beta_T, T, dtype=torch.float64))


def cosine_schedule(T: int, offset: float = 0.008) -> Tensor:
    """alphabar_0..alphabar_T, (T + 1,), of Nichol & Dhariwal 2021, Eq. 17; no beta exceeds 0.999."""
    f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + offset) / (1 + offset) * math.pi / 2) ** 2
    return _alphabar((1 - f[1:] / f[:-1]).clamp(max=0.999))


def _alphabar(betas: Tensor) -> Tensor:
    return torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(0)])


def noise(x0: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    """x_t of Eq. 3; also Eqs. 9 and 10, the mask's and the image's own chain."""
    return a.sqrt() * x0 + (1 - a).sqrt() * eps


def denoise(xt: Tensor, eps: Tensor, a: Tensor) -> Tensor:
    """x0_hat of Eq. 6."""
    return (xt - (1 - a).sqrt() * eps) / a.sqrt()


def step(
    x0_hat: Tensor, eps: Tensor, a: Tensor, sigma: Tensor | float = 0.0, fresh: Tensor | None = None
) -> Tensor:
    """x_{t-1} of Eq. 7, where a = alphabar_{t-1}; `fresh` is the noise that sigma scales (drawn if None)."""
    x = a.sqrt() * x0_hat + (1 - a - sigma**2).clamp(min=0).sqrt() * eps
    if sigma == 0:
        return x
    return x + sigma * (torch.randn_like(x0_hat) if fresh is None else fresh)


# ------------------------------------------------------------------ what a network predicts
class Prediction(NamedTuple):
    """A parameterisation of the denoiser, as two small functions and the weight that its plain loss implies."""

    target: Callable[[Tensor, Tensor, Tensor], Tensor]  # (x0, eps, a) -> what `out` is trained on
    x0_hat: Callable[[Tensor, Tensor, Tensor], Tensor]  # (out, xt, a) -> x0_hat
    implied: Callable[[Tensor], Tensor]  # snr -> weight of the error of x0 in an unweighted loss


PREDICTIONS = {
    "eps": Prediction(  # the paper
        target=lambda x0, eps, a: eps,
        x0_hat=lambda out, xt, a: denoise(xt, out, a),
        implied=lambda snr: snr,
    ),
    "v": Prediction(  # Salimans & Ho 2022, Appendix D
        target=lambda x0, eps, a: a.sqrt() * eps - (1 - a).sqrt() * x0,
        x0_hat=lambda out, xt, a: a.sqrt() * xt - (1 - a).sqrt() * out,
        implied=lambda snr: snr + 1,
    ),
    "x0": Prediction(
        target=lambda x0, eps, a: x0,
        x0_hat=lambda out, xt, a: out,
        implied=lambda snr: torch.ones_like(snr),
    ),
}


def estimate(
    out: Tensor, xt: Tensor, a: Tensor, prediction: str, clip: bool = False
) -> tuple[Tensor, Tensor]:
    """(x0_hat, eps) from a model's output; with `clip`, x0_hat is clamped to [-1, 1] and eps agrees with it."""
    x0_hat = PREDICTIONS[prediction].x0_hat(out, xt, a)
    if clip:
        x0_hat = x0_hat.clamp(-1, 1)
    elif prediction == "eps":
        return x0_hat, out
    return x0_hat, (xt - a.sqrt() * x0_hat) / (1 - a).sqrt()


# ------------------------------------------------------------------ training
class Draws(NamedTuple):
    """The random numbers of one loss: t (B,), eps_1 for the mask and eps_2 for the image, (B, C, H, W)."""

    t: Tensor
    eps_1: Tensor
    eps_2: Tensor


def draw(x0: Tensor, alphabar: Tensor, generator: Generator | None = None, antithetic: bool = False) -> Draws:
    """t ~ Uniform{1..T} and two independent noises of the shape and device of x0.

    With `antithetic` (the published code), the second half of the batch takes T + 1 - t of the first.
    The numbers come from `generator`'s device, so that a CPU generator gives a GPU the same ones; they are copied
    there without waiting for the GPU.
    """
    rows, T = len(x0), len(alphabar) - 1
    device = x0.device if generator is None else generator.device
    t = torch.randint(1, T + 1, (rows,), generator=generator, device=device)
    if antithetic:
        t = torch.cat([t[: (rows + 1) // 2], T + 1 - t[: rows // 2]])
    eps_1, eps_2 = (torch.randn(x0.shape, generator=generator, device=device, dtype=x0.dtype) for _ in "12")
    return Draws(*(_send(drawn, x0.device) for drawn in (t, eps_1, eps_2)))


def _send(drawn: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for it: from the CPU to a GPU by way of page-locked memory."""
    from_host = drawn.device.type == "cpu" and device.type == "cuda"
    return (drawn.pin_memory() if from_host else drawn).to(device, non_blocking=True)


def _at(alphabar: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """alphabar_t of each row, (B, 1, 1, 1), in the dtype and on the device of `like`."""
    return alphabar.to(like.device)[t].to(like.dtype).view(-1, 1, 1, 1)


def _error(
    out: Tensor,
    x0: Tensor,
    eps: Tensor,
    a: Tensor,
    prediction: str,
    min_snr: float | None,
    max_snr: float | None,
) -> Tensor:
    """Squared error of each pixel; with min_snr or max_snr, that of x0 weighs min(snr, min_snr), max(snr, max_snr).

    min_snr is gamma of min-SNR weighting (Hang et al. 2023); max_snr, 1 in truncated SNR weighting (Salimans & Ho
    2022), keeps the noisiest steps from weighing next to nothing. Both: snr between max_snr and min_snr.
    """
    kind = PREDICTIONS[prediction]
    error = (kind.target(x0, eps, a) - out).square()
    if min_snr is None and max_snr is None:
        return error
    snr = a / (1 - a)
    return error * snr.clamp(min=max_snr, max=min_snr) / kind.implied(snr)


def guider_loss(
    guider: Model,
    x0: Tensor,
    y0: Tensor,
    alphabar: Tensor,
    draws: Draws | None = None,
    *,
    prediction: str = "eps",
    min_snr: float | None = None,
    max_snr: float | None = None,
) -> Tensor:
    """Algorithm 1: the guider model_x(x_t, y_t, t) learns eps_1 (or its own `prediction`); a scalar."""
    t, eps_1, eps_2 = draws or draw(x0, alphabar)
    a = _at(alphabar, t, x0)
    xt, yt = noise(x0, eps_1, a), noise(y0, eps_2, a)
    return _error(guider(xt, yt, t), x0, eps_1, a, prediction, min_snr, max_snr).mean()


def guided_loss(
    guided: Model,
    guider: Model,
    x0: Tensor,
    y0: Tensor,
    alphabar: Tensor,
    draws: Draws | None = None,
    *,
    prediction: str = "eps",
    guider_prediction: str = "eps",
    min_snr: float | None = None,
    max_snr: float | None = None,
    clip_guide: bool = False,
    weight: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The guided model model_y(x0_hat, y_t, t) learns eps_2; x0_hat is the frozen guider's at the same t.

    The paper: a plain mean square, the guide unclamped. The published code: `weight=torch.sigmoid`, the
    error times sigmoid(x0_hat), unnormalised. `clip_guide` clamps the guide to [-1, 1] (ours).
    """
    t, eps_1, eps_2 = draws or draw(y0, alphabar)
    a = _at(alphabar, t, y0)
    xt, yt = noise(x0, eps_1, a), noise(y0, eps_2, a)
    with torch.no_grad():
        x0_hat, _ = estimate(guider(xt, yt, t), xt, a, guider_prediction, clip_guide)
    error = _error(guided(yt, x0_hat, t), y0, eps_2, a, prediction, min_snr, max_snr)
    return (error if weight is None else error * weight(x0_hat)).mean()


def image_loss(
    model: Model,
    y0: Tensor,
    guide: Tensor | None,
    alphabar: Tensor,
    draws: Draws | None = None,
    *,
    prediction: str = "eps",
    min_snr: float | None = None,
    max_snr: float | None = None,
) -> Tensor:
    """One chain, for the rivals (Ho et al. 2020, Eq. 14); the guide is None, the true mask or its latent."""
    t, _, eps_2 = draws or draw(y0, alphabar)
    a = _at(alphabar, t, y0)
    yt = noise(y0, eps_2, a)
    return _error(model(yt, guide, t), y0, eps_2, a, prediction, min_snr, max_snr).mean()


# ------------------------------------------------------------------ sampling
def seeded(seeds: Sequence[int]) -> list[Generator]:
    """One CPU generator a sample: what it draws depends on its own seed alone."""
    return [Generator().manual_seed(seed) for seed in seeds]


def seeded_noise(seeds: Sequence[int] | list[Generator], shape: Sequence[int]) -> Tensor:
    """(len(seeds), *shape) standard normal; row i depends on seeds[i] alone, whatever the batch or shard.

    Given generators instead of seeds it goes on drawing from them.
    """
    rows = [s if isinstance(s, Generator) else Generator().manual_seed(s) for s in seeds]
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in rows])


def timesteps(alphabar: Tensor, steps: int, spacing: str = "trailing") -> Sequence[int]:
    """The `steps` descending times at which a sampler calls the network, with the 0 at which it ends.

    trailing (the paper): T, T - T/steps, ..., T/steps, 0.
    leading (the published code, whose times T - T/steps, ..., 0 count from 0): each one later, then 0.
    log_snr: from T to 1, log(alphabar / (1 - alphabar)) evenly spaced (Lu et al. 2022), then 0; where several would
        fall on one time, as they do near 0, they take the next ones.

    Raises:
        ValueError: steps do not divide T (log_snr: more steps than T), or an unknown spacing.
    """
    T = len(alphabar) - 1
    if spacing == "log_snr":
        if not 1 <= steps <= T:
            raise ValueError(f"{steps} sampling steps: expected 1 to T = {T}")
        log_snr = torch.logit(alphabar[1:])
        spaced = torch.linspace(log_snr[-1], log_snr[0], steps, dtype=log_snr.dtype).flip(0)
        times = [0]
        for later, wanted in enumerate(spaced, 1 - steps):
            nearest = 1 + int((log_snr - wanted).abs().argmin())
            times.append(min(max(nearest, times[-1] + 1), T + later))
        return times[::-1]
    if steps < 1 or T % steps:
        raise ValueError(f"{steps} sampling steps: expected a divisor of T = {T}")
    if spacing == "trailing":
        return range(T, -1, -(T // steps))
    if spacing == "leading":
        return [*range(T - T // steps + 1, 0, -(T // steps)), 0]
    raise ValueError(f"spacing {spacing!r}: expected trailing, leading or log_snr")


Move = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]  # (x_t, x0_hat, eps, t, s) -> x_s


def ddim(alphabar: Tensor) -> Move:
    """The moves of one chain by Eq. 7 with sigma = 0 (Song et al. 2021)."""
    return lambda xt, x0_hat, eps, t, s: step(x0_hat, eps, alphabar[s])


def dpmpp2m(alphabar: Tensor) -> Move:
    """The moves of one chain by DPM-Solver++ (2M), Lu et al. 2022 (arXiv 2211.01095), Algorithm 2: of second order.

    That is Eq. 7 with D in place of x0_hat: x0_hat extrapolated from the step before to the middle of this one, in
    half the log-SNR. The first step, and the last one, whose end is infinitely far, are those of DDIM.
    """
    half_log_snr = torch.logit(alphabar) / 2
    before: list[tuple[int, Tensor]] = []

    def move(xt: Tensor, x0_hat: Tensor, eps: Tensor, t: int, s: int) -> Tensor:
        D = x0_hat
        if before and s > 0:
            r, previous = before.pop()
            h, h_before = half_log_snr[s] - half_log_snr[t], half_log_snr[t] - half_log_snr[r]
            D = x0_hat + h / (2 * h_before) * (x0_hat - previous)
            eps = (xt - alphabar[t].sqrt() * D) / (1 - alphabar[t]).sqrt()
        before[:] = [(t, x0_hat)]
        return step(D, eps, alphabar[s])

    return move


SOLVERS = {"ddim": ddim, "dpmpp2m": dpmpp2m}


@torch.no_grad()
def sample_pairs(
    guider: Model,
    guided: Model,
    xT: Tensor,
    yT: Tensor,
    alphabar: Tensor,
    steps: int,
    *,
    guider_prediction: str = "eps",
    guided_prediction: str = "eps",
    clip: bool = False,
    spacing: str = "trailing",
    solver: str = "ddim",
    settle: float = 1.0,
    as_guide: Callable[[Tensor], Tensor] = lambda x0_hat: x0_hat,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Algorithm 2 from xT, yT ~ N(0, 1); yields (x0_hat, y0_hat) after each step, the last being the pair.

    `as_guide` is what becomes of x0_hat before the guided model sees it: nothing in the paper, a threshold
    in the published code (`pig.models.masks.local_mean`). `clip` clamps both estimates to [-1, 1] in every step. With the
    solver of SOLVERS, ddim in the paper, the two chains take their steps side by side, from t to s. After the share
    `settle` of the steps (1 in the paper) the mask has settled: the guider rests, and x0_hat stays as it is.
    """
    xt, yt = xT, yT
    move_x, move_y = SOLVERS[solver](alphabar), SOLVERS[solver](alphabar)
    for i, (t, s) in enumerate(pairwise(timesteps(alphabar, steps, spacing))):
        t_batch = torch.full((len(xt),), t, device=xt.device)
        if i < awake(steps, settle):
            x0_hat, eps_x = estimate(guider(xt, yt, t_batch), xt, alphabar[t], guider_prediction, clip)
            xt = move_x(xt, x0_hat, eps_x, t, s)
        eps_or_v = guided(yt, as_guide(x0_hat), t_batch)
        y0_hat, eps_y = estimate(eps_or_v, yt, alphabar[t], guided_prediction, clip)
        yt = move_y(yt, y0_hat, eps_y, t, s)
        yield x0_hat, y0_hat


def awake(steps: int, settle: float) -> int:
    """Of `steps` sampling steps, in how many the guider is evaluated: the share `settle`, but once at least."""
    return max(1, round(settle * steps))


@torch.no_grad()
def sample_images(
    model: Model,
    yT: Tensor,
    guide: Tensor | None,
    alphabar: Tensor,
    steps: int,
    eta: float = 0.0,
    *,
    prediction: str = "eps",
    clip: bool = False,
    spacing: str = "trailing",
    solver: str = "ddim",
    fresh: Callable[[], Tensor] | None = None,
) -> Iterator[Tensor]:
    """One chain, for the rivals; yields y0_hat after each step, the last being the sample.

    At eta = 0 by the solver of SOLVERS; at eta = 1 DDPM, ancestral sampling with the posterior's variance, with
    steps = T or strided (Song et al. 2021, Eq. 16). `fresh` gives the noise of a step, of the shape of yT.

    Raises:
        ValueError: another solver than ddim at eta > 0.
    """
    if eta > 0 and solver != "ddim":
        raise ValueError(f"eta {eta}: expected the solver ddim; found {solver}")
    yt = yT
    move = SOLVERS[solver](alphabar)
    for t, s in pairwise(timesteps(alphabar, steps, spacing)):
        a, b = alphabar[t], alphabar[s]
        t_batch = torch.full((len(yt),), t, device=yt.device)
        y0_hat, eps = estimate(model(yt, guide, t_batch), yt, a, prediction, clip)
        if eta > 0:
            sigma = eta * ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
            yt = step(y0_hat, eps, b, sigma, fresh() if fresh and sigma > 0 else None)
        else:
            yt = move(yt, y0_hat, eps, t, s)
        yield y0_hat
