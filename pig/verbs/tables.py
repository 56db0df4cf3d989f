"""Write one of the five tables from scores.

NUMBER 1 (fidelity) reads the json files of `pig fidelity`, of whole slices and of crops; 2 (segmentation) the csv
files of `pig segment`; 3 (pairing) the csv files of `pig pairing`, `pig trts` and `pig segment`; 4 (copying) the csv
files of `pig copies`; 5 (costs) the reports of `pig sample`. Writes four files: csv (full precision, the paper's
numbers beside ours), json (row -> metric -> number, for dvc metrics), md and tex.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from pig.errors import InputError
from pig.files import atomic
from pig.verbs.common import add_settings, settings

READS = {  # the options that each table needs, and those that it may have
    1: (("scores",), ("crops", "costs")),
    2: (("scores",), ()),
    3: (("scores", "pairing", "trts"), ()),
    4: (("scores",), ()),
    5: (("scores",), ()),
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "number",
        metavar="NUMBER",
        type=int,
        choices=READS,
        help="1: fidelity, 2: segmentation, 3: pairing, 4: copying, 5: costs",
    )
    parser.add_argument(
        "--scores", metavar="FILE", nargs="+", required=True, help="json (1, 5) or csv (2, 3, 4) files"
    )
    parser.add_argument("--crops", metavar="JSON", nargs="+", help="scores of crops around lesions (1)")
    parser.add_argument("--costs", metavar="JSON", nargs="+", help="reports of `pig sample` (1)")
    parser.add_argument("--pairing", metavar="CSV", nargs=1, help="what `pig pairing` wrote (3)")
    parser.add_argument("--trts", metavar="CSV", nargs="+", help="what `pig trts` wrote (3)")
    parser.add_argument(
        "--title", metavar="TEXT", default="", help="data and profile, the caption's first sentence"
    )
    parser.add_argument(
        "--steps", metavar="N", type=int, help="optimiser steps of a segmenter, for the caption (2)"
    )
    parser.add_argument(
        "--out", metavar="FILE", nargs=4, required=True, help="files to write: .csv, .json, .md and .tex"
    )
    add_settings(parser)


def run(args: Namespace) -> None:
    from pig import tables

    needed, possible = READS[args.number]
    given = {name for name in ("scores", "crops", "costs", "pairing", "trts") if getattr(args, name)}
    if not set(needed) <= given <= {*needed, *possible}:
        expected = " ".join(f"--{name}" for name in needed)
        raise InputError(f"table {args.number}: expected {expected} and no other input")
    if sorted(Path(path).suffix for path in args.out) != sorted(tables.FORMATS):
        raise InputError(f"--out {' '.join(args.out)}: expected one file each of {', '.join(tables.FORMATS)}")
    table = _table(args)
    for path in args.out:
        with atomic(path, "w") as file:
            file.write(tables.FORMATS[Path(path).suffix](table))


def _table(args: Namespace) -> Any:
    from pig import evidence, results

    match args.number:
        case 1:
            scores, crops, costs = (
                [read_json(path) for path in of or []] for of in (args.scores, args.crops, args.costs)
            )
            return results.table1(scores, crops, costs, args.title)
        case 2:
            return results.table2(_read_all(args.scores), _inference(args), args.steps, args.title)
        case 3:
            (pairing,) = [read_csv(path) for path in args.pairing]
            trts, overlaps = _read_all(args.trts), _read_all(args.scores)
            return evidence.table3(pairing, trts, overlaps, _inference(args), args.title)
        case 4:
            found = {}
            for path in args.scores:
                frame = read_csv(path)
                found[Path(path).stem, int(frame["fold"].iloc[0])] = frame
            return evidence.table4(found, args.title)
        case _:
            return evidence.table5([read_json(path) for path in args.scores], args.title)


def _inference(args: Namespace) -> Any:
    from pig.results import Inference

    return Inference(**settings(args, "statistics").statistics.model_dump())


def read_json(path: str) -> Any:
    """What a JSON file holds; InputError if it holds none."""
    import json

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON ({error})") from None


def _read_all(paths: list[str]) -> Any:
    import pandas as pd

    return pd.concat([read_csv(path) for path in paths], ignore_index=True)


def read_csv(path: str) -> Any:
    """A table of scores; InputError if it is none."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype={"id": str, "patient": str})
    except ValueError as error:  # pandas' own errors are among them
        raise InputError(f"{path}: expected CSV ({error})") from None
