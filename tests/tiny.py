"""A study of minutes in seconds: every network of profile smoke, trained by the verbs on the smallest phantom."""

import shutil
from pathlib import Path

from pig.__main__ import main
from pig.methods import NETS

PARAMS = Path(__file__).parent.parent / "params.yaml"


def make(root: Path) -> Path:
    """ROOT/params.yaml and ROOT/runs/smoke with pairs, split and all networks of fold 0; returns ROOT."""
    shutil.copy(PARAMS, root)
    run = root / "runs/smoke"
    chosen = ["--params", str(PARAMS), "--profile", "smoke"]
    pairs, split = run / "pairs.zip", run / "split.csv"
    call("phantom", *chosen, "--out", pairs)
    call("split", *chosen, "--pairs", pairs, "--out", split)
    for net, kind in NETS.items():
        needs = [fold_of(root) / f"{need}.safetensors" for need in kind.needs]
        data = ["--pairs", pairs, "--split", split, "--fold", 0, "--models", *needs]
        written = ["--out", fold_of(root) / f"{net}.safetensors", "--curve", fold_of(root) / f"{net}.csv"]
        call("train", net, *chosen, *data, *written)
    return root


def fold_of(root: Path) -> Path:
    return root / "runs/smoke/fold0"


def call(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0
