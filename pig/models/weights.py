"""Network files: .safetensors whose header says in JSON what the network is and how it came to be.

Nothing here runs code from a file, which holds tensors and text alone.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from pig.core.errors import InputError
from pig.core.files import atomic

HEADER = "pig"  # the one entry of the file's metadata; its value is the header as JSON
REQUIRED = ("net", "network")
Made = TypeVar("Made", bound=nn.Module)
WRAPPED = "net."  # of the keys of a wrapper


def save(path: str | Path, state: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a network: `state` as in state_dict(), `header` of JSON values. Equal content, equal bytes."""
    tensors = {key: state[key].detach().cpu().contiguous().clone() for key in sorted(state)}
    text = json.dumps(dict(header), sort_keys=True, allow_nan=False)
    with atomic(path) as file:
        file.write(to_bytes(tensors, metadata={HEADER: text}))


def load(path: str | Path, required: Iterable[str] = REQUIRED) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read (state, header), on the CPU.

    Raises InputError if `path` is no .safetensors file, or its header lacks a key of `required`.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; expected a network that `pig train` wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no dict
    except OSError:
        raise
    except Exception as error:  # its own, and those of a dtype that this torch lacks
        raise InputError(f"{path}: not a .safetensors file ({one_line(error)})") from error
    if HEADER not in metadata:
        raise InputError(f"{path}: no header of `pig` in the file; expected a network that `pig train` wrote")
    try:
        header = json.loads(metadata[HEADER])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise InputError(f"{path}: the header is {type(header).__name__}; expected keys and values")
    for key in required:
        if key not in header:
            raise InputError(f"{path}: the header lacks {key}; found {', '.join(header) or 'nothing'}")
    return state, header


def read(path: str | Path, make: Callable[[dict[str, Any]], Made]) -> tuple[Made, dict[str, Any]]:
    """The network in a file, which `make` makes from its header after it has checked it, and the header.

    Raises:
        InputError: as `load`, `make` and `fill` do.
    """
    state, header = load(path, ())
    with torch.device("meta"):  # takes no memory: the tensors must be there before a network of their size is
        match(portable(make(header)), state, path)
    model = make(header)
    fill(model, state, path)
    return model, header


def portable(model: nn.Module) -> dict[str, Tensor]:
    """What a file keeps of `model`: of a wrapper its `net`, under the authors' names, beside what it adds."""
    return {key.removeprefix(WRAPPED): value for key, value in model.state_dict().items()}


def fill(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Load what `portable` gave into `model`; InputError names `source` and the first key that does not fit."""
    match(portable(model), state, source)
    model.load_state_dict({key: state[key.removeprefix(WRAPPED)] for key in model.state_dict()})


def match(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise InputError unless `state` has the keys, shapes and kinds of `expected`, and finite numbers.

    `expected` may be on the meta device.
    """
    for key, tensor in expected.items():
        if key not in state:
            raise InputError(f"{source}: {key} is missing; expected a tensor of shape {tuple(tensor.shape)}")
        if state[key].shape != tensor.shape:
            shape, wanted = tuple(state[key].shape), tuple(tensor.shape)
            raise InputError(f"{source}: {key} has shape {shape}; expected {wanted}")
        if state[key].is_floating_point() != tensor.is_floating_point():
            raise InputError(f"{source}: {key} is {state[key].dtype}; expected {tensor.dtype}")
        if not state[key].float().isfinite().all():
            raise InputError(f"{source}: {key} holds NaN or infinity; expected finite numbers")
    for key in state:
        if key not in expected:
            raise InputError(f"{source}: {key} of shape {tuple(state[key].shape)} is unexpected")


def one_line(error: Exception) -> str:
    """An error's message without its line breaks, and no longer than a line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
