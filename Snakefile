# The whole study as one graph of jobs: `snakemake --cores 2`. The rules are in workflow/rules/.
from snakemake.utils import min_version

min_version("9.19")  # compares files by content after a pull, and knows pathvars


configfile: workflow.source_path("params.yaml")


report: "workflow/report/study.rst"  # what `snakemake --report` begins with


container: "docker://pig"  # for --sdm apptainer: an image with requirements.txt installed, which you build


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/generate.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/segment.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        "<reports>/study.md",
        "<reports>/index.html",
        expand("<reports>/table{number}.{format}", number=TABLES, format=["csv", "json", "md", "tex"]),
        PAIRING,
        DRAWN,
        [f"<run>/figures/{figure}.png" for figure in sorted(WITHHELD)],
        # Git keeps the reports, and without the rest a fresh clone would look finished.
        NETWORKS,
        [f"<run>/fold{fold}/{name}.zip" for name in SAMPLED for fold in SAMPLED[name]],
        [f"<run>/leak0/{name.removesuffix('-leak')}.zip" for name in LEAKS],
        [*SCORES, *COPIES, *TRTS, *FIDELITY["slices"], *FIDELITY["crops"]],
    message:
        "All tables, figures and what they were made from"
