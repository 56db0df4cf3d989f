"""Write the embedded data set: phantom slices of the breast, each with the mask of its mass.

It is drawn by a program from a seed. Patient i is the same however many patients there are, and looks the same at any
size. Writes an archive of pairs.
"""

from argparse import ArgumentParser, Namespace

from pig.cli.options import add_settings, settings
from pig.cli.progress import track
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", metavar="ZIP", required=True, help="archive to write")
    add_settings(parser)


def run(args: Namespace) -> str:
    from pig.data.archive import write_archive
    from pig.data.pairs import check_memory, concatenate
    from pig.data.phantom.phantom import volumes

    chosen = settings(args, "data", "phantom")
    phantom, size = chosen.phantom, chosen.data.size
    number = phantom.patients * len(phantom.views) * phantom.slices
    check_memory(number, (size, size), "phantom.patients, .slices and data.size")
    views = volumes(phantom.patients, phantom.views, phantom.slices, size, phantom.seed)
    drawn = list(track(views, phantom.patients * len(phantom.views), "phantom", unit="view"))
    with atomic(args.out) as file:
        write_archive(file, concatenate(drawn))
    return f"{number} pairs of {phantom.patients} patients"
