"""Make an archive from your own images and masks.

KIND is folder: two folders of PNG, TIFF, JPEG or BMP files, of any sizes, matched by name (a.png with a.png
or a_mask.png). Masks have two values, the larger one is the lesion; all 0 is a slice without one. Images of
more than 8 bits are scaled from their own 0.1 and 99.9 percentiles. Blank borders are cut, image and mask
alike. --patients is a CSV table with the columns stem|id|image|file and patient|group|patient_id: folds are
by patient, so give it whenever a patient has more than one image. Files that cannot be used are listed, each
with its reason.
"""

import re
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from pig.errors import InputError, plain
from pig.files import atomic
from pig.progress import track


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", choices=["folder"], help="folder")
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of images")
    parser.add_argument("--masks", metavar="DIR", type=Path, required=True, help="folder of masks")
    parser.add_argument("--patients", metavar="CSV", type=Path, help="table of each image's patient")
    parser.add_argument("--size", metavar="N|HxW", default="512", help="pixels to resize to")
    parser.add_argument("--skip-bad", action="store_true", help="leave out the files that cannot be used")
    parser.add_argument("--no-crop", action="store_true", help="keep blank borders")
    parser.add_argument("--out", metavar="ZIP", required=True, help="archive to write")


def run(args: Namespace) -> None:
    from pig.pairs import write_archive
    from pig.sources import read_folder, read_patients

    size = _size(args.size)
    images, masks = _files(args.images), _files(args.masks)
    patients = read_patients(args.patients) if args.patients else None
    pairs, rejected = read_folder(
        images, masks, patients, size, not args.no_crop, lambda cases: track(cases, len(cases), "import")
    )
    for name, reason in rejected:
        _say(f"{name}: {reason}")
    if rejected and not args.skip_bad:
        raise InputError(f"{len(rejected)} files cannot be used (above): expected none, or --skip-bad")
    if patients is None:
        _say("warning: no --patients, so each image counts as a patient of its own")
    with atomic(args.out) as file:
        write_archive(file, pairs)
    empty = int((~pairs.masks.any(axis=(1, 2))).sum()) if pairs.masks is not None else 0
    number = pairs.table["patient"].nunique()
    _say(f"{len(pairs)} pairs of {number} patients, {empty} without a lesion; {len(rejected)} files left out")


def _say(line: str) -> None:
    print(f"pig: {plain(line)}", file=sys.stderr)


def _size(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if not numbers:
        raise InputError(f"--size {text}: expected N or HxW, e.g. 512 or 512x384")
    return int(numbers[1]), int(numbers[2] or numbers[1])


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder")
    return [path for path in folder.iterdir() if not path.is_dir() and not path.name.startswith(".")]
