"""Compute FID and KID between two sets of slices, from their features.

Reads two files of `pig features`; writes JSON: fid, kid with its standard deviation over subsets, the sizes
of both sets, and the extractor. Lower is closer. Both depend on the sizes: compare numbers of equal n only,
and with the floor that real slices of other patients reach at that n.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from pig.errors import InputError
from pig.files import atomic
from pig.verbs.common import add_settings, settings


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
    from pig.fidelity import frechet_distance, kid, read_features

    chosen = settings(args, "fidelity").fidelity
    found, reference = read_features(args.features), read_features(args.reference)
    if found.sha256 != reference.sha256:
        there = f"{reference.extractor}, as in {args.reference}"
        raise InputError(f"{args.features}: features of {found.extractor}; expected those of {there}")
    score = kid(found.values, reference.values, chosen.kid_subsets, chosen.kid_subset_size, chosen.seed)
    scores = {
        "set": Path(args.features).stem,
        "fid": frechet_distance(found.values, reference.values),
        "kid": score.mean,
        "kid_std": score.deviation,
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
