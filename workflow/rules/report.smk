# Tables, figures and pages: the committed results, made by these rules and never by hand.
rule tables:
    input:
        fidelity=FIDELITY["slices"],
        crops=FIDELITY["crops"],
        segment=SCORES,
        pairing=PAIRING,
        trts=TRTS,
        copies=COPIES,
        costs=COSTS,
    output:
        report(expand("<reports>/table{n}.csv", n=TABLES), caption="../report/table.rst", category="Tables"),
        expand("<reports>/table{n}.{format}", n=TABLES, format=["json", "md", "tex"]),
    log:
        "<log>/tables.log",
    localrule: True
    params:
        files=lambda w, input: options(input),
        folder=lambda w, output: Path(output[0]).parent,
        title=TITLE,
        cfg=to_json(P, "segmentation", "statistics"),
        code=code_hash("cli.verbs.tables"),
    message:
        "Tables"
    shell:
        "pig tables --cfg {params.cfg:q} {params.files} --title {params.title:q} --out {params.folder:q}"
        " 2>&1 | tee {log}"


rule figures:
    input:
        pairs="<pairs>",
        curves=CURVES,
        frames=FRAMES,
        generated=[f"<run>/fold0/{name}.zip" for name in GALLERY],
        copied=[f"<run>/fold{fold}/{name}.zip" for name in CLOSEST for fold in FOLDS],
        copies=[f"<run>/fold{fold}/copies/{name}.csv" for name in CLOSEST for fold in FOLDS],
        table1="<reports>/table1.csv",
        table2="<reports>/table2.csv",
    output:
        report(DRAWN, caption="../report/figure.rst", category="Figures"),
        [f"<run>/figures/{figure}.png" for figure in FIGURES if figure in WITHHELD],
    log:
        "<log>/figures.log",
    localrule: True
    params:
        files=lambda w, input: options(input),
        cfg=to_json(P, "figures"),
        code=code_hash("cli.verbs.figures"),
    message:
        "Figures"
    shell:
        "pig figures --cfg {params.cfg:q} {params.files} --out {output} 2>&1 | tee {log}"


# The page to read first, in Markdown, and the same for a browser with what can be looked at: pairs beside their
# neighbours, the steps of Figure 3. What jobs took is read from the logs, which nothing depends on.
rule report:
    input:
        expand("<reports>/table{n}.md", n=TABLES),
        tables=expand("<reports>/table{n}.csv", n=TABLES),
        pairs="<pairs>",
        generated=[f"<run>/fold0/{name}.zip" for name in GALLERY],
        copies=[f"<run>/fold0/copies/{name}.csv" for name in GALLERY],
        frames=FRAMES,
        curves=CURVES,
        nets=NETWORKS,
        costs=COSTS,
        figures=DRAWN,
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
        files=lambda w, input: options(input),
        logs=f"logs/{P.profile}",
        cfg=to_json(P, *SECTIONS),
        profile=P.profile,
        code=code_hash("cli.verbs.report"),
        look=LOOK,
    message:
        "The report as a web page and in Markdown"
    shell:
        "pig report --cfg {params.cfg:q} {params.files} --logs {params.logs} --profile-name {params.profile}"
        " --out {output} 2>&1 | tee {log}"
