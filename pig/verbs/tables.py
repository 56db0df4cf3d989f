"""Write Table 1 (fidelity) or Table 2 (segmentation) from scores.

NUMBER 1 reads the json files of `pig fidelity`, 2 the csv files of `pig segment`, and both what the samples cost,
which `pig sample` reports. Writes four files: csv (full
precision, the paper's numbers beside ours), json (row -> metric -> number, for dvc metrics), md and tex.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from pig.errors import InputError
from pig.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "number", metavar="NUMBER", type=int, choices=[1, 2], help="1: fidelity, 2: segmentation"
    )
    parser.add_argument(
        "--scores", metavar="FILE", nargs="+", required=True, help="json (1) or csv (2) of scores"
    )
    parser.add_argument(
        "--title", metavar="TEXT", default="", help="data and profile, the caption's first sentence"
    )
    parser.add_argument("--costs", metavar="JSON", nargs="*", default=[], help="reports of `pig sample`")
    parser.add_argument(
        "--steps", metavar="N", type=int, help="optimiser steps of a segmenter, for the caption (2)"
    )
    parser.add_argument(
        "--out", metavar="FILE", nargs=4, required=True, help="files to write: .csv, .json, .md and .tex"
    )


def run(args: Namespace) -> None:
    import pandas as pd

    from pig import tables

    if sorted(Path(path).suffix for path in args.out) != sorted(tables.FORMATS):
        raise InputError(f"--out {' '.join(args.out)}: expected one file each of {', '.join(tables.FORMATS)}")
    costs = [_read_json(path) for path in args.costs]
    if args.number == 1:
        table = tables.table1([_read_json(path) for path in args.scores], costs, args.title)
    else:
        scores = pd.concat([_read_csv(path) for path in args.scores], ignore_index=True)
        table = tables.table2(scores, args.steps, args.title, costs)
    for path in args.out:
        with atomic(path, "w") as file:
            file.write(tables.FORMATS[Path(path).suffix](table))


def _read_json(path: str) -> Any:
    import json

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON ({error})") from None


def _read_csv(path: str) -> Any:
    import pandas as pd

    try:
        return pd.read_csv(path, dtype={"id": str, "patient": str})
    except ValueError as error:  # pandas' own errors are among them
        raise InputError(f"{path}: expected CSV ({error})") from None
