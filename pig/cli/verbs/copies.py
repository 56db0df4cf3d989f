"""Search for training pairs that generated pairs repeat: nearest neighbours in image, in mask and in both.

Reads the archive of real pairs and the split. Without --generated, the queries are the fold's held-out real pairs
(validation and test patients), which say how near a pair comes that was not copied; with it, the generated pairs,
whose distances are put into the units of --real, what this verb wrote of the held-out pairs. Writes csv, one row a
pair: its id, fold, and for image, mask and joint the distance to the nearest training pair, that pair's id, and the
distance to the nearest held-out pair (of another patient); and the nearest other pair of its own set.
"""

from argparse import ArgumentParser, Namespace

from pig.core.errors import InputError
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument("--fold", metavar="K", type=int, required=True, help="fold, counted from 0")
    parser.add_argument("--generated", metavar="ZIP", help="pairs to search for; needs --real")
    parser.add_argument("--real", metavar="CSV", help="what was found of the fold's held-out pairs")
    parser.add_argument("--out", metavar="CSV", required=True, help="neighbours to write")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="CPU threads")


def run(args: Namespace) -> None:
    if (args.generated is None) != (args.real is None):
        raise InputError("--generated and --real: expected both or neither")

    import pandas as pd

    from pig.core.reading import read_csv
    from pig.data.archive import read_archive
    from pig.data.pairs import rows
    from pig.metrics.copying import Scales, Set, calibrate, lesions_of, report

    def searched(path: str, labels: str) -> Set:
        """The pairs of an archive without their masks, which would take as much memory as the images."""
        pairs = read_archive(path)
        lesions, table = lesions_of(pairs.need_masks(path)), pairs.table
        return Set(pairs.images, lesions, table["id"].tolist(), table[labels].tolist())

    real = searched(args.pairs, "patient")
    split = read_csv(args.split, columns=("id",), text=True)
    table = pd.DataFrame({"id": real.ids})
    training, heldout = (
        real.select(rows(split, table, args.fold, *roles)) for roles in (("train",), ("validation", "test"))
    )
    del real
    if args.generated is None:
        queries, scales = heldout, calibrate(heldout, training)
    else:
        queries, scales = searched(args.generated, "id"), Scales(*_scales(args))
    found = report(queries, training, heldout, scales)
    found.insert(1, "fold", args.fold)
    found["scale_image"], found["scale_mask"] = scales
    with atomic(args.out, "w") as file:
        found.to_csv(file, index=False)


def _scales(args: Namespace) -> tuple[float, float]:
    """The units that --real was measured in."""
    from pig.core.reading import read_csv

    found = read_csv(args.real, counts=("fold",), numbers=("scale_image", "scale_mask"))
    if (folds := set(found["fold"])) != {args.fold}:
        raise InputError(f"{args.real}: expected pairs of fold {args.fold}; found fold {sorted(folds)[0]}")
    return float(found["scale_image"].iloc[0]), float(found["scale_mask"].iloc[0])
