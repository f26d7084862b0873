//! Molecules that kill or hang RDKit cost their row, not the shard. The killers are real: RDKit finds rings by recursion,
//! so that a ring of 100,000 atoms overflows the stack; its CIP ranks take minutes for a chain of 5,000.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

#[macro_use]
mod common;

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use common::*;

/// What lets a killer pass.
fn long() -> [OsString; 2] {
    args!["--max-smiles-bytes", "200000"]
}

fn killer() -> String {
    format!("C1{}C1", "C".repeat(99_998))
}

fn hanger() -> String {
    format!("{}O", "C".repeat(5_000))
}

fn args_of(input: &Path, out: &Path, threads: &str) -> Vec<OsString> {
    let mut args = polyphenols(input, out);
    args.extend(args!["--threads", threads, "--memory-limit", "256MiB"]);
    args.extend(args!["--row-timeout", "1"]);
    args.extend(long());
    args
}

#[test]
fn rows_that_kill_or_hang_are_rejected_and_the_shard_completes() {
    let dir = tempfile::tempdir().unwrap();
    let good = of_class("polyphenol", 60);
    let mut rows = good.clone();
    // One batch with two killers and a hanger beside each other, and one more at the end.
    rows[10] = killer();
    rows[11] = hanger();
    rows[12] = killer();
    rows[59] = killer();
    let (clean, input) = (
        dir.path().join("clean.parquet"),
        dir.path().join("l.parquet"),
    );
    library(&input, &rows);
    let nulls: Vec<Option<&str>> = good
        .iter()
        .enumerate()
        .map(|(i, s)| (![10, 11, 12, 59].contains(&i)).then_some(s.as_str()))
        .collect();
    library_with_nulls(&clean, &nulls);
    let expected = dir.path().join("expected");
    done(&args_of(&clean, &expected, "2"));

    for threads in ["1", "3"] {
        let out = dir.path().join(threads);
        done(&args_of(&input, &out, threads));
        let found = rejects(&out);
        let said: Vec<_> = found
            .iter()
            .map(|r| (r.row, r.stage.as_str(), r.rule.as_deref()))
            .collect();
        assert_eq!(
            said,
            [
                (10, "crash", None),
                (11, "limit", None),
                (12, "crash", None),
                (59, "crash", None)
            ]
        );
        assert_eq!(found[0].smiles.as_deref(), Some(rows[10].as_str()));
        assert!(found[0].reason.contains("SIG"), "{}", found[0].reason);
        assert!(
            found[1].reason.contains("--row-timeout"),
            "{}",
            found[1].reason
        );
        let shard = shard_sidecar(&out);
        assert_eq!((shard.rows_in, shard.rows_done), (60, 56));
        assert_eq!(
            (shard.rows_rejected["crash"], shard.rows_rejected["limit"]),
            (3, 1)
        );
        // What the others gave is what they give without the poison.
        for (name, digest) in tables(&expected) {
            if name != "rejects.parquet" {
                assert_eq!(
                    halocline_table::file_digest(&out.join(&name)).unwrap(),
                    digest,
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn a_row_past_the_product_budget_is_rejected_whole_and_the_shard_completes() {
    let dir = tempfile::tempdir().unwrap();
    // Three phenols, six, two: with a budget of three only the middle one is too many.
    let rows = [
        "Oc1cc(C)c(O)cc1O",
        "O=c1c(O)c(-c2cc(O)c(O)c(O)c2)oc2cc(O)cc(O)c12",
        "Oc1ccc(O)c(C)c1",
    ];
    let input = dir.path().join("l.parquet");
    library(&input, &rows);
    let run = |name: &str, budget: &str| {
        let out = dir.path().join(name);
        done(&job(
            &input,
            &transforms(),
            &out,
            &args!["--rule", OME, "--max-products", budget],
        ));
        out
    };
    let all = run("all", "1000");
    assert!(rejects(&all).is_empty());
    let made = |out: &Path, row: i64| {
        let products = products(&out.join(format!("{OME}.parquet")));
        products.iter().filter(|p| p.row == row).count()
    };
    assert!(made(&all, 1) > 3, "{}", made(&all, 1));
    let few = run("few", "3");
    let found = rejects(&few);
    assert_eq!(
        (found.len(), found[0].row, found[0].stage.as_str()),
        (1, 1, "limit")
    );
    assert_eq!(found[0].rule, None, "the whole molecule");
    assert!(
        found[0].reason.contains("--max-products"),
        "{}",
        found[0].reason
    );
    assert_eq!([0, 1, 2].map(|row| made(&few, row)), [3, 0, 2]);
    let shard = shard_sidecar(&few);
    assert_eq!((shard.rows_done, shard.rows_rejected["limit"]), (2, 1));
}

#[test]
fn a_text_that_no_molecule_has_is_rejected_unread_and_a_long_one_is_weighed() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    let long = |n: usize| format!("Oc1ccccc1{}", "C".repeat(n));
    library(
        &input,
        &["Oc1ccccc1".to_owned(), killer(), long(8_000_000), long(300)],
    );
    let out = dir.path().join("out");
    let mut args = args_of(&input, &out, "2");
    args.truncate(args.len() - self::long().len());
    done(&args);
    let found = rejects(&out);
    let said: Vec<_> = found
        .iter()
        .map(|r| (r.row, r.stage.as_str(), r.reason.as_str()))
        .collect();
    let reason = "more than 6000 bytes of SMILES (--max-smiles-bytes)";
    assert_eq!(said, [(1, "limit", reason), (2, "limit", reason)]);
    // 5,000 bytes are 75 MB.
    library(&input, &[long(4_991)]);
    let out = dir.path().join("weighed");
    let said = fails(&job(
        &input,
        &transforms(),
        &out,
        &args![
            "--rule",
            OME,
            "--memory-limit",
            "128MiB",
            "--row-timeout",
            "1"
        ],
    ));
    assert!(
        said.contains("row 0 has a SMILES so long that RDKit needs 71.5 MiB for it")
            && said.contains("would do"),
        "{said}"
    );
}

#[test]
fn many_killers_cost_a_sweep_not_a_pass_each() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = of_class("polyphenol", 100);
    for n in 0..12 {
        rows[n * 8] = killer();
    }
    let (input, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    library(&input, &rows);
    let output = output(&args_of(&input, &out, "2"));
    assert!(output.status.success());
    let found = rejects(&out);
    assert_eq!(found.len(), 12);
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(n, r)| r.row == n as i64 * 8 && r.stage == "crash")
    );
    let log = String::from_utf8_lossy(&output.stderr);
    let passes = log.matches("looking for the row that does it").count();
    assert!((1..=5).contains(&passes), "{passes} passes: {log}");
}

#[test]
fn a_batch_of_shards_completes_around_a_killer() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = of_class("polyphenol", 30);
    rows[15] = killer();
    let (input, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    library(&input, &rows);
    let plan_path = dir.path().join("plan.json");
    plan(&plan_path, &input, &[10, 20, 30]);
    done(&planned(
        &plan_path,
        &transforms(),
        &out,
        &args![
            "--shards",
            "0..3",
            "--rule",
            OME,
            "--max-smiles-bytes",
            "200000"
        ],
    ));
    assert!(out.join("manifest.json").is_file());
    let rows = rejects(&out.join("shard-00001"));
    assert_eq!(
        (rows.len(), rows[0].row, rows[0].stage.as_str()),
        (1, 15, "crash")
    );
    for other in ["shard-00000", "shard-00002"] {
        assert!(rejects(&out.join(other)).is_empty());
    }
}

#[test]
fn in_one_process_a_killer_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    library(&input, &["Oc1ccccc1".to_owned(), killer()]);
    let mut args = args_of(&input, &out, "2");
    args.push("--no-isolate".into());
    let output = output(&args);
    assert_eq!(output.status.code(), None, "ended by a signal");
    assert_eq!(
        std::fs::read_dir(&out).unwrap().count(),
        0,
        "nothing half-written"
    );
}

#[test]
fn explaining_a_killer_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    library(&input, &["Oc1ccccc1".to_owned(), killer(), hanger()]);
    for (row, word) in [
        (
            "1",
            "rejected whole at stage crash: RDKit ends the process on it: SIG",
        ),
        ("2", "rejected whole at stage limit: no end within 1 s"),
    ] {
        let said = done(&args![
            "--input",
            input,
            "--rules",
            transforms(),
            "--rule",
            OME,
            "--row",
            row,
            "--explain",
            "--row-timeout",
            "1",
            "--max-smiles-bytes",
            "200000"
        ]);
        assert!(said.contains(word), "{said}");
    }
    // And as a case, which holds what a run over the table says.
    let case = dir.path().join("case");
    let mut args = job(&input, &transforms(), &case, &args!["--rule", OME]);
    args.extend(args!["--dump-case", "2", "--row-timeout", "1", "-q"]);
    args.extend(long());
    done(&args);
    let expected = std::fs::read_to_string(case.join("expected.tsv")).unwrap();
    let rejected =
        "rejected\t-\t-\tlimit\tno end within 1 s inside one call of RDKit (--row-timeout)";
    assert_eq!(expected.lines().nth(1), Some(rejected), "{expected}");
    assert_eq!(expected.lines().count(), 2, "{expected}");
}

/// Process ids of the children of a process.
fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map(|p| p.parse().unwrap())
        .collect()
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn either_process_killed_from_outside_ends_the_run_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    // A hanger without a timeout keeps the worker busy.
    library(&input, &["Oc1ccccc1".to_owned(), hanger()]);
    for kill_worker in [true, false] {
        let out = dir.path().join(format!("out-{kill_worker}"));
        let mut child = command()
            .args(job(
                &input,
                &transforms(),
                &out,
                &args!["--rule", OME, "--row-timeout", "none"],
            ))
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let worker = loop {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
            if let ([worker], true) = (&children(child.id())[..], out.exists()) {
                break *worker;
            }
        };
        std::thread::sleep(Duration::from_millis(200));
        let victim = if kill_worker { worker } else { child.id() };
        let killed = std::process::Command::new("kill")
            .args(["-KILL", &victim.to_string()])
            .status();
        assert!(killed.unwrap().success());
        if kill_worker {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                stderr.contains("SIGKILL") && stderr.contains("memory"),
                "{stderr}"
            );
        } else {
            child.wait().unwrap();
            let start = Instant::now();
            while is_alive(worker) {
                assert!(
                    start.elapsed() < Duration::from_secs(10),
                    "the worker outlived its parent"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
    }
}
