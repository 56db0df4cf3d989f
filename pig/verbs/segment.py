"""Train the lesion segmenters of one fold and score them on the fold's test patients.

Without --generated one segmenter, trained on the real pairs of the fold's training patients; with it one for each of
`segmentation.doses`, trained on these and as many pairs of the archive, from the first; all for the same number of
steps. Writes csv, one row a dose and test pair: id, patient, fold, set, dose, dice, iou, precision, recall, empty; and
the loss curves, whose validation loss is on the fold's real validation patients. After an interruption run the same
command again: it goes on from --state.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.errors import InputError
from pig.files import atomic
from pig.verbs.common import add_compute, add_settings, compute, settings
from pig.verbs.fitting import add_fit, digest_of, drop_state, recipe, run_fit

if TYPE_CHECKING:
    import torch

    from pig.pairs import Pairs


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument("--fold", metavar="K", type=int, required=True, help="fold, counted from 0")
    parser.add_argument("--generated", metavar="ZIP", help="pairs to add, made inside the same fold")
    parser.add_argument("--out", metavar="CSV", required=True, help="scores of the test pairs to write")
    add_fit(parser)
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, "segmentation").segmentation
    device = compute(args)

    import pandas as pd

    from pig.pairs import concatenate, digest, read_archive, rows

    pairs = read_archive(args.pairs)
    split = pd.read_csv(args.split, dtype=str)
    train, held_out, test = (
        pairs.select(rows(split, pairs.table, args.fold, role)) for role in ("train", "validation", "test")
    )
    name, doses, sets = "real", [0], [train]
    if args.generated is not None:
        generated = read_archive(args.generated)
        name, doses = generated.table["origin"].iloc[0], sorted(chosen.doses)
        if doses[-1] > len(generated):
            raise InputError(
                f"segmentation.doses: {doses[-1]}; expected at most {len(generated)}, the pairs of {args.generated}"
            )
        sets = [concatenate([train, generated.select(range(dose))]) for dose in doses]

    finished = Finished(args.state)
    results = []
    for dose, data in zip(doses, sets, strict=True):
        fingerprint = digest_of(chosen, *map(digest, (data, held_out, test)), args.fold)
        result = finished.get(fingerprint)
        if result is None:
            label = f"segment {name} {dose} fold {args.fold}"
            scores, curve = train_and_score(args, chosen, data, held_out, test, device, label, fingerprint)
            for place, (column, value) in enumerate([("fold", args.fold), ("set", name), ("dose", dose)], 2):
                scores.insert(place, column, value)
            curve.insert(0, "dose", dose)
            result = [frame.to_csv(index=False) for frame in (scores, curve)]
            finished.add(fingerprint, result)
        results.append(result)
    for path, tables in zip((args.out, args.curve), zip(*results, strict=True), strict=True):
        (head, *_), *_ = found = [table.splitlines(keepends=True) for table in tables]
        with atomic(path, "w") as file:
            file.writelines([head, *(line for lines in found for line in lines[1:])])
    finished.drop()
    drop_state(args)


def train_and_score(
    args: Namespace,
    chosen: Any,
    train: "Pairs",
    held_out: "Pairs",
    test: "Pairs",
    device: "torch.device",
    label: str,
    fingerprint: str,
) -> tuple[Any, Any]:
    """The scores of one segmenter on the test pairs, and its loss curve."""
    import torch

    from pig import segmentation
    from pig.training import seed_of

    # The same first weights for every training set of a fold.
    torch.manual_seed(seed_of(chosen.seed, args.fold))
    model = segmentation.build(chosen.encoder, chosen.depth, chosen.decoder_channels, train.images.shape[1:])
    model.to(device)
    data = segmentation.examples(train, device)
    kept, curve = run_fit(
        model,
        segmentation.training_loss(data, chosen.flip),
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
    return segmentation.score(probabilities, test, chosen.threshold), curve


class Finished:
    """The results of segmenters that are done, in a file beside --state, by the fingerprints of their jobs."""

    def __init__(self, state: str | None) -> None:
        self.path = None if state is None else Path(f"{state}.json")
        self.results: dict[str, list[str]] = {}
        if self.path and self.path.exists():
            try:
                self.results = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(
                    f"{self.path}: expected finished results; remove it to start anew"
                ) from error

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
