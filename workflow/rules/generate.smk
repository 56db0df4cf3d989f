# Sample i of a fold depends on the seed, the fold and i alone, so shards of any size join into the same archive. One
# shard alone is the archive. A killed job goes on from its folder in scratch, as `train` does.
rule sample:
    input:
        models=lambda w: expand(
            "<run>/{arm}{fold}/{net}.safetensors", arm=w.arm, fold=w.fold, net=METHODS[w.method].nets
        ),
        masks=lambda w: ["<pairs>", "<run>/split.csv"] if METHODS[w.method].masks else [],
    output:
        samples="<run>/{arm}{fold}/" + ("shards/{method}.{shard}.zip" if SHARDED else "{method}.zip"),
        report=f"<run>/{{arm}}{{fold}}/shards/{{method}}.{SHARD}.json",
    log:
        f"<log>/{{arm}}{{fold}}/{{method}}.{SHARD}.log",
    benchmark:
        f"<log>/{{arm}}{{fold}}/{{method}}.{SHARD}.tsv"
    priority: 40
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=8000,
        runtime="1d",
    params:
        first=lambda w: span(w)[0],
        number=lambda w: span(w)[1],
        state=f"{SCRATCH}/{{arm}}{{fold}}/{{method}}.{SHARD}",
        masks=lambda w, input: "--pairs {} --split {}".format(*input.masks) if input.masks else "",
        cfg=to_json(P, "sampling"),
        code=lambda w: METHODS[w.method].code(),
    message:
        "Sample {params.number} with {wildcards.method}, {wildcards.arm} {wildcards.fold}, from number {params.first}"
    shell:
        "pig sample {wildcards.method} --cfg {params.cfg:q} --threads {threads} --models {input.models}"
        " {params.masks} --first {params.first} --count {params.number} --out {output.samples}"
        " --report {output.report} --state {params.state} 2>&1 | tee {log}"


if SHARDED:

    rule merge:
        input:
            lambda w: shards(w.method, w.arm, w.fold, "zip"),
        output:
            "<run>/{arm}{fold}/{method}.zip",
        log:
            "<log>/{arm}{fold}/{method}.log",
        priority: 40
        threads: 1
        resources:
            gpu=0,
            mem_mb=8000,
            runtime="30m",
        params:
            code=code_hash("cli.verbs.merge"),
        message:
            "Join the samples of {wildcards.method}, {wildcards.arm} {wildcards.fold}"
        shell:
            "pig merge {input} --out {output} 2>&1 | tee {log}"


rule progression:
    input:
        expand("<run>/fold0/{net}.safetensors", net=METHODS["pig"].nets),
    output:
        "<run>/progression.npz",
    log:
        "<log>/progression.log",
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=8000,
        runtime="4h",
    params:
        cfg=to_json(P, "sampling", "figures"),
        code=METHODS["pig"].code("progression"),
    message:
        "The steps of Figure 3"
    shell:
        "pig progression --cfg {params.cfg:q} --threads {threads} --models {input} --out {output} 2>&1 | tee {log}"
