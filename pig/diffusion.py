"""The paired diffusion process: Eqs. 3-10 and Algorithms 1-2 of the paper.

Symbols and shapes, told once:
    x         lesion mask                    (B, 1, H, W) in [-1, 1]
    y         image, a DBT slice             (B, 1, H, W) in [-1, 1]
    t         diffusion step of each row     (B,) int64 in 1..T, or an int: one step for all rows
    alphabar  cumulative product of 1 - beta (T + 1,) float64, alphabar[0] = 1
    a         alphabar at the step in hand, a scalar or (B, 1, 1, 1)
Every model has one calling convention, `out = model(noised, guide, t)`: the guide is None, an image of
one channel, or a latent; `out` has the shape of `noised`. A `Denoiser` knows what `out` estimates.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

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


def at(alphabar: Tensor, t: int | Tensor, like: Tensor) -> Tensor:
    """a = alphabar_t: a scalar for one step, else (B, 1, 1, 1) in the type of `like`."""
    return alphabar[t] if isinstance(t, int) else alphabar[t].to(like.dtype).view(-1, 1, 1, 1)


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
    """What a model's output means."""

    target: Callable[[Tensor, Tensor, Tensor], Tensor]  # (x0, eps, a) -> what `out` is trained on
    x0_hat: Callable[[Tensor, Tensor, Tensor], Tensor]  # (out, xt, a) -> x0_hat


PREDICTIONS = {
    "eps": Prediction(lambda x0, eps, a: eps, lambda out, xt, a: denoise(xt, out, a)),  # the paper
    "v": Prediction(  # Salimans & Ho 2022, Appendix D
        lambda x0, eps, a: a.sqrt() * eps - (1 - a).sqrt() * x0,
        lambda out, xt, a: a.sqrt() * xt - (1 - a).sqrt() * out,
    ),
    "x0": Prediction(lambda x0, eps, a: x0, lambda out, xt, a: out),
}


@dataclass(frozen=True)
class Denoiser:
    """A model, its schedule, what it predicts, and whether its estimates are clamped to [-1, 1]."""

    model: Model
    alphabar: Tensor
    prediction: str = "eps"  # eps (the paper), v or x0
    clip: bool = False

    def __call__(self, xt: Tensor, guide: Tensor | None, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """(x0_hat, eps) at step t: Eq. 6, and the noise that agrees with it."""
        a = at(self.alphabar, t, xt)
        rows = xt.new_full((len(xt),), t, dtype=torch.int64) if isinstance(t, int) else t
        out = self.model(xt, guide, rows)
        x0_hat = PREDICTIONS[self.prediction].x0_hat(out, xt, a)
        if self.clip:
            x0_hat = x0_hat.clamp(-1, 1)
        elif self.prediction == "eps":
            return x0_hat, out
        return x0_hat, (xt - a.sqrt() * x0_hat) / (1 - a).sqrt()

    def error(
        self, x0: Tensor, eps: Tensor, xt: Tensor, guide: Tensor | None, t: Tensor, a: Tensor
    ) -> Tensor:
        """Squared error of each pixel of what the model predicts, of the shape of x0."""
        return (PREDICTIONS[self.prediction].target(x0, eps, a) - self.model(xt, guide, t)).square()


# ------------------------------------------------------------------ training
class Draws(NamedTuple):
    """The random numbers of one loss: t (B,), eps_1 for the mask and eps_2 for the image, (B, C, H, W)."""

    t: Tensor
    eps_1: Tensor
    eps_2: Tensor


Weight = Callable[[Tensor, Tensor | None], Tensor | float]  # (a, guide) -> weight of each pixel's error


def plain(a: Tensor, guide: Tensor | None) -> float:
    """The paper: every error weighs the same."""
    return 1.0


def guider_loss(guider: Denoiser, x0: Tensor, y0: Tensor, draws: Draws, weight: Weight = plain) -> Tensor:
    """Algorithm 1: the guider model_x(x_t, y_t, t) learns eps_1, or what else it predicts; a scalar."""
    t, eps_1, eps_2 = draws
    a = at(guider.alphabar, t, x0)
    xt, yt = noise(x0, eps_1, a), noise(y0, eps_2, a)
    return (guider.error(x0, eps_1, xt, yt, t, a) * weight(a, yt)).mean()


def guided_loss(
    guided: Denoiser, guider: Denoiser, x0: Tensor, y0: Tensor, draws: Draws, weight: Weight = plain
) -> Tensor:
    """The guided model model_y(x0_hat, y_t, t) learns eps_2; x0_hat is the frozen guider's at the same t; a scalar."""
    t, eps_1, eps_2 = draws
    a = at(guided.alphabar, t, y0)
    xt, yt = noise(x0, eps_1, a), noise(y0, eps_2, a)
    with torch.no_grad():
        x0_hat, _ = guider(xt, yt, t)
    return (guided.error(y0, eps_2, yt, x0_hat, t, a) * weight(a, x0_hat)).mean()


def image_loss(
    model: Denoiser, y0: Tensor, guide: Tensor | None, draws: Draws, weight: Weight = plain
) -> Tensor:
    """One chain, for the rivals (Ho et al. 2020, Eq. 14); the guide is None, the true mask or its latent."""
    t, _, eps_2 = draws
    a = at(model.alphabar, t, y0)
    yt = noise(y0, eps_2, a)
    return (model.error(y0, eps_2, yt, guide, t, a) * weight(a, guide)).mean()


# ------------------------------------------------------------------ sampling
def seeded(seeds: Sequence[int]) -> list[Generator]:
    """One generator a sample: what it draws depends on its own seed alone."""
    return [Generator().manual_seed(seed) for seed in seeds]


def seeded_noise(generators: Sequence[Generator], shape: Sequence[int]) -> Tensor:
    """(len(generators), *shape) standard normal; row i depends on generator i alone, whatever the batch or shard."""
    return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in generators])


def timesteps(T: int, steps: int) -> range:
    """T, T - T/steps, ..., T/steps, and the 0 at which sampling ends. Raises ValueError unless steps divide T."""
    if steps < 1 or T % steps:
        raise ValueError(f"{steps} sampling steps: expected a divisor of T = {T}")
    return range(T, -1, -(T // steps))


# A Denoiser, at one step for all rows.
Estimate = Callable[[Tensor, Tensor | None, int], tuple[Tensor, Tensor]]
Move = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]  # (x_t, x0_hat, eps, t, s) -> x_s


def ddim(alphabar: Tensor) -> Move:
    """The moves of one chain by Eq. 7 with sigma = 0 (Song et al. 2021)."""
    return lambda xt, x0_hat, eps, t, s: step(x0_hat, eps, alphabar[s])


@torch.no_grad()
def sample_pairs(
    guider: Estimate,
    guided: Estimate,
    xT: Tensor,
    yT: Tensor,
    alphabar: Tensor,
    times: Sequence[int],
    move: Callable[[Tensor], Move] = ddim,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Algorithm 2 from xT, yT ~ N(0, 1); yields (x0_hat, y0_hat) after each step, the last being the pair."""
    xt, yt = xT, yT
    move_x, move_y = move(alphabar), move(alphabar)
    for t, s in pairwise(times):
        x0_hat, eps_x = guider(xt, yt, t)
        xt = move_x(xt, x0_hat, eps_x, t, s)
        y0_hat, eps_y = guided(yt, x0_hat, t)
        yt = move_y(yt, y0_hat, eps_y, t, s)
        yield x0_hat, y0_hat


@torch.no_grad()
def sample_images(
    model: Estimate,
    yT: Tensor,
    guide: Tensor | None,
    alphabar: Tensor,
    times: Sequence[int],
    move: Callable[[Tensor], Move] = ddim,
) -> Iterator[Tensor]:
    """One chain, for the rivals; yields y0_hat after each step, the last being the sample."""
    yt, move_y = yT, move(alphabar)
    for t, s in pairwise(times):
        y0_hat, eps = model(yt, guide, t)
        yt = move_y(yt, y0_hat, eps, t, s)
        yield y0_hat


# ------------------------------------------------------------------ from the estimate to a mask
def sign(x0_hat: Tensor) -> Tensor:
    """-1 or +1 by the sign of x0_hat, (B, 1, H, W): the nearer of the two values that a mask has."""
    return (x0_hat > 0).to(x0_hat.dtype) * 2 - 1


def local_mean(x0_hat: Tensor) -> Tensor:
    """-1 or +1, (B, 1, H, W), as the published code does it.

    Each pixel's mean over its 5x5 neighbours inside the image (x0_hat clamped to [-1, 1]) is compared with
    3/4 of that image's largest such mean plus 1/4 of its smallest. A constant estimate is all background.
    """
    mean = F.avg_pool2d(x0_hat.clamp(-1, 1), 5, stride=1, padding=2, count_include_pad=False)
    high, low = mean.amax((1, 2, 3), keepdim=True), mean.amin((1, 2, 3), keepdim=True)
    return (mean > 0.75 * high + 0.25 * low).to(x0_hat.dtype) * 2 - 1
