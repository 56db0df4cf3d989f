"""pig.PairDataset hands out what archives and models hold, as torch's loaders and data sets expect it."""

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import fold_of, sample
from torch.utils.data import ConcatDataset, DataLoader

import pig
from pig.core.errors import InputError
from pig.data.archive import read_archive
from pig.data.pairs import COLUMNS


@pytest.fixture(scope="module")
def run(tiny):
    return fold_of(tiny).parent


@pytest.fixture(scope="module")
def samples(tiny):
    return list(pig.load(fold_of(tiny), device="cpu").sample(5))


def test_an_item_is_the_pair_on_the_scale_of_networks(run):
    archive, data = read_archive(run / "pairs.zip"), pig.PairDataset(run / "pairs.zip")
    assert len(data) == len(archive)
    assert isinstance(data, torch.utils.data.Dataset)
    for i, item in enumerate(data):
        assert item["image"].shape == item["mask"].shape == (1, *data.size) == (1, 32, 32)
        assert item["image"].dtype == item["mask"].dtype == torch.float32
        wanted = np.interp(archive.images[i], [0, 255], [-1, 1])
        assert np.allclose(item["image"][0], wanted, rtol=0, atol=1e-6)
        assert np.array_equal(item["mask"][0], archive.masks[i].astype(np.float32))
        assert (item["id"], item["origin"]) == (archive.table["id"][i], "phantom")
    assert i == len(data) - 1  # iterating ends
    assert data[-1]["id"] == data[np.int64(i)]["id"] == item["id"]
    for beyond in (len(data), -len(data) - 1):
        with pytest.raises(IndexError):
            data[beyond]


def test_a_split_deals_the_pairs_out_by_patient(run):
    split = run / "split.csv"
    roles = [
        pig.PairDataset(run / "pairs.zip", split=split, fold=0, role=r)
        for r in ("train", "validation", "test")
    ]
    patients = [set(part.table["patient"]) for part in roles]
    assert sum(map(len, roles)) == len(pig.PairDataset(run / "pairs.zip"))
    assert not patients[0] & patients[1] | patients[0] & patients[2] | patients[1] & patients[2]
    assert patients[2] == set(pd.read_csv(split).query("fold0 == 'test'")["patient"])
    from_table = pig.PairDataset(run / "pairs.zip", split=pd.read_csv(split, dtype=str), fold=0)
    assert [item["id"] for item in from_table] == [item["id"] for item in roles[0]]


def test_samples_of_a_model_are_a_data_set_and_add_up_with_real_pairs_of_their_size(run, samples):
    real, generated = pig.PairDataset(run / "pairs.zip"), pig.PairDataset(iter(samples))
    assert np.array_equal(generated.images, [image for _, image in samples])
    assert np.array_equal(generated.masks, [mask for mask, _ in samples])
    both = real + generated
    assert isinstance(both, ConcatDataset) and len(both) == len(real) + len(generated)
    assert [both[0]["origin"], both[-1]["origin"]] == ["phantom", "sample"]
    assert torch.equal(both[-1]["image"], generated[-1]["image"])
    cropped = pig.PairDataset([(mask[:16, :8], image[:16, :8]) for mask, image in samples])
    with pytest.raises(InputError, match="size"):
        generated + cropped


def turned(image, mask):
    return image.flip(1), mask.flip(1)


def test_a_transform_takes_both_also_in_a_worker_of_a_loader(samples):
    plain, data = pig.PairDataset(samples), pig.PairDataset(samples, transform=turned)
    assert all(torch.equal(data[1][key], plain[1][key].flip(1)) for key in ("image", "mask"))
    here = list(DataLoader(data, batch_size=2))
    there = list(DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context="spawn"))
    assert [len(batch["image"]) for batch in here] == [2, 2, 1]
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one["image"], other["image"]) and torch.equal(one["mask"], other["mask"])
        assert one["id"] == other["id"]


IMAGE, MASK = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.bool_)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ([], "pairs"),
        ([(None, IMAGE)], "pairs: .* without masks"),
        ([(MASK, IMAGE), (MASK, IMAGE[:2])], "pairs: .* size"),
        ([(MASK, IMAGE / 2)], "images: .*float64"),
        ([(MASK * 255, IMAGE)], "masks: .*bool"),
    ],
)
def test_what_are_no_pairs_is_refused(source, named):
    with pytest.raises(InputError, match=f"^{named}"):
        pig.PairDataset(source)


def test_an_archive_without_masks_is_refused_by_name(tiny, tmp_path):
    sample(tiny, "ddim", tmp_path / "ddim.zip", 1)
    with pytest.raises(InputError, match=r"ddim\.zip: .*masks"):
        pig.PairDataset(tmp_path / "ddim.zip")


def test_a_choice_that_makes_no_sense_is_refused(run):
    with pytest.raises(InputError, match="split and fold"):
        pig.PairDataset(run / "pairs.zip", fold=0)
    with pytest.raises(InputError, match="role 'training'"):
        pig.PairDataset(run / "pairs.zip", split=run / "split.csv", fold=0, role="training")
    table = pd.DataFrame(dict.fromkeys(COLUMNS, "") | {"id": ["a"]})
    one = pig.data.pairs.Pairs(IMAGE[None], MASK[None], table)
    with pytest.raises(InputError, match=r"pairs: .*role test"):
        pig.PairDataset(one, split=pd.DataFrame({"id": ["a"], "fold0": ["train"]}), fold=0, role="test")
