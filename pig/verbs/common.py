"""What the verbs share: where settings come from, and which device and threads they use."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig import params
from pig.errors import InputError
from pig.files import atomic
from pig.progress import track

if TYPE_CHECKING:
    import torch

    from pig.training import Loss, Recipe, Weights


def add_settings(parser: ArgumentParser) -> None:
    """Add --params, --profile and --cfg: where the settings come from."""
    group = parser.add_argument_group("settings")
    group.add_argument("--params", metavar="FILE", default="params.yaml", help="settings of the study")
    group.add_argument("--profile", metavar="NAME", help="profile of FILE (default: the one it names)")
    group.add_argument("--cfg", metavar="JSON", help="the sections themselves, instead of FILE (Snakemake's jobs)")


def settings(args: Namespace, *names: str) -> params.Sections:
    """The named sections, typed and frozen: from --cfg if given, else from --params and --profile."""
    if args.cfg is not None:
        return params.from_json(args.cfg, names)
    return params.load(args.params, args.profile).sections(names)


def add_compute(parser: ArgumentParser) -> None:
    """Add --threads and --device."""
    group = parser.add_argument_group("compute")
    group.add_argument("--threads", metavar="N", type=int, default=1, help="CPU threads, no more than granted")
    group.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one"
    )


def compute(args: Namespace) -> "torch.device":
    """Use exactly --threads threads and return the device that --device asks for."""
    if args.threads < 1:
        raise InputError(f"--threads {args.threads}: expected 1 or more")
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no GPU here; expected cpu or auto")
    if args.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(args.device)


def add_fit(parser: ArgumentParser) -> None:
    """Add --curve and --state, the files that every training writes besides its result."""
    parser.add_argument("--curve", metavar="CSV", required=True, help="loss curve to write")
    parser.add_argument("--state", metavar="FILE", help="resume from and save to FILE; removed when done")


def run_fit(
    args: Namespace,
    model: "torch.nn.Module",
    loss: "Loss",
    rows: int,
    recipe: "Recipe",
    validate: "Callable[[torch.nn.Module], float]",
    *,
    label: str,
    checkpoint_every: int,
    fingerprint: str,
) -> "Weights":
    """Train `model`, show the progress, keep --state, write --curve; returns the weights to keep.

    A --state of another job (its fingerprint tells) is left unused and overwritten.
    """
    import pandas as pd
    import torch

    from pig.training import fit

    state = Path(args.state) if args.state else None
    checkpoint = _read_state(state, fingerprint)
    done = checkpoint["state"]["step"] if checkpoint else 0
    if done:
        print(f"{label}: resumed at step {done} of {recipe.steps} from {state}", file=sys.stderr)
    progress = None
    steps = fit(model, loss, rows, recipe, validate, checkpoint)
    for progress in track(steps, recipe.steps, label, initial=done):
        if state and progress.step % checkpoint_every == 0 and progress.step < recipe.steps:
            with atomic(state) as file:
                torch.save({"fingerprint": fingerprint, "checkpoint": progress.checkpoint()}, file)
    assert progress is not None
    with atomic(args.curve, "w") as file:
        pd.DataFrame(progress.curve).to_csv(file, index=False)
    return progress.weights()


def drop_state(args: Namespace) -> None:
    """Remove --state once the result is written."""
    if args.state:
        Path(args.state).unlink(missing_ok=True)


def _read_state(path: Path | None, fingerprint: str) -> "dict[str, Any] | None":
    import torch

    if path is None or not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return saved["checkpoint"] if saved["fingerprint"] == fingerprint else None
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise InputError(f"{path}: expected a training state; remove it to start anew") from error


def digest_of(*parts: Any) -> str:
    """A sha256 that tells one job from another: of settings, digests and the content of named files."""
    import hashlib

    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str) and Path(part).is_file():
            part = hashlib.sha256(Path(part).read_bytes()).hexdigest()
        total.update(repr(part).encode() + b"\0")
    return total.hexdigest()
