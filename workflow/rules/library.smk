# From the input table to one halogenated library per class and depth.


rule split_input:
    # The input table to one library per class, with shards of equal cost. One job, named `input`.
    input:
        unpack(inputs_of("split_input")),
    output:
        libraries=[f"{R}/work/input/{c}/library.parquet" for c in CLASSES_TO_MAKE],
        plans=[f"{R}/work/input/{c}/plan.json" for c in CLASSES_TO_MAKE],
        record=f"{RECORDS}/split_input/input.json",
    log:
        f"{R}/logs/split_input/input.log",
    benchmark:
        f"{R}/benchmarks/split_input/input.tsv"
    threads: threads_of("split_input")
    resources:
        mem_mb=mem_mb_of("split_input"),
        runtime=runtime_of("split_input"),
        disk_mb=disk_mb_of("split_input"),
    params:
        command=command_of("split_input"),
        record=record_of("split_input"),
    shell:
        RUN


rule halogenate:
    # One batch of shards of one class, substituted to one depth. A batch that died resumes at its first missing shard.
    input:
        unpack(inputs_of("halogenate")),
    output:
        manifest=f"{R}/work/library/{{name}}/manifest.json",
        record=f"{RECORDS}/halogenate/{{name}}.json",
    log:
        f"{R}/logs/halogenate/{{name}}.log",
    benchmark:
        f"{R}/benchmarks/halogenate/{{name}}.tsv"
    threads: threads_of("halogenate")
    resources:
        mem_mb=mem_mb_of("halogenate"),
        runtime=runtime_of("halogenate"),
        disk_mb=disk_mb_of("halogenate"),
    params:
        command=command_of("halogenate"),
        record=record_of("halogenate"),
    shell:
        RUN


rule merge_library:
    # The shards of one class and depth to one deduplicated library.
    input:
        unpack(inputs_of("merge_library")),
    output:
        products=f"{R}/library/{{name}}/products.parquet",
        stats=f"{R}/library/{{name}}/products.parquet.stats.json",
        summary=f"{R}/library/{{name}}/SUMMARY.json",
        record=f"{RECORDS}/merge_library/{{name}}.json",
    log:
        f"{R}/logs/merge_library/{{name}}.log",
    benchmark:
        f"{R}/benchmarks/merge_library/{{name}}.tsv"
    threads: threads_of("merge_library")
    resources:
        mem_mb=mem_mb_of("merge_library"),
        runtime=runtime_of("merge_library"),
        disk_mb=disk_mb_of("merge_library"),
    params:
        command=command_of("merge_library"),
        record=record_of("merge_library"),
    shell:
        RUN
