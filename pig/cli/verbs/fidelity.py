"""Score a set of slices against real ones, from their features.

Reads files of `pig features`, of slices or of crops, and as many of the real ones to compare with. Writes a JSON file
each: fid and kid with 95 % intervals by bootstrap (kid with its standard deviation over subsets too), FD_infinity,
precision and recall, the sizes of both sets, and the extractor. Lower is closer. All depend on the sizes: compare
numbers of equal n only, and with the floor that real slices of other patients reach at that n.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pig.cli.options import add_settings, settings
from pig.core.errors import InputError
from pig.core.files import atomics

if TYPE_CHECKING:
    from pig.core.params import Fidelity


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--features", metavar="NPZ", nargs="+", required=True, help="features of the set, SET.npz"
    )
    parser.add_argument(
        "--reference", metavar="NPZ", nargs="+", required=True, help="of the real slices or crops, likewise"
    )
    parser.add_argument("--out", metavar="JSON", nargs="+", required=True, help="scores to write, likewise")
    add_settings(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, "fidelity").fidelity
    if not len(args.features) == len(args.reference) == len(args.out):
        raise InputError("--features, --reference and --out: expected as many files of each")
    views = zip(args.features, args.reference, strict=True)
    scores = [_scores(path, reference, chosen) for path, reference in views]
    with atomics(args.out, "w") as files:
        for file, of in zip(files, scores, strict=True):
            file.write(f"{json.dumps(of, indent=2)}\n")


def _scores(path: str, reference_path: str, chosen: "Fidelity") -> dict[str, str | float]:
    """Of one file of features."""
    from pig.metrics import fidelity
    from pig.metrics.features import read_features

    found, reference = read_features(path), read_features(reference_path)
    if found.sha256 != reference.sha256:
        there = f"{reference.extractor}, as in {reference_path}"
        raise InputError(f"{path}: features of {found.extractor}; expected those of {there}")
    sets = found.values, reference.values
    drawn = (found.groups, reference.groups)
    how = (chosen.bootstrap, chosen.seed)
    fid = fidelity.frechet_distance(*sets)
    fid_ends = fidelity.frechet_interval(*sets, *drawn, *how)
    score = fidelity.kid(*sets, chosen.kid_subsets, chosen.kid_subset_size, chosen.seed)
    kid_ends = fidelity.kid_interval(*sets, *drawn, score.mean, *how)
    precision, recall = fidelity.precision_recall(reference.values, found.values, chosen.neighbours)
    return {
        "set": Path(path).stem,
        "fid": fid,
        "fid_low": fid_ends.low,
        "fid_high": fid_ends.high,
        "fd_infinity": fidelity.frechet_distance_infinity(*sets, chosen.extrapolation, chosen.seed),
        "kid": score.mean,
        "kid_low": kid_ends.low,
        "kid_high": kid_ends.high,
        "kid_std": score.deviation,
        "precision": precision,
        "recall": recall,
        "kid_subsets": chosen.kid_subsets,
        "kid_subset_size": score.size,
        "n": len(found.values),
        "reference_n": len(reference.values),
        "extractor": found.extractor,
        "extractor_sha256": found.sha256,
        "source": found.source,
        "reference_source": reference.source,
    }
