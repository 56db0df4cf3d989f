"""Describe an archive of pairs: a page of counts, sizes and contrasts of lesions, with their histograms.

Takes any archive, imported, drawn or generated. Prints the page in Markdown, or with --json its numbers; with --out
writes it, and beside it the picture that it shows (.png instead of .md). None has an id of a pair or patient in it.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pig.cli.console import print_json
from pig.cli.options import add_settings, settings
from pig.core.errors import InputError
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pairs", metavar="ZIP", help="archive of pairs")
    parser.add_argument(
        "--out", metavar="MD", help="page to write, with its picture; without it, it is printed"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_settings(parser)


def run(args: Namespace) -> str | None:
    from pig.data.archive import read_archive
    from pig.report import survey

    if args.out and Path(args.out).suffix != ".md":
        raise InputError(f"--out {args.out}: expected a name that ends in .md")
    chosen = settings(args, "pairing", "figures")
    pairs, ring = read_archive(args.pairs), chosen.pairing.ring
    if args.json:
        print_json(survey.numbers(pairs, ring))
    if not args.out:
        if not args.json:
            print(survey.page(pairs, ring), end="")
        return None

    from pig.report import figures

    out = Path(args.out)
    picture = out.with_suffix(".png")
    drawn = figures.survey(survey.of_patients(pairs), survey.lesions(pairs, ring))
    text = survey.page(pairs, ring, picture.name)
    with atomic(picture) as image, atomic(out, "w") as page:
        image.write(figures.to_png(drawn, chosen.figures.dpi))
        page.write(text)
    return f"{len(pairs)} pairs of {len(survey.of_patients(pairs))} patients"
