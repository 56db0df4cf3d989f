# Networks are trained inside each fold; those of the arm "leak" on every patient. A killed job goes on from its file in
# scratch, which no rule declares: Snakemake deletes the declared outputs of a job that failed. With --set-resources
# train:gpu=3 three GPUs, a process each, share every batch. The weights are the same but for rounding, and another
# number of GPUs reruns nothing: the shell command takes it, not a parameter.
rule train:
    input:
        pairs="<pairs>",
        split="<run>/split.csv",
        models=lambda w: expand(
            "<run>/{arm}{fold}/{net}.safetensors", arm=w.arm, fold=w.fold, net=NETS[w.net].needs
        ),
        initial=lambda w: (w.net == "guided" and P.guided.initial_weights) or [],
    output:
        net="<run>/{arm}{fold}/{net}.safetensors",
        curve="<run>/{arm}{fold}/{net}.csv",
    log:
        "<log>/{arm}{fold}/{net}.log",
    benchmark:
        "<log>/{arm}{fold}/{net}.tsv"
    priority: lambda w: 60 if any(w.net in net.needs for net in NETS.values()) else 50  # longest chains first
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=16000,
        runtime="3d",
    params:
        state=f"{SCRATCH}/{{arm}}{{fold}}/{{net}}.pt",
        cfg=lambda w: to_json(LEAKING if w.arm == "leak" else P, *Shared.model_fields, *NETS[w.net].sections),
        code=lambda w: NETS[w.net].code(),
    message:
        "Train the {wildcards.net} of {wildcards.arm} {wildcards.fold}"
    shell:
        "$([ {resources.gpu} -gt 1 ] && echo torchrun --standalone --nproc-per-node {resources.gpu} -m pig || echo pig)"
        " train {wildcards.net} --cfg {params.cfg:q} --threads {threads} --pairs {input.pairs} --split {input.split}"
        " --fold {wildcards.fold} --models {input.models} --out {output.net} --curve {output.curve}"
        " --state {params.state} 2>&1 | tee {log}"
