"""Join archives, such as the shards of one sampling, into one.

Reads archives of one image size with no id in common. Writes their pairs in the order given, a few of them in memory at
a time.
"""

from argparse import ArgumentParser, Namespace

from pig.core.files import atomic

BATCH = 64  # pairs in memory


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("archives", metavar="ZIP", nargs="+", help="archives to join")
    parser.add_argument("--out", metavar="ZIP", required=True, help="archive to write")


def run(args: Namespace) -> str:
    from pig.data.archive import read_batches, read_table, write_batches
    from pig.data.pairs import join_tables

    table = join_tables(read_table(path) for path in args.archives)
    batches = (batch for path in args.archives for batch in read_batches(path, BATCH))
    with atomic(args.out) as file:
        write_batches(file, table, batches)
    return f"{len(table)} samples"
