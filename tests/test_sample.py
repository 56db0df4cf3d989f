"""`pig sample`: the same archive byte for byte in any batch and after any interruption, of the study's own networks."""

import json
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import pairs_of, write

from pig.cli.main import main
from pig.core import paths
from pig.core.params import load, to_json
from pig.data.archive import Cost, Parts, read_archive
from pig.models import generator, weights
from pig.models.generator import Frame, Model
from pig.models.method import Trained
from pig.models.method import net as made
from pig.models.table import METHODS, NETS, Method, Params

ROOT = Path(__file__).parent.parent
PARAMS = ROOT / "params.yaml"
SMOKE = load(PARAMS, Params, "smoke")
SIDE = 16
RUN = paths.folder("smoke")
FOLD = paths.fold("smoke", 0)


def cfg(**changes):
    sampling = SMOKE.sampling.model_copy(
        update={"steps": 4, "ddim_steps": 4, "ddpm_steps": 4, "tile": 4, "batch": 2, **changes}
    )
    return to_json(SMOKE.model_copy(update={"sampling": sampling}), "sampling")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with the files of a study's fold 0, its networks untrained."""
    folder = tmp_path_factory.mktemp("study")
    for seed, name in enumerate(NETS):
        torch.manual_seed(seed)
        state = weights.portable(made(name).make(SMOKE))
        for tensor in state.values():  # what begins at zero would make all samples noise
            if tensor.is_floating_point() and not tensor.any():
                torch.nn.init.normal_(tensor, std=0.1)
        header = {"net": name, "prediction": "x0", "fold": 0, "size": [SIDE, SIDE]}
        header |= {part: getattr(SMOKE, part).model_dump() for part in ("network", "process", "autoencoder")}
        weights.save(folder / paths.net(FOLD, name), state, header)
    small = SMOKE.model_copy(update={"data": SMOKE.data.model_copy(update={"size": SIDE})})
    pairs, split = folder / paths.pairs("smoke", "phantom"), folder / paths.split("smoke")
    assert main(["phantom", "--cfg", to_json(small, "data", "phantom"), "--out", str(pairs)]) == 0
    assert main(["split", "--cfg", to_json(SMOKE, "folds"), "--pairs", str(pairs), "--out", str(split)]) == 0
    return folder


def command(study, out, method="pig", count=7, *more, **changes):
    found = ["sample", method, "--cfg", cfg(**changes), "--models", study / "runs/smoke/fold0"]
    if METHODS[method].masks:
        found += ["--pairs", study / "runs/smoke/pairs.zip", "--split", study / "runs/smoke/split.csv"]
    return [str(part) for part in [*found, "--count", count, "--out", out, *more]]


def sampled(study, out, *more, **changes):
    assert main(command(study, out, *more, **changes)) == 0
    assert not Path(f"{out}.part").exists()
    return out.read_bytes()


def refused(capsys, words, code=2):
    capsys.readouterr()
    assert main([str(word) for word in words]) == code
    line = capsys.readouterr().err
    assert line.startswith("pig: ") and line.count("\n") == 1
    return line


def interrupted(monkeypatch, after, words):
    """The exit code of a run that Ctrl-C ends when so many batches are kept."""
    left, real = iter(range(after)[::-1]), Parts.add

    def add(*given):
        real(*given)
        if next(left) == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "add", add)
        return main(words)


def aside(monkeypatch):
    """Encode and write in a thread of its own, as beside a GPU."""
    real = generator._submitting
    monkeypatch.setattr(generator, "_submitting", lambda device: real(torch.device("cuda")))


# ---------------------------- the same bytes
@pytest.mark.parametrize("method", ["pig", "ddim", "ldm", "segguided-varied"])
def test_the_batch_changes_no_byte(study, tmp_path, method):
    whole = sampled(study, tmp_path / "whole.zip", method, 7, "--batch", 7)
    for batch in (1, 3, 100):
        assert sampled(study, tmp_path / "x.zip", method, 7, "--batch", batch) == whole
    assert sampled(study, tmp_path / "x.zip", method, batch=4) == whole  # sampling.batch
    pairs = read_archive(tmp_path / "whole.zip")
    assert len(pairs) == 7 and len({image.tobytes() for image in pairs.images}) == 7
    assert (pairs.masks is not None) == METHODS[method].paired


def test_shards_in_other_batches_merge_into_the_archive_of_one_run(study, tmp_path):
    whole = sampled(study, tmp_path / "whole.zip")
    shards = []
    for first, count, batch in ((0, 3, 2), (3, 1, 1), (4, 3, 3)):
        shards.append(tmp_path / f"{first}.zip")
        sampled(study, shards[-1], "pig", count, "--first", first, "--batch", batch)
    assert main(["merge", *map(str, shards), "--out", str(tmp_path / "merged.zip")]) == 0
    assert (tmp_path / "merged.zip").read_bytes() == whole


def test_aside_in_a_thread_as_beside_a_gpu_the_bytes_are_the_same(study, tmp_path, monkeypatch):
    whole = sampled(study, tmp_path / "whole.zip", "joint", 11)
    threads, real = set(), Parts.add

    def add(*given):
        threads.add(threading.current_thread() is threading.main_thread())
        real(*given)

    monkeypatch.setattr(Parts, "add", add)
    aside(monkeypatch)
    assert sampled(study, tmp_path / "aside.zip", "joint", 11) == whole
    assert threads == {False}


# ---------------------------- interrupted
def test_killed_it_goes_on_and_ends_in_the_same_bytes(study, tmp_path, capsys):
    """The very process, killed as soon as a batch is there; then with another batch."""
    more = {"steps": 16}
    whole = sampled(study, tmp_path / "whole.zip", "pig", 12, **more)
    out, state = tmp_path / "out.zip", tmp_path / "out.zip.part"
    job = subprocess.Popen([sys.executable, "-m", "pig", *command(study, out, "pig", 12, **more)], cwd=ROOT)
    while not (state.exists() and list(state.glob("*.zip"))):
        assert job.poll() is None
        time.sleep(0.002)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    assert not out.exists() and state.is_dir()
    assert sampled(study, out, "pig", 12, "--batch", 7, **more) == whole
    assert re.search(rf"resumed at pair \d+ of 12 from {state}\n", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zip", "whole.zip"]


def test_ctrl_c_is_one_line_and_the_same_command_draws_only_the_rest(study, tmp_path, monkeypatch, capsys):
    whole = sampled(study, tmp_path / "whole.zip", "pig", 11, "--batch", 5)
    out, state = tmp_path / "out.zip", tmp_path / "state"
    words = command(study, out, "pig", 11, "--batch", 5, "--state", state)
    capsys.readouterr()
    assert interrupted(monkeypatch, 1, words) == 130
    assert capsys.readouterr().err == f"pig: interrupted; the same command again goes on from {state}\n"
    assert not out.exists()
    (state / ".pig.left").write_bytes(b"what a killed run was writing")
    drawn, real = [], Model.frames
    monkeypatch.setattr(
        Model, "frames", lambda self, rows, masks: drawn.append(rows) or real(self, rows, masks)
    )
    assert main(words) == 0
    assert "resumed at pair 5 of 11" in capsys.readouterr().err
    assert drawn == [range(4, 8), range(8, 11)]  # pair 5 stands in the first
    assert out.read_bytes() == whole and not state.exists()


def test_before_a_batch_is_kept_nothing_is_left(study, tmp_path, monkeypatch):
    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(Model, "frames", interrupt)
    assert main(command(study, tmp_path / "out.zip")) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [5, 6, 12])
def test_the_count_may_be_another_when_it_goes_on(study, tmp_path, monkeypatch, count):
    whole = sampled(study, tmp_path / "whole.zip", "pig", count)
    interrupted(monkeypatch, 3, command(study, tmp_path / "out.zip", "pig", 9))
    assert sampled(study, tmp_path / "out.zip", "pig", count) == whole


@pytest.mark.parametrize("batch", [1, 3])
def test_grey_levels_by_the_extremes_of_a_tile_survive_an_interruption_within_it(
    study, tmp_path, monkeypatch, batch
):
    more = ["pig", 7, "--first", 1, "--batch", batch]
    changes = {"grey_levels": "batch", "clip": False}
    whole = sampled(study, tmp_path / "whole.zip", *more, **changes)
    assert whole != sampled(study, tmp_path / "fixed.zip", *more, clip=False)
    interrupted(monkeypatch, 1, command(study, tmp_path / "out.zip", *more, **changes))
    assert sampled(study, tmp_path / "out.zip", *more, **changes) == whole


@pytest.mark.parametrize(
    "other", ["seed", "tile", "weights", "prediction", "process", "split", "masks", "code", "method", "size"]
)
def test_batches_of_another_job_are_not_used(study, tmp_path, monkeypatch, capsys, other):
    """Of other settings, networks, masks given, code, method or size."""
    method = {"method": "ddpm", "size": "joint"}.get(other, "segguided")
    net, split, out = tmp_path / f"{method}.safetensors", tmp_path / "split.csv", tmp_path / "out.zip"
    state, header = weights.load(study / paths.net(FOLD, method))
    weights.save(net, state, header)
    split.write_text((study / paths.split("smoke")).read_text())
    words = command(study, out, method, 7, "--models", net)
    words += ["--split", str(split)] if METHODS[method].masks else []
    assert interrupted(monkeypatch, 2, words) == 130
    assert len(list((tmp_path / "out.zip.part").iterdir())) == 2
    if other == "weights":
        weights.save(net, {**state, "conv_in.bias": state["conv_in.bias"] + 1}, header)
    elif other == "prediction":
        weights.save(net, state, {**header, "prediction": "eps"})
    elif other == "process":
        weights.save(net, state, {**header, "process": {**header["process"], "schedule": "cosine"}})
    elif other == "split":
        text = split.read_text()
        split.write_text(text.replace("test", "x").replace("train", "test").replace("x", "train"))
    elif other == "code":
        monkeypatch.setattr(Method, "code", lambda *given: "other")
    words[1] = {"masks": "segguided-varied", "method": "ddim"}.get(other, method)
    words += ["--size", "32x32"] if other == "size" else []
    words += ["--cfg", cfg(**{other: 1})] if other in ("seed", "tile") else []
    capsys.readouterr()
    assert main(words) == 0
    assert "resumed" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("out.*")) == ["out.zip"]
    assert set(read_archive(out).table["origin"]) == {words[1]}


def test_a_batch_that_was_spoilt_is_named(study, tmp_path, monkeypatch, capsys):
    interrupted(monkeypatch, 2, command(study, tmp_path / "out.zip"))
    path = sorted((tmp_path / "out.zip.part").iterdir())[1]
    content = bytearray(path.read_bytes())
    for spoilt in (content[:-30], content[:200] + bytes([content[200] ^ 1]) + content[201:], b""):
        path.write_bytes(spoilt)
        assert refused(capsys, command(study, tmp_path / "out.zip")).startswith(f"pig: {path}: ")
    path.unlink()
    assert main(command(study, tmp_path / "out.zip")) == 0
    assert "resumed at pair 2 of 7" in capsys.readouterr().err


@pytest.mark.parametrize(("begun", "now"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_under_auto_it_goes_on_in_the_precision_it_was_begun_in(
    study, tmp_path, monkeypatch, capsys, begun, now
):
    """Or, begun in bf16, not at all without hardware: one line says what to do, and nothing is lost."""
    flags = {"bf16": "flags : fpu amx_bf16", "fp32": "flags : fpu"}
    told = [begun]
    monkeypatch.setattr("pig.training.precision.cpuinfo", lambda: flags[told[0]])
    whole, out = sampled(study, tmp_path / "whole.zip", precision=begun), tmp_path / "out.zip"
    assert whole != sampled(study, tmp_path / "other.zip", precision=now)
    words = command(study, out, precision="auto")
    assert interrupted(monkeypatch, 2, words) == 130
    parts = {path: path.read_bytes() for path in Path(f"{out}.part").iterdir()}
    told[0] = now
    if begun == "bf16":
        line = refused(capsys, words)
        assert line.startswith(f"pig: {out}.part: ") and "sampling.precision: bf16" in line
        assert {path: path.read_bytes() for path in Path(f"{out}.part").iterdir()} == parts
        words = command(study, out, precision="bf16")
    assert main([*words, "--report", str(tmp_path / "cost.json")]) == 0
    line = next(line for line in capsys.readouterr().err.splitlines() if "resumed at pair 4 of 7" in line)
    assert (f"in {begun} as it was begun" in line) == (begun == "fp32")
    assert out.read_bytes() == whole
    assert json.loads((tmp_path / "cost.json").read_text())["computed_in"] == begun


@pytest.mark.parametrize(("begun", "then"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_batches_of_another_precision_than_asked_for_are_not_used(
    study, tmp_path, monkeypatch, capsys, begun, then
):
    whole, out = sampled(study, tmp_path / "whole.zip", precision=then), tmp_path / "out.zip"
    assert interrupted(monkeypatch, 2, command(study, out, precision=begun)) == 130
    capsys.readouterr()
    assert sampled(study, out, precision=then) == whole
    assert "resumed" not in capsys.readouterr().err


# ---------------------------- cost
def test_seconds_add_up_over_the_runs(study, tmp_path, monkeypatch):
    """By a clock that each look moves on by a second, of which each tile takes one; writing takes none of it."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(generator, "_clocks", lambda: Cost(*[float(next(ticks))] * 2))
    report = ["--report", tmp_path / "cost.json"]
    sampled(study, tmp_path / "whole.zip", "pig", 12, *report)
    whole = json.loads((tmp_path / "cost.json").read_text())
    assert whole["seconds"] == whole["cpu_seconds"] == 3
    interrupted(monkeypatch, 2, command(study, tmp_path / "out.zip", "pig", 12))  # after 4 pairs: one tile
    sampled(study, tmp_path / "out.zip", "pig", 12, *report)
    assert json.loads((tmp_path / "cost.json").read_text()) == whole
    assert whole["number"] == 12 and whole["evaluations"] == 8 and whole["operations"] > 0


def test_a_gpu_that_overlaps_tiles_counts_no_second_twice(model, tmp_path, monkeypatch):
    there = iter([Cost(5.0, 1.0), Cost(9.0, 2.0)])
    monkeypatch.setattr(generator, "_clocks", lambda: next(there))
    parts = Parts(tmp_path, (), range(4))
    batches = generator._Batches(model, parts, 2)
    for rows, started in ((range(2), Cost(1.0, 0.5)), (range(2, 4), Cost(3.0, 0.75))):
        batches.take(tile(rows), lambda: None, [""] * 2, started)
    batches.finish()
    assert [part.cost for part in parts.found] == [Cost(4.0, 0.5), Cost(4.0, 1.0)]


@pytest.fixture
def model():
    """Its samples are all alike, and cost nothing: no network is asked."""
    sampling = SMOKE.sampling.model_copy(update={"tile": 4, "steps": 8})
    nets = {"joint": Trained(torch.nn.Linear(1, 1), "x0")}
    return Model("joint", (4, 4), 0, sampling, {}, nets, SMOKE.process)


def tile(numbers, last=True, shape=(4, 4)):
    """A step of it; its memory is numpy's."""
    both = torch.from_numpy(np.full((2, len(numbers), 1, *shape), 0.25, np.float32))
    return Frame(numbers, both[0], both[1], last)


def blank(number, side):
    images = np.zeros((number, side, side), np.uint8)
    return pairs_of(images, images > 0, [f"p{i}" for i in range(number)])


# ---------------------------- memory
def most(words):
    """Bytes of Python's and numpy's at most, while a verb runs."""
    tracemalloc.start()
    try:
        assert main([str(word) for word in words]) == 0
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_count(study, tmp_path, monkeypatch):
    def frames(self, numbers, masks):
        return (tile(numbers, step + 1 == self.steps, self.size) for step in range(self.steps))

    monkeypatch.setattr(Model, "frames", frames)
    words = [command(study, tmp_path / "x.zip", "pig", count, "--size", "128x128") for count in (4, 8, 64)]
    _, few, many = map(most, words)  # the first imports
    assert few > 2 * 4 * 128 * 128 * 4  # a tile's masks and images are in what was counted
    assert many - few < 16 * 128 * 128  # of 56 more pairs, 2 * 56 * 128 * 128, rows of the table alone


def test_merging_holds_some_pairs_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("pig.cli.verbs.merge.BATCH", 4)
    found = []
    for number in (4, 8, 64):
        path = tmp_path / f"{number}.zip"
        write(path, blank(number, 128))
        found.append(most(["merge", path, "--out", tmp_path / "merged.zip"]))
        assert (tmp_path / "merged.zip").read_bytes() == path.read_bytes()
    assert found[1] > 2 * 4 * 128 * 128
    assert found[2] - found[1] < 16 * 128 * 128


# ---------------------------- the networks of the study
def planned(study, *more):
    """A command line in the study's folder that names no networks."""
    return ["sample", *map(str, more), "--params", str(PARAMS), "--profile", "smoke"]


@pytest.mark.parametrize("method", ["pig", "ldm"])
def test_without_models_those_of_the_study_are_taken(study, tmp_path, monkeypatch, method):
    own = [study / paths.net(FOLD, name) for name in METHODS[method].nets]
    known = {"pairs": paths.pairs("smoke", "phantom"), "split": paths.split("smoke")}
    given = [f"--{key}={study / path}" for key, path in known.items() if METHODS[method].masks]
    named = planned(study, method, *given, "--count", 3, "--out", tmp_path / "named.zip", "--models", *own)
    assert main(named) == 0
    monkeypatch.chdir(study)
    for name, more in {"found": [], "folder": ["--models", "runs/smoke/fold0", "--fold", 0, *given]}.items():
        assert main(planned(study, method, "--count", 3, "--out", tmp_path / f"{name}.zip", *more)) == 0
        assert (tmp_path / f"{name}.zip").read_bytes() == (tmp_path / "named.zip").read_bytes()


def test_where_the_study_has_none_one_line_says_how_to_train_them(study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(study)
    words = planned(study, "pig", "--count", 1, "--out", tmp_path / "x.zip")
    nets = [f"runs/smoke/fold3/{name}.safetensors" for name in ("guider", "guided")]
    (tmp_path / "none").mkdir()
    for more, named in (
        (["--fold", 3], f"{nets[0]}: .*`snakemake {' '.join(nets)} .*profile=smoke`"),
        (["--models", tmp_path / "none"], f"{tmp_path}/none/guider.safetensors: "),
        (["--models", study / FOLD, "--fold", 1], "--fold 1: "),
    ):
        assert re.match(f"pig: {named}", refused(capsys, [*words, *more]))
    words = ["sample", "pig", "--cfg", cfg(), "--count", "1", "--out", str(tmp_path / "x.zip")]
    assert refused(capsys, words).startswith("pig: --models: ")


def test_the_rules_write_the_split_where_the_layout_says():
    """The networks too, as the study of test_workflow.py shows."""
    rule = re.search(
        r'rule split:.*?output:\s+"<run>/(.*?)"', (ROOT / "workflow/rules/data.smk").read_text(), re.S
    )
    assert paths.split("smoke") == f"{RUN}/{rule[1]}"


# ---------------------------- what cannot be
def test_what_makes_no_sense_is_named_before_anything_is_drawn(study, tmp_path, capsys, monkeypatch):
    """Numbers, networks of another method, places that cannot be written."""
    monkeypatch.setattr(Model, "frames", None)
    (tmp_path / "file").write_text("")
    out, file, net = tmp_path / "x.zip", tmp_path / "file", study / paths.net(FOLD, "ddpm")
    numbers = ("--count 0", "--first -1", "--batch 0", "--fold -1")
    for words, named in (
        *(([*command(study, out), *wrong.split()], wrong) for wrong in numbers),
        ([*command(study, out), "--models", net], net),
        (command(study, tmp_path), tmp_path),
        ([*command(study, out), "--state", file], file),
        ([*command(study, out), "--report", tmp_path], tmp_path),
        (command(study, file / "x.zip"), file),
    ):
        assert refused(capsys, words).startswith(f"pig: {named}: ")
    assert list(tmp_path.iterdir()) == [file]


@contextmanager
def small_files(size):
    """Each file may have so many bytes: what a full disk does, for any user."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up_is_one_line_and_what_was_kept_is_used(study, tmp_path, capsys, monkeypatch):
    whole = sampled(study, tmp_path / "whole.zip", "pig", 9)
    out = tmp_path / "out.zip"
    out.write_text("older")
    words = command(study, out, "pig", 9)
    for thread in (True, False):
        with monkeypatch.context() as patch, small_files(500):  # no batch fits
            if thread:
                aside(patch)
            line = refused(capsys, words)
        assert line.startswith(f"pig: {out}.part/")
    with small_files(len(whole) // 2):  # batches do
        assert refused(capsys, words).startswith(f"pig: {out}: ")
    assert out.read_text() == "older"
    assert main(words) == 0
    assert "resumed at pair 9 of 9" in capsys.readouterr().err
    assert out.read_bytes() == whole


# ---------------------------- pieces
@pytest.mark.parametrize(("steps", "items"), [(4, 1), (4, 4), (256, 16), (2, 16), (1, 5)])
def test_progress_comes_once_an_item_and_never_before_its_share_of_the_steps(
    model, tmp_path, monkeypatch, steps, items
):
    begun = []

    def frames(self, rows, masks):
        return (begun.append(i) or tile(rows, i == self.steps) for i in range(1, self.steps + 1))

    monkeypatch.setattr(Model, "frames", frames)
    drawn = model.but(steps=steps, tile=items).draw(
        range(items), None, Parts(tmp_path, (), range(items)), 100
    )
    came = [len(begun) for _ in drawn]
    assert len(came) == items
    assert all(done * items >= number * steps for number, done in enumerate(came, 1))


def test_a_job_aside_that_fails_ends_the_run_with_its_error():
    def fail():
        raise OSError(28, "No space left on device", "x.zip")

    def run(jobs):
        with generator._submitting(torch.device("cuda")) as submit:
            for _ in range(jobs):
                submit(fail)

    for jobs in (1, generator.WAITING + 1):
        with pytest.raises(OSError, match="No space left"):
            run(jobs)
