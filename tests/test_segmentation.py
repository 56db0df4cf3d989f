"""The lesion segmenter: its loss in closed form, flips, scores, resume, and a task that it can learn."""

import json
import socket
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import pairs_of, write
from torch import nn

from pig.cli.main import main
from pig.cli.verbs import segment
from pig.core.errors import InputError
from pig.core.params import load
from pig.data.archive import read_archive
from pig.data.pairs import Pairs, split
from pig.metrics import segmentation
from pig.metrics.segmentation import overlap
from pig.models import weights
from pig.models.table import Params
from pig.training.fit import Recipe, fit

SMALL = ("resnet18", 3, (16, 8, 8), (16, 16))
SMOKE = load(Path(__file__).parents[1] / "params.yaml", Params, "smoke")
SETTINGS = SMOKE.segmentation.model_dump()
SETTINGS |= {"decoder_channels": [16, 8, 8], "batch": 2, "flip": 0.5, "doses": [2, 5]}


def discs(n, origin="phantom", seed=0, size=16):
    """n noisy images with a bright disc each; the last one has no lesion."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    cy, cx, radius = rng.uniform([[4], [4], [2]], [[12], [12], [4]], (3, n))[:, :, None, None]
    masks = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    masks[-1] = False
    images = np.clip(rng.normal(90, 15, masks.shape) + 90 * masks, 0, 255).astype(np.uint8)
    ids, patients = [f"{origin}{i}" for i in range(n)], [f"p{i // 2}" for i in range(n)]
    return pairs_of(images, masks, ids, patient=patients, origin=origin)


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


@pytest.mark.parametrize(("change", "named"), [({0: "resnet19"}, "resnet19"), ({3: (16, 20)}, "20")])
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


class Remembers(nn.Module):
    """A model that keeps what it was shown, and finds the lesion where it is bright."""

    def forward(self, images):
        self.seen = images
        return images * 50


@pytest.mark.parametrize("flip", [0, 1])
def test_flips_turn_image_and_mask_together(flip):
    data = segmentation.examples(discs(5))
    marked = segmentation.Examples((data.masks * 255).to(torch.uint8), data.masks)  # the image is its mask
    model, rows = Remembers(), torch.tensor([3, 0])
    loss = segmentation.training_loss(marked, flip)(model, rows, torch.Generator().manual_seed(0))
    expected = marked.masks[rows].flip(2) if flip else marked.masks[rows]
    torch.testing.assert_close(model.seen > 0, expected)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_half_of_the_pairs_are_turned_at_random():
    masks = torch.zeros(64, 1, 2, 2, dtype=torch.bool)
    masks[:, :, 0] = True
    data, model = segmentation.Examples(masks.to(torch.uint8) * 255, masks), Remembers()
    segmentation.training_loss(data, 0.5)(model, torch.arange(64), torch.Generator().manual_seed(1))
    assert 16 < (model.seen[:, 0, 0, 0] < 0).sum() < 48


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
    with pytest.raises(InputError):
        segmentation.examples(Pairs(pairs.images, None, pairs.table))


@pytest.fixture(scope="module")
def learnt():
    """A segmenter that has seen 60 bright discs."""
    torch.manual_seed(0)
    model = segmentation.build(*SMALL)
    recipe = Recipe(steps=60, batch=8, learning_rate=0.003, schedule="cosine")
    for _ in fit(model, segmentation.training_loss(segmentation.examples(discs(60)), 0.5), 60, recipe):
        pass
    return model


def test_it_learns_bright_discs(learnt):
    test = discs(20, seed=1)
    probabilities = segmentation.predict(learnt, segmentation.examples(test).images, 20)
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
            *_, last = islice(fit(model, loss, 6, recipe), stop)
            checkpoint, model = last.checkpoint(), segmentation.build(*SMALL)
        *_, last = fit(model, loss, 6, recipe, checkpoint=checkpoint)
        ends.append(last.weights())
    assert any("running_mean" in key for key in ends[0])
    for key in ends[0]:
        assert torch.equal(ends[0][key], ends[1][key]), key


REAL_PAIRS = 6  # of the fold's 3 training patients
SETS = {  # arguments -> (dose, pairs of real training patients) of each segmenter
    ("real",): [(0, REAL_PAIRS)],
    ("augmented",): [(0, REAL_PAIRS)],
    ("duplicated",): [(2, REAL_PAIRS), (5, REAL_PAIRS)],
    ("pig-leak", "--alone"): [(2, REAL_PAIRS), (5, REAL_PAIRS), (5, 0)],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Archives of the pairs of 8 patients and of 5 generated ones, and a split."""
    folder = tmp_path_factory.mktemp("place")
    real = discs(16)
    for name, pairs in (("real", real), ("pig", discs(5, origin="pig", seed=2))):
        write(folder / f"{name}.zip", pairs)
    split(real.table, 2, 0.25, 0).to_csv(folder / "split.csv", index=False)
    return folder


def command(place, out, name, *more, **changed):
    """Arguments of `pig segment`, which writes into the folder `out`."""
    sections = {"segmentation": {**SETTINGS, **changed}, "augmentation": SMOKE.augmentation.model_dump()}
    files = {"pairs": place / "real.zip", "split": place / "split.csv"}
    files |= {"out": out / "s.csv", "curve": out / "c.csv", "state": out / "s.pt"}
    files |= {"generated": place / "pig.zip"} if name not in segment.REAL else {}
    flags = [word for key, path in files.items() for word in (f"--{key}", str(path))]
    return ["segment", name, *flags, "--fold", "1", "--cfg", json.dumps(sections), *more]


@contextmanager
def spied(act=lambda data: None):
    """Notes the sets that segmenters are trained on; `act` is called with each before."""
    seen, train = [], segmentation.train_and_score

    def noted(*args):
        act(args[0])
        seen.append(args[0])
        return train(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmentation, "train_and_score", noted)
        yield seen


@pytest.fixture(scope="module")
def done(place, tmp_path_factory):
    """Of each job of SETS its folder, and the pairs that its segmenters were trained on."""
    found = {}
    for arguments in SETS:
        out = tmp_path_factory.mktemp(arguments[0])
        more = ["--model", str(out / "net")] if arguments == ("real",) else []
        with spied() as seen:
            assert main(command(place, out, *arguments, *more, doses=[5, 2])) == 0
        found[arguments[0]] = out, [data.pairs for data in seen]
    return found


@pytest.mark.parametrize("arguments", SETS, ids=" ".join)
def test_verb_scores_the_test_patients_after_the_same_number_of_steps(place, done, arguments):
    """Every set, real pairs alone too, is trained for as many steps: no set gains by a longer training."""
    out, _ = done[arguments[0]]
    scores = pd.read_csv(out / "s.csv")
    named = "id,patient,fold,set,dose,real,seed,dice,iou,precision,recall,empty"
    assert ",".join(scores.columns) == named
    assert set(scores["set"]) == {arguments[0]} and set(scores["seed"]) == {0}
    roles = pd.read_csv(place / "split.csv").set_index("id")["fold1"]
    assert (roles == "train").sum() == REAL_PAIRS
    tested = sorted(roles.index[roles == "test"])
    found = {key: sorted(part["id"]) for key, part in scores.groupby(["dose", "real"])}
    assert found == dict.fromkeys(SETS[arguments], tested)
    curve = pd.read_csv(out / "c.csv")
    assert curve["validation"].notna().all()
    steps = {key: part["step"].tolist() for key, part in curve.groupby(["dose", "real"])}
    assert steps == {key: [2, 4] for key in SETS[arguments]}
    assert not list(out.glob("s.pt*"))


def content(pairs):
    return {image.tobytes() + mask.tobytes() for image, mask in zip(pairs.images, pairs.masks, strict=True)}


def test_duplicated_are_training_pairs_again_and_alone_are_generated_pairs_alone(done):
    for pairs, dose in zip(done["duplicated"][1], (2, 5), strict=True):
        originals, copies = pairs.select(range(REAL_PAIRS)), pairs.select(range(REAL_PAIRS, len(pairs)))
        assert len(content(copies)) == len(copies) == dose  # each once before any comes a second time
        assert content(copies) <= content(originals) <= content(discs(16))
    *_, alone = done["pig-leak"][1]
    assert alone.table["id"].tolist() == [f"pig{i}" for i in range(5)]


def test_more_duplicates_than_pairs_go_around():
    pairs = discs(3)
    found = segmentation.again(pairs, 7, 0)
    counts = pd.Series([image.tobytes() for image in found.images]).value_counts()
    assert sorted(counts) == [2, 2, 3]
    assert found.table["id"].is_unique and not set(found.table["id"]) & set(pairs.table["id"])


def test_another_seed_is_another_segmenter_and_the_same_seed_the_same_bytes(place, done, tmp_path):
    losses = [(done["real"][0] / "c.csv").read_text()]
    for seed in ("0", "1"):
        assert main(command(place, tmp_path, "real", "--seed", seed)) == 0
        losses.append((tmp_path / "c.csv").read_text())
        assert set(pd.read_csv(tmp_path / "s.csv")["seed"]) == {int(seed)}
    assert losses[0] == losses[1] != losses[2]


def test_augmented_differs_from_real_in_its_augmentation_alone(place, done, tmp_path, monkeypatch):
    """With an augmentation that changes nothing it is bit for bit the same."""
    real, augmented = (
        pd.read_csv(done[name][0] / "c.csv")["loss"].tolist() for name in ("real", "augmented")
    )
    assert real != augmented
    monkeypatch.setattr("pig.metrics.augmentation.strong", lambda settings: None)
    assert main(command(place, tmp_path, "augmented")) == 0
    assert pd.read_csv(tmp_path / "c.csv")["loss"].tolist() == real


@pytest.mark.parametrize(
    ("arguments", "changed", "named"),
    [
        (("real", "--generated", "x.zip"), {}, "--generated"),
        (("real", "--alone"), {}, "--generated"),
        (("duplicated", "--model", "m.safetensors"), {}, "--model"),
        (("pig",), {"doses": [2, 6]}, "segmentation.doses: 6"),
    ],
)
def test_verb_refuses_what_does_not_fit(place, tmp_path, arguments, changed, named, capsys):
    assert main(command(place, tmp_path, *arguments, **changed)) == 2
    assert named in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def trts(place, out, *models):
    words = ["--generated", place / "pig.zip", "--cfg", json.dumps({"segmentation": SETTINGS}), "--out", out]
    return main([str(word) for word in ["trts", "--models", *models, *words]])


def save(path, model, fold=1):
    sizes = {"encoder": SMALL[0], "depth": SMALL[1], "decoder_channels": SMALL[2], "size": [16, 16]}
    weights.save(path, model.state_dict(), {"fold": fold, "seed": 0, **sizes})


def test_real_segmenters_are_tested_on_generated_pairs(place, done, learnt, tmp_path):
    """TRTS: the kept segmenter scores an archive as by hand; of one that has learnt, shuffled masks score less."""
    kept, out, pairs = done["real"][0] / "net", tmp_path / "t.csv", read_archive(place / "pig.zip")
    net = segmentation.build(*SMALL)
    net.load_state_dict(weights.load(kept, ("fold",))[0])
    save(tmp_path / "learnt", learnt)
    for path, model in ((kept, net), (tmp_path / "learnt", learnt)):
        assert trts(place, out, path) == 0
        found = pd.read_csv(out)
        predicted = segmentation.predict(model, segmentation.examples(pairs).images, 5) >= 0.5
        by_hand = [overlap(p, mask).dice for p, mask in zip(predicted, pairs.masks, strict=True)]
        assert found["dice"].tolist() == pytest.approx(by_hand)
    assert ",".join(found.columns) == "id,patient,fold,set,seed,dice,shuffled"
    assert found["patient"].equals(found["id"])
    assert set(found["fold"]) == {1} and set(found["set"]) == {"pig"}
    assert found["dice"].mean() > found["shuffled"].mean() + 0.2


def test_trts_refuses_segmenters_of_two_folds_or_other_sizes(place, model, tmp_path, capsys):
    out, models = tmp_path / "t.csv", [tmp_path / f"{fold}.safetensors" for fold in (0, 1)]
    for fold, path in enumerate(models):
        save(path, model, fold)
    assert trts(place, out, *models) == 2
    assert "[0, 1]" in capsys.readouterr().err
    write(tmp_path / "pig.zip", discs(3, origin="pig", size=24))
    assert trts(tmp_path, out, models[0]) == 2
    assert "[16, 16]" in capsys.readouterr().err and not out.exists()


def test_verb_trains_no_finished_segmenter_again(place, done, tmp_path, capsys):
    """Killed in the second dose, it goes on there, and ends as if it had not been killed."""
    words = command(place, tmp_path, "pig-leak", "--alone")

    def kill(data):
        if data.dose == 5:
            raise KeyboardInterrupt

    with spied(kill):
        assert main(words) == 130
    assert not (tmp_path / "s.csv").exists()
    with spied() as trained:
        assert main(words) == 0
    assert [data.label for data in trained] == ["pig-leak 5", "pig-leak 5 alone"]
    for name in ("s.csv", "c.csv"):
        assert (tmp_path / name).read_bytes() == (done["pig-leak"][0] / name).read_bytes()
    assert not list(tmp_path.glob("s.pt*"))
    (tmp_path / "s.pt.json").write_text("{", encoding="utf-8")
    assert main(words) == 2
    assert "s.pt.json: " in capsys.readouterr().err
