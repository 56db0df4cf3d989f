"""Algorithm 2 with any two callables: here the denoisers of pixels that are normally distributed, in closed form."""

import torch

import pig
from pig.diffusion import linear_schedule

alphabar = linear_schedule(1024)


def noise_in(noised, mean, deviation, t):
    """What the best network would predict if clean pixels were N(mean, deviation^2)."""
    a = alphabar[t].float().view(-1, 1, 1, 1)
    return (1 - a).sqrt() * (noised - a.sqrt() * mean) / (a * deviation**2 + 1 - a)


def guider(xt, yt, t):  # masks: 0.5 on average
    return noise_in(xt, 0.5, 0.2, t)


def guided(yt, x0_hat, t):  # images: minus their mask, and a little of their own
    return noise_in(yt, -x0_hat, 0.1, t)


start = torch.randn(2, 8, 1, 32, 32, generator=torch.Generator().manual_seed(0))
*_, (x0, y0) = pig.sample_pairs(guider, guided, *start, alphabar, steps=256)  # estimates after each step
print(x0.mean(), x0.std(), y0.mean(), (x0 + y0).std())
