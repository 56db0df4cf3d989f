"""`pig VERB`: the entry point, and the only place that turns a bad input into an exit code."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pig import __version__
from pig.errors import InputError, plain

VERBS = {
    "phantom": "phantom",
    "import": "import_",
    "describe": "describe",
    "split": "split",
    "train": "train",
    "sample": "sample",
    "merge": "merge",
    "progression": "progression",
    "features": "features",
    "fidelity": "fidelity",
    "segment": "segment",
    "trts": "trts",
    "copies": "copies",
    "pairing": "pairing",
    "tables": "tables",
    "study": "study",
    "figures": "figures",
    "import-official": "import_official",
}


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show every default, and keep the description's own lines."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default is not None and action.default is not False
        return super()._get_help_string(action) if shown else action.help


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The command line of every verb, or of the verb `wanted` alone: the others' modules are then not imported."""
    top = argparse.ArgumentParser("pig", description=__import__("pig").__doc__, formatter_class=_Help)
    top.add_argument("--version", action="version", version=__version__)
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb, name in VERBS.items():
        if wanted in VERBS and verb != wanted:
            continue
        module = import_module(f"pig.verbs.{name}")
        about = module.__doc__ or ""
        sub = verbs.add_parser(
            verb, help=about.splitlines()[0], description=about, formatter_class=_Help, allow_abbrev=False
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when done, 2 on bad input (PIG_TRACEBACK=1 shows where it was noticed)."""
    given = sys.argv[1:] if arguments is None else arguments
    args = parser(given[0] if given else None).parse_args(given)
    try:
        args.run(args)
    except (InputError, OSError, MemoryError, FloatingPointError) as error:
        if os.environ.get("PIG_TRACEBACK"):
            raise
        print(f"pig: {plain(_told(error))}", file=sys.stderr)
        return 2
    return 0


def _told(error: Exception) -> str:
    """What the user is told: of the system's errors (no such file, disk full, a loop of links) the path and reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'cannot be read').lower()}"
    if isinstance(error, MemoryError):
        return f"not enough memory for what the input or the settings ask ({error})"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
