# From a library to one deduplicated, validated product table per rule.


rule split_library:
    # A library to shards of equal cost, as row ranges; nothing is copied.
    input:
        unpack(inputs_of("split_library")),
    output:
        plan=f"{R}/work/plans/{{name}}/plan.json",
        record=f"{RECORDS}/split_library/{{name}}.json",
    log:
        f"{R}/logs/split_library/{{name}}.log",
    benchmark:
        f"{R}/benchmarks/split_library/{{name}}.tsv"
    threads: threads_of("split_library")
    resources:
        mem_mb=mem_mb_of("split_library"),
        runtime=runtime_of("split_library"),
        disk_mb=disk_mb_of("split_library"),
    params:
        command=command_of("split_library"),
        record=record_of("split_library"),
    shell:
        RUN


rule transform:
    # One batch of shards of one library: every molecule is parsed once for all rules in scope.
    input:
        unpack(inputs_of("transform")),
    output:
        manifest=f"{R}/work/transforms/{{name}}/manifest.json",
        record=f"{RECORDS}/transform/{{name}}.json",
    log:
        f"{R}/logs/transform/{{name}}.log",
    benchmark:
        f"{R}/benchmarks/transform/{{name}}.tsv"
    threads: threads_of("transform")
    resources:
        mem_mb=mem_mb_of("transform"),
        runtime=runtime_of("transform"),
        disk_mb=disk_mb_of("transform"),
    params:
        command=command_of("transform"),
        record=record_of("transform"),
    shell:
        RUN


rule merge:
    # The shards of one library and rule to one product table: exact, the first of equal products wins.
    input:
        unpack(inputs_of("merge")),
    output:
        products=f"{R}/transforms/{{name}}/products.parquet",
        stats=f"{R}/transforms/{{name}}/products.parquet.stats.json",
        summary=f"{R}/transforms/{{name}}/SUMMARY.json",
        record=f"{RECORDS}/merge/{{name}}.json",
    log:
        f"{R}/logs/merge/{{name}}.log",
    benchmark:
        f"{R}/benchmarks/merge/{{name}}.tsv"
    threads: threads_of("merge")
    resources:
        mem_mb=mem_mb_of("merge"),
        runtime=runtime_of("merge"),
        disk_mb=disk_mb_of("merge"),
    params:
        command=command_of("merge"),
        record=record_of("merge"),
    shell:
        RUN


rule validate:
    # One product table against its promises; a broken one fails the job and says why in the log.
    input:
        unpack(inputs_of("validate")),
    output:
        verdict=f"{R}/transforms/{{name}}/validation.json",
        record=f"{RECORDS}/validate/{{name}}.json",
    log:
        f"{R}/logs/validate/{{name}}.log",
    benchmark:
        f"{R}/benchmarks/validate/{{name}}.tsv"
    threads: threads_of("validate")
    resources:
        mem_mb=mem_mb_of("validate"),
        runtime=runtime_of("validate"),
        disk_mb=disk_mb_of("validate"),
    params:
        command=command_of("validate"),
        record=record_of("validate"),
    shell:
        RUN
