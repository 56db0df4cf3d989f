"""Where a study keeps what it makes, relative to its folder: the workflow writes there, and verbs may look there."""


def folder(profile: str) -> str:
    """The folder of all that a profile makes, beside its reports."""
    return f"runs/{profile}"


def pairs(profile: str, source: str) -> str:
    """The archive of real pairs; `source` is that of params.yaml."""
    return f"{folder(profile)}/pairs.zip" if source == "phantom" else source


def split(profile: str) -> str:
    """The roles by fold."""
    return f"{folder(profile)}/split.csv"


def net(profile: str, fold: int | str, name: str) -> str:
    """A network that was trained inside a fold."""
    return f"{folder(profile)}/fold{fold}/{name}.safetensors"
