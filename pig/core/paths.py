"""Where a study keeps what it makes, relative to its folder: the workflow writes there, and others may look there."""

import os
from pathlib import Path

SETTINGS = "params.yaml"
CONFIG, CARD = "config.json", "README.md"  # of an exported model


def folder(profile: str) -> str:
    """The folder of all that a profile makes, beside its reports."""
    return f"runs/{profile}"


def pairs(profile: str, source: str) -> str:
    """The archive of real pairs; `source` is that of params.yaml."""
    return f"{folder(profile)}/pairs.zip" if source == "phantom" else source


def split(profile: str) -> str:
    """The roles by fold."""
    return f"{folder(profile)}/split.csv"


def fold(profile: str, number: int) -> str:
    """The folder of what is trained and sampled inside a fold."""
    return f"{folder(profile)}/fold{number}"


def net(folder: str | Path, name: str) -> str:
    """A network in a fold's folder, or in an exported model."""
    return f"{folder}/{name}.safetensors"


def study_of(fold: str | Path) -> tuple[Path, str]:
    """The settings' file and the profile of the study that `fold`, ROOT/runs/PROFILE/fold0, is of."""
    run = Path(os.path.abspath(fold)).parent  # which may be a link
    return run.parent.parent / SETTINGS, run.name
