"""Hostile and broken input at the command line: one clear line, exit code 2, nothing half-written.

The rows of docs/inputs.md and their tests are held together at the end.
"""

import ast
import io
import os
import pickle
import re
import resource
import signal
import stat
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from local_copies import LESION, NOISE, encoded, two_folders, written

from pig.cli.main import main
from pig.core.params import load
from pig.data.archive import read_archive, write_archive
from pig.data.pairs import PIXELS
from pig.data.phantom.phantom import phantom
from pig.data.readers.pixels import NOT_TWO
from pig.models import weights
from pig.models.method import net
from pig.models.table import Params

ROOT = Path(__file__).parent.parent
PARAMS = ROOT / "params.yaml"
SMOKE = ["--params", str(PARAMS), "--profile", "smoke"]
SIDE = 30_000


@pytest.fixture
def said(tmp_path, capsys):
    """Run a verb that must refuse: exit code 2, one line that a terminal shows, no new file. Returns the line."""

    def run(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        line = capsys.readouterr().err
        assert line.startswith("pig: ") and line.endswith("\n") and line[:-1].isprintable()
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return run


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    return two_folders(tmp_path, "a")


MASK = LESION.astype(np.uint8) * 255
SUFFIX = {"PNG": ".png", "TIFF": ".tif", "JPEG": ".jpg", "BMP": ".bmp"}


def accepted(*arguments: object) -> bool:
    return main([str(argument) for argument in arguments]) == 0


def importing(folders: tuple[Path, Path], *more: object) -> list[object]:
    flags = ["--images", folders[0], "--masks", folders[1], "--out", folders[0].parent / "out.zip"]
    return ["import", "folder", *flags, "--ids", "keep", "--size", "16", *more]


# --- images and masks ---


@pytest.mark.parametrize("kind", SUFFIX)
def test_an_image_that_is_cut_off_or_empty(kind, folders, said):
    content = encoded(kind, NOISE)
    (folders[0] / "a.png").unlink()
    path = folders[0] / f"a{SUFFIX[kind]}"
    for share in (0, 0.02, 0.5, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        assert f"{path}: broken file" in said(*importing(folders))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_name_that_says_another_format(kind, folders):
    (folders[0] / "a.png").rename(folders[0] / "a.bmp")
    (folders[0] / "a.bmp").write_bytes(encoded(kind, NOISE))
    assert accepted(*importing(folders))


def claiming(kind: str, side: int) -> bytes:
    """A small image whose header says that it is `side` x `side`."""
    content = bytearray(encoded(kind, NOISE))
    if kind == "PNG":
        content[16:24] = struct.pack(">II", side, side)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    elif kind == "BMP":
        content[18:26] = struct.pack("<ii", side, side)
    elif kind == "JPEG":
        place = content.index(b"\xff\xc0")
        content[place + 5 : place + 9] = struct.pack(">HH", side, side)
    else:
        (start,) = struct.unpack_from("<I", content, 4)
        for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
            if struct.unpack_from("<H", content, entry)[0] in (256, 257):  # ImageWidth, ImageLength
                struct.pack_into("<HII", content, entry + 2, 4, 1, side)
    return bytes(content)


def test_images_of_30000_pixels_a_side(folders):
    """Refused by their headers: the process takes no more memory than it does for a small file that is whole."""
    for kind, suffix in SUFFIX.items():
        (folders[0] / f"{kind}{suffix}").write_bytes(claiming(kind, SIDE))
        (folders[1] / f"{kind}.png").write_bytes((folders[1] / "a.png").read_bytes())
    script = "import re, sys\nfrom pig.cli.main import main\ncode = main(sys.argv[1:])\n"
    script += "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])\nsys.exit(code)"
    command = [sys.executable, "-c", script, *map(str, importing(folders))]
    # a process of its own: OpenCV reads its limit when loaded
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    for kind in SUFFIX:
        assert re.search(rf"{kind}\.\w+: too large: .* {PIXELS} ", ran.stderr), ran.stderr
    assert int(ran.stdout) < 400_000  # kB; one of them would be 900 MB


@pytest.mark.parametrize(
    ("folder", "content", "kind"),
    [
        pytest.param("images", b"id,patient\n", "broken file", id="text"),
        pytest.param("images", NOISE[:1, :1], "blank image", id="one pixel"),
        pytest.param("images", np.full_like(NOISE, 9), "blank image", id="one grey"),
        pytest.param("masks", np.full_like(MASK, 255), NOT_TWO, id="full"),
        pytest.param("masks", MASK[:, :59], "mask of another size", id="size"),
        pytest.param("masks", cv2.blur(MASK, (3, 3)), NOT_TWO, id="anti-aliased"),
        pytest.param("masks", 255 - MASK, "inverted mask", id="inverted"),
        pytest.param("masks", np.dstack([MASK, NOISE, MASK]), NOT_TWO, id="colours"),
    ],
)
def test_an_image_or_a_mask_that_cannot_be_one(folder, content, kind, tmp_path, folders, said):
    path = tmp_path / folder / "a.png"
    path.write_bytes(content if isinstance(content, bytes) else encoded("PNG", content))
    assert f"{path}: {kind}: " in said(*importing(folders))


@pytest.mark.parametrize("mask", [np.dstack([MASK] * 3), np.dstack([MASK // 2, MASK, MASK // 5]), 0 * MASK])
def test_a_mask_in_rgb_or_without_lesion(mask, folders):
    (folders[1] / "a.png").write_bytes(encoded("PNG", mask))
    assert accepted(*importing(folders, "--no-crop"))
    found = read_archive(folders[0].parent / "out.zip").masks
    assert bool(found.any()) == bool(mask.any()) and found.mean() < 0.2


def test_masks_shifted_by_a_missing_file(folders, capsys):
    """Pairs are found by name: what follows the gap keeps its mask, and both sides of the gap are told."""
    for number, stem in enumerate("bcd"):
        (folders[0] / f"{stem}.png").write_bytes(encoded("PNG", NOISE))
        (folders[1] / f"{stem}.png").write_bytes(encoded("PNG", np.roll(MASK, number, axis=1)))
    (folders[1] / "b.png").unlink()
    (folders[0] / "d.png").unlink()
    assert not accepted(*importing(folders))
    told = capsys.readouterr().err
    assert "b.png: image without a mask" in told and "d.png: mask without an image" in told
    assert accepted(*importing(folders, "--skip-bad", "--size", "40x60"))
    assert "--patients" in capsys.readouterr().err  # without them each image counts as one
    pairs = read_archive(folders[0].parent / "out.zip")
    assert list(pairs.table["id"]) == ["a", "c"]
    assert (pairs.masks[1] == (np.roll(MASK, 1, axis=1) > 0)).all()


# --- names ---

NAMES = ["a b", "q\"uo'te", "new\nline", "ünï", "tab\t", "esc\x1b[31m", "-rf", "\udcff\udcfe", "a\u202eb"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_with_odd_characters(name, folders, said):
    for folder in folders:
        (folder / "a.png").rename(folder / f"{name}.png")
    assert accepted(*importing(folders))
    pairs = read_archive(folders[0].parent / "out.zip")
    assert re.fullmatch("[A-Za-z0-9_.-]+", pairs.table["id"][0]) and pairs.table["id"][0][0] not in ".-"
    (folders[1] / f"{name}.png").write_bytes(b"")
    assert said(*importing(folders)).count("\n") == 1


def test_names_that_differ_by_case_alone(folders, capsys):
    for folder in folders:
        (folder / "A.png").write_bytes((folder / "a.png").read_bytes())
    assert not accepted(*importing(folders))
    assert "a.png: id of another image" in capsys.readouterr().err


def test_a_path_that_is_a_loop_of_links(tmp_path, folders, said):
    loop = tmp_path / "loop.zip"
    loop.symlink_to(loop)
    assert f"{loop}: " in said("merge", loop, "--out", tmp_path / "o.zip")
    assert f"{loop}: " in said(*importing((loop, folders[1])))
    assert f"{loop}: " in said("split", "--pairs", "p.zip", "--out", "s.csv", "--params", loop)
    (folders[0] / "a.png").unlink()
    (folders[0] / "a.png").symlink_to("a.png")
    assert "a.png: broken link or device" in said(*importing(folders))


# --- tables ---


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"stem;patient\na;1\n", "has stem;patient; expected commas, found ';'"),
        (b"name,patient\na,1\n", "stem|id|image|file; has name, patient"),
        (b"stem,age\na,1\n", "patient|group|patient_id; has stem, age"),
        ("stem,patient\na,Müller\n".encode("latin1"), "UTF-8"),
        ("stem,patient\na,1\n".encode("utf16"), "UTF-8"),
        (b"stem,patient\na,1,2\n", "CSV"),
        (b'stem,patient\n"a,1\n', "CSV"),
        (b"", "CSV"),
        (b'stem,patient\n"a\nb",1\n"a\nb",2\n', r"a\nb: expected one patient"),
    ],
)
def test_a_table_of_patients_that_is_none(content, named, tmp_path, folders, said):
    path = tmp_path / "patients.csv"
    path.write_bytes(content)
    line = said(*importing(folders, "--patients", path))
    assert line.startswith(f"pig: {path}: ") and named in line


def test_a_table_with_a_byte_order_mark_or_paths_in_it(tmp_path, folders):
    path = tmp_path / "patients.csv"
    path.write_bytes(b"\xef\xbb\xbfstem,patient\n../../a.png,../../etc\n")
    assert accepted(*importing(folders, "--patients", path))
    found = read_archive(tmp_path / "out.zip")
    assert found.table[["id", "patient"]].to_numpy().tolist() == [["a", "../../etc"]]  # a name, never a path
    assert sorted(one.name for one in tmp_path.iterdir()) == ["images", "masks", "out.zip", "patients.csv"]


SPLIT = "id,patient,fold0\na,1,train\nb,2,test\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (SPLIT.replace(",", ";"), "expected commas, found ';'"),
        (SPLIT.replace("id", "name", 1), "column id; has name, patient, fold0"),
        (SPLIT[:-3], "fold0 of 'b'"),
        (SPLIT + "b,2,train\n", "'b' twice"),
        (SPLIT + "c,3,train\n", "'c'"),
        (SPLIT.replace("b", "c"), "'b'"),
        ("id,patient,fold0\n", "at least one row"),
        (SPLIT.replace("fold0", "fold1"), "column fold0"),
    ],
)
def test_a_split_that_is_none(content, named, tmp_path, said):
    (tmp_path / "s.csv").write_text(content)
    (tmp_path / "p.zip").write_bytes(archive(**{"pairs.csv": CSV + "a,1,,,,\nb,2,,,,\n", **of("b")}))
    flags = ["--pairs", tmp_path / "p.zip", "--split", tmp_path / "s.csv", "--fold", 0]
    assert named in said("copies", *flags, "--out", tmp_path / "c.csv")


@pytest.mark.parametrize(("key", "value"), [("dice", None), ("dice", "high"), ("fold", ""), ("set", "")])
def test_scores_that_lack_a_column_or_a_number(key, value, tmp_path, said):
    row = dict.fromkeys(("precision", "recall", "dice", "iou"), "0.5") | {"id": "a", "patient": "1"}
    row |= {"fold": "0", "set": "real", "dose": "0", "real": "4", "seed": "0", "empty": "False", key: value}
    row = {name: text for name, text in row.items() if text is not None}
    (tmp_path / "s.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    line = said("tables", "--segment", tmp_path / "s.csv", *SMOKE, "--out", tmp_path / "tables")
    assert re.search(rf"{tmp_path / 's.csv'}: .*{key}", line)


# --- archives ---

CSV = "id,patient,view,slice,origin,seed\n"
BLACK = encoded("PNG", np.zeros((4, 4), np.uint8))


def of(name: str) -> dict[str, bytes]:
    return {f"images/{name}.png": BLACK, f"masks/{name}.png": BLACK}


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file.getvalue()


def archive(method: int = zipfile.ZIP_STORED, **members: bytes | str) -> bytes:
    return zipped({"pairs.csv": CSV + "a,1,,,,\n", **of("a"), **members}, method)


def changed(content: bytes, field: int, value: bytes) -> bytes:
    """The archive with a field of its last entry in the directory replaced."""
    place = content.rindex(b"PK\x01\x02") + field
    return content[:place] + value + content[place + len(value) :]


def twice() -> bytes:
    file = io.BytesIO(archive())
    with warnings.catch_warnings(), zipfile.ZipFile(file, "a") as opened:
        warnings.simplefilter("ignore")
        opened.writestr("images/a.png", BLACK)
    return file.getvalue()


def bomb() -> bytes:
    """A text chunk of 100 MB in a few kB of PNG."""
    text = b"zTXt" + b"a\0\0" + zlib.compress(bytes(10**8))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    place = BLACK.index(b"IDAT") - 4
    return BLACK[:place] + chunk + BLACK[place:]


DEFLATED, TABLE, IMAGE, MEMBER = zipfile.ZIP_DEFLATED, "pairs.csv", "images/a.png", "masks/a.png"
B, LONG = "images/b.png", encoded("PNG", np.zeros((4, 5), np.uint8))
TWO = {TABLE: CSV + "a,1,,,,\nb,1,,,,\n"}
ARCHIVES = {
    "cut off": (archive()[:-30], "ZIP"),
    "checksum": (archive().replace(CSV.encode(), b"j" + CSV.encode()[1:], 1), TABLE),
    "encrypted": (changed(archive(), 8, b"\x01\x00"), MEMBER),
    "method": (archive(zipfile.ZIP_BZIP2), f"{TABLE}: .*method 12"),
    "larger than it says": (changed(archive(DEFLATED), 24, b"\x05\0\0\0"), MEMBER),
    "place": (changed(archive(), 42, b"\xff\xff\xff\x7f"), MEMBER),
    "bomb": (archive(DEFLATED, **{IMAGE: bytes(2**27 + 1)}), f"{IMAGE}: .*134217728 bytes"),
    "bomb of text": (archive(**{IMAGE: bomb()}), f"{IMAGE}: .*PNG"),
    "claim": (archive(**{IMAGE: claiming("PNG", SIDE)}), f"{IMAGE}: .*PNG"),
    "claim below Pillow's limit": (archive(**{IMAGE: claiming("PNG", 8193)}), f"8193x8193 .* {PIXELS}"),
    "twice": (twice(), f"{IMAGE}: .*several"),
    "folder": (archive(**{TABLE: CSV + "b,1,,,,\n", f"{B}/": b""}), B),
    "case": (archive(**{TABLE: CSV + "a,1,,,,\nA,1,,,,\n", **of("A")}), f"{TABLE}: .*'A' and 'a'"),
    "duplicate id": (archive(**{TABLE: CSV + "a,1,,,,\na,1,,,,\n"}), f"{TABLE}: .*'a'"),
    "id with a path": (archive(**{TABLE: CSV + "../a,1,,,,\n"}), f"{TABLE}: .*'../a'"),
    "id with a line": (archive(**{TABLE: CSV + '"a\nb",1,,,,\n'}), rf"{TABLE}: .*'a\\nb'"),
    "rows too long": (archive(**{TABLE: CSV + "a,1,,,,,\n"}), TABLE),
    "no table": (zipped(of("a")), TABLE),
    "no rows": (archive(**{TABLE: CSV}), TABLE),
    "not UTF-8": (archive(**{TABLE: b"\xff\xfe\x00"}), TABLE),
    "no column": (archive(**{TABLE: "id,view,slice,origin,seed\na,,,,\n"}), f"{TABLE}: .*patient"),
    "no image": (archive(**TWO), B),
    "no mask": (archive(**TWO, **{B: BLACK}), "masks/b.png"),
    "other size": (archive(**TWO, **{B: LONG}), B),
    "mask of other size": (archive(**{MEMBER: LONG}), MEMBER),
    "grey mask": (archive(**{MEMBER: encoded("PNG", np.ones((4, 4), np.uint8))}), MEMBER),
    "text for an image": (archive(**{IMAGE: b"no"}), IMAGE),
    "colours": (archive(**{IMAGE: encoded("PNG", np.zeros((4, 4, 3), np.uint8))}), IMAGE),
    "16 bits": (archive(**{IMAGE: encoded("PNG", np.zeros((4, 4), np.uint16))}), IMAGE),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_is_broken_or_a_bomb(name, tmp_path, said):
    content, named = ARCHIVES[name]
    path = tmp_path / "p.zip"
    path.write_bytes(content)
    assert re.match(f"pig: {path}: .*{named}", said("merge", path, "--out", tmp_path / "out.zip"))


def test_an_archive_with_members_elsewhere(tmp_path):
    """Members are read by the ids of the table, into memory: a name that leaves the folder is nothing to pig."""
    inside = tmp_path / "inside"
    inside.mkdir()
    link = zipfile.ZipInfo("images/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    (inside / "p.zip").write_bytes(archive(**{"../../evil.png": BLACK, "/evil.png": BLACK}))
    with zipfile.ZipFile(inside / "p.zip", "a") as opened:
        opened.writestr(link, "/etc/passwd")
    assert accepted("merge", inside / "p.zip", "--out", inside / "out.zip")
    there = sorted(one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*"))
    assert there == ["inside", "inside/out.zip", "inside/p.zip"]
    assert zipfile.ZipFile(inside / "out.zip").namelist() == ["pairs.csv", "images/a.png", "masks/a.png"]


def test_an_archive_of_more_pixels_than_there_is_memory(tmp_path, said, monkeypatch):
    (tmp_path / "p.zip").write_bytes(archive())
    monkeypatch.setattr("os.sysconf", lambda name: 3)
    line = said("merge", tmp_path / "p.zip", "--out", tmp_path / "out.zip")
    assert re.search(r"p\.zip: .* memory, .* 4x4 ", line)


# --- places to write ---


def test_an_out_that_is_no_file(tmp_path, said):
    (tmp_path / "p.zip").write_bytes(archive())
    (tmp_path / "file").write_text("")
    merge = ["merge", tmp_path / "p.zip", "--out"]
    assert f"{tmp_path / 'file'}: " in said(*merge, tmp_path / "file" / "out.zip")
    assert f"{tmp_path}: " in said(*merge, tmp_path)
    assert "/dev/null: " in said(*merge, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert f"{'n' * 300}: " in said(*merge, tmp_path / ("n" * 300))
    assert accepted(*merge, tmp_path / f"{'n' * 250}.zip")  # fits, with what is beside it


def limited(command: list[object], size: int) -> subprocess.CompletedProcess[str]:
    """`pig` in a process that can write no file beyond `size` bytes: what a full disk does, for any user."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    words = [sys.executable, "-m", "pig", *map(str, command)]
    return subprocess.run(words, preexec_fn=limit, capture_output=True, text=True, cwd=ROOT)


def test_a_file_that_cannot_grow(tmp_path):
    """Archive and training state: an older file stays as it was, and nothing lies beside it."""
    train, merge = training(tmp_path), ["merge", tmp_path / "p.zip", "--out", tmp_path / "out.zip"]
    (tmp_path / "out.zip").write_text("older")
    for command, size, out in ((merge, 100, "out.zip"), (train, 20_000, "ddpm.state")):
        ran = limited(command, size)
        assert (ran.returncode, ran.stderr) == (2, f"pig: {tmp_path / out}: file too large\n")
    assert (tmp_path / "out.zip").read_text() == "older"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out.zip", "p.zip", "s.csv"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB, mounted by root; a function that makes it read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place]).returncode:
        pytest.skip("only root may mount a small disk")
    yield place, lambda: subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_full_or_read_only(tmp_path, small_disk, capsys):
    disk, lock = small_disk
    (tmp_path / "p.zip").write_bytes(archive())
    out = disk / "out.zip"
    command = ["phantom", *SMOKE, "--out", str(out)]  # about 40 KiB
    assert accepted("merge", tmp_path / "p.zip", "--out", out)
    older = out.read_bytes()
    (disk / "filler").write_bytes(bytes(40_000))
    assert main(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"pig: {out}: no space left on device"
    assert out.read_bytes() == older and sorted(one.name for one in disk.iterdir()) == ["filler", "out.zip"]
    lock()
    assert main(command) == 2
    assert capsys.readouterr().err == f"pig: {out}: read-only file system\n"
    assert out.read_bytes() == older


# --- networks and training states ---


@pytest.fixture(scope="module")
def network() -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Weights and header of an untrained guider of the smoke profile."""
    settings = load(PARAMS, Params, "smoke")
    header = {"net": "guider", "prediction": "x0", "fold": 0, "size": [32, 32]}
    header |= {name: getattr(settings, name).model_dump() for name in ("network", "process")}
    return weights.portable(net("guider").make(settings)), header


def sampling(path: Path) -> list[object]:
    return ["sample", "pig", *SMOKE, "--models", path, path, "--count", 1, "--out", path.parent / "out.zip"]


@pytest.mark.parametrize(
    "change", [lambda t: t * float("nan"), lambda t: t / 0, lambda t: t.int(), lambda t: t[:1]]
)
def test_a_network_whose_numbers_are_none(change, network, tmp_path, said):
    state, header = network
    path = tmp_path / "net.safetensors"
    weights.save(path, {**state, "conv_in.bias": change(state["conv_in.bias"] + 1)}, header)
    assert f"{path}: conv_in.bias " in said(*sampling(path))


WIDE = {"width": 4096, "multipliers": [1, 2], "blocks": 1, "dropout": 0, "stem": 2, "groups": 4}


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("net", "other", "net is 'other'"),
        ("net", "ldm", "autoencoder: "),
        ("network", {"width": 4096}, "network.multipliers: "),
        ("network", WIDE, "shape"),
        ("process", None, "process: "),
        ("fold", -1, "fold: "),
        ("size", [10**9, 10**9], "size.0: "),
    ],
)
def test_a_network_whose_header_is_another(key, value, named, network, tmp_path, said):
    state, header = network
    path = tmp_path / "net.safetensors"
    weights.save(path, state, {**header, key: value})
    assert re.match(f"pig: {path}: .*{named}", said(*sampling(path)))


@pytest.mark.parametrize("content", [b"", pickle.dumps({"a": 1}), archive(), b"\xff" * 100], ids=range(4))
def test_a_network_that_is_another_file(content, tmp_path, said):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    assert f"{path}: not a .safetensors file" in said(*sampling(path))


def training(folder: Path) -> list[object]:
    """`pig train` on four pairs, which it puts there."""
    pairs, roles = phantom(4, ["CC"], 1, 16, 0), ["train", "train", "validation", "test"]
    (folder / "p.zip").write_bytes(written(write_archive, pairs))
    pairs.table[["id", "patient"]].assign(fold0=roles).to_csv(folder / "s.csv", index=False)
    flags = ["--pairs", folder / "p.zip", "--split", folder / "s.csv", "--fold", 0]
    outs = ["--out", folder / "ddpm.st", "--curve", folder / "ddpm.csv", "--state", folder / "ddpm.state"]
    return ["train", "ddpm", *SMOKE, *flags, *outs]


def test_a_training_state_that_is_none(tmp_path, said, monkeypatch):
    """Cut off, a pickle, or of the same job with its content changed."""
    train = training(tmp_path)
    with monkeypatch.context() as kept:
        kept.setattr("pig.cli.verbs.train.drop_state", lambda args: None)
        assert accepted(*train)
    path = tmp_path / "ddpm.state"
    content = path.read_bytes()
    for other in (b"", content[:5000], pickle.dumps([1])):
        path.write_bytes(other)
        assert f"{path}: expected a training state; remove it to start anew" in said(*train)
    saved = torch.load(io.BytesIO(content), weights_only=True)
    given = saved["checkpoint"]
    small = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    for change in (
        {"model": {}},
        {"model": {key: value * float("nan") for key, value in given["model"].items()}},
        {"optimizer": {**given["optimizer"], "state": {0: small}}},  # fused Adam would write beyond it
        {"best": 5},
        {"state": {**given["state"], "since": 5}},
    ):
        torch.save({**saved, "checkpoint": {**given, **change}}, path)
        assert f"{path}: expected the training state of this network; remove it" in said(*train)


# --- settings ---

TEXT = PARAMS.read_text(encoding="utf-8")
MERGES = "b0: &b0 {x: 1}\n" + "".join(
    f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 10)}]}}\n" for i in range(1, 12)
)
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        pytest.param(TEXT.replace("  count: 5", "\tcount: 5"), "line ", id="tab"),
        pytest.param(TEXT + LAUGHS, "a0", id="laughs"),
        pytest.param(TEXT + MERGES, "line ", id="merges"),
        pytest.param(
            LAUGHS + TEXT.replace("doses: [1024, 2048, 3072]", "doses: *a11"),
            "segmentation.doses.0",
            id="in place",
        ),
        pytest.param(LAUGHS + TEXT.replace("  paper: {}", "  paper: *a11"), "profiles.paper", id="profile"),
        pytest.param(TEXT + "x: &a [*a]\n", "x", id="loop"),
        pytest.param("[" * 20_000, "", id="deep"),
        pytest.param(TEXT.replace("count: 5", f"count: {'9' * 5000}"), "", id="digits"),
        pytest.param(TEXT.replace("patients: 367", "patients: 99999999999"), "phantom.patients", id="huge"),
        pytest.param(TEXT.replace("size: 512", "size: 100000"), "data.size", id="side"),
        pytest.param(TEXT.replace("kl: 0.000001", "kl: .nan"), "autoencoder.kl", id="nan"),
        pytest.param(TEXT.replace("kl: 0.000001", "kl: 2001-02-03"), "autoencoder.kl", id="date"),
        pytest.param(TEXT + "x: 2001-99-99\n", "", id="no date"),
        pytest.param(TEXT.replace("  count: 5", "  count: 5\n  count: 4"), "count", id="twice"),
        pytest.param("", "NoneType", id="empty"),
        pytest.param(TEXT.encode().replace(b"# paper", b"# \xff"), "", id="latin1"),
        pytest.param(TEXT + "x: !!python/object/apply:os.system [ls]\n", "os.system", id="code"),
    ],
)
def test_settings_that_are_broken_or_a_bomb(content, named, tmp_path, said):
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = said("phantom", "--params", path, "--profile", "paper", "--out", tmp_path / "p.zip")
    assert line.startswith(f"pig: {path}: ") and named in line


@pytest.mark.parametrize("text", ["5", "{", "[" * 100_000, '{"data": {"size": NaN}}'])
def test_a_cfg_that_is_none(text, tmp_path, said):
    assert "--cfg: " in said("phantom", "--cfg", text, "--out", tmp_path / "p.zip")


# --- the table ---


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if hasattr(node, "name")}


def test_every_row_of_the_table_has_its_test():
    table = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8").split("## What pig says")[1]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert all("::" in row.split(" | ")[-1] for row in rows)
    found: dict[str, set[str]] = {}
    for file, name in re.findall(r"`(tests/\w+\.py)::(\w+)`", "\n".join(rows)):
        found.setdefault(file, set()).add(name)
    for file, names in found.items():
        assert names <= functions(ROOT / file), file
    mine = {name for name in functions(Path(__file__)) if name.startswith("test_")}
    assert mine - found["tests/test_hostile.py"] == {"test_every_row_of_the_table_has_its_test"}
