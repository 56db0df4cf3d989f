"""Train the lesion segmenter on a fold's real pairs, with or without generated ones, and score its test patients.

Reads the archive of real pairs, the split and, with --generated, an archive of generated pairs of which the first
--dose are added. The number of optimiser steps is the same whatever the training set. Writes one row a test image
(csv: id, patient, fold, set, dose, dice, iou, precision, recall, empty) and the loss curve, whose validation loss is
on the fold's real validation patients. After an interruption run the same command again: it goes on from --state.
"""

from argparse import ArgumentParser, Namespace

from pig.errors import InputError
from pig.files import atomic
from pig.verbs.common import add_compute, add_settings, compute, settings
from pig.verbs.fitting import add_fit, digest_of, drop_state, run_fit


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--pairs", metavar="ZIP", required=True, help="archive of real mask-image pairs")
    parser.add_argument("--split", metavar="CSV", required=True, help="roles by fold, from `pig split`")
    parser.add_argument("--fold", metavar="K", type=int, required=True, help="fold, counted from 0")
    parser.add_argument("--generated", metavar="ZIP", help="archive of generated pairs to add")
    parser.add_argument("--dose", metavar="N", type=int, default=0, help="how many of them, the first")
    parser.add_argument("--out", metavar="CSV", required=True, help="scores to write, one row a test image")
    add_fit(parser)
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> None:
    chosen = settings(args, "segmentation").segmentation
    if (args.generated is None) != (args.dose == 0) or args.dose < 0:
        raise InputError(f"--dose {args.dose}: expected 1 or more with --generated, and neither without it")
    device = compute(args)

    import pandas as pd
    import torch

    from pig import segmentation
    from pig.pairs import concatenate, digest, read_archive, rows
    from pig.training import Recipe

    pairs = read_archive(args.pairs)
    split = pd.read_csv(args.split, dtype=str)
    train, held_out, test = (
        pairs.select(rows(split, pairs.table, args.fold, role)) for role in ("train", "validation", "test")
    )
    if args.generated:
        generated = read_archive(args.generated)
        if len(generated) < args.dose:
            raise InputError(f"{args.generated}: expected at least {args.dose} pairs, found {len(generated)}")
        train = concatenate([train, generated.select(range(args.dose))])

    torch.manual_seed(chosen.seed)
    shape = (pairs.images.shape[1], pairs.images.shape[2])
    model = segmentation.build(chosen.encoder, chosen.depth, chosen.decoder_channels, shape).to(device)
    recipe = Recipe(
        steps=chosen.steps,
        batch=chosen.batch,
        learning_rate=chosen.learning_rate,
        warmup=chosen.warmup,
        schedule=chosen.schedule,
        clip_norm=chosen.clip_norm,
        precision=chosen.precision,
        keep=chosen.keep,
        validate_every=chosen.validate_every,
        seed=chosen.seed,
    )
    name = f"real + {args.dose} generated" if args.dose else "real"
    kept = run_fit(
        args,
        model,
        segmentation.training_loss(segmentation.examples(train, device), chosen.flip),
        len(train),
        recipe,
        segmentation.validation_loss(segmentation.examples(held_out, device), chosen.batch),
        label=f"segment fold {args.fold}, {name}",
        checkpoint_every=chosen.checkpoint_every,
        fingerprint=digest_of(chosen, digest(train), digest(held_out)),
    )
    model.load_state_dict(kept)
    images = segmentation.examples(test, device).images
    scores = segmentation.score(segmentation.predict(model, images, chosen.batch), test, chosen.threshold)
    scores.insert(2, "fold", args.fold)
    scores.insert(3, "set", generated.table["origin"].iloc[0] if args.dose else "real")
    scores.insert(4, "dose", args.dose)
    with atomic(args.out, "w") as file:
        scores[segmentation.COLUMNS].to_csv(file, index=False)
    drop_state(args)
