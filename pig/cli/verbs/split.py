"""Split the pairs of an archive into folds, by patient.

Each patient is tested in exactly one fold. Of a fold's other patients some are held out for validation. Writes a table:
id, patient, fold0, fold1, ..; each value is train, validation or test.
"""

from argparse import ArgumentParser, Namespace

from pig.cli.options import add_settings, settings
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of pairs")
    parser.add_argument("--out", metavar="CSV", required=True, help="table to write")
    add_settings(parser)


def run(args: Namespace) -> str:
    from pig.data.archive import read_archive
    from pig.data.pairs import split

    folds = settings(args, "folds").folds
    table = split(read_archive(args.pairs).table, folds.count, folds.validation, folds.seed)
    with atomic(args.out, "w") as file:
        table.to_csv(file, index=False, lineterminator="\n")
    return f"{folds.count} folds of {len(table)} pairs of {table['patient'].nunique()} patients"
