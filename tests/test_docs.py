"""The documentation: its generated parts follow their sources, its links lead somewhere, its commands are commands."""

import re
import shlex
import sys
import xml.etree.ElementTree as ET
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from pig.cli.main import VERBS, parser
from pig.core.params import load
from pig.models.table import Params

sys.path.insert(0, str(Path(__file__).parent.parent / "docs/make"))
import equations
import excerpts
import links
import parameters

ROOT = links.ROOT
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
TEXTS = dict(zip(NAMES, (path.read_text(encoding="utf-8") for path in PAGES), strict=True))
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


# --- parameters ---


def test_the_page_of_parameters_has_every_key_with_what_params_yaml_says_of_it():
    page = parameters.page()
    said = parameters.comments((ROOT / "params.yaml").read_text(encoding="utf-8"))
    said["profile"] = "the profile that is laid over the sections"
    for section, field in Params.model_fields.items():
        below = getattr(field.annotation, "model_fields", None)
        table = page.split(f"\n## {section}\n")[1].split("\n## ")[0] if below else page.split("\n## ")[0]
        for key in below or [section]:
            (row,) = [line for line in table.splitlines() if line.startswith(f"| `{key}` |")]
            text = said[f"{section}.{key}" if below else section].replace("|", "\\|")
            assert text
            assert text in row


def test_the_page_of_parameters_has_every_profiles_values():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    names = list(yaml.safe_load(text)["profiles"])
    assert parameters.names(text) == names
    (row,) = [line for line in parameters.page().splitlines() if line.startswith("| `doses` |")]
    paper, *others = [load(ROOT / "params.yaml", Params, name).segmentation.doses for name in names]
    shown = [cell.strip() for cell in row.strip("|").split("|")][3:]
    assert shown == [str(paper), *("·" if doses == paper else str(doses) for doses in others)]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 64}, "whole number, ≥ 1, ≤ 64"),
        ({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}, "number, > 0 or null"),
        ({"enum": ["eps", "v"]}, "`eps`, `v`"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}, "list of 2: number"),
    ],
)
def test_a_type_in_words(field, words):
    assert parameters.kind(field).replace("\N{NO-BREAK SPACE}", " ") == words


# --- metrics ---


@pytest.mark.parametrize("number", range(1, 6))
def test_the_page_of_metrics_explains_every_column_of_a_table(number):
    heading = (ROOT / f"reports/table{number}.md").read_text(encoding="utf-8").splitlines()[0]
    section = re.split(r"^## ", TEXTS["docs/metrics.md"], flags=re.MULTILINE)[number]
    assert section.startswith(f"Table {number}")
    for column in heading.strip("|").split("|")[1:]:
        words = re.split(r": |, ", re.sub(r" ↑| ↓| × 1000|, %( of real)?|, M$| to Real", "", column.strip()))
        assert [word for word in words if word.lower() not in section.lower()] == [], column


# --- code and formulas ---


def test_an_excerpt_is_the_function_without_its_docstring():
    first, lines = excerpts.source("diffusion", "denoise")
    text = (ROOT / "pig/diffusion.py").read_text(encoding="utf-8").splitlines()
    assert lines.splitlines() == [text[first - 1], text[first + 1]]
    assert lines.startswith("def denoise(") and "return" in lines


@pytest.mark.parametrize("name", NAMES)
def test_every_named_function_is_in_the_source(name):
    marks = list(excerpts.MARK.finditer(TEXTS[name]))
    assert len(marks) == TEXTS[name].count("[code: ")
    for mark in marks:
        module, _, function = mark["name"].rpartition(".")
        assert excerpts.source(module, function)
        assert mark["link"] == f"../pig/{module.replace('.', '/')}.py"


def test_the_example_of_a_rival_is_in_the_source():
    blocks = [text for kind, text in FENCED.findall(TEXTS["CONTRIBUTING.md"]) if kind == "python"]
    assert len(blocks) == 2
    for block in blocks:
        named, *lines = block.splitlines()
        source = (ROOT / named.removeprefix("# ")).read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if line not in source] == []


def test_a_function_that_is_gone_is_an_error():
    with pytest.raises(ValueError, match=r"pig/diffusion.py: no function, class or constant nothing"):
        excerpts.included("[code: pig.diffusion.nothing](../pig/diffusion.py)")


def test_a_formula_becomes_a_picture_that_says_what_it_shows():
    page = equations.drawn('<p><span class="arithmatex">\\(a &lt; b^2\\)</span></p>')
    svg = ET.fromstring(page).find(".//svg")
    assert svg is not None
    assert svg.get("aria-label") == "a < b^2" and svg.find("title").text == "a < b^2"
    assert svg.find("path").get("fill") == "currentColor" and svg.find("path").get("d").startswith("M")
    assert "arithmatex" not in equations.drawn('<div class="arithmatex">\\[a\\]</div>')


# --- links ---


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_to_a_file_and_its_heading(name):
    found = [(link["anchor"], target) for link, target in links.links(name, TEXTS[name])]
    assert [target for _, target in found if not (ROOT / unquote(target)).is_file()] == []
    for anchor, target in found:
        if anchor and target.endswith(".md"):
            assert anchor.removeprefix("#") in headings((ROOT / target).read_text(encoding="utf-8")), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", FENCED.sub("", TEXTS[name])):
        assert anchor in headings(TEXTS[name])


def headings(text):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    lines = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


def test_links_are_moved_to_where_the_site_has_their_ends():
    page = "[a](../pig/x.py) [b](metrics.md#x) ![c](../reports/y.png) [d](https://e.org)"
    moved = "[a](repo/pig/x.py.md) [b](metrics.md#x) ![c](repo/reports/y.png) [d](https://e.org)"
    assert links.moved("docs/faq.md", page) == moved
    page, moved = "[a](docs/faq.md) [b](README.md)", "[a](../faq.md) [b](../index.md)"
    assert links.moved("CONTRIBUTING.md", page) == moved
    code = "```\n[a](../b.py)\n```\n"
    assert links.moved("docs/a.md", code) == code


def test_every_page_of_docs_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = set(re.findall(r"[\w/-]+\.md", text))
    pages = {name.removeprefix("docs/") for name in NAMES if name.startswith("docs/")}
    assert pages == {name for name in listed if not name.startswith("repo/")}


# --- commands ---


def commands(text):
    """What follows `pig` in each command of a page's blocks, up to a pipe or a redirection; KIND is a placeholder."""
    for _, block in FENCED.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if re.match(r"\s*(\S+/)?pig [a-z]", line) else []
            if words and "KIND" not in words:
                yield list(takewhile(lambda word: word not in ("|", ">"), words[1:]))


@pytest.mark.parametrize("name", NAMES)
def test_pig_takes_every_command_of_a_block_and_has_every_verb_that_is_named(name):
    for words in commands(TEXTS[name]):
        parser().parse_args(words)  # or it says why not, and exits
    named = re.findall(r"`(?:-m )?pig ([a-z][a-z-]*)", TEXTS[name])
    assert set(named) - set(VERBS) == set()


def test_commands_are_found():
    text = "```\npig split --pairs a.zip \\\n  --out b.csv  # folds\n.venv/bin/pig tables | cat\n```\npig report\n"
    assert list(commands(text)) == [["split", "--pairs", "a.zip", "--out", "b.csv"], ["tables"]]
    assert sum(len(list(commands(text))) for text in TEXTS.values()) > 15
