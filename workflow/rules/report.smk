# Tables and figures: the committed results, made by these rules and never by hand.
rule pairing:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        generated=expand("<run>/fold{fold}/{method}.zip", method=PAIRED, fold=FOLDS),
    output:
        "<reports>/pairing.csv",
    log:
        "<log>/pairing.log",
    resources:
        mem_mb=8000,
        runtime="1h",
    params:
        cfg=to_json(P, "pairing"),
        code=code_hash("verbs.pairing"),
    message:
        "Do mask and image belong together?"
    shell:
        "pig pairing --cfg {params.cfg:q} --pairs {input.pairs} --split {input.split} --generated {input.generated}"
        " --out {output} 2>&1 | tee {log}"


rule table1:
    input:
        scores=expand("<run>/fidelity/{set}.json", set=SCORED),
        costs=[file for name in SCORED[1:] for file in shards(name, 0, "json")],
    output:
        multiext("<reports>/table1", ".csv", ".json", ".md", ".tex"),
    log:
        "<log>/table1.log",
    localrule: True
    params:
        title=TITLE,
        code=code_hash("verbs.tables"),
    message:
        "Table 1"
    shell:
        "pig tables 1 --scores {input.scores} --costs {input.costs} --title {params.title:q} --out {output} 2>&1 | tee {log}"


rule table2:
    input:
        scores=SCORES,
        costs=[file for name in PAIRED for fold in FOLDS for file in shards(name, fold, "json")],
    output:
        multiext("<reports>/table2", ".csv", ".json", ".md", ".tex"),
    log:
        "<log>/table2.log",
    localrule: True
    params:
        title=TITLE,
        steps=P.segmentation.steps,
        code=code_hash("verbs.tables"),
    message:
        "Table 2"
    shell:
        "pig tables 2 --scores {input.scores} --costs {input.costs} --title {params.title:q} --steps {params.steps}"
        " --out {output} 2>&1 | tee {log}"


rule figure:
    input:
        unpack(lambda w: FIGURES[w.figure]),
    output:
        "<reports>/figures/{figure}.png",
    log:
        "<log>/figures/{figure}.log",
    localrule: True
    params:
        files=lambda w, input: [f"--{name} {files}" for name, files in input.items()],
        cfg=to_json(P, "figures"),
        code=code_hash("verbs.figures"),
    message:
        "Figure: {wildcards.figure}"
    shell:
        "pig figures {wildcards.figure} --cfg {params.cfg:q} {params.files} --out {output} 2>&1 | tee {log}"
