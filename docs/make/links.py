"""Links of the pages that leave docs/: what they lead to becomes part of the site, so that they hold there too.

On GitHub `../pig/diffusion.py` opens the file. The site has it as the page repo/pig/diffusion.py.md, its text
highlighted; a page of Markdown as a page; a picture as it is.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
PICTURES = (".png", ".jpg", ".svg")
LANGUAGES = {
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".csv": "text",
    ".cff": "yaml",
}


def place(target: str) -> str:
    """Where the repository's file `target` stands in the site's sources."""
    if target == "README.md":
        return "index.md"
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"repo/{target}" if target.endswith((".md", *PICTURES)) else f"repo/{target}.md"


def links(source: str, markdown: str) -> Iterator[tuple[re.Match[str], str]]:
    """Each relative link of the repository's file `source`, outside of code, and the file that it leads to."""
    fences = [found.span() for found in FENCE.finditer(markdown)]
    for link in LINK.finditer(markdown):
        if not any(start <= link.start() < end for start, end in fences):
            yield link, posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))


def moved(source: str, markdown: str) -> str:
    """The text of `source` with its links as they are in the site."""
    here, out, done = posixpath.dirname(place(source)), [], 0
    for link, target in links(source, markdown):
        out += [
            markdown[done : link.start()],
            posixpath.relpath(place(target), here or "."),
            link["anchor"] or "",
        ]
        done = link.end()
    return "".join(out) + markdown[done:]


def outside(pages: list[str]) -> list[str]:
    """Files beyond docs/ that the pages lead to, directly or through each other."""
    found, todo = set(), list(pages)
    while todo:
        source = todo.pop()
        text = (ROOT / source).read_text(encoding="utf-8")
        for _, target in links(source, text):
            if target != "README.md" and not target.startswith("docs/") and (ROOT / target).is_file():
                todo += [target] if target.endswith(".md") and target not in found else []
                found.add(target)
    return sorted(found)


def text_of(target: str) -> str:
    """The page for a file that is neither Markdown nor a picture."""
    text = (ROOT / target).read_text(encoding="utf-8")
    return f'# {target}\n\n````{LANGUAGES.get(Path(target).suffix, "text")} linenums="1"\n{text.rstrip()}\n````\n'
