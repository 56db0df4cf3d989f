"""The examples of docs/examples, and what docs/api.md shows, run as they stand."""

import re
import runpy
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import call, fold_of

import pig

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PAGE = (DOCS / "api.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def place(tiny, tmp_path_factory):
    """Where a reader may be: a study whose profile demo is finished, and a model that it exported."""
    root = tmp_path_factory.mktemp("place")
    shutil.copytree(fold_of(tiny).parent, root / "runs/demo")
    shutil.copy(tiny / "params.yaml", root)
    fold = ["export", root / "runs/demo/fold0", "--profile", "smoke", "--licence", "mit"]
    call(*fold, "--out", root / "models/pig")
    return root


@pytest.fixture
def run(place, tmp_path, monkeypatch):
    """Runs an example in a copy of the place; gives its names back."""
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return lambda number: runpy.run_path(str(EXAMPLES[number - 1]))


def test_sample_writes_the_models_pairs(run):
    model = run(1)["model"]
    names = sorted(path.name for path in Path("samples").iterdir())
    assert len(names) == 32
    for i, (mask, image) in enumerate(model.sample(16)):
        assert np.array_equal(Image.open(f"samples/{i:03d}.png"), image)
        assert np.array_equal(Image.open(f"samples/{i:03d}_mask.png"), mask)


def test_mix_trains_on_both(run, capsys):
    names = run(2)
    assert len(names["real"]) > 0 and len(names["generated"]) == 16
    losses = [float(line) for line in capsys.readouterr().out.split()]
    assert len(losses) == -(-len(names["real"] + names["generated"]) // 8)
    assert losses[-1] < losses[0]


def test_two_callables_find_their_distribution(run, capsys):
    names = run(3)
    x0, y0 = names["x0"], names["y0"]
    assert x0.shape == y0.shape == (8, 1, 32, 32)
    # 8,192 pixels: a mean is known to 0.2 / 90. DDIM ends at the deviation but for the length of its steps.
    assert x0.mean() == pytest.approx(0.5, abs=0.01) and y0.mean() == pytest.approx(-0.5, abs=0.01)
    assert x0.std() == pytest.approx(0.2, rel=0.05)
    # The image follows its own mask: not as closely as y = -x + N(0, 0.1^2), since early guides are no masks yet.
    exact = -0.2 / (0.2**2 + 0.1**2) ** 0.5
    assert exact - 0.01 < torch.corrcoef(torch.stack([x0.flatten(), y0.flatten()]))[0, 1] < -0.75
    assert abs(torch.corrcoef(torch.stack([x0.flatten(), y0.roll(1, 0).flatten()]))[0, 1]) < 0.05


def test_score_ranks_real_images_before_noise(run, tiny, capsys):
    data = pig.PairDataset(fold_of(tiny).parent / "pairs.zip")
    noise = np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
    for folder, images in (
        ("real", data.images[0:16:4]),
        ("real_others", data.images[1:16:4]),
        ("mine", noise),
    ):
        Path(folder).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(f"{folder}/{i}.png")
    run(4)
    found = re.fullmatch(r"FID (\S+), of other real images (\S+)\n", capsys.readouterr().out)
    assert 0 < float(found[2]) < float(found[1])


def test_train_teaches_both_networks(run):
    names = run(5)
    assert names["masks"].shape == names["images"].shape == (4, 1, 16, 16)
    assert names["progress"].step == 20
    assert names["images"].isfinite().all()
    assert torch.equal(names["y0"], names["x0"] / 2)


def test_the_pages_commands_and_lines_run(run, tmp_path):
    shutil.rmtree("models")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "python"]
    for command in blocks[0][1].replace("\\\n", "").splitlines():
        verb, *rest = shlex.split(command)
        assert verb == "pig"
        call(*rest, "--profile", "smoke")
    names: dict[str, object] = {}
    exec(blocks[1][1], names)
    assert names["model"].method == "pig"
