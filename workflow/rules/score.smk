# Table 1, of whole slices and of crops around their lesions. All is scored against the test patients of fold 0; slices
# of its training patients are the floor. Sets without masks have no crops.
rule features:
    input:
        pairs=lambda w: "<pairs>" if w.set in REAL else f"<run>/fold0/{w.set}.zip",
        split=lambda w: "<run>/split.csv" if w.set in REAL else [],
    output:
        out="<run>/features/slices/{set}.npz",
        crops="<run>/features/crops/{set}.npz",
    log:
        "<log>/features/{set}.log",
    wildcard_constraints:
        set="|".join([*REAL, *PAIRED]),
    priority: 20
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=8000,
        runtime="4h",
    params:
        files=lambda w, input, output: options(input) + options(output),
        role=lambda w: f"--fold 0 --role {REAL[w.set]}" if w.set in REAL else "",
        number=P.fidelity.slices,
        cache=f"{SCRATCH}/features",
        cfg=to_json(P, "fidelity"),
        code=code_hash("cli.verbs.features"),
    message:
        "Features of {wildcards.set}"
    shell:
        "pig features --cfg {params.cfg:q} --threads {threads} {params.files} {params.role} --number {params.number}"
        " --cache {params.cache} 2>&1 | tee {log}"


use rule features as features_slices with:
    output:
        out="<run>/features/slices/{set}.npz",
    wildcard_constraints:
        set="|".join(MASKLESS),


rule fidelity:
    input:
        features=expand("<run>/features/{view}/{{set}}.npz", view=FIDELITY),
        reference=expand("<run>/features/{view}/reference.npz", view=FIDELITY),
    output:
        expand("<run>/fidelity/{view}/{{set}}.json", view=FIDELITY),
    log:
        "<log>/fidelity/{set}.log",
    wildcard_constraints:
        set="|".join([*REAL, *PAIRED]),
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime="1h",
    params:
        cfg=to_json(P, "fidelity"),
        code=code_hash("cli.verbs.fidelity"),
    message:
        "Distance from the reference: {wildcards.set}"
    shell:
        "pig fidelity --cfg {params.cfg:q} --features {input.features} --reference {input.reference} --out {output}"
        " 2>&1 | tee {log}"


use rule fidelity as fidelity_slices with:
    input:
        features="<run>/features/slices/{set}.npz",
        reference="<run>/features/slices/reference.npz",
    output:
        "<run>/fidelity/slices/{set}.json",
    wildcard_constraints:
        set="|".join(MASKLESS),


rule pairing:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        generated=expand("<run>/fold{fold}/{method}.zip", method=PAIRED, fold=FOLDS),
    output:
        "<reports>/pairing.csv",
    log:
        "<log>/pairing.log",
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime="4h",
    params:
        cfg=to_json(P, "pairing"),
        code=code_hash("cli.verbs.pairing"),
    message:
        "Do mask and image belong together?"
    shell:
        "pig pairing --cfg {params.cfg:q} --pairs {input.pairs} --split {input.split} --generated {input.generated}"
        " --out {output} 2>&1 | tee {log}"


# Copying. Real pairs of held-out patients say how near a pair that was not copied comes to the training pairs.
rule copies:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        generated=expand("<run>/fold{{fold}}/{method}.zip", method=PAIRED),
    output:
        expand("<run>/fold{{fold}}/copies/{set}.csv", set=["real", *PAIRED]),
    log:
        "<log>/fold{fold}/copies.log",
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime="1d",
    params:
        code=code_hash("cli.verbs.copies"),
    message:
        "Nearest neighbours in fold {wildcards.fold}"
    shell:
        "pig copies --threads {threads} --pairs {input.pairs} --split {input.split} --fold {wildcards.fold}"
        " --generated {input.generated} --out {output} 2>&1 | tee {log}"
