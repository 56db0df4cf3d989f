"""Put the tables of the benchmarks' results into docs/speed.md, between its marks, and draw docs/budget.png beside it.

python benchmarks/page.py
"""

import re
from typing import Any

import numpy as np
import precision
import quality as Q
import recipes
import solvers
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from pig.report.figures import GREY, HUES, STYLE

PAGE = Q.ROOT / "docs" / "speed.md"
SETS = {"phantom": "phantom", "busi64": "ultrasound"}
LEFT_OUT = "batch 32; rate 0.001; "  # few steps, and many of another guider: not to be compared with the rest
LINES = {
    "chosen": "chosen recipe",
    "guider snr 1-5, uniform; guided snr 5, uniform": "SNR weight at most 5, uniform times",
    "batch 32; rate 0.001": "chosen, but batch 32 and rate 0.001",
}
TABLES = {
    "solvers": lambda: solvers.equal_table(Q.kept("solvers")),
    "recipes": lambda: recipes.table(Q.kept("recipes"), SETS, LEFT_OUT),
    "precision": lambda: precision.rates_table(Q.kept("precision")),
}


def filled(text: str) -> str:
    """The page with each table anew, and nothing else changed."""
    for name, table in TABLES.items():
        mark = re.escape(f"<!-- {name} -->")
        text, found = re.subn(
            rf"{mark}\n+(\|[^\n]*\n)*\n*", lambda _, n=name, t=table: f"<!-- {n} -->\n\n{t()}\n\n", text
        )
        if found != 1:
            raise SystemExit(f"{PAGE}: expected the mark {name} once; found it {found} times")
    return text


def budget(cells: dict[str, Any]) -> Figure:
    """FID, KID and TRTS Dice by the images that a network saw, each seed a point; dashed: real pairs."""
    shown = {"fid": ("FID", 1), "kid": ("KID x 1000", 1), "dice": ("TRTS Dice", 100)}
    with style.context(STYLE):
        figure = Figure((8.2, 4.6), layout="constrained")
        axes = figure.subplots(len(SETS), len(shown), sharex=True)
        for row, (label, name) in zip(axes, SETS.items(), strict=True):
            for ax, (key, (title, factor)) in zip(row, shown.items(), strict=True):
                real = factor * cells[f"{label} | real"][key]
                ax.axhline(real, color=GREY, linestyle="--", linewidth=1, label="real pairs")
                for hue, (recipe, told) in zip(HUES, LINES.items(), strict=False):
                    found = seen(cells, f"{label} | {recipe} | ", key)
                    ax.plot(
                        found.keys(), [factor * np.mean(own) for own in found.values()], color=hue, label=told
                    )
                    for images, own in found.items():
                        ax.plot([images] * len(own), factor * np.array(own), "o", color=hue, markersize=3.5)
                ax.set(xscale="log", ylim=(0, 100 if key == "dice" else None), title=f"{title}, {name}")
                ax.set_xticks([5_000, 15_000, 40_000, 120_000], ["5", "15", "40", "120"])
                ax.xaxis.set_minor_formatter(NullFormatter())
        for ax in axes[-1]:
            ax.set_xlabel("thousands of images a network")
        lines = axes[0, 0].get_legend_handles_labels()
        figure.legend(*lines, loc="outside lower center", ncols=2, frameon=False)
    return figure


def seen(cells: dict[str, Any], start: str, key: str) -> dict[int, list[float]]:
    """A score by the images that a network saw, one number a training seed, of the cells whose names begin so."""
    found: dict[int, list[float]] = {}
    for name, cell in cells.items():
        if name.startswith(start):
            found.setdefault(int(name.removeprefix(start).split(" | ")[0]), []).append(cell[key])
    return dict(sorted(found.items()))


if __name__ == "__main__":
    budget(Q.kept("recipes")["cells"]).savefig(
        PAGE.with_name("budget.png"), dpi=160, metadata={"Software": None}
    )
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
