"""The study's figures: arrays and tables in, a PNG out. All of matplotlib is here, in one style."""

from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from numpy.typing import NDArray

INK, SOFT, OUTLINE = "#222222", "#8a8a8a", "#ffb000"
COLOURS = {  # Okabe & Ito's, told apart by colour-blind readers
    "guider": "#0072b2",
    "guided": "#d55e00",
    "ddpm": "#009e73",
    "ddim": "#56b4e9",
    "pig": "#d55e00",
    "real": "#555555",
}
WIDTH = 9.0  # inches


def save(figure: Figure, file: IO[bytes], dpi: int) -> None:
    """Write a PNG; equal figures give equal bytes."""
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None}, facecolor="white")


def progression(t: NDArray[np.int64], x: NDArray[Any], y: NDArray[Any]) -> Figure:
    """Figure 3: x0_hat above y0_hat, each (K, B, H, W) in [-1, 1], after the steps at times t (K,)."""
    steps, pairs = x.shape[:2]
    figure, axes = _grid(2 * pairs, steps, x.shape[2:], top=0.3, left=0.55)
    for pair in range(pairs):
        for k in range(steps):
            _image(axes[2 * pair, k], x[k, pair].astype(float))
            _image(axes[2 * pair + 1, k], y[k, pair].astype(float))
        for row, name in ((2 * pair, "mask"), (2 * pair + 1, "image")):
            axes[row, 0].set_ylabel(name, fontsize=9, color=INK)
    for k in range(steps):
        axes[0, k].set_title(f"t = {t[k]}", fontsize=9, color=INK)
    return figure


def sheet(sets: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.bool_]]], columns: int) -> Figure:
    """Pairs of several sets, two rows a set: images (N, H, W) plain, and below them with the lesion's outline."""
    shape = next(iter(sets.values()))[0].shape[1:]
    figure, axes = _grid(2 * len(sets), columns, shape, left=0.55, gap=0.12)
    for i, (name, (images, masks)) in enumerate(sets.items()):
        for k in range(min(columns, len(images))):
            for row in (2 * i, 2 * i + 1):
                _image(axes[row, k], images[k], 0, 255)
            _outline(axes[2 * i + 1, k], masks[k])
        axes[2 * i, 0].set_ylabel(name, fontsize=10, color=INK)
        axes[2 * i + 1, 0].set_ylabel("outlined", fontsize=9, color=SOFT)
    return figure


def contact(
    images: NDArray[np.uint8], masks: NDArray[np.bool_], titles: Sequence[str], columns: int
) -> Figure:
    """A contact sheet of outlined images (N, H, W), each under its title."""
    rows = -(-len(images) // columns)
    figure, axes = _grid(rows, columns, images.shape[1:], top=0.25, gap=0.22)
    for axis in axes.flat[len(images) :]:
        axis.set_axis_off()
    for axis, image, mask, title in zip(axes.flat, images, masks, titles, strict=False):
        _image(axis, image, 0, 255)
        _outline(axis, mask)
        axis.set_title(title, fontsize=8, color=INK, pad=2)
    return figure


def curves(named: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """Loss curves: {network: {fold: frame with step, loss, validation}}; one panel a network."""
    figure = Figure((WIDTH, 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (net, folds) in enumerate(named.items()):
        axis = figure.add_subplot(1, len(named), i + 1)
        colour = COLOURS.get(net, INK)
        for k, frame in enumerate(folds.values()):
            style = ("-", "--", "-.", ":")[k % 4]
            axis.plot(frame["step"], frame["loss"], style, color=colour, lw=0.8, alpha=0.5)
            axis.plot(frame["step"], frame["validation"], style, color=colour, lw=1.8)
        values = pd.concat([frame[["loss", "validation"]] for frame in folds.values()]).to_numpy()
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_minor_formatter(ScalarFormatter())
        axis.set_ylim(np.nanmin(values) * 0.9, np.nanmax(values) * 1.1)
        axis.set_title(f"{net}, fold {', '.join(folds)}", fontsize=10, color=INK, loc="left")
        axis.set_xlabel("optimiser step", fontsize=9)
        if i == 0:
            axis.set_ylabel("loss", fontsize=9)
        _plain(axis)
    figure.suptitle(
        "thick: validation, held-out patients, fixed draws    thin: training", fontsize=9, color=SOFT
    )
    return figure


def fidelity_bars(table: pd.DataFrame) -> Figure:
    """Table 1: FID of each generator, the real-against-real floor as a line, the paper's numbers as marks."""
    floor = float(table.loc[table["set"] == "real", "fid"].iloc[0])
    shown = table[table["set"] != "real"]
    figure, axis = _bars(
        list(shown["method"]), list(shown["fid"]), [COLOURS.get(s, INK) for s in shown["set"]]
    )
    places = np.arange(len(shown))
    axis.axvline(floor, color=INK, lw=1.2, ls="--")
    axis.text(floor, len(shown) - 0.42, f" real against real {floor:.1f}", fontsize=8, color=INK, va="center")
    axis.plot(shown["paper_fid"], places, "D", color="white", mec=INK, ms=5, clip_on=False)
    axis.set_ylim(len(shown) - 0.3, -0.6)
    axis.set_xlim(0, max(floor, shown[["fid", "paper_fid"]].to_numpy().max()) * 1.05)
    axis.set_xlabel("FID (lower is better);  diamonds: the paper, on its private data", fontsize=9)
    return figure


def overlap_bars(table: pd.DataFrame, folds: Mapping[str, Sequence[float]]) -> Figure:
    """Table 2: Dice of each training set in percent, the folds as dots, the paper's numbers as diamonds."""
    colours = [COLOURS["real"] if s == "real" else COLOURS["pig"] for s in table["set"]]
    figure, axis = _bars(list(table["method"]), list(table["dice"]), colours)
    for place, name in enumerate(table["set"]):
        dots = list(folds[name])
        axis.plot(dots, [place] * len(dots), "o", color="white", mec=INK, ms=4, clip_on=False, zorder=3)
    axis.plot(table["paper_dice"], np.arange(len(table)), "D", color="white", mec=INK, ms=5, zorder=3)
    axis.set_ylim(len(table) - 0.4, -0.6)
    axis.set_xlim(0, 100)
    axis.set_xlabel(
        "Dice in percent (higher is better);  dots: folds,  diamonds: the paper, on its private data",
        fontsize=9,
    )
    return figure


def _bars(names: list[str], values: list[float], colours: list[str]) -> tuple[Figure, Axes]:
    figure = Figure((WIDTH * 0.75, 0.5 * len(names) + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    places = np.arange(len(names))
    axis.barh(places, values, 0.6, color=colours, alpha=0.85)
    for place, value in zip(places, values, strict=True):
        axis.annotate(
            f"{value:.1f}",
            (0, place),
            (5, 0),
            textcoords="offset points",
            fontsize=9,
            color="white",
            va="center",
        )
    axis.set_yticks(places, names, fontsize=10)
    _plain(axis)
    axis.tick_params(axis="y", length=0)
    return figure, axis


def _plain(axis: Axes) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(SOFT)
    axis.tick_params(colors=INK, labelsize=8)


def _grid(
    rows: int, columns: int, shape: tuple[int, ...], top: float = 0.05, left: float = 0.05, gap: float = 0.04
) -> tuple[Figure, NDArray[Any]]:
    """rows x columns axes for images of `shape`, margins and gaps in inches."""
    wide = (WIDTH - left - 0.05 - 0.04 * (columns - 1)) / columns
    high = wide * shape[0] / shape[1]
    height = rows * high + gap * (rows - 1) + top + 0.05
    figure = Figure((WIDTH, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=left / WIDTH,
        right=1 - 0.05 / WIDTH,
        top=1 - top / height,
        bottom=0.05 / height,
        wspace=0.04 / wide,
        hspace=gap / high,
    )
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure, axes


def _image(axis: Axes, pixels: NDArray[Any], low: float = -1, high: float = 1) -> None:
    axis.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest", aspect="auto")


def _outline(axis: Axes, mask: NDArray[np.bool_]) -> None:
    """The border of a mask, drawn along the edges of its pixels."""
    padded = np.pad(mask, 1)
    for i, j in np.argwhere(padded[1:, :] != padded[:-1, :]):
        axis.plot([j - 1.5, j - 0.5], [i - 0.5, i - 0.5], color=OUTLINE, lw=1, solid_capstyle="round")
    for i, j in np.argwhere(padded[:, 1:] != padded[:, :-1]):
        axis.plot([j - 0.5, j - 0.5], [i - 1.5, i - 0.5], color=OUTLINE, lw=1, solid_capstyle="round")
