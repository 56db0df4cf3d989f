"""Turn a checkpoint of the authors' published code into a network file.

FILE is what their training wrote: torch.save of [weights, optimiser, epoch], or of the weights alone.
Only tensors are read; a file that would run code is refused. The written network predicts eps over
T = 1024 steps of the linear schedule, as theirs does, and `pig sample` and `pig progression` take it.
"""

import hashlib
from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the authors' checkpoint")
    parser.add_argument("--net", choices=["guider", "guided"], required=True, help="which denoiser it is")
    parser.add_argument("--out", metavar="FILE", required=True, help="network file to write (.safetensors)")


def run(args: Namespace) -> None:
    from pig.models import weights

    state = weights.read_official(args.file)
    header = {
        "net": args.net,
        "network": weights.OFFICIAL_NETWORK,
        "process": weights.OFFICIAL_PROCESS,
        "size": weights.OFFICIAL_SIZE,
        "prediction": "eps",
        "profile": "official",
        "source": hashlib.sha256(Path(args.file).read_bytes()).hexdigest(),
    }
    weights.save(args.out, state, header)
