"""Every sample depends on its own seed alone, every method on its own networks, and each can learn a pair."""

import importlib
from functools import partial
from itertools import combinations, pairwise

import diffusers
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pig.core.errors import InputError
from pig.core.params import Network, Process, Shared, load
from pig.diffusion import PREDICTIONS, noise, seeded, seeded_noise
from pig.models import weights
from pig.models.augment import TOLD
from pig.models.generator import Model, evaluations
from pig.models.loading import read_net
from pig.models.losses import draw, normal_log_snr, uniform
from pig.models.method import Batch, Trained, net, sampler, schedule
from pig.models.solvers import SOLVERS
from pig.models.table import METHODS, NETS, Autoencoder, Params, order
from pig.models.unet import parameters

UNIFORM = ("ddpm", "ddim")
SMOKE, DEMO = (load("params.yaml", Params, profile) for profile in ("smoke", "demo"))
TINY = {
    "network": Network(width=8, multipliers=[1, 2], blocks=1, dropout=0.0, stem=2, groups=8, told=False),
    "autoencoder": Autoencoder(
        factor=2, channels=3, width=8, blocks=1, patches=2, kl=1e-6, adversarial=0.0, adversarial_start=0
    ),
}
SMALL = SMOKE.model_copy(update=TINY)
PROCESS = Process(T=1024, schedule="linear", beta_1=1e-4, beta_T=0.02)
USED = {"steps": 4, "ddim_steps": 4, "ddpm_steps": 8, "tile": 4, "clip": True}
USED |= {"solver": "ddim", "spacing": "trailing", "settle": None, "guide": "x0_hat", "precision": "fp32"}


def trained(name, prediction="v"):
    torch.manual_seed(1)
    return Trained(net(name).make(SMALL).eval(), prediction)


def masks(n):
    given = np.zeros((n, 16, 16), bool)
    for i in range(n):
        given[i, i : i + 4, 2:7] = True
    return given


def model(method, prediction="v", **changed):
    """The method with untrained networks; `changed` are settings of its sampling."""
    sampling = SMOKE.sampling.model_copy(update={**USED, **changed})
    nets = {name: trained(name, prediction) for name in METHODS[method].nets}
    return Model(method, (16, 16), 0, sampling, {}, nets, PROCESS)


def frames(generator, numbers=range(1), given=None):
    """Of each step; conditional methods paint masks that depend on a sample's number alone, if none are given."""
    if METHODS[generator.method].masks and given is None:
        given = masks(16)[[number % 12 for number in numbers]]
    return list(generator.frames(numbers, given))


def samples(method, numbers=range(1), given=None, **changed):
    generator = model(method, **changed)
    found = frames(generator, numbers, given)
    last = [frame for frame in found if frame.last]
    assert len(found) == len(last) * generator.steps
    assert [number for frame in last for number in frame.numbers] == list(numbers)
    both = [f.y0_hat if f.x0_hat is None else torch.cat([f.x0_hat, f.y0_hat], 1) for f in last]
    return torch.cat(both)


@pytest.mark.parametrize("solver", ["ddim", "dpmpp2m_sde"])
@pytest.mark.parametrize("method", METHODS)
def test_sample_i_is_bit_identical_alone_in_a_batch_and_in_a_shard(method, solver):
    """Paired methods give masks, and conditional ones those that they were given."""
    kind, whole = METHODS[method], samples(method, range(6), solver=solver)
    assert whole.shape == (6, 2 if kind.paired else 1, 16, 16)
    if kind.masks:
        assert np.array_equal(whole[:, 0] > 0, masks(16)[:6])
    for cuts in [[0, 1, 6], [0, 2, 3, 5, 6], [0, 4, 6]]:
        shards = [samples(method, range(*cut), solver=solver) for cut in pairwise(cuts)]
        assert torch.equal(whole, torch.cat(shards))
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize(
    ("method", "one", "other"),
    [
        *((method, {"given": masks(8)[[0]]}, {"given": masks(8)[[7]]}) for method in ("segguided", "ldm")),
        ("pig", {}, {"guide": "local_mean"}),  # the published guide
        *(
            (method, {"solver": one}, {"solver": other})
            for method in METHODS
            if method not in UNIFORM
            for one, other in combinations(SOLVERS, 2)
        ),
    ],
)
def test_masks_guide_and_solver_change_the_image(method, one, other):
    assert not torch.equal(samples(method, **one)[:, -1], samples(method, **other)[:, -1])


@pytest.mark.parametrize("method", UNIFORM)
def test_ddpm_and_ddim_are_sampled_as_they_are_called_whatever_the_solver(method):
    plain, fewer = samples(method, range(5)), {"solver": "dpmpp2m", "spacing": "log_snr", "steps": 3}
    assert torch.equal(plain, samples(method, range(5), **fewer))
    assert torch.equal(plain, samples(method, range(5), spacing="log_snr"))
    leading = samples(method, range(5), spacing="leading")
    assert torch.equal(leading, samples(method, range(5), spacing="leading", solver="dpmpp2m"))
    assert not torch.equal(leading, plain)
    told, uniform = model(method, **fewer).report(), {"ddpm": ("ancestral", 8), "ddim": ("ddim", 4)}
    assert (told["solver"]["solver"], told["evaluations"]) == uniform[method]
    assert told["solver"]["spacing"] == "trailing"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_the_row_ddim_is_that_of_diffusers(spacing):
    generator = model("ddim", solver="dpmpp2m", spacing=spacing)
    (tile,) = frames(generator, range(4))[-1:]
    scheduler = diffusers.DDIMScheduler(
        PROCESS.T, timestep_spacing=spacing, clip_sample=True, prediction_type="v_prediction"
    )
    scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = generator.alphabar[1:], torch.tensor(1.0)
    scheduler.set_timesteps(4)
    yt = seeded_noise(seeded(generator.seeds(range(4))), (1, *generator.size))
    for t in scheduler.timesteps:
        with torch.no_grad():
            out = generator.nets["ddpm"].model(yt, None, t.expand(4) + 1)
        yt = scheduler.step(out, t, yt, use_clipped_model_output=True).prev_sample
    assert torch.allclose(tile.y0_hat, yt, atol=1e-5)


def test_the_unconditional_row_is_the_same_network_sampled_as_the_others():
    """By DDIM it is the row DDIM; the ancestral chain is another, with noise from the same start."""
    assert torch.equal(samples("unconditional"), samples("ddim"))
    assert not torch.equal(samples("unconditional"), samples("ddpm", ddpm_steps=4))
    generator = model("unconditional", solver="dpmpp2m", spacing="log_snr", steps=3)
    assert evaluations("unconditional", generator.sampling) == len(frames(generator)) == 3
    assert generator.report()["solver"]["solver"] == "dpmpp2m"


@pytest.mark.parametrize("method", METHODS)
def test_in_bf16_samples_are_near_those_in_fp32_and_still_independent_of_the_batch(method):
    whole, exact = (samples(method, range(5), precision=precision) for precision in ("bf16", "fp32"))
    assert whole.dtype == torch.float32 and not torch.equal(whole, exact)
    assert (whole - exact).abs().mean() < 2**-6 * exact.abs().mean()  # bf16 keeps 8 bits, and errors add up
    shards = [samples(method, numbers, precision="bf16") for numbers in (range(2), range(2, 5))]
    assert torch.equal(whole, torch.cat(shards))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_samplers_keep_no_output_that_the_next_call_may_write_over(precision, prediction):
    """As of a network compiled with CUDA graphs: here each output is spoilt when its network is called again."""
    generator = model("pig", prediction, solver="dpmpp2m", clip=False, precision=precision)
    wanted = frames(generator)
    for name, (network, _) in generator.nets.items():
        generator.nets[name] = Trained(Overwriting(network), prediction)
    for before, after in zip(wanted, frames(generator), strict=True):
        assert torch.equal(before.x0_hat, after.x0_hat) and torch.equal(before.y0_hat, after.y0_hat)


class Overwriting(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, self.out = model, torch.zeros(0)

    def forward(self, *args):
        self.out.fill_(torch.nan)
        self.out = self.model(*args)
        return self.out


@pytest.mark.parametrize(("settle", "awake"), [(None, 4), (0.99, 4), (0.5, 2), (0.01, 1)])
def test_a_guider_that_has_settled_is_evaluated_no_more(settle, awake):
    """Its mask stays as it was, and each network is called as often as `evaluations` says."""
    generator, calls = model("pig", settle=settle), []
    for name, (network, _) in generator.nets.items():
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
    found = frames(generator)
    assert (calls.count("guider"), calls.count("guided")) == (awake, 4)
    assert evaluations("pig", generator.sampling) == len(calls)
    assert evaluations("joint", generator.sampling) == 4
    for before, after in pairwise(found[awake - 1 :]):
        assert torch.equal(before.x0_hat, after.x0_hat) and not torch.equal(before.y0_hat, after.y0_hat)
    never = frames(model("pig"))
    assert all(torch.equal(a.y0_hat, b.y0_hat) for a, b in zip(found[:awake], never[:awake], strict=True))


# ---------------------------- losses
def settings_of(name, study):
    """Of all settings those of a network's training."""
    kind = net(name).settings
    return kind(**{key: getattr(study, key) for key in kind.model_fields})


def changed(study, **sections):
    values = {name: getattr(study, name).model_copy(update=own) for name, own in sections.items()}
    return study.model_copy(update=values)


DENOISERS = [name for name in NETS if name != "autoencoder"]  # which has its own in test_autoencoder.py
STUDIES = {profile: load("params.yaml", Params, profile) for profile in ("smoke", "demo", "paper")}
SNR = {"weight": "snr", "weight_most": 5.0}
LIMITED = {name: {"prediction": "v", **SNR} for name in DENOISERS} | {
    "controlnet": {**SNR, "weight_least": 1.0},
    "guided": {"prediction": "eps", **SNR, "weight_least": 0.5, "loss_weight": "sigmoid"},
    "training": {"antithetic": not SMOKE.training.antithetic},
}
STRAIGHT = {
    "times": "log_snr",
    "times_mean": 0.5,
    "times_width": 2.0,
    "weight": "straight",
    "weight_most": 9.0,
}
STUDIES["limited"] = changed(SMOKE, **LIMITED)  # as no profile has it
STUDIES["straight"] = changed(SMOKE, **dict.fromkeys(DENOISERS, STRAIGHT), training={"antithetic": False})


def shown(name, x0, y0, alphabar, study, frozen):
    """(clean, its noise, guide, t, a) of a network's first loss, straight from the papers."""
    clean = {"guider": x0, "joint": torch.cat([x0, y0], 1)}.get(name, y0)
    if name == "ldm":
        clean = frozen["autoencoder"].model.encode(y0)
    generator = torch.Generator().manual_seed(0)
    own = getattr(study, name)
    times = partial(uniform, antithetic=study.training.antithetic)
    if own.times == "log_snr":
        times = partial(normal_log_snr, mean=own.times_mean, width=own.times_width)
    t, eps_1, eps_2 = draw(clean, alphabar, generator, times)
    a = alphabar[t].float().view(-1, 1, 1, 1)
    if name == "guider":
        return x0, eps_1, noise(y0, eps_2, a), t, a
    guide = {"ddpm": None, "joint": None, "ldm": F.avg_pool2d(x0, 2)}.get(name, x0)
    if name == "guided":
        guider, prediction = frozen["guider"]
        xt, yt = noise(x0, eps_1, a), noise(y0, eps_2, a)
        guide = PREDICTIONS[prediction].x0_hat(guider(xt, yt, t), xt, a)
        guide = guide.clamp(-1, 1) if study.guided.clip_guide else guide
    return clean, eps_2, guide, t, a


def weight(own, prediction, a):
    """Of the errors of what is predicted, so that those of x0 weigh what the settings say."""
    snr = a / (1 - a)
    of_x0 = {"none": None, "snr": snr, "straight": (1 + snr**0.5) ** 2}[own.weight]
    if of_x0 is None:
        return 1
    limited = of_x0.clamp(own.weight_least or 0.0, own.weight_most or torch.inf)
    return limited / {"eps": snr, "v": snr + 1, "x0": 1}[prediction]


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("name", DENOISERS)
def test_first_loss_and_gradient_of_every_network_are_those_of_its_paper(name, study):
    study = STUDIES[study].model_copy(update=TINY)
    kind, own = net(name), settings_of(name, study)
    frozen = {need: trained(need, net(need).prediction(study)) for need in NETS[name].needs}
    x0, y0 = torch.randn(2, 6, 1, 16, 16, generator=torch.Generator().manual_seed(5)).clamp(-1, 1)
    alphabar = schedule(study.process)
    model = trained(name).model.train()
    loss = kind.loss(model, frozen, Batch(x0, y0, alphabar, torch.Generator().manual_seed(0)), own)

    clean, eps, guide, t, a = shown(name, x0, y0, alphabar, study, frozen)
    prediction = kind.prediction(own)
    target = PREDICTIONS[prediction].target(clean, eps, a)
    error = (model(noise(clean, eps, a), guide, t) - target) ** 2 * weight(
        getattr(study, name), prediction, a
    )
    if name == "guided" and study.guided.loss_weight == "sigmoid":
        error = error * torch.sigmoid(guide)
    trainable = [p for p in model.parameters() if p.requires_grad]
    found, expected = (torch.autograd.grad(each, trainable) for each in (loss, error.mean()))
    torch.testing.assert_close((loss, found), (error.mean(), expected), rtol=1e-4, atol=1e-6)
    assert loss > 0 and any(part.abs().max() > 1e-4 for part in found)


@pytest.mark.parametrize("name", DENOISERS)
def test_what_a_network_is_told_counts_in_training_and_zeros_are_as_good_as_nothing(name):
    listens = {key: value.model_copy() for key, value in TINY.items()}
    listens["network"] = listens["network"].model_copy(update={"told": True})
    study = SMOKE.model_copy(update=listens)
    kind, own = net(name), settings_of(name, study)
    torch.manual_seed(0)
    model = kind.make(own)
    with torch.no_grad():
        for part in model.parameters():
            part.add_(0.05)  # so that zero convolutions count too
    frozen = {need: trained(need, net(need).prediction(study)) for need in NETS[name].needs}
    x0, y0 = torch.randn(2, 4, 1, 16, 16, generator=torch.Generator().manual_seed(5)).clamp(-1, 1)

    def loss(told):
        batch = Batch(x0, y0, schedule(study.process), torch.Generator().manual_seed(0), told)
        return kind.loss(model, frozen, batch, own).item()

    assert loss(None) == loss(torch.zeros(4, TOLD)) != loss(torch.ones(4, TOLD))


def test_antithetic_times_of_a_log_snr_are_refused():
    study = changed(SMALL, ddpm=STRAIGHT, training={"antithetic": True})
    x0 = torch.zeros(2, 1, 16, 16)
    batch = Batch(x0, x0, schedule(study.process), torch.Generator())
    with pytest.raises(InputError, match=r"training\.antithetic"):
        net("ddpm").loss(trained("ddpm").model, {}, batch, settings_of("ddpm", study))


@pytest.mark.parametrize(("ablation", "expected"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_segguided_drops_masks_in_training_only(ablation, expected):
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, noised, guide, t):
            seen.append((guide == -1).flatten(1).all(1).float().mean().item())
            return noised

    own = settings_of("segguided", changed(SMOKE, segguided={"ablation": ablation}))
    x0 = (torch.from_numpy(masks(1))[:, None].float() * 2 - 1).expand(400, 1, 16, 16)
    for mode in (True, False):
        batch = Batch(x0, x0, schedule(own.process), torch.Generator().manual_seed(0))
        net("segguided").loss(Spy().train(mode), {}, batch, own)
    assert seen[0] == pytest.approx(expected, abs=0.1)
    assert seen[1] == 0


# ---------------------------- how networks are made
@pytest.mark.parametrize(("profile", "groups"), [("demo", 9), ("busi", 9), ("paper", 45)])
def test_joint_has_the_parameters_of_pigs_two_networks_within_two_percent(profile, groups):
    """Not of smoke: at its width, 8, one channel is 15 %. Its groups of channels are about as many as the others'."""
    sections = load("params.yaml", Params, profile)
    with torch.device("meta"):
        two = sum(parameters(net(name).make(sections)) for name in ("guider", "guided"))
        one = net("joint").make(sections)
    assert abs(parameters(one) / two - 1) <= 0.02
    found = {layer.num_groups for layer in one.modules() if isinstance(layer, torch.nn.GroupNorm)}
    assert found == {groups}


@pytest.mark.parametrize("name", NETS)
def test_a_networks_header_says_how_it_is_made(name, tmp_path):
    """The sections of its training, as `pig train` writes them; without one that it is made from, that is named."""
    own, wanted = settings_of(name, SMALL), trained(name).model
    header = {"net": name, "prediction": net(name).prediction(own), **own.model_dump()}
    weights.save(tmp_path / "net", weights.portable(wanted), header)
    found = read_net(tmp_path / "net", torch.device("cpu"))
    assert found.trained.prediction == header["prediction"] and found.header == header
    assert not found.trained.model.training
    state = found.trained.model.state_dict()
    assert state.keys() == wanted.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in wanted.state_dict().items())
    for section in net(name).built.model_fields:
        weights.save(tmp_path / "bad", {}, {key: value for key, value in header.items() if key != section})
        with pytest.raises(InputError, match=rf"bad: .*{section}"):
            read_net(tmp_path / "bad", torch.device("cpu"))


# ---------------------------- the table
def test_networks_come_after_those_they_build_on():
    assert order(["pig"]) == ["guider", "guided"]
    assert order(["ddim", "controlnet"]) == ["ddpm", "controlnet"]
    assert order(["ldm"]) == ["autoencoder", "ldm"]
    for name in METHODS:
        found = order([name])
        assert set(METHODS[name].nets) <= set(found)
        assert all(found.index(need) < found.index(one) for one in found for need in NETS[one].needs)


@pytest.mark.parametrize("name", NETS)
def test_a_network_is_trained_with_the_sections_of_its_row(name):
    fields = net(name).settings.model_fields
    own = {key: field.annotation for key, field in fields.items() if key not in Shared.model_fields}
    assert own == NETS[name].sections and fields.keys() > Shared.model_fields.keys()


def test_the_files_offer_what_the_table_names_and_no_more():
    for rows, one, offered in ((NETS, net, "NETS"), (METHODS, sampler, "SAMPLERS")):
        files = {importlib.import_module(f"pig.{row.module}") for row in rows.values()}
        assert sorted(name for file in files for name in getattr(file, offered)) == sorted(rows)
        for name, row in rows.items():
            assert one(name) is getattr(importlib.import_module(f"pig.{row.module}"), offered)[name]


# ---------------------------- each method learns one pair by heart, and samples it
CHAIN = Process(T=32, schedule="cosine", beta_1=1e-4, beta_T=0.02)
LEARN = DEMO.model_copy(update={**TINY, "process": CHAIN})


def a_pair():
    x0, y0 = torch.from_numpy(masks(4)[3:])[:, None].float() * 2 - 1, -torch.ones(1, 1, 16, 16)
    y0[:, :, 1:14, :12] = -0.2
    y0[x0 > 0] = 0.7
    return x0, y0


@pytest.fixture(scope="module")
def learnt():
    """Every network of the study after 60 steps on one pair."""
    found = {}
    x0, y0 = (part.expand(4, 1, 16, 16) for part in a_pair())
    for name in order(METHODS):
        kind, own = net(name), settings_of(name, LEARN)
        torch.manual_seed(0)
        model = kind.make(own)
        if kind.adopt:
            kind.adopt(model, found[kind.adopts].model)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
        batch = Batch(x0, y0, schedule(CHAIN), torch.Generator().manual_seed(0))
        for _ in range(60):
            optimizer.zero_grad()
            kind.loss(model, found, batch, own).backward()
            nn.utils.clip_grad_norm_(model.parameters(), DEMO.training.clip_norm)
            optimizer.step()
        if kind.finish:
            kind.finish(model.eval(), [y0])
        found[name] = Trained(model.eval().requires_grad_(False), kind.prediction(own))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_each_method_overfits_one_pair(method, learnt):
    kind = METHODS[method]
    x0, y0 = a_pair()
    nets = {name: learnt[name] for name in kind.nets}
    few = SMOKE.sampling.model_copy(update={**USED, "steps": 8, "ddim_steps": 8, "ddpm_steps": 32, "tile": 2})
    generator = Model(method, (16, 16), 0, few, {}, nets, CHAIN)
    *_, frame = frames(generator, range(2), masks(4)[[3, 3]] if kind.masks else None)
    error = (frame.y0_hat - y0).square().mean(dim=(1, 2, 3))
    assert (error < 0.1 * y0.var()).all()
    if kind.paired:
        assert torch.equal(frame.x0_hat > 0, (x0 > 0).expand_as(frame.x0_hat))
