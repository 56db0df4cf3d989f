"""What the verbs share: where settings come from, and which device and threads they use."""

import os
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from pig.core import params
from pig.core.errors import InputError

if TYPE_CHECKING:
    import torch


def add_settings(parser: ArgumentParser) -> None:
    """Add --params, --profile and --cfg: where the settings come from."""
    group = parser.add_argument_group("settings")
    group.add_argument("--params", metavar="FILE", default="params.yaml", help="settings of the study")
    group.add_argument("--profile", metavar="NAME", help="profile of FILE (default: the one it names)")
    group.add_argument(
        "--cfg", metavar="JSON", help="the sections themselves, instead of FILE (Snakemake's jobs)"
    )


def settings(args: Namespace, *names: str) -> params.Sections:
    """The named sections, typed and frozen: from --cfg if given, else from --params and --profile.

    `args.sections` says which there are. The parser gives it, so that a verb without methods does not know theirs: its
    jobs run again for no new rival.
    """
    if args.cfg is not None:
        return params.from_json(args.cfg, names, args.sections, "--cfg")
    return params.load(args.params, args.sections, args.profile).sections(names)


def add_compute(parser: ArgumentParser) -> None:
    """Add --threads and --device."""
    group = parser.add_argument_group("compute")
    group.add_argument(
        "--threads", metavar="N", type=int, default=1, help="CPU threads, no more than granted"
    )
    group.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one"
    )


def start(args: Namespace, *names: str) -> "tuple[params.Sections, torch.device]":
    """The named sections, and the device that --device asks for, with exactly --threads threads."""
    if args.threads < 1:
        raise InputError(f"--threads {args.threads}: expected 1 or more")
    chosen = settings(args, *names)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch is loaded
    import torch

    torch.set_num_threads(args.threads)
    there = torch.cuda.is_available()
    if args.device == "cuda" and not there:
        raise InputError("--device cuda: torch finds no GPU here; expected cpu or auto")
    device = torch.device("cuda" if there and args.device != "cpu" else "cpu")
    if device.type == "cuda":
        # fp32 on a GPU: products as convolutions are in torch by default, in TF32, inputs rounded to 10 bits.
        torch.set_float32_matmul_precision("high")
    return chosen, device


def size(text: str) -> tuple[int, int]:
    """(H, W) from HxW; as the type of an option."""
    sides = re.fullmatch(r"([1-9]\d{0,3})[xX]([1-9]\d{0,3})", text)
    if not sides:
        raise ArgumentTypeError(f"expected HxW of at most 9999, e.g. 512x512; found {text}")
    return int(sides[1]), int(sides[2])
