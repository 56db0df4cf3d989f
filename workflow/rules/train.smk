# Networks are trained inside each fold. A killed job goes on from its file in scratch, which no rule declares:
# Snakemake deletes the declared outputs of a job that failed.
rule train:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
    output:
        net="<run>/fold{fold}/{net}.safetensors",
        curve="<run>/fold{fold}/{net}.csv",
    log:
        "<log>/fold{fold}/{net}.log",
    benchmark:
        "<log>/fold{fold}/{net}.tsv"
    wildcard_constraints:
        net="guider|ddpm",
    priority: lambda wildcards: {"guider": 60, "ddpm": 30}[wildcards.net]  # longest chain of jobs first
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="3d",
    params:
        state=f"{SCRATCH}/fold{{fold}}/{{net}}.pt",
        cfg=lambda w: to_json(P, "network", "process", "training", "folds", w.net),
        code=code_hash("verbs.train"),
    message:
        "Train the {wildcards.net} of fold {wildcards.fold}"
    shell:
        "pig train {wildcards.net} --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split}"
        " --fold {wildcards.fold} --out {output.net} --curve {output.curve} --state {params.state} 2>&1 | tee {log}"


rule train_guided:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        guider="<run>/fold{fold}/guider.safetensors",
        initial=P.guided.initial_weights or [],
    output:
        net="<run>/fold{fold}/guided.safetensors",
        curve="<run>/fold{fold}/guided.csv",
    log:
        "<log>/fold{fold}/guided.log",
    benchmark:
        "<log>/fold{fold}/guided.tsv"
    priority: 50
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="3d",
    params:
        state=f"{SCRATCH}/fold{{fold}}/guided.pt",
        cfg=to_json(P, "network", "process", "training", "folds", "guider", "guided"),
        code=code_hash("verbs.train"),
    message:
        "Train the guided network of fold {wildcards.fold}"
    shell:
        "pig train guided --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split}"
        " --fold {wildcards.fold} --guider {input.guider} --out {output.net} --curve {output.curve}"
        " --state {params.state} 2>&1 | tee {log}"
