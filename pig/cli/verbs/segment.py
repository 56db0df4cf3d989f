"""Train lesion segmenters of one fold and score them on the fold's test patients.

SET says what they are trained on:
  real        the real pairs of the fold's training patients
  augmented   the same, with the strong classical augmentation of the section `augmentation`
  duplicated  for each of `segmentation.doses`: the same, and as many of them again
  any other   for each dose: the same, and as many pairs of --generated, from the first. With --alone also generated
              pairs of the largest dose without real ones (train on synthetic, test on real)

All are trained for the same number of steps. Writes csv, one row a training set and test pair: id, patient, fold, set,
dose, real (pairs of real training patients), seed, dice, iou, precision, recall, empty. Writes the loss curves too;
their validation loss is on the fold's real validation patients. After an interruption run the same command again: it
goes on from --state.
"""

import json
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

from pig.cli.fitting import add_fit, but_precision, digest_of, run_fit
from pig.cli.options import add_compute, add_settings, start
from pig.core.errors import InputError
from pig.core.files import atomic

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
    _check(args)
    finished = _finished(args.state)
    chosen, device = start(args, "segmentation", "augmentation")
    own = chosen.segmentation
    if args.set != "augmented":
        chosen.augmentation = None

    from pig.data.archive import read_archive
    from pig.data.pairs import ROLES, digest
    from pig.metrics import segmentation
    from pig.metrics.augmentation import strong
    from pig.models import weights

    pairs = read_archive(args.pairs)
    generated = read_archive(args.generated) if args.generated else None
    augment = strong(chosen.augmentation) if chosen.augmentation else None
    fold = segmentation.Fold(args.fold, *(pairs.of(args.split, args.fold, role) for role in ROLES))
    sets = segmentation.training_sets(args.set, fold.train, generated, own, args.alone)
    if args.model and len(sets) > 1:
        raise InputError(f"--model: segment {args.set} trains {len(sets)} segmenters; expected a set of one")

    results = []
    for data in sets:
        parts = (
            but_precision(chosen, "segmentation"),
            *map(digest, (data.pairs, fold.held_out, fold.test)),
            args.fold,
            args.seed,
        )
        fingerprint = digest_of(*parts)
        allowed = ("fp32", "bf16") if own.precision == "auto" else (own.precision,)
        key = next((key for of in allowed if (key := f"{fingerprint} {of}") in finished), None)
        if key is None or args.model:  # a finished one has no weights any more
            label = f"segment {data.label} fold {args.fold} seed {args.seed}"
            train = partial(run_fit, label=label, state=args.state, fingerprint=fingerprint)
            found = segmentation.train_and_score(data, fold, args.seed, own, augment, device, train)
            if args.model:
                weights.save(args.model, found.model.state_dict(), found.header)
            key = f"{fingerprint} {found.header['computed_in']}"
            finished[key] = [table.to_csv(index=False) for table in (found.scores, found.curve)]
            if args.state:
                with atomic(f"{args.state}.json", "w") as file:
                    json.dump(finished, file)
        results.append(finished[key])
    for path, (first, *others) in zip((args.out, args.curve), zip(*results, strict=True), strict=True):
        with atomic(path, "w") as file:
            file.writelines([first, *(table.split("\n", 1)[1] for table in others)])
    if args.state:
        for path in (args.state, f"{args.state}.json"):
            Path(path).unlink(missing_ok=True)
    return _told([scores for scores, _ in results])


def _check(args: Namespace) -> None:
    """Raise InputError where --generated is missing or too much."""
    if (args.generated is None) != (args.set in REAL) or (args.alone and args.generated is None):
        raise InputError(f"segment {args.set}: expected --generated for a set other than {', '.join(REAL)}")


def _finished(state: str | None) -> dict[str, list[str]]:
    """The csv files, scores and curve, of the segmenters that are done, by fingerprint of the job and precision."""
    path = Path(f"{state}.json")
    if state is None or not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    tables = found.values() if isinstance(found, dict) else [None]
    if not all(isinstance(two, list) and [type(table) for table in two] == [str, str] for two in tables):
        raise InputError(f"{path}: expected finished results; remove it to start anew")
    return found


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
