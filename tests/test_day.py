"""docs/day.md, every command of it in order, on small private images whose names would be found anywhere."""

import io
import re
import subprocess
import zipfile

import guard
import pytest
from clones import NOTHING, blocks, run, shell
from PIL import Image

from pig.data.archive import read_archive
from pig.data.phantom.phantom import phantom
from pig.report.page import png

NAME = "-".join(
    ["Doe", "Jane", "1961"]
)  # begins each patient's id; not in one piece, since git has this file
FILE = "-".join(["accession", "4711"])  # begins each file's name
MARK = "::: block"


@pytest.fixture(scope="module")
def day(fresh, tmp_path_factory):
    """The folder in which the page was run, and what each of its blocks said."""
    place = tmp_path_factory.mktemp("day")
    private(place / "dbt")
    first = run("git", "rev-list", "--max-parents=0", "HEAD", cwd=fresh).strip()
    run("git", "init", "--quiet", "--bare", "--initial-branch", "main", "hub.git", cwd=place)
    run("git", "push", "--quiet", str(place / "hub.git"), f"{first}:refs/heads/main", cwd=fresh)
    placeholders = {
        "git@git.example.org:lab/pig.git": place / "hub.git",
        "/mnt/lab/dbt": place / "dbt",
        "/mnt/lab/store": place / "store",
        "make .venv": "true",
        "*demo": "*smoke",
    }
    script = "".join(f"echo '{MARK}'\n{block}" for block in blocks("day.md"))
    return place, shell(f"exec 2>&1\n{script}", place, placeholders).split(f"{MARK}\n")[1:]


def private(folder):
    """Images and masks of eight patients, two each, and the table that names them."""
    pairs = phantom(patients=8, views=["CC"], slices=2, size=48, seed=1)
    lines = ["stem,patient"]
    for top in ("images", "masks"):
        (folder / top).mkdir(parents=True)
    for number, patient in enumerate(pairs.table["patient"]):
        stem = f"{FILE}{number:02d}"
        Image.fromarray(pairs.images[number]).save(folder / f"images/{stem}.png")
        Image.fromarray(pairs.masks[number]).save(folder / f"masks/{stem}.png")
        lines.append(f"{stem},{NAME}-{patient}")
    (folder / "patients.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def said(day, command):
    """What the block said that holds `command`."""
    (number,) = [number for number, block in enumerate(blocks("day.md")) if command in block]
    return day[1][number]


def test_every_block_was_run(day):
    assert len(day[1]) == len(blocks("day.md"))
    assert (day[0] / "tables.zip").exists()


def test_private_pairs_are_in_the_study_and_travel(day):
    for name in ("ada", "bo"):
        pairs = read_archive(day[0] / name / "data/dbt.zip")
        assert (len(pairs), pairs.table["patient"].nunique()) == (16, 8)
    assert "16 pairs of 8 patients" in (day[0] / "ada/reports/study.md").read_text(encoding="utf-8")


def test_a_colleague_who_pulled_has_nothing_to_do(day):
    assert NOTHING in said(day, "cd bo")


def test_the_comparison_tells_the_number_and_what_it_did(day):
    assert "wide-ring" in said(day, "dvc exp show")
    assert "up to date" in said(day, "dvc status")
    compared = said(day, "dvc params diff")
    assert re.search(r"pairing\.ring +0\.06 +0\.1", compared)
    assert "reports/table3.json" in compared and "reports/table1.json" not in compared
    evening = said(day, "git fetch")
    assert "reports/table3.json" in evening and NOTHING in evening


def test_tables_of_both_are_the_same_and_published(day):
    with zipfile.ZipFile(day[0] / "tables.zip") as published:
        names = [name for name in published.namelist() if not name.endswith("/")]
        assert {"reports/table2.tex", "reports/table3.csv", "reports/study.md"} <= set(names)
        for name in names:
            assert published.read(name) == (day[0] / "ada" / name).read_bytes(), name
            assert published.read(name) == (day[0] / "bo" / name).read_bytes(), name


def test_no_name_and_no_image_has_reached_git(day):
    """In no version of any file in any of the three repositories: branches, experiments, what was left behind.

    DVC leaves the arguments of an experiment, pickled, in no commit: bytes, but no picture and no archive.
    """
    names = [text.encode() for text in (NAME, FILE)]
    for repository in (day[0] / name for name in ("hub.git", "ada", "bo")):
        listed = run("git", "rev-list", "--all", "--reflog", "--objects", cwd=repository)
        path_of = dict(line.split(" ", 1) for line in listed.splitlines() if " " in line)
        blobs = dict(objects(repository))
        assert len(blobs) > 100
        for blob, content in blobs.items():
            path = path_of.get(blob)
            assert not any(name in content for name in names), path
            why = guard.refusal(path or "in no commit", content)
            assert why is None or (path is None and why.startswith("by its content no text")), (path, why)


def test_what_the_day_put_into_git_is_settings_hashes_and_reports_without_real_slices(day):
    command = [
        "git",
        "log",
        "--all",
        "--format=",
        "--name-only",
        "--diff-filter=d",
        "main",
        "--not",
        first(day),
    ]
    files = {name for name in run(*command, cwd=day[0] / "bo").splitlines() if name}
    figures = {name for name in files if name.endswith(".png")}
    assert {re.sub("reports/figures/(.*).png", r"\1", name) for name in figures} == {
        "progression", "curves", "table1", "table2", "doses",
    }  # fmt: skip
    texts = {
        name
        for name in files - figures
        if not re.fullmatch(r"reports/([a-z0-9]+\.(csv|json|md|tex)|index\.html)", name)
    }
    assert texts == {"params.yaml", "dvc.lock", ".dvc/config", "data/dbt.zip.dvc"}
    page = (day[0] / "bo/reports/index.html").read_text(encoding="utf-8")
    assert "Slices of this data set stay out of reports" in page
    slices = read_archive(day[0] / "bo/data/dbt.zip").images
    assert not any(png(image) in page for image in slices)
    for name in ("data", "pairs", "copies"):
        assert (day[0] / f"bo/runs/dbt/figures/{name}.png").is_file()


def first(day):
    return run("git", "rev-list", "--max-parents=0", "main", cwd=day[0] / "hub.git").strip()


def objects(repository):
    """Hash and content of every blob that git has."""
    command = ["git", "cat-file", "--batch-all-objects", "--unordered"]
    listed = subprocess.run(
        [*command, "--batch-check"], cwd=repository, capture_output=True, check=True
    ).stdout
    read = io.BytesIO(
        subprocess.run([*command, "--batch"], cwd=repository, capture_output=True, check=True).stdout
    )
    for _ in listed.splitlines():
        blob, kind, size = read.readline().decode().split()
        content = read.read(int(size) + 1)[:-1]
        if kind == "blob":
            yield blob, content
