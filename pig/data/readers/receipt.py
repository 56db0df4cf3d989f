"""What an import kept and what it left out, by reason: counts, and no name of a file or patient."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pig.data.pairs import Pairs
from pig.data.readers.folder import Rejected


def left_out(rejected: Rejected, skipped: Mapping[str, int]) -> dict[str, int]:
    """Reason -> how many files or lesions, the most frequent first."""
    counts = Counter({reason: number for reason, number in skipped.items() if number})
    counts.update(error.kind for error in rejected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def receipt(pairs: Pairs, reasons: Mapping[str, int], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an import, what it kept, and `reasons`, what was left out: ready for JSON."""
    table = pairs.table
    empty = int((~pairs.need_masks().any(axis=(1, 2))).sum())
    kept: dict[str, Any] = {
        "pairs": len(pairs),
        "patients": int(table["patient"].nunique()),
        "without_lesion": empty,
    }
    for column in ("view", "side", "mask_rule", "part"):
        if column in table and table[column].any():
            kept[column] = table[column].value_counts().sort_index().to_dict()
    return {**settings, "kept": kept, "left_out": dict(reasons)}
