"""What an import kept and what it left out, by reason: counts, and no name of a file or patient."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pig.data.pairs import Pairs
from pig.data.readers.folder import Rejected

OTHER = "cannot be used"
REASONS = {  # the beginning of what is said of a file -> what is said of all such, where no name can stand
    "missing": "missing file",
    "no mask named": "image without a mask",
    "no image named": "mask without an image",
    "no patient for": "image without a patient",
    "its id": "id of another image",
    "named as": "name of another image",
    "not a ": "broken file",
    "a blank image": "blank image",
    "expected the image's size": "mask of another size",
    "expected one mask of the image's size": "no single mask of the image's size",
    "expected one image file": "no single file of the image",
    "expected a mask of two values": "mask of more or fewer than two values",
    "expected a lesion, found an empty mask": "empty mask",
    "expected one slice a file": "file of several images",
    "expected a file": "broken link or device",
    "expected at most": "too large",
    "expected a lesion within": "inverted mask",
    "expected a box within": "box outside of the image",
    "expected a mass": "outline that is none",
    "expected a name": "unknown form of name",
    "expected a side": "unknown side or view",
    "expected a patient": "no patient, or unknown view",
    "expected one patient": "more or less than one patient, side and view",
    "expected a slice of": "slice that the volume lacks",
    "expected a path": "path that leads elsewhere",
    "expected grey pixels": "image in colour",
    "expected 1 to": "image of too many pixels",
    "expected a frame": "slice that the volume lacks",
    "expected a coding": "coding that is not read",
    "expected as many frames": "volume of another length",
    "expected whole numbers": "box that is none",
    "expected a plist": "broken file",
    "expected numbers": "NaN or infinity",
    "expected opaque pixels": "transparent image",
}


def left_out(rejected: Rejected, skipped: Mapping[str, int]) -> dict[str, int]:
    """Reason -> how many files or lesions, the most frequent first."""
    counts = Counter({reason: number for reason, number in skipped.items() if number})
    counts.update(_kind(reason) for _, reason in rejected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _kind(reason: str) -> str:
    return next((kind for start, kind in REASONS.items() if reason.startswith(start)), OTHER)


def receipt(pairs: Pairs, reasons: Mapping[str, int], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an import, what it kept, and `reasons`, what was left out: ready for JSON."""
    table = pairs.table
    empty = 0 if pairs.masks is None else int((~pairs.masks.any(axis=(1, 2))).sum())
    kept: dict[str, Any] = {
        "pairs": len(pairs),
        "patients": int(table["patient"].nunique()),
        "without_lesion": empty,
    }
    for column in ("view", "side", "mask_rule", "part"):
        if column in table and table[column].any():
            kept[column] = table[column].value_counts().sort_index().to_dict()
    return {**settings, "kept": kept, "left_out": dict(reasons)}
