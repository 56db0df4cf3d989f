"""Memory of sampling and training, by counting what is allocated: no GPU and no clock is needed.

    python benchmarks/memory.py                  prints the tables of docs/gpu.md, writes results/memory.json

`Live` counts the bytes of all tensors that are alive, operation by operation. Under FakeTensorMode tensors have sizes
and no content, so that 512x512 is counted in seconds on any machine. Left out, since torch does not show it there:
what cuDNN takes for a while inside an operation, and what the allocator keeps in reserve.
"""

import argparse
import json
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

sys.path.insert(0, str(Path(__file__).parents[1]))
import reference

from pig.core.params import load
from pig.diffusion import Denoiser, Draws, guided_loss, sample_pairs, timesteps
from pig.models.method import net, schedule
from pig.models.table import Params

ROOT = Path(__file__).parents[1]
GIB = 2**30


class Live(TorchDispatchMode):
    """Bytes of the tensors that operations within the block made and that still are alive; `peak` is the most."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.seen = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return out

    def _add(self, storage):
        if storage not in self.seen:
            self.seen[storage] = size = storage.nbytes()
            self.now += size
            weakref.finalize(storage, self._free, size)

    def _free(self, size):
        self.now -= size


def peak(run) -> int:
    """Peak bytes of what `run` makes, on top of what is there before."""
    with Live() as live:
        run()
    return live.peak


def states(size: int, batch: int, like="cpu"):
    return [torch.randn(batch, 1, size, size, device=like) for _ in "xy"]


def drawn(size: int, batch: int, T: int) -> Draws:
    """The random numbers of a loss, on the device in force."""
    return Draws(torch.randint(1, T + 1, (batch,)), *states(size, batch, None))


def sampling_peak(guider, guided, size: int, batch: int, steps: int, alphabar, like="cpu") -> int:
    """Of Algorithm 2 as `pig` computes it, the last pair kept."""
    chains, times = states(size, batch, like), timesteps(len(alphabar) - 1, steps)
    denoisers = Denoiser(guider, alphabar), Denoiser(guided, alphabar)
    return peak(lambda: deque(sample_pairs(*denoisers, *chains, alphabar, times), maxlen=1))


def reference_peak(guider, guided, size: int, batch: int, steps: int, alphabar) -> int:
    """Of the published code's structure, which keeps all states of all steps (on a GPU: in the host's memory)."""
    times = range(len(alphabar) - 1, -1, -(len(alphabar) - 1) // steps)
    kept = []
    return peak(lambda: kept.extend(reference.sample(guider, guided, *states(size, batch), alphabar, times)))


# ---------------------------- the paper's network at 512x512, without content
@contextmanager
def autocast_of_gpus(precision: str) -> Iterator[None]:
    """The casts that torch makes on a GPU, on a machine that has none (torch.autocast would turn itself off)."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", precision == "bf16")
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


def counted(size: int, batch: int, precision: str) -> dict[str, int]:
    """Peak bytes of sampling, of what a training step keeps for its backward pass, and (fp32) of the whole step.

    The pass itself cannot be counted for a GPU that is not there; in fp32 a CPU's allocates the same.
    """
    settings = load(ROOT / "params.yaml", Params, "paper")
    make, prediction = net("guided").make, settings.guided.prediction
    found = {}
    for device, what in [("cuda", "forward"), ("cpu", "step")]:
        if what == "step" and precision != "fp32":
            continue
        with FakeTensorMode(allow_non_fake_inputs=True), torch.device(device), autocast_of_gpus(precision):
            guider, guided = make(settings).eval().requires_grad_(False), make(settings).eval()
            alphabar = schedule(settings.process).to(device)
            trained = Denoiser(make(settings), alphabar, prediction)
            frozen = Denoiser(guider, alphabar, settings.guider.prediction, settings.guided.clip_guide)
            x0, y0 = states(size, batch, device)
            if what == "forward":
                found["sampling"] = sampling_peak(guider, guided, size, batch, 2, alphabar, device)
            with Live() as live:
                loss = guided_loss(trained, frozen, x0, y0, drawn(size, batch, len(alphabar) - 1))
                found["kept"] = live.now
                if what == "step":
                    loss.backward()
                    found["step"] = live.peak
    return found


def line(values: list[int]) -> tuple[float, float]:
    """(bytes a row, bytes without any) of the peaks at batch 1, 2."""
    return values[1] - values[0], 2 * values[0] - values[1]


def measure(size: int) -> dict:
    """Bytes a row and bytes beside them: of sampling and of a training step of the guided model, in fp32 and bf16."""
    found = {p: [counted(size, batch, p) for batch in (1, 2)] for p in ("fp32", "bf16")}
    lines = {
        precision: {what: line([one[what] for one in both]) for what in both[0]}
        for precision, both in found.items()
    }
    with torch.device("meta"):
        model = net("guided").make(load(ROOT / "params.yaml", Params, "paper"))
    weights = 4 * sum(p.numel() for p in model.parameters())
    rows = {}
    for precision, of in lines.items():
        a_row, beside = of["sampling"]
        rows[f"sampling, {precision}"] = {"row": a_row, "beside": beside + 2 * weights}
        # The whole step in bf16: as in fp32, less what its kept activations save.
        a_row, beside = lines["fp32"]["step"]
        a_row -= lines["fp32"]["kept"][0] - of["kept"][0]
        # Beside the gradients, which are counted: weights, Adam's two moments, and the frozen guider.
        rows[f"training, {precision}"] = {"row": a_row, "beside": max(beside, 0) + 4 * weights}
    return {"size": size, "weights": weights, "torch": torch.__version__, "bytes": rows}


def table(result: dict, sizes=(8, 16, 24, 40, 80, 141)) -> str:
    """Markdown: the largest batch a size of memory, a tenth of it left to what is not counted."""
    head = "| | MiB a pair | MiB beside | " + " | ".join(f"{size} GiB" for size in sizes) + " |"
    lines = [head, "| --- " * (len(sizes) + 3) + "|"]
    for name, of in result["bytes"].items():
        limits = [max(0, int((0.9 * size * GIB - of["beside"]) // of["row"])) for size in sizes]
        cells = [f"{of['row'] / 2**20:.0f}", f"{of['beside'] / 2**20:.0f}", *(f"{n:,}" for n in limits)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def growth(steps=(1, 2, 4)) -> str:
    """Markdown: peak MiB of one 64x64 pair by steps, ours and the published structure, whose states pile up."""
    settings = load(ROOT / "params.yaml", Params, "paper")
    make = net("guided").make
    lines = ["| steps | " + " | ".join(map(str, steps)) + " |", "| --- " * (len(steps) + 1) + "|"]
    for name, of in [("pig", sampling_peak), ("published structure", reference_peak)]:
        with FakeTensorMode(allow_non_fake_inputs=True):
            nets = [make(settings).eval().requires_grad_(False) for _ in "xy"]
            peaks = [of(*nets, 64, 1, n, schedule(settings.process).float()) for n in steps]
        lines.append(f"| {name} | " + " | ".join(f"{value / 2**20:.2f}" for value in peaks) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--out", default=ROOT / "benchmarks/results/memory.json", help="json file to write")
    args = parser.parse_args()
    result = measure(args.size)
    Path(args.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result), flush=True)
    print(f"\n{growth()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
