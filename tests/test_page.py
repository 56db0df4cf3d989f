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
from kinds import filled
from PIL import Image

from pig.cli.main import main
from pig.cli.verbs.report import KEPT, SECTIONS
from pig.core.errors import InputError
from pig.core.params import load, to_json
from pig.data.archive import write_archive
from pig.data.pairs import Pairs
from pig.data.phantom.phantom import phantom
from pig.metrics.copying import COPIES
from pig.models import weights
from pig.models.table import Params
from pig.report import figures, formats, page, rendering
from pig.report.evidence import LAYOUTS
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


def test_a_picture_decodes_to_the_same_pixels_and_a_large_one_to_means_of_squares():
    draw = np.random.default_rng(0).integers
    for shape in ((1, 1), (5, 9), (page.SIDE, page.SIDE)):
        drawn = draw(0, 256, shape, np.uint8)
        assert np.array_equal(pixels(page.png(drawn)), drawn)
    drawn = draw(0, 256, (2 * page.SIDE + 2, 300), np.uint8)  # factor 3
    found = pixels(page.png(drawn))
    assert found.shape == (-(-drawn.shape[0] // 3), 100)
    means = drawn[: drawn.shape[0] // 3 * 3].reshape(-1, 3, 100, 3).mean((1, 3))
    assert np.abs(found[: len(means)] - means).max() < 1  # of 255: Pillow rounds in fixed point


def test_an_outline_is_the_edges_that_figures_draw():
    mask = np.random.default_rng(0).random((7, 5)) < 0.5
    drawn = {tuple(map(tuple, edge)) for edge in (figures.outline(mask) + 0.5).astype(int).tolist()}
    found = re.findall(r"M(\d+) (\d+)(h|v)1", page.outline(mask))
    ends = {"h": (1, 0), "v": (0, 1)}
    assert drawn == {((int(x), int(y)), (int(x) + ends[to][0], int(y) + ends[to][1])) for x, y, to in found}
    assert len(found) == len(drawn)


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
    return filled(COPIES, {"id": made.table["id"], "joint": distances, "joint_of": neighbours})


def test_each_pair_is_beside_its_neighbour(real):
    made = made_of(real, "pig", [4, 5, 6])
    found = copies_of(made, real, [9, 1, 9], [0.5, 0.25, np.nan])
    shelf = page.shelf("pig", made, found.sample(frac=1, random_state=0), real, 2)
    assert (shelf.title, len(shelf.cells)) == ("PIG", 2)
    for cell, row, neighbour, distance in zip(shelf.cells, [0, 1], [9, 1], [0.5, 0.25], strict=True):
        assert np.array_equal(pixels(cell.made.image), made.images[row])
        assert np.array_equal(pixels(cell.nearest.image), real.images[neighbour])
        assert cell.nearest.outline == page.outline(real.masks[neighbour])
        assert cell.distance == distance
    assert [cell.distance for cell in page.closest("pig", made, found, real, 3).cells] == [0.25, 0.5]
    assert page.shelf("pig", made, found, real, 3).cells[2].nearest is None  # it has no lesion
    with pytest.raises(InputError, match="pig-0-000000"):
        page.shelf("pig", made, found.iloc[1:], real, 2)
    with pytest.raises(InputError, match=found["joint_of"][0]):
        page.shelf("pig", made, found, made, 2)


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
        with pytest.raises(InputError, match="frames"):
            page.progression(*wrong)


# --- charts ---


DOSES = pd.DataFrame(
    {"set": ["real", "pig", "pig", "ldm", "ldm-varied"], "dose": [0, 10, 40, 10, 10],
     "added": ["Real", "PIG", "PIG", "LDM", "LDM, varied masks"], "dice": [70, 72, 74, 71, 69.0],
     "dice_low": [60, 62, 64, 61, 59.0], "dice_high": [80, 82, 84, 81, 79.0]}
)  # fmt: skip
LOSSES = pd.DataFrame({"step": [10, 20], "loss": [0.5, 0.0001], "validation": [np.nan, 0.02]})
CHARTS = {
    "doses": lambda: figures.doses(DOSES),
    "curves": lambda: figures.curves({"guider": {0: LOSSES}, "ldm": {0: LOSSES}}),
    "survey": lambda: figures.survey(np.array([1, 1, 2]), pd.DataFrame({"area": [0.5], "contrast": [0.1]})),
}


def test_panels_are_svg_of_one_size_in_the_pages_colours():
    ids = []
    for name, draw in CHARTS.items():
        panels = figures.panels(draw(), name)
        assert panels == figures.panels(draw(), name)
        assert len({panel.box for panel in panels}) == 1
        assert float(panels[0].box.split()[2]) < 72 * figures.WIDTH / 3
        for panel in panels:
            tags = Parsed(f"<svg>{panel.svg}</svg>").tags
            mine = {of["id"] for _, of in tags if "id" in of}
            used = {of["xlink:href"][1:] for _, of in tags if "xlink:href" in of}
            used |= set(re.findall(r"url\(#(.*?)\)", panel.svg))
            assert used <= mine and panel.title and panel.told
            assert "currentColor" in panel.svg and figures.INK not in panel.svg
            ids += mine
    assert len(ids) == len(set(ids))


def test_panels_draw_numbers_where_they_are_and_keep_text():
    pig, ldm = figures.panels(figures.doses(DOSES), "doses")
    assert (pig.title, ldm.title) == ("PIG", "LDM")
    assert pig.told == "Dice with PIG: 70.0 with 0 pairs, 72.0 with 10 pairs, 74.0 with 40 pairs"
    (path,) = re.findall(r'd="([^"]*)"[^>]*stroke: var\(--hue0\); stroke-width: 2.2', pig.svg)
    (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, point.split())) for point in re.split("[ML]", path)[1:])
    assert (x2 - x0) / (x1 - x0) == pytest.approx(4, abs=0.01)
    assert (y2 - y0) / (y1 - y0) == pytest.approx(2, abs=0.01) and y1 < y0
    assert "stroke-dasharray" in ldm.svg
    guider, ldm = figures.panels(CHARTS["curves"](), "curves")
    assert "0.0001" in Parsed(guider.svg).text.split() and "fold 0: 0.02" in guider.told


def test_text_of_a_figure_is_text_in_a_panel():
    figure = figures.doses(DOSES)
    figure.axes[0].text(0, 70, HOSTILE, parse_math=False)
    (panel, _) = figures.panels(figure, "doses")
    parsed = Parsed(panel.svg)
    assert HOSTILE in parsed.text and not {"script", "img"} & {tag for tag, _ in parsed.tags}


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


def changed(command, folder, **values):
    """The same command with other values of some options, and files in `folder` to write."""
    values |= {"out": [str(folder / "study.md"), str(folder / "index.html")]}
    words = list(command)
    for name, value in values.items():
        start = words.index(f"--{name}") + 1
        end = next((k for k in range(start, len(words)) if words[k].startswith("--")), len(words))
        words[start - 1 : end] = [f"--{name}", *value] if value else []
    return words


def test_a_page_says_what_the_rules_and_tables_say(made):
    parsed = Parsed(made.text)
    shown = " ".join(parsed.text.replace("\u00a0", " ").split())
    numbered = {n: pd.read_csv(ROOT / f"reports/table{n}.csv") for n in range(1, 6)}
    for finding in findings(numbered, 0.95):
        assert finding.claim in shown and finding.numbers in shown
    for number in numbered:
        table = LAYOUTS[number].read(ROOT / f"reports/table{number}.csv")
        assert table.caption in shown
        for row in formats.cells(table):
            assert row[0][0] in shown
    assert "15.88" in shown and "60.54" in shown  # the paper's


def test_a_page_needs_nothing_but_itself(made):
    assert not re.search(r"https?:|url\((?!#)|@import|<iframe|<object|<embed", made.text)
    for tag, attributes in Parsed(made.text).tags:
        for name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            if address := attributes.get(name):
                assert address.startswith(("data:", "#")) or (tag, address) == ("a", "study.md"), address


def check_plain(text):
    """Hostile text made no tag and no attribute."""
    tags = Parsed(text).tags
    assert sum(tag == "script" for tag, _ in tags) == 1
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert "<script>alert" not in text and "<img src=x" not in text


def test_hostile_text_is_text(made):
    check_plain(made.text)
    assert Parsed(made.text).text.count(HOSTILE) == 4  # title, fact, provenance, the network's revision


def test_every_value_of_a_page_is_escaped():
    """Any text that a caller gives, also where `pig report` would not take it from a file."""
    bad = HOSTILE
    panel = figures.Panel(bad, bad, bad, "")  # the SVG is of `figures.panels`, which escapes text
    columns = (formats.Column("row", bad, group=bad), formats.Column("row", bad))
    table = formats.Table(formats.Layout(1, columns, ()), pd.DataFrame({"row": [bad]}), bad)
    picture = page.Picture(bad, bad, 1, 1)
    texts = ("profile", "source", "digest", "software", "hardware")
    values = dict.fromkeys(texts, bad) | dict.fromkeys(("height", "width", "pairs", "patients", "level"), 1)
    values |= {"findings": [Finding("holds", bad, bad)], "tables": dict.fromkeys(range(1, 6), table)}
    values |= {"frames": [page.Frame(1, [(bad, bad)])], "real": [picture]}
    values |= {"shelves": [page.Shelf(bad, bad, [page.Cell(picture, picture, 1.0)])], "private": False}
    values |= {"data": page.DataSet([[bad] * 3], [bad], [[bad, bad]], [panel], 0), "doses": [panel]}
    values |= {"networks": [dict.fromkeys(KEPT, bad)], "curves": [panel], "settings": {bad: {bad: bad}}}
    check_plain(page.render("page.html", values))


def test_every_picture_has_words_and_no_id(made, real):
    images = [attributes for tag, attributes in Parsed(made.text).tags if tag == "img"]
    steps, real_ones, shelves = 4 * 2 * 2, 8, (3 + 2) + (2 + 2) + (2 + 1)
    assert len(images) == steps + real_ones + shelves
    assert all(attributes["alt"] for attributes in images)
    words = re.sub(r"data:image/png;base64,[\w+/=]+", "", made.text)
    for name in [*real.table["id"], *real.table["patient"], "pig-0-"]:
        assert name not in words


def test_equal_input_gives_equal_bytes(made, tmp_path):
    assert main(changed(made.command, tmp_path)) == 0
    assert (tmp_path / "index.html").read_bytes() == made.path.read_bytes()


def test_private_slices_are_shown_only_where_they_may_be(tmp_path, real):
    own = {page.png(image) for image in real.images}
    texts = {}
    for name, show in (("hidden", False), ("shown", True)):
        assert main(study_of(tmp_path / name, real, "data/mine.zip", show)) == 0
        texts[name] = (tmp_path / name / "index.html").read_text(encoding="utf-8")
    shown, hidden = (own & set(re.findall('src="(.*?)"', texts[name])) for name in ("shown", "hidden"))
    assert shown and not hidden
    assert "LDM</summary" not in texts["hidden"]
    # The mirrored pairs that stand for LDM's have real masks, which stay out too.
    masks = {page.outline(mask) for mask in made_of(real, "ldm", [7, 8]).masks}
    paths = {name: {a["d"] for tag, a in Parsed(text).tags if tag == "path"} for name, text in texts.items()}
    assert masks <= paths["shown"] and not masks & paths["hidden"]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("frames", "fold0/guider.csv"),
        ("copies", "fold0/copies/pig.csv"),
        ("nets", "pairs.zip"),
        ("pairs", "fold0/guider.csv"),
        ("curves", "fold0/copies/pig.csv"),
        ("tables", "fold0/guider.csv"),
    ],
)
def test_bad_input_is_named_and_no_page_is_written(made, tmp_path, capsys, flag, value):
    path = str(made.path.parent / value)
    assert main(changed(made.command, tmp_path, **{flag: [path]})) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert path in line or f"--{flag}" in line
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_made_without_pairs(made, tmp_path):
    """As the graph makes it where no chosen method gives masks."""
    tables = [str(made.path.parent / f"reports/table{n}.csv") for n in (1, 2, 5)]
    left_out = {"generated": [], "copies": [], "frames": []}
    assert main(changed(made.command, tmp_path, tables=tables, **left_out)) == 0
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
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

    inks = ("ink", "soft", "accent", "paper", "holds", "fails", "open", "note")
    pairs = [(ink, ground) for ink in inks for ground in ("ground", "surface", "faint", "wash")]
    pairs += [(f"hue{k}", "surface") for k in range(len(figures.HUES))]  # names of lines
    for colours in (light, {**light, **dark}):
        for two in pairs:
            low, high = sorted(luminance(colours[name]) for name in two)
            assert (high + 0.05) / (low + 0.05) >= 4.5, two


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
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
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


def size(driver, width, scheme="light"):
    sides = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sides)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def find(driver, selector):
    return driver.find_element("css selector", selector)


def test_the_page_loads_without_a_complaint(browser):
    assert browser.get_log("browser") == []
    loaded = "return [...document.images].map((i) => i.complete && i.naturalWidth > 0)"
    assert all(browser.execute_script(loaded))
    fetched = "return performance.getEntriesByType('resource').map((r) => r.name)"
    assert all(name.startswith("data:") for name in browser.execute_script(fetched))


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows(browser, width, scheme):
    size(browser, width, scheme)
    browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == (scheme == "dark")
    place = """const box = document.querySelector('#table2').parentElement;
        box.scrollLeft = 300;
        const left = box.querySelector('tbody th').getBoundingClientRect().left;
        return [box.scrollLeft, left - box.getBoundingClientRect().left]"""
    scrolled, left = browser.execute_script(place)  # the first column stays
    assert abs(left) <= 2 and (scrolled == 300 or width > 360)
    size(browser, 1280)


def test_the_steps_move_by_key_by_click_and_by_drag(browser):
    from selenium.webdriver import ActionChains, Keys

    listed = """return [...document.querySelectorAll('.strip li')].map(
        (step) => [...step.querySelectorAll('img')].map((i) => i.src))"""
    steps = [[*step[0::2], *step[1::2]] for step in browser.execute_script(listed)]  # masks, then slices
    slider, stage = find(browser, ".film input"), find(browser, ".stage")

    def check(step):
        images = "return [...document.querySelectorAll('.stage img')].map((i) => i.src)"
        assert browser.execute_script(images) == steps[step]
        assert slider.get_attribute("aria-valuetext").startswith(f"step {step + 1} of 3")
        current = "return [...document.querySelectorAll('.strip li')].findIndex((i) => i.ariaCurrent)"
        assert browser.execute_script(current) == step

    check(2)
    for key, step in ((Keys.ARROW_LEFT, 1), (Keys.HOME, 0), (Keys.END, 2)):
        slider.send_keys(key)
        check(step)
    browser.find_elements("css selector", ".strip li")[1].click()
    check(1)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", stage)
    half = stage.size["width"] // 2
    pointer = ActionChains(browser, duration=0)
    pointer.move_to_element_with_offset(stage, 5 - half, 0).click_and_hold().perform()
    check(0)
    pointer = ActionChains(browser, duration=0)
    pointer.move_by_offset(2 * half - 10, 0).perform()
    check(2)
    ActionChains(browser, duration=0).release().perform()


def test_the_keyboard_reaches_every_control(browser):
    from selenium.webdriver import Keys

    browser.refresh()
    name = "const a = document.activeElement; return a.id || a.className || a.type || a.tagName"
    reached = set()
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.execute_script(name))
    assert {"skip", "button", "range", "strip", "outlines", "SUMMARY", "scroll"} <= reached


def test_without_scripts_all_steps_are_there_and_outlines_are_toggled(browser, made):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(made.path.as_uri())
        assert find(browser, ".strip li img").is_displayed() and find(browser, ".stage img").is_displayed()
        assert not find(browser, ".scrub").is_displayed()
        drawn = find(browser, "#pairs .pic svg")
        find(browser, "#outlines").send_keys(" ")
        assert drawn.value_of_css_property("visibility") == "hidden"
        find(browser, "label[for=outlines]").click()
        assert drawn.value_of_css_property("visibility") == "visible"
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        browser.get(made.path.as_uri())
