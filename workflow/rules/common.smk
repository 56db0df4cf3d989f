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
from pig.params import resolve, to_json

try:
    P = resolve(config, "params.yaml")
except InputError as error:
    raise WorkflowError(str(error)) from None

FOLDS = range(P.folds.count)
METHODS = {"pig": ["guider", "guided"], "ddpm": ["ddpm"], "ddim": ["ddpm"]}  # the networks of each generator
REAL = {"real": "train", "reference": "test"}  # sets of real slices by their role in fold 0
SCORED = ["real", "ddpm", "ddim", "pig"]  # rows of Table 1
TRAINING_SETS = ["real", *(f"pig_{dose}" for dose in P.segmentation.doses)]  # rows of Table 2
TRAINED = {"guider": FOLDS, "guided": FOLDS, "ddpm": [0]}  # networks and the folds that have them
TITLE = f"Profile {P.profile}, data: {P.data.source}."
SCORES = [f"<run>/fold{fold}/segment/{row}.csv" for fold in FOLDS for row in TRAINING_SETS]
FIGURES = {  # what each is drawn from, by the options of `pig figures`
    "data": {"pairs": "<pairs>"},
    "curves": {"curves": [f"<run>/fold{fold}/{net}.csv" for net in TRAINED for fold in TRAINED[net]]},
    "progression": {"frames": "<run>/progression.npz"},
    "pairs": {"pairs": "<pairs>", "generated": "<run>/fold0/pig.zip"},
    "table1": {"table": "<reports>/table1.csv"},
    "table2": {"table": "<reports>/table2.csv", "scores": SCORES},
}

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
    dose=r"\d+",
    method="|".join(METHODS),


def bounds(method, fold):
    """First pair of each shard of what `method` generates in `fold`, and the end of the last."""
    number = max(P.segmentation.doses) if method == "pig" else 0
    if int(fold) == 0:
        number = max(number, P.fidelity.slices)
    shards = min(P.sampling.shards, number)
    return [number * shard // shards for shard in range(shards + 1)]


def span(wildcards):
    """First pair and number of pairs of one shard."""
    first, end = list(pairwise(bounds(wildcards.method, wildcards.fold)))[int(wildcards.shard)]
    return first, end - first
