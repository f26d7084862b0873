# The report, what is tidied at the end of a run, and what is said when something failed.


rule report:
    # Everything, for people and for programs. One job, named `report`.
    input:
        unpack(inputs_of("report")),
    output:
        json=report(
            f"{R}/report/transform_pipeline_report.json",
            caption="../report/pipeline.rst",
            category="Totals",
        ),
        jobs=report(
            f"{R}/report/jobs.tsv",
            caption="../report/jobs.rst",
            category="Jobs",
        ),
        html=report(
            f"{R}/report/index.html",
            caption="../report/index.rst",
            category="Totals",
        ),
        record=f"{RECORDS}/report/report.json",
    log:
        f"{R}/logs/report/report.log",
    benchmark:
        f"{R}/benchmarks/report/report.tsv"
    threads: threads_of("report")
    resources:
        mem_mb=mem_mb_of("report"),
        runtime=runtime_of("report"),
        disk_mb=disk_mb_of("report"),
    params:
        command=command_of("report"),
        record=record_of("report"),
    shell:
        RUN


onerror:
    # The report says what failed; the jobs that did not are complete.
    report = jobtable.command_line(PLAN.job("report", "report"))
    with_path = f"export PATH={shlex.quote(str(BIN_DIR))}:$PATH; {report}"
    written = subprocess.run(["bash", "-c", with_path])
    which = f"; {R}/report/index.html says which" if written.returncode == 0 else ""
    for line in PLAN.failures():
        print(f"halocline: {line}", file=sys.stderr)
    print(
        f"halocline: some jobs failed{which}. The same command goes on from here.",
        file=sys.stderr,
    )
    PLAN.release_leftovers(BIN_DIR)


onsuccess:
    PLAN.release_leftovers(BIN_DIR)
