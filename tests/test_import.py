"""`pig import`: what it writes, what it says, and that neither tells who a patient is."""

import ast
import io
import json
import re
import stat
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from local_copies import VIEWS, bcs_dbt, breast, cbis_dicom, cbis_jpeg, inbreast
from PIL import Image

from pig.cli.main import main
from pig.core.codehash import PACKAGE
from pig.data.archive import read_archive
from pig.data.readers.pixels import UnusableError
from pig.data.readers.receipt import left_out
from pig.report import figures

KINDS = ["folder", "bcs-dbt", "cbis-ddsm", "cbis-jpeg", "inbreast"]
SECRET = "Zaphodina"  # in tags, paths and tables
NUMBERS = re.compile(
    rb"P_?0000[17]|P000[12][0-9]|S00163|S01237|1\.2\.826|205869|a1b2c3|19470704", re.IGNORECASE
)


def copy_of(kind: str, root: Path, **tags: object) -> list[str]:
    """Make a local copy below `root` and give the words of the command line that read it."""
    if kind == "folder":
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
        for i in range(4):
            pixels = (breast(seed=i) * 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "images" / f"P_00001-{SECRET}-{i}.png")
            Image.fromarray(pixels > 100).save(root / "masks" / f"P_00001-{SECRET}-{i}.png")
        rows = [f"P_00001-{SECRET}-{i},{SECRET}-{i // 2}" for i in range(4)]
        (root / "patients.csv").write_text("\n".join(["stem,patient", *rows]))
        paths = {"--images": root / "images", "--masks": root / "masks", "--patients": root / "patients.csv"}
        return ["folder", *(word for name, path in paths.items() for word in (name, str(path)))]
    if kind == "cbis-jpeg":
        cbis_jpeg(root)
        return ["cbis-ddsm", str(root)]
    {"bcs-dbt": bcs_dbt, "cbis-ddsm": cbis_dicom, "inbreast": inbreast}[kind](root, **tags)
    return [kind, str(root)]


def run(words: list[str], out: Path, *more: str) -> int:
    return main(["import", words[0], "--size", "24", "--out", str(out), *words[1:], *more])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_is_written_or_said_tells_who_a_patient_is(kind, tmp_path, capfd):
    names = ("InstitutionName", "PatientComments", "OtherPatientIDs")
    tags = dict.fromkeys(names, SECRET) | {"PatientName": f"{SECRET}^J", "PatientBirthDate": "19470704"}
    words = copy_of(kind, tmp_path / SECRET / "P_00001", **tags)
    for path in (tmp_path / SECRET).rglob("*.csv"):
        separator = ";" if kind == "inbreast" else ","
        table = pd.read_csv(path, sep=separator, dtype=str).assign(Name=SECRET)
        for column in {"pathology", "Class", "Bi-Rads ", "mass shape"} & set(table):
            table[column] = SECRET
        table.to_csv(path, sep=separator, index=False)
    made = tmp_path / "made"
    extra = ["--preview", str(made / "sheet.png"), "--report", str(made / "report.json")]
    assert run(words, made / "pairs.zip", *extra) == 0
    said = capfd.readouterr()
    assert main(["describe", str(made / "pairs.zip"), "--out", str(made / "page.md")]) == 0
    shown = capfd.readouterr()
    parts = {path.name: path.read_bytes() for path in made.iterdir()}
    assert set(parts) == {"pairs.zip", "sheet.png", "report.json", "page.md", "page.png"}
    parts |= {"streams": "".join([*said, *shown]).encode()}
    with zipfile.ZipFile(made / "pairs.zip") as archive:
        assert not archive.comment
        for info in archive.infolist():
            assert not info.comment + info.extra
            parts[f"pairs.zip/{info.filename}"] = archive.read(info) + info.filename.encode()
            if info.filename.endswith(".png"):
                assert Image.open(io.BytesIO(archive.read(info))).info == {}
    for name, content in parts.items():
        assert SECRET.encode().lower() not in content.lower(), name
        assert not NUMBERS.search(content), name
    assert len(parts["streams"]) > 20
    assert run(words, tmp_path / "keep.zip", "--ids", "keep") == 0  # where the search does find them
    with zipfile.ZipFile(tmp_path / "keep.zip") as archive:
        assert NUMBERS.search(archive.read("pairs.csv"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_archive_has_the_listed_columns_and_patients_and_depends_on_the_salt(kind, tmp_path, monkeypatch):
    """Equal imports are equal bytes. Another salt gives other names, and with --ids keep there is none."""
    words = copy_of(kind, tmp_path / "copy")
    assert run(words, tmp_path / "hash.zip") == run(words, tmp_path / "keep.zip", "--ids", "keep") == 0
    hashed, kept = read_archive(tmp_path / "hash.zip"), read_archive(tmp_path / "keep.zip")
    columns = ["id", "patient", "file", "view", "slice", "origin", "seed"]
    more = [] if kind == "folder" else ["side", "mask_rule", "lesions", "finding", "part"]
    assert list(hashed.table) == list(kept.table) == columns + more
    assert set(hashed.table["file"]) == {""}
    expected = {"folder": [2, 2], "bcs-dbt": [1, 3], "inbreast": [2]}.get(kind, [1, 2])
    for table in (hashed.table, kept.table):
        assert sorted(table["patient"].value_counts()) == expected
    names = [*hashed.table["id"], *hashed.table["patient"]]
    assert all(re.fullmatch(r"[0-9a-f]{12}", name) for name in names)
    one, other = (sorted(image.tobytes() for image in pairs.images) for pairs in (hashed, kept))
    assert one == other
    assert (hashed.masks.any(axis=(1, 2))).all() or kind == "folder"
    assert run(words, tmp_path / "again.zip") == 0
    assert (tmp_path / "hash.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    monkeypatch.setenv("PIG_SALT", "another salt that only this test has")
    assert run(words, tmp_path / "other.zip") == 0
    assert not set(hashed.table["patient"]) & set(read_archive(tmp_path / "other.zip").table["patient"])


def test_a_salt_is_made_once_for_its_owner_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("PIG_SALT")
    words = copy_of("inbreast", tmp_path / "copy")
    salt = tmp_path / "data" / "salt"
    assert run(words, tmp_path / "a.zip", "--salt", str(salt)) == 0
    assert str(salt) in capsys.readouterr().err
    text = salt.read_text()
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", text)
    assert run(words, tmp_path / "b.zip", "--salt", str(salt)) == 0
    assert text == salt.read_text()
    assert text.strip() not in capsys.readouterr().err
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    salt.write_text("short\n")
    for named in (f"{salt}: ", "PIG_SALT: "):
        assert run(words, tmp_path / "c.zip", "--salt", str(salt)) == 2
        assert named in capsys.readouterr().err and not (tmp_path / "c.zip").exists()
        monkeypatch.setenv("PIG_SALT", "short")


def test_neither_git_nor_dvc_takes_the_salt(request):
    root = request.config.rootpath
    asked = subprocess.run(["git", "check-ignore", "--quiet", "data/.salt"], cwd=root, check=False)
    assert asked.returncode == 0
    assert "/data/.salt" in (root / ".dvcignore").read_text().split()


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_tells_and_writes_nothing(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PIG_SALT")
    words = copy_of(kind, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    extra = ["--preview", "sheet.png", "--report", "report.json"]
    assert main(["import", *words, "--dry-run", *extra]) == 0
    counts = {"folder": (4, 2), "bcs-dbt": (4, 2), "inbreast": (2, 1)}.get(kind, (3, 2))
    assert "{} slices of {} patients".format(*counts) in capsys.readouterr().err
    assert main(["import", *words]) == 2
    assert capsys.readouterr().err.startswith("pig: --out: ")
    assert sorted(tmp_path.rglob("*")) == before


def test_json_is_all_that_stands_on_standard_output(tmp_path, capsys):
    words = copy_of("bcs-dbt", tmp_path / "copy")
    lost = next((tmp_path / "copy").rglob("01-01-2000-DBT-S00163-MAMMO screening-0/*/1-1.dcm"))
    lost.unlink()
    quiet, report = ["--json", "--quiet"], tmp_path / "report.json"
    assert run(words, tmp_path / "out.zip", "--dry-run", *quiet) == 0
    told = capsys.readouterr()
    would = json.loads(told.out)
    assert told.err == ""
    assert (would["slices"], would["patients"], would["views"]) == (3, 2, {"CC": 1, "MLO": 2})
    assert would["left_out"] == {"missing file": 1, "view without a box": 1}
    assert [each["name"] for each in would["rejected"]] == [str(lost.relative_to(tmp_path / "copy"))]
    assert run(words, tmp_path / "out.zip", *quiet, "--skip-bad", "--report", str(report)) == 0
    told = capsys.readouterr()
    assert told.err == "" and json.loads(told.out) == json.loads(report.read_text())
    assert run(words, tmp_path / "out.zip", *quiet) == 2 and capsys.readouterr().out == ""


def test_a_report_counts_by_kind_without_a_name(tmp_path, capsys):
    words = copy_of("cbis-ddsm", tmp_path / "copy")
    next((tmp_path / "copy").rglob("Mass-Training_P_00007_LEFT_MLO/*/*/1-1.dcm")).write_bytes(b"")
    out, report = tmp_path / "out.zip", tmp_path / "report.json"
    assert run(words, out, "--report", str(report)) == 2
    assert not out.exists() and not report.exists()
    assert run(words, out, "--report", str(report), "--skip-bad", "--mirror", "left") == 0
    options = {"kind": "cbis-ddsm", "size": "24", "crop": "breast", "mirror": "left", "ids": "hash"}
    kept = {"pairs": 2, "patients": 1, "without_lesion": 0, "view": {"CC": 1, "MLO": 1}}
    kept |= {"side": {"L": 1, "R": 1}, "mask_rule": {"mask": 2}, "part": {"train": 2}}
    lost = {"broken file": 1, "no single file of the image": 1}
    assert json.loads(report.read_text()) == {**options, "kept": kept, "left_out": lost}
    assert "left out: 1 broken file, 1 no single file of the image" in capsys.readouterr().err


def test_kinds_are_words_of_the_code_so_that_no_name_gets_among_them():
    rejected = [UnusableError(Path("Smith"), "blank image", name) for name in ("Smith", "Jones")]
    assert left_out(rejected, {"no box": 3, "none": 0}) == {"no box": 3, "blank image": 2}
    trees = [ast.parse(path.read_text()) for path in (PACKAGE / "data" / "readers").glob("*.py")]
    texts = [node for tree in trees for node in tree.body if isinstance(node, ast.Assign)]
    fixed = {each.targets[0].id for each in texts if isinstance(each.value, ast.Constant)}
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    kinds = [call.args[1] for call in calls if getattr(call.func, "id", "") == "UnusableError"]
    assert len(kinds) > 25
    assert all(isinstance(kind, ast.Constant) or kind.id in fixed for kind in kinds)


@pytest.mark.parametrize("mirror", ["left", "right"])
def test_mirroring_puts_all_chest_walls_on_one_side(tmp_path, mirror):
    words = copy_of("bcs-dbt", tmp_path / "copy")
    assert run(words, tmp_path / "out.zip", "--mirror", mirror) == 0
    pairs = read_archive(tmp_path / "out.zip")
    left, right = pairs.images[:, :, 0].mean(), pairs.images[:, :, -1].mean()
    assert left > right if mirror == "left" else left < right
    assert set(pairs.table["side"]) == {"L", "R"}  # what the breast is, not how the picture lies


def test_cropping_and_the_options_of_bcs_dbt_reach_the_archive(tmp_path):
    words = copy_of("bcs-dbt", tmp_path / "copy")
    more = ["--ids", "keep", "--slices", "3", "--mask", "region", "--masses-only"]
    assert run(words, tmp_path / "a.zip", *more) == 0
    table = read_archive(tmp_path / "a.zip").table
    assert set(table["mask_rule"]) == {"region"}
    assert list(table["id"])[:3] == [f"{'-'.join(VIEWS[0][:3])}-00{i}" for i in (1, 2, 3)]
    assert len(table) == 3 + 5 + 2  # around frames 2 of lcc2, 1 and 4 of rmlo, 0 of lcc
    assert run(words, tmp_path / "b.zip", "--no-crop") == run(words, tmp_path / "c.zip") == 0
    whole, cut = (read_archive(tmp_path / f"{name}.zip").images for name in "bc")
    assert (whole[:, 0] == 0).all()
    assert cut[:, :2].any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["bcs-dbt", "none"], "none"),
        (["bcs-dbt", "."], "BCS-DBT-file-paths"),
        (["bcs-dbt", ".", "--slices", "0"], "--slices 0"),
        (["inbreast", "."], "INbreast.csv"),
        (["cbis-ddsm", "."], "mass_case_description_*_set.csv"),
        (["folder", "--images", ".", "--masks", "none"], "none"),
        (["folder", "--images", ".", "--masks", "."], "images with masks"),
        *((["inbreast", ".", f"--size={size}"], f"--size {size}") for size in ("0", "64x", "-3")),
    ],
)
def test_bad_words_are_one_line_and_code_2(words, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(words, tmp_path / "out.zip") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and named in said
    assert list(tmp_path.iterdir()) == []


def test_a_preview_shows_the_crop_and_the_lesion_of_a_slice():
    stored = np.linspace(0, 4000, 60 * 40).reshape(60, 40)
    lesion = np.zeros((60, 40), bool)
    lesion[20:30, 10:20] = True
    grey = np.full((16, 16), 99, np.uint8)
    one = figures.Steps(stored, lesion, (slice(5, 50), slice(0, 30)), grey[:, :9], grey, grey > 100)
    first = figures.before_after([one, one]).axes[0]
    np.testing.assert_allclose(first.images[0].get_array(), stored / 4000 * 255)
    frame = first.patches[0]
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (-0.5, 4.5, 30, 45)
    assert len(first.collections[0].get_segments()) == 40  # the lesion's edge
    assert figures.to_png(figures.before_after([one._replace(stored=np.zeros((60, 40)))]), 50)
