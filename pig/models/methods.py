"""The compared generators as two tables: the networks that are trained, and the methods that sample with them.

A new rival is an entry here and its section in params.yaml: the workflow, the verbs and the reports read these
tables. They load without torch, since the workflow reads them too; so functions import what they compute with.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

Settings = Any  # sections of params.yaml as attributes


class Trained(NamedTuple):
    """A network ready to sample with: a model of the one convention, and what it predicts."""

    model: "nn.Module"
    prediction: str


Frozen = Mapping[str, Trained]


@dataclass(frozen=True)
class Net:
    """A network of the study."""

    make: Callable[[Settings], "nn.Module"]  # from the sections `network` and, if it `uses` one, its own
    loss: Callable[["nn.Module", Frozen, "Tensor", "Tensor", "Tensor", "Generator", Settings], "Tensor"]
    uses: tuple[str, ...]  # sections of params.yaml beside those that all training shares
    needs: tuple[str, ...] = ()  # trained networks that its loss uses, frozen
    prediction: str = ""  # section that says what it predicts; "": it is no denoiser
    adopt: str = ""  # network whose weights it starts from
    finish: Callable[["nn.Module", list["Tensor"]], None] | None = (
        None  # after training: (model, image batches)
    )


@dataclass(frozen=True)
class Method:
    """A generator of the study."""

    label: str
    nets: tuple[str, ...]
    sample: Callable[..., Iterator[tuple["Tensor | None", "Tensor"]]]
    paired: bool = True  # whether it gives masks
    masks: str = (
        ""  # conditional: "given" the training patients' masks, or "varied" ones; "": it makes its own
    )
    steps: str = "steps"  # the key of `sampling` that holds its number of steps
    guided: bool = False  # whether a guider is evaluated beside, until it settles


# ---------------------------- networks: sections -> model
def _unet(settings: Settings, inputs: int, outputs: int = 1, **other: Any) -> "nn.Module":
    from pig.models.unet import UNet

    return UNet(in_channels=inputs, out_channels=outputs, **{**dict(settings.network), **other})


def _concatenated(settings: Settings) -> "nn.Module":
    from pig.models.unet import Concatenated

    return Concatenated(_unet(settings, 2))


def _unguided(settings: Settings) -> "nn.Module":
    from pig.models.unet import Unguided

    return Unguided(_unet(settings, 1))


def _controlled(settings: Settings) -> "nn.Module":
    from pig.models.controlnet import Controlled

    return Controlled(_unet(settings, 1))  # type: ignore[arg-type]


def _joint(settings: Settings) -> "nn.Module":
    """One net with about as many parameters as PIG's two: the width that comes closest."""
    import torch

    from pig.models.unet import Joint, parameters

    with torch.device("meta"):
        wanted = 2 * parameters(_unet(settings, 2))
        width = settings.network.width
        sizes = {w: parameters(_unet(settings, 2, 2, width=w)) for w in range(width, 2 * width + 1)}
    best = min(sizes, key=lambda w: abs(sizes[w] - wanted))
    # The normalisation's groups must divide that width: as near as can be to those of the other networks.
    groups = min(
        (n for n in range(1, best + 1) if best % n == 0), key=lambda n: abs(n - settings.network.groups)
    )
    return Joint(_unet(settings, 2, 2, width=best, groups=groups))


def _autoencoder(settings: Settings) -> "nn.Module":
    from pig.models.autoencoder import Autoencoder

    own = settings.autoencoder
    return Autoencoder(own.channels, own.factor, own.width, own.blocks, settings.network.groups, own.patches)


def _latent(settings: Settings) -> "nn.Module":
    """The latent U-Net; what the autoencoder has folded away already, its stem need not."""
    from pig.models.unet import Concatenated

    own = settings.autoencoder
    stem = max(1, settings.network.stem // own.factor)
    return Concatenated(_unet(settings, own.channels + 1, own.channels, stem=stem))


def _weights(own: Settings) -> dict[str, float | None]:
    return {"min_snr": own.min_snr, "max_snr": own.max_snr}


# ---------------------------- losses: (model, frozen, x0, y0, alphabar, generator, settings)
def _draw(y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    """The draws of the rows y0, which may be a rank's share of the batch: those that they have in the whole of it."""
    from pig.diffusion import Draws, draw
    from pig.training.ranks import whole

    rows, mine = whole(generator, len(y0))
    like = y0.new_empty((rows, *y0.shape[1:]))
    return Draws(*(drawn[mine] for drawn in draw(like, alphabar, generator, settings.training.antithetic)))


def _guider_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    from pig.diffusion import guider_loss

    own, draws = settings.guider, _draw(x0, alphabar, generator, settings)
    return guider_loss(model, x0, y0, alphabar, draws, prediction=own.prediction, **_weights(own))


def _guided_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    import torch

    from pig.diffusion import guided_loss

    own, guider = settings.guided, frozen["guider"]
    return guided_loss(
        model,
        guider.model,
        x0,
        y0,
        alphabar,
        _draw(x0, alphabar, generator, settings),
        prediction=own.prediction,
        guider_prediction=guider.prediction,
        clip_guide=own.clip_guide,
        weight={"none": None, "sigmoid": torch.sigmoid}[own.loss_weight],
        **_weights(own),
    )


def _image_loss(model, y0, guide, alphabar, generator, settings, own):  # type: ignore[no-untyped-def]
    from pig.diffusion import image_loss

    draws = _draw(y0, alphabar, generator, settings)
    return image_loss(model, y0, guide, alphabar, draws, prediction=own.prediction, **_weights(own))


def _ddpm_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    return _image_loss(model, y0, None, alphabar, generator, settings, settings.ddpm)


def _segguided_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    """Konz et al. 2024: the clean mask; in training each class of it is dropped with probability `ablation`."""
    import torch

    from pig.training.ranks import whole

    own, guide = settings.segguided, x0
    if model.training and own.ablation > 0:
        rows, mine = whole(generator, len(x0))
        kept = torch.rand((rows, 1, 1, 1), generator=generator)[mine] >= own.ablation
        guide = torch.where(kept.to(x0.device), x0, torch.full_like(x0, -1))
    return _image_loss(model, y0, guide, alphabar, generator, settings, own)


def _controlnet_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    """Zhang et al. 2023: what the frozen network predicts, given the clean mask."""
    weights = _weights(settings.controlnet)
    own = SimpleNamespace(prediction=settings.ddpm.prediction, **weights)
    return _image_loss(model, y0, x0, alphabar, generator, settings, own)


def _autoencoder_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    from pig.models.autoencoder import Penalty, autoencoder_loss

    own = settings.autoencoder
    return autoencoder_loss(model, y0, Penalty(own.kl, own.adversarial, own.adversarial_start), generator)


def _ldm_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    """Rombach et al. 2022: the chain runs on latents, beside them the mask, averaged over each latent's area."""
    import torch

    autoencoder = frozen["autoencoder"].model
    with torch.no_grad():
        z0 = autoencoder.encode(y0)
    return _image_loss(model, z0, autoencoder.shrink(x0), alphabar, generator, settings, settings.ldm)


def _joint_loss(model, frozen, x0, y0, alphabar, generator, settings):  # type: ignore[no-untyped-def]
    """Mask and image as one image of two channels."""
    import torch

    return _image_loss(model, torch.cat([x0, y0], 1), None, alphabar, generator, settings, settings.joint)


# ---------------------------- samplers: (nets, generators, shape, alphabar, sampling, masks)
def _device(trained: Trained) -> Any:
    return next(trained.model.parameters()).device


def _denoiser(trained, sampling):  # type: ignore[no-untyped-def]
    """The network as the samplers call it: in sampling.precision; they compute in that of the noise.

    Its output is copied, since a compiled network's next call may write over it.
    """
    from contextlib import nullcontext

    import torch

    def precision(device):  # type: ignore[no-untyped-def]
        if sampling.precision == "fp32":
            return nullcontext()  # not a disabled autocast: torch has none for "meta", where work is counted
        return torch.autocast(device.type, torch.bfloat16)

    def model(noised, guide, t):  # type: ignore[no-untyped-def]
        with precision(noised.device):
            out = trained.model(noised, guide, t)
        return out.to(noised.dtype, copy=True)

    return model


def _pig(nets, generators, shape, alphabar, sampling, masks):  # type: ignore[no-untyped-def]
    from pig.diffusion import sample_pairs, seeded_noise
    from pig.models.masks import local_mean

    guider, guided = nets["guider"], nets["guided"]
    both = seeded_noise(generators, (2, *shape)).to(_device(guider))
    xT, yT = (
        both[:, :1].contiguous(),
        both[:, 1:].contiguous(),
    )  # as later x_t, y_t: one layout, one compilation
    yield from sample_pairs(
        _denoiser(guider, sampling),
        _denoiser(guided, sampling),
        xT,
        yT,
        alphabar,
        sampling.steps,
        guider_prediction=guider.prediction,
        guided_prediction=guided.prediction,
        clip=sampling.clip,
        spacing=sampling.spacing,
        solver=sampling.solver,
        settle=1.0 if sampling.settle is None else sampling.settle,
        as_guide={"x0_hat": lambda x0_hat: x0_hat, "local_mean": local_mean}[sampling.guide],
    )


def _chain(trained, guide, size, generators, alphabar, sampling, steps="steps", eta=0.0, clip=None):  # type: ignore[no-untyped-def]
    """One chain of `size` (C, H, W) from noise: y0_hat after each step."""
    from pig.diffusion import sample_images, seeded_noise

    def noise() -> "Tensor":
        return seeded_noise(generators, size).to(_device(trained))

    return sample_images(
        _denoiser(trained, sampling),
        noise(),
        guide,
        alphabar,
        getattr(sampling, steps),
        eta,
        prediction=trained.prediction,
        clip=sampling.clip if clip is None else clip,
        spacing=sampling.spacing,
        solver="ddim" if eta else sampling.solver,
        fresh=noise,
    )


def _unconditional(steps: str, eta: float):  # type: ignore[no-untyped-def]
    def sample(nets, generators, shape, alphabar, sampling, masks):  # type: ignore[no-untyped-def]
        chain = _chain(nets["ddpm"], None, (1, *shape), generators, alphabar, sampling, steps, eta)
        yield from ((None, y0_hat) for y0_hat in chain)

    return sample


def _conditional(net: str):  # type: ignore[no-untyped-def]
    def sample(nets, generators, shape, alphabar, sampling, masks):  # type: ignore[no-untyped-def]
        chain = _chain(nets[net], masks, (1, *shape), generators, alphabar, sampling)
        yield from ((masks, y0_hat) for y0_hat in chain)

    return sample


def _ldm(nets, generators, shape, alphabar, sampling, masks):  # type: ignore[no-untyped-def]
    """Latents are not bounded, so they are never clipped; only the last become an image."""
    autoencoder = nets["autoencoder"].model
    guide, size = autoencoder.shrink(masks), autoencoder.shape(*shape)
    chain = _chain(nets["ldm"], guide, size, generators, alphabar, sampling, clip=False)
    for i, z0_hat in enumerate(chain, 1):
        yield masks, autoencoder.decode(z0_hat) if i == sampling.steps else z0_hat


def _joint_sample(nets, generators, shape, alphabar, sampling, masks):  # type: ignore[no-untyped-def]
    for both in _chain(nets["joint"], None, (2, *shape), generators, alphabar, sampling):
        yield both[:, :1], both[:, 1:]


def _calibrate(model: "nn.Module", batches: list["Tensor"]) -> None:
    from pig.models.autoencoder import calibrate

    calibrate(model, batches)  # type: ignore[arg-type]


NETS = {
    "guider": Net(_concatenated, _guider_loss, ("guider",), prediction="guider"),
    "guided": Net(_concatenated, _guided_loss, ("guider", "guided"), ("guider",), prediction="guided"),
    "ddpm": Net(_unguided, _ddpm_loss, ("ddpm",), prediction="ddpm"),
    "segguided": Net(_concatenated, _segguided_loss, ("segguided",), prediction="segguided"),
    "controlnet": Net(
        _controlled, _controlnet_loss, ("ddpm", "controlnet"), ("ddpm",), prediction="ddpm", adopt="ddpm"
    ),
    "autoencoder": Net(_autoencoder, _autoencoder_loss, ("autoencoder",), finish=_calibrate),
    "ldm": Net(_latent, _ldm_loss, ("autoencoder", "ldm"), ("autoencoder",), prediction="ldm"),
    "joint": Net(_joint, _joint_loss, ("joint",), prediction="joint"),
}
METHODS = {
    "ldm": Method("LDM", ("autoencoder", "ldm"), _ldm, masks="given"),
    "segguided": Method("SegGuidedDif", ("segguided",), _conditional("segguided"), masks="given"),
    "controlnet": Method("ControlNet", ("controlnet",), _conditional("controlnet"), masks="given"),
    "pig": Method("PIG", ("guider", "guided"), _pig, guided=True),
    "ddpm": Method("DDPM", ("ddpm",), _unconditional("ddpm_steps", 1.0), paired=False, steps="ddpm_steps"),
    "ddim": Method("DDIM", ("ddpm",), _unconditional("steps", 0.0), paired=False),
    "joint": Method("Joint", ("joint",), _joint_sample),
    "ldm-varied": Method("LDM, varied masks", ("autoencoder", "ldm"), _ldm, masks="varied"),
    "segguided-varied": Method(
        "SegGuidedDif, varied masks", ("segguided",), _conditional("segguided"), masks="varied"
    ),
    "controlnet-varied": Method(
        "ControlNet, varied masks", ("controlnet",), _conditional("controlnet"), masks="varied"
    ),
}


# ------------------------------------------------------------------ what the verbs call
def schedule(process: Settings) -> "Tensor":
    """alphabar (T + 1,) of the section `process`."""
    from pig.diffusion import cosine_schedule, linear_schedule

    makers = {
        "linear": lambda: linear_schedule(process.T, process.beta_1, process.beta_T),
        "cosine": lambda: cosine_schedule(process.T),
    }
    return makers[process.schedule]()


def built_on(net: str) -> list[str]:
    """`net` and the networks that it is trained with, each after those that it needs itself."""
    return [*(below for need in NETS[net].needs for below in built_on(need)), net]


def order(names: Sequence[str]) -> list[str]:
    """The networks that the methods `names` need, each once and after those it is trained with."""
    return list(
        dict.fromkeys(below for name in names for net in METHODS[name].nets for below in built_on(net))
    )


def evaluations(method: str, sampling: Settings) -> int:
    """How often a network is evaluated for one sample."""
    from pig.diffusion import awake

    kind = METHODS[method]
    steps = getattr(sampling, kind.steps)
    return steps + (awake(steps, sampling.settle or 1.0) if kind.guided else 0)


class Frame(NamedTuple):
    """One sampling step of one tile of samples."""

    first: int  # row of its first sample among the seeds
    x0_hat: "Tensor | None"  # (B, 1, H, W), estimates so far, or the mask that was given
    y0_hat: "Tensor"  # of LDM latents, but for the last step
    last: bool  # whether these are the samples


def generate(
    method: str,
    nets: Mapping[str, Trained],
    seeds: Sequence[int],
    shape: Sequence[int],
    alphabar: "Tensor",
    sampling: SimpleNamespace | Any,
    masks: "Tensor | None" = None,
    first: int = 0,
) -> Iterator[Frame]:
    """Sample one pair (or image) a seed with a method of METHODS; yields a Frame after each step.

    shape is (H, W); masks, for the conditional methods, (len(seeds), 1, H, W) of -1 and 1; first is the number of the
    first sample in the endless list of them. Libraries round a row otherwise at another place in the batch, or in a
    batch of another size. So networks are always called with sampling.tile rows, and sample i always stands in row
    i mod sampling.tile, copies filling the others: it is the same bit for bit alone, in any batch and in a shard.
    """
    import torch

    from pig.diffusion import seeded

    kind = METHODS[method]
    if (masks is not None) != bool(kind.masks):
        raise ValueError(f"{method}: expected masks for a conditional method, and for no other")
    steps = getattr(sampling, kind.steps)
    for start in range(-(first % sampling.tile), len(seeds), sampling.tile):
        places = range(start, start + sampling.tile)
        rows = range(max(start, 0), min(places.stop, len(seeds)))
        filled = [min(max(row, rows[0]), rows[-1]) for row in places]
        given = None if masks is None else masks[torch.tensor(filled)]
        frames = kind.sample(nets, seeded([seeds[i] for i in filled]), shape, alphabar, sampling, given)
        wanted = slice(places.index(rows[0]), places.index(rows[-1]) + 1)
        for i, (x0_hat, y0_hat) in enumerate(frames, 1):
            yield Frame(rows[0], None if x0_hat is None else x0_hat[wanted], y0_hat[wanted], i == steps)
