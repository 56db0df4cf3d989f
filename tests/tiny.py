"""A study of minutes in seconds: every network of profile smoke, trained by the verbs on the smallest phantom.

Pairs and features of a few lines; the private images of tests/test_day.py.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pig.cli.main import main
from pig.core.params import load, to_json
from pig.data.archive import read_archive, write_archive
from pig.data.pairs import Pairs
from pig.data.phantom.phantom import phantom
from pig.metrics.features import Features, write_features
from pig.models.table import METHODS, NETS, Params, order

PARAMS = Path(__file__).parent.parent / "params.yaml"
NAME = "-".join(
    ["Doe", "Jane", "1961"]
)  # begins each patient's id; not in one piece, since git has this file
FILE = "-".join(["accession", "4711"])  # begins each file's name


def make(root: Path) -> Path:
    """ROOT/params.yaml and ROOT/runs/smoke with pairs, split and all networks of fold 0; returns ROOT."""
    shutil.copy(PARAMS, root)
    run = root / "runs/smoke"
    chosen = ["--params", str(PARAMS), "--profile", "smoke"]
    pairs, split = run / "pairs.zip", run / "split.csv"
    call("phantom", *chosen, "--out", pairs)
    call("split", *chosen, "--pairs", pairs, "--out", split)
    for net in order(METHODS):
        needs = [fold_of(root) / f"{need}.safetensors" for need in NETS[net].needs]
        data = ["--pairs", pairs, "--split", split, "--fold", 0, "--models", *needs]
        written = ["--out", fold_of(root) / f"{net}.safetensors", "--curve", fold_of(root) / f"{net}.csv"]
        call("train", net, *chosen, *data, *written)
    return root


def fold_of(root: Path) -> Path:
    return root / "runs/smoke/fold0"


def sample(root: Path, method: str, out: Path, count: int, first: int = 0, **changed: object) -> Pairs:
    """What `pig sample` writes to OUT, and its report beside it, with profile smoke but for what is `changed`."""
    cfg = json.loads(to_json(load(PARAMS, Params, "smoke"), "sampling"))
    cfg["sampling"] |= changed
    models = [fold_of(root) / f"{net}.safetensors" for net in METHODS[method].nets]
    data = ["--pairs", root / "runs/smoke/pairs.zip", "--split", root / "runs/smoke/split.csv"]
    wanted = ["--count", count, "--first", first, "--cfg", json.dumps(cfg)]
    written = ["--out", out, "--report", out.with_suffix(".json")]
    call("sample", method, "--models", *models, *(data if METHODS[method].masks else []), *wanted, *written)
    return read_archive(out)


def call(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def private(folder):
    """Images and masks of eight patients, two each, and the table that names them."""
    pairs = phantom(patients=8, views=["CC"], slices=2, size=48, seed=1)
    lines = ["stem,patient"]
    for top in ("images", "masks"):
        (folder / top).mkdir(parents=True)
    for number, patient in enumerate(pairs.table["patient"]):
        stem = f"{FILE}{number:02d}"
        Image.fromarray(pairs.images[number]).save(folder / f"images/{stem}.png")
        Image.fromarray(pairs.masks[number]).save(folder / f"masks/{stem}.png")
        lines.append(f"{stem},{NAME}-{patient}")
    (folder / "patients.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pairs_of(images, masks, ids, **columns):
    """Pairs whose other columns are blank."""
    blank = dict.fromkeys(("patient", "view", "slice", "origin", "seed"), "")
    return Pairs(images, masks, pd.DataFrame({"id": ids, **blank, **columns}))


def features_of(rng, n=5, sha256="a" * 64):
    """Features of n slices, two of each patient."""
    values, ids = rng.standard_normal((n, 2048)).astype(np.float32), [f"slice_{i}" for i in range(n)]
    return Features(values, ids, [f"p{i // 2}" for i in range(n)], "c" * 64, "an extractor", sha256)


def write(path, content):
    """An archive of pairs or a file of features."""
    with path.open("wb") as file:
        (write_archive if isinstance(content, Pairs) else write_features)(file, content)
    return str(path)
