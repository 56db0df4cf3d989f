import hashlib
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

from pig.core.codehash import code_hash
from pig.core.errors import InputError
from pig.core.paths import folder, pairs
from pig.core.params import Section, Shared, resolve, to_json
from pig.models.table import METHODS, NETS, Params, order

try:
    # What --config says wins over the profile.
    P = resolve(config, Params, "params.yaml", workflow.config_settings.config)
    # Without its source Snakemake takes what is there for finished, whatever has changed.
    P.data.check("params.yaml")
except InputError as error:
    raise WorkflowError(str(error)) from None

FOLDS = P.run_folds
CHOSEN = [name for name in METHODS if name in P.methods]  # in the order of the table METHODS
PAIRED = [name for name in CHOSEN if METHODS[name].paired]  # rows of Table 2
MASKLESS = [name for name in METHODS if not METHODS[name].paired]
SAMPLED = {name: FOLDS if name in PAIRED else [0] for name in CHOSEN}
TRAINED = {  # networks and the folds that have them
    net: sorted({fold for name in CHOSEN if net in order([name]) for fold in SAMPLED[name]})
    for net in order(CHOSEN)
}
SHARDED = P.sampling.shards > 1  # whether several jobs share the sampling of a fold
SHARD = "{shard}" if SHARDED else "0"  # in names of files
SEEDS = range(P.segmentation.seeds)
# A segmenter's job is not told how many seeds there are: one more reruns no other.
OF_A_SEED = P.model_copy(update={"segmentation": P.segmentation.model_copy(update={"seeds": 1})})
REAL = {"real": "train", "reference": "test"}  # sets of real slices by their role in fold 0
# Rows of Table 1, which is of fold 0 alone.
SCORED = ["real", *(name for name in CHOSEN if METHODS[name].masks != "varied")]
# The leak arm: PIG as if its generator had seen the test patients too, to show what that would have claimed.
LEAKS = ["pig-leak"] if P.leak_arm and "pig" in PAIRED and not P.folds.leak else []
LEAKING = P.model_copy(update={"folds": P.folds.model_copy(update={"leak": True})})
# Rows of Table 2 beside real and the methods.
CONTROLS = ["augmented", "duplicated", *LEAKS] if PAIRED else []
GALLERY = [name for name in PAIRED if name in SCORED] or PAIRED  # methods whose pairs are shown
CLOSEST = [name for name in ("pig", *PAIRED) if name in PAIRED][:1]  # that whose copies are shown

TABLES = [1, 2, 3, 4, 5] if PAIRED else [1, 2, 5]
FIGURES = ["data", "curves", "table1", "table2"]
FIGURES += ["doses", "pairs", "copies"] if PAIRED else []
FIGURES += ["progression"] if "pig" in CHOSEN else []
# Git keeps the reports. Figures of a user's own slices stay with the run, which DVC keeps, unless they may be shown.
REAL_SLICES = {"data", "pairs", "copies"}
WITHHELD = set() if P.data.source == "phantom" or P.figures.show_real else REAL_SLICES & {*FIGURES}

TITLE = f"Profile {P.profile}, data: {P.data.source}."
SECTIONS = [name for name, part in P if isinstance(part, Section)]  # of params.yaml: all numbers
LOOK = hashlib.sha256(  # of the page, whose templates are no code
    b"".join(path.read_bytes() for path in sorted(Path(ROOT, "pig/report/templates").glob("page.*")))
).hexdigest()[:16]
SCRATCH = f"scratch/{P.profile}"  # what killed jobs go on from, and caches: no rule declares them

# What a job that can use a GPU asks for. Where jobs run on this machine and it has none, no more than a core. On a
# cluster the nodes count, not the host that submits: a job asks for one there, unless the profile limits `gpu` to 0.
ON_CLUSTER = workflow.resource_settings.nodes is not None  # the number of jobs that an executor may submit
GPU = int(ON_CLUSTER or shutil.which("nvidia-smi") is not None)


pathvars:
    run=folder(P.profile),
    log=f"logs/{P.profile}",
    reports=P.reports,
    pairs=pairs(P.profile, P.data.source),


wildcard_constraints:
    seed=r"\d+",
    arm="fold|leak",
    fold=r"\d+",
    shard=r"\d+",
    method="|".join(METHODS),
    net="|".join(NETS),


def bounds(method, arm, fold):
    """First pair of each shard of what `method` generates in `fold`, and the end of the last."""
    number = max(P.segmentation.doses) if method in PAIRED else 0
    if arm == "fold" and int(fold) == 0:
        number = max(number, P.fidelity.slices)
    tiles = -(-number // P.sampling.tile)  # a shard of whole tiles computes nothing that it drops
    shards = min(P.sampling.shards, tiles)
    return [min(tiles * shard // shards * P.sampling.tile, number) for shard in range(shards + 1)]


def shards(method, arm, fold, ending):
    """The files of what `method` generates in `fold`, one a shard."""
    number = len(bounds(method, arm, fold)) - 1
    return [f"<run>/{arm}{fold}/shards/{method}.{shard}.{ending}" for shard in range(number)]


def span(wildcards):
    """First pair and number of pairs of one shard."""
    ends = bounds(wildcards.method, wildcards.arm, wildcards.fold)
    first, end = list(pairwise(ends))[int(wildcards.get("shard", 0))]
    return first, end - first


def source_of(set_, fold):
    """The archive that a training set of `fold` takes its generated pairs from; none for real pairs alone."""
    if set_ == "pig-leak":
        return "<run>/leak0/pig.zip"  # one generator saw the patients of every fold
    return f"<run>/fold{fold}/{set_}.zip" if set_ in METHODS else []


def options(files):
    """The inputs or outputs of a job as options of its verb, each by its name."""
    return [f"--{name} {value}" for name, value in files.items() if value]


NETWORKS = [f"<run>/fold{fold}/{net}.safetensors" for net in TRAINED for fold in TRAINED[net]]
CURVES = [f"<run>/fold{fold}/{net}.csv" for net in TRAINED for fold in TRAINED[net]]
COSTS = [file for name in CHOSEN for fold in SAMPLED[name] for file in shards(name, "fold", fold, "json")]
FIDELITY = {
    "slices": [f"<run>/fidelity/slices/{set_}.json" for set_ in SCORED],
    "crops": [f"<run>/fidelity/crops/{set_}.json" for set_ in SCORED if set_ not in MASKLESS],
}
SCORES = [
    f"<run>/fold{fold}/segment/{set_}.{seed}.csv"
    for fold in FOLDS
    for set_ in ["real", *CONTROLS, *PAIRED]
    for seed in SEEDS
]
TRTS = [f"<run>/fold{fold}/trts.csv" for fold in FOLDS if PAIRED]
COPIES = [f"<run>/fold{fold}/copies/{set_}.csv" for fold in FOLDS for set_ in ["real", *PAIRED] if PAIRED]
PAIRING = "<reports>/pairing.csv" if PAIRED else []
FRAMES = "<run>/progression.npz" if "pig" in CHOSEN else []
DRAWN = [f"<reports>/figures/{figure}.png" for figure in FIGURES if figure not in WITHHELD]
