"""params.yaml -> frozen, validated settings. An unknown, missing or ill-typed key is an error that names it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pig.core.errors import InputError

# Bounds that no study comes near: beyond, a number is a slip of the pen, and would end in a lack of memory or time.
Count = Annotated[int, Field(ge=1, le=10**9)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Few = Annotated[int, Field(ge=1, le=64)]
Side = Annotated[int, Field(ge=1, le=8192)]  # pixels; pig.data.pairs.PIXELS is its square
Shape = Annotated[list[Side], Field(min_length=2, max_length=2)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(gt=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NODES, LENGTH, DEPTH = 100_000, 10**6, 100  # values, characters and nested brackets of a file of settings
Sections = SimpleNamespace  # one attribute a section, e.g. sections.network.width


class Section(BaseModel):
    """A section of params.yaml; params.yaml itself says what each key means, its unit and origin."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    source: str
    size: Side

    def check(self, name: str) -> None:
        """Raise InputError, naming the file `name` of these settings, unless the archive of pairs is there."""
        if self.source != "phantom" and not Path(self.source).is_file():
            raise InputError(
                f"{name}: data.source: expected the archive {self.source}; found none: `pig import`, or `dvc pull`"
            )


class Phantom(Section):
    patients: Count
    views: list[Literal["CC", "MLO"]] = Field(min_length=1)
    slices: Count
    seed: Seed


class Folds(Section):
    count: Annotated[int, Field(ge=2)]
    validation: Share
    seed: Seed
    leak: bool


class Network(Section):
    width: Channels
    multipliers: list[Few] = Field(min_length=1, max_length=13)  # 2 ** 13 is the longest side
    blocks: Few
    dropout: Annotated[float, Field(ge=0, lt=1)]
    stem: Few
    groups: Channels


class Built(BaseModel):
    """The sections that a network is made from: of most `network` alone. Other keys, as in a header, are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    network: Network


class Process(Section):
    T: Annotated[int, Field(ge=1, le=10**6)]
    schedule: Literal["linear", "cosine"]
    beta_1: Share
    beta_T: Share


class Training(Section):
    epochs: Count | None
    steps: Count | None
    batch: Count
    learning_rate: Positive
    warmup: Annotated[int, Field(ge=0)]
    schedule: Literal["constant", "cosine", "plateau"]
    plateau_factor: Share
    plateau_patience: Count
    ema: Share | None
    clip_norm: Positive | None
    precision: Literal["fp32", "bf16"]
    compile: bool
    antithetic: bool
    keep: Literal["best", "last"]
    validate_every: Count
    validation_draws: Count
    checkpoint_every: Count
    seed: Seed

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("expected either epochs or steps, and null for the other")
        return self


class Sampling(Section):
    steps: Count
    ddpm_steps: Count
    solver: Literal["ddim", "dpmpp2m"]
    spacing: Literal["trailing", "leading", "log_snr"]
    clip: bool
    settle: Share | None
    guide: Literal["x0_hat", "local_mean"]
    mask: Literal["sign", "local_mean"]
    grey_levels: Literal["fixed", "batch"]
    precision: Literal["fp32", "bf16"]
    compile: bool
    tile: Count
    batch: Count
    shards: Count
    seed: Seed

    def check(self, T: int, name: str) -> None:
        """Raise InputError unless the numbers of steps suit a process of T steps, which is called `name`."""
        for key in ("steps", "ddpm_steps"):
            steps = getattr(self, key)
            if self.spacing == "log_snr" and steps > T:
                raise InputError(f"sampling.{key}: expected at most the steps of {name} = {T}")
            if self.spacing != "log_snr" and T % steps:
                raise InputError(f"sampling.{key}: expected a divisor of {name} = {T}")


class Fidelity(Section):
    slices: Annotated[int, Field(ge=2)]
    kid_subsets: Count
    kid_subset_size: Annotated[int, Field(ge=2)]
    bootstrap: Count
    extrapolation: Annotated[int, Field(ge=2)]
    neighbours: Count
    extractor: str | None
    extractor_sha256: str | None
    batch: Count
    seed: Seed

    @model_validator(mode="after")
    def _pinned(self) -> "Fidelity":
        if (self.extractor is None) != (self.extractor_sha256 is None):
            raise ValueError("expected extractor and extractor_sha256 together, or null for both")
        return self


class Segmentation(Section):
    doses: list[Count] = Field(min_length=1)
    encoder: str
    depth: Annotated[int, Field(ge=3, le=5)]
    decoder_channels: list[Count]
    steps: Count
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    warmup: Annotated[int, Field(ge=0)]
    schedule: Literal["constant", "cosine"]
    clip_norm: Positive | None
    precision: Literal["fp32", "bf16"]
    flip: Chance
    threshold: Share
    keep: Literal["best", "last"]
    validate_every: Count
    checkpoint_every: Count
    seeds: Count
    seed: Seed

    @model_validator(mode="after")
    def _one_channel_a_level(self) -> "Segmentation":
        if len(self.decoder_channels) != self.depth:
            raise ValueError(f"expected {self.depth} decoder_channels, one a level of depth")
        return self


class Augmentation(Section):
    flip: Chance
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Chance
    scale: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    brightness: Chance
    contrast: Chance
    blur: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    noise: Chance

    @model_validator(mode="after")
    def _ascending(self) -> "Augmentation":
        for key in ("scale", "blur"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: expected [least, most]; found [{low}, {high}]")
        return self


class Statistics(Section):
    level: Share
    draws: Count
    seed: Seed


class Pairing(Section):
    ring: Share
    floor_draws: Count
    seed: Seed


class Figures(Section):
    progression_steps: Annotated[int, Field(ge=2)]
    progression_pairs: Count
    sheet_pairs: Count
    dpi: Count
    show_real: bool


class Shared(Section):
    """The sections that the training of every network uses; a method's own are in pig/models/."""

    network: Network
    process: Process
    training: Training
    folds: Folds


class Study(Shared):
    """The settings of one profile: the sections of every study. pig/models/table.py adds those of its methods."""

    profile: str
    reports: str
    methods: list[str] = Field(min_length=1)
    data: Data
    phantom: Phantom
    sampling: Sampling
    fidelity: Fidelity
    segmentation: Segmentation
    augmentation: Augmentation
    statistics: Statistics
    pairing: Pairing
    figures: Figures

    @model_validator(mode="after")
    def _steps_divide(self) -> "Study":
        self.sampling.check(self.process.T, "process.T")
        fold = self.network.stem * 2 ** (len(self.network.multipliers) - 1)
        if self.data.size % fold:
            raise ValueError(f"data.size: expected a multiple of {fold} for network.stem and .multipliers")
        return self

    def sections(self, names: Iterable[str]) -> Sections:
        """The named sections."""
        return Sections(**{name: getattr(self, name) for name in names})


Kind = TypeVar("Kind", bound=BaseModel)
Settings = TypeVar("Settings", bound=Study)


def load(path: str | Path, kind: type[Settings], profile: str | None = None) -> Settings:
    """Read `path` and lay `profile` (default: the one that the file names) over its sections.

    kind: Study with the sections of its methods, `pig.models.table.Params`.

    Raises:
        InputError: no such file or profile; a key that is unknown, missing or of the wrong type.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: expected a file of settings ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8; {error}") from error
    raw = _yaml(text, str(path))
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected sections, found {type(raw).__name__}")
    return resolve({**raw, "profile": profile or raw.get("profile")}, kind, str(path))


def _yaml(text: str, name: str) -> Any:
    """The values in `text`, whose anchors may not blow up and whose keys are there once. Raises InputError."""
    nested = accumulate((char in "[{") - (char in "]}") for char in text)
    if len(text) > LENGTH or max(nested, default=0) > DEPTH:  # PyYAML would take its time
        raise InputError(
            f"{name}: expected at most {LENGTH} characters, and {DEPTH} brackets within each other"
        )
    try:
        tree = yaml.compose(text, yaml.SafeLoader)
        if tree is not None and _nodes(tree, {}, name) > NODES:
            raise InputError(
                f"{name}: expected at most {NODES} values with all anchors written out, found more"
            )
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{name}: expected YAML; {' '.join(str(error).split())}") from error
    except InputError:
        raise
    except ValueError as error:  # of the 32nd of a month, or a number of thousands of digits
        raise InputError(f"{name}: expected numbers and text; {error}") from error


def _nodes(node: yaml.Node, known: dict[int, int], name: str) -> int:
    """How many values `node` is with its aliases written out. Raises InputError for a loop, or a key twice."""
    if id(node) not in known:
        known[id(node)] = NODES + 1  # what is within itself has no end
        below = [node.value] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if twice := [key for key, number in Counter(keys).items() if number > 1]:
                line = node.start_mark.line + 1
                raise InputError(f"{name}: {twice[0]}: expected each key once in the section of line {line}")
            below = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_nodes(part, known, name) for part in below if isinstance(part, yaml.Node))
    return known[id(node)]


def resolve(
    raw: Mapping[str, Any],
    kind: type[Settings],
    name: str = "params.yaml",
    over: Mapping[str, Any] | None = None,
) -> Settings:
    """Validate the sections of `raw` with `raw["profiles"][raw["profile"]]` laid over them, and `over` over both.

    Works on Snakemake's `config` too. Raises InputError as `load` does.
    """
    base = dict(raw)
    profiles = base.pop("profiles", None)
    if not isinstance(profiles, dict):
        raise InputError(f"{name}: profiles: expected a section a profile")
    chosen = base.get("profile")
    if not isinstance(chosen, str) or chosen not in profiles:
        raise InputError(
            f"{name}: profile: expected one of {', '.join(map(str, profiles))}; found {chosen!r}"
        )
    changes = profiles[chosen] or {}
    if not isinstance(changes, dict):
        raise InputError(f"{name}: profiles.{chosen}: expected sections; found {changes!r}")
    merged = overlay(overlay(base, changes), over or {})
    try:
        text = json.dumps(merged)
    except (TypeError, ValueError, RecursionError) as error:  # a date, a set, a loop
        raise InputError(f"{name}: expected numbers, text, lists and sections; {error}") from None
    return _validated(kind, text, name)


def _validated(kind: type[Kind], text: str, name: str, section: str = "") -> Kind:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{name}: {_explain(error, section)}") from None


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` replaced, section by section."""
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        out[key] = overlay(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return out


def to_json(params: Study, *names: str) -> str:
    """The named sections as JSON: what a job is given, no more."""
    return json.dumps({name: getattr(params, name).model_dump() for name in names}, sort_keys=True)


def from_json(text: str, names: Iterable[str], whole: type[Study], option: str) -> Sections:
    """The inverse of `to_json`: the named sections of `whole`, each validated.

    Raises:
        InputError: names `option`, where the text comes from.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{option}: expected JSON ({error})") from None
    out = {}
    for name in names:
        if not isinstance(raw, dict) or name not in raw:
            raise InputError(f"{option}: expected the section {name}")
        kind = whole.model_fields[name].annotation
        assert isinstance(kind, type) and issubclass(kind, Section)
        out[name] = _validated(kind, json.dumps(raw[name]), option, name)
    return Sections(**out)


class Header(Built):
    """What the file of a network says of it, so far as it is used."""

    net: str
    process: Process
    prediction: Literal["eps", "v", "x0", ""]
    fold: Seed = 0
    seen: Seed = 0
    size: Shape | None = None


class SegmenterHeader(BaseModel):
    """What the file of a segmenter says of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    encoder: str
    depth: Annotated[int, Field(ge=3, le=5)]
    decoder_channels: list[Channels]
    fold: Seed
    seed: Seed
    size: Shape

    @model_validator(mode="after")
    def _one_channel_a_level(self) -> "SegmenterHeader":
        if len(self.decoder_channels) != self.depth:
            raise ValueError(f"decoder_channels: expected {self.depth}, one a level of depth")
        return self


def header(kind: type[Kind], raw: Mapping[str, Any], name: str) -> Kind:
    """The header of the file `name` as a Header, a SegmenterHeader, .., each value checked. Raises InputError."""
    return _validated(kind, json.dumps(raw), name)


def _explain(error: ValidationError, section: str = "") -> str:
    """The first complaint in one line: the key, what is wrong, what was found."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in [*([section] if section else []), *first["loc"]])
    if first["type"] == "missing":
        return f"{key}: missing key"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    message = first["msg"].removeprefix("Value error, ")
    found = "" if isinstance(first["input"], dict) else f"; found {first['input']!r}"
    return f"{key}: {message}{found}" if key else message
