//! Jobs that fail, or seem to: what is said of them, what stays, and what is done all the same.

use crate::{bench, counts, run_all, would_run};
use halocline_tests::run;
use halocline_tests::stand_ins::{JOBS, PRODUCT, said};
use std::collections::BTreeMap;

#[test]
fn a_failure_is_reported_and_the_rest_is_done() {
    let bench = bench();
    let fail = "merge*lipid*COCl 2\nvalidate*aa_peptide*ALIPH__NH2__TO__NHMe kill\n";
    std::fs::write(bench.path("fail"), fail).unwrap();
    let text = said(&mut bench.snakemake(&["--cores", "4"]), 1);
    assert!(
        text.contains("halo-dedup-merge: error: told to fail"),
        "{text}"
    );
    assert!(
        text.contains("results/report/index.html says which"),
        "{text}"
    );
    for line in [
        "halocline: failed: merge/lipid-1X_FG_CARBOXYL__COOH__TO__COCl: halo-dedup-merge: error: told to fail; log: results/logs/merge/",
        "halocline: failed: validate/aa_peptide-1X_FG_AMINE_ALIPH__NH2__TO__NHMe: halocline: halo-validate-parquet: killed by signal 9: by somebody",
        "halocline: not done because of that: 2 jobs",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(bench.path("results/report/index.html").exists());
    std::fs::remove_file(bench.path("fail")).unwrap();
    let calls = [
        ("halo-dedup-merge", 1),
        ("halo-validate-parquet", 2),
        ("halo-report", 1),
    ];
    assert_eq!(run_all(&bench), counts(calls));
    // Snakemake's own report has ours in it.
    run(&mut bench.snakemake(&["--report", "report.html"]));
    assert!(std::fs::metadata(bench.path("report.html")).unwrap().len() > 10_000);
}

/// The verdict says what is wrong with a table, and the report shows it: neither goes because its job failed.
#[test]
fn what_a_failed_job_has_written_stays() {
    let bench = bench();
    bench.set("fail", "halo-validate-parquet*lipid*COCl 1\n");
    said(&mut bench.snakemake(&["--cores", "4"]), 1);
    let folder = bench.path("results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl");
    let files = || {
        let names = fs_err::read_dir(&folder).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let left = files();
    assert!(left.contains(&"validation.json".into()), "{left:?}");
    // As under the other engine.
    said(&mut bench.drive("run --cores 4 --retries 0"), 1);
    assert_eq!(files(), left);
    bench.remove("fail");
    bench.calls();
    let rest = counts([("halo-validate-parquet", 1), ("halo-report", 1)]);
    assert_eq!(run_all(&bench), rest);
    assert_eq!(files(), left);
}

/// Snakemake compares no digests; it says who does.
#[test]
fn damage_of_equal_size_is_not_there_for_good() {
    let bench = bench();
    run(&mut bench.snakemake(&["--cores", "4", "--until", "transform"]));
    let shard = "results/work/transforms/lipid-1X/1x1/batch-0000/shard-00000";
    let table = format!("{shard}/FG_CARBOXYL__COOH__TO__COCl.parquet");
    bench.set(&table, "tabel\n");
    let text = said(&mut bench.snakemake(&["--cores", "4"]), 1);
    let (drive, args) = (
        "halo-drive",
        "run --config configs/pipeline.yaml --checksums",
    );
    let hint = format!(
        "halocline: a job that failed may have read what was damaged since it was made; `{drive} {args}` "
    );
    assert!(text.contains(&hint), "{text}");
    run(&mut bench.drive(args));
    assert_eq!(would_run(&bench), BTreeMap::new());
}

/// Snakemake did not live to note the end of jobs that are complete: the rest is made, and only the rest.
#[test]
fn jobs_that_ended_without_snakemake_are_complete() {
    let bench = bench();
    bench.set("fail", "halo-transform-shard 1\n");
    said(&mut bench.snakemake(&["--cores", "2"]), 1);
    bench.remove("fail");
    // What it noted of the jobs that ended well, as it is while they run.
    let incomplete = bench.path(".snakemake/incomplete");
    let mut marks = 0;
    for file in std::fs::read_dir(bench.path(".snakemake/metadata")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), incomplete.join(file.file_name())).unwrap();
        marks += 1;
    }
    assert!(marks > 0);
    // All but the split of the input.
    assert_eq!(run_all(&bench).values().sum::<usize>(), JOBS - 1);
    run(&mut bench.drive("status"));
}

/// Clocks of other machines, a clock that was put back, files from elsewhere: no time stamp fails a job.
#[test]
fn files_from_the_future_fail_nothing() {
    let bench = bench();
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    for name in [
        "data/np_700.tsv",
        "configs/halogens.yaml",
        "configs/transforms.yaml",
    ] {
        bench.date(name, tomorrow);
    }
    assert_eq!(run_all(&bench).values().sum::<usize>(), JOBS);
    // Nor is a job blamed for a log of that day.
    let log = "results/logs/merge/lipid-1X_FG_CARBOXYL__COOH__TO__COCl.log";
    bench.date(log, tomorrow);
    bench.remove(PRODUCT);
    bench.set("fail", "halo-transform-shard*lipid* 1\n");
    let text = said(&mut bench.snakemake(&["--cores", "4"]), 1);
    assert!(
        text.contains("halocline: failed: transform/lipid-1X/"),
        "{text}"
    );
    assert!(!text.contains("halocline: failed: merge/"), "{text}");
}
