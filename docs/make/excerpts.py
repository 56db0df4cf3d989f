"""`[code: pig.module.name](../pig/module.py)` on a line of its own -> that function as it stands in the source."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^\[code: pig\.(?P<name>[\w.]+)\]\((?P<link>[^)]+)\)$", re.MULTILINE)


def included(markdown: str) -> str:
    """The page with each mark followed by what it names. ValueError where there is no such function."""
    return MARK.sub(_block, markdown)


def _block(found: re.Match[str]) -> str:
    module, _, name = found["name"].rpartition(".")
    first, lines = source(module, name)
    title = f"pig/{module.replace('.', '/')}.py, from line {first}"
    return f"[`{title}`]({found['link']})\n\n```python\n{lines}\n```"


def source(module: str, name: str) -> tuple[int, str]:
    """The number of the first line, and the lines of the function, class or constant `name` but for its docstring."""
    path = ROOT / "pig" / (module.replace(".", "/") + ".py")
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        names = {getattr(target, "name", getattr(target, "id", None)) for target in targets}
        if name not in names:
            continue
        above = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(each.lineno for each in above)])
        lines = dict(enumerate(text.splitlines(), 1))
        kept = set(range(first, (node.end_lineno or first) + 1))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            kept -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        return first, "\n".join(lines[i] for i in sorted(kept))
    raise ValueError(f"{path.relative_to(ROOT)}: no function, class or constant {name}")
