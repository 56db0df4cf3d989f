"""Measure how well masks and images of each set belong together, and how like real ones its lesions are.

Reads the archive of real pairs and archives of generated ones, fold{K}/NAME.zip. Writes csv, two rows a set: the set
itself (real, fold{K}/real or fold{K}/NAME), and as a control the same with its masks shuffled among its images.

Columns: set, n, contrast and area of the lesions with their standard deviations, the shares of masks in one piece and
of empty ones, and contrast and area relative to the real pairs of the fold's training patients, which the generator
saw. Unshuffled sets of a fold also have w_X and floor_X (pig/metrics/lesions.py). w_X is the distance of descriptor X
of their lesions from that of the fold's test patients; floor_X is that of training patients' lesions at the same n.
"""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pig.cli.options import add_settings, settings
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument(
        "--generated", metavar="ZIP", nargs="+", required=True, help="archives of generated pairs"
    )
    parser.add_argument("--out", metavar="CSV", required=True, help="report to write")
    add_settings(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, "pairing").pairing
    places = [Path(path).resolve() for path in args.generated]
    names = [f"{place.parent.name}/{place.stem}" for place in places]
    if len(set(names)) < len(names):
        raise InputError(
            f"--generated: expected archives of different folds or names; found {' '.join(names)}"
        )
    folds = [fold_of(place) for place in places]

    from pig.data.archive import read_archive
    from pig.metrics import lesions
    from pig.metrics.pairing import report

    real, described = read_archive(args.pairs), {}

    def part(name: str, fold: int, pairs: Any, path: str) -> tuple[str, str, Any, Any]:
        described[name] = lesions.describe(pairs.images, pairs.need_masks(path))
        return name, f"fold{fold}/real", pairs.images, pairs.masks

    def sets() -> Iterator[tuple[str, str, Any, Any]]:
        yield "real", "real", real.images, real.need_masks(args.pairs)
        for fold in sorted(set(folds)):
            yield part(f"fold{fold}/real", fold, real.of(args.split, fold, "train"), args.pairs)
        for name, fold, path in zip(names, folds, args.generated, strict=True):
            yield part(name, fold, read_archive(path), path)

    number = 1 + len(set(folds)) + len(names)
    frame = report(track(sets(), number, "pairing", unit="set"), chosen.ring, chosen.seed)
    held_out = {fold: real.of(args.split, fold, "test") for fold in set(folds)}
    tests = {f"fold{k}": lesions.describe(of.images, of.need_masks()) for k, of in held_out.items()}
    columns = [f"{what}_{key}" for what in ("w", "floor") for key in lesions.DESCRIPTORS]
    frame[columns] = float("nan")
    for name, found in described.items():
        fold = name.split("/")[0]
        apart = lesions.distances(found, tests[fold])
        train = described[f"{fold}/real"]
        least = lesions.floor(train, tests[fold], len(found), chosen.floor_draws, chosen.seed)
        frame.loc[frame["set"] == name, columns] = [*apart.values(), *least.values()]
    with atomic(args.out, "w") as file:
        frame.to_csv(file, index=False)


def fold_of(place: Path) -> int:
    """The K of fold{K}/NAME.zip."""
    if not (found := re.fullmatch(r"fold(\d+)", place.parent.name)):
        raise InputError(f"{place}: expected an archive in a folder fold{{K}}")
    return int(found[1])
