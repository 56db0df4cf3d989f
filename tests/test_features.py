"""pig.metrics.features against clean-fid's pipeline, crops by hand, and what is refused."""

import hashlib
import io
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny import features_of, pairs_of, write

from pig.cli.main import main
from pig.cli.verbs.features import Folder
from pig.core.errors import InputError
from pig.core.params import load, to_json
from pig.data.archive import read_archive
from pig.metrics import features
from pig.metrics.features import Extractor, Features
from pig.models.table import Params

CFG = to_json(load("params.yaml", Params, "smoke"), "fidelity")


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
    rows = dict(features.features(images, extractor, batch, store))
    return np.stack([rows[i] for i in range(len(images))])


def test_features_come_in_batches_of_one_size_and_are_computed_once(rng):
    stub, images, store = Counting(), slices(rng), {}
    first = collect(images[:3], stub.extractor(), 2, store)
    assert stub.batches == [2, 2]
    np.testing.assert_allclose(first[:, 0], [features.prepare(i).mean() for i in images[:3]], rtol=1e-5)
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
    keys = {features.key_of(i, e) for i in (image, changed, image.reshape(10, 12)) for e in extractors}
    assert len(keys) == 6
    strided = np.repeat(image, 2, axis=1)[:, ::2]
    assert features.key_of(strided, extractors[0]) == features.key_of(image, extractors[0])


def test_choose_takes_each_row_at_most_once():
    rows = range(10, 60)
    taken = features.choose(rows, 20, seed=3)
    assert taken == sorted(set(taken))
    assert len(taken) == 20
    assert set(taken) < set(rows)
    assert taken == features.choose(reversed(rows), 20, seed=3) != features.choose(rows, 20, seed=4)
    assert features.choose(rows, 99, seed=3) == list(rows)


# --- InceptionV3 itself: few images, it is slow ---


@pytest.fixture(scope="module")
def inception():
    return features.inception(features.find_weights(None, {}), torch.device("cpu"))


def test_features_agree_with_clean_fids_pipeline(rng, tmp_path, inception):
    import cleanfid.fid

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
    given, variable, first, second = (tmp_path / name for name in ("given", "variable", "first", "second"))
    for path in (given, variable, second):
        path.touch()
    environment = {"PIG_INCEPTION": str(variable)}
    assert features.find_weights(str(given), environment, [second]) == given
    assert features.find_weights(None, environment, [second]) == variable
    assert features.find_weights(None, {}, [first, second]) == second
    first.touch()
    assert features.find_weights(None, {}, [first, second]) == first
    assert [place.name for place in features.default_places()] == ["inception-2015-12-05.pt", "default_1.pt"]
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    assert [place.name for place in features.default_places()] == ["inception-2015-12-05.pt"]


@pytest.mark.parametrize(
    ("given", "environment", "named"),
    [(None, {}, "PIG_INCEPTION"), ("none", {}, "none: "), (None, {"PIG_INCEPTION": "none"}, "PIG_.* none: ")],
)
def test_missing_weights_are_named(given, environment, named):
    with pytest.raises(InputError, match=named):
        features.find_weights(given, environment, [])


def test_weights_of_another_content_are_refused(tmp_path):
    path = tmp_path / "inception-2015-12-05.pt"
    path.write_bytes(features.find_weights(None, {}).read_bytes()[:1000])
    with pytest.raises(InputError, match=str(path)):
        features.inception(path, torch.device("cpu"))


# --- files and verbs ---


def test_features_files_are_read_back_and_reproducible(rng, tmp_path):
    given = features_of(rng)
    write(tmp_path / "a.npz", given)
    write(tmp_path / "b.npz", given)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = features.read_features(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.values, given.values)
    assert vars(found) | {"values": 0} == vars(given) | {"values": 0}


def test_files_that_hold_no_features_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    no_features = [b"", b"text", b"PK\x03\x04", b"\x93NUMPY"]
    for save, given in ((np.savez, {"values": np.zeros((2, 3))}), (np.save, {"arr": np.zeros(3)})):
        file = io.BytesIO()
        save(file, **given)
        no_features.append(file.getvalue())
    for content in no_features:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"x\.npz"):
            features.read_features(path)
    write(path, Features(np.zeros((3, 2048), np.float32), ["a"], ["a"], "", "", ""))
    with pytest.raises(InputError, match=r"x\.npz: .*1 ids"):
        features.read_features(path)


@pytest.fixture
def archive(rng, tmp_path, monkeypatch):
    """pairs.zip of 8 slices of 4 patients, split.csv, and a cheap extractor in the place of InceptionV3."""
    names, patients = ([f"{letter}{i // n}" for i in range(8)] for letter, n in (("s", 1), ("p", 2)))
    images, masks = slices(rng, 8, 40, 44), np.zeros((8, 40, 44), bool)
    for i in range(8):
        masks[i, 5 + i : 15 + i, 30 - 3 * i : 33] = i != 3  # the fourth has no lesion
    for name, of, drawn in (("pairs", patients, masks), ("made", "", masks), ("plain", patients, None)):
        write(tmp_path / f"{name}.zip", pairs_of(images, drawn, names, patient=of))
    roles = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    split = pd.DataFrame({"id": names, "patient": patients, "fold0": roles})
    split.to_csv(tmp_path / "split.csv", index=False)
    stub = Counting()
    monkeypatch.setattr(features, "inception", lambda path, device: stub.extractor())
    return stub


def features_verb(tmp_path, *flags, of="pairs", cfg=CFG):
    """What is written of slices, or of crops where `flags` end in --crops; otherwise the exit code."""
    if flags[-1] == "--crops":
        flags = [*flags, str(tmp_path / "crops.npz")]
    out = tmp_path / "out.npz"
    code = main(["features", "--pairs", str(tmp_path / f"{of}.zip"), "--out", str(out), "--cfg", cfg, *flags])
    return features.read_features(flags[-1] if "--crops" in flags else out) if code == 0 else code


def test_the_verb_features_chooses_slices_and_keeps_features(tmp_path, archive):
    cache = ["--cache", str(tmp_path / "cache")]
    split = ["--split", str(tmp_path / "split.csv"), "--fold", "0"]
    train = features_verb(tmp_path, "--number", "99", *cache, *split, "--role", "train")
    assert train.ids == ["s0", "s1", "s2", "s3"]
    assert (train.extractor, train.sha256) == ("counting", "a" * 64)
    assert sum(archive.batches) == 4
    every = features_verb(tmp_path, "--number", "99", *cache)
    assert every.ids == [f"s{i}" for i in range(8)] and every.groups == [f"p{i // 2}" for i in range(8)]
    assert features_verb(tmp_path, "--number", "99", *cache, of="made").groups == every.ids  # generated
    assert sum(archive.batches) == 8  # the four known ones are found again
    np.testing.assert_array_equal(every.values[:4], train.values)
    some, again = (features_verb(tmp_path, "--number", "5", *cache) for _ in range(2))
    assert some.ids == again.ids == [f"s{i}" for i in features.choose(range(8), 5, seed=0)]
    assert sum(archive.batches) == 8
    np.testing.assert_array_equal(some.values, features_verb(tmp_path, "--number", "5").values)
    assert sum(archive.batches) == 14  # without the cache: three batches of two


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--number", "1"], "--number 1"),
        (["--number", "4", "--role", "train"], "--split, --fold and --role"),
        (["--number", "4", "--weights", "nowhere.pt"], "nowhere.pt"),
        (["--out", "a.npz", "--number", "4", "--crops", "a.npz"], "--crops a.npz"),
    ],
)
def test_flags_that_make_no_sense_are_refused(tmp_path, capsys, archive, flags, named):
    assert features_verb(tmp_path, *flags) == 2
    assert named in capsys.readouterr().err
    assert archive.batches == []


def test_a_file_in_the_cache_that_is_not_whole_is_never_read(tmp_path):
    kept = Folder(tmp_path)
    kept["ab"] = np.arange(4, dtype=np.float32)
    whole = kept.path("ab").read_bytes()
    for end in range(len(whole)):
        kept.path("ab").write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"ab\.npz"):
            kept.get("ab")
    kept.path("ab").write_bytes(whole)
    np.testing.assert_array_equal(kept.get("ab"), np.arange(4))


def test_a_flipped_bit_in_the_cache_never_changes_a_feature(tmp_path):
    """It is found out, or it was in what says nothing of the features, such as a date."""
    kept = Folder(tmp_path)
    kept["ab"] = np.arange(4, dtype=np.float32)
    whole, found_out = kept.path("ab").read_bytes(), 0
    for bit in range(8 * len(whole)):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        kept.path("ab").write_bytes(spoilt)
        try:
            np.testing.assert_array_equal(kept.get("ab"), np.arange(4, dtype=np.float32))
        except InputError:
            found_out += 1
    assert found_out > 8 * 144  # at least those of the array and its header


def test_of_two_writers_of_the_cache_the_last_to_end_wins_and_a_reader_sees_nothing_half_written(
    tmp_path, monkeypatch
):
    """The second writes and ends while the first is between two of its bytes."""
    first, second = Folder(tmp_path), Folder(tmp_path)
    save = np.savez

    def slow(file, values):
        monkeypatch.setattr(np, "savez", save)
        file.write(b"half")
        assert second.get("ab") is None
        second["ab"] = values
        np.testing.assert_array_equal(second.get("ab"), values)
        file.seek(0)
        file.truncate()
        save(file, values=values)

    monkeypatch.setattr(np, "savez", slow)
    first["ab"] = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(first.get("ab"), np.arange(4))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ab.npz"]


# --- crops, groups and other extractors ---


@pytest.mark.parametrize(
    ("box", "side", "start"),
    [
        ((10, 20, 14, 24), 20, (5, 9)),  # twice the longer side, around the middle
        ((10, 12, 14, 24), 20, (1, 9)),
        ((0, 10, 0, 10), 20, (0, 0)),  # moved inside
        ((30, 40, 40, 50), 20, (20, 30)),
        ((20, 21, 20, 21), 16, (12, 12)),  # no less than LEAST
        ((5, 35, 5, 45), 40, (0, 5)),  # no more than the shorter side
    ],
)
def test_crops_are_squares_around_the_lesion(rng, box, side, start):
    image, mask = slices(rng, 1, 40, 50)[0], np.zeros((40, 50), bool)
    mask[box[0] : box[1], box[2] : box[3]] = True
    expected = image[start[0] : start[0] + side, start[1] : start[1] + side]
    np.testing.assert_array_equal(features.crop(image, mask), expected)


def test_the_verb_crops_what_has_a_lesion(tmp_path, archive):
    found = features_verb(tmp_path, "--number", "99", "--crops")
    assert found.ids == [f"s{i}" for i in range(8) if i != 3]
    pairs = read_archive(tmp_path / "pairs.zip")
    by_hand = [features.prepare(features.crop(pairs.images[i], pairs.masks[i])).mean() for i in (0, 1, 2, 4)]
    np.testing.assert_allclose(found.values[:4, 0], by_hand, rtol=1e-5)
    assert features.read_features(tmp_path / "out.npz").ids == [f"s{i}" for i in range(8)]
    assert len(features_verb(tmp_path, "--number", "3", "--crops").ids) == 3


def test_the_verb_needs_lesions_to_crop(tmp_path, archive, capsys):
    assert features_verb(tmp_path, "--number", "9", "--crops", of="plain") == 2
    assert "plain.zip: " in capsys.readouterr().err
    with pytest.raises(InputError, match="empty"):
        features.crop(np.zeros((9, 9), np.uint8), np.zeros((9, 9), bool))
    split = pd.read_csv(tmp_path / "split.csv").assign(fold0=["test"] * 3 + ["train"] + ["test"] * 4)
    split.to_csv(tmp_path / "split.csv", index=False)
    train = ["--split", str(tmp_path / "split.csv"), "--fold", "0", "--role", "train"]
    assert features_verb(tmp_path, "--number", "9", *train, "--crops") == 2
    assert "pairs.zip: " in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


class Corners(torch.nn.Module):
    """A user's extractor of three features."""

    def forward(self, x):
        return torch.stack([x[:, 0, 0, 0], x[:, 0, -1, -1], x.mean((1, 2, 3))], 1)


class Whole(torch.nn.Module):
    """No extractor: one number a batch."""

    def forward(self, x):
        return x.mean()


def scripted(net, path):
    """Writes TorchScript; gives its sha256."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net).save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_another_extractor_is_used_if_its_hash_is_right(tmp_path, archive, capsys):
    path = tmp_path / "corners.pt"
    sha256 = scripted(Corners(), path)

    def cfg(**changed):
        section = json.loads(CFG)["fidelity"] | {"extractor": str(path), "extractor_sha256": sha256}
        return json.dumps({"fidelity": section | changed})

    found = features_verb(tmp_path, "--number", "99", cfg=cfg())
    by_hand = np.stack([features.prepare(image) for image in read_archive(tmp_path / "pairs.zip").images])
    np.testing.assert_allclose(found.values[:, 0], by_hand[:, 0, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(found.values[:, 2], by_hand.mean((1, 2, 3)), rtol=1e-5)
    assert (found.extractor, found.sha256, archive.batches) == ("corners.pt", sha256, [])
    path.write_bytes(b"no network")
    other = hashlib.sha256(b"no network").hexdigest()
    whole = {
        "extractor": str(tmp_path / "whole.pt"),
        "extractor_sha256": scripted(Whole(), tmp_path / "whole.pt"),
    }
    for changed, named in (
        ({}, sha256[:9]),
        ({"extractor": str(tmp_path / "none.pt")}, "none.pt"),
        ({"extractor_sha256": None}, "extractor_sha256"),
        ({"extractor_sha256": other}, "corners.pt"),
        (whole, "whole.pt"),
    ):
        assert features_verb(tmp_path, "--number", "9", cfg=cfg(**changed)) == 2
        assert named in capsys.readouterr().err
