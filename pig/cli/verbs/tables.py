"""Write one of the five tables from scores.

NUMBER 1 (fidelity) reads the json files of `pig fidelity`, of whole slices and of crops; 2 (segmentation) the csv
files of `pig segment`; 3 (pairing) the csv files of `pig pairing`, `pig trts` and `pig segment`; 4 (copying) the csv
files of `pig copies`; 5 (costs) the reports of `pig sample`. Writes four files: csv (full precision, the paper's
numbers beside ours), json (row -> metric -> number, for dvc metrics), md and tex.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import UnionType
from typing import Any

from pig.cli.options import add_settings, settings
from pig.core.errors import InputError
from pig.core.files import atomic

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
    from pig.report.formats import FORMATS

    needed, possible = READS[args.number]
    given = {name for name in ("scores", "crops", "costs", "pairing", "trts") if getattr(args, name)}
    if not set(needed) <= given <= {*needed, *possible}:
        expected = " ".join(f"--{name}" for name in needed)
        raise InputError(f"table {args.number}: expected {expected} and no other input")
    if sorted(Path(path).suffix for path in args.out) != sorted(FORMATS):
        raise InputError(f"--out {' '.join(args.out)}: expected one file each of {', '.join(FORMATS)}")
    table = _table(args)
    for path in args.out:
        with atomic(path, "w") as file:
            file.write(FORMATS[Path(path).suffix](table))


NUMBER = int | float
COST: dict[str, type | UnionType] = {
    "method": str,
    "number": int,
    "seconds": NUMBER,
    "evaluations": int,
    "operations": int | None,
    "networks": dict,
}


def _table(args: Namespace) -> Any:
    from pig.core.reading import read_csv
    from pig.metrics.copying import MEASURES
    from pig.metrics.lesions import DESCRIPTORS
    from pig.report import evidence, tables

    match args.number:
        case 1:
            scores, crops = (_fidelities(of or []) for of in (args.scores, args.crops))
            return tables.table1(scores, crops, _costs(args.costs or []), args.title)
        case 2:
            return tables.table2(_overlaps(args.scores), _inference(args), args.steps, args.title)
        case 3:
            described = [f"{what}_{key}" for what in ("w", "floor") for key in DESCRIPTORS]
            numbers = ("n", "contrast_to_real", "one_component", "empty", *described)
            (pairing,) = [read_csv(path, columns=("set",), numbers=numbers) for path in args.pairing]
            trts = _read_all(args.trts, ("fold", "seed"), ("dice", "shuffled"))
            return evidence.table3(pairing, trts, _overlaps(args.scores), _inference(args), args.title)
        case 4:
            found = {}
            numbers = ("duplicate", *MEASURES, *(f"{name}_heldout" for name in MEASURES))
            for path in args.scores:
                frame = read_csv(path, columns=("id",), counts=("fold",), numbers=numbers)
                found[Path(path).stem, int(frame["fold"].iloc[0])] = frame
            return evidence.table4(found, args.title)
        case _:
            return evidence.table5(_costs(args.scores), args.title)


def _fidelities(paths: list[str]) -> list[Any]:
    from pig.core.reading import read_json
    from pig.report.tables import FIDELITY_KEYS

    kinds: dict[str, type | UnionType] = {
        key: str if key in ("set", "extractor") else NUMBER for key in FIDELITY_KEYS
    }
    return [read_json(path, kinds) for path in paths]


def _costs(paths: list[str]) -> list[Any]:
    from pig.core.reading import check, read_json

    found = [read_json(path, COST) for path in paths]
    for path, cost in zip(paths, found, strict=True):
        if cost["number"] < 1 or not isinstance(cost.get("machine", ""), str):
            raise InputError(f"{path}: expected one sample or more, and the name of a machine")
        for net, of in cost["networks"].items():
            check(of, {"parameters": int, "seen": int}, f"{path}: networks.{net}")
    return found


def _overlaps(paths: list[str]) -> Any:
    from pig.report.tables import OVERLAP

    return _read_all(paths, ("fold", "dose", "real", "seed"), ("empty", *OVERLAP))


def _read_all(paths: list[str], counts: tuple[str, ...], numbers: tuple[str, ...]) -> Any:
    import pandas as pd

    from pig.core.reading import read_csv

    names = ("id", "patient", "set")
    tables = [read_csv(path, columns=names, counts=counts, numbers=numbers) for path in paths]
    return pd.concat(tables, ignore_index=True)


def _inference(args: Namespace) -> Any:
    from pig.report.tables import Inference

    return Inference(**settings(args, "statistics").statistics.model_dump())
