import os
import shutil
import sys
from itertools import pairwise
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Jobs use this checkout and this interpreter, also with --directory and without activating anything.
ROOT = str(workflow.basedir)
sys.path.insert(0, ROOT)
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    PYTHONPATH=os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")])),
)
if sys.stderr.isatty():
    os.environ.setdefault("PIG_PROGRESS", "lines")  # jobs write through tee and cannot see the terminal

from pig.code import code_hash
from pig.errors import InputError
from pig.methods import METHODS, NETS, built_on, order
from pig.params import resolve, to_json

try:
    P = resolve(config, "params.yaml", workflow.config_settings.config)  # --config wins over the profile
except InputError as error:
    raise WorkflowError(str(error)) from None

if unknown := [name for name in P.methods if name not in METHODS]:
    raise WorkflowError(f"params.yaml: methods: expected some of {', '.join(METHODS)}; found {unknown[0]!r}")

FOLDS = range(P.folds.count)
CHOSEN = [name for name in METHODS if name in P.methods]  # in the order of the table METHODS
PAIRED = [name for name in CHOSEN if METHODS[name].paired]  # rows of Table 2; Table 1 is of fold 0 alone
SAMPLED = {name: FOLDS if name in PAIRED else [0] for name in CHOSEN}
TRAINED = {  # networks and the folds that have them
    net: sorted({fold for name in CHOSEN if net in order([name]) for fold in SAMPLED[name]})
    for net in order(CHOSEN)
}
REAL = {"real": "train", "reference": "test"}  # sets of real slices by their role in fold 0
SCORED = ["real", *(name for name in CHOSEN if METHODS[name].masks != "varied")]  # rows of Table 1
TITLE = f"Profile {P.profile}, data: {P.data.source}."
SCORES = [f"<run>/fold{fold}/segment/{set_}.csv" for fold in FOLDS for set_ in ["real", *PAIRED]]
FIGURES = {  # what each is drawn from, by the options of `pig figures`
    "data": {"pairs": "<pairs>"},
    "curves": {"curves": [f"<run>/fold{fold}/{net}.csv" for net in TRAINED for fold in TRAINED[net]]},
    "table1": {"table": "<reports>/table1.csv"},
    "table2": {"table": "<reports>/table2.csv", "scores": SCORES},
}
if PAIRED:
    FIGURES["doses"] = {"table": "<reports>/table2.csv", "scores": SCORES}
    shown = [name for name in PAIRED if name in SCORED] or PAIRED
    FIGURES["pairs"] = {"pairs": "<pairs>", "generated": [f"<run>/fold0/{name}.zip" for name in shown]}
if "pig" in CHOSEN:
    FIGURES["progression"] = {"frames": "<run>/progression.npz"}

SCRATCH = f"scratch/{P.profile}"  # what killed jobs go on from, and caches: no rule declares them

# Where there is no GPU, a job that could use one takes no more than its core.
GPU = int(shutil.which("nvidia-smi") is not None)


pathvars:
    run=f"runs/{P.profile}",
    log=f"logs/{P.profile}",
    reports=P.reports,
    pairs=f"runs/{P.profile}/pairs.zip" if P.data.source == "phantom" else P.data.source,


wildcard_constraints:
    fold=r"\d+",
    shard=r"\d+",
    method="|".join(METHODS),
    net="|".join(NETS),


def code_of(verb, methods=(), nets=()):
    """The hash of a verb's code and of the methods and networks that it runs here: a new rival reruns no other."""
    return code_hash(verb, only={"METHODS": methods, "NETS": nets})


def bounds(method, fold):
    """First pair of each shard of what `method` generates in `fold`, and the end of the last."""
    number = max(P.segmentation.doses) if method in PAIRED else 0
    if int(fold) == 0:
        number = max(number, P.fidelity.slices)
    shards = min(P.sampling.shards, number)
    return [number * shard // shards for shard in range(shards + 1)]


def shards(method, fold, ending):
    """The files of what `method` generates in `fold`, one a shard."""
    number = len(bounds(method, fold)) - 1
    return [f"<run>/fold{fold}/shards/{method}.{shard}.{ending}" for shard in range(number)]


def span(wildcards):
    """First pair and number of pairs of one shard."""
    first, end = list(pairwise(bounds(wildcards.method, wildcards.fold)))[int(wildcards.shard)]
    return first, end - first
