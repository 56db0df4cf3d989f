"""Put the tables of the benchmarks' results into docs/speed.md, between its marks.

python benchmarks/page.py
"""

import re

import precision
import quality as Q
import recipes
import solvers

PAGE = Q.ROOT / "docs" / "speed.md"
TABLES = {
    "solvers": lambda: solvers.equal_table(Q.kept("solvers")),
    "recipes of phantom": lambda: recipes.table(Q.kept("recipes"), "phantom"),
    "recipes of ultrasound": lambda: recipes.table(Q.kept("recipes"), "busi64"),
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


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
