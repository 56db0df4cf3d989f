"""The five tables: means in the right order, intervals and marks that mean what they say, refusals."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from kinds import filled
from tiny import PARAMS

from pig.cli.main import main
from pig.core.errors import InputError
from pig.core.params import load, to_json
from pig.metrics import segmentation
from pig.metrics.copying import COPIES
from pig.models.table import Params
from pig.report.evidence import table3, table4, table5
from pig.report.formats import FORMATS, to_csv, to_markdown
from pig.report.tables import OVERLAP, OVERLAPS, Inference, budgets, table1, table2

HOW = Inference(level=0.95, draws=200, seed=0)
SETTINGS = json.loads(to_json(load(PARAMS, Params, "smoke"), "segmentation"))
SETTINGS["segmentation"]["steps"] = 9
CFG = json.dumps({**SETTINGS, "statistics": {"level": 0.95, "draws": 200, "seed": 0}})


def fidelity(name, fid, kid=0.004, **changed):
    fixed = {"kid_std": 0.0005, "kid_subsets": 10, "kid_subset_size": 5, "n": 20, "reference_n": 30}
    fixed |= {"fid_low": fid - 2, "fid_high": fid + 3, "kid_low": kid - 0.001, "kid_high": kid + 0.002}
    fixed |= {"fd_infinity": fid - 8, "precision": 0.75, "recall": 0.25}
    return {"set": name, "fid": fid, "kid": kid, "extractor": "E_1", "source": name, **fixed, **changed}


SCORES = [fidelity("pig", 50 + 1 / 3), fidelity("ddim", 60.0, 0.04), fidelity("real", 10.0, 0.0)]
CROPS = [fidelity("pig", 80.0, n=17), fidelity("real", 20.0, n=19)]


def cost(method, number=10, seconds=5.0, fold=0, **changed):
    networks = {
        "guider": {"parameters": 2_000_000, "seen": 800},
        "guided": {"parameters": 3_000_000, "seen": 900},
    }
    fixed = {"evaluations": 64, "operations": 7 * 10**9, "networks": networks, "machine": "M 1"}
    return {"method": method, "fold": fold, "number": number, "seconds": seconds, **fixed, **changed}


COSTS = [cost("pig"), cost("pig", 30, 7.0, fold=1), cost("ddim", evaluations=32)]


def overlaps(doses=(0, 64, 128, 192), folds=2, seed=0, patients=4, seeds=1, gain=0.0):
    """Random scores; fold k has k + 2 images a patient, so the mean over images is not the mean over folds, and k + 9
    real training pairs.

    The sets share a patient's and an image's chance; with pairs, dice is higher by `gain`.
    """
    rng = np.random.default_rng(seed)
    images = [
        (fold, f"p{fold}-{p}", f"i{fold}-{p}-{i}", rng.uniform(0.3, 0.7, 4))
        for fold in range(folds)
        for p in range(patients)
        for i in range(fold + 2)
    ]
    rows = [
        {"id": name, "patient": patient, "fold": fold, "set": "pig" if dose else "real", "dose": dose}
        | {"real": fold + 9, "seed": k}
        | dict(zip(OVERLAP, base + rng.uniform(-0.1, 0.1, 4) + gain * bool(dose), strict=True))
        | {"empty": name.endswith("-0")}
        for dose in doses
        for k in range(seeds)
        for fold, patient, name, base in images
    ]
    return pd.DataFrame(rows)


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# --- Table 1


def test_table_1_shows_intervals_and_the_floor_never_wins():
    body = rows_of(to_markdown(table1(SCORES)))[2:]
    shared = ["0.75", "0.25"]
    assert body[0] == ["Real (floor)", "20", "10.0 [8.0, 13.0]", "2.0", "0.0 [-1.0, 2.0]", *shared, "–"]
    bold = [f"**{text}**" for text in shared]
    assert body[1] == ["DDIM", "20", "60.0 [58.0, 63.0]", "52.0", "40.0 [39.0, 42.0]", *bold, "31.54"]
    mine = ["**50.3 [48.3, 53.3]**", "**42.3**", "**4.0 [3.0, 6.0]**"]
    assert body[2] == ["PIG", "20", *mine, *bold, "**15.88**"]


def test_table_1_has_the_papers_numbers_crops_and_costs_beside_ours():
    bare, table = table1(SCORES), table1(SCORES, CROPS, COSTS)
    for column, expected in {
        "paper_fid": [np.nan, 31.54, 15.88],
        "kid_x1000": [0, 40, 4],
        "crop_fid": [20, np.nan, 80],
        "crop_n": [19, np.nan, 17],
        "crop_kid_x1000_low": [3, np.nan, 3],
        "parameters_m": [np.nan, 5, 5],
        "evaluations": [np.nan, 32, 64],
    }.items():
        assert table.frame[column].tolist() == pytest.approx(expected, nan_ok=True)
    assert len(table.columns) == len(bare.columns) + 3


def test_table_1_caption_names_what_the_numbers_depend_on():
    caption = table1(SCORES, CROPS, title="Profile x, data: y.").caption
    for part in ("Profile x, data: y. ", "E_1", "30 real slices", "10 subsets of 5", "not comparable", "17"):
        assert part in caption
    assert "crops" not in table1(SCORES).caption and "n differs" not in caption
    assert "n differs" in table1([*SCORES[1:], fidelity("pig", 1.0, n=19)]).caption
    for name, told in (("ddim", []), ("dpmpp2m", ["by DPM-"]), ("dpmpp2m_sde", ["by SDE-DPM-"])):
        costs = [cost("pig", solver={"solver": name}), cost("ddim", solver={"solver": "ddim"})]
        assert re.findall("by (?:SDE-)?DPM-", table1(SCORES, costs=costs).caption) == told


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        (SCORES[:2], "real"),
        ([*SCORES, SCORES[0]], "pig, ddim, real, pig"),
        ([*SCORES, fidelity("gan", 1.0)], "gan"),
        ([SCORES[2], fidelity("pig", 1.0, extractor="F")], "extractor .*E_1, F"),
        ([SCORES[2], fidelity("pig", 1.0, reference_n=31)], "reference_n .*30, 31"),
    ],
)
def test_table_1_refuses(scores, named):
    with pytest.raises(InputError, match=named):
        table1(scores)
    with pytest.raises(InputError, match=f"crops.*{named}"):
        table1(SCORES, scores)


# --- Table 5


def test_table_5_says_what_each_method_cost():
    table = table5(COSTS, "T")
    _, _, *body = rows_of(to_markdown(table))
    assert body == [
        ["PIG", "5.00", "1700", "64", "7.0", "0.30"],  # seconds: 12 of 40 samples
        ["DDIM", "5.00", "1700", "32", "7.0", "0.50"],
    ]
    assert "M 1" in table.caption and "autoencoder" not in table.caption
    networks = {"autoencoder": {"parameters": 1, "seen": 1, "validation": 0.04}}
    costs = [cost("ldm", networks=networks), cost("ldm", networks=networks, fold=1)]
    assert "to 5.1 of 255 greys" in table5(costs).caption
    shards = [cost("pig"), cost("pig", operations=None), cost("pig", fold=1)]  # the first has counted them
    assert budgets(shards).loc["pig", "giga"] == 7


@pytest.mark.parametrize(
    ("costs", "named"),
    [
        ([cost("gan")], "gan"),
        ([cost("pig", operations=None)], "pig: .*operations"),
        ([cost("pig"), cost("pig", operations=1)], "pig: .*operations"),
        ([cost("pig"), cost("pig", evaluations=1)], "pig: .*evaluations"),
    ],
)
def test_table_5_refuses(costs, named):
    with pytest.raises(InputError, match=named):
        table5(costs)


# --- Table 2


def test_table_2_has_the_papers_rows_first_then_controls_and_leaks_last():
    real = overlaps()
    names = ("joint", "pig", "ldm", "segguided", "duplicated", "pig-leak")
    scores = [real.assign(set=real["set"].replace("pig", name)) for name in names]
    strong = real[real["dose"] == 0].assign(set="augmented")
    scores = pd.concat([real[real["dose"] == 0], strong, *(part[part["dose"] > 0] for part in scores)])
    table = table2(scores, HOW)
    sets = {"duplicated": (64, 128, 192), "ldm": (64, 192), "segguided": (64, 192), "joint": (64, 128, 192)}
    theirs = ["ldm_128", "segguided_128", "pig_64", "pig_128", "pig_192", "augmented"]
    ours = [f"{name}_{dose}" for name, doses in sets.items() for dose in doses]
    leaks = ["pig-leak_64", "pig-leak_128", "pig-leak_192"]
    assert table.frame["row"].tolist() == ["real", *theirs, *ours, *leaks]
    frame = table.frame.set_index("row")
    assert frame["paper_dice"].tolist()[:6] == [52.36, 56.91, 58.30, 56.52, 60.54, 59.14]
    assert frame["paper_dice"].isna().sum() == 14
    assert frame.loc["pig-leak_64", "training_set"].startswith("LEAK: ")
    assert "LEAK" in table.caption and "LEAK" not in table2(overlaps(), HOW).caption


def test_table_2_a_leak_is_never_the_best_nor_the_best_rival():
    good = overlaps(gain=0.2)
    scores = pd.concat([overlaps(), good[good["dose"] > 0].assign(set="pig-leak")])
    table = table2(scores, HOW)
    bold = [row[0] for row in rows_of(to_markdown(table))[2:] if row[3].startswith("**")]
    assert len(bold) == 1 and "LEAK" not in bold[0]
    assert not table.frame["best_rival"].any()


def test_table_2_means_over_seeds_images_then_folds_by_hand():
    scores = overlaps(seeds=2)
    frame = table2(scores, HOW).frame.set_index("row")
    assert frame.index.tolist() == ["real", "pig_64", "pig_128", "pig_192"]
    assert set(frame["test_images"]) == {20} and set(frame["folds"]) == {2}
    assert set(frame["patients"]) == {8} and set(frame["seeds"]) == {2}
    for name in OVERLAP:
        for row, dose in (("real", 0), ("pig_128", 128)):
            of_fold = [
                np.mean([s[name] for _, s in scores.iterrows() if s["dose"] == dose and s["fold"] == fold])
                for fold in (0, 1)
            ]
            assert frame.loc[row, name] == pytest.approx(100 * np.mean(of_fold))
            assert frame.loc[row, f"{name}_low"] < frame.loc[row, name] < frame.loc[row, f"{name}_high"]


def test_table_2_marks_a_difference_that_is_there_and_no_other():
    none, some = overlaps(patients=12), overlaps(patients=12, gain=0.1)
    assert (table2(none, HOW).frame["mark"] == "").all()
    table = table2(some, HOW)
    assert table.frame["mark"].tolist() == ["", "*", "*", "*"]
    shown = rows_of(to_markdown(table))[2:]
    assert "*" not in shown[0][3] and all(row[3].rstrip("*").endswith("]") for row in shown)
    frame = table.frame.set_index("row")
    assert (frame.loc["pig_64":, "gain_low"] > 0).all() and frame.loc["pig_64", "gain"] == pytest.approx(
        10, abs=2
    )
    assert np.isnan(frame.loc["real", "p_real"]) and (frame.loc["pig_64":, "p_real"] < 0.05).all()


def test_table_2_the_best_rival_is_the_best_of_the_others():
    some = overlaps(patients=12, gain=0.1)
    rival = overlaps(patients=12)
    scores = pd.concat([some, rival[rival["dose"] > 0].assign(set="ldm")])
    frame = table2(scores, HOW).frame.set_index("row")
    rivals = frame[frame["set"] == "ldm"]
    assert frame.index[frame["best_rival"]].tolist() == [rivals["dice"].idxmax()]
    assert frame.loc["pig_64", "mark"] == "*†"
    assert np.isnan(frame.loc[rivals["dice"].idxmax(), "p_rival"])


def test_table_2_depends_on_no_order_and_on_no_segmenter_without_real_pairs():
    scores = overlaps()
    alone = scores[scores["dose"] == 192].assign(real=0, dice=0.0)
    for other in (scores.sort_values("dice"), pd.concat([scores, alone])):
        assert to_csv(table2(other, HOW)) == to_csv(table2(scores, HOW))


def test_table_2_the_papers_rows_in_the_order_of_the_doses():
    frame = table2(overlaps((0, 2, 10, 30)), HOW).frame
    assert frame["paper_row"].tolist() == ["DBTMassSeg", "+ PIG_1024", "+ PIG_2048", "+ PIG_3072"]
    assert frame["paper_dice"].tolist() == [52.36, 56.52, 60.54, 59.14]
    two = table2(overlaps((0, 2, 10)), HOW).frame  # no telling which of the paper's three is meant
    assert two["paper_row"].tolist() == ["DBTMassSeg", "", ""]
    assert two["paper_iou"].tolist() == pytest.approx([41.60, np.nan, np.nan], nan_ok=True)


def test_table_2_caption_states_its_rules():
    caption = table2(overlaps(), HOW, 250, "T").caption
    parts = ("T. ", "250 optimiser steps", "8 of 20 images", "then over folds", "8 test patients", "Holm")
    for part in (*parts, "not comparable", "(one seed)"):
        assert part in caption
    assert "of 3 segmenters each" in table2(overlaps(seeds=3), HOW).caption


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.iloc[:-1], "pig 192"),
        (lambda s: pd.concat([s, s.iloc[[0]]]), "real 0"),
    ],
)
def test_table_2_refuses(change, named):
    with pytest.raises(InputError, match=named):
        table2(change(overlaps()), HOW)


# --- Table 3

LESIONS = ("area", "eccentricity", "solidity", "depth", "height")


def pairing(name, fold, contrast, w=np.nan, floor=np.nan):
    numbers = {"n": 10, "contrast_to_real": contrast, "one_component": 0.9, "empty": 0.1}
    far = {f"w_{key}": w for key in LESIONS} | {f"floor_{key}": floor for key in LESIONS}
    return {"set": f"fold{fold}/{name}", **numbers, **far}


PAIRING = pd.DataFrame(
    [{**pairing("real", 0, 1.0), "set": "real"}]
    + [
        pairing(f"{name}{shuffled}", fold, 0.1 if shuffled else contrast + fold / 10, w, floor)
        for fold in (0, 1)
        for name, contrast, w, floor in (("real", 1.0, 0.05, 0.05), ("pig", 0.8, 0.4, 0.2))
        for shuffled in ("", " shuffled")
    ]
)


def found_in_generated(name="pig", dice=0.6, folds=2):
    rows = [
        {"id": f"{name}-{fold}-{i}", "patient": f"{name}-{fold}-{i}", "fold": fold, "set": name, "seed": 0}
        | {"dice": dice + (i - 1) / 10, "shuffled": 0.05}
        for fold in range(folds)
        for i in range(3)
    ]
    return pd.DataFrame(rows)


def with_alone(dice=0.3):
    scores = overlaps()
    alone = scores[scores["dose"] == 192].assign(real=0, dice=dice)
    return pd.concat([scores, alone], ignore_index=True)


def test_table_3_by_hand():
    table = table3(PAIRING, found_in_generated(), with_alone(), HOW, "T")
    frame = table.frame.set_index("row")
    assert frame.index.tolist() == ["real", "pig"]
    mine = frame.loc["pig"]
    assert (mine["n"], mine["trts"], mine["trts_shuffled"]) == (20, pytest.approx(60), pytest.approx(5))
    assert mine["trts_low"] < 60 < mine["trts_high"]
    assert (mine["tstr"], mine["tstr_low"], mine["tstr_high"]) == pytest.approx((30, 30, 30))
    assert (mine["contrast"], mine["contrast_shuffled"]) == pytest.approx((85, 10))
    assert (mine["one_component"], mine["empty"], mine["w_area"]) == pytest.approx((90, 10, 0.4))
    real = frame.loc["real"]
    assert real["w_area"] == pytest.approx(0.2)  # the floor at the generated sets' n
    expected = table2(overlaps(), HOW).frame["dice"][0]
    assert real["trts"] == real["tstr"] == pytest.approx(expected)
    assert "Do mask and image belong together? " in table.caption and "together?." not in table.caption


@pytest.mark.parametrize(
    ("trts", "scores"), [(found_in_generated("ldm"), with_alone()), (found_in_generated(), overlaps())]
)
def test_table_3_names_a_set_without_scores(trts, scores):
    with pytest.raises(InputError, match="pig"):
        table3(PAIRING, trts, scores, HOW)


# --- Table 4


def neighbours(near, far=2.0, n=100, fold=0):
    """What `pig copies` writes: n pairs at these distances from training pairs and from held-out ones."""
    spread = np.linspace(0.9, 1.1, n)
    columns = dict.fromkeys(("image", "mask", "joint"), near * spread)
    columns |= {f"{name}_heldout": far for name in ("image", "mask", "joint")}
    return filled(COPIES, {"id": range(n), "fold": fold, **columns, "duplicate": 3.0})


def test_table_4_by_hand():
    real = {("real", fold): neighbours(2.0, fold=fold) for fold in (0, 1)}
    copied = neighbours(2.0)
    copied.loc[:9, ["image", "joint"]] = 0.0  # a tenth of fold 0
    table = table4({**real, ("pig", 0): copied, ("pig", 1): neighbours(1.0, fold=1)}, "T")
    frame = table.frame.set_index("row")
    assert frame.index.tolist() == ["real", "pig"] and frame["n"].tolist() == [200, 200]
    assert frame.loc["real", ["image_ratio", "image_share"]].tolist() == pytest.approx([1, 1])
    assert frame.loc["pig", "image_share"] == pytest.approx((10 + 100) / 2)
    assert frame.loc["pig", "mask_share"] == pytest.approx((1 + 100) / 2)  # as real pairs, and all of fold 1
    assert frame.loc["pig", "mask_ratio"] == pytest.approx((1 + 0.5) / 2)
    assert frame.loc["pig", "duplicates"] == 0


def test_table_4_needs_held_out_pairs_of_each_fold_and_known_sets():
    with pytest.raises(InputError, match="fold 1"):
        table4({("real", 0): neighbours(2.0), ("pig", 1): neighbours(2.0)})
    with pytest.raises(InputError, match="gan"):
        table4({("real", 0): neighbours(2.0), ("gan", 0): neighbours(2.0)})


def write(folder, parts):
    """The parts as files, frames as csv and others as json; their paths."""
    paths = []
    folder.mkdir(exist_ok=True)
    for i, part in enumerate(parts):
        paths.append(str(folder / f"{i}.part"))
        with open(paths[-1], "w", encoding="utf-8") as file:
            file.write(part.to_csv(index=False) if isinstance(part, pd.DataFrame) else json.dumps(part))
    return paths


def tables_verb(folder, **inputs):
    """Exit code of the verb, given files of these parts; it writes to FOLDER/out."""
    flags = [word for name, of in inputs.items() for word in (f"--{name}", *write(folder / name, of))]
    title = ["--title", "T.", "--cfg", CFG]
    return main(["tables", *flags, *title, "--out", str(folder / "out")])


def written(folder):
    return {path.name: path.read_text(encoding="utf-8") for path in (folder / "out").glob("*")}


def test_verb_writes_tables_1_and_5_of_fidelity_and_costs(tmp_path):
    costs = [*COSTS, cost("pig", seconds=1000.0, fold=1)]
    assert tables_verb(tmp_path, fidelity=SCORES, crops=CROPS, costs=costs) == 0
    of_fold_0 = [COSTS[0], COSTS[2]]
    expected = {1: table1(SCORES, CROPS, of_fold_0, "T."), 5: table5(costs, "T.")}
    assert written(tmp_path) == {
        f"table{number}{ending}": form(table)
        for number, table in expected.items()
        for ending, form in FORMATS.items()
    }


def test_verb_writes_tables_2_and_3_from_many_files(tmp_path):
    scores, alone = overlaps(), with_alone()
    parts = [part for _, part in alone.groupby(["fold", "dose", "real"])]
    assert tables_verb(tmp_path, segment=parts, pairing=[PAIRING], trts=[found_in_generated()]) == 0
    found = pd.read_csv(tmp_path / "out/table2.csv")
    assert found["dice"].tolist() == pytest.approx(table2(scores, HOW).frame["dice"].tolist(), rel=1e-12)
    assert "9 optimiser steps" in written(tmp_path)["table2.md"]
    expected = table3(PAIRING, found_in_generated(), alone, HOW).frame
    found = pd.read_csv(tmp_path / "out/table3.csv")
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), rtol=1e-12, check_dtype=False)


def test_verb_writes_table_4(tmp_path):
    files = []
    parts = {(name, fold): neighbours(2.0, fold=fold) for name in ("real", "pig") for fold in (0, 1)}
    for (name, fold), part in parts.items():
        (tmp_path / f"fold{fold}").mkdir(exist_ok=True)
        files.append(str(tmp_path / f"fold{fold}/{name}.csv"))
        part.to_csv(files[-1], index=False)
    assert main(["tables", "--copies", *files, "--out", str(tmp_path / "out")]) == 0
    assert set(written(tmp_path)) == {f"table4{ending}" for ending in FORMATS}
    assert written(tmp_path)["table4.md"] == to_markdown(table4(parts))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([], "--fidelity"),
        (["--fidelity", "scores.txt"], "scores.txt"),
        (["--fidelity", "real.json", "--costs", "none.json"], "none.json"),
        (["--crops", "real.json"], "--fidelity"),
        (["--segment", "scores.txt", "--cfg", CFG], "scores.txt"),
        (["--segment", "scores.txt", "--trts", "none.csv"], "--pairing"),
        (["--pairing", "none.csv", "--trts", "none.csv"], "--segment"),
        (["--costs", "scores.txt"], "scores.txt"),
        (["--fidelity", "cost.json"], "cost.json: expected the key set"),
        (["--fidelity", "real.json", "--costs", "cost.json"], "cost.json: expected the key fold"),
    ],
)
def test_verb_names_what_is_wrong_and_writes_nothing(flags, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores.txt").touch()
    (tmp_path / "real.json").write_text(json.dumps(SCORES[2]))
    (tmp_path / "cost.json").write_text(json.dumps({"method": "pig"}))
    assert main(["tables", *flags, "--out", "out"]) == 2
    assert named in capsys.readouterr().err and not written(tmp_path)


def test_what_segment_writes_is_what_the_tables_read():
    assert {*segmentation.KEYS, *segmentation.SCORES, "empty"} == {*OVERLAPS.names}
