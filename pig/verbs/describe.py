"""Describe an archive of pairs: a page of counts, sizes and contrasts of lesions, with their histograms.

Takes any archive, imported, drawn or generated. Writes the page, in Markdown, and beside it the picture that it shows
(.png instead of .md). Neither has an id of a pair or patient in it.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pig.errors import InputError
from pig.files import atomic
from pig.verbs.common import add_settings, settings


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pairs", metavar="ZIP", help="archive of pairs")
    parser.add_argument("--out", metavar="MD", required=True, help="page to write")
    add_settings(parser)


def run(args: Namespace) -> None:
    from pig import figures, survey
    from pig.pairs import read_archive

    out = Path(args.out)
    if out.suffix != ".md":
        raise InputError(f"--out {args.out}: expected a name that ends in .md")
    chosen = settings(args, "pairing", "figures")
    pairs, ring = read_archive(args.pairs), chosen.pairing.ring
    picture = out.with_suffix(".png")
    drawn = figures.survey(survey.of_patients(pairs), survey.lesions(pairs, ring))
    text = survey.page(pairs, ring, picture.name)
    with atomic(picture) as image, atomic(out, "w") as page:
        image.write(figures.to_png(drawn, chosen.figures.dpi))
        page.write(text)
