"""Every picture of the reports: values in, a matplotlib Figure out, no state left behind.

Lengths are in inches, sized to be read at the width of a README. Images are (N, H, W), grey 0..255, always shown on
that scale; masks, (N, H, W) bool, are outlined along the edges of their pixels. Equal input gives equal bytes.
"""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.data.pairs import Pairs
from pig.models.table import NETS
from pig.report.formats import SPAN
from pig.report.tables import LEAK, OVERLAP

WIDTH, GAP, EDGE = 8.2, 0.05, 0.05  # of a figure, between two images, around all of them
INK, GREY, PALE = "#222222", "#767676", "#DDDDDD"
OURS, RIVAL, PAPER, OUTLINE = "#0072B2", "#A9BCC9", "#D55E00", "#FFB000"
# After Okabe and Ito, safe for all eyes.
HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6D00", "#56B4E9")
VARIED = "-varied"  # ends the names of methods that are given varied masks
CONTROLS = ("duplicated", "augmented")
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "lines.solid_capstyle": "round",
}
UNTOLD = ("Creator", "Date", "Format", "Type")  # that matplotlib writes into SVG
PRIVATE = "the paper's number, on other, private data: not comparable"
ON_A_PAGE = {INK: "currentColor", GREY: "var(--soft)", PALE: "var(--pale)"}  # what takes a page's colours
ON_A_PAGE |= {hue: f"var(--hue{i})" for i, hue in enumerate(HUES)}
Bytes: TypeAlias = NDArray[np.uint8]
Bools: TypeAlias = NDArray[np.bool_]
Row: TypeAlias = tuple[str, float, NDArray[Any], Bools | None]  # label, space above, images, outlines


@contextmanager
def _styled() -> Iterator[None]:
    """matplotlib's defaults and STYLE within the block, whatever the user's own settings."""
    with matplotlib.rc_context(), style.context(["default", STYLE]):
        yield


def to_png(figure: Figure, dpi: int) -> bytes:
    """The figure as PNG; neither a date nor a version is in it."""
    with _styled(), io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
        return file.getvalue()


class Panel(NamedTuple):
    """A part of a figure for a page; `told` says what it shows to those who hear the page."""

    title: str
    told: str
    box: str  # viewBox of the SVG
    svg: str  # what is in it


def panels(figure: Figure, name: str) -> list[Panel]:
    """Each axes of a figure as SVG of one size, without title and labels; nothing else of the figure is left.

    Text stays text, and colours are the page's. `name` begins the ids, which must differ within a page. What is text
    in the figure is escaped in the SVG.
    """
    with _styled(), matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        grid = figure.axes[0].get_gridspec()
        figure.set_figwidth(WIDTH / 3 * (grid.ncols if grid else 1))  # one axes is no wider than one of three
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        shown = [axes for axes in figure.axes if axes.axison]
        words = [(axes.get_title(loc="left") or axes.get_xlabel(), str(axes.get_label())) for axes in shown]
        for part in figure.get_children():
            part.set_visible(part in shown)
        for axes in shown:
            axes.set(xlabel="", ylabel="")
            axes.set_title("", loc="left")
            axes.tick_params(labelbottom=True, labelleft=True)
            axes.patch.set_visible(False)
        places = [axes.get_window_extent() for axes in shown]
        around = [axes.get_tightbbox() or at for axes, at in zip(shown, places, strict=True)]
        room = Bbox.union([of.translated(-at.x0, -at.y0) for of, at in zip(around, places, strict=True)])
        made = []
        for i, (axes, at) in enumerate(zip(shown, places, strict=True)):
            for other in shown:
                other.set_visible(other is axes)
            box = room.translated(at.x0, at.y0).transformed(figure.dpi_scale_trans.inverted())
            with io.StringIO() as file:
                figure.savefig(file, format="svg", bbox_inches=box, metadata=dict.fromkeys(UNTOLD))
                made.append(Panel(*words[i], *_for_a_page(file.getvalue(), f"{name}{i}-")))
        return made


def _for_a_page(svg: str, name: str) -> tuple[str, str]:
    """viewBox and content of an SVG file of matplotlib: shorter, its ids named, its colours those of the page."""
    ((box, content),) = re.findall(r'viewBox="(.*?)".*?</style>\s*</defs>(.*)</svg>', svg, flags=re.DOTALL)

    def shorter(tag: re.Match[str]) -> str:
        text = re.sub(r'(?<=<g) id=".*?"| transform="rotate\(-0 .*?"', "", tag[0])
        text = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', name, text)
        text = re.sub("#[0-9a-f]{6}", lambda hue: ON_A_PAGE.get(hue[0].upper(), hue[0]), text)
        return re.sub(r"\d+\.\d\d+", lambda number: f"{float(number[0]):.2f}", text)

    return box, " ".join(re.sub("<[^>]*>", shorter, content).split())


# --- images ---


def outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Edges between lesion and background pixels of `mask`, (H, W), as segments (S, 2, 2) of (x, y).

    Pixel (i, j) reaches from j - 1/2 to j + 1/2 in x, as imshow draws it; outside the image is background.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    i, j = np.nonzero(np.diff(padded, axis=1)[1:-1])
    upright = np.stack([np.stack([j - 0.5, i - 0.5], 1), np.stack([j - 0.5, i + 0.5], 1)], 1)
    i, j = np.nonzero(np.diff(padded, axis=0)[:, 1:-1])
    level = np.stack([np.stack([j - 0.5, i - 0.5], 1), np.stack([j + 0.5, i - 0.5], 1)], 1)
    return np.concatenate([upright, level])


def _sheet(rows: Sequence[Row]) -> tuple[Figure, list[list[Axes]]]:
    """Rows of images with a label at their left; as wide as the longest row."""
    columns = max(len(images) for _, _, images, _ in rows)
    height, width = rows[0][2].shape[1:]
    longest = max(len(re.sub(r"\$.*\$", "x", line)) for label, *_ in rows for line in label.split("\n"))
    left = 0.25 + 0.068 * longest if longest else EDGE
    cell = min((WIDTH - EDGE - left - GAP * (columns - 1)) / columns, 1.6)
    tall = cell * height / width
    total = sum(above for _, above, _, _ in rows) + tall * len(rows) + EDGE
    figure = Figure(figsize=(WIDTH, total), facecolor="white")
    grid, y = [], total
    for label, above, images, masks in rows:
        y -= above + tall
        figure.text(
            (left - 0.12) / WIDTH, (y + tall / 2) / total, label, ha="right", va="center", linespacing=1.4
        )
        axes = []
        for column, image in enumerate(images):
            box = ((left + column * (cell + GAP)) / WIDTH, y / total, cell / WIDTH, tall / total)
            axes.append(_show(figure.add_axes(box), image, None if masks is None else masks[column]))
        grid.append(axes)
    return figure, grid


def _show(axes: Axes, image: NDArray[Any], mask: NDArray[np.bool_] | None) -> Axes:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    if mask is not None:
        axes.add_collection(
            LineCollection(list(outline(mask)), colors=OUTLINE, linewidths=1, capstyle="projecting")
        )
    return axes


def progression(t: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any]) -> Figure:
    """Figure 3: x0_hat above y0_hat of B pairs after K steps, from noise on the left to the result on the right.

    Args:
        t: (K,) the times that the estimates were made at.
        x, y: (K, B, H, W) in [-1, 1].
    """
    check_frames(t, x, y)
    grey_x, grey_y = ((np.clip(part.astype(np.float32), -1, 1) + 1) * 127.5 for part in (x, y))
    rows: list[Row] = []
    for pair in range(x.shape[1]):
        rows.append(("mask\n$\\hat x_0$", 0.12 if pair else 0.3, grey_x[:, pair], None))
        rows.append(("slice\n$\\hat y_0$", GAP, grey_y[:, pair], None))
    with _styled():
        figure, grid = _sheet(rows)
        for axes, time in zip(grid[0], t, strict=True):
            axes.set_title(f"$t$ = {time}", fontsize=8.5, loc="center", pad=4)
        return figure


def check_frames(t: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> None:
    """Raise InputError unless t is (K,) of whole numbers, x and y (K, B, H, W) of others, and none is empty."""
    fit = t.ndim == 1 and x.ndim == 4 and x.shape == y.shape and len(t) == len(x) and min(x.shape) > 0
    kinds = ((t, np.integer), (x, np.floating), (y, np.floating))
    if not (fit and all(np.issubdtype(of.dtype, kind) for of, kind in kinds)):
        found = ", ".join(f"{of.shape} {of.dtype}" for of in (t, x, y))
        raise InputError(f"frames: expected whole t (K,), numbers x and y (K, B, H, W); found {found}")


def pairs(real: Pairs, generated: Mapping[str, Pairs], columns: int = 4) -> Figure:
    """Real pairs above the generated ones of each method, each slice plain and with its lesion's outline.

    Few columns make large slices, which matplotlib does not smooth: it smooths what it enlarges less than three times.
    The real ones are evenly spaced over the data set, the generated ones the first: none is picked by hand.

    Args:
        generated: label of a method -> its pairs.
    """
    rows: list[Row] = []
    for label, source in [("Real", real), *generated.items()]:
        if source.images.shape[1:] != real.images.shape[1:]:
            sizes = f"{real.images.shape[1:]} and {source.images.shape[1:]}"
            raise InputError(f"figure pairs: expected images of one size; found {sizes}")
        chosen = every(len(real), columns) if source is real else np.arange(min(columns, len(source)))
        part = source.select(chosen)
        rows.append((label, 0.16 if rows else EDGE, part.images, None))
        rows.append(("with lesion", GAP, part.images, part.masks))
    with _styled():
        return _sheet(rows)[0]


def copies(real: Pairs, generated: Pairs, found: pd.DataFrame, columns: int = 10) -> Figure:
    """The generated pairs that come closest to a training pair, the closest first, each above that neighbour.

    Args:
        real: the pairs that the neighbours are among.
        generated: pairs, of any folds.
        found: a row a pair of `generated` with the columns id, joint (its distance) and joint_of (its neighbour's id).

    Raises:
        InputError: a pair or neighbour that is not there.
    """
    chosen = closest(found, columns)
    if chosen.empty:
        raise InputError("figure copies: expected pairs with a nearest neighbour; found none")
    parts = []
    for source, ids in ((generated, chosen["id"]), (real, chosen["joint_of"])):
        rows_of = places(source, ids)
        parts.append((source.images[rows_of], None if source.masks is None else source.masks[rows_of]))
    rows: list[Row] = []
    for label, (images, masks) in zip(("generated", "nearest\ntraining pair"), parts, strict=True):
        rows.append((label, 0.16 if rows else 0.3, images, None))
        rows.append(("with lesion", GAP, images, masks))
    with _styled():
        figure, grid = _sheet(rows)
        for axes, distance in zip(grid[0], chosen["joint"], strict=True):
            axes.set_title(f"{distance:.2f}", fontsize=8.5, loc="center", pad=4)
        return figure


def closest(found: pd.DataFrame, number: int) -> pd.DataFrame:
    """The `number` rows of `found`, as of `copies`, that come closest to a training pair, the closest first."""
    return found.dropna(subset=["joint"]).sort_values(["joint", "id"]).head(number)


def places(pairs: Pairs, ids: Iterable[str]) -> list[int]:
    """The rows of `ids` in `pairs`; two may be the same. Raises InputError for an id that is not there."""
    place = {name: row for row, name in enumerate(pairs.table["id"])}
    if lost := [name for name in ids if name not in place]:
        raise InputError(f"copies: expected {lost[0]} among the pairs")
    return [place[name] for name in ids]


def data(source: Pairs, columns: int) -> Figure:
    """A contact sheet of the data set: one column a patient, one row a view, the middle slice with its lesion.

    Columns are numbered by the patient's place among the patients: reports name no patient.
    """
    table = source.table
    views = sorted(table["view"].unique())
    patients = table["patient"].unique()
    bands = min(max(1, 4 // len(views)), -(-len(patients) // columns))
    chosen = every(len(patients), columns * bands)
    rows: list[Row] = []
    heads: dict[int, NDArray[np.int64]] = {}
    for band in range(bands):
        places = chosen[band * columns : (band + 1) * columns]
        heads[len(rows)] = places
        for view in views:
            found = [
                np.flatnonzero((table["patient"] == name) & (table["view"] == view))
                for name in patients[places]
            ]
            middle = [int(slices[len(slices) // 2]) if len(slices) else -1 for slices in found]
            images = np.stack(
                [source.images[i] if i >= 0 else np.full_like(source.images[0], 255) for i in middle]
            )
            masks = None
            if source.masks is not None:
                masks = np.stack(
                    [source.masks[i] if i >= 0 else np.zeros_like(source.masks[0]) for i in middle]
                )
            rows.append((view, 0.28 if view == views[0] else GAP, images, masks))
    with _styled():
        figure, grid = _sheet(rows)
        for row, places in heads.items():
            for axes, place in zip(grid[row], places, strict=True):
                axes.set_title(f"patient {place + 1}", fontsize=7.5, color=GREY, loc="center", pad=3)
        return figure


class Steps(NamedTuple):
    """A slice on its way into an archive; sizes differ from one to the next.

    stored: the file's values (H, W); lesion: (H, W) bool; box: rows and columns that are kept, in pixels of stored;
    cropped: grey 0..255, what the box holds; image and mask: what the archive holds.
    """

    stored: NDArray[Any]
    lesion: Bools
    box: tuple[slice, slice]
    cropped: Bytes
    image: Bytes
    mask: Bools


def before_after(slices: Sequence[Steps]) -> Figure:
    """How slices came into an archive, a column each: as stored between its extremes, windowed and cropped, resized."""
    labels = ("as stored, with\nlesion and crop", "windowed,\ncropped", "resized", "with lesion")
    left = 1.15
    cell = min((WIDTH - EDGE - left) / len(slices) - GAP, 1.6)
    total = EDGE + len(labels) * (cell + GAP)
    bottoms = [total - EDGE - cell - row * (cell + GAP) for row in range(len(labels))]
    with _styled():
        figure = Figure(figsize=(WIDTH, total), facecolor="white")
        for label, y in zip(labels, bottoms, strict=True):
            figure.text((left - 0.12) / WIDTH, (y + cell / 2) / total, label, ha="right", va="center")
        for column, each in enumerate(slices):
            low, high = each.stored.min(), each.stored.max()
            stored = 255 * (each.stored - low) / max(high - low, 1e-9)
            parts = ((stored, each.lesion), (each.cropped, None), (each.image, None), (each.image, each.mask))
            x = (left + column * (cell + GAP)) / WIDTH
            drawn = [
                _show(figure.add_axes((x, y / total, cell / WIDTH, cell / total)), image, mask)
                for y, (image, mask) in zip(bottoms, parts, strict=True)
            ]
            drawn[0].add_patch(_frame(*each.box))
        return figure


def _frame(rows: slice, columns: slice) -> Rectangle:
    """A thin line around rows and columns of an image."""
    corner = (columns.start - 0.5, rows.start - 0.5)
    width, height = columns.stop - columns.start, rows.stop - rows.start
    return Rectangle(corner, width, height, fill=False, edgecolor=RIVAL, linewidth=0.8, clip_on=False)


def survey(of_patients: NDArray[np.int64], lesions: pd.DataFrame) -> Figure:
    """Three histograms: pairs of a patient, and areas and contrasts of lesions.

    Args:
        of_patients: (P,) pairs of each patient.
        lesions: the columns area, percent of the image, and contrast, a row a lesion.
    """
    panels = [
        (of_patients, "pairs of a patient", "patients"),
        (lesions["area"].to_numpy(), "lesion, % of the image", "pairs"),
        (lesions["contrast"].dropna().to_numpy(), "contrast of the lesion", "pairs"),
    ]
    with _styled():
        figure = Figure(figsize=(WIDTH, 2.3), layout="constrained", facecolor="white")
        for axes, (values, label, what) in zip(figure.subplots(1, 3), panels, strict=True):
            low, middle, high = np.quantile(values, (0, 0.5, 1)) if len(values) else (0, np.nan, 1)
            whole = np.issubdtype(values.dtype, np.integer) and high <= 30
            edges = np.arange(high + 2) - 0.5 if whole else np.linspace(low - 1e-3, high + 1e-3, 31)
            axes.hist(values, edges, color=OURS, linewidth=0)
            axes.set_xlabel(label)
            axes.set_ylabel(what)
            axes.set_label(f"{label}: from {low:.3g} to {high:.3g}, median {middle:.3g}")
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            if whole:
                axes.set_xlim(0.4, high + 0.6)
                axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return figure


def every(n: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` of 0..n-1, evenly spaced: none is picked by hand."""
    return np.unique(np.linspace(0, n - 1, min(n, wanted)).round().astype(np.int64))


# --- curves ---


def curves(named: Mapping[str, Mapping[int, pd.DataFrame]]) -> Figure:
    """Loss curves, one panel a network, one hue a fold: training thin, validation bold.

    Args:
        named: network -> fold -> frame with the columns step, loss and validation.
    """
    with _styled():
        columns = min(3, len(named))
        lines = -(-len(named) // columns)
        figure = Figure(figsize=(WIDTH, 0.25 + 2.35 * lines), layout="constrained", facecolor="white")
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        ordered = sorted(
            named, key=lambda name: (list(NETS).index(name) if name in NETS else len(NETS), name)
        )
        for axes, name in zip(grid, ordered, strict=False):
            _panel(axes, NETS[name].label if name in NETS else name, named[name])
        for axes in grid[len(named) :]:
            axes.set_axis_off()
        grid[0].set_ylabel("loss")
        figure.supxlabel("optimiser step      (thin: training, bold: validation)", fontsize=8.5)
        return figure


def _panel(axes: Axes, title: str, folds: Mapping[int, pd.DataFrame]) -> None:
    axes.set_title(title)
    axes.set_yscale("log")
    ends = []
    for number, (fold, frame) in enumerate(sorted(folds.items())):
        hue = HUES[number % len(HUES)]
        axes.plot(frame["step"], frame["loss"], color=hue, linewidth=0.8, alpha=0.75)
        axes.plot(frame["step"], frame["validation"], color=hue, linewidth=2.2)
        last = frame["validation"].dropna()
        ends.append((float(last.iloc[-1] if len(last) else frame["loss"].iloc[-1]), f"fold {fold}", hue))
    right = max(float(frame["step"].iloc[-1]) for frame in folds.values())
    axes.set_xlim(0, right)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    told = ", ".join(f"{label}: {value:.3g}" for value, label, _ in ends)
    axes.set_label(f"Losses of {title}; validation loss at the end, {told}")
    ends.sort()
    low, high = np.log(axes.get_ylim())
    places = spread([(np.log(value) - low) / (high - low) for value, _, _ in ends], 0.075)
    up = max(0.0, 0.04 - places[0])  # clear of the ticks' labels
    for place, (_, label, hue) in zip(places, ends, strict=True):
        axes.text(1.02, place + up, label, transform=axes.transAxes, color=hue, va="center", fontsize=7.5)


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Ascending `values` moved apart to at least `gap`, no further than needed, each group around its mean."""
    groups = [[value] for value in values]
    merged = True
    while merged:
        merged = False
        for i in range(len(groups) - 1):
            lower, upper = groups[i], groups[i + 1]
            reach = (len(lower) + len(upper)) * gap / 2
            if np.mean(upper) - np.mean(lower) < reach - 1e-12:
                groups[i : i + 2] = [lower + upper]
                merged = True
                break
    return [
        float(np.mean(group)) + (k - (len(group) - 1) / 2) * gap
        for group in groups
        for k in range(len(group))
    ]


# --- tables ---


def table1(frame: pd.DataFrame) -> Figure:
    """Table 1 as bars: FID and KID of each method with their intervals, the floor as a line, the paper's FID as a mark.

    Args:
        frame: the csv of `pig tables 1`.
    """
    keys = {"fid": "FID, lower is better", "kid_x1000": "KID × 1000, lower is better"}
    if not (frame["row"] == "real").any():
        raise InputError("table 1: expected the row real, the floor")
    floor = frame[frame["row"] == "real"].iloc[0]
    rows = frame[frame["row"] != "real"]
    look = _look(rows["row"])
    with _styled():
        figure = Figure(figsize=(WIDTH, 1.2 + 0.42 * len(rows)), layout="constrained", facecolor="white")
        for axes, (key, title) in zip(figure.subplots(1, 2, sharey=True), keys.items(), strict=True):
            marks = [floor[key], *(rows["paper_fid"].dropna() if key == "fid" else [])]
            _bars(axes, title, rows["method"], rows, key, marks, look)
            _floor(axes, floor[key])
        _legend(figure, [_whiskers(), *_paper(figure.axes[0], rows["paper_fid"])])
        return figure


def table2(frame: pd.DataFrame) -> Figure:
    """Table 2 as bars: four overlap scores of each training set with their intervals, the paper's as marks.

    Of the rows that the paper does not have, those of the middle dose are shown; `doses` shows all.

    Args:
        frame: the csv of `pig tables 2`.
    """
    doses = sorted(set(frame["dose"]) - {0})
    middle = doses[len(doses) // 2] if doses else 0
    frame = frame[frame["dose"].isin([0, middle]) | frame["paper_dice"].notna()]
    look = _look(frame["set"])
    with _styled():
        figure = Figure(figsize=(WIDTH, 1.0 + 0.42 * len(frame)), layout="constrained", facecolor="white")
        for axes, (metric, label) in zip(figure.subplots(1, 4, sharey=True), OVERLAP.items(), strict=True):
            theirs = frame[f"paper_{metric}"]
            _bars(axes, f"{label}, %", frame["training_set"], frame, metric, theirs.dropna(), look)
            marks = _paper(axes, theirs)
        _legend(figure, [_whiskers(), *marks])
        return figure


def doses(frame: pd.DataFrame) -> Figure:
    """Dice against the number of added pairs, a panel a set: bold the mean in its interval's band, pale the others.

    Lines begin at the real pairs alone; a method with varied masks is dashed, in the panel of the same with given ones.

    Args:
        frame: the csv of `pig tables 2`.
    """
    alone = frame[frame["set"] == "real"]
    grouped = frame[frame["dose"] > 0].groupby("set", sort=False)
    parts = {str(name): pd.concat([alone, part.sort_values("dose")]) for name, part in grouped}
    if not parts:
        raise InputError("table 2: expected rows with pairs added to the real ones; found none")
    panels = list(dict.fromkeys(name.removesuffix(VARIED) for name in parts))
    with _styled():
        columns = min(3, len(panels))
        lines = -(-len(panels) // columns)
        figure = Figure(figsize=(WIDTH, 0.6 + 2.1 * lines), layout="constrained", facecolor="white")
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, plain in zip(grid, panels, strict=False):
            mine = [name for name in (plain, plain + VARIED) if name in parts]
            hue = OURS if plain == "pig" else GREY if plain in CONTROLS or plain.endswith(LEAK) else PAPER
            for name in (name for name in parts if name not in mine):  # a set would draw in any order
                axes.plot(parts[name]["dose"], parts[name]["dice"], color=PALE, linewidth=1, zorder=1)
            for name in mine:
                part = parts[name]
                style = "-" if name == plain else (0, (3, 1.5))
                if name == plain or plain not in parts:
                    ends = (part["dice_low"], part["dice_high"])
                    axes.fill_between(part["dose"], *ends, color=hue, alpha=0.15, linewidth=0)
                axes.plot(part["dose"], part["dice"], color=hue, linewidth=2.2, linestyle=style)
            for value in alone["dice"]:
                axes.axhline(value, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)))
            axes.set_title(str(parts[mine[0]]["added"].iloc[-1]).split(",")[0])
            axes.set_label("; ".join(_points(parts[name]) for name in mine))
            axes.set_xticks(sorted({x for part in parts.values() for x in part["dose"]}))
            axes.grid(axis="y", color=PALE, linewidth=0.4)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[: len(panels)][-columns:]:  # the last of each column
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("pairs added to the real ones")
        for axes in grid[::columns]:
            axes.set_ylabel("Dice, %")
        marks = [
            Line2D([], [], color=INK, linewidth=2.2, label="mean of the folds"),
            Line2D([], [], color=INK, linewidth=7, alpha=0.15, label="its interval, over patients"),
            Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), label="real pairs alone"),
            Line2D([], [], color=PALE, linewidth=1, label="the others"),
        ]
        if any(name.endswith(VARIED) for name in parts):
            varied = Line2D([], [], color=INK, linewidth=2.2, linestyle=(0, (3, 1.5)), label="varied masks")
            marks.insert(1, varied)
        _legend(figure, marks)
        return figure


def _points(part: pd.DataFrame) -> str:
    """A line of `doses` in words."""
    points = zip(part["dice"], part["dose"], strict=True)
    label = part["added"].iloc[-1]
    return f"Dice with {label}: " + ", ".join(f"{dice:.1f} with {dose:.0f} pairs" for dice, dose in points)


def _look(sets: pd.Series) -> list[dict[str, Any]]:
    """How the bar of each set is drawn: PIG's in its own hue, a leak's as an outline, since it is no result."""
    leak = {"facecolor": "white", "edgecolor": RIVAL, "linestyle": (0, (2, 1))}
    return [leak if name.endswith(LEAK) else {"facecolor": OURS if name == "pig" else RIVAL} for name in sets]


def _bars(
    axes: Axes, title: str, labels: Any, rows: pd.DataFrame, key: str, marks: Any, look: list[dict[str, Any]]
) -> None:
    """Horizontal bars of `key`, the first at the top, each with its interval and number; `marks` are in sight too."""
    places = np.arange(len(rows))
    values, low, high = (rows[f"{key}{end}"].to_numpy(float) for end in SPAN)
    axes.set_title(title)
    for place, value, drawn in zip(places, values, look, strict=True):
        axes.barh(place, value, height=0.42, **drawn)
    reach = np.clip(np.stack([values - low, high - values]), 0, None)  # an interval may lie beside its mean
    axes.errorbar(values, places, xerr=np.nan_to_num(reach), fmt="none", ecolor=INK, elinewidth=0.9)
    ends = np.fmax(values, high)
    for place, value, end in zip(places, values, ends, strict=True):
        axes.annotate(f"{value:.1f}", (max(0, end), place), (4, 0), textcoords="offset points", va="center")
    axes.set_yticks(places, labels)
    axes.set_ylim(len(values) - 0.4, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    low_end = min([0, *values, *np.nan_to_num(low), *marks])  # a KID can be negative
    axes.set_xlim(1.1 * low_end, max(1.28 * max(ends), 1.1 * max([0, *marks]), 1e-9))


def _whiskers() -> Line2D:
    return Line2D([], [], color=INK, linewidth=0.9, label="interval, of which the table tells")


def _floor(axes: Axes, value: float) -> None:
    """A line over all bars, named above them on the side where there is room."""
    axes.set_ylim(top=-0.85)
    axes.axvline(value, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    side, shift = ("left", 5) if value < 0.7 * axes.get_xlim()[1] else ("right", -5)
    axes.annotate(
        f"floor, real slices: {value:.1f}",
        (value, -0.82),
        (shift, 0),
        textcoords="offset points",
        ha=side,
        va="top",
        fontsize=7.5,
    )


def _paper(axes: Axes, values: Any) -> list[Line2D]:
    """The paper's number of each row, a hollow mark under the row's bar."""
    look: dict[str, Any] = {"color": PAPER, "markerfacecolor": "white", "markersize": 4, "clip_on": False}
    return axes.plot(values, np.arange(len(values)) + 0.36, "D", label=PRIVATE, **look)


def _legend(figure: Figure, marks: list[Line2D]) -> None:
    figure.legend(handles=marks, loc="outside lower left", ncols=len(marks), frameon=False, fontsize=7.5)
