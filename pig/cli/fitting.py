"""What the verbs that train share: resume, progress and the loss curve around `pig.training.fit.fit`."""

import hashlib
import io
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.console import say
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pig.core.params import Segmentation, Training
    from pig.training.fit import Loss, Weights
    from pig.training.ranks import Ranks


def add_fit(parser: ArgumentParser) -> None:
    """Add --curve and --state, the files that every training writes besides its result."""
    parser.add_argument("--curve", metavar="CSV", required=True, help="loss curve to write")
    parser.add_argument("--state", metavar="FILE", help="resume from and save to FILE; removed when done")


def run_fit(
    model: "torch.nn.Module",
    loss: "Loss",
    rows: int,
    section: "Training | Segmentation",
    validate: "Callable[[torch.nn.Module], float]",
    *,
    label: str,
    state: str | None,
    fingerprint: str,
    ranks: "Ranks | None" = None,
) -> "tuple[Weights, pd.DataFrame]":
    """Train `model` as a section of params.yaml says; returns the weights to keep and the loss curve.

    It shows its progress, keeps the file `state` and goes on from it. A state of another job (its fingerprint tells) is
    left unused and overwritten. Of several `ranks` the first alone shows and writes; any number of them goes on.
    """
    import pandas as pd
    import torch

    from pig.training.fit import CheckpointError, fit, recipe
    from pig.training.ranks import ALONE

    ranks, how = ranks or ALONE, recipe(section, rows)
    first = ranks.rank == 0
    if first and ranks.size > 1:
        say(f"{label}: {ranks.size} processes share each batch of {how.batch}")
    checkpoint, done = _read_state(state, fingerprint)
    progress = None
    steps = fit(model, loss, rows, how, validate, checkpoint, ranks)
    try:
        for step in track(steps, how.steps, label, initial=done) if first else steps:
            if progress is None and done and first:
                say(f"{label}: resumed at step {done} of {how.steps} from {state}")
            progress = step
            is_due = progress.step % section.checkpoint_every == 0 and progress.step < how.steps
            if first and state and is_due:
                saved = io.BytesIO()  # in memory first: torch turns a full disk into an error of its own
                torch.save({"fingerprint": fingerprint, "checkpoint": progress.checkpoint()}, saved)
                with atomic(state) as file:
                    file.write(saved.getbuffer())
    except CheckpointError as error:
        raise InputError(f"{state}: {error}; remove it to start anew") from error
    assert progress is not None
    return progress.weights(), pd.DataFrame(progress.curve)


def drop_state(args: Namespace) -> None:
    """Remove --state once the result is written."""
    if args.state:
        Path(args.state).unlink(missing_ok=True)


def _read_state(path: str | None, fingerprint: str) -> "tuple[dict[str, Any] | None, int]":
    """What to go on from and the steps that it has done: nothing and 0 where there is no state of this job."""
    import torch

    if path is None or not Path(path).exists():
        return None, 0
    try:
        with warnings.catch_warnings():  # about the pickle's protocol
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["fingerprint"] != fingerprint:
            return None, 0
        return saved["checkpoint"], int(saved["checkpoint"]["state"]["step"])
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise InputError(f"{path}: expected a training state; remove it to start anew") from error


def digest_of(*parts: Any) -> str:
    """A sha256 that tells one job from another: of settings, digests and the content of named files."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str) and Path(part).is_file():
            part = hashlib.sha256(Path(part).read_bytes()).hexdigest()
        total.update(repr(part).encode() + b"\0")
    return total.hexdigest()
