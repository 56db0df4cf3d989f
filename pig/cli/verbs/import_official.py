"""Turn a checkpoint of the authors' published code into a network file.

FILE is what their training wrote: torch.save of [weights, optimiser, epoch], or of the weights alone.
Only tensors are read; a file that would run code is refused. The written network predicts eps over
T = 1024 steps of the linear schedule, as theirs does, and `pig sample` and `pig progression` take it.
"""

import hashlib
import pickle
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pig.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# The network and process of the published code of Zhang et al., 2025, and the size of its images.
OFFICIAL = {
    "network": {
        "width": 32,
        "multipliers": [1, 1, 2, 2, 4, 4],
        "blocks": 2,
        "dropout": 0.0,
        "stem": 1,
        "groups": 32,
    },
    "process": {"T": 1024, "schedule": "linear", "beta_1": 1e-4, "beta_T": 0.02},
    "size": [512, 512],
    "prediction": "eps",
    "profile": "official",
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the authors' checkpoint")
    parser.add_argument("--net", choices=["guider", "guided"], required=True, help="which denoiser it is")
    parser.add_argument("--out", metavar="FILE", required=True, help="network file to write (.safetensors)")


def run(args: Namespace) -> None:
    from pig.models import weights

    source = hashlib.sha256(Path(args.file).read_bytes()).hexdigest()
    weights.save(args.out, read(args.file), {"net": args.net, **OFFICIAL, "source": source})


def read(path: str | Path) -> "dict[str, Tensor]":
    """The weights of [weights, optimiser, epoch], or of bare weights, checked against the authors' network.

    Only tensors and plain containers are unpickled; a file that holds code is refused, and none of it is run. A
    leading `module.` of every key (DataParallel) goes. InputError for anything else.
    """
    import torch

    from pig.models import weights
    from pig.models.unet import UNet

    try:
        with warnings.catch_warnings():  # about the pickle's protocol; whatever comes out is checked below
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: refused, it holds more than tensors or is no checkpoint of [weights, optimiser, epoch]"
        ) from error
    except OSError:
        raise
    except Exception as error:  # arbitrary bytes make the unpickler stumble in arbitrary ways
        raise InputError(f"{path}: not a checkpoint of torch.save ({weights.one_line(error)})") from error
    found = loaded[0] if isinstance(loaded, list | tuple) and loaded else loaded
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: found {type(found).__name__}; expected [weights, optimiser, epoch]")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise InputError(f"{path}: {key!r} is {type(value).__name__}; expected named tensors")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise InputError(f"{path}: {key!r} is no plain tensor; expected one of numbers side by side")
    if found and all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    with torch.device("meta"):
        expected = UNet().state_dict()  # its defaults are theirs
    weights.match(expected, found, path)
    return {key: found[key].float() for key in expected}
