"""x0_hat -> mask: the two rules for telling lesion from background in an estimate of the mask."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F


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


RULES: dict[str, Callable[[Tensor], Tensor]] = {"sign": sign, "local_mean": local_mean}
