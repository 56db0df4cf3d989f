"""Copying: distances against other libraries, neighbours against a double loop, planted copies that must be found."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jaccard
from tiny import pairs_of, write

from pig.cli.main import main
from pig.core.errors import InputError
from pig.data.pairs import split
from pig.metrics import copying
from pig.metrics.copying import MEASURES, Scales, Set, lesions_of

SIDE = 24
SCALES = Scales(0.3, 0.4)


def made(n, seed, label="", side=SIDE):
    """n pairs: smooth random texture, an ellipse of random shape and place that is a little brighter."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    waves = (
        rng.normal(size=(n, 6, 1, 1)),
        rng.uniform(-0.6, 0.6, (2, n, 6, 1, 1)),
        rng.uniform(0, 6, (n, 6, 1, 1)),
    )
    texture = (waves[0] * np.sin(waves[1][0] * y + waves[1][1] * x + waves[2])).sum(1)
    centre, axes = rng.uniform(8, 16, (2, n, 1, 1)), rng.uniform(1.2, 6, (2, n, 1, 1))
    tilt = rng.uniform(0, np.pi, (n, 1, 1))
    u = (y - centre[0]) * np.cos(tilt) + (x - centre[1]) * np.sin(tilt)
    v = (x - centre[1]) * np.cos(tilt) - (y - centre[0]) * np.sin(tilt)
    masks = (u / axes[0]) ** 2 + (v / axes[1]) ** 2 <= 1
    images = np.clip(110 + 25 * texture + 20 * masks, 0, 255).astype(np.uint8)
    ids = [f"{label}{i}" for i in range(n)]
    return images, masks, ids


def some(n, seed, label="", side=SIDE):
    """The same as a set to search."""
    images, masks, ids = made(n, seed, label, side)
    return Set(images, lesions_of(masks), ids, ids)


TRAINING, HELDOUT = some(60, 1, "t"), some(300, 2, "h")
HELDOUT_SCALES = copying.calibrate(HELDOUT, TRAINING)
REAL = copying.report(HELDOUT, TRAINING, HELDOUT, HELDOUT_SCALES)


def by_hand(queries, i, among, j, scales):
    """(image, mask, joint) in plain double precision."""
    a = queries.images[i].astype(float)
    r = max(np.corrcoef(a.ravel(), b.ravel())[0, 1] for b in (among.images[j], among.images[j][:, ::-1]))
    image = np.sqrt((1 - r) / 2)
    boxes = queries.lesions[i], among.lesions[j]
    found = []
    for flip in itertools.product((1, -1), repeat=2):
        frames = np.zeros((2, 64, 64), bool)
        for frame, box, step in zip(frames, boxes, (flip, (1, 1)), strict=True):
            top, left = (32 - side // 2 for side in box.shape)
            frame[top : top + box.shape[0], left : left + box.shape[1]] = box[:: step[0], :: step[1]]
        found.append(jaccard(frames[0].ravel(), frames[1].ravel()))
    mask = min(found)
    return image, mask, np.hypot(image / scales.image, mask / scales.mask) / np.sqrt(2)


@pytest.mark.parametrize("block", [1, 4, 100])
def test_neighbours_are_those_of_a_double_loop_whatever_the_block(block):
    queries, among = some(7, 3), some(11, 4)._replace(own=["-"] * 11)
    found = copying.nearest(queries, among, SCALES, block)
    table = np.array([[by_hand(queries, i, among, j, SCALES) for j in range(11)] for i in range(7)])
    for k, name in enumerate(MEASURES):
        assert found.row[name].tolist() == table[:, :, k].argmin(axis=1).tolist()
        np.testing.assert_allclose(found.distance[name], table[:, :, k].min(axis=1), rtol=1e-6)


def test_empty_masks_and_constant_images():
    blank = np.zeros((1, SIDE, SIDE), np.uint8)
    empty = Set(blank, lesions_of(blank > 0), ["e"], ["e"])
    other = Set(blank + 7, lesions_of(blank > 0), ["f"], ["f"])
    found = copying.nearest(empty, other)
    assert (found.distance["image"], found.distance["mask"]) == ([0], [0])
    found = copying.nearest(empty, TRAINING)
    assert (found.distance["image"], found.distance["mask"]) == ([np.sqrt(0.5)], [1])


def test_those_of_the_same_label_are_no_neighbours():
    own = copying.nearest(TRAINING, TRAINING, SCALES)
    assert all((own.row[name] != np.arange(60)).all() for name in MEASURES)
    assert (own.distance["image"] > 0).all()
    alone = TRAINING._replace(own=["one patient"] * 60)
    nobody = copying.nearest(alone, alone, SCALES)
    assert all((nobody.row[name] == -1).all() for name in MEASURES)
    assert copying.report(alone, HELDOUT, HELDOUT, SCALES)["duplicate"].isna().all()


def planted(images=(), masks=()):
    """40 new pairs; of the first ones the images or masks are replaced by those of training pairs 30, 31, .."""
    new = some(40, 7, "g")
    for i in images:
        new.images[i] = TRAINING.images[30 + i]
    for i in masks:
        new.lesions[i] = TRAINING.lesions[30 + i]
    return copying.report(new, TRAINING, HELDOUT, HELDOUT_SCALES)


def flagged(found):
    return {name: np.flatnonzero(copying.are_copies(found, REAL, name)).tolist() for name in MEASURES}


CLEAN = flagged(planted())


def test_few_are_flagged_where_nothing_was_planted():
    assert all(len(rows) <= 3 for rows in CLEAN.values())  # 1 % of 40 expected


@pytest.mark.parametrize(
    ("images", "masks", "found_in"),
    [
        ((0, 1, 2), (), {"image"}),  # a copied image with another mask
        ((), (0, 1, 2), {"mask"}),  # a copied mask with another image
        ((0, 1, 2), (0, 1, 2), {"image", "mask", "joint"}),
    ],
)
def test_a_planted_copy_is_found_and_its_original_named(images, masks, found_in):
    found = planted(images, masks)
    for name in MEASURES:
        extra = set(flagged(found)[name]) - set(CLEAN[name])
        if name in found_in:
            assert {0, 1, 2} <= set(flagged(found)[name])
            assert found.loc[:2, f"{name}_of"].tolist() == ["t30", "t31", "t32"]
            assert (found.loc[:2, name] == 0).all() or name == "joint"
        elif name != "joint":
            assert not extra
    summary = copying.summary(found, REAL)
    assert all(summary[f"{name}_share"] >= 3 / 40 for name in found_in)


def test_a_noisy_mirrored_or_moved_copy_of_both_is_found():
    new = some(40, 7, "g")
    noise = np.random.default_rng(0).normal(0, 3, (SIDE, SIDE))
    new.images[0] = np.clip(TRAINING.images[30][:, ::-1] * 0.8 + 20 + noise, 0, 255)
    new.lesions[0] = TRAINING.lesions[30][:, ::-1]
    new.images[1] = TRAINING.images[31]
    new.lesions[1] = lesions_of(np.roll(made(60, 1)[1][31:32], (3, -2), (1, 2)))[0]
    found = copying.report(new, TRAINING, HELDOUT, HELDOUT_SCALES)
    assert all({0, 1} <= set(rows) for rows in flagged(found).values())
    for row, original in enumerate(("t30", "t31")):
        assert set(found.loc[row, [f"{name}_of" for name in MEASURES]]) == {original}
    assert (found.loc[1, list(MEASURES)] == 0).all()


def test_duplicates_within_the_set_are_found():
    new = some(40, 7, "g")
    new.images[5], new.lesions[5] = new.images[4], new.lesions[4]
    found = copying.report(new, TRAINING, HELDOUT, HELDOUT_SCALES)
    assert found.loc[[4, 5], "duplicate"].tolist() == [0, 0]
    assert found.loc[[4, 5], "duplicate_of"].tolist() == ["g5", "g4"]
    clean = copying.summary(planted(), REAL)["duplicates"]
    assert copying.summary(found, REAL)["duplicates"] == pytest.approx(clean + 2 / 40)


def test_other_held_out_pairs_look_like_held_out_pairs():
    """Calibration: of strangers, 1 % are flagged, and they are no nearer to training than to held-out pairs."""
    strangers = some(1000, 11, "s")
    many = some(1000, 12, "m")
    scales = copying.calibrate(many, TRAINING)
    real = copying.report(many, TRAINING, HELDOUT, scales)
    found = copying.summary(copying.report(strangers, TRAINING, HELDOUT, scales), real)
    for name in MEASURES:
        assert found[f"{name}_ratio"] == pytest.approx(1, abs=0.05)
        assert found[f"{name}_share"] < 0.025  # 1 %, and 4 standard deviations of 1,000 draws against 1,000


def test_smooth_slices_are_near_to_all_and_copy_none():
    """A slice that is half the mean of all slices is nearer to each than real ones are, and no copy."""
    new = some(200, 13, "g")
    middle = np.concatenate([TRAINING.images, HELDOUT.images]).mean(axis=0)
    bland = new._replace(images=np.uint8(0.5 * middle + 0.5 * new.images))
    found = copying.report(bland, TRAINING, HELDOUT, HELDOUT_SCALES)
    assert found["image"].median() < REAL["image"].median()
    assert copying.summary(found, REAL)["image_share"] < 0.05


def test_the_scales_are_medians_and_never_zero():
    nearest = copying.nearest(HELDOUT, TRAINING).distance
    assert pytest.approx((np.median(nearest["image"]), np.median(nearest["mask"]))) == HELDOUT_SCALES
    with pytest.raises(InputError):
        copying.calibrate(TRAINING._replace(own=["x"] * 60), TRAINING)


@pytest.mark.parametrize(
    "sets", [(some(3, 0), some(3, 1, side=16)), (TRAINING, Set(TRAINING.images[:0], [], [], []))]
)
def test_sets_of_two_sizes_or_none_are_refused(sets):
    with pytest.raises(InputError):
        copying.nearest(*sets)


@pytest.fixture
def files(tmp_path):
    """Archives of 40 real pairs of 20 patients and of 10 generated ones, the first a copy of a training pair."""
    (real, masks, ids), (images, theirs, new) = made(40, 1, "t"), made(10, 7, "g")
    known = pairs_of(real, masks, ids, patient=[f"p{i // 2}" for i in range(40)], origin="phantom")
    folds = split(known.table, 2, 0.25, 0)
    copied = int(np.flatnonzero(folds["fold1"] == "train")[0])
    images[0], theirs[0] = real[copied], masks[copied]
    write(tmp_path / "real.zip", known)
    write(tmp_path / "pig.zip", pairs_of(images, theirs, new, origin="pig"))
    folds.to_csv(tmp_path / "split.csv", index=False)
    return tmp_path, folds, ids[copied]


def test_verb_finds_the_copy_among_the_folds_training_pairs(files):
    folder, folds, original = files
    place = ["copies", "--pairs", f"{folder}/real.zip", "--split", f"{folder}/split.csv", "--fold", "1"]
    assert main([*place, "--out", f"{folder}/alone.csv"]) == 0
    outs = [f"{folder}/real.csv", f"{folder}/pig.csv"]
    assert main([*place, "--generated", f"{folder}/pig.zip", "--out", *outs]) == 0
    assert (folder / "alone.csv").read_bytes() == (folder / "real.csv").read_bytes()
    real, found = (pd.read_csv(folder / f"{name}.csv") for name in ("real", "pig"))
    role = folds.set_index("id")["fold1"]
    assert sorted(real["id"]) == sorted(role.index[role != "train"])
    assert set(role[found["joint_of"]]) == {"train"} and set(found["fold"]) == {1}
    assert found.loc[0, ["image", "mask", "joint"]].tolist() == [0, 0, 0]
    assert found.loc[0, "image_of"] == found.loc[0, "joint_of"] == original
    # a held-out pair is no neighbour of its own patient
    patient = folds.set_index("id")["patient"]
    assert (patient[real["duplicate_of"]].to_numpy() != patient[real["id"]].to_numpy()).all()


def test_verb_writes_all_or_nothing(files, capsys):
    folder, _, _ = files
    job = ["copies", "--pairs", f"{folder}/real.zip", "--split", f"{folder}/split.csv", "--fold", "1"]
    job += ["--generated", f"{folder}/pig.zip", f"{folder}/none.zip", "--out"]
    outs = [f"{folder}/{i}.csv" for i in range(3)]
    for given, named in ((outs[:2], "--out"), (outs, "none.zip")):
        assert main([*job, *given]) == 2
        assert named in capsys.readouterr().err
    assert not list(folder.glob("?.csv"))
