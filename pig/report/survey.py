"""What is in a set of pairs: how many of whom, how large its lesions are and how they stand out. No id gets into it."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pig.data.pairs import Pairs, scale
from pig.metrics.pairing import contrast, ring_width

GROUPS = ("origin", "part", "view", "side", "mask_rule")
SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # quantiles


def lesions(pairs: Pairs, ring: float) -> pd.DataFrame:
    """A row a pair with a lesion: area, percent of the image, and contrast as in `pairing.contrast`, greys on [-1, 1].

    ring: width of the ring around a lesion, as a share of the shorter side.
    """
    width = ring_width(ring, pairs.images.shape[1:])
    masks = np.zeros(pairs.images.shape, np.bool_) if pairs.masks is None else pairs.masks
    rows = [
        (100 * mask.mean(), contrast(scale(image.astype(np.float64)), mask, width))
        for image, mask in zip(pairs.images, masks, strict=True)
        if mask.any()
    ]
    return pd.DataFrame(rows, columns=["area", "contrast"], dtype=float)


def counts(pairs: Pairs) -> pd.DataFrame:
    """Pairs and patients of each combination of GROUPS that occurs, and of all; generated pairs are of nobody."""
    table = pairs.table
    groups = [name for name in GROUPS if name in table and table[name].any()]
    parts = [("all", table)]
    if groups:
        named = table.groupby(groups, sort=True)
        parts = [(" ".join(filter(None, map(str, key))), part) for key, part in named] + parts
    rows = [(name, len(part), _patients(part).nunique()) for name, part in parts]
    return pd.DataFrame(rows, columns=["what", "pairs", "patients"])


def of_patients(pairs: Pairs) -> NDArray[np.int64]:
    """How many pairs each patient has, ascending."""
    return np.sort(_patients(pairs.table).value_counts().to_numpy(np.int64))


def _patients(table: pd.DataFrame) -> "pd.Series[str]":
    return table["patient"][table["patient"] != ""]


def numbers(pairs: Pairs, ring: float) -> dict[str, Any]:
    """What `page` tells, for a machine: ready for JSON. Quantiles are by their shares; none of nothing."""
    found, patients = lesions(pairs, ring), of_patients(pairs)
    height, width = pairs.images.shape[1:]
    told = {
        "pairs_of_a_patient": patients,
        "lesion_percent": found["area"].to_numpy(),
        "contrast": found["contrast"].dropna().to_numpy(),
    }
    return {
        "pairs": len(pairs),
        "patients": len(patients),
        "without_lesion": len(pairs) - len(found),
        "height": height,
        "width": width,
        "ring": ring,
        "groups": counts(pairs).to_dict("records"),
        "quantiles": {
            name: {f"{share:g}": float(np.quantile(values, share)) for share in SHARES}
            if len(values)
            else None
            for name, values in told.items()
        },
    }


def page(pairs: Pairs, ring: float, picture: str | None = None) -> str:
    """A page in Markdown: counts, and quantiles of what the picture shows, if there is one."""
    told = numbers(pairs, ring)
    rows = {"pairs_of_a_patient": "pairs of a patient", "lesion_percent": "lesion, % of the image"}
    lines = [
        "# What the data set holds",
        "",
        f"{len(pairs)} pairs of {told['height']}x{told['width']} pixels, {told['patients']} patients, "
        f"{told['without_lesion']} pairs without a lesion.",
        "",
        "| | pairs | patients |",
        "| --- | --- | --- |",
        *(f"| {row['what']} | {row['pairs']} | {row['patients']} |" for row in told["groups"]),
        "",
        *([f"![Pairs of a patient, area and contrast of lesions]({picture})", ""] if picture else []),
        f"| | {' | '.join(f'{share:.0%}' for share in SHARES)} |",
        f"| --- |{' --- |' * len(SHARES)}",
        *(
            f"| {rows.get(name, name)} | {' | '.join(_cells(name, found))} |"
            for name, found in told["quantiles"].items()
        ),
        "",
        "Columns are quantiles. The lesion is all that a pair's mask marks. Contrast is the mean grey in it minus that",
        f"in a ring around it, {100 * ring:g} % of the image's side wide; black is -1 and white is 1.",
    ]
    return "\n".join(lines) + "\n"


def _cells(name: str, quantiles: dict[str, float] | None) -> list[str]:
    digits = 0 if name == "pairs_of_a_patient" else 2
    return [f"{value:.{digits}f}" for value in quantiles.values()] if quantiles else ["-"] * len(SHARES)
