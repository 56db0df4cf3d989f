"""Readers on what anyone may hand them: what is read is right, and what is refused is one line that says so.

`PIG_FUZZ=20000 pytest tests/test_fuzz.py` draws as many new examples of each; see docs/inputs.md.
"""

import io
import json
import zipfile
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from local_copies import dicom, encoded, written
from PIL import Image
from pydicom.uid import JPEG2000Lossless, RLELossless

from pig.cli.verbs import import_official
from pig.core.errors import LONGEST, InputError, plain
from pig.core.params import from_json, load, resolve
from pig.core.reading import read_csv, read_json
from pig.data.archive import read_archive, write_archive
from pig.data.pairs import COLUMNS, Pairs, digest, rows
from pig.data.readers.dicom import read_frame, read_header
from pig.data.readers.folder import read_case, read_patients
from pig.data.readers.pixels import UnusableError, crop_box, lesion, resize, resize_mask
from pig.metrics.features import Features, read_features, write_features
from pig.models import weights
from pig.models.loading import read_config
from pig.models.table import METHODS, Params

PARAMS = Path(__file__).parent.parent / "params.yaml"
RAW = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
IDS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@st.composite
def pairs(draw: st.DrawFn) -> Pairs:
    """A few small pairs with ids that are file names and any text beside them."""
    ids = draw(st.lists(IDS, min_size=1, max_size=4, unique_by=str.casefold))
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    images = draw(arrays.arrays(np.uint8, (len(ids), *shape)))
    masks = draw(st.none() | arrays.arrays(np.bool_, images.shape))
    more = draw(st.sets(IDS.filter(lambda name: name not in COLUMNS), max_size=2))
    names = [*COLUMNS[1:], *sorted(more)]
    table = {name: draw(st.lists(TEXT, min_size=len(ids), max_size=len(ids))) for name in names}
    return Pairs(images, masks, pd.DataFrame({"id": ids, **table}))


@st.composite
def spoilt(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole` with bytes changed, put in or taken out, or cut off; or any bytes."""
    content = bytearray(whole)
    for place, new, old in draw(
        st.lists(st.tuples(st.integers(0, len(whole)), st.binary(max_size=8), st.integers(0, 8)), max_size=4)
    ):
        content[place : place + old] = new
    kept = draw(st.integers(0, len(content)) | st.just(len(content)))
    return draw(st.binary(max_size=64)) if draw(st.integers(0, 20)) == 20 else bytes(content[:kept])


def read_or_refuse(read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` gives, or None if it refuses with one line that is not endless; any other error fails the test."""
    try:
        return read(*arguments)
    except InputError as error:
        refused(error)
        return None


def refused(error: InputError) -> None:
    assert len(str(error).splitlines()) == 1 and len(str(error)) < 12 * LONGEST


# --- whatever the bytes ---


TABLE = dict.fromkeys(COLUMNS, "a\r\nb") | {"id": ["a", "b"], "origin": "\r0", "seed": "\r"}
GREY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
SOME = Pairs(GREY, GREY % 2 == 0, pd.DataFrame(TABLE))  # pandas writes "\r" without quotes


SMOOTH = np.add.outer(np.arange(12), np.arange(10)).astype(np.uint8) * 5


def image(path: Path) -> list[np.ndarray]:
    """Image and mask, cropped and of 6 x 5 pixels."""
    mask = path.with_name("mask.png")
    if not mask.exists():
        Image.fromarray(np.eye(12, 10, dtype=np.uint8)).save(mask)
    opened = read_case(path, mask)
    box = crop_box(opened.grey, opened.mask)
    return [resize(opened.grey[box], (6, 5)), resize_mask(opened.mask[box], (6, 5))]


SMALL = {"a": torch.arange(3.0), "b": torch.ones(2, 2, dtype=torch.bfloat16)}
HEADER = json.dumps({"net": "guider", "network": {"width": 8}})


def network(path: Path) -> dict[str, torch.Tensor]:
    state, _ = weights.load(path)
    weights.match(SMALL, state, path)
    return state


SAMPLING = load(PARAMS, Params, "smoke").sampling.model_dump()
EXPORT = {"library_name": "pig", "format": 1, "method": "pig", "sampling": SAMPLING}
FEATURES = Features(np.ones((2, 3), np.float32), ["a", "b"], ["1", "2"], "s", "e", "h")
GREYS = np.arange(1600, dtype=np.uint16).reshape(40, 40)
CHECKPOINT = [SMALL, {"state": {}}, 3]  # even whole it is none of the authors' network
READERS: dict[str, tuple[bytes, Callable[[Path], Any], Callable[[Any], object]]] = {
    "archive": (
        written(write_archive, SOME),
        read_archive,
        lambda found: len(found.images) == len(found.table) > 0,
    ),
    **{
        kind: (encoded(kind, SMOOTH), image, lambda found: [part.shape for part in found] == [(6, 5)] * 2)
        for kind in ("PNG", "TIFF", "JPEG", "BMP")
    },
    **{
        f"DICOM {name}": (
            dicom(GREYS, codec),
            read_frame,
            lambda found: found.stored.shape == found.grey.shape,
        )
        for name, codec in {"plain": None, "RLE": RLELossless, "JPEG 2000": JPEG2000Lossless}.items()
    },
    "DICOM header": (dicom(np.eye(4, dtype=np.uint8)), read_header, lambda found: len(found.shape) == 2),
    "patients": (
        'stem,patient,"no, te"\na,1,x\n"b ü.png",2,"y\nz"\n'.encode(),
        read_patients,
        lambda found: all(isinstance(stem, str) and patient for stem, patient in found.items()),
    ),
    "scores": (
        b"id,fold,dice\na,0,0.5\nb,1,\n",
        partial(read_csv, columns=("id",), counts=("fold",), numbers=("dice",)),
        lambda found: (np.mod(found["fold"].astype(float), 1) == 0).all(),
    ),
    "settings": (
        PARAMS.read_bytes(),
        lambda path: load(path, Params),
        lambda found: isinstance(found, Params),
    ),
    "network": (
        weights.to_bytes(SMALL, metadata={weights.HEADER: HEADER}),
        network,
        lambda found: all(tensor.float().isfinite().all() for tensor in found.values()),
    ),
    **{
        f"checkpoint {new}": (
            written(lambda file, new=new: torch.save(CHECKPOINT, file, _use_new_zipfile_serialization=new)),
            import_official.read,
            lambda found: False,
        )
        for new in (True, False)
    },
    "features": (
        written(write_features, FEATURES),
        read_features,
        lambda found: len(found.values) == len(found.ids) and np.isfinite(found.values).all(),
    ),
    "report": (
        b'{"set": "pig", "fid": 3.5}',
        partial(read_json, kinds={"set": str, "fid": int | float}),
        lambda found: isinstance(found["set"], str),
    ),
    "config": (json.dumps(EXPORT).encode(), read_config, lambda found: found[0] in METHODS),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "file.bin"


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
def test_a_spoilt_file_is_read_or_refused(kind, data, path):
    whole, read, right = READERS[kind]
    path.write_bytes(data.draw(spoilt(whole)))
    found = read_or_refuse(read, path)
    assert found is None or right(found)


# --- pairs ---


@given(given=pairs())
@example(given=SOME)
def test_an_archive_gives_back_any_pairs(given, path):
    content = written(write_archive, given)
    path.write_bytes(content)
    found = read_archive(path)
    assert digest(found) == digest(given)
    assert found.table.equals(given.table)
    assert written(write_archive, found) == content


@given(member=st.sampled_from(["pairs.csv", "images/a.png", "masks/b.png"]), data=st.data())
def test_spoilt_members_are_read_or_refused(member, data, path):
    """With right checksums, which spoilt archives hardly ever have."""
    with zipfile.ZipFile(io.BytesIO(written(write_archive, SOME))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, data.draw(spoilt(content)) if name == member else content)
    found = read_or_refuse(read_archive, path)
    assert found is None or found.images.shape[0] == len(found.table) > 0


@given(
    st.dictionaries(IDS, st.sampled_from(["train", "validation", "test", "", "nan", "Train"]), max_size=4),
    st.lists(IDS, max_size=4, unique=True),
)
def test_rows_are_those_of_the_role_or_the_split_is_refused(roles, ids):
    split = pd.DataFrame({"id": list(roles), "fold0": list(roles.values())}, dtype=str)
    found = read_or_refuse(rows, split, pd.DataFrame({"id": ids}, dtype=str), 0, "train")
    assert found is None or [ids[row] for row in found] == [name for name in ids if roles[name] == "train"]


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.sampled_from([0, 1, 255]),
        fill=st.sampled_from([0, 255]),
    ),
    st.sampled_from(["a.png", "a.jpg"]),
)
def test_a_mask_is_its_larger_value_or_is_refused(pixels, name):
    try:
        found = lesion(pixels, Path(name))
    except UnusableError as error:
        refused(error)
        frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        values = len(np.unique(pixels))
        assert values != 2 or np.mean(frame == pixels.max()) > 0.75 or name == "a.jpg"
    else:
        assert np.array_equal(found, (pixels == pixels.max()) & (pixels.max() > 0))


@given(st.text())
def test_a_plain_text_is_one_line_that_a_terminal_shows(text):
    shown = plain(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable() or len(text) > LONGEST


# --- settings ---

KEYS = st.sampled_from([*RAW, "steps", "size", "width", "surprise"]) | st.integers() | st.none() | st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(date(2001, 2, 3)),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, VALUES, max_size=3), VALUES)
def test_any_settings_are_valid_or_refused(changes, profiles):
    raw = {**RAW, **changes}
    for one in (
        raw,
        {**raw, "profiles": {**RAW["profiles"], "demo": profiles}},
        {**raw, "profiles": profiles},
    ):
        assert isinstance(read_or_refuse(resolve, one, Params), Params | None)


@given(st.text() | VALUES.map(lambda value: json.dumps(value, default=str, skipkeys=True)))
def test_any_cfg_is_read_or_refused(text):
    assert read_or_refuse(from_json, text, ["folds"], Params, "--cfg") is None
