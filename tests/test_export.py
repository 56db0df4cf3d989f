"""An exported generator samples what `pig sample` does; its card says what the tables say, and nothing private."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from tiny import PARAMS, call, fold_of, sample

import pig
from pig.cli.main import main
from pig.core.params import load
from pig.models import weights
from pig.models.loading import read_net
from pig.models.table import METHODS, Params
from pig.report import card as export

SMOKE = ["--params", PARAMS, "--profile", "smoke"]


def exported(fold, out, *more, method="pig"):
    call("export", fold, "--method", method, "--licence", "MIT", "--out", out, *SMOKE, *more)
    return out


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def metadata(folder):
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


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
    assert found.method == method
    assert found.sampling == load(PARAMS, Params, "smoke").sampling
    for name in nets:
        assert torch.equal(
            *(next(iter(weights.load(at / name)[0].values())) for at in (folder, fold_of(tiny)))
        )
    front, text = metadata(folder)
    assert f"# {METHODS[method].label}, 32x32" in text
    assert ("masks=masks" in text) == bool(METHODS[method].masks)
    assert front["pipeline_tag"] == (
        "image-to-image" if METHODS[method].masks else "unconditional-image-generation"
    )


def test_equal_networks_give_equal_files(tiny, tmp_path):
    first = exported(fold_of(tiny), tmp_path / "a")
    other = shutil.copytree(fold_of(tiny), tmp_path / "another/name")
    assert content(exported(other, tmp_path / "b/c")) == content(first)


def test_an_export_has_its_own_method_and_settings(tiny, tmp_path):
    folder = exported(fold_of(tiny), tmp_path / "shared")
    with pytest.raises(pig.InputError, match="method joint: expected pig, which was exported"):
        pig.load(folder, "joint")
    with pytest.raises(pig.InputError, match="expected neither params nor profile"):
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
    for content_ in content(exported(fold, tmp_path / "shared")).values():
        for word in (b"smith", b"jane", str(tmp_path).encode(), b"host"):
            assert word not in content_


def test_a_public_header_keeps_numbers_hashes_and_settings(tiny):
    header = read_net(fold_of(tiny) / "guided.safetensors", torch.device("cpu")).header
    found = export.public(header)
    assert {key: header[key] for key in found if key != "guided"} == {
        k: found[k] for k in found if k != "guided"
    }
    assert set(header) - set(found) <= {"revision"}  # which may be no hash, outside of git
    assert found["guided"] == header["guided"]  # its initial_weights are null
    odd = export.public(
        {"net": "guider", "seen": "many", "validation": float("inf"), "size": "32x32", "fold": 1}
    )
    assert odd == {"net": "guider", "fold": 1}


def test_data_other_than_the_phantom_are_not_named_unless_told(tiny, tmp_path):
    raw = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    raw["profiles"]["smoke"]["data"] = {"source": "data/st_anna_hospital.zip", "size": 32}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    own = ["--params", tmp_path / "params.yaml"]
    _, text = metadata(exported(fold_of(tiny), tmp_path / "untold", *own))
    assert "did not say which" in text and "anna" not in text and "phantom" not in text
    _, text = metadata(exported(fold_of(tiny), tmp_path / "told", *own, "--data", "BUSI, CC BY 4.0."))
    assert "BUSI, CC BY 4.0." in text
    _, text = metadata(exported(fold_of(tiny), tmp_path / "phantom"))
    assert "procedural phantom" in text


# --- the card ---


def tables(folder: Path, tiny: Path) -> Path:
    """Tables of a study as `pig tables` writes them, of the methods that matter here, with numbers made up."""
    folder.mkdir()
    size = sum(
        weights.load(fold_of(tiny) / f"{net}.safetensors")[1]["parameters"] for net in METHODS["pig"].nets
    )
    fid = {"n": 6, "fid": [29.38, 185.71, 240.7], "fid_low": 26.4, "fid_high": 191.8, "paper_fid": 15.88}
    dice = {"dice": [74.7, 73.11, 70.0], "dice_low": 69.0, "dice_high": 76.76, "gain": [np.nan, -1.59, 1.0]}
    dice |= {"gain_low": [np.nan, -3.7, 0.5], "gain_high": [np.nan, 0.19, 1.5], "mark": ["", "†", ""]}
    names = {"row": ["real", "pig", "joint"], "method": ["Real (floor)", "PIG", "Joint"]}
    trained = {"row": ["real", "pig_4", "joint_4"], "set": names["row"]}
    trained |= {"training_set": ["Real", "Real + 4 PIG", "Real + 4 Joint"]}
    labels = {"row": names["row"], "label": names["method"], "n": 6}
    trts = {
        "trts": [74.7, 63.83, 1.0],
        "trts_low": 60.2,
        "trts_high": 67.2,
        "trts_shuffled": [np.nan, 11.1, 1.0],
    }
    copies = {"joint_share": [1.13, 1.25, 50.0]}
    costs = {"row": ["pig"], "parameters_m": [size / 1e6], "evaluations": [16]}
    for number, columns in enumerate((names | fid, trained | dice, labels | trts, labels | copies, costs), 1):
        pd.DataFrame(columns).to_csv(folder / f"table{number}.csv", index=False)
    return folder


def test_the_scores_are_those_of_the_tables_with_intervals(tiny, tmp_path):
    reports = tables(tmp_path / "reports", tiny)
    front, text = metadata(exported(fold_of(tiny), tmp_path / "shared", "--reports", reports))
    rows = [" ".join(line.replace("|", " ").split()) for line in text.splitlines() if line.startswith("| ")]
    assert "Real (floor) 6 29.4 [26.4, 191.8]" in rows
    assert "PIG 6 185.7 [26.4, 191.8]" in rows
    assert "Real 74.7 [69.0, 76.8] –" in rows
    assert "Real + 4 PIG 73.1 [69.0, 76.8] -1.6 [-3.7, 0.2]" in rows
    assert "PIG 6 63.8 [60.2, 67.2] 11.1" in rows
    assert "PIG 6 1.2" in rows
    assert "Joint" not in text and "15.88" not in text  # neither rivals nor the paper's numbers
    assert "InceptionV3 of 2015-12-05" in text and "95 % intervals over patients" in text
    (results,) = front["model-index"][0]["results"]
    assert {metric["type"]: metric["value"] for metric in results["metrics"]} == {"fid": 185.7, "trts": 63.8}


def test_a_card_without_scores_says_so(tiny, tmp_path):
    front, text = metadata(exported(fold_of(tiny), tmp_path / "shared"))
    assert "None were given when the model was exported." in text
    assert "Whether this one does was not measured here." in text and "Table" not in text
    assert "model-index" not in front
    assert (front["license"], front["library_name"]) == ("mit", "pig")


def test_networks_that_saw_all_patients_have_no_scores(tiny, tmp_path):
    fold = shutil.copytree(fold_of(tiny), tmp_path / "fold0")
    for net in METHODS["pig"].nets:
        state, header = weights.load(fold / f"{net}.safetensors")
        header["folds"]["leak"] = True
        weights.save(fold / f"{net}.safetensors", state, header)
    reports = tables(tmp_path / "reports", tiny)
    front, text = metadata(exported(fold, tmp_path / "shared", "--reports", reports))
    assert "None: the networks saw all patients" in text and "They are of **all** patients" in text
    assert "185.7" not in text and "model-index" not in front


def test_an_imported_checkpoint_that_says_little_has_a_card_too(tiny, tmp_path):
    fold = tmp_path / "official"
    for net in METHODS["pig"].nets:
        state, header = weights.load(fold_of(tiny) / f"{net}.safetensors")
        kept = {key: header[key] for key in ("net", "network", "process", "size", "prediction")}
        weights.save(fold / f"{net}.safetensors", state, kept | {"profile": "official", "source": "ab" * 32})
    folder = exported(fold, tmp_path / "shared")
    assert "The files do not say how many pairs were trained on." in metadata(folder)[1]
    assert json.loads((folder / "config.json").read_bytes())["networks"]["guider"]["source"] == "ab" * 32
    assert len(list(pig.load(folder, device="cpu").sample(1))) == 1


def test_huggingface_hub_reads_the_card(tiny, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    reports = tables(tmp_path / "reports", tiny)
    folder = exported(fold_of(tiny), tmp_path / "shared", "--reports", reports)
    data = hub.ModelCard.load(folder / "README.md").data
    assert (data.license, data.library_name, data.model_name) == ("mit", "pig", "PIG")
    assert {(of.metric_type, of.metric_value) for of in data.eval_results} == {("fid", 185.7), ("trts", 63.8)}
    assert hub.ModelCard(f"---\n{data.to_yaml()}\n---\n").data.to_dict() == data.to_dict()


# --- what is refused ---


@pytest.fixture
def said(capsys):
    """Runs `pig export` that must fail; gives back its one line."""

    def run(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in ("export", *arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def test_a_licence_is_asked_for(tiny, tmp_path, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(["export", str(fold_of(tiny)), "--out", str(tmp_path / "shared")])
    assert end.value.code == 2 and "--licence" in capsys.readouterr().err
    line = said(fold_of(tiny), "--licence", "my own", "--out", tmp_path / "shared")
    assert "--licence my own: expected a licence as hubs name it, e.g. mit or cc-by-4.0" in line
    assert list(tmp_path.iterdir()) == []


def test_tables_of_another_study_are_refused(tiny, tmp_path, said):
    reports = tables(tmp_path / "reports", tiny)
    export_ = (fold_of(tiny), *SMOKE, "--licence", "mit", "--out", tmp_path / "shared", "--reports")
    assert "expected the tables of a study, table1.csv to table5.csv" in said(*export_, tmp_path)
    for key, value, complaint in (
        ("evaluations", 64, "evaluations of pig: expected that of these networks, 16; found 64"),
        ("parameters_m", 1.5, "parameters_m of pig: expected that of these networks, "),
        ("evaluations", np.nan, "evaluations of pig: expected that of these networks, 16; found nan"),
        ("row", "ldm", "expected a row pig, of the study of these networks"),
        ("evaluations", "many", "evaluations: expected numbers; found 'many'"),
    ):
        pd.read_csv(reports / "table5.csv").assign(**{key: value}).to_csv(
            tmp_path / "table5.csv", index=False
        )
        assert f"table5.csv: {complaint}" in said(*export_, tmp_path)
    (reports / "table5.md").write_text(
        "**Table 5.** Profile busi, data: data/busi.zip. Costs.", encoding="utf-8"
    )
    assert "table5.md: expected tables of profile smoke; found busi" in said(*export_, reports)
    (reports / "table5.md").write_text("**Table 5.** Profile smoke, data: phantom. Costs.", encoding="utf-8")
    pd.read_csv(reports / "table1.csv").assign(fid="low").to_csv(reports / "table1.csv", index=False)
    assert "table1.csv: fid: expected numbers; found 'low'" in said(*export_, reports)
    assert not (tmp_path / "shared").exists()


def test_a_folder_of_something_else_is_left_alone(tiny, tmp_path, said):
    out = tmp_path / "shared"
    exported(fold_of(tiny), out)
    (out / ".git").mkdir()
    before = sorted(path.name for path in out.iterdir())
    again = (fold_of(tiny), *SMOKE, "--licence", "mit", "--out", out)
    assert "holds .git, which no export does; expected a new folder" in said(*again)
    assert sorted(path.name for path in out.iterdir()) == before
    (out / ".git").rmdir()
    (out / "config.json").unlink()
    assert "expected a new folder or an earlier export, with config.json" in said(*again)
    (out / "config.json").write_text('{"library_name": "diffusers"}', encoding="utf-8")
    assert "config.json: expected the key format" in said(*again)
    assert "expected a folder, found a file" in said(*again[:-1], out / "README.md")


def test_an_export_is_replaced_whole_or_not_at_all(tiny, tmp_path, said, monkeypatch):
    out = exported(fold_of(tiny), tmp_path / "shared", method="ldm")
    exported(fold_of(tiny), out)
    assert "ldm.safetensors" not in content(out)
    before = content(out)

    def full(path, *rest):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(weights, "save", full)
    line = said(fold_of(tiny), *SMOKE, "--method", "joint", "--licence", "mit", "--out", out)
    assert line == f"pig: {out}: no space left on device"
    assert content(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def test_only_a_fold_is_exported(tiny, tmp_path, said):
    rest = (*SMOKE, "--licence", "mit", "--out", tmp_path / "again")
    folder = exported(fold_of(tiny), tmp_path / "shared")
    assert "expected a fold of a study, runs/PROFILE/fold0" in said(folder, *rest)
    assert "nowhere: expected a fold of a study" in said(tmp_path / "nowhere", *rest)
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(fold_of(tiny) / "guider.safetensors", folder)
    assert "guided.safetensors: no such file" in said(folder, *rest)
    shutil.copy(fold_of(tiny) / "guider.safetensors", folder / "guided.safetensors")
    assert "pig expects guider and guided; found guider" in said(folder, *rest)
    assert not (tmp_path / "again").exists()
