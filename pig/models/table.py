"""The compared generators: the networks that are trained, the methods that sample, their sections of params.yaml.

A new rival is a row of METHODS, a file beside this one and a section of params.yaml. The workflow, the verbs and the
reports read this table. It loads without torch; what a row stands for is in its file (pig/models/method.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from pig.core.codehash import code_hash
from pig.core.errors import InputError
from pig.core.params import Chance, Channels, Few, Positive, Section, Study


# ---------------------------- sections of params.yaml, which says what each key means
class Objective(Section):
    """How the loss of a denoiser draws t, and weighs the error of x0 at it (pig/models/losses.py)."""

    times: Literal["uniform", "log_snr"]
    times_mean: float
    times_width: Positive
    weight: Literal["none", "snr", "straight"]
    weight_least: Positive | None
    weight_most: Positive | None

    @model_validator(mode="after")
    def _limits_fit(self) -> "Objective":
        least, most = self.weight_least, self.weight_most
        if self.weight == "none" and (least, most) != (None, None):
            raise ValueError("weight: expected snr or straight with weight_least or weight_most; found none")
        if least is not None and most is not None and least > most:
            raise ValueError(f"weight_least: expected at most weight_most = {most}; found {least}")
        return self


class Denoising(Objective):
    prediction: Literal["eps", "v", "x0"]


class Guided(Denoising):
    loss_weight: Literal["none", "sigmoid"]
    clip_guide: bool
    initial_weights: str | None


class SegGuided(Denoising):
    ablation: Chance


class Autoencoder(Section):
    factor: Few
    channels: Channels
    width: Channels
    blocks: Few
    patches: Few
    kl: Annotated[float, Field(ge=0)]
    adversarial: Annotated[float, Field(ge=0)]
    adversarial_start: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _power_of_two(self) -> "Autoencoder":
        if self.factor & (self.factor - 1):
            raise ValueError(f"factor: expected a power of two; found {self.factor}")
        return self


# ---------------------------- rows
@dataclass(frozen=True)
class Net:
    """A network of the study."""

    name: str
    label: str
    sections: Mapping[str, type[Section]]  # of params.yaml, beside those that all training shares
    needs: tuple[str, ...] = ()  # trained networks that its loss uses, frozen
    file: str = ""  # of pig/models; "": named as the network

    @property
    def module(self) -> str:
        """What makes and trains it, within pig."""
        return f"models.{self.file or self.name}"

    def code(self) -> str:
        """Hash of the code that trains it, and that makes what it needs: a new rival reruns no other."""
        return _code("train", *(NETS[name].module for name in built_on(self.name)))


@dataclass(frozen=True)
class Method:
    """A generator of the study."""

    label: str
    file: str  # of pig/models
    trains: tuple[Net, ...]
    masks: str = ""  # given "given" masks of training patients, or "varied" ones; "": it makes its own
    paired: bool = True  # whether it gives masks
    nets: tuple[str, ...] = field(init=False)  # the names of its networks

    def __post_init__(self) -> None:
        object.__setattr__(self, "nets", tuple(net.name for net in self.trains))

    @property
    def unit(self) -> str:
        """What it gives, one by one."""
        return "pair" if self.paired else "image"

    @property
    def module(self) -> str:
        """What samples, within pig."""
        return f"models.{self.file}"

    def code(self, verb: str = "sample") -> str:
        """Hash of the code that samples with it in a job of `verb`: a new rival reruns no other."""
        files = {self.module, *(net.module for net in self.trains)}
        return _code(verb, *files, also=repr((self.nets, self.masks)))


PIG = (
    Net("guider", "Guider: mask", {"guider": Denoising}, file="pig"),
    Net("guided", "Guided model: slice", {"guider": Denoising, "guided": Guided}, ("guider",), file="pig"),
)
DDPM = (Net("ddpm", "DDPM: slice alone", {"ddpm": Denoising}),)
SEGGUIDED = (Net("segguided", "SegGuidedDif: slice", {"segguided": SegGuided}),)
CONTROLNET = (
    Net("controlnet", "ControlNet: slice", {"ddpm": Denoising, "controlnet": Objective}, ("ddpm",)),
)
LDM = (
    Net("autoencoder", "LDM's autoencoder", {"autoencoder": Autoencoder}),
    Net("ldm", "LDM: latents", {"autoencoder": Autoencoder, "ldm": Denoising}, ("autoencoder",)),
)
METHODS = {
    "ldm": Method("LDM", "ldm", LDM, masks="given"),
    "segguided": Method("SegGuidedDif", "segguided", SEGGUIDED, masks="given"),
    "controlnet": Method("ControlNet", "controlnet", CONTROLNET, masks="given"),
    "pig": Method("PIG", "pig", PIG),
    "ddpm": Method("DDPM", "ddpm", DDPM, paired=False),
    "ddim": Method("DDIM", "ddpm", DDPM, paired=False),
    "unconditional": Method("Unconditional", "ddpm", DDPM, paired=False),
    "joint": Method("Joint", "joint", (Net("joint", "Joint: mask and slice", {"joint": Denoising}),)),
    "ldm-varied": Method("LDM, varied masks", "ldm", LDM, masks="varied"),
    "segguided-varied": Method("SegGuidedDif, varied masks", "segguided", SEGGUIDED, masks="varied"),
    "controlnet-varied": Method("ControlNet, varied masks", "controlnet", CONTROLNET, masks="varied"),
}
NETS = {net.name: net for method in (METHODS["pig"], *METHODS.values()) for net in method.trains}


# ---------------------------- what follows from them
def _code(verb: str, *modules: str, also: str = "") -> str:
    """This table aside: of it a job's own row counts, and of that what it does."""
    return code_hash(f"cli.verbs.{verb}", *set(modules), also=also, without=frozenset({"models.table"}))


def _sections_agree(p: Any) -> Any:
    """Every method is known; LDM's latents can be divided as images can; antithetic times are uniform ones."""
    check_methods(p.methods, "methods")
    factor, network = p.autoencoder.factor, p.network
    fold = factor * max(1, network.stem // factor) * 2 ** (len(network.multipliers) - 1)
    if any(name.startswith("ldm") for name in p.methods) and p.data.size % fold:
        raise ValueError(f"data.size: expected a multiple of {fold} for autoencoder.factor and network")
    drawn = {name: own.times for name in _SECTIONS if isinstance(own := getattr(p, name), Objective)}
    if p.training.antithetic and (named := [name for name, times in drawn.items() if times != "uniform"]):
        raise ValueError(f"training.antithetic: expected false with {named[0]}.times {drawn[named[0]]}")
    return p


_SECTIONS: Any = {name: (kind, ...) for net in NETS.values() for name, kind in net.sections.items()}
_CHECKS: Any = {"sections_agree": model_validator(mode="after")(_sections_agree)}
# All settings of a profile: those of every study, and of its methods.
Params: type[Study] = create_model("Params", __base__=Study, __validators__=_CHECKS, **_SECTIONS)


def built_on(net: str) -> list[str]:
    """`net` and the networks that it is trained with, each after those that it needs itself."""
    return [*(below for need in NETS[net].needs for below in built_on(need)), net]


def order(names: Iterable[str]) -> list[str]:
    """The networks that the methods `names` need, each once and after those it is trained with."""
    return list(
        dict.fromkeys(below for name in names for net in METHODS[name].nets for below in built_on(net))
    )


def check_methods(names: Iterable[str], where: str) -> None:
    """Raise InputError, naming `where`, for a name that is no method."""
    if unknown := [name for name in names if name not in METHODS]:
        raise InputError(f"{where}: expected some of {', '.join(METHODS)}; found {unknown[0]!r}")
