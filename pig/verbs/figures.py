"""Draw one figure of the study.

FIGURE is progression (Figure 3, from `pig progression`), pairs (real and generated pairs, with outlines), curves
(loss curves of the networks), table1, table2 (bars of the tables) or data (contact sheet of the data set). Each
reads the files of its own options and writes a PNG.
"""

from argparse import ArgumentParser, Namespace
from typing import Any

from pig.errors import InputError
from pig.files import atomic
from pig.verbs.common import add_settings, settings

NEEDS = {
    "progression": ["frames"],
    "pairs": ["pairs", "generated"],
    "curves": ["curves"],
    "table1": ["table"],
    "table2": ["table", "scores"],
    "data": ["pairs"],
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("figure", metavar="FIGURE", choices=list(NEEDS), help=", ".join(NEEDS))
    parser.add_argument("--frames", metavar="NPZ", help="for progression: from `pig progression`")
    parser.add_argument("--pairs", metavar="ZIP", help="for pairs and data: archive of real pairs")
    parser.add_argument("--generated", metavar="ZIP", help="for pairs: archive of generated pairs")
    parser.add_argument(
        "--curves", metavar="CSV", nargs="+", help="for curves: fold{K}/{NET}.csv of `pig train`"
    )
    parser.add_argument("--table", metavar="CSV", help="for table1 and table2: the table")
    parser.add_argument("--scores", metavar="CSV", nargs="+", help="for table2: the scores behind the table")
    parser.add_argument("--out", metavar="PNG", required=True, help="figure to write")
    add_settings(parser)


def run(args: Namespace) -> None:
    for name in NEEDS[args.figure]:
        if getattr(args, name) is None:
            raise InputError(f"--{name}: expected for the figure {args.figure}")
    chosen = settings(args, "figures").figures

    from pig import figures

    figure = {
        "progression": _progression,
        "pairs": _pairs,
        "curves": _curves,
        "table1": _table1,
        "table2": _table2,
        "data": _data,
    }[args.figure](args, chosen)
    with atomic(args.out) as file:
        figures.save(figure, file, chosen.dpi)


def _progression(args: Namespace, chosen: Any) -> Any:
    import numpy as np

    from pig.figures import progression

    with np.load(args.frames) as frames:
        return progression(frames["t"], frames["x"], frames["y"])


def _pairs(args: Namespace, chosen: Any) -> Any:
    """The first generated pairs, none chosen by eye, and as many real ones spread over the data set."""
    import numpy as np

    from pig.figures import sheet
    from pig.pairs import read_archive

    real, generated = read_archive(args.pairs), read_archive(args.generated)
    count = min(chosen.sheet_pairs, len(real), len(generated))
    spread = np.linspace(0, len(real) - 1, count).round().astype(int)
    sets = {"real": real.select(spread), "generated": generated.select(range(count))}
    for name, pairs in sets.items():
        if pairs.masks is None:
            raise InputError(f"{name}: expected pairs, found images without masks")
    return sheet({name: (p.images, p.masks) for name, p in sets.items()}, count)  # type: ignore[misc]


def _curves(args: Namespace, chosen: Any) -> Any:
    from pathlib import Path

    import pandas as pd

    from pig.figures import curves

    named: dict[str, dict[str, pd.DataFrame]] = {}
    for path in map(Path, args.curves):
        named.setdefault(path.stem, {})[path.parent.name.removeprefix("fold")] = pd.read_csv(path)
    return curves(named)


def _table1(args: Namespace, chosen: Any) -> Any:
    import pandas as pd

    from pig.figures import fidelity_bars

    return fidelity_bars(pd.read_csv(args.table))


def _table2(args: Namespace, chosen: Any) -> Any:
    import pandas as pd

    from pig.figures import overlap_bars

    scores = pd.concat([pd.read_csv(path) for path in args.scores])
    folds: dict[str, list[float]] = {}
    for row, part in scores.groupby(["set", "dose", "fold"])["dice"]:
        name, dose, _ = row  # type: ignore[misc]
        folds.setdefault(f"{name}_{dose}" if dose else str(name), []).append(100 * float(part.mean()))
    return overlap_bars(pd.read_csv(args.table), folds)


def _data(args: Namespace, chosen: Any) -> Any:
    """The middle slice of each view of patients spread over the data set."""
    import numpy as np

    from pig.figures import contact
    from pig.pairs import read_archive

    pairs = read_archive(args.pairs)
    if pairs.masks is None:
        raise InputError(f"{args.pairs}: expected pairs, found images without masks")
    middle = pairs.table.groupby(["patient", "view"], sort=True).apply(lambda g: g.index[len(g) // 2])
    columns = chosen.sheet_pairs
    patients = middle.index.get_level_values(0).unique()
    views = max(1, middle.index.get_level_values(1).nunique())
    wanted = min(len(patients), max(1, 2 * columns // views))
    some = patients[np.linspace(0, len(patients) - 1, wanted).round().astype(int)]
    shown = pairs.select(middle.loc[some].to_numpy()[: 2 * columns])
    titles = [" ".join(filter(None, row)) for row in shown.table[["patient", "view"]].to_numpy().tolist()]
    assert shown.masks is not None
    return contact(shown.images, shown.masks, titles, columns)
