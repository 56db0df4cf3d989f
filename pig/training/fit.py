"""fit(): one training loop for every network of the study, a generator that can be stopped and resumed.

Every random number of step k comes from a generator seeded with (seed, k), so a run resumed at step k
draws what an uninterrupted one would have drawn, and the final weights are the same bit for bit (CPU).
Several processes (pig/training/ranks.py) share each batch: they draw the same numbers, and differ by rounding alone.
Only dropout, where a network has it, draws for the rows in hand, and so depends on the number of processes.

No step waits for a GPU: its losses stay there until they are needed, and what a step draws is copied to it behind the
computation. docs/gpu.md says what is for GPUs only.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pig.core.errors import InputError
from pig.core.params import Segmentation, Training
from pig.training.precision import decided
from pig.training.ranks import ALONE, Ranks, Share

Weights = dict[str, Tensor]
Loss = Callable[[nn.Module, Tensor, Generator], Tensor]

UNREAD = {"cpu": 0, "cuda": 50}  # steps whose losses may stay on the device: to read one is to wait for it


class CheckpointError(InputError):
    """What fit() was told to go on from is no state of its model."""


@dataclass(frozen=True)
class Recipe:
    """How to train; params.yaml says what each number means."""

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 0
    schedule: str = "constant"
    plateau_every: int = 1  # steps of one epoch
    plateau_factor: float = 0.25
    plateau_patience: int = 4
    ema: Sequence[float] = ()  # half-lives in steps
    clip_norm: float | None = None
    precision: str = "fp32"  # or bf16, or auto, which fit() decides
    compile: bool = False  # on a GPU
    keep: str = "last"
    validate_every: int = 100
    seed: int = 0


def recipe(section: Training | Segmentation, rows: int) -> Recipe:
    """How to train, from a section of params.yaml; epochs of `rows` rows become steps."""
    an_epoch = -(-rows // section.batch)
    given = section.model_dump(include={field.name for field in fields(Recipe)})
    if isinstance(section, Training) and section.epochs is not None:
        given["steps"] = section.epochs * an_epoch
    return Recipe(**given, plateau_every=an_epoch)


@dataclass
class _State:
    """All that is needed to go on, besides the weights and the optimiser's moments."""

    step: int = 0
    since: list[float] = field(default_factory=list)  # training losses since the last point of the curve
    curve: list[dict[str, float]] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)  # training losses of this epoch, for the plateau
    plateau: dict[str, Any] = field(default_factory=dict)  # of its scheduler
    best: float = math.inf


class Progress(NamedTuple):
    """What fit() yields after each step."""

    step: int  # steps done
    loss: Tensor  # of this step, a scalar on the model's device: to read it is to wait for the device
    curve: list[dict[str, float]]  # points: step, loss (mean since the last), validation, learning_rate
    weights: Callable[[], Weights]  # the weights to keep: averaged if ema, the best so far if keep is best
    averages: Callable[[], dict[float, Weights]]  # by half-life, as they are now
    checkpoint: Callable[[], dict[str, Any]]  # the state from which fit() goes on


def seed_of(*numbers: int) -> int:
    """One 63-bit seed from several numbers, e.g. (seed, step): different numbers, independent streams."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def batch_rows(step: int, rows: int, batch: int, seed: int) -> Tensor:
    """Rows (batch,) of step 0, 1, ..: an endless walk through shuffled passes over all rows."""
    at = torch.arange(step * batch, (step + 1) * batch)
    orders = {
        epoch: torch.randperm(rows, generator=Generator().manual_seed(seed_of(seed, 1, epoch)))
        for epoch in range(int(at[0]) // rows, int(at[-1]) // rows + 1)
    }
    return torch.stack([orders[int(i) // rows][int(i) % rows] for i in at])


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for it: to a GPU from page-locked memory."""
    from_host = tensor.device.type == "cpu" and device.type == "cuda"
    return (tensor.pin_memory() if from_host else tensor).to(device, non_blocking=True)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Of step 0, 1, ..: linear warm-up, then constant or half a cosine to 0 (a plateau scales it further)."""
    warm = min(1.0, (step + 1) / (recipe.warmup + 1))
    if recipe.schedule != "cosine":
        return recipe.learning_rate * warm
    done = max(0, step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))


def decay(half_life: float, step: int) -> float:
    """What an average keeps of itself in step 0, 1, ..: half in `half_life` steps, early on in a 20th of those done.

    So it forgets the first weights soon, and the half-life counts in short trainings too (Karras et al. 2022, whose
    ramp it is).
    """
    return 0.5 ** (1 / min(half_life, max(step, 1) / 20))


def fit(
    model: nn.Module,
    loss: Loss,
    rows: int,
    recipe: Recipe,
    validate: Callable[[nn.Module], float] | None = None,
    checkpoint: dict[str, Any] | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[Progress]:
    """Train `model` in place with Adam for recipe.steps steps and yield Progress after each.

    Args:
        loss: (model, rows (B,) int64, CPU generator) -> scalar, the mean over the rows; draws its randomness from
            the generator, with several ranks by `ranks.whole`, since the rows are then a share of the batch.
        rows: how many training rows there are.
        validate: model -> validation loss, with draws of its own that are always the same; the same in every rank.
        checkpoint: what Progress.checkpoint() gave, to go on from there, with any number of ranks.
        ranks: which of the processes this is that train `model` together; all start with the same weights.

    Raises:
        InputError: fewer rows in a batch than ranks.
        FloatingPointError: the loss is not a number, first at the step named; on a GPU at most 50 steps
            later, and before anything of those steps is validated or kept.
        CheckpointError: the checkpoint is that of another network, or none.
    """
    if recipe.batch < ranks.size:
        raise InputError(
            f"training.batch: {recipe.batch}; expected at least {ranks.size}, a row for each process"
        )
    device = next(model.parameters()).device
    recipe = replace(recipe, precision=decided(recipe.precision, device))
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
    averages = [copy.deepcopy(model).requires_grad_(False) for _ in recipe.ema]
    average = averages[0] if averages else model  # what is validated and kept
    # Of a stand-in whose rate is 1: what becomes of it scales the rate of each step, warm-up included.
    plateau = ReduceLROnPlateau(
        torch.optim.SGD([torch.zeros(1)], 1.0), "min", recipe.plateau_factor, recipe.plateau_patience, eps=0
    )
    best: Weights = {}
    state = _State()
    if checkpoint is not None:
        try:
            model.load_state_dict(checkpoint["model"])
            for each, saved in zip(averages, checkpoint["averages"], strict=True):
                each.load_state_dict(saved)
            optimizer.load_state_dict(checkpoint["optimizer"])
            best, state = checkpoint["best"], _State(**checkpoint["state"])
            plateau.load_state_dict(state.plateau)
            plateau.optimizer.param_groups[0]["lr"] = plateau.get_last_lr()[0]
            _check(model, optimizer, state, best)
            _lay_out(optimizer)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError("expected the training state of this network") from error

    pending: list[Tensor] = []  # losses of the last steps, still on the device

    def weights() -> Weights:
        _read(pending, state, recipe)
        return best if recipe.keep == "best" and best else _copy(average)

    def averaged() -> dict[float, Weights]:
        return {half_life: _copy(each) for half_life, each in zip(recipe.ema, averages, strict=True)}

    def snapshot() -> dict[str, Any]:
        _read(pending, state, recipe)
        return {
            "model": _copy(model),
            "averages": [_copy(each) for each in averages],
            "optimizer": copy.deepcopy(optimizer.state_dict()),
            "best": best,
            "state": copy.deepcopy(vars(state)),
        }

    called = compiled(model) if recipe.compile and device.type == "cuda" else model
    while state.step < recipe.steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, state.step) * plateau.get_last_lr()[0]
        value = _step(called, loss, optimizer, rows, recipe, state.step, device, ranks)
        for each, half_life in zip(averages, recipe.ema, strict=True):
            _average(each, model, decay(half_life, state.step))
        state.step += 1
        pending.append(value)
        is_point = state.step % recipe.validate_every == 0 or state.step == recipe.steps
        is_epoch = recipe.schedule == "plateau" and state.step % recipe.plateau_every == 0
        if is_point or is_epoch or len(pending) > UNREAD.get(device.type, 0):
            _read(pending, state, recipe)
        if is_epoch:
            plateau.step(math.fsum(state.epoch) / len(state.epoch))
            state.plateau = plateau.state_dict()
            state.epoch.clear()
        if is_point:
            best = _validate(average, validate, state, best, optimizer)
        yield Progress(state.step, value, state.curve, weights, averaged, snapshot)


def compiled(model: nn.Module) -> nn.Module:
    """`model` with a compiled forward, as a second module that shares its weights and layers.

    So `model` itself, its copies and the names of its weights stay as they are, and validation, whose batches differ
    in size, runs eagerly. The mode uses CUDA graphs: what the forward returns lies in memory that its next call writes
    over, so it must be used up by then, as the outputs and gradients of one training step are; samplers copy it.
    """
    called = copy.copy(model)
    called.compile(mode="reduce-overhead", dynamic=False)
    return called


def _read(pending: list[Tensor], state: _State, recipe: Recipe) -> None:
    """Move the losses of the last steps from the device to `state`."""
    if not pending:
        return
    values = torch.stack(pending).tolist()
    for step, value in enumerate(values, state.step - len(values) + 1):
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {step}; expected a finite number")
    state.since += values
    if recipe.schedule == "plateau":
        state.epoch += values
    pending.clear()


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded moments the memory layout of their weights: fused Adam goes through both as they lie in memory.

    The state may come from a CPU, where weights are contiguous, and go on on a GPU, where they are channels-last.
    """
    for weight, moments in optimizer.state.items():
        for key in ("exp_avg", "exp_avg_sq"):
            moments[key] = torch.empty_like(weight).copy_(moments[key])


def _check(model: nn.Module, optimizer: torch.optim.Optimizer, state: _State, best: Weights) -> None:
    """Raise ValueError where torch would not notice: fused Adam writes past moments of another size."""
    for weight, moments in optimizer.state.items():
        if not all(moments[key].shape == weight.shape for key in ("exp_avg", "exp_avg_sq")):
            raise ValueError("moments of another size")
    if not all(value.isfinite().all() for value in model.state_dict().values()):
        raise ValueError("weights that are not numbers")
    kinds = {name: type(value) for name, value in vars(_State()).items()}
    if not isinstance(best, dict) or kinds != {name: type(value) for name, value in vars(state).items()}:
        raise ValueError("values of other kinds")


def _step(
    model: nn.Module,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    rows: int,
    recipe: Recipe,
    step: int,
    device: torch.device,
    ranks: Ranks,
) -> Tensor:
    """One optimiser step; returns its loss, of the whole batch, on the device."""
    model.train()
    seed = seed_of(recipe.seed, 2, step)
    share = Share(seed, ranks, recipe.batch)
    chosen = send(batch_rows(step, rows, recipe.batch, recipe.seed)[ranks.rows(recipe.batch)], device)
    cuda = [device] if device.type == "cuda" else []
    optimizer.zero_grad(set_to_none=True)
    with torch.random.fork_rng(cuda):  # a GPU's generator has its state on the host
        # Dropout draws from the global generator, other numbers in each rank.
        torch.manual_seed(seed_of(recipe.seed, 2, step, ranks.rank) if ranks.rank else seed)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            value = loss(model, chosen, share)
        value.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    *means, value = share.mean([*gradients, value])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean)
    if recipe.clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    optimizer.step()
    return value.detach().clone()  # of several ranks it is a view of all gradients


def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; counters and other integers are copied."""
    old, new = (list(part.state_dict().values()) for part in (average, model))
    floats = [i for i, value in enumerate(old) if value.is_floating_point()]
    get_ema_multi_avg_fn(decay)([old[i] for i in floats], [new[i] for i in floats], None)
    for i in set(range(len(old))) - set(floats):
        old[i].copy_(new[i])


def _validate(
    average: nn.Module,
    validate: Callable[[nn.Module], float] | None,
    state: _State,
    best: Weights,
    optimizer: torch.optim.Optimizer,
) -> Weights:
    """Add a point to the curve; returns the best weights so far."""
    value = math.nan
    if validate is not None:
        average.eval()
        with torch.no_grad():
            value = validate(average)
        if value < state.best:
            state.best, best = value, _copy(average)
    state.curve.append(
        {
            "step": state.step,
            "loss": math.fsum(state.since) / len(state.since),
            "validation": value,
            "learning_rate": optimizer.param_groups[0]["lr"],
        }
    )
    state.since.clear()
    return best


def _copy(model: nn.Module) -> Weights:
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
