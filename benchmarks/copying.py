"""The nearest-neighbour search of Table 4 at the paper's size: seconds, share of the machine's peak, memory.

    python benchmarks/copying.py                                    3,072 against 8,723 pairs of 512x512
    python benchmarks/copying.py --generated 256 --training 512 --size 128

Pairs are made up: smooth random textures and ellipses; one in a hundred generated pairs is a mirrored copy, and has to
be found. Side by side in the same run: a plain product of two large matrices, and, on a corner of the problem, scipy's
cdist with the same distance. Ends with 1 if a copy is missed or the memory is above --limit.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom
from scipy.spatial.distance import cdist

sys.path.insert(0, str(Path(__file__).parents[1]))
from pig.metrics.copying import BLOCK, Scales, Set, lesions_of, nearest

SEED = 7
CORNER = 64  # pairs of each set that scipy searches too


def pairs(number: int, size: int, seed: int, name: str) -> Set:
    """`number` pairs of size x size: 16x16 random greys, enlarged, and an ellipse of 0.5 to 4 % of the area."""
    rng = np.random.default_rng(seed)
    images = np.empty((number, size, size), np.uint8)
    lesions = []
    y, x = np.mgrid[:size, :size].astype(np.float32)
    for i in range(number):
        images[i] = zoom(rng.integers(0, 256, (16, 16), dtype=np.uint8), size / 16, order=1)
        a, b = size * rng.uniform(0.04, 0.11, 2)
        top, left = rng.uniform(0.15, 0.85, 2) * size
        lesions += lesions_of((((y - top) / a) ** 2 + ((x - left) / b) ** 2 <= 1)[None])
    ids = [f"{name}{i}" for i in range(number)]
    return Set(images, lesions, ids, ids)


def product_rate(side: int = 2048) -> float:
    """1e9 multiply-adds a second of a product of two square matrices in single precision."""
    a = np.random.default_rng(0).random((side, side), np.float32)
    a @ a
    started = time.perf_counter()
    a @ a
    return side**3 / (time.perf_counter() - started) / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--generated", type=int, default=3072)
    parser.add_argument("--training", type=int, default=8723)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--limit", type=float, default=8.0, help="GiB of memory that it may take")
    parser.add_argument("--out", help="json file to write")
    args = parser.parse_args()

    generated = pairs(args.generated, args.size, SEED, "g")
    training = pairs(args.training, args.size, SEED + 1, "t")
    copied = range(0, args.generated, 100)
    originals = [i % args.training for i in copied]
    for i, j in zip(copied, originals, strict=True):
        generated.images[i] = training.images[j][:, ::-1]
        generated.lesions[i] = training.lesions[j][:, ::-1]

    rate = product_rate()
    started = time.perf_counter()
    found = nearest(generated, training, Scales(0.25, 0.1))
    seconds = time.perf_counter() - started
    names = ("image", "mask", "joint")
    missed = sum(
        int(found.row[name][i]) != j for name in names for i, j in zip(copied, originals, strict=True)
    )

    corner = [part.select(range(CORNER)) for part in (generated, training)]
    started = time.perf_counter()
    flat = [part.images.reshape(len(part.images), -1).astype(np.float64) for part in corner]
    mirrored = corner[1].images[:, :, ::-1].reshape(len(flat[1]), -1).astype(np.float64)
    np.minimum(cdist(flat[0], flat[1], "correlation"), cdist(flat[0], mirrored, "correlation"))
    theirs = time.perf_counter() - started
    started = time.perf_counter()
    nearest(*corner)
    ours = time.perf_counter() - started

    sides = [lesion.shape for part in (generated, training) for lesion in part.lesions]
    frame = (max(h for h, _ in sides) + 1) * (max(w for _, w in sides) + 1)
    work = args.generated * args.training * (2 * args.size**2 + 4 * frame) / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {
        "generated": args.generated,
        "training": args.training,
        "size": args.size,
        "block": BLOCK,
        "seconds": round(seconds, 1),
        "share_of_product_rate": round(work / seconds / rate, 3),
        "scipy_to_ours": round(theirs / ours, 2),
        "peak_gib": round(peak, 2),
        "data_gib": round(sum(part.images.nbytes for part in (generated, training)) / 2**30, 2),
        "planted": len(copied),
        "missed": missed,
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}",
    }
    for key, value in result.items():
        print(f"{key:>22}  {value}")
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if missed:
        print(f"{missed} planted copies were missed", file=sys.stderr)
    if peak > args.limit:
        print(f"{peak:.1f} GiB of memory; expected at most {args.limit:g}", file=sys.stderr)
    return int(bool(missed) or peak > args.limit)


if __name__ == "__main__":
    sys.exit(main())
