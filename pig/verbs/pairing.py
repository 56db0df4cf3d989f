"""Measure how well masks and images of each set belong together.

Reads the archive of real pairs and archives of generated ones; writes csv, two rows an archive: the set (named
real, or folder/file of the generated archive) and the control with its masks shuffled among its images. Columns:
set, n, contrast and area of the lesions with their standard deviations, the shares of masks in one piece and of
empty ones, and contrast and area relative to the real set.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from pig.errors import InputError
from pig.files import atomic
from pig.progress import track
from pig.verbs.common import add_settings, settings


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument(
        "--generated", metavar="ZIP", nargs="+", required=True, help="archives of generated pairs"
    )
    parser.add_argument("--out", metavar="CSV", required=True, help="report to write")
    add_settings(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, "pairing").pairing

    from pig.pairing import report
    from pig.pairs import read_archive

    names = ["real", *(f"{Path(path).resolve().parent.name}/{Path(path).stem}" for path in args.generated)]
    if len(set(names)) < len(names):
        raise InputError(
            f"--generated: expected archives with different folder/file names; found {' '.join(names[1:])}"
        )

    def read(name: str, path: str) -> Any:
        pairs = read_archive(path)
        if pairs.masks is None:
            raise InputError(f"{path}: expected pairs, found images without masks")
        return name, pairs.images, pairs.masks

    sets = (read(name, path) for name, path in zip(names, [args.pairs, *args.generated], strict=True))
    frame = report(track(sets, len(names), "pairing"), chosen.ring, chosen.seed)
    with atomic(args.out, "w") as file:
        frame.to_csv(file, index=False)
