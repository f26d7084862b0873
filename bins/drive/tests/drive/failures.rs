//! Jobs that fail, runs that are stopped, and a second run beside the first.

use crate::bench;
use halocline_tests::stand_ins::JOBS;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

fn signal(child: &Child, signal: &str) {
    assert!(
        Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn failures_are_retried_then_left_and_the_rest_is_done() {
    let bench = bench();
    bench.set(
        "fail",
        "--out-dir*plans/lipid 2\n--out-dir*transforms/aa_peptide-1X*batch kill\n",
    );
    let text = bench.expect(1, "run --retries 1 --cores 4");
    assert!(
        text.contains(
            "split_library/lipid-1X: exit 2: halo-split: error: told to fail; again in 1.0 s"
        ),
        "{text}"
    );
    assert!(text.contains("killed by signal 9"), "{text}");
    assert!(text.contains("blocked  13 jobs that need split_library/lipid-1X: transform/lipid-1X/1x1/batch-0000, merge/"), "{text}");
    let calls = bench.calls();
    let count = |part: &str| calls.iter().filter(|c| c.contains(part)).count();
    assert_eq!(count("--out-dir results/work/plans/lipid"), 2);
    assert_eq!(count("--out-dir results/work/transforms/aa_peptide"), 2);
    assert_eq!(count("halo-report"), 1, "the report says what failed");
    bench.remove("fail");
    let text = bench.expect(0, "run --cores 4");
    assert!(text.contains("complete: 45 results"), "{text}");
}

#[test]
fn broken_data_is_not_retried_and_is_said() {
    let bench = bench();
    bench.set("fail", "halo-validate*COCl 1\n");
    let text = bench.expect(1, "run --only lipid");
    assert!(
        text.contains("failed   validate/lipid-1X_FG_CARBOXYL__COOH__TO__COCl: exit 1"),
        "{text}"
    );
    assert!(text.contains("1 of "), "{text}");
    let calls = bench.calls();
    assert_eq!(
        calls
            .iter()
            .filter(|c| c.contains("validate") && c.contains("COCl"))
            .count(),
        1
    );
}

/// A damaged file is found by what reads it, as a broken contract (1) or as something that cannot be read (2).
#[test]
fn what_read_the_files_of_others_may_have_read_damage() {
    let bench = bench();
    let hint = "; with --checksums also those whose outputs were damaged since, which may be why a job failed";
    let said = |fail: &str| {
        bench.set("fail", fail);
        let text = bench.expect(1, "run --retries 0 --cores 4");
        assert!(
            text.contains("hint: the same command runs them again, and only them"),
            "{text}"
        );
        text.contains(hint)
    };
    // It reads what nobody here has made.
    assert!(!said("halo-split*data/np_700.tsv 2\n"));
    // Killed, it has said nothing of what it read.
    assert!(!said("halo-dedup-merge*library/lipid kill\n"));
    assert!(said("halo-dedup-merge*library/lipid 2\n"));
    assert!(said("halo-dedup-merge*library/lipid 1\n"));
    assert!(said("halo-transform-shard*transforms/lipid 2\n"));
    bench.remove("fail");
    bench.expect(0, "run --cores 4");
}

#[test]
fn a_record_that_cannot_be_removed_costs_its_job_and_no_other() {
    let bench = bench();
    // A folder in its place: it is no record, and no file that can be removed.
    let record = bench.path("results/work/jobs/split_library/lipid-1X.json");
    std::fs::create_dir_all(record.join("x")).unwrap();
    let text = bench.expect(2, "run --retries 0 --cores 4");
    assert!(
        text.contains("split_library/lipid-1X: cannot remove `"),
        "{text}"
    );
    assert!(text.contains("blocked"), "{text}");
    let calls = bench.calls();
    let count = |part: &str| calls.iter().filter(|c| c.contains(part)).count();
    assert_eq!(count("plans/lipid"), 0);
    assert_eq!(count("halo-report"), 1, "the rest was done");
    // It was set aside with the records that do not hold.
    std::fs::remove_dir_all(record.with_extension("json.aside")).unwrap();
    let text = bench.expect(0, "run --cores 4");
    assert!(text.contains("complete: 45 results"), "{text}");
    let again = bench.calls();
    assert!(again.iter().all(|c| !c.contains("aa_peptide")), "{again:?}");
}

#[test]
fn stop_on_error_starts_nothing_new() {
    let bench = bench();
    bench.set("fail", "halo-split 2\n");
    let text = bench.expect(1, "run --retries 0 --stop-on-error");
    assert_eq!(bench.calls().len(), 1, "{text}");
}

#[test]
fn a_second_run_is_refused_while_the_first_lives() {
    let bench = bench();
    bench.set("slow", "1");
    let mut first = bench.spawn("run");
    bench.wait_for_calls(1);
    let text = bench.expect(2, "run");
    assert!(text.contains(&format!("process {}", first.id())), "{text}");
    let text = bench.expect(1, "status --jobs");
    assert!(
        text.contains(&format!("running: process {}", first.id())),
        "{text}"
    );
    assert!(text.contains("running  split_input/input for"), "{text}");
    // What runs is counted and listed as that, and as nothing else.
    let counts = text
        .lines()
        .find(|l| l.starts_with("split_input "))
        .unwrap();
    let counts: Vec<&str> = counts.split_whitespace().skip(1).collect();
    assert_eq!(counts, ["1", "0", "1", "0", "0", "0"], "{text}");
    assert_eq!(text.matches("split_input/input").count(), 1, "{text}");
    assert!(
        text.contains(&format!("{JOBS} of {JOBS} jobs are not complete")),
        "{text}"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    bench.remove("slow");
    bench.expect(0, "run");
}

#[test]
fn signals_stop_the_children_and_leave_a_state_to_resume() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let bench = bench();
        bench.set("slow", "0.2");
        let child = bench.spawn("run --cores 3");
        bench.wait_for_calls(4);
        bench.set("slow", "30");
        // whatever was running ends, and what starts now does not
        std::thread::sleep(Duration::from_millis(700));
        let start = Instant::now();
        signal(&child, name);
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(code), "{text}");
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "took {:?}",
            start.elapsed()
        );
        assert!(
            text.contains("the same command goes on from here"),
            "{text}"
        );
        bench.remove("slow");
        let before = bench.calls().len();
        bench.expect(0, "run --cores 3");
        let after = bench.calls().len();
        assert!(
            after < JOBS,
            "what was complete was done again: {before} and {after} calls"
        );
    }
}

#[test]
fn a_process_whose_parent_is_dead_but_not_waited_for_does_not_start() {
    let bench = bench();
    let mut dead = Command::new("true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", dead.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let start = |parent: u32| {
        let mut command = bench.drive("--version");
        command.env("HALOCLINE_PARENT", parent.to_string());
        command.output().unwrap().status.code()
    };
    assert_eq!(start(dead.id()), Some(143));
    dead.wait().unwrap();
    assert_eq!(start(dead.id()), Some(143));
    assert_eq!(start(std::process::id()), Some(0));
    assert_eq!(start(1), Some(0), "some other process that lives");
}
