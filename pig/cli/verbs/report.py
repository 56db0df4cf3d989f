"""Write the report of a study twice: as a page to read in Markdown, and as one web page that needs nothing else.

Reads the csv files of `pig tables` (their md files lie beside them), the archives of the real pairs and of generated
ones with what `pig copies` found of these, the frames of Figure 3, the loss curves, the networks and the reports of
`pig sample`; from --logs, if it is there, how long the jobs took. Real slices are shown only of the embedded data set,
or where figures.show_real allows it. What holds and what does not is said by the rules of pig/report/findings.py.
"""

import json
import os
import re
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.options import add_settings, settings
from pig.cli.verbs.figures import read_curves, read_frames
from pig.core.errors import InputError
from pig.core.files import atomics
from pig.models.table import METHODS, Params

if TYPE_CHECKING:
    import pandas as pd

    from pig.report.formats import Table

SECTIONS = [name for name, of in Params.model_fields.items() if hasattr(of.annotation, "model_fields")]
CLOSEST = 10  # pairs, as in figures.copies
KEPT = (
    "net",
    "fold",
    "revision",
    "code",
    "data",
    "trained_pairs",
    "seen",
    "parameters",
    "computed_in",
    "validation",
)
HASH = 16  # characters of a hash that are shown
FIGURES = {  # captions, in the order of the page
    "pairs": "Real pairs, and the first that each method generated",
    "progression": "Mask and slice as they appear, step by step (the paper's Figure 3)",
    "copies": "The ten generated pairs that come closest to a training pair, each above that neighbour; the number is "
    "their distance by image and mask together, in units of what real held-out pairs show",
    "doses": "Dice by the number of generated pairs",
    "table1": "Table 1",
    "table2": "Table 2",
    "curves": "Losses while training",
    "data": "The data set",
}


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
    parser.add_argument(
        "--figures", metavar="PNG", nargs="*", default=[], help="pictures that the md refers to"
    )
    parser.add_argument("--logs", metavar="DIR", help="folder with the jobs' benchmarks, if there is one")
    parser.add_argument("--profile-name", metavar="NAME", required=True, help="profile that was run")
    parser.add_argument(
        "--out", metavar="FILE", nargs=2, required=True, help="files to write: .md and .html, in this order"
    )
    add_settings(parser)


def run(args: Namespace) -> None:
    if [Path(path).suffix for path in args.out] != [".md", ".html"]:
        raise InputError(f"--out {' '.join(args.out)}: expected a name that ends in .md and one in .html")
    chosen = settings(args, *SECTIONS)

    from pig.core.reading import read_json
    from pig.data.archive import read_archive
    from pig.data.pairs import digest
    from pig.models import weights
    from pig.report import figures, page
    from pig.report.evidence import machines
    from pig.report.findings import findings

    tables = read_tables(args.tables)
    pairs = read_archive(args.pairs)
    private = chosen.data.source != "phantom" and not chosen.figures.show_real
    number, level = chosen.figures.sheet_pairs, chosen.statistics.level
    headers = [weights.load(path)[1] for path in args.nets]
    costs = [read_json(path, {"method": str}) for path in args.costs]
    height, width = pairs.images.shape[1:]
    made = {
        "profile": args.profile_name,
        "source": chosen.data.source,
        "height": height,
        "width": width,
        "pairs": len(pairs),
        "patients": pairs.table["patient"].nunique(),
        "digest": digest(pairs)[:HASH],
        "level": level,
        "findings": findings({number: table.frame for number, table in tables.items()}, level),
        "tables": tables,
        "figures": _figures(args.figures, Path(args.out[0]).parent),
        "frames": page.progression(*read_frames(args.frames)) if args.frames else [],
        "shelves": _shelves(args, None if private else pairs, number),
        "real": [] if private else page.spaced(pairs, number),
        "private": private,
        "doses": figures.panels(figures.doses(tables[2].frame), "doses") if 3 in tables else [],
        "curves": figures.panels(figures.curves(read_curves(args.curves)), "curves"),
        "data": page.data_set(pairs, chosen.pairing.ring),
        "software": software(),
        "hardware": machines(costs) or "not recorded",
        "work": work(Path(args.logs)) if args.logs else "not recorded",
        "networks": [_header(header) for header in headers],
        "revisions": _listed(headers, "revision"),
        "codes": _listed(headers, "code"),
        "precisions": _listed(headers, "computed_in"),
        "settings": {
            name: {key: json.dumps(value) for key, value in getattr(chosen, name).model_dump().items()}
            for name in SECTIONS
        },
    }
    with atomics(args.out, "w") as files:
        for file, template in zip(files, ("page.md", "page.html"), strict=True):
            file.write(page.render(template, made))


def read_tables(paths: list[str]) -> "dict[int, Table]":
    """By number the tables in files table{N}.csv."""
    from pig.report.evidence import LAYOUTS

    tables = {}
    for path in paths:
        named = re.fullmatch(r"table([1-5])", Path(path).stem)
        if not named:
            raise InputError(f"{path}: expected a file table{{N}}.csv")
        number = int(named[1])
        tables[number] = LAYOUTS[number].read(path)
        _check(number, tables[number].frame, path)
    if not {1, 2} <= tables.keys():
        raise InputError(f"--tables {' '.join(paths)}: expected table1.csv and table2.csv among them")
    return dict(sorted(tables.items()))


def _check(number: int, table: "pd.DataFrame", path: str) -> None:
    """Raise InputError for rows that the sentences cannot do without, or cannot name."""
    if number in (1, 3) and "real" not in set(table["row"]):
        raise InputError(f"{path}: expected the row real; found {', '.join(table['row'])}")
    if number == 4:
        if unknown := set(table["row"]) - {"real", *METHODS}:
            raise InputError(f"{path}: expected rows of {', '.join(METHODS)}; found {min(unknown)}")
        if table[["image_share", "mask_share", "joint_share"]].isna().any(axis=None):
            raise InputError(f"{path}: expected a share of copies in every row; found an empty cell")


def _figures(paths: list[str], beside: Path) -> list[tuple[str, str]]:
    """Caption and place of each figure, as seen from the folder `beside`."""
    places = {Path(path).stem: os.path.relpath(path, beside) for path in paths}
    return [(caption, places[name]) for name, caption in FIGURES.items() if name in places]


def _shelves(args: Namespace, real: Any, number: int) -> list[Any]:
    """PIG first, its closest after it. Where real pairs must stay hidden (None), of methods with masks of their own."""
    from pig.data.archive import read_archive
    from pig.metrics.copying import COPIES
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
        found = COPIES.read(copies[name])
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


def _listed(headers: list[dict[str, Any]], key: str) -> str:
    """The values of `key`, most frequent first."""
    counts = Counter(str(header.get(key, "unknown")) for header in headers)
    return ", ".join(f"`{value}`" for value, _ in counts.most_common())


def software() -> str:
    """Versions of what the numbers depend on most."""
    import platform
    from importlib.metadata import version

    import pig

    names = ("torch", "numpy", "clean-fid", "segmentation-models-pytorch", "snakemake")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"pig {pig.__version__}, Python {platform.python_version()}, {versions}"


def work(logs: Path) -> str:
    """Hours of jobs by kind, from the benchmarks that Snakemake wrote into `logs`."""
    kinds = {"segment": "segmenting", "shard": "sampling", "net": "training"}
    hours: dict[str, float] = {}
    for path in sorted(logs.rglob("*.tsv")):
        _, *rows = path.read_text(encoding="utf-8").splitlines()
        kind = "segment" if path.parent.name == "segment" else "shard" if "." in path.stem else "net"
        spent = sum(float(row.split("\t")[0]) for row in rows) / 3600
        hours[kinds[kind]] = hours.get(kinds[kind], 0.0) + spent
    if not hours:
        return "not recorded"
    parts = ", ".join(f"{kind} {hours[kind]:.2f}" for kind in kinds.values() if kind in hours)
    return f"{sum(hours.values()):.2f} hours of jobs on one core or GPU each ({parts})"
