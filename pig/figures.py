"""Every picture of the reports: values in, a matplotlib Figure out, without a global state.

Widths are in inches, sized to be read at the width of a README. Images are (N, H, W), grey 0..255, always shown on that
scale; masks (N, H, W) bool are outlined along the edges of their pixels. Equal input gives equal bytes.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from pig.errors import InputError
from pig.pairs import Bools, Bytes, Pairs

WIDTH = 8.2  # inches
INK, GREY, PALE = "#222222", "#767676", "#D9D9D9"
OURS = "#0072B2"
OUTLINE = "#FFB000"
HUES = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#8C6D00",
    "#56B4E9",
)  # Okabe and Ito's, told apart by all
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
}


@contextmanager
def _styled() -> Iterator[None]:
    """matplotlib's defaults and STYLE, whatever the user's own settings, and only within the block."""
    with matplotlib.rc_context(), styles.context(["default", STYLE]):
        yield


def to_png(figure: Figure, dpi: int) -> bytes:
    """The figure as PNG, without a date or a version in it."""
    with _styled(), io.BytesIO() as file:
        FigureCanvasAgg(figure).print_png(
            file, metadata={"Software": None}, dpi=dpi
        ) if False else figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
        return file.getvalue()
