# Table 2. One segmenter a fold and training set: the fold's real pairs alone, or with the fold's first generated ones.
rule segment_real:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
    output:
        scores="<run>/fold{fold}/segment/real.csv",
        curve="<run>/fold{fold}/segment/real.curve.csv",
    log:
        "<log>/fold{fold}/segment/real.log",
    benchmark:
        "<log>/fold{fold}/segment/real.tsv"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="1d",
    params:
        state=f"{SCRATCH}/fold{{fold}}/segment.real.pt",
        cfg=to_json(P, "segmentation"),
        code=code_hash("verbs.segment"),
    message:
        "Segment the test patients of fold {wildcards.fold}: trained on real pairs"
    shell:
        "pig segment --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split}"
        " --fold {wildcards.fold} --out {output.scores} --curve {output.curve} --state {params.state} 2>&1 | tee {log}"


rule segment:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        generated="<run>/fold{fold}/{method}.zip",
    output:
        scores="<run>/fold{fold}/segment/{method}_{dose}.csv",
        curve="<run>/fold{fold}/segment/{method}_{dose}.curve.csv",
    log:
        "<log>/fold{fold}/segment/{method}_{dose}.log",
    benchmark:
        "<log>/fold{fold}/segment/{method}_{dose}.tsv"
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="1d",
    params:
        state=f"{SCRATCH}/fold{{fold}}/segment.{{method}}_{{dose}}.pt",
        cfg=to_json(P, "segmentation"),
        code=code_hash("verbs.segment"),
    message:
        "Segment the test patients of fold {wildcards.fold}: trained on real pairs and {wildcards.dose} of {wildcards.method}"
    shell:
        "pig segment --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split}"
        " --fold {wildcards.fold} --generated {input.generated} --dose {wildcards.dose}"
        " --out {output.scores} --curve {output.curve} --state {params.state} 2>&1 | tee {log}"
