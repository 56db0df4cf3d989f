"""Put the tables of the benchmarks' results into docs/speed.md, between its marks, and draw docs/budget.png beside it.

python benchmarks/page.py
"""

import re
from typing import Any

import precision
import quality as Q
import recipes
import solvers
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from pig.report.figures import GREY, HUES, STYLE

PAGE = Q.ROOT / "docs" / "speed.md"
SETS = {"phantom": "phantom", "busi64": "ultrasound"}
LEFT_OUT = "batch 32; rate 0.001; "  # tried where half of the steps were too few to tell
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
                ax.axhline(
                    factor * cells[f"{label} | real"][key],
                    color=GREY,
                    linestyle="--",
                    linewidth=1,
                    label="real pairs",
                )
                for hue, (recipe, told) in zip(HUES, LINES.items(), strict=False):
                    found: dict[int, list[float]] = {}
                    for cell, one in cells.items():
                        if cell.startswith(f"{label} | {recipe} | "):
                            found.setdefault(int(cell.split(" | ")[2]), []).append(factor * one[key])
                    seen = sorted(found)
                    ax.plot(seen, [sum(found[n]) / len(found[n]) for n in seen], color=hue, label=told)
                    for n in seen:
                        ax.plot([n] * len(found[n]), found[n], "o", color=hue, markersize=3.5)
                ax.set_xscale("log")
                ax.set_ylim(0, 100 if key == "dice" else None)
                ax.set_title(f"{title}, {name}")
                ax.set_xticks([5_000, 15_000, 40_000, 120_000])
                ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n / 1000:.0f}"))
                ax.xaxis.set_minor_formatter(NullFormatter())
        for ax in axes[-1]:
            ax.set_xlabel("thousands of images a network")
        figure.legend(
            *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
        )
    return figure


if __name__ == "__main__":
    budget(Q.kept("recipes")["cells"]).savefig(
        PAGE.with_name("budget.png"), dpi=160, metadata={"Software": None}
    )
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
