"""The report as one web page: values in, HTML out, which needs no other file and no network.

Pictures are PNG in text, outlines and charts are SVG in lengths of a panel of WIDE x TALL, so that both take the page's
colours. No id of a pair or patient gets into a page. Equal input gives equal bytes.
"""

import base64
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.data.images import encode, shrink
from pig.data.pairs import Pairs, grey
from pig.models.table import METHODS, NETS
from pig.report import rendering, survey
from pig.report.findings import Finding

SIDE = 192  # pixels: larger images are shrunk by whole factors, so that a page of many stays one that opens
WIDE, TALL = 280, 168  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 40, 274, 8, 142  # of its axes
LEAST = 1e-30  # loss that is drawn, and the reciprocal of the largest
HUES = 6  # of lines, as the style sheet has them
VARIED = "-varied"  # ends the names of methods that are given varied masks
HEADS = {  # verdict -> heading and mark, in the order of the page
    "holds": ("Claims that hold on this data", "✓"),
    "fails": ("Claims that fail on this data", "✕"),
    "open": ("Claims that this data leaves open", "?"),
    "note": ("To bear in mind", "!"),
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
    """The edges between lesion and background pixels of `mask`, (H, W), as an SVG path.

    Pixel (i, j) is the unit square whose corner is x = j, y = i. Straight runs are one stroke each; outside the image
    is background.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    level, upright = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1].T
    strokes = [f"M{start} {line}h{length}" for line, start, length in _runs(level)]
    strokes += [f"M{line} {start}v{length}" for line, start, length in _runs(upright)]
    return "".join(strokes)


def _runs(lines: NDArray[np.int8]) -> list[tuple[int, int, int]]:
    """(line, start, length) of each run of values other than 0."""
    change = np.diff(np.pad(lines != 0, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    return [(int(line), int(a), int(b - a)) for (line, a), (_, b) in zip(starts, ends, strict=True)]


def picture(pairs: Pairs, row: int) -> Picture:
    """The pair at `row`, with its outline where there are masks."""
    path = "" if pairs.masks is None else outline(pairs.masks[row])
    return Picture(png(pairs.images[row]), path, *pairs.images.shape[1:])


def spaced(pairs: Pairs, number: int) -> list[Picture]:
    """At most `number` pairs, evenly spaced over the set: none is picked by hand."""
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(number, len(pairs))).round().astype(int))
    return [picture(pairs, row) for row in chosen]


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
    note = {"": "It draws its own masks.", "given": "Its masks are those of training pairs."}.get(
        kind.masks, "Its masks are varied from those of training pairs."
    )
    return Shelf(kind.label, note, _cells(made, found, real, range(min(number, len(made)))))


def closest(method: str, made: Pairs, found: pd.DataFrame, real: Pairs, number: int) -> Shelf:
    """The `number` pairs of a method that come closest to a training pair, the closest first; as `shelf`."""
    _need(found, ("id", "joint", "joint_of"), "copies")
    ordered = found.dropna(subset=["joint"]).sort_values(["joint", "id"])["id"].head(number)
    places = _places(made, ordered)
    label = METHODS[method].label
    note = "Of its pairs those with the nearest neighbours: where copies would show first."
    return Shelf(f"{label}, closest to training pairs", note, _cells(made, found, real, places))


def _cells(made: Pairs, found: pd.DataFrame, real: Pairs | None, rows: Iterable[int]) -> list[Cell]:
    _need(found, ("id", "joint", "joint_of"), "copies")
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
            nearest = None if real is None else picture(real, _places(real, [neighbour])[0])
            cells.append(Cell(picture(made, row), nearest, float(distance)))
    return cells


def _places(pairs: Pairs, ids: Iterable[str]) -> list[int]:
    place = {name: row for row, name in enumerate(pairs.table["id"])}
    ids = list(ids)
    if lost := [name for name in ids if name not in place]:
        raise InputError(f"copies: expected {lost[0]} among the pairs; found none")
    return [place[name] for name in ids]


class Frame(NamedTuple):
    """Figure 3 at one time: of each pair the estimate of the mask and that of the slice."""

    t: int
    pairs: list[tuple[str, str]]


def progression(t: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any]) -> list[Frame]:
    """t (K,) whole, x and y (K, B, H, W) in [-1, 1] -> the K frames. Raises InputError for anything else."""
    fit = t.ndim == 1 and x.ndim == 4 and x.shape == y.shape and len(t) == len(x) and min(x.shape) > 0
    kinds = [np.issubdtype(a.dtype, k) for a, k in ((t, np.integer), (x, np.floating), (y, np.floating))]
    if not (fit and all(kinds)):
        found = ", ".join(f"{part.shape} {part.dtype}" for part in (t, x, y))
        raise InputError(f"frames: expected whole t (K,), numbers x and y (K, B, H, W); found {found}")
    return [
        Frame(int(time), [(png(grey(mask)), png(grey(image))) for mask, image in zip(*pair, strict=True)])
        for time, *pair in zip(t, x, y, strict=True)
    ]


# --- tables ---


class Shown(NamedTuple):
    """A table of `pig tables` as people read it; a row is its cells, each a text and whether it is the best."""

    number: int
    groups: list[tuple[str, int]]  # a head over neighbours, "" for none, and how many
    heads: list[str]
    numeric: list[bool]
    paper: list[bool]  # whether a column holds the paper's numbers
    rows: list[list[tuple[str, bool]]]
    caption: str


def parse_table(text: str, name: str) -> Shown:
    """What `formats.to_markdown` wrote. Raises InputError, naming `name`, for anything else."""
    lines = text.splitlines()
    piped = [line for line in lines if line.startswith("|")]
    told = re.search(r"^\*\*Table ([1-9])\.\*\* (.*)$", text, flags=re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in piped]
    if told is None or len(cells) < 3 or len({len(row) for row in cells}) != 1:
        raise InputError(f"{name}: expected a table and its caption, as `pig tables` writes them")
    heads, rule, *rows = cells
    grouped = [head.partition(": ") if ": " in head else ("", "", head) for head in heads]
    return Shown(
        int(told[1]),
        [(group, len(list(run))) for group, run in groupby(group for group, _, _ in grouped)],
        [head for _, _, head in grouped],
        [cell.endswith(":") for cell in rule],
        [group == "Paper" for group, _, _ in grouped],
        [[_bold(cell) for cell in row] for row in rows],
        told[2],
    )


def _bold(cell: str) -> tuple[str, bool]:
    best = len(cell) > 4 and cell.startswith("**") and cell.endswith("**")
    return (cell[2:-2] if best else cell), best


# --- charts ---


class Line(NamedTuple):
    """A line of a chart: how it looks (classes of the style sheet) and its path."""

    look: str
    path: str


class Panel(NamedTuple):
    """A small chart, ready to draw; ticks are (place, label); told is what it shows, for those who hear the page."""

    title: str
    told: str
    xlabel: str
    lines: list[Line]
    xticks: list[tuple[float, str]]
    yticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Axes:
    """From numbers to places in a panel; the vertical axis may be of logarithms."""

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False

    def left(self, value: float) -> float:
        low, high = self.x
        return round(LEFT + (RIGHT - LEFT) * (value - low) / ((high - low) or 1), 1)

    def top(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (*self.y, value))
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / ((high - low) or 1), 1)

    def path(self, xs: Iterable[float], ys: Iterable[float]) -> str:
        """A line through the points whose numbers are there, within the axis."""
        points = [(x, y) for x, y in zip(xs, ys, strict=True) if self.y[0] <= y <= self.y[1]]
        return "M" + "L".join(f"{self.left(x)} {self.top(y)}" for x, y in points) if points else ""

    def xticks(self, values: Iterable[float]) -> list[tuple[float, str]]:
        return [(self.left(value), f"{value:g}") for value in values]

    def yticks(self) -> list[tuple[float, str]]:
        values = decades(*self.y) if self.log else []
        if len(values) < 3:  # of a narrow axis
            values = ticks(*self.y, most=7)
        return [(self.top(value), f"{value:g}") for value in values if self.y[0] <= value <= self.y[1]]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` + 1 round numbers within [low, high], in steps of 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit in (1, 2, 5, 10) if power * unit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from `low` to `high`; of many only the powers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    units = (1, 2, 5) if high / low < 200 else (1,)
    found = [round(unit * 10.0**power, 12) for power in powers for unit in units]
    return [value for value in found if low <= value <= high]


def doses(frame: pd.DataFrame) -> list[Panel]:
    """Dice by the number of added pairs: a panel a set, its interval as a band, the other sets pale behind.

    Args:
        frame: the csv of `pig tables 2`: set, dose, added, dice, dice_low and dice_high. Lines begin at the real pairs
            alone; a method with varied masks is dashed, in the panel of the same with given ones.
    """
    _need(frame, ("set", "dose", "added", "dice", "dice_low", "dice_high"), "table 2")
    alone = frame[frame["set"] == "real"]
    parts = {
        str(name): pd.concat([alone, part.sort_values("dose")])
        for name, part in frame[frame["dose"] > 0].groupby("set", sort=False)
    }
    scores = frame[["dice", "dice_low", "dice_high"]].to_numpy(float)
    scores = scores[np.isfinite(scores)]
    if not parts or not scores.size:
        return []
    low, high = float(scores.min()), float(scores.max())
    at = sorted({int(dose) for part in parts.values() for dose in part["dose"]})
    axes = Axes((0, max(at)), (math.floor(low), math.ceil(high)))
    panels = []
    for plain in dict.fromkeys(name.removesuffix(VARIED) for name in parts):
        mine = [name for name in (plain, plain + VARIED) if name in parts]
        first = parts[mine[0]]
        xs, lows, highs = (list(first[key]) for key in ("dose", "dice_low", "dice_high"))
        band = axes.path([*xs, *reversed(xs)], [*highs, *reversed(lows)])
        hue = "ours" if plain == "pig" else "rival" if plain in METHODS else "control"
        lines = [Line(f"band {hue}", f"{band}Z" if band else "")]
        lines += [
            Line("pale", axes.path(part["dose"], part["dice"]))
            for name, part in parts.items()
            if name not in mine
        ]
        lines += [Line("floor", axes.path([0, max(at)], [value] * 2)) for value in alone["dice"]]
        for name in mine:
            dashed = " dashed" if name != plain else ""
            lines.append(Line(f"bold {hue}{dashed}", axes.path(parts[name]["dose"], parts[name]["dice"])))
        told = "; ".join(_points(parts[name]) for name in mine)
        title = str(first["added"].iloc[-1]).split(",")[0]
        panels.append(
            Panel(title, told, "pairs added to the real ones", lines, axes.xticks(at), axes.yticks())
        )
    return panels


def _points(part: pd.DataFrame) -> str:
    label = str(part["added"].iloc[-1])
    return f"Dice with {label}: " + ", ".join(
        f"{dice:.1f} with {dose:.0f} pairs" for dose, dice in zip(part["dose"], part["dice"], strict=True)
    )


def curves(named: Mapping[str, Mapping[int, pd.DataFrame]]) -> list[Panel]:
    """Losses, a panel a network, a hue a fold, on a logarithmic axis: training thin, validation bold.

    Args:
        named: network -> fold -> frame with the columns step, loss and validation.
    """
    order = list(NETS)
    panels = []
    for name in sorted(named, key=lambda net: (order.index(net) if net in order else len(order), net)):
        folds = dict(sorted(named[name].items()))
        for fold, frame in folds.items():
            _need(frame, ("step", "loss", "validation"), f"curve of {name}, fold {fold}")
        losses = pd.concat([frame[key] for frame in folds.values() for key in ("loss", "validation")])
        losses = losses[losses.between(LEAST, 1 / LEAST)]
        low, high = (float(losses.min()), float(losses.max())) if len(losses) else (0.1, 1.0)
        last = max(float(frame["step"].iloc[-1]) for frame in folds.values())
        axes = Axes((0, last), (low / 1.15, high * 1.15), log=True)
        lines, told = [], []
        for fold, frame in folds.items():
            hue = f"hue{fold % HUES}"
            lines.append(Line(f"thin {hue}", axes.path(frame["step"], frame["loss"])))
            lines.append(Line(f"bold {hue}", axes.path(frame["step"], frame["validation"])))
            ends = frame["validation"].dropna()
            told.append(f"fold {fold}: {ends.iloc[-1]:.3g}" if len(ends) else f"fold {fold}: none")
        title = NETS[name].label if name in NETS else name
        text = f"Losses of {title}; validation loss at the end, {', '.join(told)}"
        panels.append(
            Panel(title, text, "optimiser step", lines, axes.xticks(ticks(0, last, 4)), axes.yticks())
        )
    return panels


def histogram(values: NDArray[Any], title: str, xlabel: str) -> Panel | None:
    """Counts of `values`, whole numbers up to 30 a bar each, others in 24 bars; None of no values."""
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    whole = np.issubdtype(values.dtype, np.integer) and high <= 30
    edges = np.arange(high + 2) - 0.5 if whole else np.linspace(low - 1e-9, high + 1e-9, 25)
    counted, edges = np.histogram(values, edges)
    axes = Axes((float(edges[0]), float(edges[-1])), (0, float(counted.max()) * 1.05))
    base = axes.top(0)
    bars = "".join(
        f"M{axes.left(a) + 0.5:.1f} {base}V{axes.top(float(n))}H{axes.left(b) - 0.5:.1f}V{base}Z"
        for n, a, b in zip(counted, edges[:-1], edges[1:], strict=True)
        if n
    )
    told = f"{title}: from {low:.3g} to {high:.3g}, median {np.median(values):.3g}"
    shown = [value for value in ticks(0 if whole else low, high) if not whole or value == round(value)]
    return Panel(title, told, xlabel, [Line("bars", bars)], axes.xticks(shown), axes.yticks())


def _need(frame: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    if missing := [column for column in columns if column not in frame]:
        raise InputError(f"{name}: expected the columns {', '.join(columns)}; missing {missing[0]}")


# --- the data set ---


CONTRAST = "inside minus ring, black −1, white 1"


class DataSet(NamedTuple):
    """What is in the set of real pairs: rows of text and numbers, and histograms."""

    counts: list[tuple[str, int, int]]  # what, pairs, patients
    shares: list[str]
    quantiles: list[tuple[str, list[str]]]
    panels: list[Panel]
    empty: int  # pairs without a lesion


def data_set(pairs: Pairs, ring: float) -> DataSet:
    """Counts, quantiles and histograms; `ring` as `survey.lesions` takes it."""
    found, of_patients = survey.lesions(pairs, ring), survey.of_patients(pairs)
    measured = [
        ("Pairs of a patient", "pairs", "{:.0f}", of_patients),
        ("Area of the lesion", "% of the image", "{:.2f}", found["area"].to_numpy()),
        ("Contrast of the lesion", CONTRAST, "{:.2f}", found["contrast"].dropna().to_numpy()),
    ]
    quantiles = [
        (f"{title}, {unit}", [form.format(value) for value in np.quantile(values, survey.SHARES)])
        for title, unit, form, values in measured
        if len(values)
    ]
    panels = [histogram(values, title, unit) for title, unit, _, values in measured]
    counted = survey.counts(pairs)
    return DataSet(
        list(zip(*(counted[key].tolist() for key in ("what", "pairs", "patients")), strict=True)),
        [f"{share:.0%}" for share in survey.SHARES],
        quantiles,
        [panel for panel in panels if panel is not None],
        len(pairs) - len(found),
    )


# --- the page ---


@dataclass(frozen=True)
class Page:
    """All that a report shows."""

    profile: str
    source: str
    height: int  # pixels
    width: int
    pairs: int
    patients: int
    digest: str  # of the pairs
    level: float  # of the intervals
    findings: list[Finding]
    tables: dict[int, Shown]
    texts: list[str]  # the tables in Markdown
    figures: list[tuple[str, str]]  # caption and place of each, for Markdown
    frames: list[Frame]
    shelves: list[Shelf]
    real: list[Picture]
    private: bool  # whether slices of the data set must not be shown
    doses: list[Panel]
    curves: list[Panel]
    folds: list[int]  # of the curves
    data: DataSet
    software: str
    hardware: str
    work: str  # hours of the jobs
    networks: list[dict[str, str]]
    revisions: str
    codes: str
    settings: dict[str, dict[str, str]]


def render(name: str, page: Page) -> str:
    """The report by the template `name`; in HTML every value is escaped."""
    told = [
        (verdict, head, mark, [finding for finding in page.findings if finding.verdict == verdict])
        for verdict, (head, mark) in HEADS.items()
    ]
    box = {"wide": WIDE, "tall": TALL, "left": LEFT, "right": RIGHT, "bottom": BOTTOM}
    return rendering.render(name, page=page, told=told, box=box, hues=HUES)
