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
        title=TITLE,
        code=code_hash("verbs.tables"),
    message:
        "Table 1"
    shell:
        "pig tables 1 --scores {input} --title {params.title:q} --out {output} 2>&1 | tee {log}"


rule table2:
    input:
        expand("<run>/fold{fold}/segment/{row}.csv", fold=FOLDS, row=TRAINING_SETS),
    output:
        multiext("<reports>/table2", ".csv", ".json", ".md", ".tex"),
    log:
        "<log>/table2.log",
    localrule: True
    params:
        title=TITLE,
        code=code_hash("verbs.tables"),
    message:
        "Table 2"
    shell:
        "pig tables 2 --scores {input} --title {params.title:q} --out {output} 2>&1 | tee {log}"


rule figure_progression:
    input:
        frames="<run>/progression.npz",
    output:
        "<reports>/figures/progression.png",
    log:
        "<log>/figures/progression.log",
    localrule: True
    params:
        cfg=to_json(P, "figures"),
        code=code_hash("verbs.figures"),
    message:
        "Figure 3: pairs as they appear"
    shell:
        "pig figures progression --cfg {params.cfg:q} --frames {input.frames} --out {output} 2>&1 | tee {log}"


rule figure_pairs:
    input:
        pairs="<pairs>",
        generated="<run>/fold0/pig.zip",
    output:
        "<reports>/figures/pairs.png",
    log:
        "<log>/figures/pairs.log",
    localrule: True
    params:
        cfg=to_json(P, "figures"),
        code=code_hash("verbs.figures"),
    message:
        "A sheet of real and generated pairs"
    shell:
        "pig figures pairs --cfg {params.cfg:q} --pairs {input.pairs} --generated {input.generated} --out {output} 2>&1 | tee {log}"


rule figure_curves:
    input:
        curves=[f"<run>/fold{fold}/{net}.csv" for net, folds in TRAINED.items() for fold in folds],
    output:
        "<reports>/figures/curves.png",
    log:
        "<log>/figures/curves.log",
    localrule: True
    params:
        cfg=to_json(P, "figures"),
        code=code_hash("verbs.figures"),
    message:
        "Loss curves"
    shell:
        "pig figures curves --cfg {params.cfg:q} --curves {input.curves} --out {output} 2>&1 | tee {log}"


rule figure_table1:
    input:
        table="<reports>/table1.csv",
    output:
        "<reports>/figures/table1.png",
    log:
        "<log>/figures/table1.log",
    localrule: True
    params:
        cfg=to_json(P, "figures"),
        code=code_hash("verbs.figures"),
    message:
        "Table 1 as bars"
    shell:
        "pig figures table1 --cfg {params.cfg:q} --table {input.table} --out {output} 2>&1 | tee {log}"


rule figure_table2:
    input:
        table="<reports>/table2.csv",
        scores=expand("<run>/fold{fold}/segment/{row}.csv", fold=FOLDS, row=TRAINING_SETS),
    output:
        "<reports>/figures/table2.png",
    log:
        "<log>/figures/table2.log",
    localrule: True
    params:
        cfg=to_json(P, "figures"),
        code=code_hash("verbs.figures"),
    message:
        "Table 2 as bars"
    shell:
        "pig figures table2 --cfg {params.cfg:q} --table {input.table} --scores {input.scores} --out {output} 2>&1 | tee {log}"


rule figure_data:
    input:
        pairs="<pairs>",
    output:
        "<reports>/figures/data.png",
    log:
        "<log>/figures/data.log",
    localrule: True
    params:
        cfg=to_json(P, "figures"),
        code=code_hash("verbs.figures"),
    message:
        "A contact sheet of the data set"
    shell:
        "pig figures data --cfg {params.cfg:q} --pairs {input.pairs} --out {output} 2>&1 | tee {log}"
