#!/usr/bin/env python3
"""Refuse images, DICOM files, archives, networks and tables of patients in git: private data belong into DVC.

    tests/guard.py [FILE...]    the files as git is about to keep them; without FILE all that it would keep

Exit code 1 and one line a file that is refused. Everything in git is text, but for the figures of reports/ and docs/,
which are plain PNGs, and the pages of reports/, which hold such PNGs as text; tables (csv, tsv) lie in reports/ and
tests/ alone. A file is judged by its content as well as by its name. It needs git and Python alone:
`ln -s ../../tests/guard.py .git/hooks/pre-commit` makes it a hook of git.
"""

import base64
import io
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator

FIGURES = re.compile(r"(reports/([^/]+/)?figures|docs(/.+)?)/[^/]+\.png")
PAGES = re.compile(r"reports/([^/]+/)?index\.html")
TABLES = re.compile(r"(reports|tests)/.*")

NAMES = {
    "an image": "png jpg jpeg jpe jp2 j2k jls tif tiff bmp gif webp pgm ppm pnm svs heic exr",
    "a DICOM file": "dcm dicom dic ima acr",
    "a volume": "nii mha mhd nrrd nhdr hdr mgh mgz mnc vtk raw",
    "an archive": "zip tar gz tgz bz2 xz zst 7z rar lz4",
    "arrays or weights": "npy npz h5 hdf5 mat pt pth ckpt safetensors onnx pkl pickle parquet feather",
    "a table that may name patients": "csv tsv xls xlsx ods sqlite db",
}
KIND_OF = {suffix: kind for kind, suffixes in NAMES.items() for suffix in suffixes.split()}

PNG = b"\x89PNG\r\n\x1a\n"
MAGIC = {  # beginnings of files that may be text; other formats are no UTF-8 or have zero bytes
    b"NRRD0": "a volume (NRRD)",
    b"ObjectType = Image": "a volume (MetaImage)",
    b"BZh": "an archive (bzip2)",
    **{b"P%d\n" % kind: "an image (Netpbm)" for kind in range(1, 8)},
}
# Base64 or hex, as notebooks, SVG and mail hold pictures.
ENCODED = re.compile(rb"[A-Za-z0-9+/]{400}|([A-Za-z0-9+/]{60,80}\s+){8}")
EMBEDDED = re.compile(rb"\"data:image/png;base64,([A-Za-z0-9+/]+={0,2})\"")


def refusal(name: str, content: bytes) -> str | None:
    """Why git must not keep a file of this name and content; None: it may."""
    if FIGURES.fullmatch(name):
        return None if _is_plain_png(content) else "expected a figure: a whole PNG and nothing beside it"
    if PAGES.fullmatch(name):
        pictures = EMBEDDED.findall(content)
        if not all(len(text) % 4 == 0 and _is_plain_png(base64.b64decode(text)) for text in pictures):
            return "expected pictures that are whole PNGs and nothing beside them"
        content = EMBEDDED.sub(b"", content)
    _, dot, suffix = name.lower().rpartition("/")[2].rpartition(".")
    kind = KIND_OF.get(suffix)
    if dot and kind and not (suffix in ("csv", "tsv") and TABLES.fullmatch(name)):
        return f"by its name {kind}"
    for magic, found in MAGIC.items():
        if content.startswith(magic):
            return f"by its content {found}"
    if ENCODED.search(content):
        return "by its content bytes written as text"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "by its content no text in UTF-8"
    return "by its content no text: it has zero bytes" if b"\0" in content else None


def _is_plain_png(content: bytes) -> bool:
    """Whether these are the chunks of one PNG, none of them text or metadata, and no byte follows."""
    at, found = len(PNG), []
    while content.startswith(PNG) and at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        kind, end = content[at + 4 : at + 8], at + 12 + size
        if content[end - 4 : end] != zlib.crc32(content[at + 4 : end - 4]).to_bytes(4, "big"):
            return False
        found.append(kind)
        at = end
    allowed = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"tRNS", b"gAMA", b"sRGB", b"cHRM", b"sBIT"}
    return at == len(content) and found[:1] == [b"IHDR"] and found[-1] == b"IEND" and set(found) <= allowed


def kept(*names: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files in git's index, all or those of `names`; links are their targets."""
    listed = _git("ls-files", "--stage", "--full-name", "-z", "--", *(names or [":/"]))
    files = []
    for entry in filter(None, listed.decode("utf-8", "replace").split("\0")):
        about, name = entry.split("\t", 1)
        mode, blob, _ = about.split()
        if mode != "160000":  # a submodule is no file
            files.append((name, blob))
    read = io.BytesIO(_git("cat-file", "--batch", given="".join(f"{blob}\n" for _, blob in files)))
    for name, _ in files:
        size = int(read.readline().split()[2])
        yield name, read.read(size + 1)[:-1]


def _git(*command: str, given: str = "") -> bytes:
    return subprocess.run(["git", *command], input=given.encode(), capture_output=True, check=True).stdout


def main(names: list[str]) -> int:
    refused = [(name, why) for name, content in kept(*names) if (why := refusal(name, content))]
    for name, why in refused:
        print(f"{name}: not for git: {why}", file=sys.stderr)
    if refused:
        print("`git rm --cached FILE` takes it out; docs/data.md says what keeps it", file=sys.stderr)
    return bool(refused)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
