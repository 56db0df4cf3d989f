"""Pairs: archives that round-trip and explain themselves, exact scaling, folds by patient."""

import hashlib
import io
import zipfile
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from local_copies import encoded, written

from pig.core.errors import InputError
from pig.data.archive import (
    Cost,
    Parts,
    read_archive,
    read_batches,
    read_note,
    read_table,
    write_archive,
    write_batches,
)
from pig.data.pairs import Pairs, concatenate, digest, grey, join_tables, rows, scale, split


def some(number: int = 5, shape: tuple[int, int] = (6, 9), masks: bool = True, first: int = 0) -> Pairs:
    """Random pairs with ids that begin at `first`."""
    rng = np.random.default_rng(first)
    numbers = range(first, first + number)
    table = pd.DataFrame({"id": f"p-{i:02d}.x", "patient": f"{i // 2:03d}", "slice": str(i)} for i in numbers)
    table = table.assign(view="CC", origin="test", seed="", note='a, "b"\nNA')
    images = rng.integers(0, 256, (number, *shape), dtype=np.uint8)
    return Pairs(images, images > 99 if masks else None, table)


def archive(pairs: Pairs) -> bytes:
    return written(write_archive, pairs)


def equal(one: Pairs, other: Pairs) -> bool:
    return digest(one) == digest(other)


# --- archives ---


def test_the_bytes_are_those_of_a_plain_zip_file(monkeypatch):
    pairs, file = some(2), io.BytesIO()
    members = {"pairs.csv": pairs.table.to_csv(index=False, lineterminator="\n").encode()}
    for i, name in enumerate(pairs.table["id"]):
        for folder, pixels in (("images", pairs.images[i]), ("masks", np.where(pairs.masks[i], 255, 0))):
            members[f"{folder}/{name}.png"] = encoded("PNG", pixels.astype(np.uint8), compress_level=6)
    with zipfile.ZipFile(file, "w") as plain:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            plain.writestr(info, content)
    for now in (1e9, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        assert archive(pairs) == file.getvalue()


@pytest.mark.parametrize("masks", [True, False])
def test_batches_give_the_bytes_of_all_at_once(masks, tmp_path):
    pairs = some(7, masks=masks)
    whole = archive(pairs)
    for size in (1, 3, 7, 9):
        batches = [pairs.select(range(i, min(i + size, 7))) for i in range(0, 7, size)]
        assert written(write_batches, pairs.table, iter(batches)) == whole
        parts = Parts(tmp_path / "parts", (size,), range(7))
        for batch in batches:
            parts.add(batch, Cost())
        parts.join(tmp_path / "joined.zip")
        assert (tmp_path / "joined.zip").read_bytes() == whole
    found = list(read_batches(tmp_path / "joined.zip", 3))
    assert [len(batch) for batch in found] == [3, 3, 1] and equal(concatenate(found), pairs)
    assert read_table(tmp_path / "joined.zip").equals(pairs.table)
    assert join_tables([pairs.table[:2], pairs.table[2:]]).equals(pairs.table)


def test_parts_go_on_without_a_gap_and_only_with_those_of_their_own_job(tmp_path):
    pairs, numbers = some(7), range(2, 9)
    parts = Parts(tmp_path / "parts", ("one",), numbers)
    for taken, seconds in ((range(3), 1.5), (range(3, 5), 2.0)):
        parts.add(pairs.select(taken), Cost(seconds, seconds))
    found = Parts(tmp_path / "parts", ("one",), numbers)
    assert (found.stop, found.cost, found.found) == (7, Cost(3.5, 3.5), parts.found)
    assert Parts(tmp_path / "parts", ("one",), range(2, 6)).stop == 5  # what ends later is left, unused
    assert Parts(tmp_path / "parts", ("one",), range(5, 9)).stop == 7
    assert Parts(tmp_path / "parts", ("one",), range(9)).stop == 0
    parts.found[0].path.unlink()
    assert Parts(tmp_path / "parts", ("one",), numbers).stop == 2
    (tmp_path / "parts/mine.txt").touch()
    assert Parts(tmp_path / "parts", ("two",), numbers).stop == 2
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["mine.txt"]
    parts.drop()
    assert (tmp_path / "parts").is_dir()  # someone else has a file in it
    (tmp_path / "parts/mine.txt").unlink()
    parts.drop()
    assert not (tmp_path / "parts").exists()


def test_pairs_are_taken_by_their_patients_role_in_a_fold(tmp_path):
    pairs = some(24)
    table = split(pairs.table, 3, 0.25, 0)
    table.to_csv(tmp_path / "split.csv", index=False)
    for given in (table, tmp_path / "split.csv", str(tmp_path / "split.csv")):
        found = pairs.of(given, 1, "train", "test")
        assert equal(found, pairs.select(rows(table, pairs.table, 1, "train", "test")))
        assert set(table.set_index("id").loc[found.table["id"], "fold1"]) == {"train", "test"}
    with pytest.raises(InputError, match="fold5"):
        pairs.of(table, 5, "train")


@pytest.mark.parametrize(
    ("batches", "named"),
    [
        ([some(4).select([1, 0, 2, 3])], "'p-01.x'"),
        ([some(3)], "'p-03.x'"),
        ([some(5)], "'p-04.x'"),
        ([some(1), some(3, (4, 4), first=1)], "4x4, 6x9"),
        ([some(1), some(3, masks=False, first=1)], "masks"),
    ],
)
def test_batches_that_do_not_fit_the_table_or_each_other_are_refused(batches, named):
    with pytest.raises(InputError, match=named):
        write_batches(io.BytesIO(), some(4).table, batches)
    if len(batches) > 1:
        with pytest.raises(InputError, match=named):
            concatenate(batches)


def test_a_note_is_read_back_from_a_whole_archive_only(tmp_path):
    path, pairs = tmp_path / "some.zip", some()
    whole = written(write_batches, pairs.table, [pairs], note='{"seconds": 1.5}')
    path.write_bytes(whole)
    assert read_note(path) == '{"seconds": 1.5}' and equal(read_archive(path), pairs)
    content = bytearray(whole)
    content[content.index(b"IDAT", content.index(b"images/p-02.x.png")) + 8] ^= 0xFF
    path.write_bytes(content)
    for read in (read_note, read_archive):
        with pytest.raises(InputError, match=r"images/p-02\.x\.png"):
            read(path)


def test_the_digest_tells_pixels_masks_and_table():
    pairs = some()
    image, mask, table = pairs.images.copy(), pairs.masks.copy(), pairs.table.copy()
    image[2, 3, 4] ^= 1
    mask[2, 3, 4] ^= True
    table.loc[2, "note"] = ""
    turned = {"images": pairs.images.reshape(5, 9, 6), "masks": pairs.masks.reshape(5, 9, 6)}
    changes = [{"images": image}, {"masks": mask}, {"masks": None}, {"table": table}, turned]
    others = [*(replace(pairs, **change) for change in changes), pairs.select([1, 0, 2, 3, 4])]
    assert len({digest(each) for each in [pairs, *others]}) == 7
    assert digest(some()) == digest(pairs)


# --- in memory ---


def test_select_takes_numbers_and_booleans():
    pairs = some()
    table = pairs.table.iloc[[3, 1]].reset_index(drop=True)
    assert equal(pairs.select([3, 1]), Pairs(pairs.images[[3, 1]], pairs.masks[[3, 1]], table))
    assert equal(pairs.select(np.array([False, True, False, True, False])), pairs.select([1, 3]))
    assert len(pairs.select([])) == 0


def test_the_table_is_text():
    table = some(2).table.assign(seed=[7, 8], slice=[np.nan, 1.5], view=[None, "CC"])
    pairs = Pairs(some(2).images, None, table)
    assert pairs.table[["seed", "slice", "view"]].to_numpy().tolist() == [["7", "", ""], ["8", "1.5", "CC"]]
    assert table["seed"].tolist() == [7, 8]


def test_concatenate_is_the_inverse_of_select():
    pairs = some(6)
    assert equal(concatenate([pairs.select([0, 1]), pairs.select([2]), pairs.select([3, 4, 5])]), pairs)
    last = some(1, first=9)
    wider = Pairs(last.images, last.masks, last.table.assign(extra="x"))
    assert list(concatenate([pairs, wider]).table["extra"]) == [""] * 6 + ["x"]
    for parts, named in (([], "none"), ([pairs, pairs], "'p-00.x'")):
        with pytest.raises(InputError, match=named):
            concatenate(parts)


def test_pairs_that_do_not_fit_together_are_refused():
    pairs = some()
    for change in (
        {"images": pairs.images.astype(np.float32)},
        {"images": pairs.images[0], "masks": None},
        {"masks": pairs.masks[:, :5]},
        {"masks": pairs.images},
        {"table": pairs.table[:4]},
        {"table": pairs.table.drop(columns="patient")},
    ):
        with pytest.raises(InputError, match=next(iter(change))):
            replace(pairs, **change)
    with pytest.raises(InputError, match=r"^some\.zip: "):
        some(masks=False).need_masks("some.zip")


# --- scale ---


def test_scale_is_the_exact_line_for_arrays_and_tensors_and_grey_its_inverse():
    levels = np.arange(256, dtype=np.uint8)
    scaled = scale(levels)
    exact = [float(Fraction(2 * i, 255) - 1) for i in range(256)]
    np.testing.assert_allclose(scaled, exact, rtol=1e-12, atol=1e-15)
    of_a_tensor = scale(torch.from_numpy(levels))
    assert of_a_tensor.dtype == torch.float32
    np.testing.assert_allclose(of_a_tensor.numpy(), exact, atol=1.2e-7)
    np.testing.assert_array_equal(grey(scaled), levels)


def test_grey_clips_and_rounds():
    np.testing.assert_array_equal(grey([-9.0, -1.0, 0.0039, 1.0, np.inf, -np.inf]), [0, 0, 128, 255, 255, 0])
    assert grey(np.zeros((2, 3), np.float16)).shape == (2, 3)
    with pytest.raises(InputError, match="NaN"):
        grey([0.0, np.nan])


# --- folds ---


def pairs_of(*counts: int) -> pd.DataFrame:
    """A table of len(counts) patients with so many pairs, in a mixed order."""
    patients = np.repeat([f"{i:03d}" for i in range(len(counts))], counts)
    patients = np.random.default_rng(0).permutation(patients)
    return pd.DataFrame({"id": [f"i{i}" for i in range(len(patients))], "patient": patients})


@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (3, 1), (5, 2)])
def test_no_patient_is_on_two_sides_and_each_is_tested_once(folds, seed):
    table = pairs_of(*np.random.default_rng(seed).integers(1, 20, 23))
    out = split(table, folds, 0.2, seed)
    assert list(out) == ["id", "patient", *(f"fold{fold}" for fold in range(folds))]
    assert out[["id", "patient"]].equals(table)
    columns = out.drop(columns="id").groupby("patient")
    assert (columns.nunique() == 1).all(axis=None)
    assert (columns.first().eq("test").sum(axis=1) == 1).all()
    for fold in range(folds):
        roles = columns.first()[f"fold{fold}"]
        assert (roles == "validation").sum() == round(0.2 * (roles != "test").sum())
        assert set(roles) == {"train", "validation", "test"}


def test_folds_are_balanced_by_pairs():
    counts = np.random.default_rng(4).integers(1, 30, 40)
    out = split(pairs_of(*counts), 5, 0.1, 0)
    tested = [(out[f"fold{fold}"] == "test").sum() for fold in range(5)]
    assert max(tested) - min(tested) <= 2


def test_a_split_depends_on_its_seed_and_not_on_the_order_of_rows():
    table = pairs_of(*[4] * 20)
    assert not split(table, 5, 0.1, 0).equals(split(table, 5, 0.1, 1))
    back = split(table[::-1], 5, 0.1, 0)[::-1].reset_index(drop=True)
    assert back.equals(split(table, 5, 0.1, 0))


def test_a_split_is_pinned():
    text = split(pairs_of(3, 1, 4, 1, 5, 9, 2, 6), 3, 0.25, 7).to_csv(index=False, lineterminator="\n")
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "b817f5e8f06940c9"


@pytest.mark.parametrize(("folds", "needed"), [(2, 4), (3, 3), (5, 5)])
@pytest.mark.parametrize("most", [1, 50])
def test_the_fewest_patients_that_do_still_leave_all_roles(folds, needed, most):
    out = split(pairs_of(*[1] * (needed - 1), most), folds, 0.01, 0)
    for fold in range(folds):
        assert set(out[f"fold{fold}"]) == {"train", "validation", "test"}
    with pytest.raises(InputError, match=f"{needed} patients, found {needed - 1}"):
        split(pairs_of(*[1] * (needed - 2), most), folds, 0.01, 0)
