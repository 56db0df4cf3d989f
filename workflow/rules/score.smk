# Table 1. All is scored against the test patients of fold 0; slices of its training patients are the floor.
rule features_real:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
    output:
        "<run>/features/{set}.npz",
    log:
        "<log>/features/{set}.log",
    wildcard_constraints:
        set="|".join(REAL),
    priority: 20
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=8000,
        runtime="4h",
    params:
        role=lambda w: REAL[w.set],
        number=P.fidelity.slices,
        cache=f"{SCRATCH}/features",
        cfg=to_json(P, "fidelity"),
        code=code_hash("verbs.features"),
    message:
        "Features of real slices: {wildcards.set}"
    shell:
        "pig features --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split} --fold 0"
        " --role {params.role} --number {params.number} --cache {params.cache} --out {output} 2>&1 | tee {log}"


rule features:
    input:
        "<run>/fold0/{set}.zip",
    output:
        "<run>/features/{set}.npz",
    log:
        "<log>/features/{set}.log",
    wildcard_constraints:
        set="|".join(METHODS),
    priority: 20
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=8000,
        runtime="4h",
    params:
        number=P.fidelity.slices,
        cache=f"{SCRATCH}/features",
        cfg=to_json(P, "fidelity"),
        code=code_hash("verbs.features"),
    message:
        "Features of generated slices: {wildcards.set}"
    shell:
        "pig features --cfg {params.cfg:q} --threads {threads} --pairs {input} --number {params.number}"
        " --cache {params.cache} --out {output} 2>&1 | tee {log}"


rule fidelity:
    input:
        features="<run>/features/{set}.npz",
        reference="<run>/features/reference.npz",
    output:
        "<run>/fidelity/{set}.json",
    log:
        "<log>/fidelity/{set}.log",
    resources:
        mem_mb=8000,
        runtime="1h",
    params:
        cfg=to_json(P, "fidelity"),
        code=code_hash("verbs.fidelity"),
    message:
        "Distance from the reference: {wildcards.set}"
    shell:
        "pig fidelity --cfg {params.cfg:q} --features {input.features} --reference {input.reference}"
        " --out {output} 2>&1 | tee {log}"
