"""What a sampler may do instead of the paper's uniform DDIM steps: other times, and other moves between them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pig.diffusion import Move, ddim, step, timesteps

Fresh = Callable[[], Tensor]  # gives noise of the shape of the state, other noise at each call


def times(alphabar: Tensor, steps: int, spacing: str = "trailing") -> Sequence[int]:
    """The `steps` descending times at which a sampler calls the network, with the 0 at which it ends.

    trailing (the paper): T, T - T/steps, ..., T/steps, 0.
    leading (the published code, whose times T - T/steps, ..., 0 count from 0): each one later, then 0.
    log_snr: from T to 1, log(alphabar / (1 - alphabar)) evenly spaced (Lu et al. 2022), then 0; where several would
        fall on one time, as they do near 0, they take the next ones.

    Raises:
        ValueError: steps do not divide T (`pig.core.params.Sampling.check` says it of log_snr too).
    """
    T = len(alphabar) - 1
    if spacing == "log_snr":
        return _even_in_log_snr(alphabar, steps)
    trailing = timesteps(T, steps)
    return trailing if spacing == "trailing" else [*(t - T // steps + 1 for t in trailing[:-1]), 0]


def _even_in_log_snr(alphabar: Tensor, steps: int) -> list[int]:
    T = len(alphabar) - 1
    log_snr = torch.logit(alphabar[1:])
    spaced = torch.linspace(log_snr[-1], log_snr[0], steps, dtype=log_snr.dtype).flip(0)
    found = [0]
    for later, wanted in enumerate(spaced, 1 - steps):
        nearest = 1 + int((log_snr - wanted).abs().argmin())
        found.append(min(max(nearest, found[-1] + 1), T + later))
    return found[::-1]


def second_order(alphabar: Tensor, first_order: Move) -> Move:
    """The moves of one chain by `first_order` with D in place of x0_hat.

    D is x0_hat extrapolated from the step before to the middle of this one, in half the log-SNR. The first step, and
    the last one, whose end is infinitely far, stay of first order. Of DDIM it makes DPM-Solver++ (2M), Lu et al. 2022
    (arXiv 2211.01095), Algorithm 2; of Eq. 7 with noise SDE-DPM-Solver++ (2M) of the same paper.
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
        return first_order(xt, D, eps, t, s)

    return move


def ancestral(alphabar: Tensor, fresh: Fresh) -> Move:
    """The moves of one chain by Eq. 7 with noise, strided or not (Song et al. 2021, Eq. 16 at eta = 1): DDPM."""

    def move(xt: Tensor, x0_hat: Tensor, eps: Tensor, t: int, s: int) -> Tensor:
        a, b = alphabar[t], alphabar[s]
        sigma = ((1 - b) / (1 - a) * (1 - a / b)).sqrt()
        return step(x0_hat, eps, b, sigma, fresh() if sigma > 0 else None)

    return move


# Of one chain: (alphabar, the noise of its steps) -> its moves.
SOLVERS: dict[str, Callable[[Tensor, Fresh], Move]] = {
    "ddim": lambda alphabar, fresh: ddim(alphabar),
    "dpmpp2m": lambda alphabar, fresh: second_order(alphabar, ddim(alphabar)),
    "dpmpp2m_sde": lambda alphabar, fresh: second_order(alphabar, ancestral(alphabar, fresh)),
}
