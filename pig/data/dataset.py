"""Pairs as a data set of torch, for your own training loop."""

import operator
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from pig.core.errors import InputError
from pig.data.archive import read_archive
from pig.data.pairs import COLUMNS, Pairs, scale

Source = str | Path | Pairs | Iterable[tuple[Any, Any]]
Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Item(TypedDict):
    """One pair, which torch's DataLoader joins to batches as it is."""

    image: Tensor  # (1, H, W) float32 in [-1, 1]
    mask: Tensor  # (1, H, W) float32, 1 in the lesion, 0 elsewhere
    id: str
    origin: str  # where it comes from: "phantom", "folder", a method's name, ..


class PairDataset(Dataset[Item]):
    """Real or generated pairs. `real + generated` is a data set of both, as of any two of torch's.

    Args:
        source: an archive (of `pig import`, `pig phantom`, `pig sample`, `pig merge`); or pairs (mask, image) of arrays
            (H, W), bool and uint8, such as `model.sample(64)`; or a `pig.data.pairs.Pairs`.
        split, fold, role: take only the pairs whose patients are "train", "validation" or "test" in that fold of the
            split that `pig split` wrote (a file or its table). Generators are trained on "train": whoever mixes their
            pairs with real ones of another role, or fold, lets a segmenter see its test patients.
        transform: (image, mask), each (1, H, W), to what is handed out instead; called anew each time.

    Raises:
        InputError: images without masks, pairs of several sizes, none at all; a split of other pairs.
    """

    def __init__(
        self,
        source: Source,
        *,
        split: str | Path | pd.DataFrame | None = None,
        fold: int | None = None,
        role: str = "train",
        transform: Transform | None = None,
    ) -> None:
        if (split is None) != (fold is None):
            raise InputError("split and fold: expected both or neither")
        found = _read(source)
        if split is not None and fold is not None:
            found = found.of(split, fold, role)
        name = source if isinstance(source, str | Path) else "pairs"
        self.images, self.masks, self.table = found.images, found.need_masks(name), found.table
        if not len(found):
            raise InputError(f"{name}: expected at least one pair, found none with role {role}")
        self._ids, self._origins = (found.table[column].tolist() for column in ("id", "origin"))
        self.transform = transform

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.images.shape[1], self.images.shape[2]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        row = range(len(self))[operator.index(index)]  # from the end if negative; IndexError beyond
        image = scale(torch.from_numpy(self.images[row])[None])
        mask = torch.from_numpy(self.masks[row])[None].float()
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        return {"image": image, "mask": mask, "id": self._ids[row], "origin": self._origins[row]}

    def __add__(self, other: Dataset[Item]) -> ConcatDataset[Item]:
        """Both, one after the other. Raises InputError if they are pairs of different sizes."""
        if isinstance(other, PairDataset) and other.size != self.size:
            raise InputError(f"expected pairs of one size to add, found {self.size} and {other.size}")
        return super().__add__(other)


def _read(source: Source) -> Pairs:
    if isinstance(source, Pairs):
        return source
    if isinstance(source, str | Path):
        return read_archive(source)
    given = list(source)
    if not given:
        raise InputError("pairs: expected at least one, found none")
    if any(mask is None for mask, _ in given):
        raise InputError("pairs: expected masks and images, found images without masks")
    arrays = [[np.asarray(part[i]) for part in given] for i in (0, 1)]
    if len(shapes := {array.shape for part in arrays for array in part}) > 1:
        raise InputError(f"pairs: expected masks and images of one size, found {sorted(shapes)}")
    masks, images = map(np.stack, arrays)
    ids = [f"sample-{i:06d}" for i in range(len(given))]
    blank = dict.fromkeys(COLUMNS, "")
    return Pairs(images, masks, pd.DataFrame(blank | {"id": ids, "origin": "sample"}, index=range(len(ids))))
