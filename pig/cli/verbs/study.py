"""Write the page to read first: what was run, what it shows, all tables and figures.

Reads the csv files of `pig tables` (their md files lie beside them), the archive of the pairs, the networks and the
reports of `pig sample`; from --logs, if it is there, how long the jobs took. What holds and what does not is said by
the rules of pig/report/findings.py. Writes md.
"""

import os
import re
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from pig.cli.options import add_settings, settings
from pig.core.errors import InputError
from pig.core.files import atomic

HEADS = {
    "holds": "Claims that hold on this data",
    "fails": "Claims that fail on this data",
    "open": "Claims that this data leaves open",
    "note": "To bear in mind",
}
NEEDED = {  # columns of the tables that sentences are made from: text, whole numbers, numbers
    1: (("row", "method"), ("n",), ("fid", "fid_low", "fid_high")),
    2: (
        ("row", "set", "training_set"),
        ("dose",),
        ("dice", "dice_low", "dice_high", "gain", "gain_low", "gain_high", "p_real", "p_rival", "best_rival"),
    ),
    3: (
        ("row", "label"),
        (),
        ("trts", "trts_low", "trts_high", "trts_shuffled", "tstr", "tstr_low", "tstr_high"),
    ),
    4: (("row", "label"), ("n",), ("image_share", "mask_share", "joint_share")),
}
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
    parser.add_argument("--nets", metavar="FILE", nargs="+", required=True, help="the trained networks")
    parser.add_argument("--costs", metavar="JSON", nargs="+", required=True, help="reports of `pig sample`")
    parser.add_argument("--figures", metavar="PNG", nargs="*", default=[], help="pictures to show")
    parser.add_argument("--logs", metavar="DIR", help="folder with the jobs' benchmarks, if there is one")
    parser.add_argument("--profile-name", metavar="NAME", required=True, help="profile that was run")
    parser.add_argument("--source", metavar="TEXT", required=True, help="where the data come from")
    parser.add_argument("--out", metavar="MD", required=True, help="page to write")
    add_settings(parser)


def run(args: Namespace) -> None:
    level = settings(args, "statistics").statistics.level

    from pig.core.reading import read_json
    from pig.data.archive import read_archive
    from pig.data.pairs import digest
    from pig.models import weights
    from pig.report.findings import findings

    tables, texts = read_tables(args.tables)
    pairs = read_archive(args.pairs)
    headers = [weights.load(path)[1] for path in args.nets]
    costs = [read_json(path, {"method": str}) for path in args.costs]
    facts = {
        "Profile": f"`{args.profile_name}`, every number of it in params.yaml",
        "Data": f"{args.source}: {len(pairs)} pairs of {pairs.table['patient'].nunique()} patients, "
        f"{pairs.images.shape[2]}x{pairs.images.shape[1]} pixels, sha256 `{digest(pairs)[:16]}`",
        "Networks": f"{len(headers)}, trained at git revision {_listed(headers, 'revision')} "
        f"(code {_listed(headers, 'code')})",
        "Software": software(),
        "Hardware": ", ".join(sorted({cost.get("machine", "") for cost in costs} - {""})) or "not recorded",
        "Work": work(Path(args.logs)) if args.logs else "not recorded",
    }
    found = findings(tables, level)
    beside = Path(args.out).parent
    lines = ["# What this study shows", ""]
    lines += [
        "This page is made by `snakemake`, from the numbers of the tables below; no word is by hand.",
        "",
    ]
    lines += ["## What was run", "", "| | |", "| --- | --- |"]
    lines += [f"| {key} | {value} |" for key, value in facts.items()]
    lines += ["", "## What holds and what does not", ""]
    lines += [
        f"Intervals are of {100 * level:g} %. A difference counts as shown only where its interval, or the two "
        "intervals, leave no room for none, and for Dice where the test agrees, its p adjusted by Holm. What each "
        "number is, and its pitfalls: docs/metrics.md.",
        "",
    ]
    for verdict, head in HEADS.items():
        if told := [finding for finding in found if finding.verdict == verdict]:
            lines += [f"### {head}", "", *(f"- **{of.claim}** {of.numbers}" for of in told), ""]
    lines += ["## Tables", ""]
    lines += [texts[number] for number in sorted(texts)]
    lines += ["## Figures", ""]
    places = {Path(path).stem: os.path.relpath(path, beside) for path in args.figures}
    for name, caption in FIGURES.items():
        if name in places:
            lines += [f"{caption}:", "", f"![{caption}]({places[name]})", ""]
    with atomic(args.out, "w") as file:
        file.write("\n".join(lines).rstrip("\n") + "\n")


def read_tables(paths: list[str]) -> tuple[dict[int, Any], dict[int, str]]:
    """By number the tables in files table{N}.csv, checked for what findings needs, and the md beside each."""
    from pig.core.reading import read_csv, read_text

    tables, texts = {}, {}
    for path in paths:
        if not (named := re.fullmatch(r"table(\d)", Path(path).stem)):
            raise InputError(f"{path}: expected a file table{{N}}.csv")
        number = int(named[1])
        columns, counts, numbers = NEEDED.get(number, ((), (), ()))
        tables[number] = read_csv(path, columns=columns, counts=counts, numbers=numbers)
        _check(number, tables[number], path)
        texts[number] = read_text(Path(path).with_suffix(".md"))
    if not {1, 2} <= tables.keys():
        raise InputError(f"--tables {' '.join(paths)}: expected table1.csv and table2.csv among them")
    return tables, texts


def _check(number: int, table: Any, path: str) -> None:
    """Raise InputError for rows that the sentences cannot do without, or cannot name."""
    from pig.models.table import METHODS

    if number in (1, 3) and "real" not in set(table["row"]):
        raise InputError(f"{path}: expected the row real; found {', '.join(table['row'])}")
    if number == 4:
        if unknown := set(table["row"]) - {"real", *METHODS}:
            raise InputError(f"{path}: expected rows of {', '.join(METHODS)}; found {min(unknown)}")
        if table[list(NEEDED[4][2])].isna().any(axis=None):
            raise InputError(f"{path}: expected a share of copies in every row; found an empty cell")


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
