"""docs/day.md, every command of it in order, on small private images whose names would be found anywhere."""

import io
import re
import subprocess
import zipfile
from pathlib import Path

import guard
from clones import NOTHING, TAIL, blocks, jobs, run
from tiny import FILE, NAME

from pig.data.archive import read_archive
from pig.report.page import png


def said(day, command):
    """What the block said that holds `command`."""
    (number,) = [number for number, block in enumerate(blocks("day.md")) if command in block]
    return day.said[number]


def test_every_block_was_run(day):
    assert len(day.said) == len(blocks("day.md"))
    assert (day.place / "tables.zip").exists()


def test_private_pairs_are_in_the_study_and_travel(day):
    for clone in (day.ada, day.bo):
        pairs = read_archive(clone / "data/dbt.zip")
        assert (len(pairs), pairs.table["patient"].nunique()) == (16, 8)
    assert "16 pairs of 8 patients" in (day.ada / "reports/study.md").read_text(encoding="utf-8")


def test_a_colleague_who_pulled_has_nothing_to_do(day):
    assert NOTHING in said(day, "cd bo")


def test_an_experiment_reruns_just_what_depends_on_its_number(day):
    assert jobs(said(day, "dvc exp run")) == {"Do mask and image belong together?", *TAIL}
    assert {Path(name).stem for name in day.changed} == {"pairing", "table3", "study", "index"}


def test_the_comparison_tells_the_number_and_what_it_did(day):
    assert "wide-ring" in said(day, "dvc exp show")
    assert "up to date" in said(day, "dvc status")
    compared = said(day, "dvc params diff")
    assert re.search(r"pairing\.ring +0\.06 +0\.1", compared)
    assert "reports/table3.json" in compared and "reports/table1.json" not in compared
    evening = said(day, "git fetch")
    assert "reports/table3.json" in evening and NOTHING in evening


def test_tables_of_both_are_the_same_and_published(day):
    with zipfile.ZipFile(day.place / "tables.zip") as published:
        names = [name for name in published.namelist() if not name.endswith("/")]
        assert {"reports/table2.tex", "reports/table3.csv", "reports/study.md"} <= set(names)
        for name in names:
            assert published.read(name) == (day.ada / name).read_bytes(), name
            assert published.read(name) == (day.bo / name).read_bytes(), name


def test_no_name_and_no_image_has_reached_git(day):
    """In no version of any file in any of the three repositories: branches, experiments, what was left behind.

    DVC leaves the arguments of an experiment, pickled, in no commit: bytes, but no picture and no archive.
    """
    names = [text.encode() for text in (NAME, FILE)]
    for repository in (day.hub, day.ada, day.bo):
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
    first = run("git", "rev-list", "--max-parents=0", "main", cwd=day.hub).strip()
    command = ["git", "log", "--all", "--format=", "--name-only", "--diff-filter=d", "main", "--not", first]
    files = set(filter(None, run(*command, cwd=day.hub).splitlines()))
    figures = {name for name in files if name.endswith(".png")}
    names = ("progression", "curves", "table1", "table2", "doses")
    assert figures == {f"reports/figures/{name}.png" for name in names}
    reports = re.compile(r"reports/([a-z0-9]+\.(csv|json|md|tex)|index\.html)")
    others = {name for name in files - figures if not reports.fullmatch(name)}
    assert others == {"params.yaml", "dvc.lock", ".dvc/config", "data/dbt.zip.dvc"}
    page = (day.bo / "reports/index.html").read_text(encoding="utf-8")
    assert "Slices of this data set stay out of reports" in page
    assert not any(png(image) in page for image in read_archive(day.bo / "data/dbt.zip").images)
    for name in ("data", "pairs", "copies"):
        assert (day.bo / f"runs/dbt/figures/{name}.png").is_file()


def objects(repository):
    """Hash and content of every blob that git has."""

    def cat(form):
        command = ["git", "cat-file", "--batch-all-objects", "--unordered", form]
        return subprocess.run(command, cwd=repository, capture_output=True, check=True).stdout

    read = io.BytesIO(cat("--batch"))
    for _ in cat("--batch-check").splitlines():
        blob, kind, size = read.readline().decode().split()
        content = read.read(int(size) + 1)[:-1]
        if kind == "blob":
            yield blob, content
