"""Train guider and guided model on arrays of one's own (Algorithm 1), and sample (Algorithm 2)."""

import torch

import pig
from pig.diffusion import draw, guided_loss, guider_loss, linear_schedule
from pig.models.unet import Concatenated, UNet
from pig.training.fit import Recipe, fit

x0 = torch.where(torch.rand(32, 1, 1, 1) < 0.5, -1.0, 1.0).expand(-1, 1, 16, 16)  # masks, -1 or 1
y0 = x0 / 2  # images in [-1, 1], (N, 1, H, W)
alphabar = linear_schedule(1024)
torch.manual_seed(0)
guider, guided = (Concatenated(UNet(2, width=8, multipliers=[1, 2], blocks=1, groups=4)) for _ in "xy")


def mask_loss(model, rows, generator):
    return guider_loss(model, x0[rows], y0[rows], alphabar, draw(x0[rows], alphabar, generator))


def image_loss(model, rows, generator):
    return guided_loss(model, guider, x0[rows], y0[rows], alphabar, draw(x0[rows], alphabar, generator))


for model, loss in ((guider, mask_loss), (guided, image_loss)):
    for progress in fit(model, loss, len(x0), Recipe(steps=20, batch=8, learning_rate=0.002)):
        print(progress.step, progress.loss)
start = torch.randn(2, 4, 1, 16, 16)
*_, (masks, images) = pig.sample_pairs(guider.eval(), guided.eval(), *start, alphabar, steps=16)
