"""Train on real, test on synthetic: let the fold's segmenters find the lesions of generated slices.

Reads the segmenters of one fold that `pig segment real` kept, trained on real pairs alone, and archives of pairs
generated in that fold. Where a segmenter finds what the generated mask says, mask and slice belong together. Writes
csv, one row a segmenter and pair: id, patient (the pair itself: pairs are independent), fold, set, seed, dice, and
shuffled, the Dice against the mask of another pair of the set.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.options import add_compute, add_settings, start
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic

if TYPE_CHECKING:
    import torch

    from pig.core.params import SegmenterHeader


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--models", metavar="FILE", nargs="+", required=True, help="segmenters of one fold")
    parser.add_argument("--generated", metavar="ZIP", nargs="+", required=True, help="archives METHOD.zip")
    parser.add_argument("--out", metavar="CSV", required=True, help="scores to write")
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> str:
    sections, device = start(args, "segmentation")
    chosen = sections.segmentation

    import pandas as pd

    from pig.data.archive import read_archive
    from pig.metrics import segmentation
    from pig.metrics.pairing import derangement

    models = [_read(path, device) for path in args.models]
    if len(folds := {of.fold for of, _ in models}) > 1:
        raise InputError(f"--models: expected segmenters of one fold; found {sorted(folds)}")

    found = []
    for path in track(args.generated, len(args.generated), f"trts fold {min(folds)}", unit="set"):
        pairs = read_archive(path)
        order = derangement(len(pairs), chosen.seed)
        for of, model in models:
            if pairs.images.shape[1:] != tuple(of.size):
                raise InputError(f"{path}: images of {pairs.images.shape[1:]} pixels; expected {of.size}")
            scores = segmentation.agreement(model, pairs, order, chosen, device)
            scores.insert(1, "patient", scores["id"])
            scores.insert(2, "fold", of.fold)
            scores.insert(3, "set", Path(path).stem)
            scores.insert(4, "seed", of.seed)
            found.append(scores)
    table = pd.concat(found)
    with atomic(args.out, "w") as file:
        table.to_csv(file, index=False)
    told = [
        f"{100 * of['dice'].mean():.1f} % of {name} (shuffled {100 * of['shuffled'].mean():.1f} %)"
        for name, of in table.groupby("set", sort=False)
    ]
    return f"Dice {', '.join(told)}"


def _read(path: str, device: "torch.device") -> "tuple[SegmenterHeader, torch.nn.Module]":
    """A segmenter and its header. Raises InputError, naming the file and what does not fit."""
    import torch

    from pig.core.params import SegmenterHeader, checked
    from pig.metrics import segmentation
    from pig.models import weights

    def make(raw: dict[str, Any]) -> torch.nn.Module:
        of = checked(SegmenterHeader, raw, path)
        return segmentation.build(of.encoder, of.depth, of.decoder_channels, (of.size[0], of.size[1]))

    model, raw = weights.read(path, make)
    return checked(SegmenterHeader, raw, path), model.to(device)
