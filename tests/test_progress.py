"""A bar in a terminal, whole lines for jobs that share one, now and then a line in a log."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest

from pig.cli import console, progress

CODE = """
import sys
from pig.cli.progress import track
print(sum(track(range(3, 6), 6, 'adding', initial=3, unit='term')))
print('rich' if 'rich' in sys.modules else 'plain')
"""
SEEN = ("COLUMNS", "PIG_PROGRESS", "TERM", "NO_COLOR", "PYTHONIOENCODING")


def run(**streams):
    """CODE in a process whose environment says nothing of terminals but `env`."""
    env = {key: value for key, value in os.environ.items() if key not in SEEN} | streams.pop("env", {})
    return subprocess.run([sys.executable, "-c", CODE], env=env, check=True, **streams)


def in_a_terminal(**env):
    """What a process shows whose output is a terminal that knows no size."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    run(stdout=theirs, stderr=theirs, env={"TERM": "xterm", **env})
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    return shown.decode()


def test_a_terminal_gets_a_bar_with_rate_and_time():
    shown = in_a_terminal()
    assert "6/6" in shown and "term/s" in shown and "\r" in shown.replace("\r\n", "")
    assert shown.splitlines()[-2:] == ["\x1b[?25h12", "rich"]  # the cursor is back; then the sum


@pytest.mark.parametrize("env", [{"PIG_PROGRESS": "lines"}, {"TERM": "dumb"}], ids=["shared", "dumb"])
def test_jobs_that_share_a_terminal_and_dumb_ones_get_whole_lines(env):
    shown = in_a_terminal(**env)
    assert "100 % (6/6)" in shown and "\r" not in shown.replace("\r\n", "") and "\x1b" not in shown
    assert shown.splitlines()[-1] == "plain"  # rich is not even loaded


def test_a_log_gets_nothing_of_what_is_short():
    done = run(capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("12\nplain\n", "")


@pytest.fixture
def worked(capsys, monkeypatch):
    """The lines of a log of a job of so many steps of so many seconds."""
    clock = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.delenv("PIG_PROGRESS", raising=False)

    def work(number, seconds, initial=0):
        for _ in progress.track(range(initial, number), number, "train", initial):
            clock[0] += seconds
        return capsys.readouterr().err.splitlines()

    return work


def test_a_log_gets_a_line_a_minute_and_the_end_of_what_is_long(worked):
    shown = worked(10, 40.0)
    assert len(shown) == 5 and "(2/10), 40 s/step, 0:05:20" in shown[0] and "0:06:40" in shown[-1]
    assert 100 < len(worked(72 * 360, 10.0)) < 150  # three days


def test_a_resumed_job_is_timed_by_what_it_did_itself(worked):
    assert "(90/100), 2 s/step, 0:00:20" in worked(100, 2.0, initial=60)[0]


def test_quiet_is_silent_and_ends_with_its_block(worked, capsys, monkeypatch):
    monkeypatch.setenv("PIG_PROGRESS", "lines")
    with console.silence(True):
        console.say("a word")
        assert worked(3, 40.0) == []
        console.complain("an error")
    assert len(worked(1, 1.0)) == 2


def test_every_item_comes_through_and_an_early_stop_is_none_of_ours():
    steps = progress.track(iter("abc"), 3, "letters")
    assert next(steps) == "a"
    steps.close()
    assert list(progress.track("abc", 3, "letters")) == ["a", "b", "c"]
    assert list(progress.track("", 0, "letters")) == []
