"""Print the key numbers of a finished study: how far each method's slices are from real ones, and what its pairs add.

Reads table1.csv and table2.csv in the profile's folder of reports. A row a row of Table 1: FID; Dice with as many
generated pairs as were ever added; its difference to real pairs alone; all with their intervals. What the numbers are
worth is said in study.md in that folder.
"""

from argparse import ArgumentParser, Namespace
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.console import print_json, print_table

if TYPE_CHECKING:
    import pandas as pd

HEAD = ("", "pairs added", "FID", "Dice", "gain of Dice")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--params", metavar="FILE", default="params.yaml", help="settings of the study")
    parser.add_argument("--profile", metavar="NAME", help="profile of FILE (default: the one it names)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def run(args: Namespace) -> None:
    from pig.core.params import load
    from pig.models.table import Params
    from pig.report.tables import TABLE_1, TABLE_2

    reports = Path(load(args.params, Params, args.profile).reports)
    read = TABLE_1.kind.read(reports / "table1.csv"), TABLE_2.kind.read(reports / "table2.csv")
    found = joined(*read)
    if args.json:
        print_json(found)
    elif not args.quiet:
        shown = ("pairs_added", "fid", "dice", "dice_to_real")
        print_table(HEAD, [(row["method"], *(_cell(row[key]) for key in shown)) for row in found])
        print(f"What this shows, and what it does not: {reports / 'study.md'}")


def joined(fidelity: "pd.DataFrame", overlap: "pd.DataFrame") -> list[dict[str, Any]]:
    """A dict a row of Table 1, with the row of Table 2 of its largest dose; a number is [value, low, high] or None."""
    doses = overlap.groupby("set")["dose"].max()
    by_row = overlap.set_index("row")
    rows = []
    for _, one in fidelity.iterrows():
        dose = int(doses.get(one["row"], 0))
        name = f"{one['row']}_{dose}" if dose else one["row"]
        two: Any = by_row.loc[name] if name in by_row.index else {}
        rows.append(
            {
                "row": one["row"],
                "method": one["method"],
                "pairs_added": dose or None,
                "fid": _number(one, "fid"),
                "dice": _number(two, "dice"),
                "dice_to_real": _number(two, "gain"),
            }
        )
    return rows


def _number(row: Any, key: str) -> list[float] | None:
    values = [float(row.get(f"{key}{end}", "nan")) for end in ("", "_low", "_high")]
    return None if any(map(isnan, values)) else values


def _cell(number: list[float] | int | None) -> str:
    if isinstance(number, list):
        return "{:.1f} [{:.1f}, {:.1f}]".format(*(round(value, 1) + 0.0 for value in number))  # no -0.0
    return "-" if number is None else str(number)
