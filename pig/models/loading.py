"""Trained generators from files: a folder that `pig export` wrote, a fold of a study, or networks by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pig.core import params as settings
from pig.core import paths
from pig.core.errors import InputError
from pig.core.reading import read_json
from pig.models import table, weights
from pig.models.generator import Model
from pig.models.method import Trained, net
from pig.training.fit import compiled

LIBRARY, FORMAT = "pig", 1  # what an exported folder says of itself


def load(
    path: str | Path,
    method: str | None = None,
    *,
    device: str | torch.device | None = None,
    params: str | Path | None = None,
    profile: str | None = None,
) -> Model:
    """A trained generator from a folder: one that `pig export` wrote, or a fold of a study, runs/PROFILE/fold0.

    Nothing is downloaded, and no code out of a file is run.

    Args:
        path: the folder.
        method: of a study, which of its generators, "pig" if not said; an export holds one.
        device: "cpu", "cuda", "cuda:1", or a torch.device; None: a GPU if there is one.
        params: of a study, the file of its settings, whose section `sampling` counts; None: params.yaml beside runs.
        profile: of a study, the profile of `params`; None: the name of the folder above the fold's.

    Raises:
        InputError: no such folder; no networks of the method in it; settings or files that do not fit together.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; expected one of `pig export`, or of a study, runs/PROFILE/fold0"
        )
    if (config := folder / paths.CONFIG).is_file():
        if params is not None or profile is not None:
            raise InputError(f"{folder}: an export has its own settings; expected neither params nor profile")
        found, sampling = read_config(config)
        if method not in (None, found):
            raise InputError(f"{folder}: method {method}: expected {found}, which was exported")
        method = found
    else:
        method = method or "pig"
        table.check_methods([method], "method")
        sampling = study_of(folder, params, profile).sampling
    return read(method, files_in(folder, method), sampling, _device(device))


def study_of(fold: Path, params: str | Path | None, profile: str | None) -> settings.Study:
    """The settings of the study that `fold`, ROOT/runs/PROFILE/fold0, is of. Raises InputError."""
    file, name = paths.study_of(fold)
    return settings.load(params or file, table.Params, profile or name)


def files_in(folder: str | Path, method: str) -> list[str]:
    """The files of a method's networks in a folder."""
    return [paths.net(folder, name) for name in table.METHODS[method].nets]


def read_config(path: Path) -> tuple[str, settings.Sampling]:
    """Method and settings of an export. Raises InputError: of another library or format, or spoilt."""
    found = read_json(path, {"library_name": str, "format": int, "method": str, "sampling": dict})
    for key, wanted in (("library_name", LIBRARY), ("format", FORMAT)):
        if found[key] != wanted:
            raise InputError(
                f"{path}: {key}: expected {wanted}, as `pig export` writes; found {found[key]!r}"
            )
    table.check_methods([found["method"]], f"{path}: method")
    return found["method"], settings.checked(settings.Sampling, found["sampling"], f"{path}: sampling")


def read(
    method: str,
    files: Sequence[str | Path],
    sampling: settings.Sampling,
    device: torch.device,
    size: tuple[int, int] | None = None,
) -> Model:
    """A generator from the files of its networks, channels last, on a GPU compiled if sampling.compile says so.

    size: (H, W) of the samples, if another than that of the networks' training.

    Raises:
        InputError: files of other networks, or of several folds; a file without a size; steps that do not suit them.
    """
    found = {file.says.net: file for file in (read_net(path, device) for path in files)}
    named, wanted = " ".join(map(str, files)), table.METHODS[method].nets
    if sorted(found) != sorted(wanted) or len(files) != len(found):
        raise InputError(f"{named}: {method} expects {' and '.join(wanted)}; found {', '.join(found)}")
    if len(folds := {file.header["fold"] for file in found.values() if "fold" in file.header}) > 1:
        raise InputError(f"{named}: expected networks of one fold; found {sorted(folds)}")
    last = found[wanted[-1]].says
    if size is None:
        if last.size is None:
            raise InputError(f"{files[-1]}: the header lacks size; expected [height, width]")
        size = (last.size[0], last.size[1])
    sampling.check(last.process.T, "the network's T")
    nets = {name: _for_sampling(file.trained, sampling.compile) for name, file in found.items()}
    headers = {name: found[name].header for name in wanted}
    return Model(method, size, last.fold, sampling, headers, nets, last.process)


def _for_sampling(trained: Trained, compile: bool) -> Trained:
    model = trained.model.to(memory_format=torch.channels_last)  # faster inference
    on_gpu = next(model.parameters()).is_cuda
    return trained._replace(model=compiled(model) if compile and on_gpu else model)


class File(NamedTuple):
    """The file of a network."""

    trained: Trained  # in evaluation mode
    header: Mapping[str, Any]  # all that it says
    says: settings.Header  # what of that is used, checked


def read_net(path: str | Path, device: torch.device) -> File:
    """A trained network on `device`. Raises InputError."""

    def make(header: dict[str, Any]) -> nn.Module:
        name = settings.checked(settings.Header, header, str(path)).net
        if name not in table.NETS:
            raise InputError(f"{path}: net is {name!r}; expected one of {', '.join(table.NETS)}")
        kind = net(name)
        return kind.make(settings.checked(kind.built, header, str(path)))

    model, header = weights.read(path, make)
    says = settings.checked(settings.Header, header, str(path))
    model = model.to(device).eval().requires_grad_(False)
    return File(Trained(model, says.prediction), header, says)


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        found = torch.device("meta")
    if found.type not in ("cpu", "cuda"):
        raise InputError(f"device: expected cpu, cuda or cuda:N; found {str(device)!r}")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {found}: torch finds {torch.cuda.device_count()} GPUs here")
    return found
