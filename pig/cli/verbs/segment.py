"""Train lesion segmenters of one fold and score them on the fold's test patients.

SET says what they are trained on: real, the real pairs of the fold's training patients; augmented, the same with the
strong classical augmentation of the section `augmentation`; duplicated, the same and, for each of `segmentation.doses`,
as many of them again; any other name, the same and, for each dose, as many pairs of --generated, from the first, and
with --alone generated pairs of the largest dose without real ones (train on synthetic, test on real). All are trained
for the same number of steps. Writes csv, one row a training set and test pair: id, patient, fold, set, dose, real
(pairs of real training patients), seed, dice, iou, precision, recall, empty; and the loss curves, whose validation
loss is on the fold's real validation patients. After an interruption run the same command again: it goes on from
--state.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.cli.fitting import add_fit, digest_of, drop_state, recipe, run_fit
from pig.cli.options import add_compute, add_settings, compute, settings
from pig.core.errors import InputError
from pig.core.files import atomic

if TYPE_CHECKING:
    import torch

    from pig.data.pairs import Pairs

REAL = ("real", "augmented", "duplicated")  # sets that need no generator


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("set", metavar="SET", help=f"{', '.join(REAL)}, or a name for --generated")
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument("--fold", metavar="K", type=int, required=True, help="fold, counted from 0")
    parser.add_argument(
        "--seed", metavar="S", type=int, default=0, help="number of the segmenter, counted from 0"
    )
    parser.add_argument("--generated", metavar="ZIP", help="pairs to add, made inside the same fold")
    parser.add_argument("--alone", action="store_true", help="also train on generated pairs alone")
    parser.add_argument("--out", metavar="CSV", required=True, help="scores of the test pairs to write")
    parser.add_argument("--model", metavar="FILE", help="segmenter to write (sets of one training set)")
    add_fit(parser)
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> str:
    if (args.generated is None) != (args.set in REAL) or (args.alone and args.generated is None):
        raise InputError(f"segment {args.set}: expected --generated for a set other than {', '.join(REAL)}")
    chosen = settings(args, "segmentation", "augmentation")
    device = compute(args)

    from pig.core.reading import read_csv
    from pig.data.archive import read_archive
    from pig.data.pairs import digest, rows
    from pig.models import weights

    pairs = read_archive(args.pairs)
    split = read_csv(args.split, columns=("id",), text=True)
    train, held_out, test = (
        pairs.select(rows(split, pairs.table, args.fold, role)) for role in ("train", "validation", "test")
    )
    sets = training_sets(args, chosen.segmentation, train)
    if args.model and len(sets) > 1:
        raise InputError(f"--model: segment {args.set} trains {len(sets)} segmenters; expected a set of one")
    if args.set != "augmented":
        chosen.augmentation = None

    finished = Finished(args.state)
    results = []
    for dose, real, data in sets:
        parts = (vars(chosen), *map(digest, (data, held_out, test)), args.fold, args.seed)
        fingerprint = digest_of(*parts)
        result = finished.get(fingerprint)
        if result is None or args.model:  # a finished one has no weights any more
            label = f"segment {args.set} {dose}{'' if real else ' alone'} fold {args.fold} seed {args.seed}"
            scores, curve, model = train_and_score(
                args, chosen, data, held_out, test, device, label, fingerprint
            )
            own = {"fold": args.fold, "set": args.set, "dose": dose, "real": real, "seed": args.seed}
            for place, (column, value) in enumerate(own.items(), 2):
                scores.insert(place, column, value)
            curve.insert(0, "dose", dose)
            curve.insert(1, "real", real)
            result = [frame.to_csv(index=False) for frame in (scores, curve)]
            finished.add(fingerprint, result)
            if args.model:
                sizes = {key: getattr(chosen.segmentation, key) for key in SHAPE}
                header = {"fold": args.fold, "seed": args.seed, "size": list(train.images.shape[1:]), **sizes}
                weights.save(args.model, model.state_dict(), header)
        results.append(result)
    for path, tables in zip((args.out, args.curve), zip(*results, strict=True), strict=True):
        (head, *_), *_ = found = [table.splitlines(keepends=True) for table in tables]
        with atomic(path, "w") as file:
            file.writelines([head, *(line for lines in found for line in lines[1:])])
    finished.drop()
    drop_state(args)
    return _told([scores for scores, _ in results])


def _told(results: list[str]) -> str:
    """Mean Dice of each training set, from its csv."""
    import io

    import pandas as pd

    told = []
    for table in map(pd.read_csv, map(io.StringIO, results)):
        first = table.iloc[0]
        what = "" if not first["dose"] else f" with {first['dose']}{'' if first['real'] else ' alone'}"
        told.append(f"{100 * table['dice'].mean():.1f} %{what}")
    return f"Dice {', '.join(told)}"


SHAPE = ("encoder", "depth", "decoder_channels")  # settings that the weights depend on


def training_sets(args: Namespace, chosen: Any, train: "Pairs") -> "list[tuple[int, int, Pairs]]":
    """(dose, real pairs, pairs) of each segmenter to train."""
    from pig.data.archive import read_archive
    from pig.data.pairs import concatenate

    if args.set in ("real", "augmented"):
        return [(0, len(train), train)]
    doses = sorted(chosen.doses)
    duplicated = args.set == "duplicated"
    more = again(train, doses[-1], chosen.seed) if duplicated else read_archive(args.generated)
    if doses[-1] > len(more):
        raise InputError(
            f"segmentation.doses: {doses[-1]}; expected at most {len(more)}, the pairs of {args.generated}"
        )
    sets = [(dose, len(train), concatenate([train, more.select(range(dose))])) for dose in doses]
    return [*sets, (doses[-1], 0, more.select(range(doses[-1])))] if args.alone else sets


def again(pairs: "Pairs", number: int, seed: int) -> "Pairs":
    """`number` copies of `pairs`, each once in a shuffled order before any comes again; ids of their own."""
    import numpy as np

    from pig.data.pairs import Pairs

    rows = np.resize(np.random.default_rng(seed).permutation(len(pairs)), number)
    assert pairs.masks is not None
    table = pairs.table.iloc[rows].reset_index(drop=True)
    table["id"] = [f"{name}.copy{i}" for i, name in enumerate(table["id"])]
    return Pairs(pairs.images[rows], pairs.masks[rows], table)


def train_and_score(
    args: Namespace,
    chosen: Any,
    train: "Pairs",
    held_out: "Pairs",
    test: "Pairs",
    device: "torch.device",
    label: str,
    fingerprint: str,
) -> tuple[Any, Any, "torch.nn.Module"]:
    """The scores of one segmenter on the test pairs, its loss curve, and itself."""
    import torch

    from pig.metrics import segmentation
    from pig.metrics.augmentation import strong
    from pig.training.fit import seed_of

    augmentation, chosen = chosen.augmentation, chosen.segmentation
    chosen = chosen.model_copy(update={"seed": seed_of(chosen.seed, args.fold, args.seed)})
    torch.manual_seed(chosen.seed)  # the same first weights for every training set of a fold
    model = segmentation.build(chosen.encoder, chosen.depth, chosen.decoder_channels, train.images.shape[1:])
    model.to(device)
    data = segmentation.examples(train, device)
    kept, curve = run_fit(
        model,
        segmentation.training_loss(data, chosen.flip, augmentation and strong(augmentation)),
        len(data),
        recipe(chosen, len(data)),
        segmentation.validation_loss(segmentation.examples(held_out, device), chosen.batch),
        label=label,
        state=args.state,
        checkpoint_every=chosen.checkpoint_every,
        fingerprint=fingerprint,
    )
    model.load_state_dict(kept)
    probabilities = segmentation.predict(model, segmentation.examples(test, device).images, chosen.batch)
    return segmentation.score(probabilities, test, chosen.threshold), curve, model


class Finished:
    """The results of segmenters that are done, in a file beside --state, by the fingerprints of their jobs."""

    def __init__(self, state: str | None) -> None:
        self.path = None if state is None else Path(f"{state}.json")
        self.results: dict[str, list[str]] = {}
        if self.path and self.path.exists():
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
            except (ValueError, RecursionError):
                found = None
            tables = found.values() if isinstance(found, dict) else [None]
            if not all(
                isinstance(two, list) and [type(table) for table in two] == [str, str] for two in tables
            ):
                raise InputError(f"{self.path}: expected finished results; remove it to start anew")
            self.results = found

    def get(self, fingerprint: str) -> list[str] | None:
        return self.results.get(fingerprint)

    def add(self, fingerprint: str, result: list[str]) -> None:
        self.results[fingerprint] = result
        if self.path:
            with atomic(self.path, "w") as file:
                file.write(json.dumps(self.results))

    def drop(self) -> None:
        if self.path:
            self.path.unlink(missing_ok=True)
