"""Compute the features of slices, and of crops around their lesions, for the scores of `pig fidelity`.

Reads an archive of pairs and takes at most --number of its slices by a seeded choice: of all, or with --split
of those whose patients have --role in --fold. With --crops it also takes at most --number of those with a lesion, and a
square around each. Writes one .npz each: features, ids, groups (patients; of generated slices the ids) and the
extractor's name. With --cache, features once computed are kept there and found again by the slice's content.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from pig.cli.options import add_compute, add_settings, start
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic, atomics

if TYPE_CHECKING:
    import pandas as pd

    from pig.metrics.features import Floats


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the slices")
    parser.add_argument("--split", metavar="CSV", help="folds by patient; needs --fold and --role")
    parser.add_argument("--fold", metavar="K", type=int, help="fold of the split")
    parser.add_argument(
        "--role", choices=["train", "validation", "test"], help="role of the patients in the fold"
    )
    parser.add_argument("--number", metavar="N", type=int, required=True, help="slices to take at most")
    parser.add_argument("--out", metavar="NPZ", required=True, help="features of slices to write")
    parser.add_argument("--crops", metavar="NPZ", help="features of squares around lesions to write")
    parser.add_argument("--cache", metavar="DIR", help="keep the features of each slice in DIR")
    parser.add_argument(
        "--weights", metavar="FILE", help="InceptionV3 weights (default: $PIG_INCEPTION or installed)"
    )
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    import os

    import numpy as np

    from pig.data.archive import read_archive
    from pig.data.pairs import digest
    from pig.metrics import features

    if args.number < 2:
        raise InputError(f"--number {args.number}: expected at least 2")
    if args.crops == args.out:
        raise InputError(f"--crops {args.crops}: expected another file than --out")
    sections, device = start(args, "fidelity")
    chosen = sections.fidelity
    pairs = read_archive(args.pairs)
    rows = candidates(args, pairs.table)
    taken = {args.out: pairs.select(features.choose(rows, args.number, chosen.seed))}
    if args.crops:
        masks = pairs.need_masks(args.pairs)
        rows = [row for row in rows if masks[row].any()]
        if len(rows) < 2:
            raise InputError(f"{args.pairs}: expected 2 or more slices with a lesion; found {len(rows)}")
        taken[args.crops] = pairs.select(features.choose(rows, args.number, chosen.seed))
    if chosen.extractor is None:
        extractor = features.inception(features.find_weights(args.weights, os.environ), device)
    else:
        extractor = features.pinned(Path(chosen.extractor), chosen.extractor_sha256, device)
    store, source = Folder(Path(args.cache)) if args.cache else None, digest(pairs)

    found = {}
    for path, some in taken.items():
        images, label = list(some.images), f"features {Path(args.out).stem}"
        if path == args.crops:
            images = [features.crop(*each) for each in zip(images, some.need_masks(), strict=True)]
            label += " crops"
        by_row = dict(track(features.features(images, extractor, chosen.batch, store), len(images), label))
        values = np.stack([by_row[row] for row in range(len(images))])
        ids = some.table["id"].tolist()
        groups = [patient or own for patient, own in zip(some.table["patient"], ids, strict=True)]
        found[path] = features.Features(values, ids, groups, source, extractor.name, extractor.sha256)
    with atomics(found) as files:
        for file, of in zip(files, found.values(), strict=True):
            features.write_features(file, of)


def candidates(args: Namespace, table: "pd.DataFrame") -> list[int]:
    """The rows of `table` to choose from: all, or those with --role in --fold of --split."""
    from pig.core.reading import read_csv
    from pig.data.pairs import rows

    given = [value is not None for value in (args.split, args.fold, args.role)]
    if any(given) and not all(given):
        raise InputError("--split, --fold and --role: expected all three or none")
    if not any(given):
        return list(range(len(table)))
    return rows(read_csv(args.split, columns=("id",), text=True), table, args.fold, args.role).tolist()


class Folder:
    """Features by key, one small file each, a zip for its checksum; several jobs may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.npz"

    def get(self, key: str) -> "Floats | None":
        """The features under `key`, None if there are none; InputError if the file is broken."""
        import numpy as np

        path = self.path(key)
        if not path.exists():
            return None
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                found = file["values"]
        except Exception:  # arbitrary bytes make zipfile and numpy stumble in arbitrary ways
            found = None
        if not (found is not None and found.ndim == 1 and found.dtype == np.float32):
            raise InputError(f"{path}: expected features; remove the file to compute them anew")
        return found

    def __setitem__(self, key: str, value: "Floats") -> None:
        import numpy as np

        with atomic(self.path(key)) as file:
            np.savez(file, values=value)
