"""Every sample depends on its own seed alone, every method on its own networks, and each can learn a pair."""

import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from pig.core.params import Autoencoder, Network, load
from pig.diffusion import cosine_schedule, linear_schedule
from pig.models import methods
from pig.models.autoencoder import calibrate
from pig.models.unet import parameters

SECTIONS = SimpleNamespace(
    network=Network(width=8, multipliers=[1, 2], blocks=1, dropout=0.0, stem=2, groups=8),
    autoencoder=Autoencoder(
        factor=2, channels=3, width=8, blocks=1, patches=2, kl=1e-6, adversarial=0.0, adversarial_start=0
    ),
)
ALPHABAR = linear_schedule(1024)
SAMPLING = SimpleNamespace(
    steps=4, ddpm_steps=8, tile=4, clip=True, spacing="trailing", solver="ddim", settle=None, guide="x0_hat",
    precision="fp32", compile=False,
)  # fmt: skip


def trained(name, prediction="v"):
    torch.manual_seed(1)
    return methods.Trained(methods.NETS[name].make(SECTIONS).eval(), prediction)


def masks(n):
    x = -torch.ones(n, 1, 16, 16)
    for i in range(n):
        x[i, 0, i : i + 4, 2:7] = 1
    return x


def samples(method, seeds, sampling=SAMPLING, given=None, first=0):
    kind = methods.METHODS[method]
    if kind.masks and given is None:
        given = masks(16)[[seed - 10 for seed in seeds]]
    nets = {name: trained(name) for name in kind.nets}
    frames = list(methods.generate(method, nets, seeds, (16, 16), ALPHABAR, sampling, given, first))
    last = [frame for frame in frames if frame.last]
    assert len(frames) == len(last) * getattr(sampling, kind.steps)
    both = [f.y0_hat if f.x0_hat is None else torch.cat([f.x0_hat, f.y0_hat], 1) for f in last]
    return torch.cat(both)


@pytest.mark.parametrize("method", methods.METHODS)
def test_sample_i_is_bit_identical_alone_in_a_batch_and_in_a_shard(method):
    seeds = [11, 12, 13, 14, 15, 16]
    whole = samples(method, seeds)
    assert len(whole) == 6
    for cuts in [[0, 1, 6], [0, 2, 3, 5, 6], [0, 4, 6]]:
        shards = [samples(method, seeds[i:j], first=i) for i, j in pairwise(cuts)]
        assert torch.equal(whole, torch.cat(shards))
    assert torch.equal(whole[4:], samples(method, seeds[4:], first=400))
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("method", methods.METHODS)
def test_paired_methods_give_masks_and_conditional_ones_those_they_were_given(method):
    kind = methods.METHODS[method]
    found = samples(method, [11, 12])
    assert found.shape == (2, 2 if kind.paired else 1, 16, 16)
    if kind.masks:
        assert torch.equal(found[:, :1], masks(16)[[1, 2]])


@pytest.mark.parametrize("method", [name for name, kind in methods.METHODS.items() if kind.masks])
def test_a_conditional_method_needs_masks_and_another_takes_none(method):
    nets = {name: trained(name) for name in methods.METHODS[method].nets}
    with pytest.raises(ValueError, match="masks"):
        next(methods.generate(method, nets, [1], (16, 16), ALPHABAR, SAMPLING))
    with pytest.raises(ValueError, match="masks"):
        next(methods.generate("ddim", {"ddpm": trained("ddpm")}, [1], (16, 16), ALPHABAR, SAMPLING, masks(1)))


@pytest.mark.parametrize("method", ["segguided", "ldm"])
def test_the_mask_steers_the_image(method):
    one, other = (samples(method, [1], given=masks(8)[[i]])[:, 1] for i in (0, 7))
    assert not torch.equal(one, other)


def test_ddpm_draws_noise_and_ddim_none():
    """From one start and with one network: eta = 1 at the same number of steps ends elsewhere."""
    same = SimpleNamespace(**{**vars(SAMPLING), "ddpm_steps": SAMPLING.steps})
    assert not torch.equal(samples("ddpm", [1], same), samples("ddim", [1], same))


def test_the_published_guide_changes_the_image():
    other = SimpleNamespace(**{**vars(SAMPLING), "guide": "local_mean"})
    assert not torch.equal(samples("pig", [1])[:, 1], samples("pig", [1], other)[:, 1])


@pytest.mark.parametrize("method", methods.METHODS)
def test_the_solver_moves_every_chain_but_the_ancestral_one(method):
    other = SimpleNamespace(**{**vars(SAMPLING), "solver": "dpmpp2m"})
    assert torch.equal(samples(method, [11]), samples(method, [11], other)) == (method == "ddpm")


@pytest.mark.parametrize("method", methods.METHODS)
def test_in_bf16_samples_are_near_those_in_fp32_and_still_independent_of_the_batch(method):
    half = SimpleNamespace(**{**vars(SAMPLING), "precision": "bf16"})
    whole, exact = samples(method, [11, 12, 13, 14, 15], half), samples(method, [11, 12, 13, 14, 15])
    assert whole.dtype == torch.float32 and not torch.equal(whole, exact)
    assert (whole - exact).abs().mean() < 2**-6 * exact.abs().mean()  # bf16 keeps 8 bits, and errors add up
    assert torch.equal(
        whole, torch.cat([samples(method, [11, 12], half), samples(method, [13, 14, 15], half, first=2)])
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_samplers_keep_no_output_that_the_next_call_may_write_over(precision, prediction):
    """As of a network compiled with CUDA graphs: here each output is spoilt when its network is called again."""
    sampling = SimpleNamespace(
        **{**vars(SAMPLING), "solver": "dpmpp2m", "clip": False, "precision": precision}
    )
    nets = {name: trained(name, prediction) for name in ("guider", "guided")}
    wanted = list(methods.generate("pig", nets, [11], (16, 16), ALPHABAR, sampling))
    for name, (model, _) in nets.items():
        nets[name] = methods.Trained(Overwriting(model), prediction)
    found = list(methods.generate("pig", nets, [11], (16, 16), ALPHABAR, sampling))
    for before, after in zip(wanted, found, strict=True):
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
    sampling = SimpleNamespace(**{**vars(SAMPLING), "settle": settle})
    nets, calls = {name: trained(name) for name in ("guider", "guided")}, []
    for name, net in nets.items():
        net.model.register_forward_hook(lambda *_, name=name: calls.append(name))
    frames = list(methods.generate("pig", nets, [11], (16, 16), ALPHABAR, sampling))
    assert (calls.count("guider"), calls.count("guided")) == (awake, 4)
    assert methods.evaluations("pig", sampling) == len(calls) and methods.evaluations("joint", sampling) == 4
    for before, after in pairwise(frames[awake - 1 :]):
        assert torch.equal(before.x0_hat, after.x0_hat) and not torch.equal(before.y0_hat, after.y0_hat)
    never = list(methods.generate("pig", nets, [11], (16, 16), ALPHABAR, SAMPLING))
    assert all(torch.equal(a.y0_hat, b.y0_hat) for a, b in zip(frames[:awake], never[:awake], strict=True))


def frozen_for(name, settings):
    own = {"guider": settings.guider.prediction, "ddpm": settings.ddpm.prediction, "autoencoder": ""}
    return {need: trained(need, own[need]) for need in methods.NETS[name].needs}


@pytest.mark.parametrize("profile", ["smoke", "demo", "paper"])
@pytest.mark.parametrize("name", methods.NETS)
def test_every_net_has_a_finite_loss_under_every_profile(profile, name):
    chosen = load("params.yaml", profile)
    alphabar = methods.schedule(chosen.process)
    torch.manual_seed(0)
    x0, y0 = torch.randn(2, 2, 1, 16, 16).clamp(-1, 1)
    net, generator = trained(name).model.train(), torch.Generator().manual_seed(0)
    loss = methods.NETS[name].loss(net, frozen_for(name, chosen), x0, y0, alphabar, generator, chosen)
    assert torch.isfinite(loss) and loss > 0


@pytest.mark.parametrize(("ablation", "expected"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_segguided_drops_masks_in_training_only(ablation, expected):
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, noised, guide, t):
            seen.append((guide == -1).flatten(1).all(1).float().mean().item())
            return noised

    settings = load("params.yaml", "smoke")
    settings = settings.model_copy(
        update={"segguided": settings.segguided.model_copy(update={"ablation": ablation})}
    )
    x0 = masks(1).expand(400, 1, 16, 16)
    for mode in (True, False):
        loss = methods.NETS["segguided"].loss
        loss(Spy().train(mode), {}, x0, x0, ALPHABAR, torch.Generator().manual_seed(0), settings)
    assert seen[0] == pytest.approx(expected, abs=0.1)
    assert seen[1] == 0


@pytest.mark.parametrize(
    "profile", ["demo", "busi", "paper"]
)  # at the width of smoke, 8, one channel is 15 %
def test_joint_has_the_parameters_of_pigs_two_networks_within_two_percent(profile):
    sections = load("params.yaml", profile)
    with torch.device("meta"):
        two = sum(parameters(methods.NETS[name].make(sections)) for name in ("guider", "guided"))
        one = parameters(methods.NETS["joint"].make(sections))
    assert abs(one / two - 1) <= 0.02


@pytest.mark.parametrize(("profile", "groups"), [("demo", 9), ("paper", 45)])  # of 45 channels
def test_joint_is_normalised_in_about_as_many_groups_as_the_others(profile, groups):
    net = methods.NETS["joint"].make(load("params.yaml", profile)).net
    found = {layer.num_groups for layer in net.modules() if isinstance(layer, torch.nn.GroupNorm)}
    assert found == {groups}


def test_networks_come_after_those_they_build_on():
    assert methods.order(["pig"]) == ["guider", "guided"]
    assert methods.order(["ddim", "controlnet"]) == ["ddpm", "controlnet"]
    assert methods.order(["ldm"]) == ["autoencoder", "ldm"]
    for name in methods.METHODS:
        found = methods.order([name])
        assert set(methods.METHODS[name].nets) <= set(found)
        assert all(found.index(need) < found.index(net) for net in found for need in methods.NETS[net].needs)


def test_the_tables_load_without_torch():
    code = "import sys, pig.models.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------- each method learns one pair by heart, and samples it
CHAIN = cosine_schedule(32)
FEW = SimpleNamespace(
    steps=8,
    ddpm_steps=32,
    tile=2,
    clip=True,
    spacing="trailing",
    solver="ddim",
    settle=None,
    guide="x0_hat",
    precision="fp32",
    compile=False,
)
LEARN = load("params.yaml", "smoke").model_copy(
    update={
        **{
            name: load("params.yaml", "demo").__dict__[name] for name in ("guider", "guided", "ddpm", "joint")
        },
        **{name: load("params.yaml", "demo").__dict__[name] for name in ("segguided", "controlnet", "ldm")},
        "network": SECTIONS.network,
        "autoencoder": SECTIONS.autoencoder,
    }
)


def a_pair():
    x0, y0 = masks(4)[3:], -torch.ones(1, 1, 16, 16)
    y0[:, :, 1:14, :12] = -0.2
    y0[x0 > 0] = 0.7
    return x0, y0


@pytest.fixture(scope="module")
def learnt():
    """Every network of the study after a few hundred steps on one pair."""
    found = {}
    x0, y0 = (part.expand(8, 1, 16, 16) for part in a_pair())
    for name in methods.order(list(methods.METHODS)):
        kind = methods.NETS[name]
        torch.manual_seed(0)
        model = kind.make(LEARN)
        if kind.adopt:
            model.adopt(found[kind.adopt].model.net)
        optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(250):
            optimizer.zero_grad()
            kind.loss(model, found, x0, y0, CHAIN, generator, LEARN).backward()
            optimizer.step()
        if kind.finish:
            calibrate(model.eval(), [y0])
        prediction = getattr(LEARN, kind.prediction).prediction if kind.prediction else ""
        found[name] = methods.Trained(model.eval().requires_grad_(False), prediction)
    return found


@pytest.mark.parametrize("method", methods.METHODS)
def test_each_method_overfits_one_pair(method, learnt):
    kind = methods.METHODS[method]
    x0, y0 = a_pair()
    nets = {name: learnt[name] for name in kind.nets}
    given = x0.expand(2, 1, 16, 16) if kind.masks else None
    *_, frame = methods.generate(method, nets, [1, 2], (16, 16), CHAIN, FEW, given)
    error = (frame.y0_hat - y0).square().mean(dim=(1, 2, 3))
    assert (error < 0.1 * y0.var()).all()
    if kind.paired:
        assert torch.equal(frame.x0_hat > 0, (x0 > 0).expand_as(frame.x0_hat))
