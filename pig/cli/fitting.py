"""What the verbs that train share: resume, progress and the loss curve around `pig.training.fit.fit`."""

import hashlib
import io
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.console import say
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from pig.core.params import Sections, Segmentation, Training
    from pig.training.fit import Loss, Progress, Weights
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
    last: "Callable[[Progress], None]" = lambda progress: None,
) -> "tuple[Weights, pd.DataFrame, str]":
    """Train `model` as a section of params.yaml says; returns the weights to keep, the loss curve and the precision.

    It shows its progress, keeps the file `state` and goes on from it, under `auto` in the precision that it was begun
    in. A state of another job (its fingerprint tells, which leaves out the precision) or of another precision than the
    section names is left unused and overwritten. Of several `ranks` the first alone shows and writes; any number of
    them goes on. `last` is called with the last step's progress.
    """
    import pandas as pd
    import torch

    from pig.training.fit import CheckpointError, fit, recipe
    from pig.training.precision import going_on
    from pig.training.ranks import ALONE

    ranks, how = ranks or ALONE, recipe(section, rows)
    first = ranks.rank == 0
    if first and ranks.size > 1:
        say(f"{label}: {ranks.size} processes share each batch of {how.batch}")
    device, name = next(model.parameters()).device, type(section).__name__.lower()
    checkpoint, done, begun = _read_state(state, fingerprint, section.precision)
    how = replace(how, precision=going_on(section.precision, begun, device, name, state))
    as_begun = in_which(section.precision, how.precision, device)
    told = {"fingerprint": fingerprint, "computed_in": how.precision}
    progress = None
    steps = fit(model, loss, rows, how, validate, checkpoint, ranks)
    try:
        for step in track(steps, how.steps, label, initial=done) if first else steps:
            if progress is None and done and first:
                say(f"{label}: resumed at step {done} of {how.steps} from {state}{as_begun}")
            progress = step
            is_due = progress.step % section.checkpoint_every == 0 and progress.step < how.steps
            if first and state and is_due:
                saved = io.BytesIO()  # in memory first: torch turns a full disk into an error of its own
                torch.save({**told, "checkpoint": progress.checkpoint()}, saved)
                with atomic(state) as file:
                    file.write(saved.getbuffer())
    except CheckpointError as error:
        raise InputError(f"{state}: {error}; remove it to start anew") from error
    assert progress is not None
    last(progress)
    return progress.weights(), pd.DataFrame(progress.curve), how.precision


def drop_state(args: Namespace) -> None:
    """Remove --state once the result is written."""
    if args.state:
        Path(args.state).unlink(missing_ok=True)


def but_precision(chosen: "Sections", section: str) -> dict[str, Any]:
    """The settings of a job for its fingerprint: of `section` without the precision, which may differ by machine."""
    return {**vars(chosen), section: getattr(chosen, section).model_copy(update={"precision": None})}


def in_which(wanted: str, begun: str, device: "torch.device") -> str:
    """For the line that a run goes on: nothing, or that `auto` would now choose another precision."""
    from pig.training.precision import decided

    here = decided(wanted, device)
    return "" if here == begun else f", in {begun} as it was begun (auto would now choose {here})"


def _read_state(
    path: str | None, fingerprint: str, wanted: str
) -> "tuple[dict[str, Any] | None, int, str | None]":
    """What to go on from, the steps that it has done and its precision: None, 0, None where nothing is of this job."""
    import torch

    if path is None or not Path(path).exists():
        return None, 0, None
    try:
        with warnings.catch_warnings():  # about the pickle's protocol
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=True)
        begun = saved.get("computed_in")  # states of older versions lack it
        if saved["fingerprint"] != fingerprint or wanted not in ("auto", begun):
            return None, 0, None
        if begun not in ("fp32", "bf16"):
            raise ValueError(begun)
        return saved["checkpoint"], int(saved["checkpoint"]["state"]["step"]), begun
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
