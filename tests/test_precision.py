"""`precision: auto`: what it decides, that files say it, and that a run goes on in the precision it was begun in."""

import json

import pytest
import torch
from tiny import PARAMS, call, fold_of, sample

import pig
from pig.cli.fitting import run_fit
from pig.core.errors import InputError
from pig.core.params import Shared, load, to_json
from pig.data.archive import Cost, Parts, read_archive
from pig.models import weights
from pig.models.table import NETS, Params
from pig.report import card, evidence
from pig.training.precision import decided

SMOKE = load(PARAMS, Params, "smoke")
CPU, GPU = torch.device("cpu"), torch.device("cuda")
INFO = "processor\t: 0\nmodel name\t: A processor\nflags\t\t: fpu vme {}\nbugs\t\t: amx_bf16 avx512_bf16\n"


@pytest.fixture
def on(monkeypatch):
    """Makes this machine one whose processor has the flags."""
    return lambda flags: monkeypatch.setattr("pig.training.precision.cpuinfo", lambda: INFO.format(flags))


# ---------------------------- what is decided
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("amx_bf16 amx_tile", "bf16"),
        ("avx512f avx512_bf16", "bf16"),
        ("avx2 avx512f avx512_vnni", "fp32"),
        ("amx_tile amx_int8", "fp32"),
        ("not_avx512_bf16 amx_bf16s", "fp32"),
        ("", "fp32"),
    ],
)
def test_a_processor_computes_in_bf16_if_its_flags_say_that_it_multiplies_it(flags, expected):
    assert decided("auto", CPU, INFO.format(flags)) == expected
    assert [decided(given, CPU, INFO.format(flags)) for given in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_where_nothing_is_known_of_the_processor_it_is_fp32():
    assert decided("auto", CPU, "") == "fp32"
    assert decided("auto", torch.device("meta"), INFO.format("amx_bf16")) == "fp32"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "fp32"), ((8, 0), "bf16"), ((9, 0), "bf16")])
def test_a_gpu_computes_in_bf16_from_ampere_on_whatever_the_processor(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    for flags in ("amx_bf16", "avx2"):
        assert decided("auto", GPU, INFO.format(flags)) == expected
        assert decided("bf16", GPU) == "bf16"


# ---------------------------- a training goes on as it was begun
def trained(state, precision="auto", dies_after=None):
    """(weights, precision) of a training of six steps, which is interrupted after so many."""
    torch.manual_seed(0)
    model, data, calls = torch.nn.Linear(2, 1), torch.randn(5, 2), iter(range(6))

    def loss(model, rows, generator):
        if next(calls) == dies_after:
            raise KeyboardInterrupt
        return (model(data[rows]).float() - torch.rand(len(rows), 1, generator=generator)).square().mean()

    changes = {"steps": 6, "batch": 2, "checkpoint_every": 2, "precision": precision}
    section = SMOKE.segmentation.model_copy(update=changes)
    kept, _, found = run_fit(
        model, loss, 5, section, lambda _: 0.0, label="toy", state=state, fingerprint="a"
    )
    return kept, found


def equal(one, two):
    return all(torch.equal(one[key], two[key]) for key in two)


@pytest.fixture
def begun(tmp_path, on, capsys):
    """Begins a training on a machine, which dies; returns its state."""

    def begin(flags, precision="auto"):
        on(flags)
        with pytest.raises(KeyboardInterrupt):
            trained(str(tmp_path / "s.pt"), precision, dies_after=5)
        capsys.readouterr()
        return str(tmp_path / "s.pt")

    return begin


@pytest.mark.parametrize(("flags", "expected"), [("avx2", "fp32"), ("amx_bf16", "bf16")])
def test_the_state_says_what_auto_was(begun, on, capsys, flags, expected):
    state = begun(flags)
    assert torch.load(state)["computed_in"] == expected
    kept, found = trained(state)
    assert found == expected and equal(kept, trained(None, expected)[0])
    assert capsys.readouterr().err.startswith(f"pig: toy: resumed at step 4 of 6 from {state}\n")


def test_begun_in_fp32_it_goes_on_in_fp32_where_auto_is_bf16_now(begun, on, capsys):
    state = begun("avx2")
    on("amx_bf16")
    kept, found = trained(state)
    assert found == "fp32" and equal(kept, trained(None, "fp32")[0])
    assert not equal(kept, trained(None, "bf16")[0])
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"pig: toy: resumed at step 4 of 6 from {state}, in fp32") and "bf16" in line


def test_begun_in_bf16_it_is_refused_without_hardware_and_goes_on_once_bf16_is_asked_for(begun, on, capsys):
    state = begun("amx_bf16")
    on("avx2")
    with open(state, "rb") as file:
        before = file.read()
    with pytest.raises(InputError) as caught:
        trained(state)
    assert str(caught.value).startswith(f"{state}: ") and "\n" not in str(caught.value)
    assert "segmentation.precision: bf16" in str(caught.value)
    with open(state, "rb") as file:
        assert file.read() == before
    kept, found = trained(state, "bf16")
    assert "resumed at step 4" in capsys.readouterr().err
    assert found == "bf16" and equal(kept, trained(None, "bf16")[0])


@pytest.mark.parametrize(("first", "then"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_a_state_of_another_precision_than_asked_for_is_left_unused(begun, capsys, first, then):
    kept, found = trained(begun("avx2", first), then)
    assert "resumed" not in capsys.readouterr().err
    assert found == then and equal(kept, trained(None, then)[0])


@pytest.mark.parametrize("spoilt", ["fp64", None, 3])
def test_a_state_of_no_precision_that_there_is_is_refused(begun, spoilt):
    state = begun("avx2")
    torch.save({**torch.load(state), "computed_in": spoilt}, state)
    with pytest.raises(InputError, match=state):
        trained(state)


# ---------------------------- so do parts of a sampling
def test_parts_are_of_one_precision(tmp_path, tiny):
    pairs = read_archive(tiny / "runs/smoke/pairs.zip")

    def parts(wanted):
        return Parts(tmp_path, ("job",), range(9), wanted)

    assert parts("auto").computed_in is None
    first = parts("bf16")
    first.add(pairs.select(range(2)), Cost())
    assert (parts("auto").computed_in, parts("auto").stop) == ("bf16", 2)
    assert parts("auto").found == parts("bf16").found == first.found
    assert (parts("fp32").stop, parts("auto").computed_in, list(tmp_path.iterdir())) == (0, None, [])


# ---------------------------- what files say
def cfg(*names, **precision):
    found = json.loads(to_json(SMOKE, *names))
    return ["--cfg", json.dumps({name: {**of, **precision.get(name, {})} for name, of in found.items()})]


@pytest.mark.parametrize(("flags", "expected"), [("avx512_bf16", "bf16"), ("avx2", "fp32")])
def test_trained_and_sampled_under_auto_all_is_as_in_what_was_decided_and_says_so(
    tiny, tmp_path, on, flags, expected
):
    on(flags)
    (tmp_path / "runs/smoke").mkdir(parents=True)
    data = ["--split", tiny / "runs/smoke/split.csv", "--pairs", tiny / "runs/smoke/pairs.zip", "--fold", 0]
    states = {}
    for precision in ("auto", expected):
        root = tmp_path / precision
        for net in ("guider", "guided"):
            own = cfg(*Shared.model_fields, *NETS[net].sections, training={"precision": precision})
            needs = ["--models", *(fold_of(root) / f"{need}.safetensors" for need in NETS[net].needs)]
            out = fold_of(root) / f"{net}.safetensors"
            call("train", net, *own, *data, *needs, "--out", out, "--curve", out.with_suffix(".csv"))
            states[precision, net], header = weights.load(out)
            assert header["computed_in"] == card.public(header)["computed_in"] == expected
            assert header["training"]["precision"] == precision
    assert all(equal(states["auto", net], states[expected, net]) for net in ("guider", "guided"))
    root = tmp_path / "auto"
    for precision in ("auto", expected):
        sample(root, "pig", root / f"{precision}.zip", 3, precision=precision)
    assert (root / "auto.zip").read_bytes() == (root / f"{expected}.zip").read_bytes()
    report = json.loads((root / "auto.json").read_text())
    assert report["computed_in"] == report["networks"]["guided"]["computed_in"] == expected


def test_what_was_drawn_before_in_another_precision_changes_no_bit(tiny):
    model = pig.load(fold_of(tiny), device="cpu")
    first, half, again = (
        [pair.image.tobytes() for pair in model.but(precision=precision).sample(5)]
        for precision in ("fp32", "bf16", "fp32")
    )
    assert first == again != half
    fresh = pig.load(fold_of(tiny), device="cpu").but(precision="bf16")
    assert [pair.image.tobytes() for pair in fresh.sample(5)] == half


def test_a_segmenter_says_it_and_a_finished_one_of_another_precision_is_not_taken(tiny, tmp_path, on):
    on("amx_bf16")
    own = tiny / "runs/smoke"
    written = {name: tmp_path / name for name in ("out", "curve", "model")}
    files = {"split": own / "split.csv", "pairs": own / "pairs.zip", **written}
    words = [word for key, path in files.items() for word in (f"--{key}", path)]
    for precision, expected in (("auto", "bf16"), ("fp32", "fp32")):
        chosen = cfg("segmentation", "augmentation", segmentation={"precision": precision})
        call("segment", "real", "--fold", 0, *words, *chosen, "--state", tmp_path / "s.pt")
        header = weights.load(tmp_path / "model", ())[1]
        assert header["computed_in"] == expected


def test_shards_of_two_precisions_are_both_told():
    costs = [
        {"machine": "A"},
        {"machine": "B", "computed_in": "fp32"},
        {"machine": "B", "computed_in": "bf16"},
    ]
    assert evidence.machines([*costs, costs[1]]) == "A, B in bf16, B in fp32"
    assert evidence.machines([{}]) == ""
