"""Make an archive from images and masks that you have: a folder, or a local copy of a public data set.

`pig import KIND --help` tells the options of each KIND. All take --size, --out and more. Blank parts are cut, image and
mask alike, and both are resized. Of patients, files and studies the archive holds pseudonyms (--ids), and no other tag
of a DICOM file. Files that cannot be used are listed, each with its reason; --dry-run lists what is missing beforehand.
"""

import json
import os
import re
import secrets
from argparse import ArgumentParser, Namespace
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.console import complain, print_json, say
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic

if TYPE_CHECKING:
    from pig.data.pairs import Pairs
    from pig.data.readers.folder import Crop, Found

KINDS = {
    "folder": """Two folders of PNG, TIFF, JPEG or BMP files.

They are of any sizes, matched by name (a.png with a.png or a_mask.png). Masks have two values, the larger one is the
lesion; all 0 is a slice without one. Images of more than 8 bits are scaled from their own 0.1 and 99.9 percentiles.
--patients is a CSV table with the columns stem|id|image|file and patient|group|patient_id: folds are by patient, so
give it whenever a patient has more than one image.""",
    "bcs-dbt": """Breast Cancer Screening - Digital Breast Tomosynthesis (Duke, TCIA).

DIR holds BCS-DBT-file-paths-*.csv, BCS-DBT-boxes-*.csv and the DICOM files that the former name. The data set has
boxes and no outlines: --mask says how a mask is made of a box, and the column mask_rule of pairs.csv keeps it.""",
    "cbis-ddsm": """Curated Breast Imaging Subset of DDSM (TCIA): masses.

DIR holds mass_case_description_*_set.csv, and the tree of DICOM files or the folders jpeg/<SeriesInstanceUID>/.""",
    "inbreast": """INbreast: masses.

DIR holds INbreast.csv, AllDICOMs and AllXML.""",
}
SALT, SHORTEST = "PIG_SALT", 16  # characters
SHOWN, DPI = 6, 160  # slices of a preview, and its dots per inch


def add_arguments(parser: ArgumentParser) -> None:
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", dest="kind", required=True)
    for kind, about in KINDS.items():
        sub = kinds.add_parser(
            kind,
            help=about.splitlines()[0],
            description=about,
            formatter_class=parser.formatter_class,
            allow_abbrev=False,
        )
        if kind == "folder":
            sub.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder of images")
            sub.add_argument("--masks", metavar="DIR", type=Path, required=True, help="folder of masks")
            sub.add_argument("--patients", metavar="CSV", type=Path, help="table of each image's patient")
        else:
            sub.add_argument("root", metavar="DIR", type=Path, help="the local copy")
        if kind == "bcs-dbt":
            sub.add_argument(
                "--mask",
                choices=["ellipse", "region"],
                default="ellipse",
                help="of a box: the ellipse in it, or the largest region brighter than its Otsu threshold",
            )
            sub.add_argument(
                "--slices", metavar="N", type=int, default=1, help="of a lesion: the central, and nearest"
            )
            sub.add_argument("--masses-only", action="store_true", help="no architectural distortions (AD)")
        _add_common(sub, "lines" if kind == "folder" else "breast")


def _add_common(parser: ArgumentParser, crop: str) -> None:
    parser.add_argument("--size", metavar="N|HxW", default="512", help="pixels to resize to")
    parser.add_argument("--skip-bad", action="store_true", help="leave out the files that cannot be used")
    parser.add_argument(
        "--crop",
        choices=["lines", "breast"],
        default=crop,
        help="lines: cut blank borders; breast: keep the largest bright region, whatever labels there are",
    )
    parser.add_argument("--no-crop", action="store_true", help="keep blank borders")
    parser.add_argument("--mirror", choices=["left", "right"], help="flip, so that chest walls are there")
    parser.add_argument(
        "--ids", choices=["hash", "keep"], default="hash", help="of patients and slices: pseudonyms or not"
    )
    parser.add_argument(
        "--salt",
        metavar="FILE",
        type=Path,
        default=Path("data/.salt"),
        help=f"of the pseudonyms, made if missing; the variable {SALT} goes first; keep it to yourself",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be read; write nothing")
    parser.add_argument("--preview", metavar="PNG", help="picture of some slices before and after, to write")
    parser.add_argument("--report", metavar="JSON", help="counts of what was kept and left out, to write")
    parser.add_argument(
        "--json", action="store_true", help="print the report, or what a dry run found, as JSON"
    )
    parser.add_argument("--out", metavar="ZIP", help="archive to write; needed unless --dry-run")


def run(args: Namespace) -> str | None:
    from pig.data.archive import write_archive
    from pig.data.readers.breast import mirror
    from pig.data.readers.folder import read_all
    from pig.data.readers.pseudonyms import pseudonymise
    from pig.data.readers.receipt import left_out, receipt

    size, crop = _size(args.size), _crop(args)
    if args.out is None and not args.dry_run:
        raise InputError("--out: expected an archive to write, or --dry-run")
    found = _find(args)
    if args.dry_run:
        _tell(found, args.json)
        return None
    salt = _salt(args.salt) if args.ids == "hash" else None
    pairs, rejected = read_all(
        found, size, crop, lambda slices: track(slices, len(slices), "import", unit="slice")
    )
    tell = say if args.skip_bad else complain
    for error in rejected:
        tell(str(error))
    if rejected and not args.skip_bad:
        raise InputError(f"{len(rejected)} files cannot be used (above): expected none, or --skip-bad")
    if args.kind == "folder" and args.patients is None:
        say("warning: no --patients, so each image counts as a patient of its own")
    if args.mirror:
        pairs = mirror(pairs, args.mirror[0].upper())
    reasons = left_out(rejected, found.skipped)
    sheet = _preview(found, pairs, crop) if args.preview else b""
    if salt is not None:
        pairs = pseudonymise(pairs, salt)
    told = receipt(pairs, reasons, _settings(args))
    with ExitStack() as files:
        write_archive(files.enter_context(atomic(args.out)), pairs)
        if args.preview:
            files.enter_context(atomic(args.preview)).write(sheet)
        if args.report:
            files.enter_context(atomic(args.report, "w")).write(json.dumps(told, indent=2) + "\n")
    if args.json:
        print_json(told)
    _say_left_out(reasons)
    kept = told["kept"]
    return (
        f"{kept['pairs']} pairs of {kept['patients']} patients, {kept['without_lesion']} without a lesion; "
        f"{len(rejected)} files left out"
    )


def _find(args: Namespace) -> "Found":
    """What there is, before any pixel is read."""
    if args.kind == "folder":
        from pig.data.readers.folder import find_folder, read_patients

        images, masks = _files(args.images), _files(args.masks)
        return find_folder(images, masks, read_patients(args.patients) if args.patients else None)
    if not args.root.is_dir():
        raise InputError(f"{args.root}: expected a folder")
    if args.kind == "bcs-dbt":
        from pig.data.readers import bcs_dbt

        if args.slices < 1:
            raise InputError(f"--slices {args.slices}: expected 1 or more")
        return bcs_dbt.find(args.root, args.mask, args.slices, not args.masses_only)
    if args.kind == "cbis-ddsm":
        from pig.data.readers import cbis_ddsm

        return cbis_ddsm.find(args.root, lambda files: track(files, len(files), "headers", unit="file"))
    from pig.data.readers import inbreast

    return inbreast.find(args.root)


def _crop(args: Namespace) -> "Crop | None":
    from pig.data.readers.breast import breast_box
    from pig.data.readers.pixels import crop_box

    return None if args.no_crop else {"lines": crop_box, "breast": breast_box}[args.crop]


def _settings(args: Namespace) -> dict[str, Any]:
    """The options that decide what the archive holds; none of them is a path."""
    names = ("kind", "size", "crop", "mirror", "ids", "mask", "slices", "masses_only")
    chosen = {name: getattr(args, name) for name in names if hasattr(args, name)}
    return chosen | ({"crop": None} if args.no_crop else {})


def _tell(found: "Found", as_json: bool) -> None:
    """What would be read: in words, and as one JSON document if asked for."""
    from pig.data.readers.receipt import left_out

    patients = len({each.row["patient"] for each in found.slices})
    views = Counter(each.row["view"] for each in found.slices)
    reasons = left_out(found.rejected, found.skipped)
    for error in found.rejected:
        say(str(error))
    shown = ", ".join(f"{view} {number}" for view, number in sorted(views.items()) if view)
    say(f"would read {len(found.slices)} slices of {patients} patients{f' ({shown})' if shown else ''}")
    _say_left_out(reasons)
    if as_json:
        bad = [{"name": str(error.path), "reason": error.reason} for error in found.rejected]
        would = {"slices": len(found.slices), "patients": patients, "views": dict(sorted(views.items()))}
        print_json({**would, "left_out": reasons, "rejected": bad})


def _say_left_out(reasons: dict[str, int]) -> None:
    if reasons:
        say("left out: " + ", ".join(f"{number} {reason}" for reason, number in reasons.items()))


def _preview(found: "Found", pairs: "Pairs", crop: "Crop | None") -> bytes:
    import numpy as np

    from pig.data.readers.breast import small
    from pig.report import figures

    slices = {each.row["id"]: each for each in found.slices}
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), SHOWN)).round().astype(int))
    steps = []
    for i in chosen:
        opened = slices[pairs.table["id"][i]].read()
        steps.append(figures.Steps(*small(opened, crop), pairs.images[i], pairs.need_masks()[i]))
    return figures.to_png(figures.before_after(steps), DPI)


def _salt(path: Path) -> bytes:
    """The variable's value, else the file's; a file that is not there is made, for its owner's eyes only."""
    where, text = SALT, os.environ.get(SALT)
    if text is None:
        where = str(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
            say(
                f"{path}: new salt of pseudonyms; imports agree as long as you keep it, and keep it to yourself"
            )
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    if len(text) < SHORTEST:
        raise InputError(f"{where}: expected a salt of {SHORTEST} or more characters, found {len(text)}")
    return text.encode()


def _size(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if not numbers:
        raise InputError(f"--size {text}: expected N or HxW, e.g. 512 or 512x384")
    return int(numbers[1]), int(numbers[2] or numbers[1])


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder")
    return [path for path in folder.iterdir() if not path.is_dir() and not path.name.startswith(".")]
