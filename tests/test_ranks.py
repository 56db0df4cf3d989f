"""Several processes train the network that one does: the same draws, the same global batch, one that writes.

Run by torchrun, this file is the job of each process; `gloo` on this machine's CPU stands for GPUs.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
import torch
from fits import double
from torch import nn

from pig.cli.main import main
from pig.core.errors import InputError
from pig.core.params import load, to_json
from pig.models.method import Batch, Trained, net, schedule
from pig.models.table import NETS as ROWS
from pig.models.table import Params
from pig.models.weights import load as load_weights
from pig.training import fit as training
from pig.training.fit import Recipe, fit
from pig.training.ranks import ALONE, Ranks, Share, own_device, started, together

ROOT = Path(__file__).parent.parent
SMOKE = load(ROOT / "params.yaml", Params, "smoke")
ALPHABAR = schedule(SMOKE.process)
BATCH = 3  # two and one rows
RECIPE = Recipe(steps=6, batch=BATCH, learning_rate=0.01, schedule="plateau", plateau_patience=1, ema=(6.6,),
                clip_norm=0.1, keep="best", validate_every=2, seed=7)  # fmt: skip


# ---------------------------- what every process does
def settings():
    """Profile smoke, with every draw that a loss can make."""
    changes = {"training": {"antithetic": True}, "segguided": {"ablation": 0.5}}
    return SMOKE.model_copy(
        update={name: getattr(SMOKE, name).model_copy(update=values) for name, values in changes.items()}
    )


def network(name):
    """(model, loss of some rows of 5 pairs of 16x16 pixels), in double precision."""
    torch.manual_seed(0)
    kind, chosen = net(name), settings()
    frozen = {need: Trained(net(need).make(chosen).double().eval(), "v") for need in ROWS[name].needs}
    x0, y0 = torch.rand(2, 5, 1, 16, 16, dtype=torch.float64) * 2 - 1
    model = kind.make(chosen).double()

    def loss(model, rows, generator):
        return kind.loss(model, frozen, Batch(x0[rows].sign(), y0[rows], ALPHABAR, generator), chosen)

    return model, loss


def validation(loss):
    return lambda model: loss(model, torch.arange(5), torch.Generator().manual_seed(1)).item()


def trained(name, ranks, stop=None, checkpoint=None):
    """What fit() yields last, after at most `stop` more steps."""
    model, loss = network(name)
    steps = fit(model, loss, 5, RECIPE, validation(loss), checkpoint, ranks)
    *_, last = islice(steps, stop)
    return last


def by_ddp(ranks, steps=3, batch=4):
    """The weights after torch's own way: DistributedDataParallel and a share of each batch."""
    model, loss = network("ddpm")
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        rows = training.batch_rows(step, 5, batch, 7)[ranks.rows(batch)]
        optimizer.zero_grad()
        loss(wrapped, rows, Share(training.seed_of(7, 2, step), ranks, batch)).backward()
        optimizer.step()
    return model.state_dict()


def by_fit(ranks, steps=3, batch=4):
    model, loss = network("ddpm")
    *_, last = fit(model, loss, 5, Recipe(steps=steps, batch=batch, learning_rate=0.01, seed=7), ranks=ranks)
    return last.weights()


NETS = ["guided", "controlnet", "autoencoder"]  # a frozen guider, frozen weights, gradients within the loss


def job(folder):
    """One process of two: trains each of NETS, goes on from a state of one process, and does it by DDP."""
    ranks = started()
    with together(ranks), double():
        found = {"ddp": by_ddp(ranks), "fit": by_fit(ranks)}
        for name in NETS:
            last = trained(name, ranks)
            found[name] = (last.weights(), last.curve)
        half = torch.load(folder / "half.pt", weights_only=True)
        last = trained("guided", ranks, checkpoint=half)
        found["resumed"] = (last.weights(), last.curve)
        found["checkpoint"] = trained("guided", ranks, stop=2).checkpoint()
        torch.save(found, folder / f"{ranks.rank}.pt")


def failing_job(arguments):
    """`pig train`, whose second process meets bad input in its second step."""
    if started().rank == 1:
        rows = training.batch_rows

        def bad(step, *more):
            if step == 1:
                raise InputError("data.zip: expected what was there before")
            return rows(step, *more)

        training.batch_rows = bad
    sys.exit(main(arguments))


def torchrun(*command):
    """Start torchrun, which starts two processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*launch, *command], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def ended(launched, limit=300):
    """(code, what was printed); whatever happens, the processes end."""
    try:
        shown, _ = launched.communicate(timeout=limit)
    finally:
        launched.kill()
    return launched.returncode, shown


# ---------------------------- in one process
@pytest.mark.parametrize(("batch", "size"), [(6, 1), (6, 2), (6, 4), (7, 3), (4, 4)])
def test_each_row_of_a_batch_is_of_one_rank_and_shares_are_even(batch, size):
    shares = [list(range(batch))[Ranks(rank, size).rows(batch)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(batch))
    assert {len(share) for share in shares} <= {batch // size, -(-batch // size)}


@pytest.mark.parametrize("name", ROWS)
def test_the_mean_of_the_shares_is_the_batch_for_every_network(name):
    """A loss that draws for its own rows alone, and not by `whole`, fails here."""
    with double():
        one = gradients(name, [ALONE])
        three = gradients(name, [Ranks(rank, 3) for rank in range(3)])
    assert one.keys() == three.keys()
    for key, value in one.items():
        torch.testing.assert_close(three[key], value, rtol=1e-9, atol=1e-12)


def gradients(name, all_ranks, batch=5):
    """Loss and gradients of a batch, from the shares of `all_ranks`, each weighted with its rows."""
    total = {}
    for ranks in all_ranks:
        model, loss = network(name)
        model.train()
        rows = torch.arange(batch)[ranks.rows(batch)]
        value = loss(model, rows, Share(3, ranks, batch))
        value.backward()
        found = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        for key, part in {"loss": value.detach(), **found}.items():
            total[key] = total.get(key, 0) + part * len(rows) / batch
    return total


def test_a_batch_smaller_than_the_ranks_is_refused():
    model, loss = network("ddpm")
    with pytest.raises(InputError, match=r"^training\.batch"):
        next(fit(model, loss, 5, RECIPE, ranks=Ranks(0, 4)))


def test_a_process_whose_companions_ended_says_so_in_one_line(monkeypatch):
    def closed(tensor):
        raise RuntimeError("Connection closed by peer\nat line 1")

    monkeypatch.setattr(torch.distributed, "all_reduce", closed)
    assert torch.equal(ALONE.total(torch.ones(2)), torch.ones(2))
    with pytest.raises(InputError, match=r"^rank 0 of 2: lost the other processes[^\n]*$"):
        Ranks(0, 2).total(torch.ones(2))


def test_each_process_takes_a_gpu_of_its_own_or_says_that_there_are_too_few(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    for processes in ("1", "2"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert own_device(torch.device("cpu")) == torch.device("cpu")
    assert own_device(torch.device("cuda")) == torch.device("cuda:1") and taken == [torch.device("cuda:1")]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(InputError, match="3 processes"):
        own_device(torch.device("cuda"))


# ---------------------------- in two processes
@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """(what both of two processes found, what one process finds)."""
    folder = tmp_path_factory.mktemp("two")
    with double():
        one = {name: trained(name, ALONE) for name in NETS}
        torch.save(trained("guided", ALONE, stop=3).checkpoint(), folder / "half.pt")
        code, shown = ended(torchrun(__file__, str(folder)))
        assert code == 0, shown
        found = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
        resumed = trained("guided", ALONE, checkpoint=found[1]["checkpoint"])
        return found, {name: (last.weights(), last.curve) for name, last in one.items()}, resumed


def same(ours, theirs):
    """The weights are the same but for rounding: double precision, after six steps of Adam."""
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        torch.testing.assert_close(
            value, theirs[key], rtol=1e-6, atol=1e-8, msg=lambda m, key=key: f"{key}: {m}"
        )


@pytest.mark.parametrize("name", NETS)
def test_two_ranks_give_the_weights_and_the_curve_of_one(two, name):
    (first, _), one, _ = two
    (weights, curve), (expected, points) = first[name], one[name]
    same(weights, expected)
    assert len({point["learning_rate"] for point in points}) > 1 or name != "guided"  # the plateau was met
    for ours, theirs in zip(curve, points, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-7)


@pytest.mark.parametrize("name", [*NETS, "resumed"])
def test_both_ranks_hold_the_same_bits(two, name):
    first, second = (rank[name] for rank in two[0])
    assert first[1] == second[1]
    assert all(torch.equal(value, second[0][key]) for key, value in first[0].items())


def test_a_state_of_one_process_goes_on_in_two_and_of_two_in_one(two):
    (first, _), one, resumed = two
    same(first["resumed"][0], one["guided"][0])
    same(resumed.weights(), one["guided"][0])
    assert [point["step"] for point in resumed.curve] == [2, 4, 6]


def test_it_is_what_distributed_data_parallel_does(two):
    (first, _), _, _ = two
    same(first["fit"], first["ddp"])
    start = network("ddpm")[0].state_dict()
    assert any(not torch.equal(value, start[key]) for key, value in first["ddp"].items())


# ---------------------------- the verb
@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Flags of `pig train` on a tiny data set."""
    folder = tmp_path_factory.mktemp("data")
    shared = ["--params", str(ROOT / "params.yaml"), "--profile", "smoke"]
    assert main(["phantom", *shared, "--out", str(folder / "pairs.zip")]) == 0
    pairs = ["--pairs", str(folder / "pairs.zip")]
    assert main(["split", *shared, *pairs, "--out", str(folder / "split.csv")]) == 0
    return [*pairs, "--split", str(folder / "split.csv"), "--fold", "0"]


def train(folder, data, steps=None):
    """`train ddpm` with its files in `folder`."""
    changed = {"steps": steps, "checkpoint_every": 2, "validate_every": steps} if steps else {}
    chosen = SMOKE.model_copy(update={"training": SMOKE.training.model_copy(update=changed)})
    cfg = to_json(chosen, "network", "process", "training", "folds", "ddpm")
    files = {"--out": "net.safetensors", "--curve": "curve.csv", "--state": "state.pt"}
    ends = [text for flag, name in files.items() for text in (flag, str(folder / name))]
    return ["train", "ddpm", "--cfg", cfg, *data, *ends]


def test_killed_with_two_processes_it_goes_on_with_one(data, tmp_path, capsys):
    steps = 40
    folder = tmp_path / "killed"
    launched = torchrun("-m", "pig", *train(folder, data, steps))
    while not (folder / "state.pt").exists():
        assert launched.poll() is None, ended(launched)
        time.sleep(0.002)
    launched.send_signal(signal.SIGKILL)
    code, shown = ended(launched)  # reads until the last process has closed its output
    assert code == -signal.SIGKILL and "2 processes share each batch of 4" in shown
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["state.pt"]
    capsys.readouterr()
    assert main(train(folder, data, steps)) == 0
    assert "resumed at step" in capsys.readouterr().err
    assert main(train(tmp_path / "whole", data, steps)) == 0
    same_file(folder, tmp_path / "whole")
    assert not (folder / "state.pt").exists()


def same_file(ours, theirs):
    """The same header, and weights within a quarter of one step of Adam, in single precision.

    What a key's bias adds, the softmax takes out: its gradient is rounding alone, which Adam makes into whole steps.
    """
    (weights, header), (expected, head) = (load_weights(f / "net.safetensors") for f in (ours, theirs))
    assert header.pop("validation") == pytest.approx(head.pop("validation"), rel=1e-4)
    assert header == head
    assert weights.keys() == expected.keys()
    for key in [key for key in weights if not key.endswith(".k.bias")]:
        torch.testing.assert_close(weights[key], expected[key], rtol=0, atol=SMOKE.training.learning_rate / 4)


def test_where_one_process_fails_all_end_and_one_line_says_why(data, tmp_path):
    code, shown = ended(torchrun(__file__, *train(tmp_path, data)))
    lines = [line for line in shown.splitlines() if line.startswith("pig:")]
    shared = "pig: ddpm fold 0: 2 processes share each batch of 4"
    assert code != 0 and lines == [shared, "pig: data.zip: expected what was there before"]
    assert not list(tmp_path.iterdir())


def test_snakemake_trains_on_as_many_gpus_as_it_grants_and_repeats_nothing_for_another_number(data, tmp_path):
    """Resources cause no rerun. Without a GPU the processes that `gpu` asks for run on the CPU."""
    shutil.copytree(Path(data[1]).parent, tmp_path / "runs/smoke")
    command = [str(Path(sys.executable).parent / "snakemake"), "runs/smoke/fold0/ddpm.safetensors"]
    place = ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--cores", "1"]

    def snakemake(gpus):
        many = ["--resources", f"gpu={gpus}", "--set-resources", f"train:gpu={gpus}"]
        done = subprocess.run(
            [*command, *place, *many, "--config", "profile=smoke"],
            cwd=tmp_path, text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    snakemake(2)
    log = (tmp_path / "logs/smoke/fold0/ddpm.log").read_text(encoding="utf-8")
    assert "ddpm fold 0: 2 processes share each batch of 4" in log
    assert "Nothing to be done" in snakemake(4)


if __name__ == "__main__":
    failing_job(sys.argv[1:]) if sys.argv[1] == "train" else job(Path(sys.argv[1]))
