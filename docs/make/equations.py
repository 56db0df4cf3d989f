"""TeX -> inline SVG, drawn by matplotlib while the site is built: no script, no font and no network is needed."""

import html
import re

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath

LETTERS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
UNITS = 100  # of the path in one em
DRAWN = re.compile(
    r'<(div|span) class="arithmatex">(?:\\\((?P<inline>.*?)\\\)|\\\[(?P<block>.*?)\\\])</\1>', re.DOTALL
)


def drawn(page: str) -> str:
    """The page's HTML with each formula that pymdownx.arithmatex marked as a picture of it."""
    return DRAWN.sub(lambda found: _element(found["inline"], found["block"]), page)


def _element(inline: str | None, block: str | None) -> str:
    if inline is not None:
        return f'<span class="arithmatex">{svg(html.unescape(inline))}</span>'
    lines = [line for line in re.split(r"\\\\", html.unescape(block or "")) if line.strip()]
    return "".join(f'<div class="equation">{svg(line)}</div>' for line in lines)


def svg(tex: str) -> str:
    """One line of TeX as an SVG in the colour of the text around it; its title is the TeX. ValueError if it is none."""
    tex = " ".join(tex.split())
    path = TextPath((0, 0), f"${tex}$", size=UNITS, prop=FontProperties(math_fontfamily="stix"))
    box = path.get_extents()
    parts = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
        else:
            values = " ".join(f"{v:.1f}" for x, y in points.reshape(-1, 2) for v in (x, -y))
            parts.append(LETTERS[code] + values)
    frame = (box.x0 - 4, -box.y1 - 4, box.width + 8, box.height + 8)
    style = (
        f"width:{frame[2] / UNITS:.3f}em;height:{frame[3] / UNITS:.3f}em;"
        f"vertical-align:{(box.y0 - 4) / UNITS:.3f}em"
    )
    label = html.escape(tex, quote=True)
    return (
        f'<svg role="img" aria-label="{label}" style="{style}" viewBox="{" ".join(f"{v:.1f}" for v in frame)}">'
        f'<title>{label}</title><path fill="currentColor" d="{"".join(parts)}"/></svg>'
    )
