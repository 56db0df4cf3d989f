"""An exported generator samples what `pig sample` does; its card says what the tables say, and nothing private."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from kinds import filled
from tiny import PARAMS, call, fold_of, sample

import pig
from pig.cli.main import main
from pig.core.params import load
from pig.models import weights
from pig.models.loading import read_net
from pig.models.table import METHODS, Params
from pig.report import card
from pig.report.evidence import LAYOUTS

SMOKE = ["--params", PARAMS, "--profile", "smoke"]
PIG = METHODS["pig"].nets


def exported(fold, out, *more, method="pig"):
    call("export", fold, "--method", method, "--licence", "MIT", "--out", out, *SMOKE, *more)
    return out


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def metadata(folder):
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def with_headers(tiny, fold, change):
    """PIG's networks in the folder `fold`, each with the header that `change` makes of its own."""
    for net in PIG:
        state, header = weights.load(fold_of(tiny) / f"{net}.safetensors")
        weights.save(fold / f"{net}.safetensors", state, change(header))
    return fold


# --- the round trip ---


@pytest.mark.parametrize("method", ["pig", "ddim", "joint"])
def test_an_export_samples_what_pig_sample_does_bit_for_bit(method, tiny, tmp_path):
    wanted = sample(tiny, method, tmp_path / "cli.zip", 3)
    folder = exported(fold_of(tiny), tmp_path / "shared", method=method)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    found = list(pig.load(moved, device="cpu").sample(3, seed=0))
    assert np.array_equal([image for _, image in found], wanted.images)
    if wanted.masks is not None:
        assert np.array_equal([mask for mask, _ in found], wanted.masks)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_exported_and_loaded(method, tiny, tmp_path):
    folder = exported(fold_of(tiny), tmp_path / "shared", method=method)
    nets = [f"{net}.safetensors" for net in METHODS[method].nets]
    assert sorted(content(folder)) == sorted(["README.md", "config.json", *nets])
    found = pig.load(folder, device="cpu")
    assert (found.method, found.sampling) == (method, load(PARAMS, Params, "smoke").sampling)
    for name in nets:
        first, second = (weights.load(at / name)[0] for at in (folder, fold_of(tiny)))
        assert all(torch.equal(first[key], second[key]) for key in second)
    front, text = metadata(folder)
    masks = bool(METHODS[method].masks)
    assert METHODS[method].label in text and ("masks=masks" in text) == masks
    assert (front["pipeline_tag"] == "image-to-image") == masks


def test_equal_networks_give_equal_files(tiny, tmp_path):
    first = exported(fold_of(tiny), tmp_path / "a")
    other = shutil.copytree(fold_of(tiny), tmp_path / "another/name")
    assert content(exported(other, tmp_path / "b/c")) == content(first)


def test_an_export_has_its_own_method_and_settings(tiny, tmp_path):
    folder = exported(fold_of(tiny), tmp_path / "shared")
    with pytest.raises(pig.InputError, match="joint"):
        pig.load(folder, "joint")
    with pytest.raises(pig.InputError, match="profile"):
        pig.load(folder, profile="demo")


# --- nothing private ---


def test_no_path_and_no_free_text_of_a_header_is_written(tiny, tmp_path):
    fold = shutil.copytree(fold_of(tiny), tmp_path / "dr_smith/fold0")
    state, header = weights.load(fold / "guided.safetensors")
    header["guided"]["initial_weights"] = "/home/dr_smith/jane_doe.safetensors"
    header |= {
        "host": "dr_smith-pc",
        "revision": "dr_smith-branch",
        "data": "jane_doe",
        "version": "jane doe",
    }
    header["training"] |= {"note": "jane_doe", "schedule": "jane_doe"}
    weights.save(fold / "guided.safetensors", state, header)
    for written in content(exported(fold, tmp_path / "shared")).values():
        for word in (b"smith", b"jane", str(tmp_path).encode(), b"host"):
            assert word not in written


def test_a_public_header_keeps_numbers_hashes_and_settings(tiny):
    header = read_net(fold_of(tiny) / "guided.safetensors", torch.device("cpu")).header
    found = card.public(header)
    assert {**header, "guided": None} | {**found, "guided": None} == {**header, "guided": None}
    assert set(header) - set(found) <= {"revision"}  # which may be no hash, outside of git
    assert found["guided"] == header["guided"]  # its initial_weights are null
    odd = {"net": "guider", "seen": "many", "validation": float("inf"), "size": "32x32", "fold": 1}
    assert card.public(odd) == {"net": "guider", "fold": 1}


def test_data_other_than_the_phantom_are_not_named_unless_told(tiny, tmp_path):
    raw = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    raw["profiles"]["smoke"]["data"] = {"source": "data/st_anna_hospital.zip", "size": 32}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    own = ["--params", tmp_path / "params.yaml"]
    _, text = metadata(exported(fold_of(tiny), tmp_path / "untold", *own))
    assert "anna" not in text and "phantom" not in text
    _, text = metadata(exported(fold_of(tiny), tmp_path / "told", *own, "--data", "BUSI, CC BY 4.0."))
    assert "BUSI, CC BY 4.0." in text
    assert "phantom" in metadata(exported(fold_of(tiny), tmp_path / "phantom"))[1]


# --- the card ---


def tables(folder: Path, tiny: Path) -> Path:
    """Tables of a study as `pig tables` writes them, of the methods that matter here, with numbers made up."""
    folder.mkdir()
    size = sum(weights.load(fold_of(tiny) / f"{net}.safetensors")[1]["parameters"] for net in PIG)
    fid = {"n": 6, "fid": [29.38, 185.71, 240.7], "fid_low": 26.4, "fid_high": 191.8, "paper_fid": 15.88}
    dice = {"dice": [74.7, 73.11, 70.0], "dice_low": 69.0, "dice_high": 76.76, "gain": [np.nan, -1.59, 1.0]}
    dice |= {"gain_low": [np.nan, -3.7, 0.5], "gain_high": [np.nan, 0.19, 1.5], "mark": ["", "†", ""]}
    names = {"row": ["real", "pig", "joint"], "method": ["Real (floor)", "PIG", "Joint"]}
    trained = {"row": ["real", "pig_4", "joint_4"], "set": names["row"], "dose": 4}
    trained |= {"training_set": ["Real", "Real + 4 PIG", "Real + 4 Joint"]}
    labels = {"row": names["row"], "label": names["method"], "n": 6}
    trts = {
        "trts": [74.7, 63.83, 1.0],
        "trts_low": 60.2,
        "trts_high": 67.2,
        "trts_shuffled": [np.nan, 11.1, 1],
    }
    costs = {"row": ["pig"], "parameters_m": [size / 1e6], "evaluations": [16]}
    copies = {"joint_share": [1.13, 1.25, 50.0]}
    made = (names | fid, trained | dice, labels | trts, labels | copies, costs)
    for layout, columns in zip(LAYOUTS.values(), made, strict=True):
        filled(layout.kind, columns).to_csv(folder / f"table{layout.number}.csv", index=False)
    return folder


def test_the_scores_are_those_of_the_tables_with_intervals(tiny, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    reports = tables(tmp_path / "reports", tiny)
    folder = exported(fold_of(tiny), tmp_path / "shared", "--reports", reports)
    front, text = metadata(folder)
    rows = [" ".join(line.replace("|", " ").split()) for line in text.splitlines() if line.startswith("| ")]
    assert {
        "Real (floor) 6 29.4 [26.4, 191.8]",
        "PIG 6 185.7 [26.4, 191.8]",
        "Real 74.7 [69.0, 76.8] –",
        "Real + 4 PIG 73.1 [69.0, 76.8] -1.6 [-3.7, 0.2]",
        "PIG 6 63.8 [60.2, 67.2] 11.1",
        "PIG 6 1.2",
    } <= set(rows)
    assert "Joint" not in text and "15.88" not in text  # neither rivals nor the paper's numbers
    assert "InceptionV3 of 2015-12-05" in text and "95 % intervals over patients" in text
    (results,) = front["model-index"][0]["results"]
    scores = {"fid": 185.7, "trts": 63.8}
    assert {metric["type"]: metric["value"] for metric in results["metrics"]} == scores
    data = hub.ModelCard.load(folder / "README.md").data
    assert (data.license, data.library_name, data.model_name) == ("mit", "pig", "PIG")
    assert {of.metric_type: of.metric_value for of in data.eval_results} == scores
    assert hub.ModelCard(f"---\n{data.to_yaml()}\n---\n").data.to_dict() == data.to_dict()


def test_a_card_without_scores_has_no_table(tiny, tmp_path):
    front, text = metadata(exported(fold_of(tiny), tmp_path / "shared"))
    assert "Table" not in text and "model-index" not in front
    assert (front["license"], front["library_name"]) == ("mit", "pig")


def test_networks_that_saw_all_patients_have_no_scores(tiny, tmp_path):
    def leaking(header):
        return header | {"folds": header["folds"] | {"leak": True}}

    fold = with_headers(tiny, tmp_path / "fold0", leaking)
    reports = tables(tmp_path / "reports", tiny)
    front, text = metadata(exported(fold, tmp_path / "shared", "--reports", reports))
    assert "**all** patients" in text and "185.7" not in text and "model-index" not in front


def test_an_imported_checkpoint_that_says_little_has_a_card_too(tiny, tmp_path):
    def official(header):
        kept = {key: header[key] for key in ("net", "network", "process", "size", "prediction")}
        return kept | {"profile": "official", "source": "ab" * 32}

    folder = exported(with_headers(tiny, tmp_path / "official", official), tmp_path / "shared")
    assert json.loads((folder / "config.json").read_bytes())["networks"]["guider"]["source"] == "ab" * 32
    assert len(list(pig.load(folder, device="cpu").sample(1))) == 1


# --- what is refused ---


@pytest.fixture
def refused(tiny, tmp_path, capsys):
    """`pig export` of FOLD that must fail, in one line that names NAMED, and writes nothing."""

    def run(named, *more, fold=None, out=tmp_path / "new", licence="mit"):
        capsys.readouterr()
        words = ("export", fold or fold_of(tiny), *SMOKE, "--licence", licence, "--out", out, *more)
        assert main([str(word) for word in words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert named in line and not (tmp_path / "new").exists()
        return line

    return run


def test_a_licence_is_asked_for(tiny, tmp_path, refused, capsys):
    with pytest.raises(SystemExit) as end:
        main(["export", str(fold_of(tiny)), "--out", str(tmp_path / "shared")])
    assert end.value.code == 2 and "--licence" in capsys.readouterr().err
    refused("--licence my own", licence="my own")
    assert list(tmp_path.iterdir()) == []


def test_tables_of_another_study_are_refused(tiny, tmp_path, refused):
    reports = tables(tmp_path / "reports", tiny)
    refused(f"--reports {tmp_path}", "--reports", tmp_path)
    costs = pd.read_csv(reports / "table5.csv")
    for key, value in (
        ("evaluations", 64),
        ("parameters_m", 1.5),
        ("evaluations", np.nan),
        ("row", "ldm"),
        ("evaluations", "many"),
    ):
        costs.assign(**{key: value}).to_csv(tmp_path / "table5.csv", index=False)
        assert "table5.csv" in refused(key, "--reports", tmp_path)
    (reports / "table5.md").write_text("**Table 5.** Profile busi, data: b.zip. Costs.", encoding="utf-8")
    assert "table5.md" in refused("busi", "--reports", reports)
    (reports / "table5.md").write_text("**Table 5.** Profile smoke, data: phantom. Costs.", encoding="utf-8")
    pd.read_csv(reports / "table1.csv").assign(fid="low").to_csv(reports / "table1.csv", index=False)
    refused("table1.csv: fid", "--reports", reports)


def test_a_folder_of_something_else_is_left_alone(tiny, tmp_path, refused):
    out = exported(fold_of(tiny), tmp_path / "shared")
    (out / ".git").mkdir()
    before = sorted(path.name for path in out.iterdir())
    refused(".git", out=out)
    assert sorted(path.name for path in out.iterdir()) == before
    (out / ".git").rmdir()
    (out / "config.json").unlink()
    refused("config.json", out=out)
    (out / "config.json").write_text('{"library_name": "diffusers"}', encoding="utf-8")
    refused("config.json", out=out)
    refused("README.md", out=out / "README.md")


def test_an_export_is_replaced_whole_or_not_at_all(tiny, tmp_path, refused, monkeypatch):
    out = exported(fold_of(tiny), tmp_path / "shared", method="ldm")
    exported(fold_of(tiny), out)
    assert "ldm.safetensors" not in content(out)
    before = content(out)

    def full(path, *rest):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(weights, "save", full)
    refused(f"{out}: no space left", "--method", "joint", out=out)
    assert content(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def test_only_a_fold_is_exported(tiny, tmp_path, refused):
    folder = exported(fold_of(tiny), tmp_path / "shared")
    refused("shared", fold=folder)
    refused("nowhere", fold=tmp_path / "nowhere")
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(fold_of(tiny) / "guider.safetensors", folder)
    refused("guided.safetensors", fold=folder)
    shutil.copy(fold_of(tiny) / "guider.safetensors", folder / "guided.safetensors")
    refused("guided", fold=folder)
