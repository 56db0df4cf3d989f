"""Train one network on the training patients of one fold.

NET is an entry of the table NETS in pig/models/methods.py. Reads the archive of pairs and the split, and for some networks
the fold's networks that they build on. Writes the network (.safetensors, its header says how it was made) and its
loss curve (csv: step, loss, validation, learning_rate). After an interruption run the same command again: it goes on
from --state, and the final weights are bit-identical (on a CPU) to those of an uninterrupted run.

On several GPUs: `torchrun --standalone --nproc-per-node N -m pig train NET ...`. The processes share each batch, the
first alone writes, and the weights are those of one process but for rounding; a state may change hands between them.
"""

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from pig.cli.fitting import add_fit, digest_of, drop_state, recipe, run_fit
from pig.cli.options import add_compute, add_settings, compute, settings
from pig.core.errors import InputError
from pig.core.files import atomic
from pig.models.methods import NETS
from pig.models.trained import read_net

if TYPE_CHECKING:
    import torch
    from torch import Generator, Tensor, nn

    from pig.training.ranks import Ranks

SHARED = ("network", "process", "training", "folds")


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
    add_fit(parser)
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, *SHARED, *NETS[args.net].uses)
    device = compute(args)

    from pig.training.ranks import own_device, started, together

    ranks = started()
    with together(ranks):
        train_net(args, chosen, own_device(device), ranks)


def train_net(args: Namespace, chosen: Any, device: "torch.device", ranks: "Ranks") -> None:
    """The verb, in each of the ranks; the first writes."""
    kind = NETS[args.net]
    built_on = read_frozen(args, kind.needs, device)
    frozen = {name: trained for name, (trained, _) in built_on.items()}

    import torch

    from pig.core.reading import read_csv
    from pig.data.archive import read_archive
    from pig.data.pairs import digest, rows
    from pig.models import weights
    from pig.models.unet import parameters

    pairs = read_archive(args.pairs)
    if pairs.masks is None:
        raise InputError(f"{args.pairs}: expected pairs, found images without masks")
    split = read_csv(args.split, columns=("id",), text=True)
    roles = ("train", "validation", "test") if chosen.folds.leak else ("train",)
    train = pairs.select(rows(split, pairs.table, args.fold, *roles))
    held_out = pairs.select(rows(split, pairs.table, args.fold, "validation"))

    torch.manual_seed(chosen.training.seed)
    model = kind.make(chosen)
    if kind.adopt:
        model.adopt(frozen[kind.adopt].model.net)  # type: ignore[operator]
    initial = getattr(getattr(chosen, args.net, None), "initial_weights", None)
    if initial:
        weights.fill(model, weights.load(initial)[0], initial)
    model.to(device)
    if device.type == "cuda":
        for_gpu(model, frozen, chosen.training.compile)
    loss, validate = losses(args.net, frozen, chosen, train, held_out, device, ranks)
    plan = recipe(chosen.training, len(train))
    kept, curve = run_fit(
        model,
        loss,
        len(train),
        plan,
        validate,
        label=f"{args.net} fold {args.fold}",
        state=args.state,
        checkpoint_every=chosen.training.checkpoint_every,
        fingerprint=digest_of(vars(chosen), digest(train), args.net, args.fold, *args.models, initial),
        ranks=ranks,
    )
    model.load_state_dict(kept)
    if kind.finish:
        kind.finish(model.eval(), batches(train, chosen.training.batch, device))
    with torch.no_grad():
        validation = validate(model.eval())
    if ranks.rank > 0:
        return
    header = {
        "net": args.net,
        "fold": args.fold,
        "size": list(pairs.images.shape[1:]),
        "prediction": getattr(chosen, kind.prediction).prediction if kind.prediction else "",
        "data": digest(train),
        "trained_pairs": len(train),
        "seen": plan.steps * plan.batch + (built_on[kind.adopt][1].get("seen", 0) if kind.adopt else 0),
        "parameters": parameters(model),
        "validation": validation,
        **{key: value.model_dump() for key, value in vars(chosen).items()},
        **provenance("train"),
    }
    weights.save(args.out, weights.portable(model), header)
    with atomic(args.curve, "w") as file:
        curve.to_csv(file, index=False)
    drop_state(args)


def for_gpu(model: "nn.Module", frozen: Any, compile: bool) -> None:
    """Lay the weights out as a GPU's convolutions want them (on a CPU it costs a training step a tenth).

    With `compile` the frozen networks are compiled too, without CUDA graphs: their outputs are the guide, which the
    trained network keeps for its gradient. `fit` compiles the trained one.
    """
    import torch

    torch.backends.cudnn.benchmark = True  # all batches have one shape
    for part in (model, *(trained.model for trained in frozen.values())):
        part.to(memory_format=torch.channels_last)
    if compile:
        for trained in frozen.values():
            trained.model.compile(dynamic=False)


def read_frozen(args: Namespace, needs: tuple[str, ...], device: "torch.device") -> dict[str, Any]:
    """--models by name, with their headers: exactly those that the network needs, trained in the same fold."""
    read = [(path, *read_net(path, device)) for path in args.models]
    found = {header["net"]: (trained, header) for _, trained, header in read}
    if sorted(found) != sorted(needs) or len(read) != len(found):
        given, expected = (", ".join(names) or "none" for names in (found, needs))
        raise InputError(f"--models: {args.net} builds on {expected}; found {given}")
    for path, _, header in read:
        if header.get("fold", args.fold) != args.fold:
            raise InputError(f"{path}: expected a network of fold {args.fold}; found fold {header['fold']}")
    return found


def batches(pairs: Any, size: int, device: "torch.device") -> "list[Tensor]":
    """All images of `pairs`, (B, 1, H, W) in [-1, 1]."""
    import torch

    from pig.data.pairs import scale

    return [scale(part.to(device)[:, None]) for part in torch.from_numpy(pairs.images).split(size)]


def provenance(verb: str) -> dict[str, str]:
    """Version, hash of the verb's code and git revision, for the header of a network."""
    import subprocess
    from pathlib import Path

    from pig import __version__
    from pig.core.codehash import code_hash

    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        found = ""
    return {"version": __version__, "code": code_hash(f"cli.verbs.{verb}"), "revision": found or "unknown"}


def losses(
    net: str, frozen: Any, chosen: Any, train: Any, held_out: Any, device: "torch.device", ranks: "Ranks"
) -> Any:
    """(training loss, validation loss) of `net` for fit().

    The validation's draws are always the same; its batches are dealt out among the ranks, and all get the mean.
    """
    import torch

    from pig.data.pairs import scale
    from pig.models.methods import schedule
    from pig.training.fit import seed_of

    alphabar = schedule(chosen.process).to(device)
    training = chosen.training

    def tensors(pairs: Any) -> "tuple[Tensor, Tensor]":
        """uint8 on the device: (masks, images), each (N, 1, H, W); scaled to [-1, 1] a batch at a time."""
        masks = torch.from_numpy(pairs.masks).to(device, torch.uint8)[:, None]
        return masks, torch.from_numpy(pairs.images).to(device)[:, None]

    data, validation = tensors(train), tensors(held_out)

    def error(model: "nn.Module", masks: "Tensor", images: "Tensor", generator: "Generator") -> "Tensor":
        x0, y0 = masks.float() * 2 - 1, scale(images)
        return NETS[net].loss(model, frozen, x0, y0, alphabar, generator, chosen)

    def loss(model: "nn.Module", rows: "Tensor", generator: "Generator") -> "Tensor":
        return error(model, data[0][rows], data[1][rows], generator)

    def validate(model: "nn.Module") -> float:
        batches = torch.arange(training.validation_draws).split(training.batch)
        sums = torch.zeros(len(batches), dtype=torch.float64, device=device)
        for i in range(ranks.rank, len(batches), ranks.size):
            rows = (batches[i] % len(held_out)).to(device)
            generator = torch.Generator().manual_seed(seed_of(training.seed, 3, int(batches[i][0])))
            value = error(model, validation[0][rows], validation[1][rows], generator).item()
            sums[i] = value * len(rows)
        return sum(ranks.total(sums).tolist()) / training.validation_draws

    return loss, validate
