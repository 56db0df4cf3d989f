"""Trained networks, ready to sample with: their files, their schedule, the seeds and the grey levels of samples."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.core.errors import InputError

if TYPE_CHECKING:
    import torch

    from pig.models.methods import Trained


def read_net(path: str | Path, device: "torch.device") -> "tuple[Trained, dict[str, Any]]":
    """A trained network, in evaluation mode on `device`, and its header."""
    import torch

    from pig.core import params
    from pig.models import methods, weights

    state, header = weights.load(path, ("net", "network", "prediction", "process"))
    checked = params.header(params.Header, header, str(path))
    if checked.net not in methods.NETS:
        raise InputError(f"{path}: net is {checked.net!r}; expected one of {', '.join(methods.NETS)}")
    kind = methods.NETS[checked.net]
    if "autoencoder" in kind.uses and checked.autoencoder is None:
        raise InputError(f"{path}: the header lacks autoencoder, which {checked.net} is built from")
    with torch.device("meta"):  # takes no memory: the tensors must be there before a network of their size is
        weights.match(weights.portable(kind.make(checked)), state, path)
    model = kind.make(checked)
    weights.fill(model, state, path)
    return methods.Trained(model.to(device).eval().requires_grad_(False), checked.prediction), header


def read_nets(
    method: str, paths: Sequence[str | Path], device: Any, compile: bool = False
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The method's networks by name, channels last, on a GPU compiled if asked; their headers in the method's order."""
    import torch

    from pig.models.methods import METHODS, Trained
    from pig.training.fit import compiled

    wanted = METHODS[method].nets
    found: dict[str, Any] = {}
    headers: dict[str, dict[str, Any]] = {}
    for path in paths:
        trained, header = read_net(path, device)
        model = trained.model.to(memory_format=torch.channels_last)  # faster inference
        if compile and device.type == "cuda":
            model = compiled(model)
        found[header["net"]] = Trained(model, trained.prediction)
        headers[header["net"]] = header
    named = " ".join(map(str, paths))
    if sorted(found) != sorted(wanted) or len(paths) != len(found):
        expected = " and ".join(wanted)
        raise InputError(f"{named}: {method} expects {expected}; found {', '.join(found)}")
    if len(folds := {header["fold"] for header in headers.values() if "fold" in header}) > 1:
        raise InputError(f"{named}: expected networks of one fold; found {sorted(folds)}")
    return found, [headers[name] for name in wanted]


def seeds_of(seed: int, fold: int, numbers: range) -> list[int]:
    """The seed of each sample of a fold."""
    from pig.training.fit import seed_of

    return [seed_of(seed, fold, number) for number in numbers]


def shape_of(size: str | None, header: dict[str, Any]) -> list[int]:
    """(H, W) from `size`, HxW as --size has it, or else the network's header."""
    if size is None:
        if "size" not in header:
            raise InputError("--size: expected HxW, since the network's file does not say its size")
        return list(header["size"])
    sides = re.fullmatch(r"([1-9]\d{0,3})[xX]([1-9]\d{0,3})", size)
    if not sides:
        raise InputError(f"--size {size}: expected HxW of at most 9999, e.g. 512x512")
    return [int(side) for side in sides.groups()]


def alphabar_of(header: dict[str, Any], sampling: Any) -> Any:
    """The schedule that the network was trained on; sampling.steps must suit its T."""
    from pig.core.params import Process
    from pig.models.methods import schedule

    process = Process.model_validate(header["process"])
    if complaint := sampling.unfit(process.T):
        raise InputError(f"{complaint} of the network's T = {process.T}")
    return schedule(process)


def grey_levels(y0_hat: Any, rule: str) -> Any:
    """(B, 1, H, W) in [-1, 1] -> (B, H, W) uint8; "batch" first stretches by the batch's extremes."""
    from pig.data.pairs import grey

    if rule == "batch":
        low, high = y0_hat.min(), y0_hat.max()
        y0_hat = (y0_hat - low) / (high - low).clamp(min=1e-12) * 2 - 1
    return grey(y0_hat[:, 0].cpu().numpy())
