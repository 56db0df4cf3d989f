# Table 2. Segmenters of a fold: one on the fold's real pairs alone, and for each method one a dose of its pairs.
rule segment:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        generated=lambda w: [] if w.set == "real" else f"<run>/fold{w.fold}/{w.set}.zip",
    output:
        scores="<run>/fold{fold}/segment/{set}.csv",
        curve="<run>/fold{fold}/segment/{set}.curve.csv",
    log:
        "<log>/fold{fold}/segment/{set}.log",
    benchmark:
        "<log>/fold{fold}/segment/{set}.tsv"
    wildcard_constraints:
        set="real|" + "|".join(METHODS),
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="3d",
    params:
        state=f"{SCRATCH}/fold{{fold}}/segment.{{set}}.pt",
        generated=lambda w, input: f"--generated {input.generated}" if input.generated else "",
        cfg=to_json(P, "segmentation"),
        code=code_hash("verbs.segment"),
    message:
        "Segment the test patients of fold {wildcards.fold}: {wildcards.set}"
    shell:
        "pig segment --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split}"
        " --fold {wildcards.fold} {params.generated} --out {output.scores} --curve {output.curve}"
        " --state {params.state} 2>&1 | tee {log}"
