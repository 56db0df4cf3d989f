"""The lesion segmenter: its loss in closed form, flips, scores, resume, and a task that it can learn."""

import io
import json
import socket
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pig.cli.main import main
from pig.cli.verbs import segment
from pig.core.errors import InputError
from pig.core.params import load
from pig.data.archive import read_archive, write_archive
from pig.data.pairs import Pairs, split
from pig.metrics import segmentation
from pig.metrics.segmentation import overlap
from pig.models import weights
from pig.models.table import Params
from pig.training.fit import Recipe, fit

SMALL = ("resnet18", 3, (16, 8, 8), (16, 16))
SMOKE = load(Path(__file__).parents[1] / "params.yaml", Params, "smoke")
SETTINGS = {
    **SMOKE.segmentation.model_dump(),
    "decoder_channels": [16, 8, 8],
    "batch": 2,
    "flip": 0.5,
    "doses": [2, 5],
}


def discs(n, origin="phantom", seed=0, size=16, per_patient=2):
    """n noisy images with a bright disc each; the last one has no lesion."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    cy, cx, radius = rng.uniform([[4], [4], [2]], [[12], [12], [4]], (3, n))[:, :, None, None]
    masks = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    masks[-1] = False
    images = np.clip(rng.normal(90, 15, masks.shape) + 90 * masks, 0, 255).astype(np.uint8)
    table = pd.DataFrame({"id": [f"{origin}{i}" for i in range(n)], "view": "", "slice": "", "seed": ""})
    table["patient"], table["origin"] = [f"p{i // per_patient}" for i in range(n)], origin
    return Pairs(images, masks, table)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return segmentation.build(*SMALL)


def test_building_needs_no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    model = segmentation.build(*SMALL)
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 1, 16, 16)


@pytest.mark.parametrize(
    ("change", "named"), [({0: "resnet19"}, "resnet19"), ({3: (16, 20)}, r"multiples of 8; found \(16, 20\)")]
)
def test_build_names_what_is_wrong(change, named):
    with pytest.raises(InputError, match=named):
        segmentation.build(*[change.get(i, value) for i, value in enumerate(SMALL)])


def test_loss_in_closed_form():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(3, 1, 5, 4)), rng.random((3, 1, 5, 4)) < 0.3
    p = 1 / (1 + np.exp(-logits))
    entropy = -np.where(truth, np.log(p), np.log(1 - p)).mean()
    dice = 2 * p[truth].sum() / (p.sum() + truth.sum())
    found = segmentation.bce_dice(torch.from_numpy(logits), torch.from_numpy(truth))
    assert found.item() == pytest.approx(entropy + 1 - dice, rel=1e-5)


def test_loss_of_a_sure_and_right_answer_is_zero():
    truth = torch.rand(2, 1, 4, 4) < 0.5
    truth[0, 0, 0, 0] = True
    assert segmentation.bce_dice(torch.where(truth, 50.0, -50.0), truth).item() == pytest.approx(0, abs=1e-6)


class Remembers(nn.Module):
    """A model that keeps what it was shown."""

    def forward(self, images):
        self.seen = images
        return images * 0


@pytest.mark.parametrize("flip", [0, 1])
def test_flips_turn_image_and_mask_together(flip):
    data = segmentation.examples(discs(5))
    marked = segmentation.Examples((data.masks * 255).to(torch.uint8), data.masks)  # the image is its mask
    model, rows = Remembers(), torch.tensor([3, 0])
    segmentation.training_loss(marked, flip)(model, rows, torch.Generator().manual_seed(0))
    expected = marked.masks[rows].flip(2) if flip else marked.masks[rows]
    torch.testing.assert_close(model.seen > 0, expected)
    loss = segmentation.training_loss(marked, flip)(Times(50), rows, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0, abs=1e-6)


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def test_half_of_the_pairs_are_turned_at_random():
    masks = torch.zeros(64, 1, 2, 2, dtype=torch.bool)
    masks[:, :, 0] = True
    data, model = segmentation.Examples(masks.to(torch.uint8) * 255, masks), Remembers()
    loss = segmentation.training_loss(data, 0.5)
    loss(model, torch.arange(64), torch.Generator().manual_seed(1))
    first = model.seen.clone()
    assert 16 < (first[:, 0, 0, 0] < 0).sum() < 48
    loss(model, torch.arange(64), torch.Generator().manual_seed(1))
    torch.testing.assert_close(model.seen, first, rtol=0, atol=0)  # all randomness is the generator's


def test_prediction_and_validation_do_not_depend_on_the_batch(model):
    data = segmentation.examples(discs(7))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    one, all_ = (segmentation.predict(model, data.images, batch) for batch in (1, 7))
    assert one.shape == (7, 16, 16) and one.min() > 0 and one.max() < 1
    np.testing.assert_allclose(one, all_, atol=1e-5)
    with torch.no_grad():
        losses = [segmentation.validation_loss(data, batch)(model) for batch in (1, 3, 7)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    for key, value in model.state_dict().items():  # batch statistics stay as they were
        assert torch.equal(value, before[key])


def test_scores_of_predictions_that_are_known():
    pairs = discs(3)
    probabilities = pairs.masks.astype(np.float32) * 0.5  # exactly the threshold is lesion
    probabilities[1] = 0.4  # nothing predicted
    scores = segmentation.score(probabilities, pairs, 0.5)
    assert list(scores.columns) == ["id", "patient", "dice", "iou", "precision", "recall", "empty"]
    assert scores["id"].tolist() == ["phantom0", "phantom1", "phantom2"]
    assert scores["dice"].tolist() == [1, 0, 1]  # the last: no lesion, none predicted
    assert scores["empty"].tolist() == [False, False, True]


def test_images_without_masks_are_refused():
    pairs = discs(2)
    with pytest.raises(InputError, match="segmentation: expected pairs"):
        segmentation.examples(Pairs(pairs.images, None, pairs.table))


def test_it_learns_bright_discs():
    torch.manual_seed(0)
    model = segmentation.build(*SMALL)
    train, test = segmentation.examples(discs(60)), discs(20, seed=1)
    recipe = Recipe(steps=60, batch=8, learning_rate=0.003, schedule="cosine")
    for _ in fit(model, segmentation.training_loss(train, 0.5), len(train), recipe):
        pass
    probabilities = segmentation.predict(model, segmentation.examples(test).images, 20)
    scores = segmentation.score(probabilities, test, 0.5)
    assert scores["dice"][:-1].mean() > 0.8  # untrained: below 0.3


def test_two_and_two_steps_are_four_with_batch_statistics():
    data = segmentation.examples(discs(6))
    recipe = Recipe(steps=4, batch=2, learning_rate=0.003)
    ends = []
    for stop in (None, 2):
        torch.manual_seed(0)
        model, checkpoint = segmentation.build(*SMALL), None
        loss = segmentation.training_loss(data, 0.5)
        if stop:
            *_, last = islice(fit(model, loss, len(data), recipe), stop)
            checkpoint, model = last.checkpoint(), segmentation.build(*SMALL)
        *_, last = fit(model, loss, len(data), recipe, checkpoint=checkpoint)
        ends.append(last.weights())
    assert any("running_mean" in key for key in ends[0])
    for key in ends[0]:
        assert torch.equal(ends[0][key], ends[1][key]), key


@pytest.fixture
def job(tmp_path):
    """Arguments of `pig segment` on 8 patients, and 5 generated pairs."""
    real, generated = discs(16), discs(5, origin="pig", seed=2)
    for name, pairs in (("real", real), ("pig", generated)):
        with (tmp_path / f"{name}.zip").open("wb") as file:
            write_archive(file, pairs)
    split(real.table, 2, 0.25, 0).to_csv(tmp_path / "split.csv", index=False)
    files = {"pairs": "real.zip", "split": "split.csv", "out": "s.csv", "curve": "c.csv", "state": "s.pt"}
    flags = [word for key, name in files.items() for word in (f"--{key}", str(tmp_path / name))]

    def command(name, *more, **changed):
        sections = {"segmentation": {**SETTINGS, **changed}, "augmentation": SMOKE.augmentation.model_dump()}
        added = ["--generated", str(tmp_path / "pig.zip")] if name not in segment.REAL else []
        return ["segment", name, *flags, "--fold", "1", "--cfg", json.dumps(sections), *added, *more]

    return command


REAL_PAIRS = 6  # of the fold's 3 training patients
SETS = {  # arguments -> (dose, pairs of real training patients) of each segmenter
    ("real",): [(0, REAL_PAIRS)],
    ("augmented",): [(0, REAL_PAIRS)],
    ("duplicated",): [(2, REAL_PAIRS), (5, REAL_PAIRS)],
    ("pig",): [(2, REAL_PAIRS), (5, REAL_PAIRS)],
    ("pig-leak", "--alone"): [(2, REAL_PAIRS), (5, REAL_PAIRS), (5, 0)],
}


@pytest.mark.parametrize("arguments", SETS, ids=" ".join)
def test_verb_scores_the_test_patients_after_the_same_number_of_steps(job, tmp_path, arguments):
    """Every set, real pairs alone too, is trained for as many steps: no set gains by a longer training."""
    assert main(job(*arguments, doses=[5, 2])) == 0
    scores = pd.read_csv(tmp_path / "s.csv")
    named = "id,patient,fold,set,dose,real,seed,dice,iou,precision,recall,empty"
    assert ",".join(scores.columns) == named
    assert set(scores["set"]) == {arguments[0]} and set(scores["seed"]) == {0}
    roles = pd.read_csv(tmp_path / "split.csv").set_index("id")["fold1"]
    assert (roles == "train").sum() == REAL_PAIRS
    tested = sorted(roles.index[roles == "test"])
    found = {key: sorted(part["id"]) for key, part in scores.groupby(["dose", "real"])}
    assert found == dict.fromkeys(SETS[arguments], tested)
    curve = pd.read_csv(tmp_path / "c.csv")
    assert curve["validation"].notna().all()
    steps = {key: part["step"].tolist() for key, part in curve.groupby(["dose", "real"])}
    assert steps == {key: [2, 4] for key in SETS[arguments]}
    assert not list(tmp_path.glob("s.pt*"))


def trained_on(job, monkeypatch, *arguments):
    """The pairs that each segmenter of a job was trained on."""
    kept, train = [], segmentation.train_and_score
    monkeypatch.setattr(
        segmentation, "train_and_score", lambda *args: kept.append(args[0].pairs) or train(*args)
    )
    assert main(job(*arguments)) == 0
    return kept


def test_duplicated_are_training_pairs_again_and_nothing_else(job, tmp_path, monkeypatch):
    two, five = trained_on(job, monkeypatch, "duplicated")
    real = discs(16)
    known = {image.tobytes() + mask.tobytes() for image, mask in zip(real.images, real.masks, strict=True)}
    for pairs, dose in ((two, 2), (five, 5)):
        originals, copies = pairs.select(range(REAL_PAIRS)), pairs.select(range(REAL_PAIRS, len(pairs)))
        mine = {i.tobytes() + m.tobytes() for i, m in zip(originals.images, originals.masks, strict=True)}
        again = {i.tobytes() + m.tobytes() for i, m in zip(copies.images, copies.masks, strict=True)}
        assert len(again) == len(copies) == dose  # each once before any comes a second time
        assert again <= mine <= known


def test_more_duplicates_than_pairs_go_around():
    pairs = discs(3)
    found = segmentation.again(pairs, 7, 0)
    counts = pd.Series([image.tobytes() for image in found.images]).value_counts()
    assert sorted(counts) == [2, 2, 3]
    assert found.table["id"].is_unique and not set(found.table["id"]) & set(pairs.table["id"])


def test_alone_are_generated_pairs_alone(job, monkeypatch):
    *_, alone = trained_on(job, monkeypatch, "pig", "--alone")
    assert alone.table["id"].tolist() == [f"pig{i}" for i in range(5)]


def test_another_seed_is_another_segmenter_and_the_same_seed_the_same_bytes(job, tmp_path):
    outputs = []
    for seed in ("0", "0", "1"):
        assert main(job("real", "--seed", seed, steps=20)) == 0
        outputs.append((tmp_path / "s.csv").read_text())
    assert outputs[0] == outputs[1]
    first, other = (pd.read_csv(io.StringIO(text)).drop(columns="seed") for text in outputs[1:])
    assert not first.equals(other) and first["id"].equals(other["id"])


def test_augmented_differs_from_real_in_its_augmentation_alone(job, tmp_path, monkeypatch):
    """With an augmentation that changes nothing it is bit for bit the same."""
    losses = []
    for name in ("real", "augmented"):
        assert main(job(name)) == 0
        losses.append(pd.read_csv(tmp_path / "c.csv")["loss"].tolist())
    assert losses[0] != losses[1]
    monkeypatch.setattr("pig.metrics.augmentation.strong", lambda settings: None)
    assert main(job("augmented")) == 0
    assert pd.read_csv(tmp_path / "c.csv")["loss"].tolist() == losses[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("real", "--generated", "x.zip"), "expected --generated for a set other than real, augmented"),
        (("real", "--alone"), "expected --generated"),
        (("duplicated", "--model", "m.safetensors"), "--model: segment duplicated trains 2 segmenters"),
    ],
)
def test_verb_refuses_what_does_not_fit(job, arguments, named, capsys):
    assert main(job(*arguments)) == 2
    assert named in capsys.readouterr().err


def test_real_segmenters_are_tested_on_generated_pairs(job, tmp_path):
    """TRTS: the kept segmenter scores an archive as by hand, and shuffled masks score less."""
    model = str(tmp_path / "real.safetensors")
    assert main(job("real", "--model", model, steps=150, learning_rate=0.003, batch=4)) == 0
    cfg = json.dumps({"segmentation": SETTINGS})
    out = str(tmp_path / "t.csv")
    command = [
        "trts",
        "--models",
        model,
        "--generated",
        str(tmp_path / "pig.zip"),
        "--cfg",
        cfg,
        "--out",
        out,
    ]
    assert main(command) == 0
    found = pd.read_csv(out)
    assert ",".join(found.columns) == "id,patient,fold,set,seed,dice,shuffled"
    assert (
        (found["patient"] == found["id"]).all() and set(found["fold"]) == {1} and set(found["set"]) == {"pig"}
    )
    pairs = read_archive(tmp_path / "pig.zip")
    net = segmentation.build(SETTINGS["encoder"], 3, (16, 8, 8), (16, 16))
    net.load_state_dict(weights.load(model, ("fold",))[0])
    predicted = segmentation.predict(net, segmentation.examples(pairs).images, 5) >= 0.5
    by_hand = [overlap(p, mask).dice for p, mask in zip(predicted, pairs.masks, strict=True)]
    assert found["dice"].tolist() == pytest.approx(by_hand)
    assert found["dice"].mean() > found["shuffled"].mean() + 0.2


def test_trts_refuses_segmenters_of_two_folds_or_other_sizes(job, tmp_path, capsys):
    models = [str(tmp_path / f"{i}.safetensors") for i in (0, 1)]
    state = segmentation.build(*SMALL).state_dict()
    sizes = {"encoder": SMALL[0], "depth": SMALL[1], "decoder_channels": SMALL[2], "size": [16, 16]}
    for fold, path in enumerate(models):
        weights.save(path, state, {"fold": fold, "seed": 0, **sizes})
    cfg = json.dumps({"segmentation": SETTINGS})
    out = tmp_path / "t.csv"
    tail = ["--generated", str(tmp_path / "pig.zip"), "--cfg", cfg, "--out", str(out)]
    assert main(["trts", "--models", *models, *tail]) == 2
    assert "expected segmenters of one fold; found [0, 1]" in capsys.readouterr().err
    with (tmp_path / "pig.zip").open("wb") as file:
        write_archive(file, discs(3, origin="pig", size=24))
    assert main(["trts", "--models", models[0], *tail]) == 2
    assert "expected [16, 16]" in capsys.readouterr().err and not out.exists()


def test_verb_trains_no_finished_segmenter_again(job, tmp_path, monkeypatch, capsys):
    """Killed in the second dose, it goes on there, and ends as if it had not been killed."""
    command = job("pig")
    assert main(command) == 0
    whole = [(tmp_path / name).read_bytes() for name in ("s.csv", "c.csv")]
    for name in ("s.csv", "c.csv"):
        (tmp_path / name).unlink()
    train = segmentation.train_and_score

    def killed(*args):
        if args[0].dose == 5:
            raise KeyboardInterrupt
        return train(*args)

    monkeypatch.setattr(segmentation, "train_and_score", killed)
    assert main(command) == 130
    assert not (tmp_path / "s.csv").exists()
    trained = []
    monkeypatch.setattr(segmentation, "train_and_score", lambda *args: trained.append(args) or train(*args))
    assert main(command) == 0
    assert len(trained) == 1
    assert [(tmp_path / name).read_bytes() for name in ("s.csv", "c.csv")] == whole
    assert not list(tmp_path.glob("s.pt*"))
    (tmp_path / "s.pt.json").write_text("{", encoding="utf-8")
    assert main(command) == 2
    assert "s.pt.json: expected finished results" in capsys.readouterr().err


def test_verb_names_a_dose_that_is_too_large(job, tmp_path, capsys):
    assert main(job("pig", doses=[2, 6])) == 2
    assert "segmentation.doses: 6; expected at most 5" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()
