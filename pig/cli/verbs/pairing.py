"""Measure how well masks and images of each set belong together, and how like real ones its lesions are.

Reads the archive of real pairs and archives of generated ones, fold{K}/NAME.zip; writes csv, two rows a set: the
set (real, fold{K}/real or fold{K}/NAME) and the control with its masks shuffled among its images. Columns: set, n,
contrast and area of the lesions with their standard deviations, the shares of masks in one piece and of empty
ones, and contrast and area relative to the real pairs of the fold's training patients, which the generator saw; of
unshuffled sets of a fold also w_X, the distance of the distribution of descriptor X of its lesions from that of the
fold's test patients, and floor_X, that of training patients' lesions at the same n (pig/metrics/lesions.py).
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

    real = read_archive(args.pairs)

    def sets() -> Iterator[tuple[str, str, Any, Any]]:
        yield "real", "real", *_arrays(real, args.pairs)
        for fold in sorted(set(folds)):
            name = f"fold{fold}/real"
            yield name, name, *_arrays(real.of(args.split, fold, "train"), args.pairs)
        for name, fold, path in zip(names, folds, args.generated, strict=True):
            yield name, f"fold{fold}/real", *_arrays(read_archive(path), path)

    number = 1 + len(set(folds)) + len(names)
    frame = report(track(sets(), number, "pairing", unit="set"), chosen.ring, chosen.seed)
    columns = [f"{what}_{key}" for what in ("w", "floor") for key in lesions.DESCRIPTORS]
    frame[columns] = float("nan")
    for fold in sorted(set(folds)):
        train, test = (
            lesions.describe(*_arrays(real.of(args.split, fold, role), args.pairs))
            for role in ("train", "test")
        )
        described = {f"fold{fold}/real": train}
        for name, path in zip(names, args.generated, strict=True):
            if name.startswith(f"fold{fold}/"):
                described[name] = lesions.describe(*_arrays(read_archive(path), path))
        for name, found in described.items():
            apart = lesions.distances(found, test)
            least = lesions.floor(train, test, len(found), chosen.floor_draws, chosen.seed)
            frame.loc[frame["set"] == name, columns] = [*apart.values(), *least.values()]
    with atomic(args.out, "w") as file:
        frame.to_csv(file, index=False)


def fold_of(place: Path) -> int:
    """The K of fold{K}/NAME.zip."""
    if not (found := re.fullmatch(r"fold(\d+)", place.parent.name)):
        raise InputError(f"{place}: expected an archive in a folder fold{{K}}")
    return int(found[1])


def _arrays(pairs: Any, path: str) -> tuple[Any, Any]:
    return pairs.images, pairs.need_masks(path)
