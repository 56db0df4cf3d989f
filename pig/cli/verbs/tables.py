"""Write the tables of a study from its scores.

Which tables are written follows from what is given: 1 (fidelity) from --fidelity, with --crops and --costs where they
are given; 2 (segmentation) from --segment; 3 (pairing) from --pairing, --trts and --segment; 4 (copying) from --copies;
5 (costs) from --costs. Each is four files in --out, table{NUMBER}.csv (full precision, the paper's numbers beside
ours), .json (row -> metric -> number, for dvc metrics), .md and .tex.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.options import add_settings, settings
from pig.core.errors import InputError
from pig.core.files import atomics

if TYPE_CHECKING:
    from pig.report.formats import Table

INPUTS = {  # option -> kind of its files; what wrote them, and the tables that they are for
    "fidelity": ("JSON", "`pig fidelity` wrote of slices (1)"),
    "crops": ("JSON", "`pig fidelity` wrote of crops around lesions (1)"),
    "segment": ("CSV", "`pig segment` wrote (2, 3)"),
    "trts": ("CSV", "`pig trts` wrote (3)"),
    "copies": ("CSV", "`pig copies` wrote, SET.csv (4)"),
    "costs": ("JSON", "`pig sample` wrote with --report (1, 5)"),
}


def add_arguments(parser: ArgumentParser) -> None:
    for name, (kind, what) in INPUTS.items():
        parser.add_argument(f"--{name}", metavar=kind, nargs="+", default=[], help=f"what {what}")
    parser.add_argument("--pairing", metavar="CSV", help="what `pig pairing` wrote (3)")
    parser.add_argument(
        "--title", metavar="TEXT", default="", help="data and profile, the captions' first sentence"
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder of the tables to write")
    add_settings(parser)


def run(args: Namespace) -> str:
    from pig.report.formats import FORMATS

    if bool(args.pairing) != bool(args.trts) or (args.pairing and not args.segment):
        raise InputError("table 3: expected --pairing, --trts and --segment")
    if args.crops and not args.fidelity:
        raise InputError("table 1: expected --fidelity with --crops")
    tables = list(_tables(args))
    if not tables:
        raise InputError("expected --fidelity, --segment, --copies or --costs")
    texts = {
        Path(args.out, f"table{table.layout.number}{ending}"): form(table)
        for table in tables
        for ending, form in FORMATS.items()
    }
    with atomics(texts, "w") as files:
        for file, text in zip(files, texts.values(), strict=True):
            file.write(text)
    return f"tables {', '.join(str(table.layout.number) for table in tables)}"


def _tables(args: Namespace) -> "Iterator[Table]":
    from pig.metrics.copying import COPIES
    from pig.report import evidence, tables

    costs = _costs(args.costs)
    if args.fidelity:
        first = min((cost["fold"] for cost in costs), default=0)  # which Table 1 is of
        of_first = [cost for cost in costs if cost["fold"] == first]
        yield tables.table1(_fidelities(args.fidelity), _fidelities(args.crops), of_first, args.title)
    if args.segment:
        overlaps = tables.OVERLAPS.read(*args.segment)
        chosen = settings(args, "statistics", "segmentation")
        inference = tables.Inference(**chosen.statistics.model_dump())
        yield tables.table2(overlaps, inference, chosen.segmentation.steps, args.title)
        if args.pairing:
            pairing, trts = evidence.PAIRING.read(args.pairing), tables.FOUND.read(*args.trts)
            yield evidence.table3(pairing, trts, overlaps, inference, args.title)
    if args.copies:
        found = {}
        for path in args.copies:
            frame = COPIES.read(path)
            found[Path(path).stem, int(frame["fold"].iloc[0])] = frame
        yield evidence.table4(found, args.title)
    if args.costs:
        yield evidence.table5(costs, args.title)


def _fidelities(paths: list[str]) -> list[Any]:
    from pig.core.reading import read_json
    from pig.report.tables import FIDELITY

    return [read_json(path, FIDELITY) for path in paths]


def _costs(paths: list[str]) -> list[Any]:
    from pig.core.reading import check, read_json
    from pig.report.tables import COST

    found = [read_json(path, COST) for path in paths]
    for path, cost in zip(paths, found, strict=True):
        words = (cost.get(key, "") for key in ("machine", "computed_in"))
        if cost["number"] < 1 or not all(isinstance(word, str) for word in words):
            raise InputError(
                f"{path}: expected one sample or more, and the names of a machine and a precision"
            )
        for net, of in cost["networks"].items():
            check(of, {"parameters": int, "seen": int}, f"{path}: networks.{net}")
    return found
