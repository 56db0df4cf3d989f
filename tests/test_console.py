"""Amounts and durations as a person says them; what a verb says last."""

import json

import pytest

from pig.cli import console


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9951, "10 kB"), (999_499, "999 kB"),
     (999_500, "1.0 MB"), (16.7e9, "17 GB"), (1e15, "1,000 TB")],
)  # fmt: skip
def test_amounts(size, shown):
    assert console.amount(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (192, "3 min 12 s"),
     (3599.6, "1 h 0 min"), (7500, "2 h 5 min"), (360_000, "100 h 0 min")],
)  # fmt: skip
def test_durations(seconds, shown):
    assert console.duration(seconds) == shown


def test_a_summary_names_what_was_written(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"abc")
    two.write_bytes(b"")
    three = f"wrote {one} (3 bytes), {two} (0 bytes) and {tmp_path}/ in 2.0 s"
    assert console.summary(None, [one, two, tmp_path], 2) == three
    assert console.summary("FID 3", [one], 2) == f"FID 3; wrote {one} (3 bytes) in 2.0 s"
    assert console.summary("FID 3", [], 2) == "FID 3; done in 2.0 s"


def test_what_is_said_is_one_line_that_a_terminal_does_not_obey(capsys):
    console.say("a\x1b[2J\nb")
    assert capsys.readouterr().err == "pig: a\\x1b[2J\\nb\n"


def test_json_is_one_document_without_nan(capsys):
    console.print_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        console.print_json(float("nan"))
