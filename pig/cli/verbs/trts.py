"""Train on real, test on synthetic: let the fold's segmenters find the lesions of generated slices.

Reads the segmenters of one fold that `pig segment real` kept, trained on real pairs alone, and archives of pairs
generated in that fold. Where a segmenter finds what the generated mask says, the two belong together. Writes csv, one
row a segmenter and pair: id, patient (the pair itself: pairs are independent), fold, set, seed, dice, and shuffled,
the Dice against the mask of another pair of the set.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from pig.cli.options import add_compute, add_settings, compute, settings
from pig.cli.progress import track
from pig.core.errors import InputError
from pig.core.files import atomic


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--models", metavar="FILE", nargs="+", required=True, help="segmenters of one fold")
    parser.add_argument("--generated", metavar="ZIP", nargs="+", required=True, help="archives METHOD.zip")
    parser.add_argument("--out", metavar="CSV", required=True, help="scores to write")
    add_settings(parser)
    add_compute(parser)


def run(args: Namespace) -> str:
    chosen = settings(args, "segmentation").segmentation
    device = compute(args)

    import pandas as pd
    import torch

    from pig.core import params
    from pig.data.archive import read_archive
    from pig.metrics import segmentation
    from pig.metrics.pairing import derangement
    from pig.models import weights

    models = []
    for path in args.models:
        state, header = weights.load(path, ("fold", "seed", "size", "encoder", "depth", "decoder_channels"))
        of = params.header(params.SegmenterHeader, header, path)
        shape = (of.encoder, of.depth, of.decoder_channels, (of.size[0], of.size[1]))
        with torch.device("meta"):  # as in pig/models/trained.py
            weights.match(segmentation.build(*shape).state_dict(), state, path)
        model = segmentation.build(*shape)
        model.load_state_dict(state)
        models.append((header, model.to(device)))
    if len(folds := {header["fold"] for header, _ in models}) > 1:
        raise InputError(f"--models: expected segmenters of one fold; found {sorted(folds)}")

    found = []
    for path in track(args.generated, len(args.generated), f"trts fold {min(folds)}", unit="set"):
        pairs = read_archive(path)
        images = segmentation.examples(pairs, device).images
        order = derangement(len(pairs), chosen.seed)
        for header, model in models:
            if list(pairs.images.shape[1:]) != header["size"]:
                raise InputError(
                    f"{path}: images of {pairs.images.shape[1:]} pixels; expected {header['size']}"
                )
            probabilities = segmentation.predict(model, images, chosen.batch)
            scores = segmentation.score(probabilities, pairs, chosen.threshold)
            # The pictures stay, the masks go around.
            mixed = segmentation.score(probabilities[order], pairs, chosen.threshold)
            found.append(
                pd.DataFrame(
                    {
                        "id": scores["id"],
                        "patient": scores["id"],
                        "fold": header["fold"],
                        "set": Path(path).stem,
                        "seed": header["seed"],
                        "dice": scores["dice"],
                        "shuffled": mixed["dice"],
                    }
                )
            )
    table = pd.concat(found)
    with atomic(args.out, "w") as file:
        table.to_csv(file, index=False)
    told = [
        f"{100 * of['dice'].mean():.1f} % of {name} (shuffled {100 * of['shuffled'].mean():.1f} %)"
        for name, of in table.groupby("set", sort=False)
    ]
    return f"Dice {', '.join(told)}"
