//! `halo-drive` with stand-ins for the other binaries: order, selection and limits here; what is done again, shard tables
//! that are no longer needed, failures and signals, estimates beside it.

#![expect(clippy::unwrap_used, reason = "test code")]

mod estimates;
mod failures;
mod resume;
mod shard_tables;

use halocline_tests::stand_ins::{Bench, JOBS, PRODUCT};
use std::path::Path;
use std::time::Duration;

/// A pipeline of its own, with the halo-drive of this build.
fn bench() -> Bench {
    Bench::new(Path::new(env!("CARGO_BIN_EXE_halo-drive")))
}

#[test]
fn everything_runs_once_and_then_there_is_nothing_to_do() {
    let bench = bench();
    let text = bench.expect(0, "run --cores 4");
    assert!(text.contains("complete: 45 results"), "{text}");
    assert_eq!(bench.calls().len(), JOBS);
    let text = bench.expect(0, "run");
    assert!(
        text.contains("nothing to do: all 45 results are complete"),
        "{text}"
    );
    assert!(bench.calls().is_empty());
    assert!(bench.expect(0, "status").contains("not running"));
    // Touched files redo nothing, and neither does another cut of the work.
    let later = std::time::SystemTime::now() + Duration::from_secs(100);
    for file in ["data/np_700.tsv", "results/library/lipid-1X/SUMMARY.json"] {
        std::fs::File::options()
            .append(true)
            .open(bench.path(file))
            .unwrap()
            .set_modified(later)
            .unwrap();
    }
    bench.edit("pipeline.yaml", "  shards: 1 ", "  shards: 3 ");
    assert!(bench.expect(0, "run").contains("nothing to do"));
}

#[test]
fn command_lines_are_those_of_the_plan() {
    let bench = bench();
    bench.expect(0, "run");
    let plan = bench.json("plan");
    let mut planned: Vec<String> = plan["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|j| {
            j["command"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a.as_str().unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    planned.sort();
    assert_eq!(bench.calls(), planned);
    assert_eq!(plan["rdkit_version"], "1.0");
    assert!(
        bench
            .expect(0, "plan --format table")
            .contains("21 product tables")
    );
}

#[test]
fn only_and_until_select() {
    let bench = bench();
    bench.expect(0, "run --only lipid-1X/*COCl --until merge");
    let calls = bench.calls();
    assert_eq!(calls.len(), 6, "{calls:?}"); // split, halogenate, merge, split, transform, merge
    bench.expect(0, "run --only lipid/*COCl");
    assert_eq!(bench.calls().len(), 1);
    bench.expect(0, "run --until merge_library");
    assert_eq!(bench.calls().len(), 2);
    let text = bench.expect(2, "run --only nothing");
    assert!(
        text.contains("libraries are aa_peptide-1X, lipid-1X"),
        "{text}"
    );
    assert!(
        bench
            .expect(2, "run --until nowhere")
            .contains("is no step")
    );
}

#[test]
fn limits_that_cannot_hold_are_refused_first() {
    let bench = bench();
    let text = bench.expect(2, "run --memory 256MiB");
    assert!(
        text.contains("may use 512MiB, but all jobs together only 256MiB"),
        "{text}"
    );
    // What is not asked for need not fit.
    bench.edit(
        "pipeline.yaml",
        "merge: {memory: 512MiB",
        "merge: {memory: 3GiB",
    );
    bench.expect(0, "run --memory 1GiB --only lipid --until split_library");
    bench.expect(2, "run --memory 1GiB --only lipid");
    let text = bench.expect(2, "run --tmp-dir nowhere");
    assert!(
        text.contains("--tmp-dir `nowhere` is not a folder"),
        "{text}"
    );
    let text = bench.expect(0, "run --tmp-dir /dev/shm --only lipid --until halogenate");
    assert!(text.contains("nothing to do"), "{text}");
    assert!(text.contains("`/dev/shm` is a tmpfs"), "{text}");
    bench.remove("bin/halo-report");
    let text = bench.expect(2, "run");
    assert!(
        text.contains("halo-report not found") && text.contains("make build"),
        "{text}"
    );
    bench.remove("data/np_700.tsv");
    assert!(bench.expect(2, "plan").contains("data/np_700.tsv"));
    bench.edit("pipeline.yaml", "results: results", "result: results");
    assert!(
        bench
            .expect(2, "status")
            .contains("configs/pipeline.yaml:15:1: unknown field `result`")
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_runs() {
    let bench = bench();
    let text = bench.expect(1, "status");
    assert!(
        text.contains("not started") && !text.contains("broken"),
        "{text}"
    );
    let text = bench.expect(2, "run --only lipid/nope");
    assert!(
        text.contains("hint: rules there are FG_") && !text.contains("libraries"),
        "{text}"
    );
    let text = bench.expect(2, "run --only nope/nope");
    assert!(text.contains("hint: libraries are"), "{text}");
    let text = bench.expect(2, "run --only lipid --until report");
    assert!(text.contains("the report is of the whole"), "{text}");
    bench.set("data/np_700.tsv", "id\tsmiles\tklass\n");
    for command in ["plan", "run"] {
        let text = bench.expect(2, command);
        assert!(
            text.contains("no column `class` (input.class_column in `configs/pipeline.yaml`)")
                && text.contains("id, smiles, klass"),
            "{text}"
        );
    }
    assert!(bench.calls().is_empty());
}

#[test]
fn every_help_text_has_an_example() {
    let bench = bench();
    assert!(bench.expect(0, "--version").starts_with("halo-drive 0."));
    for command in ["", "plan", "run", "status", "record", "release"] {
        let text = bench.expect(0, &format!("{command} --help"));
        assert!(
            text.contains("Example") && text.contains("halo-drive "),
            "{text}"
        );
    }
}

/// What a complete report says of a product is not true any more once the product is lost and cannot be made again.
#[test]
fn the_report_of_a_run_that_failed_is_written_again() {
    let bench = bench();
    bench.expect(0, "run");
    bench.remove(PRODUCT);
    bench.set("fail", "halo-dedup-merge*lipid*COCl 1\n");
    let report = || {
        let calls = bench.calls();
        calls
            .iter()
            .filter(|c| c.starts_with("halo-report"))
            .count()
    };
    report();
    bench.expect(1, "run");
    assert_eq!(report(), 1);
    bench.expect(1, "run --only lipid");
    assert_eq!(report(), 0, "it is not asked for");
    bench.remove("fail");
    bench.expect(0, "run");
    assert_eq!(report(), 1);
    bench.expect(0, "run");
    assert_eq!(report(), 0);
}

#[test]
fn a_results_folder_on_a_disk_that_is_away_is_named() {
    let bench = bench();
    std::os::unix::fs::symlink("/nonexistent/disk", bench.path("results")).unwrap();
    let text = bench.expect(2, "run");
    assert!(
        text.contains("`results` is a link to `/nonexistent/disk`, which is not there"),
        "{text}"
    );
}
