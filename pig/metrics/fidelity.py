"""How close two sets of slices are: features -> statistics -> distance, with intervals.

FID (Heusel et al., NeurIPS 2017), its extrapolation to infinite n (Chong & Forsyth, CVPR 2020), KID (Binkowski et al.,
ICLR 2018), and improved precision and recall (Kynkaanniemi et al., NeurIPS 2019). Intervals are by bootstrap over
groups: slices of one patient are drawn together.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pig.core.errors import InputError

Features: TypeAlias = NDArray[np.floating]  # (n, d)
Doubles: TypeAlias = NDArray[np.float64]

SMALL = 256  # rows up to which a singular value decomposition takes milliseconds
LEVEL = 0.95  # of the intervals
LOSS = 1e-5  # of a trace, at most: FID is told to a hundredth; seen with features of 2,048 slices: 1e-10


# --- statistics ---


class Gaussian(NamedTuple):
    """Mean and covariance C of features of d dimensions; C as a factor A, A^T A = C."""

    mean: Doubles  # (d,)
    factor: Doubles  # (min(n, d), d)


def statistics(features: Features) -> Gaussian:
    """(n, d) features, n >= 2 -> their mean and unbiased covariance."""
    n, d = features.shape
    if n < 2:
        raise InputError(f"a set of {n} has no covariance; expected at least 2 slices")
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    factor = (values - mean) / math.sqrt(n - 1)
    return Gaussian(mean, factor if n <= d else np.asarray(np.linalg.qr(factor, mode="r")))


# --- distances ---


def frechet_distance(features_a: Features, features_b: Features) -> float:
    """FID: the squared 2-Wasserstein distance of the Gaussians that fit features (n, d) and (m, d).

    |mean_a - mean_b|^2 + Tr A + Tr B - 2 Tr sqrt(A B), for covariances A and B (Heusel et al., Eq. 6). With
    factors F^T F = A and G^T G = B, Tr sqrt(A B) is the sum of the singular values of F G^T: with no square root
    of a singular matrix, and small for few samples.
    """
    a, b = statistics(features_a), statistics(features_b)
    cross = nuclear_norm(a.factor @ b.factor.T)
    spread = np.sum(a.factor**2) + np.sum(b.factor**2) - 2 * cross
    return max(float(np.sum((a.mean - b.mean) ** 2) + spread), 0.0)  # below 0 by rounding alone


def nuclear_norm(matrix: Doubles) -> float:
    """Sum of the singular values of (n, m), whose squares are the eigenvalues of the smaller Gram matrix.

    From 2,048 x 2,048 those come in a third of the time of a singular value decomposition, which is still used
    where it takes milliseconds, and where rounding could move the sum by more than LOSS of it: a value far below the
    largest has few or no digits left in its square.
    """
    wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    if len(wide) > SMALL:
        squares = np.maximum(np.linalg.eigvalsh(wide @ wide.T), 0.0)
        values = np.sqrt(squares)
        if rounding(values) <= LOSS * values.sum():
            return float(values.sum())
    return float(np.linalg.svd(wide, compute_uv=False).sum())


def rounding(values: Doubles) -> float:
    """How far off the sum of (n,) roots of eigenvalues, in ascending order, may be by rounding.

    An eigenvalue is off by e = sqrt(n) u times the largest at most (Weyl; Higham & Mary, SISC 2019, for the root of
    n: rounding errors are independent), and so a root s by e / max(s, sqrt(e)).
    """
    off = math.sqrt(len(values)) * np.finfo(np.float64).eps * values[-1] ** 2
    return float(np.sum(off / np.maximum(values, math.sqrt(off)))) if off > 0 else 0.0


class Kid(NamedTuple):
    """KID over random subsets."""

    mean: float
    deviation: float  # standard deviation over the subsets
    size: int  # samples a subset


def kid(features_a: Features, features_b: Features, subsets: int, subset_size: int, seed: int) -> Kid:
    """KID: the unbiased squared maximum mean discrepancy under (x.y / d + 1)^3, averaged over subsets.

    A subset draws `subset_size` samples of each set without replacement, or as many as the smaller set has.
    """
    a, b = features_a.astype(np.float64), features_b.astype(np.float64)
    size = min(len(a), len(b), subset_size)
    if size < 2:
        raise InputError(f"KID of sets of {len(a)} and {len(b)} slices; expected at least 2 each")
    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(subsets):
        j = rng.choice(len(b), size, replace=False)
        i = rng.choice(len(a), size, replace=False)
        scores.append(discrepancy(aa[np.ix_(i, i)], bb[np.ix_(j, j)], ab[np.ix_(i, j)]))
    return Kid(float(np.mean(scores)), float(np.std(scores)), size)


def kernel(x: Doubles, y: Doubles) -> Doubles:
    """(n, d), (m, d) -> (n, m): the polynomial kernel of Binkowski et al., (x.y / d + 1)^3."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def discrepancy(aa: Doubles, bb: Doubles, ab: Doubles) -> float:
    """Unbiased squared MMD (Gretton et al., 2012, Eq. 3) from the kernels, each (n, n), of a and a, .."""
    n = len(aa)
    within = (aa.sum() - np.trace(aa) + bb.sum() - np.trace(bb)) / (n * (n - 1))
    return float(within - 2 * ab.sum() / n**2)


# --- intervals ---


class Interval(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


def weights(groups: Sequence[str], draws: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each slice is in each bootstrap sample of groups, (draws, n); a sample of one group is drawn again.

    Raises:
        InputError: fewer than 2 groups.
    """
    _, of = np.unique(np.asarray(groups, str), return_inverse=True)
    number = int(of.max()) + 1
    if number < 2:
        raise InputError(f"intervals: expected slices of 2 or more patients; found those of {number}")
    even = np.full(number, 1 / number)
    counts = rng.multinomial(number, even, draws)
    while len(alone := np.flatnonzero((counts > 0).sum(axis=1) < 2)):
        counts[alone] = rng.multinomial(number, even, len(alone))
    return counts[:, of]


def frechet_interval(
    a: Features, b: Features, groups_a: Sequence[str], groups_b: Sequence[str], draws: int, seed: int
) -> Interval:
    """Of FID, by bootstrap over the groups of both sets, moved to the estimate.

    Drawing with replacement repeats slices and so raises FID, as a smaller n would: the draws tell the spread, and
    their mean is put where the estimate is. Features (n, d) and (m, d), a group a slice; never below 0. It holds the
    mean FID at these n and m, not FID at infinite n. It is conservative (too wide) when both sets share a
    distribution, as the floor's do.

    Raises:
        InputError: a set of fewer than 2 groups.
    """
    rng = np.random.default_rng(seed)
    drawn = (weights(groups, draws, rng) for groups in (groups_a, groups_b))
    gram = Gram.of(a, b)
    values = [weighted_frechet(gram, v, w) for v, w in zip(*drawn, strict=True)]
    found = _recentred(np.array(values), frechet_distance(a, b))
    return Interval(max(found.low, 0.0), max(found.high, 0.0))


class Gram(NamedTuple):
    """Inner products of two sets of features, around their common mean: all that FID depends on."""

    aa: Doubles  # (n, n)
    bb: Doubles  # (m, m)
    ab: Doubles  # (n, m)

    @classmethod
    def of(cls, features_a: Features, features_b: Features) -> "Gram":
        a, b = features_a.astype(np.float64), features_b.astype(np.float64)
        middle = np.concatenate([a, b]).mean(axis=0)  # for precision; no distance depends on it
        a, b = a - middle, b - middle
        return cls(a @ a.T, b @ b.T, a @ b.T)


def weighted_frechet(gram: Gram, a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """`frechet_distance` of sets in which slice i is there a[i] times, (n,), and b[j] times, (m,).

    A repeated row of a factor has the singular values of one row times the root of its number, so the cost is that
    of the slices which were drawn, and no dimension of the features is touched.
    """
    i, j = np.flatnonzero(a), np.flatnonzero(b)
    v, w = a[i].astype(float), b[j].astype(float)
    n, m = v.sum(), w.sum()
    aa, bb, ab = gram.aa[np.ix_(i, i)], gram.bb[np.ix_(j, j)], gram.ab[np.ix_(i, j)]
    norm_a, norm_b, both = v @ aa @ v / n**2, w @ bb @ w / m**2, v @ ab @ w / (n * m)
    trace_a = (v @ np.diag(aa) - n * norm_a) / (n - 1)
    trace_b = (w @ np.diag(bb) - m * norm_b) / (m - 1)
    centred = ab - (v @ ab / n)[None, :] - (ab @ w / m)[:, None] + both
    cross = np.sqrt(v)[:, None] * centred * np.sqrt(w)[None, :] / math.sqrt((n - 1) * (m - 1))
    singular = nuclear_norm(cross)
    return max(float(norm_a + norm_b - 2 * both + trace_a + trace_b - 2 * singular), 0.0)


def kid_interval(
    a: Features,
    b: Features,
    groups_a: Sequence[str],
    groups_b: Sequence[str],
    estimate: float,
    draws: int,
    seed: int,
) -> Interval:
    """Of KID, by bootstrap over the groups of both sets, moved to `estimate`.

    A slice is never paired with itself, nor with its own copies in a draw. Too wide for sets of one distribution,
    as that of FID: there the statistic is degenerate, which a bootstrap cannot follow.

    Raises:
        InputError: a set of fewer than 2 groups.
    """
    rng = np.random.default_rng(seed)
    v, w = (weights(groups, draws, rng) for groups in (groups_a, groups_b))
    return _recentred(weighted_kid(a, b, v, w), estimate)


def weighted_kid(
    features_a: Features, features_b: Features, a: NDArray[np.int64], b: NDArray[np.int64]
) -> Doubles:
    """(draws,): KID of sets in which slice i is there a[:, i] times, (draws, n), and j b[:, j] times, (draws, m)."""
    x, y = features_a.astype(np.float64), features_b.astype(np.float64)
    v, w = a.astype(float), b.astype(float)
    values = _within(v, kernel(x, x)) + _within(w, kernel(y, y))
    between = np.einsum("di,di->d", v @ kernel(x, y), w) / (v.sum(axis=1) * w.sum(axis=1))
    return values - 2 * between


def _within(weight: Doubles, of: Doubles) -> Doubles:
    """(draws,): the mean of a kernel (n, n) over pairs of different slices, weighted by (draws, n)."""
    pairs = np.einsum("di,di->d", weight @ of, weight) - weight**2 @ np.diag(of)
    return pairs / (weight.sum(axis=1) ** 2 - (weight**2).sum(axis=1))


def _recentred(values: Doubles, estimate: float) -> Interval:
    ends = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - values.mean() + estimate
    return Interval(*map(float, ends))


# --- more than one number


def frechet_distance_infinity(features_a: Features, features_b: Features, sizes: int, seed: int) -> float:
    """FD_infinity (Chong & Forsyth, CVPR 2020, arXiv 1911.07023): a line through FID at several n, read at 1 / n = 0.

    `sizes` sample sizes, evenly from half of both sets to all of them, drawn without replacement. Theirs are 15 from
    5,000 to 50,000; of few slices a tenth lies where FID is no longer linear in 1 / n. It is so only where n is well
    above the number of features: for hundreds of slices much of the bias stays, and the number is an indication.
    It may be below 0, and is left so: at 0 it would be biased again.

    Raises:
        InputError: fewer than 4 slices.
    """
    if (least := min(len(features_a), len(features_b))) < 4:
        raise InputError(f"FD_infinity: expected 4 or more slices; found {least}")
    rng = np.random.default_rng(seed)
    gram = Gram.of(features_a, features_b)
    inverse, values = [], []
    for share in np.linspace(0.5, 1, sizes):
        chosen = []
        for n in (len(features_a), len(features_b)):
            number = round(share * n)
            weight = np.zeros(n, np.int64)
            weight[rng.choice(n, number, replace=False)] = 1
            chosen.append(weight)
        inverse.append(1 / share)  # both sets shrink alike, so 1 / n is this times a constant
        values.append(weighted_frechet(gram, *chosen))
    _, intercept = np.polyfit(inverse, values, 1)
    return float(intercept)


def precision_recall(real: Features, generated: Features, neighbours: int) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al., NeurIPS 2019).

    Precision: the share of generated slices in the ball around some real one that reaches to its k-th nearest other
    real one; recall: the reverse.

    Raises:
        InputError: a set of no more than `neighbours` slices.
    """
    if min(len(real), len(generated)) <= neighbours:
        found = f"{len(real)} and {len(generated)}"
        raise InputError(
            f"fidelity.neighbours: {neighbours}; expected more slices in both sets; found {found}"
        )
    n = len(real)
    squares = _squares(np.concatenate([real, generated]).astype(np.float64))
    balls = [  # the 0th is the slice itself
        np.sort(part, axis=1)[:, neighbours] for part in (squares[:n, :n], squares[n:, n:])
    ]
    between = squares[:n, n:]
    precision = (between <= balls[0][:, None]).any(axis=0).mean()
    recall = (between <= balls[1][None, :]).any(axis=1).mean()
    return float(precision), float(recall)


def _squares(x: Doubles) -> Doubles:
    """(n, d) -> squared distances (n, n); exactly 0 between equal rows, so that a copy is in a ball of radius 0."""
    _, first, of = np.unique(x, axis=0, return_index=True, return_inverse=True)
    rows = x[first] - x.mean(axis=0)
    norms = (rows * rows).sum(axis=1)
    found = np.maximum(norms[:, None] + norms[None, :] - 2 * rows @ rows.T, 0)
    np.fill_diagonal(found, 0)
    return found[np.ix_(of.ravel(), of.ravel())]
