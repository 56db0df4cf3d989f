"""Amounts and durations as a person says them; what a verb says last."""

from pig.cli import console


def test_amounts_and_durations_next_to_where_their_unit_changes():
    amounts = {
        999: "999 bytes",
        9949: "9.9 kB",
        9951: "10 kB",
        999_499: "999 kB",
        999_500: "1.0 MB",
        1e15: "1,000 TB",
    }
    assert {size: console.amount(size) for size in amounts} == amounts
    durations = {9.94: "9.9 s", 9.96: "10 s", 59.6: "1 min 0 s", 192: "3 min 12 s", 3599.6: "1 h 0 min"}
    assert {seconds: console.duration(seconds) for seconds in durations} == durations


def test_a_summary_names_what_was_written(tmp_path):
    (tmp_path / "one").write_bytes(b"abc")
    told = console.summary("FID 3", [tmp_path / "one", tmp_path], 2)
    assert [
        part for part in ("FID 3", f"{tmp_path / 'one'} (3 bytes)", f"{tmp_path}/") if part not in told
    ] == []
