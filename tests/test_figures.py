"""Figures: the same bytes again, outlines where the edges are, what is drawn is what was given."""

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from kinds import filled
from matplotlib import image, rc_context, rcParams
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.text import Text

from pig.cli.main import main
from pig.core.errors import InputError
from pig.data.archive import write_archive
from pig.data.pairs import Pairs
from pig.metrics.copying import COPIES
from pig.report import figures, tables

OWN = {"progression_steps": 3, "progression_pairs": 2, "sheet_pairs": 4, "dpi": 50, "show_real": True}
CFG = json.dumps({"figures": OWN})


def some_pairs(patients=5, views=("CC", "MLO"), slices=3, shape=(12, 10), seed=0):
    rng = np.random.default_rng(seed)
    keys = [(f"p{p}", view, str(s)) for p in range(patients) for view in views for s in range(slices)]
    table = pd.DataFrame(keys, columns=["patient", "view", "slice"]).assign(origin="phantom", seed="0")
    table["id"] = [f"{seed}-{i}" for i in range(len(keys))]
    images = rng.integers(0, 256, (len(keys), *shape)).astype(np.uint8)
    return Pairs(images, rng.random(images.shape) < 0.2, table)


def curve(points=5, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"step": np.arange(1, points + 1) * 10, "loss": rng.random(points), "validation": rng.random(points)}
    )


FRAMES = (
    np.array([64, 32, 8]),
    *np.random.default_rng(0).uniform(-1, 1, (2, 3, 2, 12, 10)).astype(np.float16),
)
CURVES = {"guided": {0: curve(seed=1), 1: curve(seed=2)}, "ddpm": {0: curve()}, "guider": {0: curve(seed=3)}}
TABLE_1 = filled(
    tables.TABLE_1.kind,
    {
        "row": ["real", "ddpm", "pig"],
        "method": ["Real (floor)", "DDPM", "PIG"],
        "fid": [40.0, 90.0, 70.0],
        "fid_low": [35.0, 84.0, 61.0],
        "fid_high": [44.0, 97.0, 77.0],
        "kid_x1000": [-0.5, 40.0, 30.0],
        "kid_x1000_low": [-1.0, 36.0, 27.0],
        "kid_x1000_high": [0.5, 44.0, 33.0],
        "paper_fid": [np.nan, 31.84, 15.88],
    },
)
TABLE_2 = filled(
    tables.TABLE_2.kind,
    {
        "training_set": ["Real", "Real + 2 PIG"],
        "set": ["real", "pig"],
        "added": ["Real", "PIG"],
        "dose": [0, 2],
        **{key: [45.0, 55.0] for key in tables.OVERLAP},
        **{f"{key}_low": [40.0, 52.0] for key in tables.OVERLAP},
        **{f"{key}_high": [51.0, 57.0] for key in tables.OVERLAP},
        **{f"paper_{key}": [52.36, np.nan] for key in tables.OVERLAP},
    },
)
NEAREST = filled(
    COPIES, {"id": ["1-7", "1-2", "1-4"], "joint": [0.5, 0.25, np.nan], "joint_of": ["0-3", "0-9", ""]}
)
DRAWN = {
    "data": lambda: figures.data(some_pairs(), 3),
    "pairs": lambda: figures.pairs(some_pairs(), {"PIG": some_pairs(seed=1)}, 4),
    "progression": lambda: figures.progression(*FRAMES),
    "curves": lambda: figures.curves(CURVES),
    "table1": lambda: figures.table1(TABLE_1),
    "table2": lambda: figures.table2(TABLE_2),
    "doses": lambda: figures.doses(TABLE_2),
    "copies": lambda: figures.copies(some_pairs(), some_pairs(seed=1), NEAREST),
}


def test_outline_is_every_edge_between_lesion_and_background():
    mask = np.random.default_rng(0).random((6, 5)) < 0.5
    expected = set()  # the sides of lesion pixels, but for those that two of them share
    for i, j in np.argwhere(mask):
        left, right, top, bottom = j - 0.5, j + 0.5, i - 0.5, i + 0.5
        for side in ((left, top, right, top), (left, bottom, right, bottom)):
            expected ^= {side}
        for side in ((left, top, left, bottom), (right, top, right, bottom)):
            expected ^= {side}
    found = [tuple(segment.ravel()) for segment in figures.outline(mask)]
    assert len(found) == len(set(found)) and set(found) == expected
    assert figures.outline(np.zeros((3, 4), bool)).shape == (0, 2, 2)


def pictures(figure):
    """The arrays that a figure shows, in order."""
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def test_pairs_shows_each_slice_plain_and_outlined_on_one_grey_scale():
    real, generated = some_pairs(), some_pairs(seed=1)
    figure = figures.pairs(real, {"PIG": generated}, 4)
    shown = pictures(figure)
    rows = figures.every(len(real), 4)
    for row, expected in enumerate(
        [real.images[rows], real.images[rows], generated.images[:4], generated.images[:4]]
    ):
        np.testing.assert_array_equal(shown[4 * row : 4 * row + 4], expected)
    for i, axes in enumerate(figure.axes):
        assert axes.images[0].get_clim() == (0, 255)
        outlined = [c for c in axes.collections if isinstance(c, LineCollection)]
        assert len(outlined) == (i // 4) % 2
    last = figure.axes[-1].collections[0].get_segments()
    np.testing.assert_array_equal(last, figures.outline(generated.masks[3]))


@pytest.mark.parametrize(
    ("draw", "times", "within"),
    [
        (lambda of: figures.pairs(of, {"SegGuidedDif": of}), 4, (0.3, 0.7)),
        (
            lambda of: figures.progression(np.arange(6), *2 * (np.stack([of.images[:1] / 127.5 - 1] * 6),)),
            3,
            (0.5,),
        ),
    ],
)
def test_slices_of_64_pixels_are_enlarged_and_not_smoothed(draw, times, within):
    """At the reports' dots an inch, each pixel has its grey level, to one, whatever is around it."""
    source = some_pairs(shape=(64, 64))
    figure = draw(source)
    with io.BytesIO(figures.to_png(figure, 160)) as file:
        dots = 255 * image.imread(file, format="png")[::-1, :, 0]
    box = figure.axes[0].get_position()
    for part in within:
        inside = [
            np.linspace(low, high, 64, endpoint=False) + part * (high - low) / 64
            for low, high in (dots.shape[0] * box.intervaly, dots.shape[1] * box.intervalx)
        ]
        assert (
            min(np.diff(of).min() for of in inside) > times - 0.01
        )  # a figure is a whole number of dots high
        shown = dots[np.ix_(*(of.astype(int) for of in inside))][::-1]
        assert np.abs(shown - source.images[0]).max() <= 1


def test_the_pairs_of_pig_stand_below_the_real_ones(inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "ldm.zip").open("wb") as file:
        write_archive(file, some_pairs(seed=2))
    own = ["--pairs", "real.zip", "--generated", "ldm.zip", "pig.zip"]
    assert main(["figures", *own, "--out", "pairs.png", "--cfg", CFG]) == 0
    expected = figures.pairs(some_pairs(), {"PIG": some_pairs(seed=1), "LDM": some_pairs(seed=2)})
    assert (tmp_path / "pairs.png").read_bytes() == figures.to_png(expected, 50)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="pairs"):
        figures.pairs(some_pairs(), {"PIG": some_pairs(shape=(8, 8))}, 4)
    times, x, y = FRAMES
    with pytest.raises(InputError, match="frames"):
        figures.progression(times[:2], x, y)
    with pytest.raises(InputError, match="0-99"):
        figures.copies(some_pairs(), some_pairs(seed=1), NEAREST.assign(joint_of="0-99"))
    with pytest.raises(InputError, match="copies"):
        figures.copies(some_pairs(), some_pairs(seed=1), NEAREST.iloc[[2]])
    with pytest.raises(InputError, match="table 1"):
        figures.table1(TABLE_1.iloc[1:])


def test_progression_shows_mask_above_slice_at_each_time():
    times, x, y = FRAMES
    figure = figures.progression(times, x, y)
    shown = pictures(figure)
    assert len(shown) == 2 * x.shape[0] * x.shape[1]
    np.testing.assert_allclose(shown[1], (x[1, 0].astype(float) + 1) * 127.5, rtol=1e-5)
    np.testing.assert_allclose(shown[-1], (y[2, 1].astype(float) + 1) * 127.5, rtol=1e-5)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["$t$ = 64", "$t$ = 32", "$t$ = 8"]


def test_data_shows_the_middle_slice_of_each_patient_and_view():
    source = some_pairs(patients=2)
    shown = pictures(figures.data(source, 2))
    np.testing.assert_array_equal(shown, source.images[[1, 7, 4, 10]])  # CC of p0, p1; MLO of p0, p1
    part = source.select(((source.table["view"] == "CC") | (source.table["patient"] == "p0")).to_numpy())
    assert (pictures(figures.data(part, 2))[3] == 255).all()  # a view that is missing
    assert len(figures.data(some_pairs(patients=9, views=("",)), 3).axes) == 9
    titles = [axes.get_title() for axes in figures.data(some_pairs(patients=5), 2).axes]
    places = (1, 2, 4, 5)  # four of five, in two bands
    assert [title for title in titles if title] == [f"patient {place}" for place in places]


@pytest.mark.parametrize("name", ["data", "pairs", "copies"])
def test_figures_of_real_slices_name_no_patient_and_no_slice(name):
    for where in DRAWN[name]().findobj(Text):
        assert not re.search(r"p\d|\d-\d", where.get_text()), where.get_text()


def test_every_is_evenly_spaced():
    for n, wanted in ((1, 4), (4, 4), (5, 4), (100, 8), (7, 1)):
        rows = figures.every(n, wanted)
        assert len(rows) == min(n, wanted) and rows[0] == 0
        if wanted > 1:
            assert rows[-1] == n - 1
            steps = np.diff(rows)
            assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_curves_draws_both_losses_of_every_fold():
    panels = [axes for axes in figures.curves(CURVES).axes if axes.lines]
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == [figures.NETS[name].label for name in ("guider", "guided", "ddpm")]
    guided = panels[1]
    for fold in (0, 1):
        for line, column in zip(guided.lines[2 * fold : 2 * fold + 2], ("loss", "validation"), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), CURVES["guided"][fold][column])
    assert {text.get_text() for text in guided.texts} == {"fold 0", "fold 1"}
    assert figures.to_png(figures.curves({"guider": {0: curve().assign(validation=np.nan)}}), 40)


@pytest.mark.parametrize(
    "values", [[], [0.5], [0.1, 0.5], [0.1, 0.1], [0.1, 0.12, 0.14, 0.9], [0.0, 0.05, 0.2, 0.21, 0.22]]
)
def test_labels_are_spread_no_further_than_needed(values):
    places = figures.spread(values, 0.1)
    assert len(places) == len(values)
    assert (np.diff(places) >= 0.1 - 1e-9).all()
    assert np.sum(places) == pytest.approx(np.sum(values))  # no drift
    if (np.diff(values) >= 0.1).all():
        assert places == pytest.approx(values)


def whiskers(axes):
    """(low, high) of each interval drawn, from the top."""
    (drawn,) = [c for c in axes.containers if isinstance(c, ErrorbarContainer)]
    (lines,) = drawn.lines[2]
    return [tuple(segment[:, 0]) for segment in lines.get_segments()]


def test_table1_bars_intervals_floor_and_marks():
    figure = figures.table1(TABLE_1)
    fid, kid = figure.axes
    assert [bar.get_width() for bar in fid.patches] == [90, 70]
    assert [bar.get_width() for bar in kid.patches] == [40, 30]
    assert whiskers(fid) == [(84, 97), (61, 77)]
    assert whiskers(kid) == [(36, 44), (27, 33)]
    (floor,) = (line for line in fid.lines if set(line.get_xdata()) == {40})
    (marks,) = (line for line in fid.lines if list(line.get_xdata()) == [31.84, 15.88])
    assert floor is not marks
    assert kid.get_xlim()[0] < -0.5  # the floor's KID is in sight
    assert "not comparable" in figure.legends[0].get_texts()[-1].get_text()
    fid = figures.table1(TABLE_1.assign(fid_low=np.nan, fid_high=np.nan)).axes[0]
    assert whiskers(fid) == [(90, 90), (70, 70)] and fid.get_xlim()[1] > 90  # an interval that is unknown


def test_table2_bars_and_intervals_and_a_leak_is_no_result():
    leak = TABLE_2.iloc[[1]].assign(set="pig-leak", training_set="LEAK: Real + 2 PIG")
    figure = figures.table2(pd.concat([TABLE_2, leak], ignore_index=True))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Dice, %", "IoU, %", "Precision, %", "Recall, %"]
    for axes in figure.axes:
        assert [bar.get_width() for bar in axes.patches] == [45, 55, 55]
        assert whiskers(axes) == [(40, 51), (52, 57), (52, 57)]
        assert len({bar.get_facecolor() for bar in axes.patches}) == 3
        assert axes.patches[2].get_facecolor() == (1, 1, 1, 1)


def test_table2_shows_of_rows_without_the_papers_only_the_middle_dose():
    rows = [
        TABLE_2.iloc[[1]].assign(set="joint", dose=dose, training_set=f"Real + {dose} Joint")
        for dose in (2, 4, 6)
    ]
    axes = figures.table2(pd.concat([TABLE_2.iloc[[0]], *rows], ignore_index=True)).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["Real", "Real + 4 Joint"]


def dosed(sets):
    """Table 2 of sets with their Dice by dose, beside real pairs of Dice 2.5."""
    rows = [
        {"added": name, "set": name, "dose": dose, "dice": dice}
        for name, of in {"real": {0: 2.5}, **sets}.items()
        for dose, dice in of.items()
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(dice_low=frame["dice"] - 1, dice_high=frame["dice"] + 2)


def test_doses_draws_the_others_in_the_tables_order():
    """In the order of a set, which differs from run to run, where lines cross so would their pixels."""
    names = [f"method {i}" for i in range(9)]
    frame = dosed({name: {2: float(i)} for i, name in enumerate(names)})
    panels = [axes for axes in figures.doses(frame).axes if axes.axison]
    for mine, axes in enumerate(panels):
        pale = [line.get_ydata()[-1] for line in axes.lines if line.get_linewidth() == 1]
        assert pale == [i for i in range(9) if i != mine]


def test_doses_draws_a_panel_a_method_from_real_alone_through_its_doses():
    values = {"pig": (3, 4, 5), "ldm": (1, 2, 1), "ldm-varied": (2, 2, 2)}
    frame = dosed({name: dict(zip((2, 4, 6), dices, strict=True)) for name, dices in values.items()})
    ours, theirs = (axes for axes in figures.doses(frame).axes if axes.axison)
    assert (ours.get_title("left"), theirs.get_title("left")) == ("pig", "ldm")
    for axes, names in ((ours, ["pig"]), (theirs, ["ldm", "ldm-varied"])):
        bold = [line for line in axes.lines if line.get_linewidth() > 2]
        assert [list(line.get_ydata()) for line in bold] == [[2.5, *values[name]] for name in names]
        assert all(list(line.get_xdata()) == [0, 2, 4, 6] for line in bold)
        (band,) = axes.collections  # of the method itself, not of its varied arm
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
        for dose, value in zip((0, 2, 4, 6), (2.5, *values[names[0]]), strict=True):
            assert {(dose, value - 1), (dose, value + 2)} <= corners
    labels = [text.get_text() for text in ours.figure.legends[0].get_texts()]
    assert len(labels) == 5 and "varied masks" in labels


def test_copies_shows_the_closest_first_above_their_neighbours():
    real, generated = some_pairs(), some_pairs(seed=1)
    figure = figures.copies(real, generated, NEAREST)
    expected = [generated.images[2], generated.images[7]] * 2 + [real.images[9], real.images[3]] * 2
    np.testing.assert_array_equal(pictures(figure), expected)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["0.25", "0.50"]
    assert len(figures.copies(real, generated, NEAREST, columns=1).axes) == 4
    shared = NEAREST.assign(joint_of="0-3")  # two may have the same neighbour
    assert len(figures.copies(real, generated, shared).axes) == 8


@pytest.fixture
def inputs(tmp_path):
    """Files for every figure: option -> paths."""
    for seed, name in enumerate(("real", "pig")):
        with (tmp_path / f"{name}.zip").open("wb") as file:
            write_archive(file, some_pairs(seed=seed))
    np.savez(tmp_path / "frames.npz", **dict(zip("txy", FRAMES, strict=True)))
    for net, folds in CURVES.items():
        for fold, frame in folds.items():
            (tmp_path / f"fold{fold}").mkdir(exist_ok=True)
            frame.to_csv(tmp_path / f"fold{fold}" / f"{net}.csv", index=False)
    for name, frame in (("table1", TABLE_1), ("table2", TABLE_2), ("nearest", NEAREST)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return {
        "data": ["--pairs", "real.zip"],
        "pairs": ["--pairs", "real.zip", "--generated", "pig.zip"],
        "progression": ["--frames", "frames.npz"],
        "curves": ["--curves", "fold0/guider.csv", "fold0/guided.csv", "fold1/guided.csv", "fold0/ddpm.csv"],
        "table1": ["--table1", "table1.csv"],
        "table2": ["--table2", "table2.csv"],
        "doses": ["--table2", "table2.csv"],
        "copies": ["--pairs", "real.zip", "--copied", "pig.zip", "--copies", "nearest.csv"],
    }


@pytest.mark.parametrize("name", DRAWN)
def test_verb_draws_what_the_function_draws_whatever_the_settings(name, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = {"data": lambda: figures.data(some_pairs(), 4)}.get(name, DRAWN[name])
    with rc_context({"font.size": 20, "lines.linewidth": 9, "axes.facecolor": "red"}):
        assert main(["figures", *inputs[name], "--out", f"figures/{name}.png", "--cfg", CFG]) == 0
        assert rcParams["font.size"] == 20  # nothing is left behind
    found = (tmp_path / f"figures/{name}.png").read_bytes()
    assert found == figures.to_png(expected(), 50)
    assert found.startswith(b"\x89PNG") and b"Software" not in found and b"tEXt" not in found


def test_verb_names_what_is_missing_or_broken(inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.npz").write_bytes(b"nothing")
    for arguments, named in (
        (["--pairs", "t.zip", "--out", "copies.png"], "--copied"),
        (["--pairs", "t.zip", "--out", "a.png"], "a.png"),
        (["--curves", "guider.csv", "--out", "curves.png"], "guider.csv"),
        (["--frames", "x.npz", "--out", "progression.png"], "x.npz"),
        ([*inputs["table2"], "--table1", "none.csv", "--out", "table2.png", "table1.png"], "none.csv"),
        (["--table1", "table2.csv", "--out", "table1.png"], "table2.csv"),
        ([*inputs["table2"], "--out", "table2.png", "./table2.png"], "table2.png"),
    ):
        assert main(["figures", *arguments, "--cfg", CFG]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert named in line
    assert not list(tmp_path.glob("*.png"))
