"""Several processes, called ranks, train one network: each computes with its rows of every batch.

torchrun starts them, and the environment says which is which. Their gradients are averaged by one plain all-reduce a
step. DistributedDataParallel would do that during the backward pass, but it wants the model called through a wrapper
and equal shares; our losses also call parts of a model (the autoencoder's encoder, decoder and discriminator), and a
batch of 6 on 4 GPUs is no equal share. The networks hold some 7 million numbers: there is little to overlap.
"""

import ctypes
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Generator, Tensor

from pig.core.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """Which process of how many this is."""

    rank: int = 0
    size: int = 1

    def rows(self, batch: int) -> slice:
        """Its rows of a batch: in order, and no rank has two more than another."""
        return slice(batch * self.rank // self.size, batch * (self.rank + 1) // self.size)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of what all ranks hold, in place and bit for bit the same in each.

        Raises:
            InputError: another process ended.
        """
        if self.size > 1:
            try:
                dist.all_reduce(tensor)
            except RuntimeError as error:
                lost = f"rank {self.rank} of {self.size}: lost the other processes of this training"
                raise InputError(f"{lost}; the same command goes on from its state") from error
        return tensor


ALONE = Ranks()


class Share(Generator):
    """The CPU generator of one batch, for a rank that computes with some of its rows.

    Every rank draws for the whole batch, by `whole`, and keeps its rows: so one process and many draw the same.
    """

    ranks: Ranks
    batch: int

    def __new__(cls, seed: int, ranks: Ranks, batch: int) -> "Share":
        share = super().__new__(cls)
        share.manual_seed(seed)
        share.ranks, share.batch = ranks, batch
        return share

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Means over the whole batch, from each rank's means over its own rows, by one message; no gradient."""
        if self.ranks.size == 1:
            return list(tensors)
        mine = self.ranks.rows(self.batch)
        weight = (mine.stop - mine.start) / self.batch
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors]) * weight
        parts = self.ranks.total(flat).split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def whole(generator: Generator | None, rows: int) -> tuple[int, slice]:
    """How many rows to draw with `generator` where `rows` are in hand, and which of the drawn to keep."""
    if isinstance(generator, Share):
        return generator.batch, generator.ranks.rows(generator.batch)
    return rows, slice(rows)


def batch_mean(generator: Generator | None, *tensors: Tensor) -> list[Tensor]:
    """Means over the whole batch, from means over the rows in hand; no gradient."""
    return generator.mean(tensors) if isinstance(generator, Share) else list(tensors)


def started() -> Ranks:
    """What torchrun says in the environment; ALONE without it."""
    return Ranks(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs the one of this process. Raises InputError if there are fewer than processes."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if device.type != "cuda" or processes == 1:
        return device
    if (found := torch.cuda.device_count()) < processes:
        raise InputError(
            f"{processes} processes on this machine: expected a GPU for each; torch finds {found}"
        )
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Connect the ranks within the block. The first that fails says why; the others end silently, with code 2."""
    if ranks.size == 1:
        yield
        return
    if dist.is_torchelastic_launched():
        _end_with_parent()
    store, *_ = next(dist.rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size)
    try:
        yield
    except Exception:
        with suppress(RuntimeError):  # the store's host may be gone
            if store.add("pig/failed", 1) > 1:
                raise SystemExit(2) from None
        raise
    dist.destroy_process_group()


def _end_with_parent() -> None:
    """Let the kernel end this process with torchrun, which starts it in a session of its own.

    Otherwise it would train on, and write, beside the one that is started after torchrun was killed.
    """
    PR_SET_PDEATHSIG = 1  # linux/prctl.h
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
