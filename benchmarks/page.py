"""Put the results of the benchmarks and of two studies into docs/speed.md, and draw docs/budget.png beside it.

python benchmarks/page.py

Tables stand between their marks. The studies' numbers are those of reports/hour and reports/busi64.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
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
STUDIES = {"phantom": "hour", "busi64": "busi64"}  # the folder of reports/ that has longer training on a set
LEFT_OUT = "batch 32; rate 0.001; "  # few steps, and many of another guider: not to be compared with the rest
LINES = {
    "chosen": "chosen recipe",
    "guider snr 1-5, uniform; guided snr 5, uniform": "SNR weight at most 5, uniform times",
    "batch 32; rate 0.001": "chosen, but batch 32 and rate 0.001",
}
GENERATED = {  # of the tables of a study: the file, its column, the head, and the digits shown
    ("table1", "fid"): ("FID", 0),
    ("table1", "kid_x1000"): ("KID x 1000", 0),
    ("table1", "crop_fid"): ("lesion crops: FID", 0),
    ("table3", "trts"): ("TRTS Dice", 0),
    ("table3", "tstr"): ("TSTR Dice", 0),
    ("table3", "contrast"): ("contrast, %", 0),
    ("pairing", "area_to_real"): ("area, %", 0),
    ("table3", "one_component"): ("one piece, %", 1),
    ("table3", "empty"): ("empty, %", 1),
    ("table4", "image_share"): ("copied slices, %", 1),
    ("table4", "joint_share"): ("copied pairs, %", 1),
}


def studied(label: str) -> dict[str, dict[tuple[str, str], float]]:
    """Of the study on a set: the numbers of GENERATED, of real pairs and of PIG's; and the images a network saw."""
    folder = Q.ROOT / "reports" / STUDIES[label]
    names = ("table1", "table3", "table4", "table5", "pairing")
    tables = {name: pd.read_csv(folder / f"{name}.csv", index_col=0) for name in names}

    def number(row: str, name: str, column: str) -> float:
        if name == "pairing":  # has folds apart, and shares
            return 100 * tables[name].loc[f"fold0/{row}", column]
        return tables[name].loc[row, column]

    found = {row: {key: number(row, *key) for key in GENERATED} for row in ("real", "pig")}
    found["pig"]["table5", "seen"] = number("pig", "table5", "seen") / 2  # of two networks
    return found


def studies_table() -> str:
    """Markdown: real and generated pairs of the studies."""
    head = ["study", "pairs", "images a network", *(name for name, _ in GENERATED.values())]
    lines = []
    for label, name in SETS.items():
        for row, found in studied(label).items():
            seen = f"{found['table5', 'seen']:,.0f}" if row == "pig" else ""
            numbers = (f"{found[key]:.{digits}f}" for key, (_, digits) in GENERATED.items())
            lines.append([f"`{STUDIES[label]}`, {name}", row, seen, *numbers])
    return Q.markdown(head, lines)


TABLES = {
    "studies": studies_table,
    "solvers": lambda: solvers.equal_table(Q.kept("solvers")),
    "noise": lambda: solvers.equal_table(Q.kept("solvers"), noise=True),
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
    """FID, KID and TRTS Dice by the images that a network saw, each seed a point; dashed: real pairs; star: a study."""
    shown = {"fid": ("FID", 1), "kid": ("KID x 1000", 1), "dice": ("TRTS Dice", 100)}
    columns = {"fid": ("table1", "fid"), "kid": ("table1", "kid_x1000"), "dice": ("table3", "trts")}
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
                study = studied(label)["pig"]
                ax.plot(
                    study["table5", "seen"], study[columns[key]], "*", color=HUES[0], label="a whole study"
                )
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
