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
REPORT = "The report as a web page and in Markdown"
TAIL = {"Tables", "Figures", REPORT}  # jobs that end every change
METHODS = ("pig", "ddim", "segguided-varied")  # of the study: paired or not, its own masks or varied ones


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
    """Give `key` (section.name) of the clone's profile another value in params.yaml."""
    path = clone / "params.yaml"
    section, name = key.split(".")
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile = params["profiles"][params["profile"]]
    assert value != {**params[section], **profile.get(section, {})}[name]
    profile[section] = {**profile.get(section, {}), name: value}  # a copy: profiles share sections
    path.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def stamps(clone):
    """When each result was last written."""
    files = [p for top in ("runs", "reports") for p in (clone / top).rglob("*") if p.is_file()]
    return {str(p.relative_to(clone)): p.stat().st_mtime_ns for p in files}


def jobs(shown):
    """The message of each job that Snakemake names, but of the last, which runs nothing."""
    found = set(re.findall(r"^Job \d+: (.*)$", shown, flags=re.MULTILINE))
    return {job for job in found if not job.startswith("All tables, figures")}


def planned(clone, *flags):
    """What Snakemake would run now."""
    shown = run("snakemake", "--dry-run", *flags, cwd=clone)
    assert (NOTHING in shown) == (not jobs(shown))
    return jobs(shown)


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
