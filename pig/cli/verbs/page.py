"""Write the report as one web page, which any browser shows from the file alone.

Reads the csv files of `pig tables` (their md files lie beside them), the archives of the real pairs and of generated
ones with what `pig copies` found of these, the frames of Figure 3, the loss curves, the networks and the reports of
`pig sample`. Real slices are shown only of the embedded data set, or where figures.show_real allows it. Writes html.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from pig.cli.options import add_settings, settings
from pig.cli.verbs.figures import read_curves, read_frames
from pig.cli.verbs.study import read_tables, software
from pig.core.errors import InputError
from pig.core.files import atomic
from pig.models.table import Params

SECTIONS = [name for name, of in Params.model_fields.items() if hasattr(of.annotation, "model_fields")]
CLOSEST = 10  # pairs, as in figures.copies
KEPT = ("net", "fold", "revision", "code", "data", "trained_pairs", "seen", "parameters", "validation")
HASH = 16  # characters of a hash that are shown


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--tables", metavar="CSV", nargs="+", required=True, help="table{1..5}.csv")
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument(
        "--generated", metavar="ZIP", nargs="*", default=[], help="archives of generated pairs, METHOD.zip"
    )
    parser.add_argument(
        "--copies", metavar="CSV", nargs="*", default=[], help="what `pig copies` wrote of each, METHOD.csv"
    )
    parser.add_argument("--frames", metavar="NPZ", help="what `pig progression` wrote")
    parser.add_argument(
        "--curves", metavar="CSV", nargs="+", required=True, help="loss curves, fold{K}/{network}.csv"
    )
    parser.add_argument("--nets", metavar="FILE", nargs="+", required=True, help="the trained networks")
    parser.add_argument("--costs", metavar="JSON", nargs="+", required=True, help="reports of `pig sample`")
    parser.add_argument("--profile-name", metavar="NAME", required=True, help="profile that was run")
    parser.add_argument("--out", metavar="HTML", required=True, help="page to write")
    add_settings(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, *SECTIONS)

    from pig.core.reading import read_json
    from pig.data.archive import read_archive
    from pig.data.pairs import digest
    from pig.models import weights
    from pig.report import page
    from pig.report.findings import findings

    tables, texts = read_tables(args.tables)
    pairs = read_archive(args.pairs)
    private = chosen.data.source != "phantom" and not chosen.figures.show_real
    number, level = chosen.figures.sheet_pairs, chosen.statistics.level
    headers = [weights.load(path)[1] for path in args.nets]
    costs = [read_json(path, {"method": str}) for path in args.costs]
    curves = read_curves(args.curves)
    machines = {str(cost.get("machine", "")) for cost in costs} - {""}
    height, width = pairs.images.shape[1:]
    made = page.Page(
        profile=args.profile_name,
        source=chosen.data.source,
        size=f"{width}×{height}",
        pairs=len(pairs),
        patients=pairs.table["patient"].nunique(),
        level=100 * level,
        findings=findings(tables, level),
        tables={of: page.parse_table(text, f"table {of}, md") for of, text in sorted(texts.items())},
        frames=page.progression(*read_frames(args.frames)) if args.frames else [],
        shelves=_shelves(args, None if private else pairs, number),
        real=[] if private else page.spaced(pairs, number),
        private=private,
        doses=page.doses(tables[2]) if 3 in tables else [],
        curves=page.curves(curves),
        folds=sorted({fold for folds in curves.values() for fold in folds}),
        data=page.data_set(pairs, chosen.pairing.ring),
        facts={
            "Profile": args.profile_name,
            "Data": f"{chosen.data.source}, sha256 {digest(pairs)[:HASH]}",
            "Software": software(),
            "Hardware": ", ".join(sorted(machines)) or "not recorded",
        },
        networks=[_header(header) for header in headers],
        settings={
            name: {key: json.dumps(value) for key, value in getattr(chosen, name).model_dump().items()}
            for name in SECTIONS
        },
    )
    text = page.render(made)
    with atomic(args.out, "w") as file:
        file.write(text)


def _shelves(args: Namespace, real: Any, number: int) -> list[Any]:
    """PIG first, its closest after it. Where real pairs must stay hidden (None), of methods with masks of their own."""
    from pig.core.reading import read_csv
    from pig.data.archive import read_archive
    from pig.models.table import METHODS
    from pig.report import page

    generated, copies = ({Path(path).stem: path for path in paths} for paths in (args.generated, args.copies))
    if generated.keys() != copies.keys() or len(generated) < len(args.generated):
        raise InputError("--generated and --copies: expected one of each a method, METHOD.zip and METHOD.csv")
    shelves = []
    for name in sorted(generated, key=lambda name: (name != "pig", [*METHODS, name].index(name))):
        if name not in METHODS:
            raise InputError(f"{generated[name]}: expected one of {', '.join(METHODS)} as its name")
        if real is None and METHODS[name].masks:
            continue
        made = read_archive(generated[name])
        found = read_csv(copies[name], columns=("id",), numbers=("joint",))
        shelves.append(page.shelf(name, made, found, real, number))
        if name == "pig" and real is not None:
            shelves.append(page.closest(name, made, found, real, CLOSEST))
    return shelves


def _header(header: dict[str, Any]) -> dict[str, str]:
    """What the file of a network says of itself, as text."""
    found = {key: header.get(key, "not recorded") for key in KEPT}
    found["data"] = str(found["data"])[:HASH]
    if isinstance(found["validation"], float):
        found["validation"] = f"{found['validation']:.4g}"
    return {key: f"{value:,}" if isinstance(value, int) else str(value) for key, value in found.items()}
