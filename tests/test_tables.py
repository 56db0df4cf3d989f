"""Tables: means in the right order, numbers that survive, bold where the best is, LaTeX that is well formed."""

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from pig.__main__ import main
from pig.errors import InputError
from pig.tables import (
    FORMATS,
    OVERLAP,
    TEX,
    budgets,
    cells,
    table1,
    table2,
    to_csv,
    to_json,
    to_latex,
    to_markdown,
)


def fidelity(name, fid, kid=0.004, **changed):
    fixed = {"kid_std": 0.0005, "kid_subsets": 10, "kid_subset_size": 5, "n": 20, "reference_n": 30}
    return {"set": name, "fid": fid, "kid": kid, "extractor": "E_1", "source": name, **fixed, **changed}


SCORES = [fidelity("pig", 50 + 1 / 3), fidelity("ddim", 60.0, 0.04), fidelity("real", 10.0, 0.0)]


def cost(method, number=10, seconds=5.0, fold=0, **changed):
    networks = {
        "guider": {"parameters": 2_000_000, "seen": 800},
        "guided": {"parameters": 3_000_000, "seen": 900},
    }
    fixed = {"evaluations": 64, "operations": 7 * 10**9, "networks": networks}
    return {"method": method, "fold": fold, "number": number, "seconds": seconds, **fixed, **changed}


COSTS = [cost("pig"), cost("pig", 30, 7.0, fold=1), cost("ddim", evaluations=32)]


def overlaps(doses=(0, 64, 128, 192), folds=2, seed=0):
    """Random scores; fold k has k + 2 test images, so the mean over images is not the mean over folds."""
    rng = np.random.default_rng(seed)
    rows = [
        {"id": f"i{fold}-{i}", "patient": "p", "fold": fold, "set": "pig" if dose else "real", "dose": dose}
        | dict(zip(OVERLAP, rng.random(4), strict=True))
        | {"empty": i == 0}
        for dose in doses
        for fold in range(folds)
        for i in range(fold + 2)
    ]
    return pd.DataFrame(rows)


def rows_of(markdown):
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table_1_rows_stand_in_order_with_the_papers_beside_them():
    frame = table1(SCORES).frame
    assert frame["row"].tolist() == ["real", "ddim", "pig"]
    assert frame["paper_fid"].tolist() == pytest.approx([np.nan, 31.54, 15.88], nan_ok=True)
    assert frame["kid_x1000"].tolist() == [0, 40, 4]


def test_table_1_the_floor_never_wins():
    body = rows_of(to_markdown(table1(SCORES)))[2:]
    assert body[0] == ["Real (floor)", "20", "10.00", "0.00 ± 0.50", "–"]
    assert body[1] == ["DDIM", "20", "60.00", "40.00 ± 0.50", "31.54"]
    assert body[2] == ["PIG", "20", "**50.33**", "**4.00 ± 0.50**", "**15.88**"]


def test_table_1_says_what_each_row_cost():
    table = table1(SCORES, COSTS)
    heads, _, *body = rows_of(to_markdown(table))
    assert heads[1:6] == ["Parameters, M", "Images seen", "Evaluations", "GMAC / image", "s / image"]
    assert [row[1:6] for row in body] == [
        ["–", "–", "–", "–", "–"],
        ["5.00", "1700", "32", "7.0", "0.50"],
        ["5.00", "1700", "64", "7.0", "0.30"],
    ]


def test_budgets_are_of_all_networks_and_of_the_mean_sample():
    found = budgets(COSTS).loc["pig"]
    assert found.to_dict() == {
        "parameters_m": 5,
        "seen": 1700,
        "evaluations": 64,
        "giga": 7,
        "seconds": 12 / 40,
    }


def test_budgets_count_operations_where_a_shard_has_counted_them():
    shards = [cost("pig"), cost("pig", operations=None), cost("pig", fold=1)]
    assert budgets(shards).loc["pig", "giga"] == 7
    with pytest.raises(InputError, match="costs of pig: expected the same operations"):
        budgets([cost("pig", operations=None)])


@pytest.mark.parametrize("key", ["evaluations", "operations"])
def test_budgets_refuse_folds_that_were_sampled_differently(key):
    with pytest.raises(InputError, match=f"costs of pig: expected the same {key}"):
        budgets([cost("pig"), cost("pig", **{key: 1})])


def test_table_1_caption_reports_what_the_autoencoder_loses():
    networks = {"autoencoder": {"parameters": 1, "seen": 1, "validation": 0.04}}
    costs = [cost("ldm", networks=networks), cost("ldm", networks=networks, fold=1)]
    assert "to 5.1 of 255 greys" in table1([*SCORES, fidelity("ldm", 9.0)], costs).caption
    assert "autoencoder" not in table1(SCORES, COSTS).caption


def test_table_2_has_the_papers_rows_first_and_in_its_order():
    real = overlaps()
    scores = [
        real.assign(set=real["set"].replace("pig", name)) for name in ("joint", "pig", "ldm", "segguided")
    ]
    scores = pd.concat([real[real["dose"] == 0], *(part[part["dose"] > 0] for part in scores)])
    frame = table2(scores).frame
    assert frame["row"].tolist() == [
        "real",
        "ldm_128",
        "segguided_128",
        "pig_64",
        "pig_128",
        "pig_192",
        "ldm_64",
        "ldm_192",
        "segguided_64",
        "segguided_192",
        "joint_64",
        "joint_128",
        "joint_192",
    ]
    assert frame["paper_dice"].tolist()[:6] == [52.36, 56.91, 58.30, 56.52, 60.54, 59.14]
    assert frame["paper_dice"].isna().sum() == 7


def test_table_2_caption_says_what_each_generator_cost():
    assert "PIG 5.00 M, 1,700, 64, 7.0, 0.30 s" in table2(overlaps(), costs=COSTS).caption
    assert "parameters" not in table2(overlaps()).caption


def test_table_1_caption_names_what_the_numbers_depend_on():
    caption = table1(SCORES, title="Profile x, data: y.").caption
    for part in ("Profile x, data: y. ", "E_1", "30 real slices", "10 subsets of 5", "not comparable"):
        assert part in caption
    assert "n differs" not in caption
    assert "n differs" in table1([*SCORES[1:], fidelity("pig", 1.0, n=19)]).caption


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        (SCORES[:2], "expected real"),
        ([*SCORES, SCORES[0]], "once at most"),
        ([*SCORES, fidelity("gan", 1.0)], "gan"),
        ([SCORES[2], fidelity("pig", 1.0, extractor="F")], "one extractor .*E_1, F"),
        ([SCORES[2], fidelity("pig", 1.0, reference_n=31)], "one reference_n .*30, 31"),
        ([SCORES[2], {"set": "pig", "fid": 1.0}], "missing kid"),
    ],
)
def test_table_1_refuses(scores, named):
    with pytest.raises(InputError, match=named):
        table1(scores)


def test_table_2_means_over_images_then_folds_by_hand():
    scores = overlaps()
    frame = table2(scores).frame.set_index("row")
    assert frame.index.tolist() == ["real", "pig_64", "pig_128", "pig_192"]
    assert set(frame["test_images"]) == {5} and set(frame["folds"]) == {2}
    for name in OVERLAP:
        for row, dose in (("real", 0), ("pig_128", 128)):
            of_fold = [
                np.mean([s[name] for _, s in scores.iterrows() if s["dose"] == dose and s["fold"] == fold])
                for fold in (0, 1)
            ]
            assert frame.loc[row, name] == pytest.approx(100 * np.mean(of_fold))


def test_table_2_does_not_depend_on_the_order_of_its_input():
    scores = overlaps()
    assert to_csv(table2(scores)) == to_csv(table2(scores.sort_values("dice")))


def test_table_2_the_papers_rows_in_the_order_of_the_doses():
    frame = table2(overlaps((0, 2, 10, 30))).frame
    assert frame["paper_row"].tolist() == ["DBTMassSeg", "+ PIG_1024", "+ PIG_2048", "+ PIG_3072"]
    assert frame["paper_dice"].tolist() == [52.36, 56.52, 60.54, 59.14]
    two = table2(overlaps((0, 2, 10))).frame  # no telling which of the paper's three is meant
    assert two["paper_row"].tolist() == ["DBTMassSeg", "", ""]
    assert two["paper_iou"].tolist() == pytest.approx([41.60, np.nan, np.nan], nan_ok=True)


def test_table_2_caption_states_its_rules():
    caption = table2(overlaps(), 250, "T").caption
    for part in ("T. ", "250 optimiser steps", "2 of 5 images", "then over folds", "not comparable"):
        assert part in caption


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.drop(columns="iou"), "missing iou"),
        (lambda s: s.iloc[:-1], "pig 192: expected the test images and folds of real 0"),
        (lambda s: pd.concat([s, s.iloc[[0]]]), "real 0: expected each test image once"),
    ],
)
def test_table_2_refuses(change, named):
    with pytest.raises(InputError, match=named):
        table2(change(overlaps()))


@pytest.mark.parametrize("table", [table1(SCORES, COSTS), table2(overlaps(), costs=COSTS)], ids=["1", "2"])
class TestFormats:
    def test_csv_and_json_keep_every_digit(self, table):
        read = {line["row"]: line for line in csv.DictReader(io.StringIO(to_csv(table)))}
        metrics = json.loads(to_json(table))
        assert list(metrics) == list(read)
        for row, numbers in metrics.items():
            expected = table.frame.set_index("row").loc[row]
            for key, number in numbers.items():
                assert number == float(read[row][key]) == expected[key]

    def test_each_bold_number_is_the_best_of_its_column(self, table):
        shown = cells(table)
        for i, column in enumerate(table.columns):
            bold = [row for row, line in enumerate(shown) if line[i][1]]
            assert len(bold) == (1 if column.best else 0)
            if bold:
                rivals = table.frame.loc[table.frame["competes"], column.key].dropna()
                best = rivals.min() if column.best == "low" else rivals.max()
                assert table.frame.loc[bold[0], column.key] == best

    def test_markdown_has_one_cell_a_column(self, table):
        widths = {len(row) for row in rows_of(to_markdown(table))}
        assert widths == {len(table.columns)}
        assert to_markdown(table).splitlines()[-1].startswith(f"**Table {table.number}.** ")

    def test_latex_is_well_formed(self, table):
        text = to_latex(table)
        assert text.isascii()
        bare = re.sub(r"(?<!\\)%.*", "", text).replace(r"\\", "")  # without comments and ends of rows
        assert len(re.findall(r"(?<!\\)\{", bare)) == len(re.findall(r"(?<!\\)\}", bare))
        assert len(re.findall(r"(?<!\\)\$", bare)) % 2 == 0
        assert not re.search(r"(?<!\\)[#_^~]", bare)
        ends = re.findall(r"\\(begin|end)\{(\w+)\}", bare)
        assert ends == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) == 2 + len(table.frame)
        for row in rows:
            spans = [int(n) for n in re.findall(r"\\multicolumn\{(\d+)\}", row)]
            cells_of_row = len(re.findall(r"(?<!\\)&", row)) + 1
            assert cells_of_row + sum(spans) - len(spans) == len(table.columns)


def test_latex_escapes_what_is_special():
    assert r"a_b & 50% #1 {x} \y ~ ^ $".translate(TEX) == (
        r"a\_b \& 50\% \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{} \$"
    )


@pytest.fixture
def outputs(tmp_path):
    return [str(tmp_path / f"table{suffix}") for suffix in FORMATS]


def test_verb_writes_table_1(outputs, tmp_path):
    files = [tmp_path / f"{score['set']}.json" for score in SCORES]
    for file, score in zip(files, SCORES, strict=True):
        file.write_text(json.dumps(score))
    costs = [tmp_path / f"cost{i}.json" for i in range(len(COSTS))]
    for file, part in zip(costs, COSTS, strict=True):
        file.write_text(json.dumps(part))
    arguments = [
        "--scores",
        *map(str, files),
        "--costs",
        *map(str, costs),
        "--title",
        "T.",
        "--out",
        *outputs,
    ]
    assert main(["tables", "1", *arguments]) == 0
    table = table1(SCORES, COSTS, "T.")
    for path, form in zip(outputs, FORMATS.values(), strict=True):
        with open(path, encoding="utf-8") as file:
            assert file.read() == form(table)


def test_verb_writes_table_2_from_many_files(outputs, tmp_path):
    scores = overlaps()
    files = []
    for (fold, dose), part in scores.groupby(["fold", "dose"]):
        files.append(str(tmp_path / f"{fold}-{dose}.csv"))
        part.to_csv(files[-1], index=False)
    assert main(["tables", "2", "--scores", *files, "--steps", "9", "--out", *outputs]) == 0
    found = pd.read_csv(outputs[0])
    assert found["dice"].tolist() == pytest.approx(table2(scores).frame["dice"].tolist(), rel=1e-12)
    with open(outputs[2], encoding="utf-8") as file:
        assert "9 optimiser steps" in file.read()


@pytest.mark.parametrize(
    ("number", "content", "flags", "named"),
    [
        ("1", "{", [], "scores.txt: expected JSON"),
        ("1", "{", ["--costs", "none.json"], "none.json: "),
        ("2", "", [], "scores.txt: expected CSV"),
        ("2", "", ["--costs", "none.json"], "none.json: "),
    ],
)
def test_verb_names_what_is_wrong(number, content, flags, named, outputs, tmp_path, capsys):
    file = tmp_path / "scores.txt"
    file.write_text(content)
    assert main(["tables", number, "--scores", str(file), *flags, "--out", *outputs]) == 2
    assert named in capsys.readouterr().err
    assert main(["tables", number, "--scores", str(file), "--out", *outputs[:3], "x.csv"]) == 2
    assert "expected one file each of .csv, .json, .md, .tex" in capsys.readouterr().err
