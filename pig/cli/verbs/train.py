"""Train one network on the training patients of one fold.

NET is a network of the table in pig/models/table.py. Reads the archive of pairs and the split, and for some networks
the fold's networks that they build on. Writes the network (.safetensors, its header says how it was made) and its
loss curve (csv: step, loss, validation, learning_rate). After an interruption run the same command again: it goes on
from --state, and the final weights are bit-identical (on a CPU) to those of an uninterrupted run.

On several GPUs: `torchrun --standalone --nproc-per-node N -m pig train NET ...`. The processes share each batch, the
first alone writes, and the weights are those of one process but for rounding; a state may change hands between them.
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from pig.cli.fitting import add_fit, but_precision, digest_of, drop_state, run_fit
from pig.cli.options import add_compute, add_settings, start
from pig.core.errors import InputError
from pig.core.files import atomic
from pig.core.params import Shared
from pig.models.table import NETS

if TYPE_CHECKING:
    import torch

    from pig.models.loading import File
    from pig.training.fit import Weights
    from pig.training.ranks import Ranks


def add_arguments(parser: ArgumentParser) -> None:
    built_on = "; ".join(f"{name}: {', '.join(net.needs)}" for name, net in NETS.items() if net.needs)
    parser.add_argument("net", metavar="NET", choices=NETS, help=f"one of {', '.join(NETS)}")
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of mask-image pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument("--fold", metavar="K", type=int, required=True, help="fold, counted from 0")
    parser.add_argument(
        "--models",
        metavar="FILE",
        nargs="*",
        default=[],
        help=f"the fold's networks it builds on ({built_on})",
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="network to write")
    parser.add_argument(
        "--averages",
        metavar="FOLDER",
        help="also write NET-H.safetensors into FOLDER: the average of each half-life H of training.ema",
    )
    add_fit(parser)
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    chosen, device = start(args, *Shared.model_fields, *NETS[args.net].sections)

    from pig.training.ranks import own_device, started, together

    ranks = started()
    with together(ranks):
        train_net(args, chosen, own_device(device), ranks)


def train_net(args: Namespace, chosen: Any, device: "torch.device", ranks: "Ranks") -> None:
    """The verb, in each of the ranks; the first writes."""
    import torch

    from pig.data.archive import read_archive
    from pig.data.pairs import ROLES, digest
    from pig.models import train, weights
    from pig.models.method import net
    from pig.models.unet import parameters
    from pig.training.fit import recipe

    kind = net(args.net)
    own = kind.settings(**vars(chosen))
    if args.averages and not own.training.ema:
        raise InputError("training.ema: expected half-lives for --averages; found []")
    built_on = read_frozen(args, device)
    frozen = {name: file.trained for name, file in built_on.items()}
    pairs = read_archive(args.pairs)
    pairs.need_masks(args.pairs)
    seen = pairs.of(args.split, args.fold, *(ROLES if own.folds.leak else ROLES[:1]))
    held_out = pairs.of(args.split, args.fold, "validation")

    model = train.start(args.net, own, frozen, device)
    loss, validate = train.losses(args.net, frozen, own, seen, held_out, device, ranks)
    plan = recipe(own.training, len(seen))
    parts = (
        but_precision(chosen, "training"),
        digest(seen),
        args.net,
        args.fold,
        *args.models,
        kind.initial(own),
    )
    averages: dict[float, Weights] = {}
    kept, curve, computed_in = run_fit(
        model,
        loss,
        len(seen),
        own.training,
        validate,
        label=f"{args.net} fold {args.fold}",
        state=args.state,
        fingerprint=digest_of(*parts),
        ranks=ranks,
        last=lambda progress: averages.update(progress.averages() if args.averages else {}),
    )
    adopted = built_on[kind.adopts].says.seen if kind.adopts else 0
    header = {
        "net": args.net,
        "fold": args.fold,
        "size": list(pairs.images.shape[1:]),
        "prediction": kind.prediction(own),
        "data": digest(seen),
        "trained_pairs": len(seen),
        "seen": plan.steps * plan.batch + adopted,
        "parameters": parameters(model),
        "computed_in": computed_in,
        **{key: value.model_dump() for key, value in vars(chosen).items()},
        **provenance(args.net),
    }
    named = {
        f"{args.averages}/{args.net}-{half_life:g}.safetensors": of for half_life, of in averages.items()
    }
    for path, each in {**named, args.out: kept}.items():
        model.load_state_dict(each)
        train.finish(args.net, model, seen, own.training.batch, device)
        with torch.no_grad():
            validation = validate(model.eval())
        if ranks.rank == 0:
            weights.save(path, weights.portable(model), {**header, "validation": validation})
    if ranks.rank > 0:
        return
    with atomic(args.curve, "w") as file:
        curve.to_csv(file, index=False)
    drop_state(args)


def read_frozen(args: Namespace, device: "torch.device") -> "dict[str, File]":
    """--models by name: exactly those that the network needs, trained in the same fold."""
    from pig.models.loading import read_net

    needs = NETS[args.net].needs
    files = [read_net(path, device) for path in args.models]
    found = {file.says.net: file for file in files}
    if sorted(found) != sorted(needs) or len(args.models) != len(found):
        given, expected = (", ".join(names) or "none" for names in (found, needs))
        raise InputError(f"--models: {args.net} builds on {expected}; found {given}")
    for path, file in zip(args.models, files, strict=True):
        if (fold := file.header.get("fold", args.fold)) != args.fold:
            raise InputError(f"{path}: expected a network of fold {args.fold}; found fold {fold}")
    return found


def provenance(net: str) -> dict[str, str]:
    """Version, hash of the code that trains it and git revision, for the header of a network."""
    import subprocess
    from pathlib import Path

    from pig import __version__

    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        found = ""
    return {
        "version": __version__,
        "code": NETS[net].code(),
        "revision": found or "unknown",
    }
