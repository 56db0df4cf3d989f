"""pig.metrics.fidelity against closed forms, scipy's matrix root and clean-fid's own numbers."""

import json

import numpy as np
import pytest
import scipy.linalg
from tiny import features_of, write

from pig.cli.main import main
from pig.core.errors import InputError
from pig.core.params import load, to_json
from pig.metrics import fidelity
from pig.metrics.fidelity import frechet_distance, kid
from pig.models.table import Params

SMOKE = load("params.yaml", Params, "smoke")
OWN, CFG = SMOKE.fidelity, to_json(SMOKE, "fidelity")


def sample(rng, n, mean, deviations):
    """n points with exactly this mean and diagonal covariance (n > how many deviations are not 0)."""
    free = np.flatnonzero(deviations)
    points = rng.standard_normal((n, len(free)))
    basis, _ = np.linalg.qr(points - points.mean(axis=0))
    out = np.tile(np.asarray(mean, float), (n, 1))
    out[:, free] += basis * np.sqrt(n - 1) * np.asarray(deviations)[free]
    return out


# --- distances ---


@pytest.mark.parametrize(("n", "m"), [(40, 60), (6, 9), (5, 50), (16, 17)])
def test_frechet_distance_of_diagonal_gaussians(rng, n, m):
    mean_a, mean_b, dev_a, dev_b = rng.uniform(0, 3, (4, 16))
    dev_a[4:], dev_b[:2], dev_b[6:] = 0, 0, 0  # so that a few points can have them
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((dev_a - dev_b) ** 2)
    a, b = sample(rng, n, mean_a, dev_a), sample(rng, m, mean_b, dev_b)
    turn, _ = np.linalg.qr(rng.standard_normal((16, 16)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero(rng):
    few, many = rng.standard_normal((5, 30)), rng.standard_normal((90, 30))
    assert frechet_distance(few, few[::-1]) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(many, many[::-1]) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(
    ("n", "m", "size", "tolerance"),
    [(100, 80, 24, 1e-8), (12, 90, 24, 1e-4), (12, 10, 24, 1e-4), (700, 600, 280, 1e-8)],
)
def test_frechet_distance_agrees_with_clean_fid(rng, monkeypatch, n, m, size, tolerance):
    import cleanfid.fid

    class Linalg:
        """scipy.linalg with the argument `disp` that clean-fid gives and new scipy lacks."""

        @staticmethod
        def sqrtm(matrix, disp=True):
            root = scipy.linalg.sqrtm(matrix)
            return root if disp else (root, 0.0)

    monkeypatch.setattr(cleanfid.fid, "linalg", Linalg)
    mix = rng.standard_normal((size, size))
    a, b = rng.standard_normal((n, size)) @ mix, rng.standard_normal((m, size)) * 2 + 0.5
    with np.errstate(all="ignore"):  # the root of a singular matrix
        expected = cleanfid.fid.fid_from_feats(a, b)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=tolerance)


def decaying(rng, n, m, power):
    """(n, m) with the singular values 1, 2^-power, 3^-power .. and the vectors of random matrices."""
    left, right = (np.linalg.qr(rng.standard_normal((k, min(n, m))))[0] for k in (n, m))
    values = np.arange(1, min(n, m) + 1.0) ** -power
    return (left * values) @ right.T, values


@pytest.mark.parametrize(("n", "m"), [(300, 300), (280, 400), (400, 280), (20, 30)])
@pytest.mark.parametrize("power", [0, 1, 2])
def test_the_nuclear_norm_is_the_sum_of_singular_values(rng, n, m, power):
    """Within the bound that decides between the two ways, and never further than both allow."""
    matrix, values = decaying(rng, n, m, power)
    bound = max(fidelity.rounding(values[::-1]), len(values) * np.finfo(float).eps * values.sum())
    assert bound <= fidelity.LOSS * values.sum()
    assert fidelity.nuclear_norm(matrix) == pytest.approx(values.sum(), abs=bound)


def test_a_norm_that_rounding_would_spoil_is_by_singular_values(rng, monkeypatch):
    used = []
    svd = np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda *given, **named: used.append(1) or svd(*given, **named))
    fidelity.nuclear_norm(decaying(rng, 300, 300, 1)[0])
    assert not used
    one = np.outer(rng.standard_normal(300), rng.standard_normal(400))  # all values but one are 0
    assert fidelity.nuclear_norm(one) == pytest.approx(np.linalg.norm(one), rel=1e-12)
    assert used
    assert fidelity.nuclear_norm(np.zeros((300, 300))) == 0


def test_too_few_slices_are_refused():
    one, two = np.zeros((1, 4)), np.zeros((2, 4))
    for refused in (
        lambda: frechet_distance(two, one),
        lambda: kid(one, two, subsets=1, subset_size=5, seed=0),
        lambda: fidelity.weights(["x", "x"], 5, np.random.default_rng(0)),
        lambda: fidelity.frechet_distance_infinity(two, two, 2, 0),
        lambda: fidelity.precision_recall(two, one, 1),
    ):
        with pytest.raises(InputError):
            refused()


def test_kid_agrees_with_clean_fid_on_the_same_draws(rng, monkeypatch):
    import cleanfid.fid

    a, b = rng.standard_normal((30, 12)), rng.standard_normal((25, 12)) + 0.3
    draws = np.random.default_rng(7)
    monkeypatch.setattr(
        cleanfid.fid.np.random, "choice", lambda n, m, replace: draws.choice(n, m, replace=replace)
    )
    expected = cleanfid.fid.kernel_distance(a, b, num_subsets=6, max_subset_size=10)
    found = kid(a, b, subsets=6, subset_size=10, seed=7)
    assert found.mean == pytest.approx(expected, rel=1e-12)
    assert found.size == 10
    assert found.deviation > 0


# --- intervals ---


def test_a_weighted_distance_is_that_of_repeated_slices(rng):
    a, b = rng.standard_normal((9, 6)), 1 + rng.standard_normal((7, 6))
    for _ in range(20):
        v, w = rng.integers(0, 4, 9), rng.integers(0, 4, 7)
        v[:2] = w[:2] = 1
        expected = frechet_distance(np.repeat(a, v, axis=0), np.repeat(b, w, axis=0))
        found = fidelity.weighted_frechet(fidelity.Gram.of(a, b), v, w)
        assert found == pytest.approx(expected, rel=1e-9)


def test_groups_are_drawn_together(rng):
    drawn = fidelity.weights(["x", "y", "x", "z", "y"], 500, rng)
    assert drawn.shape == (500, 5)
    assert (drawn[:, 0] == drawn[:, 2]).all() and (drawn[:, 1] == drawn[:, 4]).all()
    assert (drawn[:, 0] + drawn[:, 1] + drawn[:, 3] == 3).all()
    assert ((drawn > 0).sum(axis=1) >= 2).all()


def names(n, each=1):
    return [str(i // each) for i in range(n)]


def test_intervals_hold_the_estimate_and_depend_on_the_seed_alone(rng):
    a, b, of = rng.standard_normal((40, 5)), 0.3 + rng.standard_normal((50, 5)), (names(40), names(50))
    found, again, other = (fidelity.frechet_interval(a, b, *of, 100, seed) for seed in (0, 0, 1))
    assert found.low < frechet_distance(a, b) < found.high and found == again != other
    ends = fidelity.kid_interval(a, b, *of, 0.123, 100, 0)
    assert ends.low < 0.123 < ends.high
    first, again, other = (kid(a, b, subsets=3, subset_size=6, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_the_interval_is_not_moved_by_repeated_slices(rng):
    """In many dimensions every draw lies above the estimate, as FID of fewer slices would; the interval does not."""
    a, b = rng.standard_normal((40, 300)), rng.standard_normal((40, 300))
    fid, gram = frechet_distance(a, b), fidelity.Gram.of(a, b)
    drawn = fidelity.weights(names(40), 30, rng)
    assert min(fidelity.weighted_frechet(gram, *pair) for pair in zip(drawn, drawn[::-1], strict=True)) > fid
    found = fidelity.frechet_interval(a, b, names(40), names(40), 60, 0)
    assert found.low < fid < found.high


def test_weighted_kid_is_kid_of_the_slices_once_and_the_double_sum_of_drawn_ones(rng):
    """Within a set over pairs of different slices, each as often as it was drawn."""
    a, b = rng.standard_normal((6, 4)), 0.5 + rng.standard_normal((6, 4))
    once, drawn = np.ones((1, 6), int), np.array([[0, 1, 2, 1, 1, 1]])
    assert fidelity.weighted_kid(a, b, once, once) == pytest.approx([kid(a, b, 1, 6, 0).mean])

    def mean(x, y, v, w, same):
        pairs = [(i, j) for i in range(6) for j in range(6) if not (same and i == j)]
        k = fidelity.kernel(x, y)
        return sum(v[i] * w[j] * k[i, j] for i, j in pairs) / sum(v[i] * w[j] for i, j in pairs)

    v, w = drawn[0], once[0]
    expected = mean(a, a, v, v, True) + mean(b, b, w, w, True) - 2 * mean(a, b, v, w, False)
    assert fidelity.weighted_kid(a, b, drawn, once) == pytest.approx([expected])


def coverage(interval, truth, studies=150):
    """The share of simulated studies whose interval holds the truth."""
    return np.mean([low <= truth <= high for low, high in (interval(seed) for seed in range(studies))])


def test_fid_intervals_cover_what_this_n_gives_on_average():
    def study(seed):
        rng = np.random.default_rng(seed)
        return rng.standard_normal((60, 3)), 0.7 + 1.3 * rng.standard_normal((60, 3))

    truth = np.mean([frechet_distance(*study(1000 + seed)) for seed in range(600)])
    of = (names(60), names(60))
    found = coverage(lambda seed: fidelity.frechet_interval(*study(seed), *of, 100, seed), truth)
    assert 0.88 < found < 0.99  # 0.95, but for 3 standard errors of 150 studies and the bootstrap's own error


@pytest.mark.parametrize(("shift", "least", "most"), [(0.5, 0.88, 0.99), (0, 0.92, 1.01)])
def test_kid_intervals_cover_its_expectation(shift, least, most):
    """Of one distribution more often than 95 %: the statistic is degenerate there, and the bootstrap too wide."""

    def study(seed):
        rng = np.random.default_rng(seed)
        return rng.standard_normal((60, 3)), shift + rng.standard_normal((60, 3))

    def interval(seed):
        sets = study(seed)
        return fidelity.kid_interval(*sets, names(60), names(60), kid(*sets, 1, 60, 0).mean, 200, seed)

    truth = np.mean([kid(*study(1000 + seed), 1, 60, 0).mean for seed in range(400)]) if shift else 0
    assert least < coverage(interval, truth) < most


def test_slices_of_one_patient_widen_the_interval(rng):
    """Five slices of a patient that hardly differ are one observation, not five."""
    patients = rng.standard_normal((30, 4))
    a = np.repeat(patients, 5, axis=0) + 0.01 * rng.standard_normal((150, 4))
    b = 0.5 + rng.standard_normal((600, 4))  # many, so that the first set's chance is what counts
    for interval in (
        lambda of: fidelity.frechet_interval(a, b, of, names(600), 150, 0),
        lambda of: fidelity.kid_interval(a, b, of, names(600), 0.0, 150, 0),
    ):
        blind, aware = (np.diff(interval(of))[0] for of in (names(150), names(150, 5)))
        assert aware > 1.5 * blind


# --- more than one number ---


@pytest.mark.parametrize("same", [False, True])
def test_the_extrapolation_is_nearer_to_the_truth_than_fid_itself(rng, same):
    """Of one distribution it is near zero and, since it is not clipped, at times below."""
    mean, deviations = (0, np.ones(16)) if same else (rng.uniform(0, 0.3, 16), rng.uniform(0.8, 1.2, 16))
    truth = np.sum(mean**2 + np.zeros(16)) + np.sum((deviations - 1) ** 2)
    plain, found = [], []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        a, b = draw.standard_normal((400, 16)), mean + deviations * draw.standard_normal((400, 16))
        plain.append(frechet_distance(a, b))
        found.append(fidelity.frechet_distance_infinity(a, b, 10 if same else 15, seed))
    assert abs(np.mean(found) - truth) < (0.2 if same else 0.3) * abs(np.mean(plain) - truth)
    assert (min(found) < 0) == same


def test_precision_and_recall_by_a_double_loop(rng):
    real, generated = rng.standard_normal((20, 3)), 2.0 + rng.standard_normal((25, 3))

    def reach(points, k):
        return [sorted(np.linalg.norm(points - p, axis=1))[k] for p in points]

    def inside(points, centres, radii):
        near = [any(np.linalg.norm(p - c) <= r for c, r in zip(centres, radii, strict=True)) for p in points]
        return np.mean(near)

    for k in (1, 3):
        found = fidelity.precision_recall(real, generated, k)
        expected = (inside(generated, real, reach(real, k)), inside(real, generated, reach(generated, k)))
        assert found == pytest.approx(expected) and 0 < found[0] < 1
    copies = np.repeat(real[:5], 4, axis=0)  # so that every radius is 0
    assert fidelity.precision_recall(copies, copies[::4], 3) == (1, 1)


# --- the verb ---


def test_the_verb_fidelity_writes_the_scores(rng, tmp_path, capsys):
    made = {name: features_of(rng, n) for name, n in (("pig", 5), ("reference", 7), ("crops", 6))}
    ours, theirs, crops = (write(tmp_path / f"{name}.npz", content) for name, content in made.items())
    features, reference, out = made["pig"], made["reference"], tmp_path / "scores" / "pig.json"
    job = ["fidelity", "--cfg", CFG, "--features", ours, crops, "--reference", theirs, ours]
    job += ["--out", str(out), str(tmp_path / "crops.json")]
    assert main(job) == 0
    of_crops = json.loads((tmp_path / "crops.json").read_text())
    assert (of_crops["set"], of_crops["n"], of_crops["reference_n"]) == ("crops", 6, 5)
    assert main(job[:-1]) == 2
    assert "--out" in capsys.readouterr().err
    scores = json.loads(out.read_text())
    sets = features.values, reference.values
    groups = features.groups, reference.groups
    how = (OWN.bootstrap, OWN.seed)
    score = kid(*sets, OWN.kid_subsets, OWN.kid_subset_size, OWN.seed)
    fid = fidelity.frechet_interval(*sets, *groups, *how)
    ends = fidelity.kid_interval(*sets, *groups, score.mean, *how)
    precision, recall = fidelity.precision_recall(reference.values, features.values, OWN.neighbours)
    assert scores == {
        "set": "pig",
        "fid": frechet_distance(*sets),
        "fid_low": fid.low,
        "fid_high": fid.high,
        "fd_infinity": fidelity.frechet_distance_infinity(*sets, OWN.extrapolation, OWN.seed),
        "kid": score.mean,
        "kid_low": ends.low,
        "kid_high": ends.high,
        "precision": precision,
        "recall": recall,
        "kid_std": score.deviation,
        "kid_subsets": OWN.kid_subsets,
        "kid_subset_size": OWN.kid_subset_size,
        "n": 5,
        "reference_n": 7,
        "extractor": "an extractor",
        "extractor_sha256": "a" * 64,
        "source": "c" * 64,
        "reference_source": "c" * 64,
    }


def test_features_of_two_extractors_are_not_compared(rng, tmp_path, capsys):
    ours, theirs = (write(tmp_path / f"{of}.npz", features_of(rng, sha256=of * 64)) for of in "ab")
    out = tmp_path / "pig.json"
    assert main(["fidelity", "--features", ours, "--reference", theirs, "--out", str(out), "--cfg", CFG]) == 2
    assert ours in capsys.readouterr().err and not out.exists()
