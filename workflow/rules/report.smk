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


rule table1:
    input:
        scores=FIDELITY["slices"],
        crops=FIDELITY["crops"],
        costs=[file for name in SCORED[1:] for file in shards(name, "fold", 0, "json")],
    output:
        report("<reports>/table1.csv", caption="../report/table.rst", category="Tables"),
        multiext("<reports>/table1", ".json", ".md", ".tex"),
    log:
        "<log>/table1.log",
    localrule: True
    params:
        title=TITLE,
        code=code_hash("cli.verbs.tables"),
    message:
        "Table 1"
    shell:
        "pig tables 1 --scores {input.scores} --crops {input.crops} --costs {input.costs} --title {params.title:q}"
        " --out {output} 2>&1 | tee {log}"


rule table2:
    input:
        scores=SCORES,
    output:
        report("<reports>/table2.csv", caption="../report/table.rst", category="Tables"),
        multiext("<reports>/table2", ".json", ".md", ".tex"),
    log:
        "<log>/table2.log",
    localrule: True
    params:
        title=TITLE,
        steps=P.segmentation.steps,
        cfg=to_json(P, "statistics"),
        code=code_hash("cli.verbs.tables"),
    message:
        "Table 2"
    shell:
        "pig tables 2 --cfg {params.cfg:q} --scores {input.scores} --title {params.title:q} --steps {params.steps}"
        " --out {output} 2>&1 | tee {log}"


rule table3:
    input:
        pairing="<reports>/pairing.csv",
        trts=TRTS,
        scores=SCORES,
    output:
        report("<reports>/table3.csv", caption="../report/table.rst", category="Tables"),
        multiext("<reports>/table3", ".json", ".md", ".tex"),
    log:
        "<log>/table3.log",
    localrule: True
    params:
        title=TITLE,
        cfg=to_json(P, "statistics"),
        code=code_hash("cli.verbs.tables"),
    message:
        "Table 3"
    shell:
        "pig tables 3 --cfg {params.cfg:q} --pairing {input.pairing} --trts {input.trts} --scores {input.scores}"
        " --title {params.title:q} --out {output} 2>&1 | tee {log}"


rule table4:
    input:
        copies=COPIES,
    output:
        report("<reports>/table4.csv", caption="../report/table.rst", category="Tables"),
        multiext("<reports>/table4", ".json", ".md", ".tex"),
    log:
        "<log>/table4.log",
    localrule: True
    params:
        title=TITLE,
        code=code_hash("cli.verbs.tables"),
    message:
        "Table 4"
    shell:
        "pig tables 4 --scores {input.copies} --title {params.title:q} --out {output} 2>&1 | tee {log}"


rule table5:
    input:
        costs=[
            file for name in CHOSEN for fold in SAMPLED[name] for file in shards(name, "fold", fold, "json")
        ],
    output:
        report("<reports>/table5.csv", caption="../report/table.rst", category="Tables"),
        multiext("<reports>/table5", ".json", ".md", ".tex"),
    log:
        "<log>/table5.log",
    localrule: True
    params:
        title=TITLE,
        code=code_hash("cli.verbs.tables"),
    message:
        "Table 5"
    shell:
        "pig tables 5 --scores {input.costs} --title {params.title:q} --out {output} 2>&1 | tee {log}"


rule figure:
    input:
        unpack(lambda w: FIGURES[w.figure]),
    output:
        report("<reports>/figures/{figure}.png", caption="../report/figure.rst", category="Figures"),
    log:
        "<log>/figures/{figure}.log",
    localrule: True
    params:
        files=lambda w, input: [f"--{name} {files}" for name, files in input.items()],
        cfg=to_json(P, "figures"),
        code=code_hash("cli.verbs.figures"),
    message:
        "Figure: {wildcards.figure}"
    shell:
        "pig figures {wildcards.figure} --cfg {params.cfg:q} {params.files} --out {output} 2>&1 | tee {log}"


use rule figure as figure_withheld with:
    output:
        "<run>/figures/{figure}.png",


# The page to read first, in Markdown, and the same for a browser with what can be looked at: pairs beside their
# neighbours, the steps of Figure 3. What jobs took is read from the logs, which nothing depends on.
rule report:
    input:
        unpack(lambda w: {"frames": "<run>/progression.npz"} if "pig" in CHOSEN else {}),
        tables=expand("<reports>/table{number}.csv", number=TABLES),
        texts=expand("<reports>/table{number}.md", number=TABLES),
        pairs="<pairs>",
        generated=[f"<run>/fold0/{name}.zip" for name in GALLERY],
        copies=[f"<run>/fold0/copies/{name}.csv" for name in GALLERY],
        curves=FIGURES["curves"]["curves"],
        nets=[f"<run>/fold{fold}/{net}.safetensors" for net in TRAINED for fold in TRAINED[net]],
        costs=[
            file for name in CHOSEN for fold in SAMPLED[name] for file in shards(name, "fold", fold, "json")
        ],
        figures=REPORTED,
    output:
        "<reports>/study.md",
        report("<reports>/index.html", caption="../report/page.rst", category="The report as a web page"),
    log:
        "<log>/report.log",
    threads: 1
    resources:
        gpu=0,
        mem_mb=16000,
        runtime="1h",
    params:
        frames=lambda w, input: f"--frames {input.frames}" if "frames" in input.keys() else "",
        logs=f"logs/{P.profile}",
        cfg=to_json(P, *SECTIONS),
        profile=P.profile,
        code=code_hash("cli.verbs.report"),
        look=LOOK,
    message:
        "The report as a web page and in Markdown"
    shell:
        "pig report --cfg {params.cfg:q} --tables {input.tables} --pairs {input.pairs} --generated {input.generated}"
        " --copies {input.copies} {params.frames} --curves {input.curves} --nets {input.nets} --costs {input.costs}"
        " --figures {input.figures} --logs {params.logs} --profile-name {params.profile} --out {output} 2>&1 | tee {log}"
