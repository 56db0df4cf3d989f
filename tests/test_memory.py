"""Memory by counting allocations; and benchmarks/reference.py computes what pig does, but for what it keeps."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import memory
import reference

from pig.diffusion import Denoiser, Draws, guided_loss, guider_loss, plain, sample_pairs, timesteps
from pig.models.losses import times_sigmoid
from pig.models.unet import Concatenated, UNet

SIZE, BATCH = 8, 2
STATE = 4 * BATCH * SIZE**2  # bytes


def nets():
    torch.manual_seed(0)
    return [Concatenated(UNet(2, 1, width=8, multipliers=(1, 2), blocks=1, groups=4)).eval() for _ in "xy"]


def test_live_counts_a_tensor_once_from_its_making_to_its_end():
    with memory.Live() as live:
        a = torch.zeros(100)
        b = a[:50]  # the same memory
        assert live.now == 400
        c = a + 1
        del a
        assert live.now == 800  # b keeps it
        del b
        assert live.now == 400
        del c
    assert (live.now, live.peak) == (0, 800)


def test_sampling_takes_as_much_memory_in_64_steps_as_in_4():
    peaks = {
        steps: memory.sampling_peak(*nets(), SIZE, BATCH, steps, reference.alphabar())
        for steps in (4, 16, 64)
    }
    assert peaks[4] == peaks[16] == peaks[64] > STATE


def test_the_published_structure_keeps_four_states_a_step():
    peaks = {n: memory.reference_peak(*nets(), SIZE, BATCH, n, reference.alphabar()) for n in (4, 16, 64)}
    assert peaks[16] - peaks[4] == 12 * 4 * STATE
    assert peaks[64] - peaks[16] == 48 * 4 * STATE


def test_sizes_without_content_are_counted_like_real_ones():
    def one(batch):
        return memory.sampling_peak(*nets(), SIZE, batch, 4, reference.alphabar())

    real = [one(1), one(2)]
    with memory.FakeTensorMode():
        assert [one(1), one(2)] == real


def test_the_reference_samples_the_pairs_of_algorithm_2():
    torch.manual_seed(1)
    chains = torch.randn(2, BATCH, 1, SIZE, SIZE)
    abar = reference.alphabar()
    x0_hats, y0_hats, xs, ys = reference.sample(*nets(), *chains, abar, range(1024, -1, -128))
    denoisers = (Denoiser(net, abar) for net in nets())
    *_, (x0_hat, y0_hat) = sample_pairs(*denoisers, *chains, abar, timesteps(reference.T, 8))
    torch.testing.assert_close((x0_hats[-1], y0_hats[-1]), (x0_hat, y0_hat), rtol=1e-3, atol=1e-4)
    assert len(x0_hats) == len(y0_hats) == 8 and len(xs) == len(ys) == 9


@pytest.mark.parametrize("net", ["guider", "guided"])
def test_the_reference_trains_on_the_loss_of_the_published_code(net):
    x, y = torch.rand(2, BATCH, 1, SIZE, SIZE) * 2 - 1
    abar = reference.alphabar()
    guider, guided = nets()
    torch.manual_seed(2)
    t, _, _, _, eps_1, eps_2 = reference._noised(x, y, abar)
    assert t[0] + t[1] == reference.T + 1
    draws = Draws(t, eps_1, eps_2)
    our_guider, our_guided = Denoiser(guider, abar), Denoiser(guided, abar)
    expected = guider_loss(our_guider, x, y, draws)
    if net == "guided":
        expected = guided_loss(our_guided, our_guider, x, y, draws, times_sigmoid(plain))
    trained = {"guider": guider, "guided": guided}[net]
    before = [p.clone() for p in trained.parameters()]
    optimizer = reference.adam(trained)
    torch.manual_seed(2)
    if net == "guider":
        found = reference.guider_step(guider, optimizer, x, y, abar)
    else:
        found = reference.guided_step(guided, guider, optimizer, x, y, abar)
    assert found == pytest.approx(expected.item(), rel=1e-5)
    assert any(not torch.equal(a, b) for a, b in zip(before, trained.parameters(), strict=True))
