"""The table of results of README.md, from reports/: `.venv/bin/python docs/make/readme.py` writes it anew."""

import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
STUDIES = {"phantom": "reports", "ultrasound": "reports/busi"}
MARK = "[the results](../reports/table1.md)"  # where a page of docs/ has the table
BLOCK = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)


def table(root: Path = ROOT) -> str:
    """FID, and Dice with the middle dose of generated pairs, of every method in both studies, with their intervals."""
    studies = {name: _read(root / folder) for name, folder in STUDIES.items()}
    doses = {found[1].loc[found[1]["set"] == "pig", "dose"].median() for found in studies.values()}
    (dose,) = doses  # one heading for both
    head = [""]
    for name in studies:
        head += [f"{name}: FID ↓", f"{name}: Dice, {dose:.0f} pairs added ↑"]
    lines = [_row(head), _row([":--", *["--:"] * (len(head) - 1)])]
    first = next(iter(studies.values()))[0]
    for key, method in zip(first["row"], first["method"], strict=True):
        cells = ["real slices alone" if key == "real" else method]
        for fidelity, dice in studies.values():
            scored = fidelity[fidelity["row"] == key]
            segmented = dice[(dice["set"] == key) & (dice["dose"] == (0 if key == "real" else dose))]
            cells += [_cell(scored, "fid"), _cell(segmented, "dice")]
        lines.append(_row([f"**{cells[0]}**", *cells[1:]] if key == "pig" else cells))
    return "\n".join(lines) + "\n"


def _read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(folder / "table1.csv"), pd.read_csv(folder / "table2.csv", keep_default_na=False)


def _cell(rows: pd.DataFrame, score: str) -> str:
    if rows.empty:
        return "–"
    (found,) = rows.to_dict("records")
    value, low, high = (f"{float(found[f'{score}{end}']):.1f}" for end in ("", "_low", "_high"))
    mark = str(found.get("mark", "")).replace("†", "").replace("*", "\\*")
    return f"{value} [{low}, {high}]{mark}"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    page = ROOT / "README.md"
    old = page.read_text(encoding="utf-8")
    page.write_text(BLOCK.sub(lambda _: table(), old), encoding="utf-8")
