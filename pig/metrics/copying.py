"""Do generated pairs repeat training pairs? Nearest neighbours in image, in mask and in both, calibrated by real pairs.

Distances lie in [0, 1] and are 0 for a copy: of images sqrt((1 - r) / 2) with Pearson's r of grey levels, so that
brightness and contrast hide nothing, as they are or mirrored, whichever is nearer; of masks the Jaccard distance of the
two lesions alone, moved onto each other by the centres of their bounding boxes, over four flips; jointly the root mean
square of the two, each in units of the median that real held-out pairs show.

Real pairs of patients that nobody trained on say how near pairs come by chance, and generated ones are held against
them (with a held-out set as in Meehan et al., AISTATS 2020, but by the ratio of distances, which smooth slices do not
lower). The search is exact and goes block by block: memory does not grow with the number of pairs.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from pig.core.errors import InputError
from pig.core.reading import Kind

Images = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Floats = NDArray[np.float32]
MEASURES = ("image", "mask", "joint")
COPIES = Kind(  # columns of the csv of `pig copies`
    ("id",),
    ("fold",),
    (*MEASURES, *(f"{name}_heldout" for name in MEASURES), "duplicate"),
    ("joint_of",),
)
RARE = 0.01  # what only this share of real held-out pairs shows counts as a copy
BLOCK = 256  # pairs at once: 256 MiB of 512x512 in single precision


class Scales(NamedTuple):
    """Units of the joint distance: what real held-out pairs show in the median."""

    image: float
    mask: float


class Set(NamedTuple):
    """Pairs to search among or for."""

    images: Images  # (N, H, W)
    lesions: list[Masks]  # N of any size: what `lesions_of` found in their masks
    ids: list[str]
    own: list[str]  # a pair is no neighbour of those with the same label, e.g. the patient

    def select(self, rows: Any) -> "Set":
        """The pairs at `rows`, integers in their order."""
        parts = ([of[row] for row in rows] for of in (self.lesions, self.ids, self.own))
        return Set(self.images[rows], *parts)


class Nearest(NamedTuple):
    """The nearest neighbour of each of N pairs by each measure; inf and -1 where there is none."""

    distance: dict[str, NDArray[np.float64]]  # (N,)
    row: dict[str, NDArray[np.int64]]  # (N,)


def nearest(queries: Set, among: Set, scales: Scales | None = None, block: int = BLOCK) -> Nearest:
    """The nearest of `among` to each of `queries`: by image and mask, and by both at once if there are scales.

    The joint neighbour is one pair that is near in both. Ties go to the first row. Found in single precision, the
    distances are then computed again in double precision, so that a copy is at 0.

    Raises:
        InputError: images of different sizes, or no pairs.
    """
    if queries.images.shape[1:] != among.images.shape[1:] or not len(queries.images) or not len(among.images):
        shapes = f"{queries.images.shape} and {among.images.shape}"
        raise InputError(f"copies: expected images of one size in both sets; found {shapes}")
    measures = MEASURES if scales else MEASURES[:2]
    n = len(queries.images)
    best = {name: np.full(n, np.inf) for name in measures}
    row = {name: np.full(n, -1) for name in measures}
    frame = _frame(queries.lesions, among.lesions)
    for there in _blocks(len(among.images), block):
        theirs = _standard(among.images[there])
        mirrored = _standard(among.images[there][:, :, ::-1])
        lesions = _centred(among.lesions[there], frame)
        for here in _blocks(n, block):
            mine = _standard(queries.images[here])
            alike = np.maximum(mine @ theirs.T, mine @ mirrored.T)
            found: dict[str, Any] = {
                "image": np.sqrt(np.clip((1 - alike) / 2, 0, 1)),
                "mask": _jaccard(queries.lesions[here], lesions, frame),
            }
            if scales:
                found["joint"] = joint(found["image"], found["mask"], scales)
            same = np.equal.outer(np.asarray(queries.own[here], object), np.asarray(among.own[there], object))
            for name in measures:
                values = np.where(same, np.inf, found[name])
                at = values.argmin(axis=1)
                value = values[np.arange(len(at)), at]
                closer = value < best[name][here]
                best[name][here] = np.where(closer, value, best[name][here])
                row[name][here] = np.where(closer, at + there.start, row[name][here])
    for name in measures:
        for i in np.flatnonzero(row[name] >= 0):
            best[name][i] = distance(name, queries, int(i), among, int(row[name][i]), scales)
    return Nearest(best, row)


def distance(measure: str, a: Set, i: int, b: Set, j: int, scales: Scales | None = None) -> float:
    """The distance of pair i of `a` from pair j of `b` by one measure, in double precision."""
    if measure == "image":
        one = a.images[i].astype(np.float64)
        others = [b.images[j].astype(np.float64), b.images[j][:, ::-1].astype(np.float64)]
        return float(np.sqrt(max(0.0, 1 - max(correlation(one, other) for other in others)) / 2))
    if measure == "mask":
        mine, theirs = a.lesions[i : i + 1], b.lesions[j : j + 1]
        frame = _frame(mine, theirs)
        return float(_jaccard(mine, _centred(theirs, frame), frame)[0, 0])
    assert scales is not None
    return float(joint(distance("image", a, i, b, j), distance("mask", a, i, b, j), scales))


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson's r of grey levels; 1 of two constant images, 0 of a constant one and another."""
    if np.array_equal(a, b):
        return 1.0
    x, y = a - a.mean(), b - b.mean()
    size = np.sqrt((x * x).sum() * (y * y).sum())
    if size == 0:
        return float(not x.any() and not y.any())
    return min(1.0, float((x * y).sum() / size))


def joint(image: Any, mask: Any, scales: Scales) -> Any:
    """Root mean square of the distances in image and mask, each in units of its scale."""
    return np.sqrt(((image / scales.image) ** 2 + (mask / scales.mask) ** 2) / 2)


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _standard(images: Images) -> Floats:
    """(B, H, W) -> (B, H W + 1) of mean 0 and norm 1, so that products are correlations; the last of a constant one.

    A constant image has no correlation: it becomes the unit vector of a dimension of its own.
    """
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.einsum("ij,ij->i", flat, flat))
    constant = norm < 1e-3
    flat /= np.where(constant, 1, norm)[:, None]
    flat[constant] = 0
    return np.concatenate([flat, constant[:, None].astype(np.float32)], axis=1)


def lesions_of(masks: Masks) -> list[Masks]:
    """What lies in the bounding box of each mask of (N, H, W); (0, 0) pixels of an empty one."""
    boxes = [(ndimage.find_objects(mask.astype(np.uint8)) or [(slice(0), slice(0))])[0] for mask in masks]
    return [mask[box].copy() for mask, box in zip(masks, boxes, strict=True)]  # a view would keep all masks


def _frame(*sets: list[Masks]) -> tuple[int, int]:
    """Height and width of the smallest frame that holds each lesion by itself."""
    sides = [lesion.shape for lesions in sets for lesion in lesions]
    return max(h for h, _ in sides) + 1, max(w for _, w in sides) + 1


def _centred(lesions: list[Masks], frame: tuple[int, int], rows: int = 1, columns: int = 1) -> Floats:
    """(B, h w) of 0 and 1: each lesion, flipped if a step is -1, in the middle of a frame of (h, w)."""
    out = np.zeros((len(lesions), *frame), np.float32)
    for i, lesion in enumerate(lesions):
        # Halves are rounded before they are subtracted, so that no distance depends on the frame.
        top, left = (room // 2 - side // 2 for room, side in zip(frame, lesion.shape, strict=True))
        out[i, top : top + lesion.shape[0], left : left + lesion.shape[1]] = lesion[::rows, ::columns]
    return out.reshape(len(lesions), -1)


def _jaccard(mine: list[Masks], theirs: Floats, frame: tuple[int, int]) -> Floats:
    """(A, B): 1 - intersection over union of lesions and centred ones, the least of four flips; 0 of two empty ones."""
    flips = (_centred(mine, frame, rows, columns) for rows in (1, -1) for columns in (1, -1))
    both = np.maximum.reduce([flipped @ theirs.T for flipped in flips])
    areas = np.array([lesion.sum() for lesion in mine], np.float32)
    union = areas[:, None] + theirs.sum(axis=1)[None, :] - both
    return np.where(union > 0, 1 - both / np.where(union > 0, union, 1), 0).astype(np.float32)


# --- what it says of a set


def calibrate(heldout: Set, training: Set) -> Scales:
    """The units of the joint distance: the median distances of real held-out pairs from training pairs.

    Raises:
        InputError: a median of 0, where real pairs are copies of one another and nothing can be told.
    """
    found = nearest(heldout, training).distance
    scales = Scales(*(float(np.median(found[name])) for name in MEASURES[:2]))
    if not min(scales) > 0:
        raise InputError(
            "copies: expected held-out pairs that differ from training pairs; found their copies"
        )
    return scales


def report(queries: Set, training: Set, heldout: Set, scales: Scales) -> pd.DataFrame:
    """One row a query: id, and by image, mask and joint the distance to the nearest training pair (NAME), its id
    (NAME_of) and the distance to the nearest held-out pair (NAME_heldout); duplicate, the joint distance to the
    nearest query with another label, and duplicate_of. nan and "" where there is none.
    """
    to_training, to_heldout = (nearest(queries, among, scales) for among in (training, heldout))
    twins = nearest(queries, queries, scales)
    columns: dict[str, Any] = {"id": queries.ids}
    for name in MEASURES:
        columns[name] = to_training.distance[name]
        columns[f"{name}_of"] = [training.ids[j] if j >= 0 else "" for j in to_training.row[name]]
        columns[f"{name}_heldout"] = to_heldout.distance[name]
    columns["duplicate"] = twins.distance["joint"]
    columns["duplicate_of"] = [queries.ids[j] if j >= 0 else "" for j in twins.row["joint"]]
    return pd.DataFrame(columns).replace(np.inf, np.nan)


def summary(found: pd.DataFrame, real: pd.DataFrame) -> dict[str, float]:
    """What `report` of a set shows beside that of the fold's real held-out pairs.

    Returns:
        n; for NAME in image, mask, joint: NAME_ratio, the median over pairs of the distance to training over that to
        held-out pairs, relative to the same of real pairs (1: no nearer to what was trained on than chance), and
        NAME_share, the share of copies (`are_copies`); duplicates, the share of pairs nearer to another of the set than
        all but RARE of real held-out pairs are to one of another patient, or equal to it.
    """
    out: dict[str, float] = {"n": len(found)}
    for name in MEASURES:
        out[f"{name}_ratio"] = float(ratios(found, name).median() / ratios(real, name).median())
        out[f"{name}_share"] = float(are_copies(found, real, name).mean())
    alike = (found["duplicate"] < real["duplicate"].quantile(RARE)) | (found["duplicate"] == 0)
    out["duplicates"] = float(alike.mean())
    return out


def ratios(found: pd.DataFrame, name: str) -> "pd.Series[float]":
    """The distance of each pair from the nearest training pair over that from the nearest held-out one.

    A generator whose slices are smooth or commonplace is near to every real slice; one that copies is near to those
    that it was trained on. 1 where both distances are 0.
    """
    to_training, to_heldout = found[name], found[f"{name}_heldout"]
    both = (to_training == 0) & (to_heldout == 0)
    return (to_training / to_heldout).where(~both, 1.0)


def are_copies(found: pd.DataFrame, real: pd.DataFrame, name: str) -> "pd.Series[bool]":
    """Which pairs equal a training pair, or have a ratio below that of all but RARE of the real held-out pairs."""
    return (ratios(found, name) < ratios(real, name).quantile(RARE)) | (found[name] == 0)
