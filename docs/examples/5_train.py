"""Train guider and guided model on arrays of one's own (Algorithm 1), and sample (Algorithm 2)."""

import torch

from pig.diffusion import Denoiser, guided_loss, guider_loss, linear_schedule, sample_pairs, timesteps
from pig.models.losses import draw
from pig.models.unet import Concatenated, UNet
from pig.training.fit import Recipe, fit

x0 = torch.where(torch.rand(32, 1, 1, 1) < 0.5, -1.0, 1.0).expand(-1, 1, 16, 16)  # masks, -1 or 1
y0 = x0 / 2  # images in [-1, 1], (N, 1, H, W)
T, alphabar = 1024, linear_schedule(1024)
torch.manual_seed(0)
nets = [Concatenated(UNet(2, width=8, multipliers=[1, 2], blocks=1, groups=4)) for _ in "xy"]
guider, guided = (Denoiser(net, alphabar) for net in nets)


def mask_loss(net, rows, generator):
    return guider_loss(Denoiser(net, alphabar), x0[rows], y0[rows], draw(x0[rows], alphabar, generator))


def image_loss(net, rows, generator):
    return guided_loss(
        Denoiser(net, alphabar), guider, x0[rows], y0[rows], draw(x0[rows], alphabar, generator)
    )


for net, loss in zip(nets, (mask_loss, image_loss), strict=True):
    for progress in fit(net, loss, len(x0), Recipe(steps=20, batch=8, learning_rate=0.002)):
        print(progress.step, progress.loss)
    net.eval()
start = torch.randn(2, 4, 1, 16, 16)
*_, (masks, images) = sample_pairs(guider, guided, *start, alphabar, timesteps(T, 16))
