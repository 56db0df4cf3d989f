if P.data.source == "phantom":

    rule phantom:
        output:
            "<pairs>",
        log:
            "<log>/phantom.log",
        priority: 100
        threads: 1
        resources:
            gpu=0,
            mem_mb=4000,
            runtime="4h",
        params:
            cfg=to_json(P, "data", "phantom"),
            code=code_hash("cli.verbs.phantom"),
        message:
            "The embedded data set"
        shell:
            "pig phantom --cfg {params.cfg:q} --out {output} 2>&1 | tee {log}"


rule split:
    input:
        "<pairs>",
    output:
        "<run>/split.csv",
    log:
        "<log>/split.log",
    priority: 100
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime="30m",
    params:
        cfg=to_json(P, "folds"),
        code=code_hash("cli.verbs.split"),
    message:
        "Folds by patient"
    shell:
        "pig split --cfg {params.cfg:q} --pairs {input} --out {output} 2>&1 | tee {log}"
