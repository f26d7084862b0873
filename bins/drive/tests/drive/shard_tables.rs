//! Shard tables go when nobody needs them any more, and are not missed.

use crate::bench;
use halocline_tests::stand_ins::{Bench, PRODUCT, said};
use std::path::PathBuf;

#[test]
fn shards_go_when_their_products_are_validated_and_nothing_becomes_stale() {
    let bench = bench();
    bench.edit("pipeline.yaml", "  shards: 1 ", "  shards: 3 ");
    bench.expect(0, "run --until merge");
    bench.calls();
    // 21 rules in 3 shards each; the shards of the libraries went with their merges
    assert_eq!(bench.shard_tables().len(), 3 * 21);
    bench.set("fail", "halo-validate*COCl 1\n");
    bench.expect(1, "run");
    assert_eq!(
        bench.shard_tables().len(),
        3 * 2,
        "{:?}",
        bench.shard_tables()
    );
    bench.remove("fail");
    bench.calls();
    bench.expect(0, "run");
    // what is gone is not missed
    assert_eq!(bench.calls().len(), 2 + 1);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
    assert!(bench.expect(0, "run").contains("nothing to do"));
    bench.expect(0, "status");
    let plan = bench.json("plan --settle");
    for job in plan["jobs"].as_array().unwrap() {
        assert_eq!(
            (&job["complete"], &job["runs"]),
            (&true.into(), &false.into()),
            "{job}"
        );
    }

    // A product that is needed again brings its batches back, and what they made beside it goes again.
    bench.remove(PRODUCT);
    let text = bench.expect(0, "run --dry-run");
    assert!(
        text.contains("FG_CARBOXYL__COOH__TO__COCl.parquet` is gone"),
        "{text}"
    );
    bench.expect(0, "run");
    assert_eq!(bench.calls().len(), 3 + 1);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
}

/// A run in which one merge fails, which leaves the tables that it reads and no others; then what a run without that calls.
fn calls_after_a_failed_merge(bench: &Bench) -> Vec<String> {
    bench.set("fail", "halo-dedup-merge*lipid*COCl 1\n");
    bench.expect(1, "run");
    let left = bench.shard_tables();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].ends_with("shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet"));
    bench.remove("fail");
    bench.calls();
    bench.expect(0, "run");
    bench.calls()
}

#[test]
fn one_failed_merge_keeps_its_shards_and_no_others() {
    let bench = bench();
    let calls = calls_after_a_failed_merge(&bench);
    assert_eq!(
        calls.len(),
        3,
        "the batch is complete, other tables of it gone or not: {calls:?}"
    );
}

/// The validation of a product is complete while its product is lost: what brings it back stays until it is back.
#[test]
fn what_a_merge_has_still_to_read_stays() {
    let bench = bench();
    bench.expect(0, "run");
    bench.remove(PRODUCT);
    let calls = calls_after_a_failed_merge(&bench);
    // (The report of the failure is not the last one.)
    assert_eq!(calls.len(), 2, "the merge and the report: {calls:?}");
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
}

#[test]
fn kept_intermediates_stay_until_they_are_not_to_be_kept() {
    let bench = bench();
    for by_run in [true, false] {
        bench.keep_intermediates(true);
        let _ = std::fs::remove_dir_all(bench.path("results"));
        bench.expect(0, "run");
        assert_eq!(release(&bench), "");
        assert_eq!(bench.shard_tables().len(), 2 + 21);
        bench.keep_intermediates(false);
        bench.expect(0, "run --dry-run");
        assert_eq!(bench.shard_tables().len(), 2 + 21);
        if by_run {
            assert!(bench.expect(0, "run").contains("nothing to do"));
        } else {
            assert_eq!(release(&bench), "");
        }
        assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
    }
}

/// `halo-drive release`, told what the plan says, and what it says.
fn release(bench: &Bench) -> String {
    take_tickets(bench);
    release_told(bench, "release", 0)
}

fn take_tickets(bench: &Bench) {
    let plan = bench.json("plan --settle");
    let jobs = plan["jobs"].as_array().unwrap().iter();
    let tickets: Vec<&str> = jobs.filter_map(|job| job["release"].as_str()).collect();
    bench.set("tickets", &tickets.join("\n"));
}

fn release_told(bench: &Bench, command: &str, code: i32) -> String {
    let stdin = std::fs::File::open(bench.path("tickets")).unwrap();
    said(bench.drive(command).stdin(stdin), code)
}

/// Another engine has the tables removed at the end of each of its runs, also of one that failed; not what is still read,
/// and, unless it holds the lock, not while a run is at work.
#[test]
fn what_is_still_read_is_not_released() {
    let bench = bench();
    bench.keep_intermediates(true);
    bench.expect(0, "run");
    bench.keep_intermediates(false);
    bench.remove(PRODUCT);
    assert_eq!(release(&bench), "");
    let left = bench.shard_tables();
    assert_eq!(left.len(), 1, "its validation is complete: {left:?}");
    assert!(left[0].ends_with("shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet"));

    // What was made again beside a table that was lost, while a run is at work.
    bench.keep_intermediates(true);
    bench.expect(0, "run");
    bench.keep_intermediates(false);
    bench.remove("results/report/index.html");
    bench.set("slow", "60");
    take_tickets(&bench);
    bench.calls();
    let mut run = bench.spawn("run");
    bench.wait_for_calls(1);
    let text = release_told(&bench, "release", 2);
    assert!(text.contains("another run is at work"), "{text}");
    assert_eq!(bench.shard_tables().len(), 1);
    assert_eq!(release_told(&bench, "release --locked", 0), "");
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn damage_of_equal_size_is_found_and_mended_when_asked_for() {
    let bench = bench();
    bench.expect(0, "run --until transform");
    let shard = "results/work/transforms/lipid-1X/1x1/batch-0000/shard-00000";
    bench.set(
        &format!("{shard}/FG_CARBOXYL__COOH__TO__COCl.parquet"),
        "tabel\n",
    );
    for _ in 0..2 {
        let text = bench.expect(1, "run");
        assert!(text.contains("COCl.parquet is damaged"), "{text}");
        assert!(
            text.contains("hint: the same command runs them again")
                && text.contains("with --checksums"),
            "{text}"
        );
    }
    let text = bench.expect(1, "status --checksums --jobs");
    assert!(
        text.contains("COCl.parquet` has other bytes than its manifest says"),
        "{text}"
    );
    bench.calls();
    let text = bench.expect(0, "run --checksums");
    assert!(text.contains("complete: 45 results"), "{text}");
    let calls = bench.calls();
    assert_eq!(calls.len(), 4, "{calls:?}"); // batch, merge, validation, report
    assert!(bench.expect(0, "run --checksums").contains("nothing to do"));
}

/// A rule's table is its name and `.parquet`, also when the name ends so.
#[test]
fn rules_called_like_files_are_rules_like_any_other() {
    let bench = bench();
    let before = "name: FG_CARBOXYL__COOH__TO__COCl\n";
    let after = "name: FG_CARBOXYL__COOH__TO__COCl.parquet\n";
    bench.edit("transforms.yaml", before, after);
    bench.expect(0, "run");
    assert!(bench.expect(0, "run").contains("nothing to do"));
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
    bench.edit("transforms.yaml", after, "name: rejects\n");
    let text = bench.expect(2, "plan");
    assert!(
        text.contains("rule `rejects` of class `lipid`") && text.contains("another name"),
        "{text}"
    );
}
