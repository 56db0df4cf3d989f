# Copying. Real pairs of held-out patients say how near a pair that was not copied comes to the training pairs.
rule copies_real:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
    output:
        "<run>/fold{fold}/copies/real.csv",
    log:
        "<log>/fold{fold}/copies/real.log",
    priority: 30
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime="1d",
    params:
        code=code_hash("cli.verbs.copies"),
    message:
        "Nearest neighbours of real held-out pairs, fold {wildcards.fold}"
    shell:
        "pig copies --threads {threads} --pairs {input.pairs} --split {input.split} --fold {wildcards.fold}"
        " --out {output} 2>&1 | tee {log}"


rule copies:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        real="<run>/fold{fold}/copies/real.csv",
        generated="<run>/fold{fold}/{method}.zip",
    output:
        "<run>/fold{fold}/copies/{method}.csv",
    log:
        "<log>/fold{fold}/copies/{method}.log",
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime="1d",
    params:
        code=code_hash("cli.verbs.copies"),
    message:
        "Nearest neighbours of {wildcards.method}, fold {wildcards.fold}"
    shell:
        "pig copies --threads {threads} --pairs {input.pairs} --split {input.split} --fold {wildcards.fold}"
        " --real {input.real} --generated {input.generated} --out {output} 2>&1 | tee {log}"
