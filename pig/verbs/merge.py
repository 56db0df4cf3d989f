"""Join archives, such as the shards of one sampling, into one.

Reads archives of one image size with no id in common; writes their pairs in the order given.
"""

from argparse import ArgumentParser, Namespace

from pig.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("archives", metavar="ZIP", nargs="+", help="archives to join")
    parser.add_argument("--out", metavar="ZIP", required=True, help="archive to write")


def run(args: Namespace) -> str:
    from pig.pairs import concatenate, read_archive, write_archive

    joined = concatenate([read_archive(path) for path in args.archives])
    with atomic(args.out) as file:
        write_archive(file, joined)
    return f"{len(joined)} samples"
