//! The chemistry against RDKit's Python (`tests/oracle/oracle.py`, which states the semantics): unique products, the
//! product of every site, and the numbers of sites matched, masked and capped, for every rule.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_tests::{command, library, np_68k, np_700, python, root, run, scratch};
use std::path::Path;
use std::process::Command;

/// Runs the oracle; its word on success.
fn oracle(args: &[&str], paths: &[(&str, &Path)]) -> String {
    let mut oracle = Command::new(python());
    oracle.arg(root().join("tests/oracle/oracle.py")).args(args);
    for (flag, path) in paths {
        oracle.arg(flag).arg(path);
    }
    String::from_utf8(run(&mut oracle).stdout).unwrap()
}

fn transforms_agree(tsv: &str) -> String {
    let dir = scratch();
    let library = library(dir.path(), tsv);
    let rows = format!("0..{}", tsv.lines().count() - 1);
    let rules = root().join("configs/transforms.yaml");
    let text = fs_err::read_to_string(&rules).unwrap();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "))
        .collect();
    assert_eq!(names.len(), 19);
    let ours = dir.path().join("ours");
    let mut shard = command("halo-transform-shard");
    shard
        .arg("--input")
        .arg(&library)
        .args(["--rows", &rows])
        .arg("--rules")
        .arg(&rules)
        .arg("--rule")
        .args(names);
    run(shard
        .arg("--out-dir")
        .arg(&ours)
        .args(["--depth", "1", "--threads", "2"]));
    oracle(
        &["transforms"],
        &[
            ("--rules", &rules),
            ("--library", &library),
            ("--ours", &ours),
        ],
    )
}

fn halogens_agree(class: &str, depth: &str, per_class: usize) -> String {
    let dir = scratch();
    let all = np_700(per_class);
    let header = all.lines().next().unwrap();
    let of_class = all
        .lines()
        .filter(|line| line.split('\t').nth(2) == Some(class));
    let tsv: String = std::iter::once(header)
        .chain(of_class)
        .map(|line| format!("{line}\n"))
        .collect();
    let rows = format!("0..{}", tsv.lines().count() - 1);
    assert_eq!(rows, format!("0..{per_class}"));
    let library = library(dir.path(), &tsv);
    let rules = root().join("configs/halogens.yaml");
    let ours = dir.path().join("ours");
    let mut shard = command("halo-transform-shard");
    shard
        .arg("--input")
        .arg(&library)
        .args(["--rows", &rows])
        .arg("--rules")
        .arg(&rules);
    shard
        .args(["--class", class, "--depth", depth])
        .arg("--out-dir")
        .arg(&ours);
    run(&mut shard);
    let paths = [
        ("--rules", rules.as_path()),
        ("--library", &library),
        ("--ours", &ours),
    ];
    oracle(&["halogens", "--class", class, "--depth", depth], &paths)
}

#[test]
fn the_oracle_knows_a_sugar_and_its_rdkit() {
    oracle(&["self-test"], &[]);
}

#[test]
fn all_19_rules_on_np_700() {
    let said = transforms_agree(&np_700(100));
    assert!(said.starts_with("700 parents, 19 rules"), "{said}");
}

#[test]
fn all_19_rules_on_3000_rows_of_np_68k() {
    let said = transforms_agree(&np_68k(22, 3000));
    assert!(said.starts_with("3000 parents, 19 rules"), "{said}");
}

#[test]
fn halogenation_of_every_class_to_depth_1() {
    for class in [
        "polyphenol",
        "terpenoid",
        "alkaloid",
        "lipid",
        "aa_peptide",
        "other",
    ] {
        halogens_agree(class, "1", 100);
    }
}

#[test]
fn halogenation_of_every_class_to_depth_2() {
    for class in [
        "polyphenol",
        "terpenoid",
        "alkaloid",
        "lipid",
        "aa_peptide",
        "other",
    ] {
        halogens_agree(class, "2", 17);
    }
}
