"""Compute the InceptionV3 features of slices, for FID and KID.

Reads an archive of pairs and takes at most --number of its slices by a seeded choice: of all, or with --split
of those whose patients have --role in --fold. Writes one .npz of features, ids and the extractor's name. With
--cache, features once computed are kept there and found again by the slice's content.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pig.errors import InputError
from pig.files import atomic
from pig.progress import track
from pig.verbs.common import add_compute, add_settings, compute, settings

if TYPE_CHECKING:
    import pandas as pd

    from pig.fidelity import Floats


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the slices")
    parser.add_argument("--split", metavar="CSV", help="folds by patient; needs --fold and --role")
    parser.add_argument("--fold", metavar="K", type=int, help="fold of the split")
    parser.add_argument(
        "--role", choices=["train", "validation", "test"], help="role of the patients in the fold"
    )
    parser.add_argument("--number", metavar="N", type=int, required=True, help="slices to take at most")
    parser.add_argument("--out", metavar="NPZ", required=True, help="features to write")
    parser.add_argument("--cache", metavar="DIR", help="keep the features of each slice in DIR")
    parser.add_argument(
        "--weights", metavar="FILE", help="InceptionV3 weights (default: $PIG_INCEPTION or installed)"
    )
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    import os

    import numpy as np

    from pig import fidelity
    from pig.pairs import digest, read_archive

    if args.number < 2:
        raise InputError(f"--number {args.number}: expected at least 2")
    chosen = settings(args, "fidelity").fidelity
    weights = fidelity.find_weights(args.weights, os.environ)
    pairs = read_archive(args.pairs)
    taken = pairs.select(fidelity.choose(candidates(args, pairs.table), args.number, chosen.seed))
    extractor = fidelity.inception(weights, compute(args))

    values = np.empty((len(taken), fidelity.WIDTH), np.float32)
    store = Folder(Path(args.cache)) if args.cache else None
    rows = fidelity.features(taken.images, extractor, chosen.batch, store)
    for row, feature in track(rows, len(taken), f"features {Path(args.out).stem}"):
        values[row] = feature
    ids = taken.table["id"].tolist()
    found = fidelity.Features(values, ids, digest(pairs), extractor.name, extractor.sha256)
    with atomic(args.out) as file:
        fidelity.write_features(file, found)


def candidates(args: Namespace, table: "pd.DataFrame") -> list[int]:
    """The rows of `table` to choose from: all, or those with --role in --fold of --split."""
    import pandas as pd

    from pig.pairs import rows

    given = [value is not None for value in (args.split, args.fold, args.role)]
    if any(given) and not all(given):
        raise InputError("--split, --fold and --role: expected all three or none")
    if not any(given):
        return list(range(len(table)))
    try:
        split = pd.read_csv(args.split, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise InputError(f"{args.split}: expected the table of `pig split` ({error})") from error
    return rows(split, table, args.fold, args.role).tolist()


class Folder:
    """Features by key, one small file each; several jobs may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.npy"

    def get(self, key: str) -> "Floats | None":
        """The features under `key`, None if there are none; InputError if the file is broken."""
        import numpy as np

        path = self.path(key)
        if not path.exists():
            return None
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: expected features; remove the file to compute them anew") from error

    def __setitem__(self, key: str, value: "Floats") -> None:
        import numpy as np

        with atomic(self.path(key)) as file:
            np.save(file, value)
