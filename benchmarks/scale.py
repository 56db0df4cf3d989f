"""What the whole study costs at a profile: jobs, multiply-adds, memory and disk, on data of the paper's size.

    python benchmarks/scale.py                  the tables of docs/scale.md that are counted: no clock is read
    python benchmarks/scale.py --plan           the seconds that planning takes
    python benchmarks/scale.py --measure        also what one CPU thread sustains, on real steps at full size (minutes)

Jobs are those that `snakemake --dry-run` plans, which reads no data. Their work is counted by FlopCounterMode on
our own networks, on the meta device, so nothing is computed; params.yaml and a split of made-up patients, as many as
DBTMassSeg has, say how often each network is run.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
import torchvision
from torch import Generator, Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1]))
from pig.core.params import Study, load
from pig.data.pairs import split
from pig.metrics import segmentation
from pig.models.generator import Model
from pig.models.method import Batch, Trained, net, sampler, schedule
from pig.models.table import METHODS, NETS, Params, order
from pig.models.unet import parameters
from pig.training.fit import Recipe, fit, recipe

ROOT = Path(__file__).parents[1]
PAIRS, PATIENTS = 8723, 367  # of DBTMassSeg (the paper)
STATE = 16  # bytes a parameter in training: weight, gradient and Adam's two moments
FEATURES = 2048  # numbers a slice of InceptionV3
RATES = (5, 20, 80)  # TFLOP/s: what if, nothing measured
SHARED = 3  # GPUs that share a training in the last column: they divide the batch of 6


class Work(NamedTuple):
    """Multiply-adds of one image, and what is kept of it while a network is trained."""

    training: int  # forward and backward
    validation: int  # forward
    kept: int  # bytes that the backward pass waits for
    parameters: int


class Counted(NamedTuple):
    """The study: what is planned, and what each part of it costs."""

    plan: list[str]  # the message of each job
    rules: Counter[str]
    rows: Mapping[str, dict[str, int]]  # arm and fold -> pairs that train, validate and test
    nets: dict[str, Work]
    samples: dict[str, int]  # multiply-adds of one sample of each method
    segmenter: Work
    inception: int


# ---------------------------- the plan
def plan(profile: str) -> str:
    """What `snakemake --dry-run` prints for an archive that does not exist yet."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pairs.zip").touch()
        command = [str(Path(sys.executable).parent / "snakemake"), "--dry-run", "--directory", folder]
        chosen = ["--config", f"profile={profile}", "data={source: pairs.zip}"]
        command += ["--snakefile", str(ROOT / "Snakefile"), *chosen]
        return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=True).stdout


def roles(p: Study) -> dict[str, dict[str, int]]:
    """Pairs of each role in each fold, for patients with about equally many slices; the leak arm trains on all."""
    patients = [f"p{i % PATIENTS:03d}" for i in range(PAIRS)]
    table = pd.DataFrame({"id": [str(i) for i in range(PAIRS)], "patient": patients})
    dealt = split(table, p.folds.count, p.folds.validation, p.folds.seed)
    found = {f"fold {k}": dict(Counter(dealt[f"fold{k}"])) for k in range(p.folds.count)}
    return found | {"leak 0": found["fold 0"] | {"train": PAIRS}}


# ---------------------------- networks and their losses, without numbers in them
def network(name: str, p: Study) -> torch.nn.Module:
    """A network of the table without numbers in it."""
    with torch.device("meta"):
        model = net(name).make(p)
    if name == "autoencoder":
        model.step = torch.tensor(p.autoencoder.adversarial_start)  # its loss is then whole
    return model


def frozen(names: Iterable[str], p: Study) -> dict[str, Trained]:
    """Networks that others build on."""
    return {name: Trained(network(name, p).eval().requires_grad_(False), "eps") for name in names}


def network_and_loss(name: str, p: Study) -> tuple[torch.nn.Module, Callable[[], Tensor]]:
    """A network and its loss of one image."""
    model, below = network(name, p), frozen(NETS[name].needs, p)
    x0 = torch.zeros(1, 1, p.data.size, p.data.size, device="meta")
    batch = Batch(x0, x0, schedule(p.process).to("meta"), Generator())
    return model, lambda: net(name).loss(model, below, batch, p)


def segmenter_and_loss(p: Study) -> tuple[torch.nn.Module, Callable[[], Tensor]]:
    """A segmenter and its loss of two images, since it is normalised by batches."""
    shape, own = (p.data.size, p.data.size), p.segmentation
    model = segmentation.build(own.encoder, own.depth, own.decoder_channels, shape).to("meta")
    x = torch.zeros(2, 1, *shape, device="meta")
    return model, lambda: segmentation.bce_dice(model(x), x > 0)


def trained(model: torch.nn.Module, loss: Callable[[], Tensor]) -> tuple[int, int]:
    """(multiply-adds, bytes that the backward pass waits for besides the parameters) of a training step."""
    found: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage._cdata] = storage
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        training = multiply_adds(lambda: loss().backward())
    for parameter in model.parameters():
        found.pop(parameter.untyped_storage()._cdata, None)
    return training, sum(storage.nbytes() for storage in found.values())


# ---------------------------- the work of one image
def multiply_adds(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def work(model: torch.nn.Module, loss: Callable[[], Tensor], images: int = 1) -> Work:
    """Of one image of the `images` of a loss."""
    training, waited = trained(model, loss)
    model.eval()
    with torch.no_grad():
        validation = multiply_adds(loss)
    return Work(training // images, validation // images, waited // images, parameters(model))


def work_of_net(name: str, p: Study) -> Work:
    return work(*network_and_loss(name, p))


def work_of_segmenter(p: Study) -> Work:
    return work(*segmenter_and_loss(p), images=2)


def work_of_inception() -> int:
    with torch.device("meta"), torch.no_grad():
        net = torchvision.models.inception_v3(init_weights=False).eval()
        return multiply_adds(lambda: net(torch.zeros(1, 3, 299, 299)))


def work_of_sample(method: str, p: Study) -> int:
    """As Table 5 counts it."""
    size, nets = (p.data.size, p.data.size), frozen(METHODS[method].nets, p)
    return Model(method, size, 0, p.sampling, {}, nets, p.process).operations()


def count(profile: str = "paper") -> Counted:
    """The whole study; takes half a minute and computes nothing."""
    p, shown = load(ROOT / "params.yaml", Params, profile), plan(profile)
    cost: dict[tuple[tuple[str, ...], str], int] = {}  # given and varied masks cost alike
    alike = {name: (METHODS[name].nets, sampler(name).steps) for name in p.methods}
    for name in p.methods:
        if alike[name] not in cost:
            cost[alike[name]] = work_of_sample(name, p)
    return Counted(
        re.findall(r"^Job \d+: (.*)$", shown, flags=re.MULTILINE),
        Counter(
            {
                rule: int(n)
                for rule, n in re.findall(r"^(\w+) +(\d+)$", shown, re.MULTILINE)
                if rule != "total"
            }
        ),
        roles(p),
        {name: work_of_net(name, p) for name in order(p.methods)},
        {name: cost[alike[name]] for name in p.methods},
        work_of_segmenter(p),
        work_of_inception(),
    )


# ---------------------------- the work of the study
def training(p: Study, counted: Counted, net: str, where: str) -> int:
    """Of one network; the loss curve's validation too."""
    plan_, own = recipe(p.training, counted.rows[where]["train"]), counted.nets[net]
    points = -(-plan_.steps // plan_.validate_every) + 1  # the last is computed again for the header
    return plan_.steps * plan_.batch * own.training + points * p.training.validation_draws * own.validation


def segmenting(p: Study, counted: Counted, set_: str, fold: str) -> int:
    """Of one job: a segmenter a dose, and one on generated pairs alone for each method."""
    own, rows = p.segmentation, counted.rows[f"fold {fold}"]
    segmenters = 1 if set_ in ("real", "augmented") else len(own.doses) + (set_ in METHODS)
    points = -(-own.steps // own.validate_every)
    looked_at = points * rows["validation"] + rows["test"]
    one = own.steps * own.batch * counted.segmenter.training + looked_at * counted.segmenter.validation
    return segmenters * one


def job(p: Study, counted: Counted, message: str) -> tuple[str, int]:
    """(kind, multiply-adds) of a planned job, from its message."""
    if found := re.fullmatch(r"Train the (\w+) of (fold|leak) (\d+)", message):
        return "train", training(p, counted, found[1], f"{found[2]} {found[3]}")
    if found := re.match(r"Sample (\d+) with ([\w-]+),", message):
        return "sample", int(found[1]) * counted.samples[found[2]]
    if found := re.fullmatch(r"Segment the test patients of fold (\d+): ([\w-]+), seed \d+", message):
        return "segment", segmenting(p, counted, found[2], found[1])
    if message.startswith("Find the lesions"):
        sets = sum(METHODS[name].paired for name in p.methods)
        images = sets * p.segmentation.seeds * max(p.segmentation.doses)
        return "segment", images * counted.segmenter.validation
    if found := re.fullmatch(r"Features of (.*)", message):
        views = 1 if found[1] in METHODS and not METHODS[found[1]].paired else 2  # slices, and crops
        return "features", views * p.fidelity.slices * counted.inception
    if found := re.fullmatch(r"Nearest neighbours in fold (\d+)", message):
        rows = counted.rows[f"fold {found[1]}"]
        generated = sum(METHODS[name].paired for name in p.methods) * max(p.segmentation.doses)
        pairs = (rows["test"] + generated) * rows["train"]
        return "neighbours", 2 * pairs * p.data.size**2  # each image and its mirror image
    return "rest", 0


def totals(p: Study, counted: Counted) -> dict[str, tuple[int, int]]:
    """Jobs and multiply-adds by kind."""
    found = [job(p, counted, message) for message in counted.plan]
    kinds = ("train", "sample", "segment", "features", "neighbours", "rest")
    return {
        kind: (sum(k == kind for k, _ in found), sum(work for k, work in found if k == kind))
        for kind in kinds
    }


def chain(p: Study, counted: Counted, gpus: int = 1) -> tuple[int, str]:
    """The longest chain of jobs, which more GPUs shorten only by `gpus` for each training; and what it is of."""
    found = {}
    for name, where in [(name, "fold 0") for name in p.methods] + [("pig", "leak 0")]:
        trained = sum(training(p, counted, net, where) for net in order([name])) // gpus
        sampled = max(
            job(p, counted, message)[1]
            for message in counted.plan
            if re.match(rf"Sample \d+ with {name}, {where},", message)
        )
        leak = "-leak" if where == "leak 0" else ""
        paired = METHODS[name].paired
        found[name + leak] = trained + sampled + (segmenting(p, counted, name + leak, "0") if paired else 0)
    longest = max(found, key=lambda name: found[name])
    return found[longest], longest


# ---------------------------- the tables
def table(head: list[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def peta(work: int) -> str:
    return f"{work / 1e15:,.1f}"


def hours(work: int, rate: float) -> str:
    """At `rate` TFLOP/s, two floating point operations a multiply-add."""
    return f"{2 * work / (rate * 1e12 * 3600):,.0f}"


def jobs_table(counted: Counted) -> str:
    rows = [*sorted(counted.rules.items(), key=lambda item: (-item[1], item[0]))]
    return table(["rule", "jobs"], [*rows, ("**all**", sum(counted.rules.values()))])


def image_table(p: Study, counted: Counted) -> str:
    rows = [
        (name, f"{own.parameters:,}", f"{own.training / 1e9:,.1f}", f"{own.validation / 1e9:,.1f}",
         f"{(STATE * own.parameters + batch * own.kept) / 2**30:,.1f}")
        for name, own, batch in [
            *((name, own, p.training.batch) for name, own in counted.nets.items()),
            ("segmenter", counted.segmenter, p.segmentation.batch),
        ]
    ]  # fmt: skip
    head = [
        "network",
        "parameters",
        "training, 1e9 an image",
        "forward, 1e9 an image",
        "training, GiB of GPU",
    ]
    return table(head, rows)


def sample_table(counted: Counted) -> str:
    rows = [(name, f"{work / 1e12:,.1f}") for name, work in counted.samples.items()]
    return table(["method", "1e12 a sample"], rows)


def on_gpus(p: Study, counted: Counted) -> tuple[int, int]:
    """Jobs that want a GPU, and their multiply-adds."""
    found = totals(p, counted)
    jobs, works = zip(*(found[kind] for kind in ("train", "sample", "segment", "features")), strict=True)
    return sum(jobs), sum(works)


def work_table(p: Study, counted: Counted) -> str:
    rows = [(kind, jobs, peta(work)) for kind, (jobs, work) in totals(p, counted).items()]
    jobs, all_ = on_gpus(p, counted)
    longest, of = chain(p, counted)
    last = [
        ("**W**: the first four, on GPUs", jobs, peta(all_)),
        (f"**L**: the longest chain, {of}", "", peta(longest)),
    ]
    return table(["work", "jobs", "1e15 multiply-adds"], [*rows, *last])


def hours_table(p: Study, counted: Counted) -> str:
    (_, all_), (longest, _) = on_gpus(p, counted), chain(p, counted)
    shorter, _ = chain(p, counted, gpus=SHARED)
    rows = [
        ("r, by the formula", "2 W / r", "2 max(W / 8, L) / r", "2 (W / 8 + 7 L / 8) / r", "2 L / r", "2 L' / r"),
        *(
            (f"*if a GPU sustains {rate} TFLOP/s*", hours(all_, rate), hours(max(all_ // 8, longest), rate),
             hours(all_ // 8 + longest * 7 // 8, rate), hours(longest, rate), hours(shorter, rate))
            for rate in RATES
        ),
    ]  # fmt: skip
    head = ["hours", "1 GPU", "8 GPUs, at least", "8 GPUs, at most", "cluster, at least"]
    return table([*head, f"cluster, {SHARED} GPUs a training"], rows)


def disk_table(p: Study, counted: Counted) -> str:
    numbers = [
        int(found[1]) for message in counted.plan if (found := re.match(r"Sample (\d+) with", message))
    ]
    trained = [found[1] for message in counted.plan if (found := re.match(r"Train the (\w+) of", message))]
    sets = 2 * counted.rules["features"] + counted.rules["features_slices"]
    segmenters, image = counted.rules["segment_real"], p.data.size**2  # a grey pixel takes a byte at most
    rows = [
        ("the archive of pairs", PAIRS * image),
        (f"{sum(numbers):,} samples, in shards and merged", 2 * sum(numbers) * image),
        (f"{len(trained)} networks", sum(4 * counted.nets[name].parameters for name in trained)),
        (f"{segmenters} segmenters", 4 * counted.segmenter.parameters * segmenters),
        (f"features of {sets} sets", sets * p.fidelity.slices * FEATURES * 4),
    ]
    all_ = sum(size for _, size in rows)
    rows += [
        ("DVC cache: all of these", all_),
        ("**checkout and cache, without reflinks**", 2 * all_),
        ("memory: pairs as arrays, in each job that reads them", 2 * PAIRS * image),
    ]
    return table(["what", "GB at most"], [(what, f"{size / 1e9:,.1f}") for what, size in rows])


def tables(p: Study, counted: Counted) -> dict[str, str]:
    """All that is counted; the keys are the headings of docs/scale.md that they stand under."""
    return {
        "Jobs": jobs_table(counted),
        "Work of an image": image_table(p, counted),
        "Work of a sample": sample_table(counted),
        "Work of the study": work_table(p, counted),
        "Hours": hours_table(p, counted),
        "Disk": disk_table(p, counted),
    }


# ---------------------------- what is measured
def measure(p: Study) -> dict[str, float]:
    """CPU seconds an image, on one thread at full size: of real steps, and of drawing a training image's noise."""
    torch.set_num_threads(1)
    size = p.data.size
    x0 = (torch.rand(1, 1, size, size) > 0.99).float() * 2 - 1
    y0, alphabar = torch.rand_like(x0) * 2 - 1, schedule(p.process)
    own = p.segmentation
    guider = net("guider").make(p)
    segmenter = segmentation.build(own.encoder, own.depth, own.decoder_channels, (size, size))

    def guider_loss(model: torch.nn.Module, rows: Tensor, generator: Generator) -> Tensor:
        return net("guider").loss(model, {}, Batch(x0[rows], y0[rows], alphabar, generator), p)

    def segmenter_loss(model: torch.nn.Module, rows: Tensor, generator: Generator) -> Tensor:
        return segmentation.bce_dice(model(y0[rows]), x0[rows] > 0)

    def forward() -> Iterator[Tensor]:
        while True:
            with torch.no_grad():
                out = guider(y0, x0, torch.ones(1, dtype=torch.int64))
            yield out

    steps = Recipe(steps=2, batch=1, learning_rate=1e-4, validate_every=99)
    timed = {
        "train": fit(guider, guider_loss, 1, steps),
        "sample": forward(),
        "segment": fit(segmenter, segmenter_loss, 1, steps),
        "draw": (torch.randn(2, size, size, generator=Generator()) for _ in range(2)),
    }
    return {name: round(seconds_of(step), 3) for name, step in timed.items()}


def seconds_of(steps: Iterator[object]) -> float:
    """CPU time, not that of the clock, of a step after one that warms up."""
    next(steps)
    started = time.process_time()
    next(steps)
    return time.process_time() - started


def measured_table(p: Study, counted: Counted, seconds: Mapping[str, float]) -> str:
    """The study on one CPU thread, from CPU seconds an image (`measure`)."""
    what = {
        "train": ("guider, a training step", counted.nets["guider"].training),
        "sample": ("guider, forward", counted.nets["guider"].validation),
        "segment": ("segmenter, a training step", counted.segmenter.training),
    }
    rows = []
    for kind, (name, work) in what.items():
        rate = 2 * work / seconds[kind]
        all_ = totals(p, counted)[kind][1]
        rows.append(
            (name, f"{seconds[kind]:.3f}", f"{rate / 1e9:.0f}", kind, f"{2 * all_ / rate / 3600:,.0f}")
        )
    rows.append(("noise of a training image", f"{seconds['draw']:.3f}", "", "", ""))
    return table(["measured", "CPU seconds an image", "GFLOP/s", "of the study", "thread-hours"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", default="paper")
    parser.add_argument("--plan", action="store_true", help="only the seconds that planning takes")
    parser.add_argument("--measure", action="store_true", help="also measure one CPU thread")
    args = parser.parse_args()
    if args.plan:
        began, before = time.perf_counter(), os.times()
        jobs = re.findall(r"^total +(\d+)$", plan(args.profile), re.MULTILINE)[0]
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        print(f"{jobs} jobs planned in {time.perf_counter() - began:.1f} s, of them {cpu:.1f} s of CPU")
        return
    p, counted = load(ROOT / "params.yaml", Params, args.profile), count(args.profile)
    for heading, text in tables(p, counted).items():
        print(f"## {heading}\n\n{text}\n")
    if args.measure:
        print(f"## Measured\n\n{measured_table(p, counted, measure(p))}\n")


if __name__ == "__main__":
    main()
