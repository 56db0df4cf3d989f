"""Algorithm 2 with any two callables: here the denoisers of pixels that are normally distributed, in closed form."""

import torch

import pig
from pig.diffusion import linear_schedule, timesteps

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
guider_x, guided_y = pig.Denoiser(guider, alphabar), pig.Denoiser(guided, alphabar)
*_, (x0, y0) = pig.sample_pairs(guider_x, guided_y, *start, alphabar, timesteps(1024, 256))
print(x0.mean(), x0.std(), y0.mean(), (x0 + y0).std())
