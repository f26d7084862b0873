//! Input made to do harm, through the programs: a clear sentence with the place, nothing outside the output folder, memory
//! within the limit. The parts have such tests of their own; here stands what a person meets.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

mod configuration;
mod files;
mod rows;
mod text;

use halocline_tests::memory::{Capped, run_capped};
use halocline_tests::{command, library};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const OME: &str = "FG_PHENOL_OH__OH__TO__OMe";

const MIB: u64 = 1 << 20;

fn quiet(name: &str) -> Command {
    let mut tool = command(name);
    tool.args(["-qq", "--no-progress"]);
    tool
}

/// Every path below a folder.
fn listing(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs_err::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if fs_err::symlink_metadata(&path).unwrap().is_dir() {
                dirs.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// Ends with 1 or 2 within the limit, in one sentence that holds all `words`.
fn refused(ran: &Capped, words: &[&str]) {
    let code = ran.measured.exit_code;
    assert!(matches!(code, Some(1 | 2)), "{ran:?}");
    ran.verdict(code.unwrap()).unwrap();
    let said = &ran.stderr;
    assert!(!said.contains("panicked"), "{said}");
    // Problems of a configuration are listed below their sentence.
    let sentences = said
        .lines()
        .filter(|line| !line.starts_with("hint: ") && !line.starts_with("  "));
    assert_eq!(sentences.count(), 1, "{said}");
    assert!(
        said.len() < 2000,
        "a sentence, not {} bytes: {:.500}",
        said.len(),
        said
    );
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

/// One molecule with a phenol.
fn small_library(dir: &Path) -> PathBuf {
    library(dir, "id\tsmiles\nm0\tOc1ccccc1\n")
}

fn transform(input: &Path, rules: &Path, out: &Path) -> Command {
    let mut tool = quiet("halo-transform-shard");
    tool.arg("--input").arg(input).arg("--rules").arg(rules);
    tool.arg("--out-dir")
        .arg(out)
        .args(["--memory-limit", "128MiB"]);
    tool
}

/// Splits a text under 64 MiB.
fn split(input: &Path, out: &Path, more: &[&str]) -> Capped {
    let mut tool = quiet("halo-split");
    tool.arg(input).arg("--out-dir").arg(out);
    tool.args(["--shards", "2", "--memory-limit", "64MiB"])
        .args(more);
    run_capped(&tool, 64 * MIB)
}
