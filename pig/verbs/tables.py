"""Make Table 1 or Table 2 from scores.

Reads, for 1, the files of `pig fidelity`, one a row; for 2, those of `pig segment`, one a fold and training set.
Writes the table four times: csv (every digit), json (for `dvc metrics`), md and tex (for people).
"""

from argparse import ArgumentParser, Namespace

from pig.errors import InputError
from pig.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", choices=["1", "2"], help="1 or 2")
    parser.add_argument(
        "--scores", metavar="FILE", nargs="+", required=True, help="json (1) or csv (2) to read"
    )
    parser.add_argument(
        "--out", metavar="FILE", nargs=4, required=True, help="csv, json, md and tex to write, in this order"
    )
    parser.add_argument(
        "--title", metavar="TEXT", default="", help="what the numbers are of, for the caption"
    )


def run(args: Namespace) -> None:
    import json
    from pathlib import Path

    import pandas as pd

    from pig import tables

    try:
        if args.table == "1":
            table = tables.table1([json.loads(Path(path).read_text()) for path in args.scores])
            caption, cells, keys = (
                tables.caption1(table, args.title),
                tables.cells1(table),
                ["fid", "kid", "n"],
            )
        else:
            table = tables.table2(pd.concat([pd.read_csv(path) for path in args.scores]))
            caption, cells, keys = tables.caption2(table, args.title), tables.cells2(table), tables.SCORES
    except (KeyError, json.JSONDecodeError, pd.errors.ParserError) as error:
        raise InputError(
            f"{' '.join(args.scores)}: expected scores for Table {args.table} ({error})"
        ) from error
    texts = (
        table.to_csv(index=False),
        tables.metrics(table, keys),
        tables.markdown(cells, caption),
        tables.latex(cells, caption, f"pig-{args.table}"),
    )
    for path, text in zip(args.out, texts, strict=True):
        with atomic(path, "w") as file:
            file.write(text)
