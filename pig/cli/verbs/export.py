"""Write a trained generator as a folder for others: weights, config and model card, as Hugging Face hubs expect them.

FOLD is a fold of a study, runs/PROFILE/fold0, with the networks of --method. Writes README.md (the model card),
config.json and one .safetensors a network into the folder --out; `pig.load` reads it, and samples what `pig sample`
does, bit for bit. Paths and other free text of the networks' headers stay behind. A folder that is there is replaced
if it is an export and holds nothing else.

--licence is of the weights, and has no default: whoever trained them must know what the training data allow. --reports
names the tables of the study, which the card's scores are taken from; tables of another profile, or of networks of
another size, are refused. Without it the card says that it has no scores.
"""

import json
import re
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pig.core import paths
from pig.core.errors import InputError
from pig.core.files import PREFIX, atomic
from pig.models.table import METHODS, NETS

if TYPE_CHECKING:
    from pig.core.params import Study
    from pig.report.card import Metric

PHANTOM = (
    "The embedded data set of `pig`: a procedural phantom of digital breast tomosynthesis with masses, drawn by a "
    "program. No patient's image is in it."
)
UNTOLD = "A private or public set of image-mask pairs; whoever exported the model did not say which."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("fold", metavar="FOLD", help="folder of trained networks, runs/PROFILE/fold0")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to write")
    parser.add_argument(
        "--licence",
        "--license",
        metavar="NAME",
        required=True,
        help="of the weights, as hubs name it: mit, cc-by-4.0, ..",
    )
    parser.add_argument("--method", metavar="METHOD", choices=METHODS, default="pig", help="which generator")
    parser.add_argument("--reports", metavar="DIR", help="the study's tables, for the card's scores")
    parser.add_argument("--data", metavar="TEXT", help="for the card: what the networks were trained on")
    parser.add_argument(
        "--params", metavar="FILE", help="settings of the study (default: params.yaml beside runs)"
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="profile of FILE (default: the folder above FOLD's)"
    )


def run(args: Namespace) -> str:
    licence = args.licence.lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        raise InputError(
            f"--licence {args.licence}: expected a licence as hubs name it, e.g. mit or cc-by-4.0"
        )
    fold, out = Path(args.fold), Path(args.out)

    import torch

    from pig.models import loading, weights
    from pig.report import card

    check_replaceable(out)
    if not fold.is_dir() or (fold / paths.CONFIG).exists():
        raise InputError(f"{fold}: expected a fold of a study, runs/PROFILE/fold0")
    chosen = loading.study_of(fold, args.params, args.profile)
    files = loading.files_in(fold, args.method)
    model = loading.read(args.method, files, chosen.sampling, torch.device("cpu"))
    headers = [card.public(header) for header in model.headers.values()]
    config = card.config(args.method, chosen.sampling, headers)
    scores, metrics = read_scores(args, chosen, headers)
    data = args.data or (PHANTOM if chosen.data.source == "phantom" else UNTOLD)
    text = card.card(args.method, chosen.profile, licence, data, headers, chosen.sampling, scores, metrics)
    with whole_folder(out) as new:
        for path, header in zip(files, headers, strict=True):
            weights.save(paths.net(new, header["net"]), weights.load(path)[0], header)
        for name, content in ((paths.CONFIG, json.dumps(config, indent=2) + "\n"), (paths.CARD, text)):
            with atomic(new / name, "w") as file:
                file.write(content)
    kind = METHODS[args.method]
    return f"{kind.label}, {len(headers)} networks, {len(scores)} tables of scores"


def read_scores(
    args: Namespace, chosen: "Study", headers: list[dict[str, Any]]
) -> "tuple[dict[int, str], list[Metric]]":
    """The card's tables and metrics from --reports; InputError if its tables are of other networks."""
    from pig.core.reading import read_text
    from pig.report import card
    from pig.report.evidence import LAYOUTS

    if args.reports is None:
        return {}, []
    reports = Path(args.reports)
    costs = reports / "table5.csv"
    if not costs.is_file():
        raise InputError(f"--reports {reports}: expected the tables of a study, table1.csv to table5.csv")
    card.check_costs(args.method, LAYOUTS[5].kind.read(costs), headers, chosen.sampling, str(costs))
    caption = costs.with_suffix(".md")
    profile = re.search(r"Profile (.+?), data: ", read_text(caption) if caption.is_file() else "")
    if profile and profile[1] != chosen.profile:
        raise InputError(f"{caption}: expected tables of profile {chosen.profile}; found {profile[1]}")
    if headers[-1].get("folds", {}).get("leak", False):
        return {}, []
    own = chosen.fidelity.extractor_sha256
    features = f"an extractor of the study's own (sha256 {own})" if own else "InceptionV3 of 2015-12-05"
    tables = {
        number: LAYOUTS[number].kind.read(path)
        for number in card.CAPTIONS
        if (path := reports / f"table{number}.csv").is_file()
    }
    return card.sections(args.method, tables, features, chosen.statistics.level)


def check_replaceable(out: Path) -> None:
    """Raise InputError unless nothing is at `out`, an empty folder, or an export and no more."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"--out {out}: expected a folder, found a file")
    from pig.models.loading import read_config

    own = {paths.CONFIG, paths.CARD, *(Path(paths.net(out, net)).name for net in NETS)}
    present = {path.name for path in out.iterdir()}
    if other := sorted(present - own):
        raise InputError(f"--out {out}: holds {other[0]}, which no export does; expected a new folder")
    if present:
        if paths.CONFIG not in present:
            raise InputError(f"--out {out}: expected a new folder or an earlier export, with {paths.CONFIG}")
        read_config(out / paths.CONFIG)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A new folder that takes the place of `out` when the block ends without an error, and else leaves no trace."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=PREFIX) as beside:
            new, old = Path(beside) / "new", Path(beside) / "old"
            new.mkdir()
            yield new
            if out.exists():
                out.rename(old)
            new.rename(out)
    except OSError as error:
        if PREFIX in str(error.filename):
            error.filename = str(out)
        raise
