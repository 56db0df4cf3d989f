"""What the verbs that train share: resume, progress and the loss curve around `pig.training.fit.fit`."""

import hashlib
import io
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
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
    from pig.training.fit import Loss, Progress, Recipe, Weights
    from pig.training.ranks import Ranks


def add_fit(parser: ArgumentParser) -> None:
    """Add --curve and --state, the files that every training writes besides its result."""
    parser.add_argument("--curve", metavar="CSV", required=True, help="loss curve to write")
    parser.add_argument("--state", metavar="FILE", help="resume from and save to FILE; removed when done")


def recipe(section: "Training | Segmentation", rows: int) -> "Recipe":
    """How to train, from a section of params.yaml; epochs of `rows` rows become steps."""
    from pig.core.params import Training
    from pig.training.fit import Recipe

    an_epoch = -(-rows // section.batch)
    given = section.model_dump(include={field.name for field in fields(Recipe)})
    if isinstance(section, Training) and section.epochs is not None:
        given["steps"] = section.epochs * an_epoch
    return Recipe(**given, plateau_every=an_epoch)


def run_fit(
    model: "torch.nn.Module",
    loss: "Loss",
    rows: int,
    recipe: "Recipe",
    validate: "Callable[[torch.nn.Module], float]",
    *,
    label: str,
    state: str | None,
    checkpoint_every: int,
    fingerprint: str,
    ranks: "Ranks | None" = None,
) -> "tuple[Weights, pd.DataFrame]":
    """Train `model`, show the progress, keep the file `state`; returns the weights to keep and the loss curve.

    Of several `ranks` the first alone shows and writes; any number of them goes on from a state.
    """
    import pandas as pd

    from pig.training.fit import fit
    from pig.training.ranks import ALONE

    ranks = ranks or ALONE
    first = ranks.rank == 0
    if first and ranks.size > 1:
        say(f"{label}: {ranks.size} processes share each batch of {recipe.batch}")
    job = Job(label, recipe.steps, state, checkpoint_every, fingerprint, first)
    last = job.follow(lambda checkpoint: fit(model, loss, rows, recipe, validate, checkpoint, ranks))
    return last.weights(), pd.DataFrame(last.curve)


@dataclass(frozen=True)
class Job:
    """A training that is shown, and that goes on from its file after an interruption."""

    label: str
    steps: int
    state: str | None  # the file; of another job, as its fingerprint tells, it is left unused and overwritten
    checkpoint_every: int  # steps
    fingerprint: str
    first: bool = True  # of several processes; the others show and write nothing

    def follow(self, start: "Callable[[dict[str, Any] | None], Iterator[Progress]]") -> "Progress":
        """Start the training from a checkpoint or anew, go through its steps and return the last.

        Raises:
            InputError: the file is no training state, or that of another network.
        """
        from pig.training.fit import CheckpointError

        checkpoint, done = _read_state(self.state, self.fingerprint)
        steps, step = start(checkpoint), None
        try:
            for step in track(steps, self.steps, self.label, initial=done) if self.first else steps:
                if self.first and done and step.step == done + 1:
                    say(f"{self.label}: resumed at step {done} of {self.steps} from {self.state}")
                if self.first and step.step % self.checkpoint_every == 0 and step.step < self.steps:
                    self._keep(step)
        except CheckpointError as error:
            raise InputError(f"{self.state}: {error}; remove it to start anew") from error
        assert step is not None
        return step

    def _keep(self, progress: "Progress") -> None:
        import torch

        if self.state is None:
            return
        saved = io.BytesIO()  # in memory first: torch turns a full disk into an error of its own
        torch.save({"fingerprint": self.fingerprint, "checkpoint": progress.checkpoint()}, saved)
        with atomic(self.state) as file:
            file.write(saved.getbuffer())


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
