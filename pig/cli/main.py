"""`pig VERB`: the entry point, and the only place that turns a bad input into an exit code."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pig
from pig.cli import console
from pig.core.errors import InputError, plain
from pig.models.table import Params

STAGES = {  # what `pig --help` writes above the verbs; docs/verbs.md says what each reads and writes
    "data in": ["phantom", "import", "describe", "split"],
    "train": ["train", "import-official"],
    "sample": ["sample", "merge", "progression"],
    "score": ["features", "fidelity", "pairing", "copies"],
    "segment": ["segment", "trts"],
    "report": ["tables", "figures", "report", "results"],
    "keep and share": ["export"],
    "look after": ["doctor"],
}
VERBS = [verb for verbs in STAGES.values() for verb in verbs]
HEADINGS = {verbs[0]: stage for stage, verbs in STAGES.items()}
WRITTEN = ("out", "crops", "curve", "model", "report", "preview")  # options that name a file to write
ENVIRONMENT = """environment:
  PIG_INCEPTION   file of InceptionV3 weights, before those that are installed (features)
  PIG_SALT        salt of the pseudonyms, before that of --salt (import)
  PIG_PROGRESS    lines: progress in whole lines, for jobs that share a terminal (set by `make study`)
  PIG_TRACEBACK   1: show where in the code an error was noticed
  NO_COLOR        any value: no colours; TERM=dumb: no bars either

exit codes: 0 done, 1 `pig doctor` found a problem, 2 bad input (one line says which), 130 interrupted"""


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Show every default, keep the description's own lines, and write the stages above the verbs."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.default is not None and action.default is not False
        return super()._get_help_string(action) if shown else action.help

    def _format_action(self, action: argparse.Action) -> str:
        text = super()._format_action(action)
        heads = (
            isinstance(action, argparse._SubParsersAction._ChoicesPseudoAction) and action.dest in HEADINGS
        )
        return f"  {HEADINGS[action.dest]}:\n{text}" if heads else text


class _Parser(argparse.ArgumentParser):
    """A mistake on the command line is one line, and names what may have been meant."""

    def error(self, message: str) -> NoReturn:
        told = plain(message.removeprefix("argument "))
        self.exit(2, f"{self.prog}: {told} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            near = get_close_matches(str(value), choices, 1, cutoff=0.7)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise argparse.ArgumentError(
                action, f"expected one of {', '.join(choices)}; found {value}{meant}"
            )


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The command line of every verb, or of the verb `wanted` alone: the others' modules are then not imported."""
    top = _Parser("pig", description=pig.__doc__, epilog=ENVIRONMENT, formatter_class=_Help)
    top.add_argument("--version", action="version", version=pig.__version__)
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in [wanted] if wanted in VERBS else VERBS:
        name = "import_" if verb == "import" else verb.replace("-", "_")
        module = import_module(f"pig.cli.verbs.{name}")
        about = module.__doc__ or ""
        sub = verbs.add_parser(
            verb, help=about.splitlines()[0], description=about, formatter_class=_Help, allow_abbrev=False
        )
        module.add_arguments(sub)
        _add_manners(sub)
        sub.set_defaults(run=module.run, sections=Params)
    return top


def _add_manners(sub: argparse.ArgumentParser) -> None:
    """What every verb takes, after the name of its kind if it has kinds."""
    kinds = [action for action in sub._actions if isinstance(action, argparse._SubParsersAction)]
    for below in kinds[0].choices.values() if kinds else [sub]:
        below.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; 0 when done, 2 on bad input (PIG_TRACEBACK=1 shows where it was noticed), 130 on Ctrl-C.

    A verb may return what it has to tell, which the last line then begins with.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        parser().print_help()
        return 2
    args = parser(arguments[0]).parse_args(arguments)
    started, before = time.monotonic(), _outputs(args)
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts
    try:
        with console.silence(args.quiet):
            told = args.run(args)
            written = [path for path, mark in _outputs(args).items() if mark and mark != before[path]]
            if (told or written) and first:
                console.say(console.summary(told, written, time.monotonic() - started))
        sys.stdout.flush()
    except KeyboardInterrupt:
        state = getattr(args, "state", None)
        kept = f"; the same command again goes on from {state}" if state and Path(state).exists() else ""
        console.complain(f"interrupted{kept}")
        return 130
    except BrokenPipeError:  # of `pig describe x.zip | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        return 141  # as a process that the signal ends
    except (InputError, OSError, MemoryError, FloatingPointError) as error:
        if os.environ.get("PIG_TRACEBACK"):
            raise
        console.complain(_told(error))
        return 2
    return 0


def _outputs(args: argparse.Namespace) -> dict[Path, tuple[int, int] | None]:
    """The files and folders that the options say to write, each with its inode and time of change (None: not there)."""
    found: dict[Path, tuple[int, int] | None] = {}
    for option in WRITTEN:
        named = getattr(args, option, None) or []
        for path in map(Path, [named] if isinstance(named, str) else named):
            try:
                stat = path.stat()
                found[path] = (stat.st_ino, stat.st_mtime_ns)
            except (
                OSError,
                ValueError,
            ):  # not there, or a name that none can have, which the verb will refuse
                found[path] = None
    return found


def _told(error: Exception) -> str:
    """What the user is told: of the system's errors (no such file, disk full, a loop of links) the path and reason."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or 'cannot be read').lower()}"
    if isinstance(error, MemoryError):
        return f"not enough memory for what the input or the settings ask ({error})"
    return str(error)
