"""Pseudonyms: the same with one salt, others with another, and never a trace of the id."""

import hashlib
import hmac

import numpy as np
import pandas as pd

from pig.data.pairs import Pairs
from pig.data.readers.pseudonyms import pseudonym, pseudonymise

SALT = b"a salt of 16 or more"


def some() -> Pairs:
    rows = [(f"P_{i // 3:05d}_{i}", f"P_{i // 3:05d}", f"Smith-{i}.dcm") for i in range(9)]
    table = pd.DataFrame(rows, columns=["id", "patient", "file"])
    table[["view", "slice", "origin", "seed"]] = "CC", "3", "folder", ""
    images = np.arange(9, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    return Pairs(images, images > 4, table)


def test_a_pseudonym_is_a_keyed_hash():
    expected = hmac.new(SALT, b"patient\x00P_1", hashlib.sha256).hexdigest()[:12]
    assert pseudonym(SALT, "patient", "P_1") == expected
    words = [(SALT, "a", "b"), (SALT, "ab"), (SALT, "b", "a"), (b"x", "a")]
    assert len({pseudonym(*each) for each in words}) == 4


def test_patients_stay_patients_and_pixels_their_rows():
    before, after = some(), pseudonymise(some(), SALT)
    names = {pseudonym(SALT, "id", "folder", name): name for name in before.table["id"]}
    back = [list(before.table["id"]).index(names[name]) for name in after.table["id"]]
    np.testing.assert_array_equal(after.images, before.images[back])
    np.testing.assert_array_equal(after.masks, before.masks[back])
    together = pd.DataFrame({"new": after.table["patient"], "old": before.table["patient"][back].to_numpy()})
    assert len(together.drop_duplicates()) == together["new"].nunique() == together["old"].nunique() == 3
    order = after.table.sort_values(["patient", "id"]).index
    assert list(order) == list(range(9))


def test_nothing_of_the_ids_is_left_and_imports_agree():
    one, other = pseudonymise(some(), SALT), pseudonymise(some().select(range(8, 2, -1)), SALT)
    text = one.table.to_csv()
    assert "P_" not in text and "Smith" not in text
    assert set(other.table["patient"]) < set(one.table["patient"])
    assert set(other.table["id"]) < set(one.table["id"])
    assert not set(pseudonymise(some(), SALT + b"!").table["patient"]) & set(one.table["patient"])
