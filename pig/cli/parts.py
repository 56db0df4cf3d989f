"""What `pig sample` keeps while it draws: the pairs so far, in archives in one folder.

A part is an archive of some successive pairs, written whole or not at all. Its name says of which job (a digest) and
which pairs, its note what they cost; so what is there when a job begins is what it goes on from.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pig.core.errors import InputError
from pig.core.files import PREFIX, atomic

if TYPE_CHECKING:
    from pig.data.pairs import Pairs
    from pig.models.drawing import Cost

NAME = re.compile(r"([0-9a-f]{16})-(\d+)-(\d+)\.zip")


class Part(NamedTuple):
    """An archive of the pairs `numbers`."""

    path: Path
    numbers: range
    cost: "Cost"


def kept(folder: str, job: str, numbers: range) -> list[Part]:
    """The parts of `job` that are there, of the first of `numbers` on without a gap; those of other jobs are removed.

    Raises:
        InputError: a part is damaged.
    """
    found = {path: match for path in _files(folder) if (match := NAME.fullmatch(path.name))}
    parts, at = [], numbers.start
    for path, match in sorted(found.items(), key=lambda item: (int(item[1][2]), -int(item[1][3]))):
        first, end = int(match[2]), int(match[3])
        if match[1] != job[:16]:
            path.unlink(missing_ok=True)
        elif first == at and first < end <= numbers.stop:
            parts.append(Part(path, range(first, end), _cost(path)))
            at = end
    return parts


def _cost(path: Path) -> "Cost":
    from pig.data.archive import read_note
    from pig.models.drawing import Cost

    try:
        return Cost(**{key: float(value) for key, value in json.loads(read_note(path)).items()})
    except (InputError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: expected samples of an interrupted run; remove it to start anew"
        ) from error


def keep(folder: str, job: str, first: int, pairs: "Pairs", cost: "Cost") -> Part:
    """Write a part."""
    from pig.data.archive import write_batches

    numbers = range(first, first + len(pairs))
    path = Path(folder) / f"{job[:16]}-{numbers.start:09d}-{numbers.stop:09d}.zip"
    with atomic(path) as file:
        write_batches(file, pairs.table, [pairs], note=json.dumps(cost._asdict()))
    return Part(path, numbers, cost)


def drop(folder: str, job: str) -> None:
    """Remove the parts of `job`, and the folder if nothing else is in it but what a killed run was writing."""
    for path in _files(folder):
        if (match := NAME.fullmatch(path.name)) and match[1] == job[:16]:
            path.unlink(missing_ok=True)
    left = _files(folder)
    if all(path.name.startswith(PREFIX) for path in left):
        for path in left:
            path.unlink(missing_ok=True)
        with suppress(OSError):
            Path(folder).rmdir()


def total(parts: Sequence[Part]) -> "Cost":
    """What all of them cost."""
    from pig.models.drawing import Cost

    return Cost(sum(part.cost.seconds for part in parts), sum(part.cost.cpu_seconds for part in parts))


def _files(folder: str) -> list[Path]:
    return sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []
