"""Scripts that let a shell complete verbs, options, methods, profiles and files of `pig`, made from its parser."""

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator

import shtab

FILES = frozenset({"FILE", "ZIP", "CSV", "JSON", "NPZ", "MD", "PNG", "HTML"})  # metavars of what names a file
FOLDERS = frozenset({"DIR", "FOLDER"})
# The names under `profiles:` in the params.yaml of the folder that one is in, at the time of asking.
NAMES = r"sed -nE '/^profiles:/,/^[^ ]/s/^  ([A-Za-z0-9_-]+):.*/\1/p' params.yaml 2>/dev/null"
PROFILES = shtab.cmd(NAMES)
PROFILES["zsh"] = "_pig_profiles"  # its own way would ask once, when the script is read
PROFILES["preamble"]["zsh"] = f"_pig_profiles() {{\n  compadd -- $({NAMES})\n}}"  # type: ignore[index]


def script(parser: ArgumentParser, shell: str) -> str:
    """The script for a shell that shtab knows. `parser` is of no other use afterwards."""
    for action in _actions(parser):
        if action.dest == "profile":
            action.complete = PROFILES  # type: ignore[attr-defined]
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in FILES and action.dest != "cfg":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif isinstance(action.choices, dict) and not isinstance(action, _SubParsersAction):
            action.choices = list(action.choices)  # shtab takes a dict for verbs
    return shtab.complete(parser, shell=shell)


def _actions(parser: ArgumentParser) -> Iterator[Action]:
    """Every argument of a parser and of the parsers below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, _SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
