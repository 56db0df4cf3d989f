"""Train and run the lesion segmenter of Table 2, a U-Net, on real and generated pairs.

Nothing here is pre-trained and nothing is downloaded. Images are uint8 on the device and scaled batch by batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pig.core.errors import InputError
from pig.core.params import Segmentation
from pig.data.pairs import Pairs, concatenate, scale
from pig.training.fit import Loss, Weights, seed_of

SCORES = ("dice", "iou", "precision", "recall")
KEYS = ("id", "patient", "fold", "set", "dose", "real", "seed")  # columns that come before the scores
BUILT_OF = {"encoder", "depth", "decoder_channels"}  # settings that `build` takes

Augment = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]
Validate = Callable[[nn.Module], float]
Train = Callable[[nn.Module, Loss, int, Segmentation, Validate], tuple[Weights, pd.DataFrame, str]]


class Fold(NamedTuple):
    """The real pairs of one fold, of its training, validation and test patients."""

    number: int
    train: Pairs
    held_out: Pairs
    test: Pairs


class TrainingSet(NamedTuple):
    """What one segmenter is trained on."""

    name: str
    dose: int  # pairs added to the real ones, or alone
    real: int  # pairs of real training patients
    pairs: Pairs

    @property
    def label(self) -> str:
        """Its name among those of a job, such as "pig 40 alone"."""
        return f"{self.name} {self.dose}{'' if self.real else ' alone'}"


class Segmented(NamedTuple):
    """One trained segmenter."""

    scores: pd.DataFrame  # a row a test pair: KEYS, SCORES, empty
    curve: pd.DataFrame  # a row a point: dose, real, and what Progress.curve has
    model: nn.Module
    header: dict[str, Any]  # of the file of `model`: its fold and seed, and what `build` made it of


def training_sets(
    name: str, train: Pairs, generated: Pairs | None, chosen: Segmentation, alone: bool = False
) -> list[TrainingSet]:
    """The sets that go by `name`: `train` as it is, or with each of `chosen.doses` added.

    A dose is that many `generated` pairs, from the first, or where there are none as many of `train` again. With
    `alone` the largest dose is a set of its own too.

    Raises:
        InputError: a dose of more pairs than were generated.
    """
    if name in ("real", "augmented"):
        return [TrainingSet(name, 0, len(train), train)]
    doses = sorted(chosen.doses)
    more = again(train, doses[-1], chosen.seed) if generated is None else generated
    if doses[-1] > len(more):
        raise InputError(
            f"segmentation.doses: {doses[-1]}; expected at most {len(more)}, the pairs of {name}"
        )
    added = [more.select(range(dose)) for dose in doses]
    sets = [TrainingSet(name, len(some), len(train), concatenate([train, some])) for some in added]
    return [*sets, TrainingSet(name, doses[-1], 0, added[-1])] if alone else sets


def again(pairs: Pairs, number: int, seed: int) -> Pairs:
    """`number` copies of `pairs`, each once in a shuffled order before any comes again; ids of their own."""
    rows = np.resize(np.random.default_rng(seed).permutation(len(pairs)), number)
    table = pairs.table.iloc[rows]
    names = [f"{name}.copy{i}" for i, name in enumerate(table["id"])]
    masks = None if pairs.masks is None else pairs.masks[rows]
    return Pairs(pairs.images[rows], masks, table.assign(id=names))


def train_and_score(
    data: TrainingSet,
    fold: Fold,
    seed: int,
    chosen: Segmentation,
    augment: Augment | None,
    device: torch.device,
    train: Train,
) -> Segmented:
    """Train one segmenter on `data` and score it on the fold's test pairs.

    Args:
        seed: number of the segmenter. All of one fold and number start from the same weights, whatever `data` is.
        augment: changes a batch of training pairs.
        train: takes a model, its loss, the number of its rows, how to train and the validation loss; returns the
            weights to keep, the loss curve and the precision that it computed in.

    Raises:
        InputError: pairs without masks, or of a size that the network cannot have.
    """
    chosen = chosen.model_copy(update={"seed": seed_of(chosen.seed, fold.number, seed)})
    size = data.pairs.images.shape[1:]
    torch.manual_seed(chosen.seed)
    model = build(chosen.encoder, chosen.depth, chosen.decoder_channels, size).to(device)
    train_on, validate_on, test_on = (examples(of, device) for of in (data.pairs, fold.held_out, fold.test))
    loss, validate = training_loss(train_on, chosen.flip, augment), validation_loss(validate_on, chosen.batch)
    kept, points, computed_in = train(model, loss, len(data.pairs), chosen, validate)
    model.load_state_dict(kept)
    probabilities = predict(model, test_on.images, chosen.batch)
    own: dict[str, Any] = {
        "fold": fold.number,
        "set": data.name,
        "dose": data.dose,
        "real": data.real,
        "seed": seed,
    }
    scores = score(probabilities, fold.test, chosen.threshold).assign(**own)[[*KEYS, *SCORES, "empty"]]
    points.insert(0, "dose", data.dose)
    points.insert(1, "real", data.real)
    header = {"fold": fold.number, "seed": seed, "size": list(size), "computed_in": computed_in}
    header |= chosen.model_dump(include=BUILT_OF)
    return Segmented(scores, points, model, header)


def agreement(
    model: nn.Module, pairs: Pairs, order: NDArray[np.int64], chosen: Segmentation, device: torch.device
) -> pd.DataFrame:
    """Whether a trained segmenter finds the lesions that the masks of `pairs` show: id, dice, shuffled; a row a pair.

    `shuffled` is the Dice against masks that go around: what is found in picture `order[i]` meets mask i. Raises
    InputError if there are no pairs, or no masks.
    """
    probabilities = predict(model, examples(pairs, device).images, chosen.batch)
    scores, mixed = (score(found, pairs, chosen.threshold) for found in (probabilities, probabilities[order]))
    return pd.DataFrame({"id": scores["id"], "dice": scores["dice"], "shuffled": mixed["dice"]})


class Examples(NamedTuple):
    """Pairs on a device: images (N, 1, H, W) uint8 and masks (N, 1, H, W) bool."""

    images: Tensor
    masks: Tensor


def examples(pairs: Pairs, device: torch.device | str = "cpu") -> Examples:
    """The arrays of `pairs` as tensors on `device`. Raises InputError if there are none, or no masks."""
    if not len(pairs):
        raise InputError("segmentation: expected at least one pair, found none")
    arrays = pairs.images, pairs.need_masks("segmentation")
    images, masks = (torch.from_numpy(a)[:, None].to(device) for a in arrays)
    return Examples(images, masks)


def build(encoder: str, depth: int, decoder_channels: Sequence[int], shape: tuple[int, int]) -> nn.Module:
    """A U-Net with random weights: (B, 1, H, W) in [-1, 1] -> (B, 1, H, W) logits of "lesion".

    Args:
        encoder: a name that segmentation-models-pytorch has an encoder for.
        depth: how often the encoder halves the image.
        decoder_channels: one a level, the deepest first.
        shape: (H, W), multiples of 2 ** depth.

    Raises:
        InputError: an unknown encoder, or a shape that cannot be halved `depth` times.
    """
    if any(side % 2**depth for side in shape):
        raise InputError(
            f"segmentation.depth {depth}: expected sides that are multiples of {2**depth}; found {shape}"
        )
    if encoder not in smp.encoders.get_encoder_names():
        raise InputError(f"segmentation.encoder {encoder}: segmentation-models-pytorch has none of that name")
    model = smp.Unet(
        encoder,
        encoder_depth=depth,
        encoder_weights=None,  # nothing to download
        decoder_channels=tuple(decoder_channels),
        in_channels=1,
        classes=1,
    )
    return model.to(memory_format=torch.channels_last)  # 1.6 times faster on a CPU, and made for GPUs


def bce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy, mean over pixels, plus 1 - soft Dice, pooled over all pixels; (B, 1, H, W) each."""
    truth = masks.float()
    dice: Tensor = smp.losses.DiceLoss("binary")(logits.float(), truth)
    return F.binary_cross_entropy_with_logits(logits.float(), truth) + dice


def training_loss(data: Examples, flip: float, augment: Augment | None = None) -> Loss:
    """The loss of a batch of rows of `data`, each pair upside down with chance `flip` after it was augmented."""

    def loss(model: nn.Module, rows: Tensor, generator: Generator) -> Tensor:
        images, masks = data.images[rows], data.masks[rows]
        if augment is not None:
            images, masks = augment(images, masks, generator)
        turned = (torch.rand(len(rows), generator=generator) < flip).to(rows.device)[:, None, None, None]
        images = torch.where(turned, images.flip(2), images)
        masks = torch.where(turned, masks.flip(2), masks)
        return bce_dice(model(scale(images)), masks)

    return loss


def validation_loss(data: Examples, batch: int) -> Callable[[nn.Module], float]:
    """The same loss over all of `data` at once, so that it does not depend on `batch`."""
    return lambda model: bce_dice(_logits(model, data.images, batch), data.masks).item()


def predict(model: nn.Module, images: Tensor, batch: int) -> NDArray[np.float32]:
    """Probabilities of "lesion" (N, H, W) of images (N, 1, H, W) uint8, `batch` at once."""
    model.eval()
    with torch.no_grad():
        return _logits(model, images, batch).sigmoid()[:, 0].cpu().numpy()


def _logits(model: nn.Module, images: Tensor, batch: int) -> Tensor:
    return torch.cat([model(scale(part)) for part in images.split(batch)])


def score(probabilities: NDArray[np.float32], pairs: Pairs, threshold: float) -> pd.DataFrame:
    """One row a pair: id, patient, dice, iou, precision, recall (shares) and empty (has no lesion).

    A pixel is lesion from `threshold` on; `overlap` has the rule about empty masks.
    """
    masks = pairs.need_masks("segmentation")
    scores = [overlap(p >= threshold, mask) for p, mask in zip(probabilities, masks, strict=True)]
    frame = pd.DataFrame(scores, columns=SCORES)
    frame.insert(0, "id", pairs.table["id"].to_numpy())
    frame.insert(1, "patient", pairs.table["patient"].to_numpy())
    frame["empty"] = [not mask.any() for mask in masks]
    return frame


class Overlap(NamedTuple):
    """How well a predicted mask meets the true one; shares in [0, 1]."""

    dice: float
    iou: float
    precision: float
    recall: float


def overlap(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Overlap:
    """Compare two boolean masks of one shape, (H, W).

    With P pixels predicted, T of the lesion and B of both: Dice = 2 B / (P + T), IoU = B / (P + T - B),
    precision = B / P, recall = B / T.

    Empty masks: two empty masks agree, so every score is 1. If exactly one is empty, every score is 0, the
    undefined one too (precision when nothing is predicted, recall when there is no lesion): then silence earns
    nothing, exchanging the masks exchanges precision and recall, and Dice stays their harmonic mean.
    """
    predicted, lesion = int(prediction.sum()), int(truth.sum())
    both = int((prediction & truth).sum())
    if predicted == lesion == 0:
        return Overlap(1.0, 1.0, 1.0, 1.0)
    return Overlap(
        dice=2 * both / (predicted + lesion),
        iou=both / (predicted + lesion - both),
        precision=both / predicted if predicted else 0.0,
        recall=both / lesion if lesion else 0.0,
    )
