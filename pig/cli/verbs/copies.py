"""Search for training pairs that generated pairs repeat: nearest neighbours in image, in mask and in both.

Reads the archive of real pairs, the split, and archives of generated pairs. First it searches for the fold's held-out
real pairs (validation and test patients): they say how near a pair comes that was not copied, and give the units of the
generated pairs' distances. Writes one csv of the held-out pairs and one of each archive. A row is a pair: its id, fold,
and for image, mask and joint the distance to the nearest training pair, that pair's id, and the distance to the
nearest held-out pair (of another patient); and the nearest other pair of its own set.
"""

from argparse import ArgumentParser, Namespace

from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomics


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument("--fold", metavar="K", type=int, required=True, help="fold, counted from 0")
    parser.add_argument(
        "--generated", metavar="ZIP", nargs="*", default=[], help="archives of pairs made in this fold"
    )
    parser.add_argument(
        "--out", metavar="CSV", nargs="+", required=True, help="of the held-out pairs, then of each archive"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="CPU threads")


def run(args: Namespace) -> None:
    if len(args.out) != (expected := 1 + len(args.generated)):
        raise InputError(f"--out: expected {expected} files: of the real pairs, and one of each --generated")

    import pandas as pd

    from pig.core.reading import read_csv
    from pig.data.archive import read_archive
    from pig.data.pairs import rows
    from pig.metrics.copying import Set, calibrate, lesions_of, report

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
    scales = calibrate(heldout, training)
    tables = []
    for path in track([None, *args.generated], expected, f"copies fold {args.fold}", unit="set"):
        queries = heldout if path is None else searched(path, "id")
        found = report(queries, training, heldout, scales)
        found.insert(1, "fold", args.fold)
        found["scale_image"], found["scale_mask"] = scales
        tables.append(found)
    with atomics(args.out, "w") as files:
        for file, found in zip(files, tables, strict=True):
            found.to_csv(file, index=False)
