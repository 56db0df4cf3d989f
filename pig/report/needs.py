"""What a study asks of a machine: memory and disk, counted from its parameters on torch's meta device.

Nothing is computed. benchmarks/scale.py prints from the same functions what docs/scale.md says.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Generator, Tensor

from pig.core.params import Study
from pig.metrics import segmentation
from pig.models import table
from pig.models.method import Batch, Trained, net, schedule
from pig.models.unet import parameters

LIBRARIES = (
    1_100_000_000  # bytes: the largest job of profile demo had 1,078 MB resident, and its arrays are small
)
STATE = 16  # bytes a parameter in training: weight, gradient and Adam's two moments
FEATURES = 2048  # numbers a slice of InceptionV3
Loss: TypeAlias = Callable[[], Tensor]

# ---------------------------- memory


def network(name: str, p: Any) -> torch.nn.Module:
    """A network of the table without numbers in it."""
    with torch.device("meta"):
        model = net(name).make(p)
    if name == "autoencoder":
        model.step = torch.tensor(p.autoencoder.adversarial_start)  # its loss is then whole
    return model


def frozen(names: Iterable[str], p: Study) -> dict[str, Trained]:
    """Networks that others build on."""
    return {name: Trained(network(name, p).eval().requires_grad_(False), "eps") for name in names}


def network_and_loss(name: str, p: Study) -> tuple[torch.nn.Module, Loss]:
    """A network and its loss of one image."""
    model, below = network(name, p), frozen(table.NETS[name].needs, p)
    x0 = torch.zeros(1, 1, p.data.size, p.data.size, device="meta")
    batch = Batch(x0, x0, schedule(p.process).to("meta"), Generator())
    return model, lambda: net(name).loss(model, below, batch, p)


def segmenter_and_loss(p: Study) -> tuple[torch.nn.Module, Loss]:
    """A segmenter and its loss of two images, since it is normalised by batches."""
    shape, own = (p.data.size, p.data.size), p.segmentation
    model = segmentation.build(own.encoder, own.depth, own.decoder_channels, shape).to("meta")
    x = torch.zeros(2, 1, *shape, device="meta")
    return model, lambda: segmentation.bce_dice(model(x), x > 0)


def kept(model: torch.nn.Module, loss: Loss) -> int:
    """Bytes that the backward pass of `loss` waits for, besides the parameters."""
    found: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage._cdata] = storage
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss()
    for parameter in model.parameters():
        found.pop(parameter.untyped_storage()._cdata, None)
    return sum(storage.nbytes() for storage in found.values())


class Training(NamedTuple):
    """What training one network takes."""

    parameters: int
    memory: (
        int  # bytes of weights, gradients, moments, and of what the backward pass waits for; fp32, one batch
    )


def training(p: Study) -> dict[str, Training]:
    """Of each network that the study trains, and of the segmenter."""
    found = {}
    for name in table.order(p.methods):
        model, loss = network_and_loss(name, p)
        own = parameters(model)
        found[name] = Training(own, STATE * own + p.training.batch * kept(model, loss))
    model, loss = segmenter_and_loss(p)
    own = parameters(model)
    found["segmenter"] = Training(own, STATE * own + p.segmentation.batch * kept(model, loss) // 2)
    return found


def arrays(pairs: int, size: int) -> int:
    """Bytes of `pairs` pairs of size x size pixels in memory: a job reads all."""
    return 2 * pairs * size**2


# ---------------------------- disk


class Counts(NamedTuple):
    """How many large things the graph of jobs makes."""

    samples: int
    networks: list[str]  # of the table, once a training
    segmenters: int
    features: int  # sets


def counts(p: Study) -> Counts:
    """As workflow/rules/ plan them; a test holds this to docs/scale.md, which counts a plan of Snakemake."""
    paired = [name for name in p.methods if table.METHODS[name].paired]
    scored = [name for name in p.methods if table.METHODS[name].masks != "varied"]
    leak = "pig" in p.methods and not p.folds.leak
    dose, folds = max(p.segmentation.doses), p.folds.count
    samples = sum(max(dose, p.fidelity.slices) + (folds - 1) * dose for _ in paired) + leak * dose
    samples += (len(p.methods) - len(paired)) * p.fidelity.slices
    everywhere = table.order(paired)
    networks = everywhere * folds + [net for net in table.order(p.methods) if net not in everywhere]
    networks += table.order(["pig"]) * leak
    of_crops = [name for name in scored if name in paired]
    return Counts(samples, networks, folds * p.segmentation.seeds, len(scored) + len(of_crops) + 4)


class Disk(NamedTuple):
    """Bytes at most: a grey pixel takes a byte, and no PNG of ours is larger than its pixels but for a header."""

    pairs: int
    samples: int  # in shards and merged
    networks: int
    segmenters: int
    features: int


def disk(p: Study, pairs: int, made: Counts, trained: Mapping[str, int]) -> Disk:
    """What the study keeps. `trained`: parameters of each network, and of the segmenter."""
    image = p.data.size**2
    return Disk(
        pairs * image,
        2 * made.samples * image,
        sum(4 * trained[net] for net in made.networks),
        4 * trained["segmenter"] * made.segmenters,
        made.features * p.fidelity.slices * FEATURES * 4,
    )
