"""Dice, IoU, precision and recall of one image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pig.core.errors import InputError


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

    Raises:
        InputError: shapes that differ, or arrays that are not boolean.
    """
    if prediction.shape != truth.shape or prediction.dtype != bool or truth.dtype != bool:
        found = f"{prediction.dtype} {prediction.shape} and {truth.dtype} {truth.shape}"
        raise InputError(f"overlap: expected two boolean masks of one shape; found {found}")
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
