"""The report as one web page: values in, HTML out, which needs no other file and no network.

Pictures are PNG in text, outlines and charts are SVG, so that both take the page's colours. No id of a pair or patient
gets into a page. Equal input gives equal bytes.
"""

import base64
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.data.images import encode, shrink
from pig.data.pairs import Pairs, grey
from pig.models.table import METHODS
from pig.report import figures, formats, rendering, survey
from pig.report.figures import Panel

SIDE = 192  # pixels: larger images are shrunk by whole factors, so that a page of many stays one that opens
HEADS = {  # verdict -> heading and mark, in the order of the page
    "holds": ("Claims that hold on this data", "✓"),
    "fails": ("Claims that fail on this data", "✕"),
    "open": ("Claims that this data leaves open", "?"),
    "note": ("To bear in mind", "!"),
}
MASKS = {  # where the masks of a method come from
    "": "It draws its own masks.",
    "given": "Its masks are those of training pairs.",
    "varied": "Its masks are varied from those of training pairs.",
}
Grey: TypeAlias = NDArray[np.uint8]


# --- pictures ---


class Picture(NamedTuple):
    """A slice as the text of a PNG; its lesion's outline as an SVG path in pixels; height and width of that."""

    image: str
    outline: str
    height: int
    width: int


def png(pixels: Grey) -> str:
    """(H, W) grey -> data:image/png;base64,... of the same pixels, or beyond SIDE of the means of k x k of them."""
    small = shrink(pixels, -(-max(pixels.shape) // SIDE))
    return "data:image/png;base64," + base64.b64encode(encode(small, smallest=True)).decode()


def outline(mask: NDArray[np.bool_]) -> str:
    """The edges of `figures.outline` as an SVG path; pixel (i, j) is the unit square whose corner is x = j, y = i."""
    edges = (figures.outline(mask) + 0.5).astype(int).tolist()
    return "".join(f"M{x} {y}{'h' if end > x else 'v'}1" for (x, y), (end, _) in edges)


def picture(pairs: Pairs, row: int) -> Picture:
    """The pair at `row`, with its outline where there are masks."""
    path = "" if pairs.masks is None else outline(pairs.masks[row])
    return Picture(png(pairs.images[row]), path, *pairs.images.shape[1:])


def spaced(pairs: Pairs, number: int) -> list[Picture]:
    """At most `number` pairs, evenly spaced over the set."""
    return [picture(pairs, row) for row in figures.every(len(pairs), number)]


class Cell(NamedTuple):
    """A generated pair; the training pair nearest to it, None where that must not be shown; how far that is."""

    made: Picture
    nearest: Picture | None
    distance: float | None


class Shelf(NamedTuple):
    """Pairs of one method."""

    title: str
    note: str
    cells: list[Cell]


def shelf(method: str, made: Pairs, found: pd.DataFrame, real: Pairs | None, number: int) -> Shelf:
    """The first `number` pairs of a method, as they came.

    Args:
        made: its pairs.
        found: a row a pair with the columns id, joint (distance) and joint_of (the neighbour's id).
        real: where the neighbours are; None: they must not be shown.

    Raises:
        InputError: a pair or neighbour that is not there.
    """
    kind = METHODS[method]
    return Shelf(kind.label, MASKS[kind.masks], _cells(made, found, real, range(min(number, len(made)))))


def closest(method: str, made: Pairs, found: pd.DataFrame, real: Pairs, number: int) -> Shelf:
    """The `number` pairs of a method that come closest to a training pair, the closest first; as `shelf`."""
    rows = figures.places(made, figures.closest(found, number)["id"])
    note = "Of its pairs those with the nearest neighbours: where copies would show first."
    title = f"{METHODS[method].label}, closest to training pairs"
    return Shelf(title, note, _cells(made, found, real, rows))


def _cells(made: Pairs, found: pd.DataFrame, real: Pairs | None, rows: Iterable[int]) -> list[Cell]:
    columns = (found[key] for key in ("id", "joint", "joint_of"))
    of = {name: (distance, neighbour) for name, distance, neighbour in zip(*columns, strict=True)}
    cells = []
    for row in rows:
        name = made.table["id"].iloc[row]
        if name not in of:
            raise InputError(f"copies: expected a row of {name}; found none")
        distance, neighbour = of[name]
        if pd.isna(distance) or pd.isna(neighbour):  # without a lesion there is no distance of masks
            cells.append(Cell(picture(made, row), None, None))
        else:
            nearest = None if real is None else picture(real, figures.places(real, [neighbour])[0])
            cells.append(Cell(picture(made, row), nearest, float(distance)))
    return cells


class Frame(NamedTuple):
    """Figure 3 at one time: of each pair the estimate of the mask and that of the slice."""

    t: int
    pairs: list[tuple[str, str]]


def progression(t: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any]) -> list[Frame]:
    """t (K,), x and y (K, B, H, W) in [-1, 1] -> the K frames. Raises InputError as `figures.check_frames`."""
    figures.check_frames(t, x, y)
    return [
        Frame(int(time), [(png(grey(mask)), png(grey(image))) for mask, image in zip(*pair, strict=True)])
        for time, *pair in zip(t, x, y, strict=True)
    ]


# --- the data set ---

CONTRAST = "Contrast of the lesion, inside minus ring, black −1, white 1"


class DataSet(NamedTuple):
    """What is in the set of real pairs: rows of tables, and histograms."""

    counts: list[list[str]]  # what, pairs, patients
    shares: list[str]
    quantiles: list[list[str]]  # what, and a number a share
    panels: list[Panel]
    empty: int  # pairs without a lesion


def data_set(pairs: Pairs, ring: float) -> DataSet:
    """Counts, quantiles and histograms; `ring` as `survey.lesions` takes it."""
    found, of_patients = survey.lesions(pairs, ring), survey.of_patients(pairs)
    measured = [
        ("Pairs of a patient", "{:.0f}", of_patients),
        ("Area of the lesion, % of the image", "{:.2f}", found["area"].to_numpy()),
        (CONTRAST, "{:.2f}", found["contrast"].dropna().to_numpy()),
    ]
    quantiles = [
        [title, *(form.format(value) for value in np.quantile(values, survey.SHARES))]
        for title, form, values in measured
        if len(values)
    ]
    counts = [
        [str(row.what), f"{row.pairs:,}", f"{row.patients:,}"] for row in survey.counts(pairs).itertuples()
    ]
    panels = figures.panels(figures.survey(of_patients, found), "data")
    shares = [f"{share:.0%}" for share in survey.SHARES]
    return DataSet(counts, shares, quantiles, panels, len(pairs) - len(found))


# --- the page ---


def render(name: str, page: Mapping[str, Any]) -> str:
    """The report by the template `name`, page.html or page.md, which says what is in `page`; in HTML it is escaped."""
    told = [
        (verdict, head, mark, [finding for finding in page["findings"] if finding.verdict == verdict])
        for verdict, (head, mark) in HEADS.items()
    ]
    return rendering.render(name, page=page, told=told, formats=formats)
