"""Train the lesion segmenter of one fold and score it on the fold's test patients.

Trains on the real pairs of the fold's training patients and, if given, the first --dose pairs of the --generated
archive; always for the same number of steps. Writes csv, one row a test pair: id, patient, fold, set, dose, dice,
iou, precision, recall, empty; and the loss curve, whose validation loss is on the fold's real validation patients.
"""

from argparse import ArgumentParser, Namespace

from pig.errors import InputError
from pig.files import atomic
from pig.verbs.common import add_compute, add_settings, compute, settings
from pig.verbs.fitting import add_fit, digest_of, drop_state, recipe, run_fit


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of the real pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument("--fold", metavar="K", type=int, required=True, help="fold, counted from 0")
    parser.add_argument("--generated", metavar="ZIP", help="pairs to add, made inside the same fold")
    parser.add_argument("--dose", metavar="N", type=int, help="how many of them, from the first")
    parser.add_argument("--out", metavar="CSV", required=True, help="scores of the test pairs to write")
    add_fit(parser)
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, "segmentation").segmentation
    if (args.generated is None) != (args.dose is None):
        raise InputError("--generated and --dose: expected both or neither")
    device = compute(args)

    import pandas as pd
    import torch

    from pig import segmentation
    from pig.pairs import concatenate, digest, read_archive, rows
    from pig.training import seed_of

    pairs = read_archive(args.pairs)
    split = pd.read_csv(args.split, dtype=str)
    train, held_out, test = (
        pairs.select(rows(split, pairs.table, args.fold, role)) for role in ("train", "validation", "test")
    )
    name = "real"
    if args.generated is not None:
        generated = read_archive(args.generated)
        if not 1 <= args.dose <= len(generated):
            raise InputError(
                f"--dose {args.dose}: expected 1 to {len(generated)}, the pairs of {args.generated}"
            )
        name = generated.table["origin"].iloc[0]
        train = concatenate([train, generated.select(range(args.dose))])

    # The same first weights for every training set of a fold.
    torch.manual_seed(seed_of(chosen.seed, args.fold))
    model = segmentation.build(chosen.encoder, chosen.depth, chosen.decoder_channels, pairs.images.shape[1:])
    model.to(device)
    data = segmentation.examples(train, device)
    kept = run_fit(
        args,
        model,
        segmentation.training_loss(data, chosen.flip),
        len(data),
        recipe(chosen, len(data)),
        segmentation.validation_loss(segmentation.examples(held_out, device), chosen.batch),
        label=f"segment {name} {args.dose or 0} fold {args.fold}",
        checkpoint_every=chosen.checkpoint_every,
        fingerprint=digest_of(chosen, digest(train), digest(held_out), args.fold),
    )
    model.load_state_dict(kept)
    probabilities = segmentation.predict(model, segmentation.examples(test, device).images, chosen.batch)
    scores = segmentation.score(probabilities, test, chosen.threshold)
    for place, (column, value) in enumerate(
        [("fold", args.fold), ("set", name), ("dose", args.dose or 0)], 2
    ):
        scores.insert(place, column, value)
    with atomic(args.out, "w") as file:
        scores.to_csv(file, index=False)
    drop_state(args)
