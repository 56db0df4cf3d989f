"""No image, DICOM file or archive gets into git, whatever it is called; and none is in it."""

import base64
import bz2
import gzip
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tarfile

import guard
import numpy as np
import pytest
import yaml
from clones import GIT, ROOT
from local_copies import dicom, encoded, written
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save as safetensors

GREYS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def tarred(file):
    with tarfile.open(fileobj=file, mode="w") as made:
        made.add(__file__, "a.txt")


ABOUT = PngInfo()
ABOUT.add_text("Patient", "MRN-1")
TOLD, ZIP = encoded("PNG", GREYS, pnginfo=ABOUT), written(np.savez, GREYS)
HIDDEN = {
    **{
        form: encoded(form, GREYS)
        for form in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "JPEG2000", "PPM")
    },
    "DICOM": dicom(GREYS),
    "DICOM without preamble": dicom(GREYS)[132:],
    "NIfTI": struct.pack("<i340x4s", 348, b"n+1\0"),
    "ZIP": ZIP,
    "empty ZIP": b"PK\x05\x06" + bytes(18),
    "tar": written(tarred),
    "gzip": gzip.compress(b"text"),
    "bzip2": bz2.compress(b"text"),
    "xz": lzma.compress(b"text"),
    "NumPy": written(np.save, np.arange(4)),
    "weights": safetensors({"a": np.arange(4)}),
    "text of zeros": b"text\0",
}


@pytest.mark.parametrize(
    "name", ["README", "docs/notes.md", "tests/test_it.py", "reports/table1.csv", "params.yaml"]
)
@pytest.mark.parametrize("kind", HIDDEN)
def test_bytes_are_refused_under_any_name(kind, name):
    assert guard.refusal(name, HIDDEN[kind]).startswith("by its content")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "DICOM"])
@pytest.mark.parametrize("encoder", ["base64", "hex"])
def test_bytes_written_as_text_are_refused(kind, encoder):
    content = HIDDEN[kind] * 10
    text = base64.encodebytes(content) if encoder == "base64" else content.hex().encode()
    assert guard.refusal("docs/notes.md", b"# Notes\n" + text) == "by its content bytes written as text"
    assert guard.refusal("a.ipynb", b'{"image/png": "' + text.replace(b"\n", b"") + b'"}')


@pytest.mark.parametrize(
    "name",
    ["a.png", "x/a.PNG", "a.b.dcm", "pig/a.tif", "a.nii.gz", "a.nii", "data/mine.zip", "a.npz", "a.safetensors",
     "patients.csv", "data/patients.tsv", "a.xlsx", "reports.png", "reports/a.png",
     "reports/table1.xlsx"],
)  # fmt: skip
def test_a_name_is_refused_whatever_is_in_it(name):
    assert guard.refusal(name, b"text\n").startswith("by its name")


@pytest.mark.parametrize(
    "name",
    ["README.md", "raw", ".gitignore", "data/mine.zip.dvc", "reports/table1.csv", "tests/cases.csv"],
)
def test_text_is_kept(name):
    assert guard.refusal(name, "text, × and ü\n".encode()) is None
    assert guard.refusal(name, b"") is None


def test_a_figure_is_kept_unless_something_travels_in_it():
    exif, plain = Image.Exif(), HIDDEN["PNG"]
    exif[0x010E] = "MRN-1"
    bad = [TOLD, encoded("PNG", GREYS, exif=exif), plain + ZIP, plain[:-1], plain[:-20], b"", b"text\n"]
    bad += [HIDDEN[kind] for kind in HIDDEN if kind != "PNG"]
    for name in ("reports/figures/pairs.png", "reports/busi/figures/pairs.png", "docs/day.png"):
        assert guard.refusal(name, plain) is None
        for content in bad:
            assert guard.refusal(name, content).startswith("expected a figure")


def test_a_page_is_kept_with_plain_pngs_and_refused_with_anything_more():
    def page(content, kind="png"):
        text = base64.b64encode(content)
        return b'<p>text</p><img src="data:image/' + kind.encode() + b";base64," + text + b'"><p>text</p>'

    noise = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    plain = encoded("PNG", noise)  # long enough to be noticed elsewhere
    for name in ("reports/index.html", "reports/busi/index.html"):
        assert guard.refusal(name, page(plain) * 3) is None
        for content in (TOLD, plain + ZIP, plain[:-1], HIDDEN["JPEG"]):
            assert guard.refusal(name, page(plain) + page(content)).startswith("expected pictures")
        for content in (page(plain, "jpeg"), page(plain) + base64.b64encode(plain), plain):
            assert guard.refusal(name, content).startswith("by its content")
        assert guard.refusal(name, page(plain).replace(b'="><p>', b'A"><p>'))
    for name in ("docs/index.html", "index.html", "reports/page.html", "reports/a/b/index.html"):
        assert guard.refusal(name, page(plain)).startswith("by its content")


def test_git_keeps_nothing_that_the_guard_refuses():
    done = subprocess.run([sys.executable, "tests/guard.py"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_pre_commit_calls_the_guard_with_every_file():
    told = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (hook,) = [hook for hook in told["repos"][0]["hooks"] if hook["id"] == "guard"]
    assert hook["entry"] == "tests/guard.py" and os.access(ROOT / hook["entry"], os.X_OK)
    assert not hook.keys() & {"types", "files", "exclude"}


def test_as_a_hook_it_stops_the_commit_and_judges_what_is_staged(tmp_path):
    def git(*command, code=0):
        env = {**os.environ, **GIT}
        done = subprocess.run(["git", *command], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stderr

    (tmp_path / "tests").mkdir()
    shutil.copy2(ROOT / "tests/guard.py", tmp_path / "tests")
    git("init", "--quiet")
    (tmp_path / ".git/hooks/pre-commit").symlink_to("../../tests/guard.py")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Guard")

    notes = tmp_path / "notes ü.md"
    notes.write_bytes(HIDDEN["DICOM"])
    git("add", "--all")
    notes.write_text("only text now\n", encoding="utf-8")
    assert "notes ü.md: not for git: by its content" in git("commit", "--message", "Notes", code=1)
    git("add", "--all")
    git("commit", "--quiet", "--message", "Notes")
    notes.write_bytes(HIDDEN["ZIP"])
    assert "by its content" in git("commit", "--all", "--message", "Notes", code=1)
