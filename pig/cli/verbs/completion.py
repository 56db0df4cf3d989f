"""Print a script that lets your shell complete the verbs, options, methods, profiles and files of `pig`.

In this shell: `source <(pig completion bash)`, `eval "$(pig completion zsh)"` or `pig completion fish | source`.
For every session: write it to ~/.local/share/bash-completion/completions/pig, to _pig in a folder of zsh's fpath, or to
~/.config/fish/completions/pig.fish.
"""

from argparse import ArgumentParser, Namespace

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=f"one of {', '.join(SHELLS)}")


def run(args: Namespace) -> None:
    from pig.cli.completion import script
    from pig.cli.main import parser

    print(script(parser(), args.shell))
