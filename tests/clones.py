"""A clone of this tree, the commands that people give in it, and what they did: for the tests of whole studies."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
GIT = {
    f"GIT_{who}_{what}": "pig@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
REPORTS = ("table1", "table2", "table3", "table4", "table5", "pairing")
NOTHING = "Nothing to be done"


def environment(**more):
    """Of a person who has .venv on the PATH and gives `more`, None for nothing; the clone's own pig is what runs."""
    env = {**os.environ, **GIT, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}
    env["PYTHONPATH"] = None
    return {name: value for name, value in env.items() if value is not None}


def run(*command, cwd, code=0, **more):
    """Standard output and error of a command that must end with `code`."""
    done = subprocess.run(
        command, cwd=cwd, env=environment(**more), text=True, capture_output=True, check=False
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def commit(clone, message):
    run("git", "add", "--all", cwd=clone)
    run("git", "commit", "--quiet", "--message", message, cwd=clone)


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def change(clone, key, value):
    """Give `key` (section.name) of profile smoke another value in params.yaml; returns the old text."""
    path = clone / "params.yaml"
    text = path.read_text(encoding="utf-8")
    section, name = key.split(".")
    params = yaml.safe_load(text)
    assert value != {**params[section], **params["profiles"]["smoke"].get(section, {})}[name]
    params["profiles"]["smoke"].setdefault(section, {})[name] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return text


def stamps(clone):
    """When each result was last written."""
    files = [p for top in ("runs", "reports") for p in (clone / top).rglob("*") if p.is_file()]
    return {str(p.relative_to(clone)): p.stat().st_mtime_ns for p in files}


def planned(clone, *flags):
    """What Snakemake would run now: the message of each job but the last, which runs nothing."""
    shown = run("snakemake", "--dry-run", *flags, cwd=clone)
    jobs = set(re.findall(r"^Job \d+: (.*)$", shown, flags=re.MULTILINE))
    assert bool(jobs) != (NOTHING in shown)
    return {job for job in jobs if not job.startswith("All tables, figures")}


def blocks(page, heading=None):
    """The commands of each ```sh block of a page of docs/, in order; only those below `heading`, if it is given."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if heading is not None:
        text = re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def shell(script, cwd, placeholders=(), **more):
    """Run commands of a page with bash, which stops at the first that fails; returns what they said."""
    for old, new in dict(placeholders).items():
        assert old in script, f"no {old!r} in {script!r}"
        script = script.replace(old, str(new))
    return run("bash", "-euo", "pipefail", "-c", script, cwd=cwd, **more)
