"""Draw figures of the reports.

The name of each file in --out says what it shows: data.png (a contact sheet of the data set), curves (losses of the
networks), progression (Figure 3: the estimates of mask and slice, step by step), pairs (real and generated pairs),
copies (the generated pairs nearest to training pairs), table1 or table2 (the tables as bars), doses (Dice by the number
of generated pairs). Each reads the files of its own options; equal inputs give equal bytes.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from pig.cli.options import add_settings, settings
from pig.core.errors import InputError
from pig.core.files import atomics

READS = {  # the options that each figure needs
    "data": ("pairs",),
    "curves": ("curves",),
    "progression": ("frames",),
    "pairs": ("pairs", "generated"),
    "table1": ("table1",),
    "copies": ("pairs", "copied", "copies"),
    "table2": ("table2",),
    "doses": ("table2",),
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", help="archive of the real pairs (data, pairs, copies)")
    parser.add_argument("--generated", metavar="ZIP", nargs="+", help="generated pairs, METHOD.zip (pairs)")
    parser.add_argument("--frames", metavar="NPZ", help="what `pig progression` wrote (progression)")
    parser.add_argument(
        "--curves", metavar="CSV", nargs="+", help="loss curves, fold{K}/{network}.csv (curves)"
    )
    parser.add_argument("--copied", metavar="ZIP", nargs="+", help="generated pairs of --copies (copies)")
    parser.add_argument("--copies", metavar="CSV", nargs="+", help="what `pig copies` wrote (copies)")
    parser.add_argument("--table1", metavar="CSV", help="what `pig tables` wrote (table1)")
    parser.add_argument("--table2", metavar="CSV", help="what `pig tables` wrote (table2, doses)")
    parser.add_argument("--out", metavar="PNG", nargs="+", required=True, help="pictures to write, NAME.png")
    add_settings(parser)


def run(args: Namespace) -> None:
    for path in args.out:
        if (name := Path(path).stem) not in READS or Path(path).suffix != ".png":
            names = ", ".join(f"{name}.png" for name in READS)
            raise InputError(f"--out {path}: expected one of {names}")
        if any(getattr(args, option) is None for option in READS[name]):
            raise InputError(f"figure {name}: expected {' '.join(f'--{option}' for option in READS[name])}")
    chosen = settings(args, "figures").figures

    from pig.report import figures

    drawn = [
        figures.to_png(_draw(Path(path).stem, args, chosen.sheet_pairs), chosen.dpi) for path in args.out
    ]
    with atomics(args.out) as files:
        for file, png in zip(files, drawn, strict=True):
            file.write(png)


def _draw(name: str, args: Namespace, columns: int) -> Any:
    from pig.data.archive import read_archive
    from pig.data.pairs import concatenate
    from pig.metrics.copying import COPIES
    from pig.models.table import METHODS
    from pig.report import figures
    from pig.report.tables import TABLE_1, TABLE_2

    match name:
        case "data":
            return figures.data(read_archive(args.pairs), columns)
        case "pairs":
            methods = {
                METHODS[stem].label if (stem := Path(path).stem) in METHODS else stem: path
                for path in sorted(args.generated, key=lambda path: Path(path).stem != "pig")  # next to real
            }
            generated = {label: read_archive(path) for label, path in methods.items()}
            return figures.pairs(read_archive(args.pairs), generated)
        case "progression":
            return figures.progression(*read_frames(args.frames))
        case "curves":
            return figures.curves(read_curves(args.curves))
        case "copies":
            made = concatenate([read_archive(path) for path in args.copied])
            return figures.copies(read_archive(args.pairs), made, COPIES.read(*args.copies))
        case "table1":
            return figures.table1(TABLE_1.kind.read(args.table1))
        case _:
            draw = {"table2": figures.table2, "doses": figures.doses}[name]
            return draw(TABLE_2.kind.read(args.table2))


def read_frames(path: str) -> Any:
    """t (K,), x and y (K, B, H, W), which `pig progression` wrote."""
    import numpy as np

    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as frames:
                return frames["t"], frames["x"], frames["y"]
        except Exception as error:  # arbitrary bytes make zipfile and numpy stumble in arbitrary ways
            raise InputError(f"{path}: expected the frames t, x and y ({error})") from None


def read_curves(paths: list[str]) -> dict[str, dict[int, Any]]:
    """network -> fold -> curve, both told by the path: .../fold{K}/.../{network}.csv."""
    from pig.core.reading import read_csv

    found: dict[str, dict[int, Any]] = {}
    for path in paths:
        folds = [part[4:] for part in Path(path).parts if part.startswith("fold") and part[4:].isdecimal()]
        if not folds:
            raise InputError(f"{path}: expected a curve in a folder fold{{K}}")
        found.setdefault(Path(path).stem.removesuffix(".curve"), {})[int(folds[-1])] = read_csv(
            path, counts=("step",), numbers=("loss", "validation")
        )
    return found
