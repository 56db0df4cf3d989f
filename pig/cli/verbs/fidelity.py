"""Score a set of slices against real ones, from their features.

Reads two files of `pig features`; writes JSON: fid and kid with 95 % intervals by bootstrap (kid with its standard
deviation over subsets too), FD_infinity, precision and recall, the sizes of both sets, and the extractor. Lower is
closer. All depend on the sizes: compare numbers of equal n only, and with the floor that real slices of other
patients reach at that n.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from pig.cli.options import add_settings, settings
from pig.core.errors import InputError
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--features", metavar="NPZ", required=True, help="features of the set; its name names the set"
    )
    parser.add_argument(
        "--reference", metavar="NPZ", required=True, help="features of the real slices to compare with"
    )
    parser.add_argument("--out", metavar="JSON", required=True, help="scores to write")
    add_settings(parser)


def run(args: Namespace) -> None:
    from pig.metrics import fidelity
    from pig.metrics.features import read_features

    chosen = settings(args, "fidelity").fidelity
    found, reference = read_features(args.features), read_features(args.reference)
    if found.sha256 != reference.sha256:
        there = f"{reference.extractor}, as in {args.reference}"
        raise InputError(f"{args.features}: features of {found.extractor}; expected those of {there}")
    sets = found.values, reference.values
    drawn = (found.groups, reference.groups)
    how = (chosen.bootstrap, chosen.seed)
    fid = fidelity.frechet_distance(*sets)
    fid_ends = fidelity.frechet_interval(*sets, *drawn, *how)
    score = fidelity.kid(*sets, chosen.kid_subsets, chosen.kid_subset_size, chosen.seed)
    kid_ends = fidelity.kid_interval(*sets, *drawn, score.mean, *how)
    precision, recall = fidelity.precision_recall(reference.values, found.values, chosen.neighbours)
    scores = {
        "set": Path(args.features).stem,
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
    with atomic(args.out, "w") as file:
        json.dump(scores, file, indent=2)
        file.write("\n")
