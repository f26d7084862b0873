//! The workflow's own Python (`workflow/scripts`), with the interpreter of the workflow.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_tests::{bin_dir, root, run, workflow_bin_dir};
use std::path::Path;
use std::process::Command;

#[test]
fn helper_functions_of_the_workflow() {
    let mut unittest = Command::new(workflow_bin_dir().join("python"));
    unittest
        .args(["-B", "-m", "unittest", "discover", "-s", "workflow/scripts"])
        .current_dir(root());
    let output = run(unittest.env("HALOCLINE_BIN", bin_dir()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("\nOK"), "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}

/// The rules of the workflow: name and text.
fn rules() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in ["library", "transform", "report"] {
        let path = root().join(format!("workflow/rules/{file}.smk"));
        let text = fs_err::read_to_string(path).unwrap();
        for rule in text.split("\nrule ").skip(1) {
            let (name, body) = rule.split_once(":\n").unwrap();
            let body = body.split("\nonerror:").next().unwrap();
            found.push((name.to_owned(), body.to_owned()));
        }
    }
    found
}

#[test]
fn every_rule_says_what_it_reads_makes_and_needs() {
    let rules = rules();
    let names: Vec<&str> = rules.iter().map(|(name, _)| name.as_str()).collect();
    let steps = [
        "split_input",
        "halogenate",
        "merge_library",
        "split_library",
        "transform",
        "merge",
        "validate",
        "report",
    ];
    assert_eq!(names, steps);
    for (name, body) in &rules {
        // Inputs come by role from the job table, outputs are named here.
        for needed in [
            format!("unpack(inputs_of(\"{name}\"))"),
            "\n    output:\n".to_owned(),
            "\n    log:\n".to_owned(),
            "\n    benchmark:\n".to_owned(),
            format!("\n    threads: threads_of(\"{name}\")"),
            format!("        mem_mb=mem_mb_of(\"{name}\")"),
            format!("        runtime=runtime_of(\"{name}\")"),
            format!("        disk_mb=disk_mb_of(\"{name}\")"),
        ] {
            assert!(body.contains(&needed), "rule {name} has no `{needed}`");
        }
        let outputs = body.split("\n    output:\n").nth(1).unwrap();
        let outputs = outputs.split("\n    log:").next().unwrap();
        for line in outputs
            .lines()
            .filter(|l| l.starts_with("        ") && !l.starts_with("         "))
        {
            let named = line.contains('=') || line.trim() == "),";
            assert!(named, "rule {name}: an output without a name: {line}");
        }
        assert!(outputs.contains("        record="), "rule {name}");
    }
}

#[test]
fn every_entry_of_a_profile_is_explained() {
    for name in ["default", "workstation", "low-memory", "slurm"] {
        let path = root().join(format!("profiles/{name}/config.yaml"));
        let text = fs_err::read_to_string(path).unwrap();
        let mut before = "";
        for line in text.lines() {
            let begins =
                |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
            let entry = begins(line);
            // An entry may share the comment of the one above it.
            let explained = before.starts_with('#') || begins(before);
            assert!(!entry || explained, "{name}: `{line}` has no comment");
            before = line;
        }
    }
}

/// A program that ends badly without a word leaves one in its log; only when that cannot be written is it said elsewhere.
#[test]
fn a_job_that_said_nothing() {
    let dir = halocline_tests::scratch();
    let log = dir.path().join("log");
    for (log, word) in [
        (log.as_path(), ""),
        (Path::new("/dev/full"), "could not write to its log"),
    ] {
        let mut job = Command::new("bash");
        job.arg(root().join("workflow/scripts/job.sh")).arg(log);
        let output = halocline_tests::run_expecting(job.args(["no record", "false"]), 1);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(word) && said.is_empty() == word.is_empty(),
            "{said}"
        );
    }
    let said = fs_err::read_to_string(&log).unwrap();
    assert_eq!(said, "halocline: false: ended with 1 and said nothing\n");
}
