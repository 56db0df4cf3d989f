"""A trained generator as a folder for others, in the layout of Hugging Face hubs: what its config and model card say.

Others get to know no more than they must: of a network's header only what is listed here is kept, so that no path of a
machine and no name of a data set leaves it; and the card's numbers are those of the study's tables.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import pandas as pd

from pig import __version__
from pig.core.errors import InputError
from pig.core.params import Sampling, Shared
from pig.models.generator import evaluations
from pig.models.loading import FORMAT, LIBRARY
from pig.models.method import sampler
from pig.models.table import METHODS, NETS, Params
from pig.report import rendering
from pig.report.evidence import LAYOUTS
from pig.report.formats import Table, to_markdown
from pig.report.tables import PAPER

# ---------------------------- what is made public of a header
NUMBERS = ("fold", "trained_pairs", "seen", "parameters", "validation")
WORDS = {  # texts, and what they must look like
    "net": r"\w+",
    "prediction": r"\w*",
    "version": r"\d+(\.\w+)*",
    "code": r"[0-9a-f]{8,64}",
    "data": r"[0-9a-f]{64}",  # sha256 of the training pairs
    "source": r"[0-9a-f]{64}",  # sha256 of an authors' checkpoint
    "computed_in": r"fp32|bf16",
    "revision": r"[0-9a-f]{7,40}(-dirty)?",
}


def public(header: Mapping[str, Any]) -> dict[str, Any]:
    """What of a network's header others may see: numbers, hashes, and settings, which have no free text."""
    out = {key: header[key] for key in NUMBERS if _number(header.get(key))}
    if _numbers(header.get("size")):
        out["size"] = header["size"]
    for key, form in WORDS.items():
        if isinstance(text := header.get(key), str) and re.fullmatch(form, text):
            out[key] = text
    for name in (*Shared.model_fields, *NETS[header["net"]].sections):
        if isinstance(values := header.get(name), Mapping):
            out[name] = _settings(name, values)
    return out


def _settings(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The known keys of a section; of texts, such as the path of initial weights, only what is one of a few words."""
    known = Params.model_fields[name].annotation.model_fields  # type: ignore[union-attr]
    return {
        key: value
        for key, value in values.items()
        if key in known
        and (value is None or _number(value) or _numbers(value) or value in get_args(known[key].annotation))
    }


def _number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_number, value))


def config(method: str, sampling: Sampling, headers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `pig.load` reads, the method and its settings, and for readers the networks' headers."""
    return {
        "library_name": LIBRARY,
        "format": FORMAT,
        "pig_version": __version__,
        "method": method,
        "sampling": sampling.model_dump(),
        "networks": {header["net"]: public(header) for header in headers},
    }


# ---------------------------- scores
CAPTIONS = {  # of the tables that a card shows
    1: "How close n generated slices are to real slices of test patients (networks of fold 0), with 95 % intervals, "
    "by the features of {features}; the floor is other real slices against the same ones, about the least that can "
    "be reached at this n. Numbers of another n, or of other data, mean nothing here.",
    2: "A lesion segmenter trained on real pairs with and without generated ones, on test patients, in percent, with "
    "{level} intervals over patients; Δ Dice is the difference to real pairs alone.",
    3: "Do mask and image belong together? TRTS: segmenters of real pairs on generated ones, and with their masks "
    "shuffled; TSTR: segmenters of generated pairs on real ones. Dice in percent, with {level} intervals.",
    4: "Copies: generated pairs that are closer to a training pair than all but the closest held-out real pairs are, "
    "whose share is in the first row; ratio: distance to the nearest training pair over that of held-out pairs.",
}
METRICS = ("fid", "kid_x1000", "trts", "tstr")  # of the card's metadata


class Metric(NamedTuple):
    """One number for the card's metadata."""

    type: str
    name: str
    value: float


def sections(
    method: str, tables: Mapping[int, pd.DataFrame], features: str, level: float
) -> tuple[dict[int, str], list[Metric]]:
    """The tables of a study (number -> its csv) cut to `method` and real pairs, in Markdown; and some as metrics.

    features names the extractor of Table 1; level is that of the intervals of Tables 2 and 3.
    """
    texts, metrics = {}, []
    for number, frame in tables.items():
        names = frame["set" if "set" in frame else "row"]
        mine = names == method
        if not mine.any():
            continue
        columns = tuple(
            dataclasses.replace(column, mark="")
            for column in LAYOUTS[number].columns
            if column.group != PAPER and frame.loc[mine, column.key].notna().any()
        )
        layout = dataclasses.replace(LAYOUTS[number], columns=columns, apart=".*")
        caption = CAPTIONS[number].format(features=features, level=f"{100 * level:g} %")
        texts[number] = to_markdown(Table(layout, frame[mine | (names == "real")], caption))
        for column in columns:
            if column.key in METRICS:
                value = round(float(frame.loc[mine, column.key].iloc[0]), column.digits or 0)
                metrics.append(Metric(column.key, f"Table {number}: {column.head}", value))
    return texts, metrics


def check_costs(
    method: str, costs: pd.DataFrame, headers: Sequence[Mapping[str, Any]], sampling: Sampling, name: str
) -> None:
    """Raise InputError unless Table 5, the file `name`, is of networks and a sampler like these."""
    own = costs[costs["row"] == method]
    if own.empty:
        raise InputError(f"{name}: expected a row {method}, of the study of these networks")
    size = sum(header.get("parameters", 0) for header in headers)
    expected = (("parameters_m", size / 1e6, 5e-7), ("evaluations", evaluations(method, sampling), 0.5))
    for key, wanted, nearest in expected:
        found = float(own[key].iloc[0])
        if not abs(found - wanted) < nearest:  # nor where there is no number
            raise InputError(
                f"{name}: {key} of {method}: expected that of these networks, {wanted}; found {found:g}"
            )


# ---------------------------- the card
def card(
    method: str,
    profile: str,
    licence: str,
    data: str,
    headers: Sequence[Mapping[str, Any]],
    sampling: Sampling,
    scores: Mapping[int, str],
    metrics: Sequence[Metric],
) -> str:
    """The model card, Markdown with metadata in YAML before it.

    headers are public ones; data says in a sentence or two what the networks were trained on; scores and metrics are
    those of `sections`, empty if there are none.
    """
    kind, folds, sampled = METHODS[method], headers[-1].get("folds", {}), sampler(method)
    return rendering.render(
        "card.md",
        method=method,
        kind=kind,
        task="image-to-image" if kind.masks else "unconditional-image-generation",
        profile=profile,
        licence=licence,
        data=data,
        headers=headers,
        header=headers[-1],
        leak=folds.get("leak", False),
        folds=folds.get("count"),
        steps=getattr(sampling, sampled.steps),
        by=sampled.by(sampling),
        scores=scores,
        metrics=metrics,
        library=LIBRARY,
        version=__version__,
    )
