"""A bar in a terminal, whole lines for jobs that share one, silence in a log."""

import os
import subprocess
import sys

import pytest

CODE = "from pig.progress import track; print(sum(track(range(5), 5, 'adding')))"


def in_a_terminal(**more):
    """What a process shows whose output is a terminal that knows no size."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "PIG_PROGRESS")} | more
    done = subprocess.run([sys.executable, "-c", CODE], stdout=theirs, stderr=theirs, env=env, check=False)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert done.returncode == 0
    return shown.decode()


def _read(file):
    try:
        return os.read(file, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_a_terminal_gets_a_bar_with_rate_and_remaining_time():
    shown = in_a_terminal()
    assert "adding: 100%" in shown
    assert "5/5 [00:00<00:00" in shown and "step/s]" in shown
    assert "\r" in shown.replace("\r\n", "")
    assert "10" in shown.splitlines()[-1]


def test_jobs_that_share_a_terminal_get_whole_lines():
    shown = in_a_terminal(PIG_PROGRESS="lines")
    assert "adding: 100%" in shown and "5/5 [" in shown
    assert "\r" not in shown.replace("\r\n", "")


def test_a_log_gets_nothing():
    env = {key: value for key, value in os.environ.items() if key != "PIG_PROGRESS"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=env, check=True)
    assert (done.stdout, done.stderr) == ("10\n", "")
