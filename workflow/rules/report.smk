# Tables and figures: the committed results, made by these rules and never by hand.
rule pairing:
    input:
        pairs="<pairs>",
        generated=expand("<run>/fold{fold}/pig.zip", fold=FOLDS),
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
        "pig pairing --cfg {params.cfg:q} --pairs {input.pairs} --generated {input.generated} --out {output}"
        " 2>&1 | tee {log}"


rule table1:
    input:
        expand("<run>/fidelity/{set}.json", set=SCORED),
    output:
        multiext("<reports>/table1", ".csv", ".json", ".md", ".tex"),
    log:
        "<log>/table1.log",
    localrule: True
    params:
        code=code_hash("verbs.tables"),
    message:
        "Table 1"
    shell:
        "pig tables 1 --scores {input} --out {output} 2>&1 | tee {log}"


rule table2:
    input:
        expand("<run>/fold{fold}/segment/{row}.csv", fold=FOLDS, row=TRAINING_SETS),
    output:
        multiext("<reports>/table2", ".csv", ".json", ".md", ".tex"),
    log:
        "<log>/table2.log",
    localrule: True
    params:
        cfg=to_json(P, "segmentation", "folds"),
        code=code_hash("verbs.tables"),
    message:
        "Table 2"
    shell:
        "pig tables 2 --cfg {params.cfg:q} --scores {input} --out {output} 2>&1 | tee {log}"


rule figure_stub:
    input:
        "<reports>/table1.csv",
        "<reports>/table2.csv",
        "<run>/progression.npz",
    output:
        "<reports>/figures/{name}.png",
    log:
        "<log>/figures/{name}.log",
    params:
        cfg=to_json(P, "figures"),
    message:
        "Figure {wildcards.name}"
    shell:
        "pig figures {wildcards.name} --out {output} 2>&1 | tee {log}"
