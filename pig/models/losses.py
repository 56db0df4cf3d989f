"""What the networks' losses draw, and how errors weigh."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from pig.core.params import Shared
from pig.diffusion import Denoiser, Draws, Model, Weight, image_loss, plain
from pig.models.method import Batch
from pig.models.table import Denoising, Weighted
from pig.training.fit import send
from pig.training.ranks import whole


def draw(like: Tensor, T: int, generator: Generator | None = None, antithetic: bool = False) -> Draws:
    """t ~ Uniform{1..T} and two independent noises of the shape and device of `like`.

    With `antithetic` (the published code), the second half of the batch takes T + 1 - t of the first. The numbers are
    the CPU's, so that a GPU gets the same ones. Where `like` is a rank's share of a batch, they are those that its rows
    have in the whole batch.
    """
    rows, mine = whole(generator, len(like))
    t = torch.randint(1, T + 1, (rows,), generator=generator)
    if antithetic:
        t = torch.cat([t[: (rows + 1) // 2], T + 1 - t[: rows // 2]])
    shape = (rows, *like.shape[1:])
    eps_1, eps_2 = (torch.randn(shape, generator=generator, dtype=like.dtype) for _ in "12")
    return Draws(*(send(drawn[mine], like.device) for drawn in (t, eps_1, eps_2)))


def draw_for(like: Tensor, batch: Batch, settings: Shared) -> Draws:
    """`draw` as the settings say."""
    return draw(like, settings.process.T, batch.generator, settings.training.antithetic)


# What the plain loss of each prediction weighs the error of x0 with, by the signal-to-noise ratio.
IMPLIED: dict[str, Callable[[Tensor], Tensor]] = {
    "eps": lambda snr: snr,
    "v": lambda snr: snr + 1,
    "x0": torch.ones_like,
}


def weight(own: Weighted, prediction: str) -> Weight:
    """With min_snr or max_snr the error of x0 weighs min(snr, min_snr), max(snr, max_snr); without them `plain`.

    min_snr is gamma of min-SNR weighting (Hang et al. 2023); max_snr, 1 in truncated SNR weighting (Salimans & Ho
    2022), keeps the noisiest steps from weighing next to nothing. Both: snr between max_snr and min_snr.
    """
    if own.min_snr is None and own.max_snr is None:
        return plain

    def by_snr(a: Tensor, guide: Tensor | None) -> Tensor:
        snr = a / (1 - a)
        return snr.clamp(min=own.max_snr, max=own.min_snr) / IMPLIED[prediction](snr)

    return by_snr


def loss_of_chain(
    model: Model, clean: Tensor, guide: Tensor | None, batch: Batch, settings: Shared, own: Denoising
) -> Tensor:
    """`image_loss` of the network of one chain that ends at `clean`; `own` is its section."""
    denoise, draws = Denoiser(model, batch.alphabar, own.prediction), draw_for(clean, batch, settings)
    return image_loss(denoise, clean, guide, draws, weight(own, own.prediction))


def times_sigmoid(weight: Weight) -> Weight:
    """`weight` times sigmoid(guide), unnormalised: the published code's loss of the guided model."""

    def weighted(a: Tensor, guide: Tensor | None) -> Tensor:
        assert guide is not None
        return weight(a, guide) * torch.sigmoid(guide)

    return weighted
