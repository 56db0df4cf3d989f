# Table 2. Segmenters of a fold: on the fold's real pairs alone; for each method one a dose of its pairs, and one on
# generated pairs alone (TSTR); and the controls. One job a training set and seed.
rule segment:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        generated=lambda w: source_of(w.set, w.fold),
    output:
        out="<run>/fold{fold}/segment/{set}.{seed}.csv",
        curve="<run>/fold{fold}/segment/{set}.{seed}.curve.csv",
    log:
        "<log>/fold{fold}/segment/{set}.{seed}.log",
    benchmark:
        "<log>/fold{fold}/segment/{set}.{seed}.tsv"
    wildcard_constraints:
        set="|".join([*METHODS, *CONTROLS]),
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="3d",
    params:
        files=lambda w, input, output: options(input) + options(output),
        state=f"{SCRATCH}/fold{{fold}}/segment.{{set}}.{{seed}}.pt",
        alone=lambda w: "--alone" if w.set in METHODS else "",
        cfg=to_json(OF_A_SEED, "segmentation", "augmentation"),
        code=code_hash("cli.verbs.segment"),
    message:
        "Segment the test patients of fold {wildcards.fold}: {wildcards.set}, seed {wildcards.seed}"
    shell:
        "pig segment {wildcards.set} --cfg {params.cfg:q} --threads {threads} --fold {wildcards.fold}"
        " --seed {wildcards.seed} {params.files} {params.alone} --state {params.state} 2>&1 | tee {log}"


use rule segment as segment_real with:
    output:
        out="<run>/fold{fold}/segment/{set}.{seed}.csv",
        curve="<run>/fold{fold}/segment/{set}.{seed}.curve.csv",
        model="<run>/fold{fold}/segment/{set}.{seed}.safetensors",
    wildcard_constraints:
        set="real",
    priority: 30


# The same segmenters on generated slices (TRTS): do they find the lesion that the generated mask says?
rule trts:
    input:
        models=expand("<run>/fold{{fold}}/segment/real.{seed}.safetensors", seed=SEEDS),
        generated=expand("<run>/fold{{fold}}/{method}.zip", method=PAIRED),
    output:
        "<run>/fold{fold}/trts.csv",
    log:
        "<log>/fold{fold}/trts.log",
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="4h",
    params:
        cfg=to_json(P, "segmentation"),
        code=code_hash("cli.verbs.trts"),
    message:
        "Find the lesions of generated slices, fold {wildcards.fold}"
    shell:
        "pig trts --cfg {params.cfg:q} --threads {threads} --models {input.models} --generated {input.generated}"
        " --out {output} 2>&1 | tee {log}"
