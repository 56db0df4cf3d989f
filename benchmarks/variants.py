"""What recipes.py tries and pig lacks: spoilt guides, a guider that sees its last estimate, autoguidance."""

import copy

import torch
from torch import Tensor, nn

from pig.core.params import Built
from pig.models.method import unet


class Spoilt(nn.Module):
    """A frozen guider whose estimate is noised or dropped, so that the guided model trusts it less.

    noise: standard deviation of what is added to the estimate; drop: chance that a pair has no guide (an empty mask).
    """

    def __init__(self, model: nn.Module, noise: float = 0.0, drop: float = 0.0) -> None:
        super().__init__()
        self.model, self.noise, self.drop = model, noise, drop

    def forward(self, noised: Tensor, guide: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        out = self.model(noised, guide, t, told)
        out = out + self.noise * torch.randn_like(out)
        dropped = torch.rand(len(out), 1, 1, 1, device=out.device) < self.drop
        return torch.where(dropped, -torch.ones_like(out), out)


class SelfConditioned(nn.Module):
    """A guider of x0 with a third channel, its own last estimate (Chen et al. 2023, analog bits).

    In training half of the batches see the estimate that it makes of the same x_t without one, without a gradient; in
    sampling all see that of the step before, the first none. A later t than the last one starts a new chain.
    """

    def __init__(self, built: Built) -> None:
        super().__init__()
        self.net = unet(built, 3)
        self.last: tuple[int, Tensor] | None = None

    def forward(self, noised: Tensor, guide: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        none = torch.zeros_like(noised)

        def estimate(before: Tensor) -> Tensor:
            return self.net(torch.cat([noised, guide, before], 1), t, told)

        if self.training:
            if torch.rand(()) < 0.5:
                with torch.no_grad():
                    none = estimate(none).detach()
            return estimate(none)
        steps = set(t.tolist())
        if len(steps) > 1:  # a loss, not a sampler: as one who has just begun
            with torch.no_grad():
                return estimate(estimate(none))
        step = steps.pop()
        fresh = self.last is None or step >= self.last[0] or len(self.last[1]) != len(noised)
        out = estimate(none if fresh or self.last is None else self.last[1])
        self.last = (step, out.clone())
        return out


class Autoguided(nn.Module):
    """`model` led away from a worse one of its kind (Karras et al. 2024): worse + strength * (model - worse)."""

    def __init__(self, model: nn.Module, worse: nn.Module, strength: float) -> None:
        super().__init__()
        self.model, self.worse, self.strength = model, copy.deepcopy(worse), strength

    def forward(self, noised: Tensor, guide: Tensor, t: Tensor, told: Tensor | None = None) -> Tensor:
        worse = self.worse(noised, guide, t)
        return worse + self.strength * (self.model(noised, guide, t) - worse)
