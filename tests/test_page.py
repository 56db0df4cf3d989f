"""The report as a web page: pictures and charts by oracles, hostile text, private data, and the page in a browser."""

import base64
import io
import json
import re
import shutil
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from clones import ROOT
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pig.cli.main import main
from pig.cli.verbs.report import KEPT, SECTIONS
from pig.core.errors import InputError
from pig.core.params import load, to_json
from pig.data.archive import write_archive
from pig.data.pairs import Pairs
from pig.data.phantom.phantom import phantom
from pig.models import weights
from pig.models.table import Params
from pig.report import figures, formats, page, rendering
from pig.report.findings import Finding, findings

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def pixels(address):
    """The image in an address data:image/png;base64,..."""
    kind, text = address.split(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
        assert image.format == "PNG" and image.mode == "L"
        return np.asarray(image)


# --- pictures ---


@pytest.mark.parametrize("shape", [(1, 1), (48, 48), (5, 9), (page.SIDE, page.SIDE)])
def test_a_picture_decodes_to_the_same_pixels(shape):
    drawn = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert np.array_equal(pixels(page.png(drawn)), drawn)


def test_a_large_picture_is_the_mean_of_squares():
    drawn = np.random.default_rng(0).integers(0, 256, (2 * page.SIDE + 2, 300), np.uint8)  # factor 3
    found = pixels(page.png(drawn))
    assert found.shape == (-(-drawn.shape[0] // 3), 100)
    means = drawn[: drawn.shape[0] // 3 * 3].reshape(-1, 3, 100, 3).mean((1, 3))
    assert np.abs(found[: len(means)] - means).max() < 1  # of 255: Pillow rounds in fixed point


def segments(path):
    """The unit edges that a path of M x y, h and v draws, each once."""
    edges = set()
    for x, y, way, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", path):
        for k in range(int(length)):
            a = (int(x) + k, int(y)) if way == "h" else (int(x), int(y) + k)
            b = (a[0] + 1, a[1]) if way == "h" else (a[0], a[1] + 1)
            assert (a, b) not in edges
            edges.add((a, b))
    assert re.fullmatch(r"(M\d+ \d+[hv]\d+)*", path)
    return edges


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_an_outline_is_the_edges_that_figures_draw(height, width, seed):
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    drawn = {tuple(map(tuple, (edge + 0.5).astype(int).tolist())) for edge in figures.outline(mask)}
    assert segments(page.outline(mask)) == drawn


def test_a_straight_edge_is_one_stroke():
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3:8] = True
    assert page.outline(mask) == "M3 2h5M3 5h5M3 2v3M8 2v3"
    assert page.outline(np.zeros((4, 4), bool)) == ""


@pytest.fixture(scope="module")
def real():
    return phantom(patients=8, views=["CC"], slices=2, size=48, seed=3)


def made_of(real, method, rows):
    """Pairs as a generator gives them: those of `rows` with ids of their own, mirrored."""
    table = real.table.iloc[rows].reset_index(drop=True)
    table = table.assign(id=[f"{method}-0-{k:06d}" for k in range(len(rows))], patient="", origin=method)
    return Pairs(real.images[rows][:, ::-1].copy(), real.masks[rows][:, ::-1].copy(), table)


def copies_of(made, real, rows, distances):
    neighbours = real.table["id"].to_numpy()[rows]
    return pd.DataFrame({"id": made.table["id"], "joint": distances, "joint_of": neighbours})


def test_each_pair_is_beside_its_neighbour(real):
    made = made_of(real, "pig", [4, 5, 6])
    found = copies_of(made, real, [9, 1, 9], [0.5, 0.25, 2.0])
    shelf = page.shelf("pig", made, found.sample(frac=1, random_state=0), real, 2)
    assert (shelf.title, len(shelf.cells)) == ("PIG", 2)
    for cell, row, neighbour, distance in zip(shelf.cells, [0, 1], [9, 1], [0.5, 0.25], strict=True):
        assert np.array_equal(pixels(cell.made.image), made.images[row])
        assert np.array_equal(pixels(cell.nearest.image), real.images[neighbour])
        assert cell.nearest.outline == page.outline(real.masks[neighbour])
        assert cell.distance == distance
    nearest = page.closest("pig", made, found, real, 2)
    assert [cell.distance for cell in nearest.cells] == [0.25, 0.5]


def test_a_pair_without_a_lesion_has_no_neighbour_and_a_lost_one_is_named(real):
    made = made_of(real, "pig", [4, 5])
    found = copies_of(made, real, [9, 1], [0.5, np.nan])
    assert page.shelf("pig", made, found, real, 2).cells[1].nearest is None
    with pytest.raises(InputError, match="expected a row of pig-0-000000; found none"):
        page.shelf("pig", made, found.iloc[1:], real, 2)
    with pytest.raises(InputError, match=r"expected .* among the pairs"):
        page.shelf("pig", made, found, made, 2)
    with pytest.raises(InputError, match="missing joint_of"):
        page.closest("pig", made, found.drop(columns="joint_of"), real, 2)


def test_frames_are_those_of_the_file():
    t = np.array([4, 1])
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 2, 3, 5, 7)).astype(np.float16)
    frames = page.progression(t, x, y)
    assert [frame.t for frame in frames] == [4, 1]
    for k, frame in enumerate(frames):
        for b, (mask, image) in enumerate(frame.pairs):
            assert np.array_equal(pixels(mask), np.rint((x[k, b].astype(float) + 1) * 127.5))
            assert np.array_equal(pixels(image), np.rint((y[k, b].astype(float) + 1) * 127.5))
    words = np.full(x.shape, "a")
    for wrong in ((t, x, y[:, :2]), (t[:1], x, y), (t[:0], x[:0], y[:0]), (t, x, words), (t / 2, x, y)):
        with pytest.raises(InputError, match=r"frames: expected whole t \(K,\)"):
            page.progression(*wrong)


# --- tables ---


def test_a_table_is_read_back_as_it_was_shown():
    columns = (
        formats.Column("name", "Name"),
        formats.Column("n", "n", 0),
        formats.Column("dice", "Dice ↑", 1, "high", interval=True, mark="mark"),
        formats.Column("label", "Row", group="Paper"),
        formats.Column("theirs", "Dice ↑", 2, "high", group="Paper"),
    )
    frame = pd.DataFrame(
        {"row": ["a", "b"], "competes": True, "name": ["A, a", "B"], "n": [3, 4], "dice": [50.0, 60.0],
         "dice_low": [49.0, 58.0], "dice_high": [51.0, np.nan], "mark": ["*†", "*"], "label": ["", "+ B_1"],
         "theirs": [np.nan, 2.5]}
    )  # fmt: skip
    table = formats.Table(7, frame, columns, ("dice",), "What this is: 5 %.")
    shown = page.parse_table(formats.to_markdown(table), "table7.md")
    assert shown.rows == formats.cells(table)
    assert shown.heads == [column.head for column in columns]
    assert shown.groups == [("", 3), ("Paper", 2)]
    assert shown.numeric == [False, True, True, False, True]
    assert shown.paper == [False, False, False, True, True]
    assert (shown.number, shown.caption) == (7, "What this is: 5 %.")


@pytest.mark.parametrize("number", range(1, 6))
def test_the_reports_tables_are_read(number):
    text = (ROOT / f"reports/table{number}.md").read_text(encoding="utf-8")
    shown = page.parse_table(text, "it")
    assert shown.number == number
    assert len(shown.rows) == len(pd.read_csv(ROOT / f"reports/table{number}.csv"))
    assert sum(span for _, span in shown.groups) == len(shown.heads) == len(shown.rows[0])


@pytest.mark.parametrize("text", ["", "**Table 1.** A caption.\n", "| a | b |\n| - | - |\n| 1 | 2 |\n",
                                  "| a | b |\n| - | - |\n| 1 |\n\n**Table 1.** A.\n"])  # fmt: skip
def test_what_is_no_table_is_named(text):
    with pytest.raises(InputError, match=r"table1\.md: expected a table and its caption"):
        page.parse_table(text, "table1.md")


@given(st.text(alphabet="|*- :.Table12\n[]", max_size=80))
def test_any_text_is_a_table_or_refused(text):
    try:
        shown = page.parse_table(text, "it")
    except InputError:
        return
    assert all(len(row) == len(shown.heads) for row in shown.rows)


# --- charts ---


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_are_few_round_and_even(low, width, most):
    found = page.ticks(low, low + width, most)
    assert 1 <= len(found) <= most + 1
    steps = np.diff(found)
    assert np.allclose(steps, steps[0] if len(steps) else 0, rtol=1e-6)
    assert low - 1e-9 * max(1, abs(low)) - 1e-6 * width <= found[0]
    if len(steps):
        mantissa = float(f"{steps[0]:.6e}".split("e")[0])
        assert min(abs(mantissa - unit) for unit in (1, 2, 5, 10)) < 1e-4


def test_decades():
    assert page.decades(0.03, 1.5) == [0.05, 0.1, 0.2, 0.5, 1.0]
    assert page.decades(0.001, 10) == [0.001, 0.01, 0.1, 1.0, 10.0]


def points(path):
    return [tuple(map(float, point.split())) for point in re.split("[ML]", path.rstrip("Z")) if point]


def test_doses_are_drawn_where_their_numbers_are():
    frame = pd.DataFrame(
        {"set": ["real", "pig", "pig", "ldm", "ldm-varied", "pig-leak"], "dose": [0, 10, 20, 10, 10, 10],
         "added": ["Real", "PIG", "PIG", "LDM", "LDM, varied masks", "LEAK"], "dice": [70, 72, 74, 71, 69, 73.0],
         "dice_low": [60, 62, 64, 61, 59, 63.0], "dice_high": [80, 82, 84, 81, 79, 83.0]}
    )  # fmt: skip
    pig, ldm, leak = page.doses(frame)
    assert [panel.title for panel in (pig, ldm, leak)] == ["PIG", "LDM", "LEAK"]
    (bold,) = [line for line in pig.lines if line.look.startswith("bold")]
    assert bold.look == "bold ours"
    left, right, low, high = page.LEFT, page.RIGHT, 59, 84
    for (x, y), dose, dice in zip(points(bold.path), [0, 10, 20], [70, 72, 74], strict=True):
        assert x == pytest.approx(left + (right - left) * dose / 20, abs=0.06)
        assert page.BOTTOM - y == pytest.approx(
            (page.BOTTOM - page.TOP) * (dice - low) / (high - low), abs=0.06
        )
    assert [line.look for line in ldm.lines if "bold" in line.look] == ["bold rival", "bold rival dashed"]
    assert [line.look for line in leak.lines if "bold" in line.look] == ["bold control"]
    assert "72.0 with 10 pairs, 74.0 with 20 pairs" in pig.told
    assert page.doses(frame[frame["dose"] == 0]) == []
    assert page.doses(frame.assign(dice=np.nan, dice_low=np.nan, dice_high=np.nan)) == []


def test_losses_are_drawn_on_a_logarithmic_axis():
    frame = pd.DataFrame(
        {"step": [10, 20, 30], "loss": [1.0, 0.1, 0.01], "validation": [np.nan, np.nan, 0.02]}
    )
    (panel,) = page.curves({"guider": {0: frame}})
    thin, bold = panel.lines
    (_, a), (_, b), (_, c) = points(thin.path)
    assert b - a == pytest.approx(c - b, abs=0.2)  # one decade each
    assert len(points(bold.path)) == 1
    assert panel.told.endswith("fold 0: 0.02")
    (panel,) = page.curves({"guider": {0: frame.assign(loss=[np.inf, -1.0, 0.0], validation=np.nan)}})
    assert [line.path for line in panel.lines] == ["", ""]


def test_a_histogram_holds_every_value():
    values = np.array([1, 1, 2, 5])
    panel = page.histogram(values, "Pairs", "pairs")
    bars = re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)H", panel.lines[0].path)
    heights = np.array([float(base) - float(top) for base, top in bars])
    assert np.allclose(heights / heights.min(), [2, 1, 1], rtol=0.01)
    assert page.histogram(np.array([]), "Pairs", "pairs") is None


# --- the page ---


class Parsed(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def study_of(folder, real, source="phantom", show=False):
    """A tiny study's files, its tables those of the reports; the arguments of `pig report`."""
    run = folder / "fold0"
    for top in (run / "copies", folder / "reports"):
        top.mkdir(parents=True)
    for path in sorted((ROOT / "reports").glob("table*.*")):
        shutil.copy(path, folder / "reports")
    with (folder / "pairs.zip").open("wb") as file:
        write_archive(file, real)
    for method, rows in (("pig", [4, 5, 6]), ("ldm", [7, 8])):
        made = made_of(real, method, rows)
        with (run / f"{method}.zip").open("wb") as file:
            write_archive(file, made)
        copies_of(made, real, rows, [1.0, np.nan, 0.5][: len(rows)]).to_csv(
            run / f"copies/{method}.csv", index=False
        )
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2, 48, 48))
    np.savez(folder / "progression.npz", t=np.array([9, 5, 1]), x=x, y=y)
    steps = {"step": [10, 20], "loss": [0.5, 0.2], "validation": [0.6, 0.3]}
    pd.DataFrame(steps).to_csv(run / "guider.csv", index=False)
    header = {"net": "guider", "network": {}, "fold": 0, "revision": HOSTILE, "code": "c0de", "data": "da7a"}
    weights.save(run / "guider.safetensors", {"a": torch.zeros(1)}, header)
    cost = {"method": "pig", "machine": "A machine"}
    (run / "pig.0.json").write_text(json.dumps(cost), encoding="utf-8")
    raw = json.loads(to_json(load(ROOT / "params.yaml", Params, "demo"), *SECTIONS))
    raw["data"]["source"], raw["figures"]["show_real"] = source, show
    return [
        "report", "--cfg", json.dumps(raw), "--tables", *map(str, sorted(folder.glob("reports/*.csv"))),
        "--pairs", str(folder / "pairs.zip"), "--generated", str(run / "pig.zip"), str(run / "ldm.zip"),
        "--copies", str(run / "copies/pig.csv"), str(run / "copies/ldm.csv"),
        "--frames", str(folder / "progression.npz"), "--curves", str(run / "guider.csv"),
        "--nets", str(run / "guider.safetensors"), "--costs", str(run / "pig.0.json"),
        "--profile-name", f"demo {HOSTILE}", "--out", str(folder / "study.md"), str(folder / "index.html"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory, real):
    """A page of the tiny study: where it is, its text, and how it was made."""
    folder = tmp_path_factory.mktemp("page")
    command = study_of(folder, real)
    assert main(command) == 0
    path = folder / "index.html"
    return SimpleNamespace(path=path, text=path.read_text(encoding="utf-8"), command=command)


def test_a_page_says_what_the_rules_and_tables_say(made):
    parsed = Parsed(made.text)
    shown = " ".join(parsed.text.replace("\u00a0", " ").split())
    numbered = {n: pd.read_csv(ROOT / f"reports/table{n}.csv") for n in range(1, 6)}
    for finding in findings(numbered, 0.95):
        assert finding.claim in shown and finding.numbers in shown
    for number in numbered:
        table = page.parse_table((ROOT / f"reports/table{number}.md").read_text(encoding="utf-8"), "it")
        assert table.caption in shown
        for row in table.rows:
            assert row[0][0] in shown
    assert "15.88" in shown and "60.54" in shown  # the paper's


def test_a_page_needs_nothing_but_itself(made):
    assert not re.search(r"https?:|url\(|@import|<iframe|<object|<embed", made.text)
    for tag, attributes in Parsed(made.text).tags:
        for name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            if address := attributes.get(name):
                assert address.startswith(("data:", "#")) or (tag, address) == ("a", "study.md"), address


def test_hostile_text_is_text(made):
    parsed = Parsed(made.text)
    assert sum(tag == "script" for tag, _ in parsed.tags) == 1
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert parsed.text.count(HOSTILE) == 4  # title, fact, provenance, the network's revision
    assert all(
        attributes.get("src", "data:").startswith("data:") for tag, attributes in parsed.tags if tag == "img"
    )


def test_every_value_of_a_page_is_escaped(real):
    """Any text that a caller gives, also where `pig report` would not take it from a file."""
    bad = HOSTILE
    panel = page.Panel(bad, bad, bad, [page.Line(bad, bad)], [(1.0, bad)], [(1.0, bad)])
    two = [False, False]
    table = page.Shown(1, [(bad, 1), ("", 1)], [bad, bad], two, two, [[(bad, True), (bad, False)]], bad)
    picture = page.Picture(bad, bad, 1, 1)
    text = page.render(
        "page.html",
        page.Page(
            profile=bad,
            source=bad,
            height=1,
            width=1,
            pairs=1,
            patients=1,
            digest=bad,
            level=0.95,
            findings=[Finding("holds", bad, bad)],
            tables=dict.fromkeys(range(1, 6), table),
            texts=[bad],
            figures=[(bad, bad)],
            frames=[page.Frame(1, [(bad, bad)])],
            shelves=[page.Shelf(bad, bad, [page.Cell(picture, picture, 1.0)])],
            real=[picture],
            private=False,
            doses=[panel],
            curves=[panel],
            folds=[0],
            data=page.DataSet([(bad, 1, 1)], [bad], [(bad, [bad])], [panel], 0),
            software=bad,
            hardware=bad,
            work=bad,
            networks=[dict.fromkeys(KEPT, bad)],
            revisions=bad,
            codes=bad,
            settings={bad: {bad: bad}},
        ),
    )
    parsed = Parsed(text)
    assert sum(tag == "script" for tag, _ in parsed.tags) == 1
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "<script>alert" not in text and "<img src=x" not in text


def test_every_picture_has_words_and_no_id(made, real):
    images = [attributes for tag, attributes in Parsed(made.text).tags if tag == "img"]
    steps, real_ones, shelves = 4 * 2 * 2, 8, (3 + 2) + (2 + 2) + (2 + 1)
    assert len(images) == steps + real_ones + shelves
    assert all(attributes["alt"] for attributes in images)
    words = re.sub(r"data:image/png;base64,[\w+/=]+", "", made.text)
    for name in [*real.table["id"], *real.table["patient"], "pig-0-"]:
        assert name not in words


def test_equal_input_gives_equal_bytes(made):
    before = made.path.read_bytes()
    assert main(made.command) == 0
    assert made.path.read_bytes() == before


def addresses(text):
    return {a["src"] for tag, a in Parsed(text).tags if tag == "img"}


def test_private_slices_are_shown_only_where_they_may_be(tmp_path, real):
    own = {page.png(image) for image in real.images}
    texts = {}
    for name, show in (("hidden", False), ("shown", True)):
        assert main(study_of(tmp_path / name, real, "data/mine.zip", show)) == 0
        texts[name] = (tmp_path / name / "index.html").read_text(encoding="utf-8")
    assert not addresses(texts["hidden"]) & own
    assert addresses(texts["shown"]) & own
    assert "real slices stay out of reports" in texts["hidden"] and "LDM</summary" not in texts["hidden"]
    assert "real slices stay out of reports" not in texts["shown"]
    # The mirrored pairs that stand for LDM's have real masks, which stay out too.
    masks = {page.outline(mask) for mask in made_of(real, "ldm", [7, 8]).masks}
    paths = [a["d"] for tag, a in Parsed(texts["hidden"]).tags if tag == "path"]
    assert not masks & set(paths)


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--frames", "fold0/guider.csv", "expected the frames"),
        ("--copies", "fold0/copies/pig.csv", "expected one of each a method"),
        ("--nets", "pairs.zip", "not a .safetensors file"),
        ("--pairs", "fold0/guider.csv", "expected a ZIP archive"),
    ],
)
def test_bad_input_is_named_and_no_page_is_written(tmp_path, real, capsys, flag, value, said):
    command = study_of(tmp_path / "study", real)
    start = command.index(flag) + 1
    end = next(k for k in range(start, len(command)) if command[k].startswith("--"))
    command[start:end] = [str(tmp_path / "study" / value)]
    assert main(command) == 2
    shown = capsys.readouterr().err
    assert said in shown and "Traceback" not in shown and len(shown.splitlines()) == 1
    assert not (tmp_path / "study/index.html").exists()


def test_a_page_is_made_without_pairs(tmp_path, real):
    """As the graph makes it where no chosen method gives masks."""
    command = study_of(tmp_path / "study", real)
    for flag in ("--generated", "--copies", "--frames"):
        start = command.index(flag)
        end = next(k for k in range(start + 1, len(command)) if command[k].startswith("--"))
        del command[start:end]
    start = command.index("--tables") + 1
    command[start : start + 5] = [command[start], command[start + 1], command[start + 4]]
    assert main(command) == 0
    text = (tmp_path / "study/index.html").read_text(encoding="utf-8")
    ids = {a["id"] for _, a in Parsed(text).tags if "id" in a}
    assert {"table1", "table2", "table5"} <= ids and not {"table3", "steps", "pairs"} & ids
    links = {a["href"][1:] for tag, a in Parsed(text).tags if tag == "a" and a["href"].startswith("#")}
    assert links <= ids


def test_the_templates_are_part_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["package-data"]["pig.report"] == ["templates/*"]
    assert {path.name for path in rendering.TEMPLATES.iterdir()} >= {"page.html", "page.css", "page.js"}


def test_colours_of_text_stand_out_from_their_ground():
    """WCAG 2: at least 4.5 to 1, light and dark."""
    css = (rendering.TEMPLATES / "page.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]+)", block)) for block in css.split("@media")[:2]
    )

    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    for colours in (light, {**light, **dark}):
        for ink in ("ink", "soft", "accent", "paper", "holds", "fails", "open", "note"):
            for ground in ("ground", "surface", "faint", "wash"):
                low, high = sorted(luminance(colours[name]) for name in (ink, ground))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


# --- in a browser ---


CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip


@pytest.fixture(scope="module")
def browser(made, tmp_path_factory):
    """Chromium on the page, from its file."""
    for path in (CHROMIUM, DRIVER):
        if not Path(path).exists():
            pytest.skip(f"no {path}: the page was not looked at in a browser")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        size(driver, 1280)
        driver.get(made.path.as_uri())
        yield driver
    finally:
        driver.quit()


def size(driver, width, **media):
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
    )
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def test_the_page_loads_without_a_complaint(browser):
    assert browser.get_log("browser") == []
    loaded = browser.execute_script(
        "return [...document.images].map((i) => i.complete && i.naturalWidth > 0)"
    )
    assert loaded and all(loaded)
    assert (
        browser.execute_script(
            "return performance.getEntriesByType('resource').filter((r) => !r.name.startsWith('data:')).length"
        )
        == 0
    )


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows(browser, width, scheme):
    size(browser, width, prefers_color_scheme=scheme)
    browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    if width == 360:  # the first column stays when a table is scrolled
        place = """const box = document.querySelector('#table2').parentElement, first = box.querySelector('tbody th');
            box.scrollLeft = 300;
            return [box.scrollLeft, first.getBoundingClientRect().left - box.getBoundingClientRect().left]"""
        scrolled, left = browser.execute_script(place)
        assert scrolled == 300 and abs(left) <= 2
    size(browser, 1280)


def test_the_slider_moves_through_the_steps(browser):
    from selenium.webdriver.common.keys import Keys

    slider = browser.find_element("css selector", ".film input")
    shown = "return [...document.querySelectorAll('.stage img')].map((i) => i.src)"
    lists = """return [...document.querySelectorAll('.strip li')].map(
        (step) => [...step.querySelectorAll('img')].map((i) => i.src))"""
    frames = browser.execute_script(lists)
    steps = [[*frame[0::2], *frame[1::2]] for frame in frames]  # the masks, then the slices
    assert slider.get_attribute("value") == "2" and browser.execute_script(shown) == steps[2]
    slider.send_keys(Keys.ARROW_LEFT)
    assert browser.execute_script(shown) == steps[1]
    assert slider.get_attribute("aria-valuetext") == "step 2 of 3, t = 5"
    slider.send_keys(Keys.HOME)
    assert browser.execute_script(shown) == steps[0]
    slider.send_keys(Keys.END)
    assert browser.execute_script(shown) == steps[2]
    browser.find_elements("css selector", ".strip li")[1].click()
    assert slider.get_attribute("value") == "1"
    assert browser.execute_script("return document.querySelector('.strip [aria-current]').dataset.t") == "5"


def test_a_drag_over_the_pictures_moves_through_the_steps(browser):
    from selenium.webdriver import ActionChains

    stage = browser.find_element("css selector", ".stage")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    half = stage.size["width"] // 2
    values = []
    chain = ActionChains(browser, duration=0).move_to_element_with_offset(stage, 5 - half, 0).click_and_hold()
    for way in (0, half - 5, half - 10):
        (chain.move_by_offset(way, 0) if way else chain).perform()
        chain = ActionChains(browser, duration=0)
        values.append(browser.find_element("css selector", ".film input").get_attribute("value"))
    ActionChains(browser, duration=0).release().perform()
    assert values == ["0", "1", "2"]


def test_the_outlines_are_toggled_by_keyboard_and_by_pointer(browser):
    visible = "return getComputedStyle(document.querySelector('#pairs .pic svg')).visibility"
    box = browser.find_element("css selector", "#outlines")
    assert browser.execute_script(visible) == "visible"
    box.send_keys(" ")
    assert browser.execute_script(visible) == "hidden"
    browser.find_element("css selector", "label[for=outlines]").click()
    assert browser.execute_script(visible) == "visible"


def test_the_keyboard_reaches_every_control(browser):
    from selenium.webdriver.common.keys import Keys

    browser.refresh()
    name = "const a = document.activeElement; return a.id || a.className || a.type || a.tagName"
    reached = []
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(browser.execute_script(name))
    assert {"skip", "button", "range", "strip", "outlines", "SUMMARY", "scroll"} <= set(reached)


def test_without_scripts_the_last_step_and_all_steps_are_there(browser, made):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(made.path.as_uri())
        assert browser.find_elements("css selector", ".strip li img")[0].is_displayed()
        assert browser.find_element("css selector", ".stage img").is_displayed()
        assert not browser.find_element("css selector", ".scrub").is_displayed()
        box = browser.find_element("css selector", "#outlines")
        box.send_keys(" ")
        assert (
            browser.find_element("css selector", "#pairs .pic svg").value_of_css_property("visibility")
            == "hidden"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        browser.get(made.path.as_uri())
