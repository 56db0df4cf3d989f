# Table 1, of whole slices and of crops around their lesions. All is scored against the test patients of fold 0; slices of its training patients are the floor.
rule features_real:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
    output:
        "<run>/features/{view}/{set}.npz",
    log:
        "<log>/features/{view}/{set}.log",
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
        crops=lambda w: "--crops" if w.view == "crops" else "",
        cache=f"{SCRATCH}/features",
        cfg=to_json(P, "fidelity"),
        code=code_hash("cli.verbs.features"),
    message:
        "Features of real {wildcards.view}: {wildcards.set}"
    shell:
        "pig features --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split} --fold 0"
        " --role {params.role} --number {params.number} {params.crops} --cache {params.cache} --out {output} 2>&1 | tee {log}"


rule features:
    input:
        "<run>/fold0/{set}.zip",
    output:
        "<run>/features/{view}/{set}.npz",
    log:
        "<log>/features/{view}/{set}.log",
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
        crops=lambda w: "--crops" if w.view == "crops" else "",
        cache=f"{SCRATCH}/features",
        cfg=to_json(P, "fidelity"),
        code=code_hash("cli.verbs.features"),
    message:
        "Features of generated {wildcards.view}: {wildcards.set}"
    shell:
        "pig features --cfg {params.cfg:q} --threads {threads} --pairs {input} --number {params.number} {params.crops}"
        " --cache {params.cache} --out {output} 2>&1 | tee {log}"


rule fidelity:
    input:
        features="<run>/features/{view}/{set}.npz",
        reference="<run>/features/{view}/reference.npz",
    output:
        "<run>/fidelity/{view}/{set}.json",
    log:
        "<log>/fidelity/{view}/{set}.log",
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime="1h",
    params:
        cfg=to_json(P, "fidelity"),
        code=code_hash("cli.verbs.fidelity"),
    message:
        "Distance from the reference, {wildcards.view}: {wildcards.set}"
    shell:
        "pig fidelity --cfg {params.cfg:q} --features {input.features} --reference {input.reference}"
        " --out {output} 2>&1 | tee {log}"
