"""How the published code computes, said again straight down: what the speed of `pig` is measured against.

Written from these facts of it, on our network of the same numbers:
single precision throughout; contiguous tensors (NCHW); T and T + 1 - t in one batch; Adam at 2e-4, not fused; the loss
read by the host in each step; the frozen guider inside the step of the guided model, whose error is weighted by
sigmoid(x0_hat); sampling by DDIM with both networks in each step, a copy to the host each step, and every x0_hat,
y0_hat, x_t and y_t of all steps kept there.
Shapes as in pig/diffusion.py. `x`, `y` of the training steps are a batch in host memory, as a loader gives it.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

T = 1024


def alphabar() -> Tensor:
    """(T + 1,), alphabar[0] = 1, in single precision."""
    return torch.cat([torch.ones(1), (1 - torch.linspace(1e-4, 0.02, T)).cumprod(0)])


def adam(model: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=2e-4, fused=False)


def _noised(x: Tensor, y: Tensor, abar: Tensor) -> tuple[Tensor, ...]:
    """t, sqrt and noise of a batch on the device of `abar`: t, a, xt, yt, eps_1, eps_2."""
    x, y = x.to(abar.device), y.to(abar.device)
    t = torch.randint(1, T + 1, ((len(x) + 1) // 2,), device=x.device)
    t = torch.cat([t, T + 1 - t])[: len(x)]
    a = abar[t].view(-1, 1, 1, 1)
    eps_1, eps_2 = torch.randn_like(x), torch.randn_like(y)
    xt = a.sqrt() * x + (1 - a).sqrt() * eps_1
    yt = a.sqrt() * y + (1 - a).sqrt() * eps_2
    return t, a, xt, yt, eps_1, eps_2


def guider_step(guider: nn.Module, optimizer: torch.optim.Adam, x: Tensor, y: Tensor, abar: Tensor) -> float:
    """One training step of the guider; its loss."""
    t, _, xt, yt, eps_1, _ = _noised(x, y, abar)
    loss = (eps_1 - guider(xt, yt, t)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def guided_step(
    guided: nn.Module, guider: nn.Module, optimizer: torch.optim.Adam, x: Tensor, y: Tensor, abar: Tensor
) -> float:
    """One training step of the guided model, its guide made by the frozen guider; its loss."""
    t, a, xt, yt, _, eps_2 = _noised(x, y, abar)
    with torch.no_grad():
        x0_hat = (xt - (1 - a).sqrt() * guider(xt, yt, t)) / a.sqrt()
    loss = ((eps_2 - guided(yt, x0_hat, t)).square() * torch.sigmoid(x0_hat)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def sample(
    guider: nn.Module, guided: nn.Module, xT: Tensor, yT: Tensor, abar: Tensor, times: range
) -> tuple[list[Tensor], ...]:
    """DDIM over the descending `times`, which end with 0: all x0_hat, y0_hat, x_t, y_t, in host memory."""
    xs, ys, x0_hats, y0_hats = [xT.cpu()], [yT.cpu()], [], []
    for t, s in pairwise(times):
        xt, yt = xs[-1].to(abar.device), ys[-1].to(abar.device)
        t_batch = torch.full((len(xt),), t, device=xt.device)
        a, b = abar[t], abar[s]
        eps_x = guider(xt, yt, t_batch)
        x0_hat = (xt - (1 - a).sqrt() * eps_x) / a.sqrt()
        eps_y = guided(yt, x0_hat, t_batch)
        y0_hat = (yt - (1 - a).sqrt() * eps_y) / a.sqrt()
        x0_hats.append(x0_hat.cpu())
        y0_hats.append(y0_hat.cpu())
        xs.append((b.sqrt() * x0_hat + (1 - b).sqrt() * eps_x).cpu())
        ys.append((b.sqrt() * y0_hat + (1 - b).sqrt() * eps_y).cpu())
    return x0_hats, y0_hats, xs, ys
