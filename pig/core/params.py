"""params.yaml -> frozen, validated settings. An unknown, missing or ill-typed key is an error that names it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from reprlib import repr as short
from types import SimpleNamespace
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from pig.core.errors import InputError

# No study comes near these bounds. A larger number is a slip of the pen, and would end in a lack of memory or time.
Count = Annotated[int, Field(ge=1, le=10**9)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Few = Annotated[int, Field(ge=1, le=64)]
Side = Annotated[int, Field(ge=1, le=8192)]  # pixels; pig.data.pairs.PIXELS is its square
Shape = Annotated[list[Side], Field(min_length=2, max_length=2)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(gt=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
TwoOrMore = Annotated[int, Field(ge=2)]
Precision = Literal["auto", "fp32", "bf16"]  # auto: pig/training/precision.py decides
Sections = SimpleNamespace  # one attribute a section, e.g. sections.network.width


def _ascending(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise ValueError(f"expected [least, most]; found {ends}")
    return ends


Range = Annotated[list[Positive], Field(min_length=2, max_length=2), AfterValidator(_ascending)]


class Known(BaseModel):
    """Values that are checked and frozen. Keys that it does not know are left aside."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Section(Known):
    """A section of params.yaml; params.yaml itself says what each key means, its unit and origin."""

    model_config = ConfigDict(extra="forbid")


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
    count: TwoOrMore
    validation: Share
    seed: Seed
    leak: bool


class Network(Section):
    width: Annotated[int, Field(ge=4, le=4096)]
    multipliers: list[Few] = Field(min_length=1, max_length=13)  # 2 ** 13 is the longest side
    blocks: Few
    dropout: Annotated[float, Field(ge=0, lt=1)]
    stem: Few
    groups: Channels
    told: bool


class Built(Known):
    """The sections that a network is made from: of most `network` alone."""

    network: Network

    @field_validator("network", mode="before")
    @classmethod
    def _of_earlier_files(cls, network: Any) -> Any:
        return {"told": False, **network} if isinstance(network, dict) else network


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
    ema: list[Positive]
    flips: list[Literal["horizontal", "vertical"]]
    crop: Annotated[float, Field(gt=0, le=1)]
    clip_norm: Positive | None
    precision: Precision
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
    ddim_steps: Count
    ddpm_steps: Count
    solver: Literal["ddim", "dpmpp2m", "dpmpp2m_sde"]
    spacing: Literal["trailing", "leading", "log_snr"]
    clip: bool
    settle: Share | None
    guide: Literal["x0_hat", "local_mean"]
    mask: Literal["sign", "local_mean"]
    grey_levels: Literal["fixed", "batch"]
    precision: Precision
    compile: bool
    tile: Count
    batch: Count
    shards: Count
    seed: Seed

    def check(self, T: int, name: str) -> None:
        """Raise InputError unless the numbers of steps suit a process of T steps, which is called `name`."""
        spacings = {"steps": self.spacing, "ddim_steps": self.uniform, "ddpm_steps": self.uniform}
        for key, spacing in spacings.items():
            steps = getattr(self, key)
            if spacing == "log_snr" and steps > T:
                raise InputError(f"sampling.{key}: expected at most the steps of {name} = {T}")
            if spacing != "log_snr" and T % steps:
                raise InputError(f"sampling.{key}: expected a divisor of {name} = {T}")

    @property
    def uniform(self) -> Literal["trailing", "leading"]:
        """The spacing of the rows DDPM and DDIM, whose times are uniform always."""
        return "leading" if self.spacing == "leading" else "trailing"


class Fidelity(Section):
    slices: TwoOrMore
    kid_subsets: Count
    kid_subset_size: TwoOrMore
    bootstrap: Count
    extrapolation: TwoOrMore
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


def _one_channel_a_level(self: Any) -> Any:
    if len(self.decoder_channels) != self.depth:
        raise ValueError(f"decoder_channels: expected {self.depth}, one a level of depth")
    return self


class Segmentation(Section):
    doses: list[Count] = Field(min_length=1)
    encoder: str
    depth: Annotated[int, Field(ge=3, le=5)]
    decoder_channels: list[Count]
    steps: Count
    batch: TwoOrMore
    learning_rate: Positive
    warmup: Annotated[int, Field(ge=0)]
    schedule: Literal["constant", "cosine"]
    clip_norm: Positive | None
    precision: Precision
    flip: Chance
    threshold: Share
    keep: Literal["best", "last"]
    validate_every: Count
    checkpoint_every: Count
    seeds: Count
    seed: Seed

    _levels = model_validator(mode="after")(_one_channel_a_level)


class Augmentation(Section):
    flip: Chance
    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Chance
    scale: Range
    brightness: Chance
    contrast: Chance
    blur: Range
    noise: Chance


class Statistics(Section):
    level: Share
    draws: Count
    seed: Seed


class Pairing(Section):
    ring: Share
    floor_draws: Count
    seed: Seed


class Figures(Section):
    progression_steps: TwoOrMore
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
    first_folds: Count | None
    leak_arm: bool
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
        if self.first_folds is not None and self.first_folds > self.folds.count:
            raise ValueError(f"first_folds: expected at most folds.count = {self.folds.count}")
        fold = self.network.stem * 2 ** (len(self.network.multipliers) - 1)
        if self.data.size % fold:
            raise ValueError(f"data.size: expected a multiple of {fold} for network.stem and .multipliers")
        return self

    @property
    def run_folds(self) -> range:
        """The folds that are run."""
        return range(self.first_folds or self.folds.count)

    def sections(self, names: Iterable[str]) -> Sections:
        """The named sections."""
        return Sections(**{name: getattr(self, name) for name in names})


KEYS = 10_000  # a section has at most, what is merged into it counted
Kind = TypeVar("Kind", bound=BaseModel)
Settings = TypeVar("Settings", bound=Study)


def load(path: str | Path, kind: type[Settings], profile: str | None = None) -> Settings:
    """Read `path` and lay `profile` (default: the one that the file names) over its sections.

    kind: Study with the sections of its methods, `pig.models.table.Params`.

    Raises:
        InputError: no such file or profile; a key that is unknown, missing or of the wrong type.
    """
    try:
        raw = yaml.load(Path(path).read_bytes(), _Once)
    except OSError as error:
        raise InputError(f"{path}: expected a file of settings ({error.strerror})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: expected YAML; {' '.join(str(error).split())}") from error
    except ValueError as error:  # of the 32nd of a month, or a number of thousands of digits
        raise InputError(f"{path}: expected numbers and text; {error}") from error
    if not isinstance(raw, dict):
        raise InputError(f"{path}: expected sections, found {type(raw).__name__}")
    return resolve({**raw, "profile": profile or raw.get("profile")}, kind, str(path))


class _Once(yaml.SafeLoader):
    """A key that stands twice is an error; YAML takes the last. So are `<<` in `<<` that grow without end."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [key for key, number in keys.items() if number > 1]:
            raise yaml.MarkedYAMLError(
                problem=f"{twice[0]}: expected each key once", problem_mark=node.start_mark
            )
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > KEYS:
            raise yaml.MarkedYAMLError(
                problem=f"expected at most {KEYS} keys a section", problem_mark=node.start_mark
            )


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
        known = ", ".join(map(str, profiles))
        raise InputError(f"{name}: profile: expected one of {known}; found {short(chosen)}")
    changes = profiles[chosen] or {}
    if not isinstance(changes, dict):
        raise InputError(f"{name}: profiles.{chosen}: expected sections; found {short(changes)}")
    return checked(kind, overlay(overlay(base, changes), over or {}), name)


def checked(kind: type[Kind], raw: Any, name: str) -> Kind:
    """`raw`, or the JSON in it, as settings, the header of a network, ..

    Raises:
        InputError: a key is unknown, missing or of the wrong type; it names `name`, where `raw` comes from.
    """
    try:
        return kind.model_validate_json(raw) if isinstance(raw, str) else kind.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{name}: {_explain(error)}") from None


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` replaced, section by section."""
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        out[key] = overlay(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return out


def to_json(params: Study, *names: str) -> str:
    """The named sections as JSON: what a job is given, no more."""
    return json.dumps(params.model_dump(include=set(names)), sort_keys=True)


def from_json(text: str, names: Iterable[str], whole: type[Study], option: str) -> Sections:
    """The inverse of `to_json`: the named sections of `whole`, each validated.

    Raises:
        InputError: names `option`, where the text comes from.
    """
    kinds: dict[str, Any] = {name: (whole.model_fields[name].annotation, ...) for name in names}
    return Sections(**dict(checked(create_model("Sections", __base__=Known, **kinds), text, option)))


class Header(Built):
    """What the file of a network says of it, so far as it is used."""

    net: str
    process: Process
    prediction: Literal["eps", "v", "x0", ""]
    fold: Seed = 0
    seen: Seed = 0
    size: Shape | None = None


class SegmenterHeader(Known):
    """What the file of a segmenter says of it."""

    encoder: str
    depth: Annotated[int, Field(ge=3, le=5)]
    decoder_channels: list[Channels]
    fold: Seed
    seed: Seed
    size: Shape

    _levels = model_validator(mode="after")(_one_channel_a_level)


def _explain(error: ValidationError) -> str:
    """The first complaint in one line: the key, what is wrong, what was found."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{key}: missing key"
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    message = first["msg"].removeprefix("Value error, ")
    bulky = isinstance(first["input"], dict | list)  # and with anchors of any length
    found = "" if bulky else f"; found {first['input']!r}"
    return f"{key}: {message}{found}" if key else message
