//! Files with a flipped bit or a cut-off end. Damage to a product table is found by `halo-validate-parquet`, or provably
//! changed no value; damage to an input ends in one clear sentence, never in a panic and never in a wrong table.
//!
//! A reduced number of damages in `make test`; `make torture` sets `HALOCLINE_DAMAGES=1000` (flips; a fifth as many
//! truncations). `HALOCLINE_SEED` repeats a run's choices.
//!
//! What is damaged, and what the programs read of it, stands here; the tests beside it.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]
#![expect(clippy::print_stderr, reason = "stderr is where a test speaks")]

mod engines;
mod inputs;
mod page_index;
mod products;

use halocline_tests::random::Random;
use halocline_tests::{command, files_below, library, number, root, run};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OME: &str = "FG_PHENOL_OH__OH__TO__OMe";

/// Flipped bits per kind of file.
fn flips() -> u64 {
    number("HALOCLINE_DAMAGES").unwrap_or(60)
}

/// What is done to a file.
#[derive(Clone, Copy)]
enum Damage {
    Flip { byte: usize, bit: usize },
    Cut { at: usize },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { byte, bit } => write!(f, "bit {bit} of byte {byte} flipped"),
            Self::Cut { at } => write!(f, "cut at byte {at}"),
        }
    }
}

impl Damage {
    /// Of six, one is a cut, two are flips in the last kilobytes (where no checksum of Parquet stands), and three are
    /// flips anywhere.
    fn random(random: &mut Random, length: usize) -> Self {
        let tail = length.min(3000);
        match random.below(6) {
            0 => Self::Cut {
                at: random.below(length),
            },
            1 | 2 => Self::flip(random, length - tail..length),
            _ => Self::flip(random, 0..length),
        }
    }

    fn flip(random: &mut Random, within: std::ops::Range<usize>) -> Self {
        Self::Flip {
            byte: within.start + random.below(within.len()),
            bit: random.below(8),
        }
    }

    fn apply(self, good: &[u8]) -> Vec<u8> {
        match self {
            Self::Flip { byte, bit } => {
                let mut bad = good.to_vec();
                bad[byte] ^= 1 << bit;
                bad
            }
            Self::Cut { at } => good[..at].to_vec(),
        }
    }
}

/// The end of a program that was given damage: done, or refused in one sentence. Anything else is a failure.
fn ended_well(output: &Output, what: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(!said.contains("panicked"), "{what}: {said}");
    if code == Some(0) {
        return true;
    }
    assert!(
        matches!(code, Some(1 | 2)),
        "{what}: {}: {said}",
        output.status
    );
    let sentences: Vec<&str> = said.lines().filter(|l| !l.contains("hint: ")).collect();
    assert_eq!(sentences.len(), 1, "{what}: one sentence, not: {said}");
    assert!(said.starts_with("halo-"), "{what}: {said}");
    false
}

fn quiet(name: &str) -> Command {
    let mut tool = command(name);
    tool.args(["-qq", "--no-progress"]);
    tool
}

fn transform(input: &Path, out: &Path) -> Command {
    let mut tool = quiet("halo-transform-shard");
    let flag = if input.extension().is_some_and(|e| e == "json") {
        "--plan"
    } else {
        "--input"
    };
    tool.arg(flag).arg(input).arg("--out-dir").arg(out);
    tool.arg("--rules")
        .arg(root().join("configs/transforms.yaml"));
    tool.args(["--rule", OME, "--keep", "id"]);
    tool
}

/// A library, its plan, shards of it and their products merged.
struct Made {
    library: PathBuf,
    plan: PathBuf,
    shards: Vec<PathBuf>,
    products: PathBuf,
}

impl Made {
    fn new(dir: &Path, molecules: &str) -> Self {
        let library = library(dir, molecules);
        let plans = dir.join("plan");
        let mut split = quiet("halo-split");
        run(split
            .arg(&library)
            .arg("--out-dir")
            .arg(&plans)
            .args(["--shards", "2"]));
        let plan = plans.join("plan.json");
        let out = dir.join("shards");
        run(transform(&plan, &out).args(["--shards", "0..2"]));
        let shards: Vec<PathBuf> = (0..2)
            .map(|n| out.join(format!("shard-0000{n}/{OME}.parquet")))
            .collect();
        let products = dir.join("products.parquet");
        run(quiet("halo-dedup-merge")
            .args(&shards)
            .arg("--out")
            .arg(&products));
        Self {
            library,
            plan,
            shards,
            products,
        }
    }
}

/// Tables below a folder.
fn tables(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = files_below(dir);
    found.retain(|path, _| path.extension().is_some_and(|e| e == "parquet"));
    found
}
