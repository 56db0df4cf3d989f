"""What the networks' losses draw, and how errors weigh."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor, nn

from pig.core.errors import InputError
from pig.core.params import Shared
from pig.diffusion import Denoiser, Draws, Model, Weight, image_loss, plain
from pig.models.method import Batch, schedule
from pig.models.table import Denoising, Objective
from pig.training.fit import send
from pig.training.ranks import whole

Times = Callable[[int, Tensor, Generator | None], Tensor]  # (rows, alphabar, generator) -> t (rows,)


def uniform(rows: int, alphabar: Tensor, generator: Generator | None, antithetic: bool = False) -> Tensor:
    """t ~ Uniform{1..T}, (rows,): the paper's. `antithetic` (published code): the second half is T + 1 - t."""
    T = len(alphabar) - 1
    t = torch.randint(1, T + 1, (rows,), generator=generator)
    return torch.cat([t[: (rows + 1) // 2], T + 1 - t[: rows // 2]]) if antithetic else t


def normal_log_snr(
    rows: int, alphabar: Tensor, generator: Generator | None, mean: float, width: float
) -> Tensor:
    """t (rows,) such that ln(snr) ~ N(mean, width^2), snr = alphabar / (1 - alphabar), within what t = T..1 spans.

    Each t gets the mass of its ln(snr), up to the middle between it and the next.
    """
    log_snr = torch.logit(alphabar[1:])
    edges = torch.cat([log_snr[:1], (log_snr[1:] + log_snr[:-1]) / 2, log_snr[-1:]])
    low, high = (edges[1:] - mean) / width, (edges[:-1] - mean) / width
    # A mass in the upper tail is that of its mirror image, which does not round to 0.
    low, high = torch.where(low + high > 0, -high, low), torch.where(low + high > 0, -low, high)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    share = torch.softmax(log_high + torch.log1p(-torch.exp(log_low - log_high)), 0).cumsum(0)
    drawn = torch.rand(rows, generator=generator, dtype=torch.float64)
    return 1 + torch.searchsorted(share[:-1].contiguous(), drawn, right=True)


def draw(like: Tensor, alphabar: Tensor, generator: Generator | None = None, times: Times = uniform) -> Draws:
    """t by `times`, and two independent noises of the shape and device of `like`.

    The numbers are the CPU's, so that a GPU gets the same ones. Where `like` is a rank's share of a batch, they are
    those that its rows have in the whole batch.
    """
    rows, mine = whole(generator, len(like))
    t = times(rows, alphabar, generator)
    shape = (rows, *like.shape[1:])
    eps_1, eps_2 = (torch.randn(shape, generator=generator, dtype=like.dtype) for _ in "12")
    return Draws(*(send(drawn[mine], like.device) for drawn in (t, eps_1, eps_2)))


def draw_for(like: Tensor, batch: Batch, settings: Shared, own: Objective) -> Draws:
    """`draw` as the settings say; `own` is the network's section. Raises InputError: antithetic times, of log_snr."""
    times: Times = partial(uniform, antithetic=settings.training.antithetic)
    if own.times == "log_snr":
        if settings.training.antithetic:
            raise InputError("training.antithetic: expected false where a network's times are log_snr")
        times = partial(normal_log_snr, mean=own.times_mean, width=own.times_width)
    # The schedule on the CPU, whose step does not wait for a GPU.
    return draw(like, schedule(settings.process), batch.generator, times)


# What the plain loss of each prediction weighs the error of x0 with, by the signal-to-noise ratio.
IMPLIED: dict[str, Callable[[Tensor], Tensor]] = {
    "eps": lambda snr: snr,
    "v": lambda snr: snr + 1,
    "x0": torch.ones_like,
}


def weight(own: Objective, prediction: str) -> Weight:
    """What the error of x0 weighs, between weight_least and weight_most; `plain` where the kind is none.

    snr: the signal-to-noise ratio. With `most` that is min-SNR weighting (Hang et al. 2023), with `least` = 1 truncated
        SNR weighting (Salimans & Ho 2022).
    straight: (1 + sqrt(snr))^2, the loss of the velocity on the straight path to the noise (docs/method-code.md).
    """
    if own.weight == "none":
        return plain

    def by_snr(a: Tensor, guide: Tensor | None) -> Tensor:
        snr = a / (1 - a)
        of_x0 = snr if own.weight == "snr" else (1 + snr.sqrt()).square()
        if own.weight_least is not None or own.weight_most is not None:
            of_x0 = of_x0.clamp(own.weight_least, own.weight_most)
        return of_x0 / IMPLIED[prediction](snr)

    return by_snr


def told(model: nn.Module, batch: Batch) -> Model:
    """`model`, told how the pairs of the batch were augmented."""
    return model if batch.told is None else partial(model, told=batch.told)


def loss_of_chain(
    model: nn.Module, clean: Tensor, guide: Tensor | None, batch: Batch, settings: Shared, own: Denoising
) -> Tensor:
    """`image_loss` of the network of one chain that ends at `clean`; `own` is its section."""
    denoise = Denoiser(told(model, batch), batch.alphabar, own.prediction)
    draws = draw_for(clean, batch, settings, own)
    return image_loss(denoise, clean, guide, draws, weight(own, own.prediction))


def times_sigmoid(weight: Weight) -> Weight:
    """`weight` times sigmoid(guide), unnormalised: the published code's loss of the guided model."""

    def weighted(a: Tensor, guide: Tensor | None) -> Tensor:
        assert guide is not None
        return weight(a, guide) * torch.sigmoid(guide)

    return weighted
