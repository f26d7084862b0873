//! halo-split and halo-validate-parquet keep 64 MiB under a hard cap over 15 million rows, where builds that leak do not,
//! and their peaks do not follow the rows.
//!
//! The rows come from the example `make_products` of the validator. `HALOCLINE_ROWS=50000000` (as `make bench` sets it)
//! does the same with 50 million. Only then are the validator's peaks compared: at 5 million rows it has filled what
//! it may use, below that its peak follows its keys.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use std::path::Path;
use std::process::Command;

use halocline_tests::memory::{Build, Capped, run_capped};
use halocline_tests::{bin_dir, json, run, scratch};

const LIMIT: u64 = 64 << 20;

fn rows() -> u64 {
    std::env::var("HALOCLINE_ROWS").map_or(15_000_000, |text| text.parse().unwrap())
}

fn make_products(dir: &Path, rows: u64) {
    let maker = bin_dir().join("examples/make_products");
    assert!(
        maker.is_file(),
        "{} is missing: run `cargo build --workspace --examples` first",
        maker.display()
    );
    run(Command::new(maker).arg(dir).arg(rows.to_string()));
}

/// Runs a program under the cap: the build that leaks must come to more, then the real one must not.
fn capped(name: &str, table: &Path, more: &[&str]) -> Capped {
    let [leaking, real] = [Build::Leaking, Build::Real].map(|build| {
        let mut command = Command::new(build.program(name));
        command
            .arg(table)
            .args(more)
            .args(["--memory-limit", "64MiB", "--no-progress", "-q"]);
        move || run_capped(&command, LIMIT)
    });
    leaking().assert_caught();
    let ran = real();
    ran.assert_within();
    ran
}

#[test]
fn split_and_validate_keep_64_mib() {
    let dir = scratch();
    let rows = rows();
    // A tenth of the rows first, to compare the peaks.
    let mut peaks: Vec<[u64; 3]> = Vec::new();
    for rows in [rows / 10, rows] {
        let made = dir.path().join(format!("made-{rows}"));
        make_products(&made, rows);
        let (table, text) = (made.join("products.parquet"), made.join("molecules.tsv"));

        let out = made.join("from-text");
        let split_text = capped(
            "halo-split",
            &text,
            &["--out-dir", out.to_str().unwrap(), "--shards", "32"],
        );
        let plan = json(&out.join("plan.json"));
        assert_eq!(plan["input_rows"], rows);
        assert_eq!(plan["shards"].as_array().unwrap().len(), 32);

        let out = made.join("from-table");
        let split_table = capped(
            "halo-split",
            &table,
            &["--out-dir", out.to_str().unwrap(), "--shards", "32"],
        );
        assert_eq!(json(&out.join("plan.json"))["input_rows"], rows);

        let verdict = made.join("verdict.json");
        let validate = capped(
            "halo-validate-parquet",
            &table,
            &[
                "--out",
                verdict.to_str().unwrap(),
                "--tmp-dir",
                made.to_str().unwrap(),
            ],
        );
        assert_eq!(json(&verdict)["failures"].as_array().unwrap().len(), 0);
        peaks.push([split_text, split_table, validate].map(|ran| ran.measured.peak_rss_bytes));
        std::fs::remove_dir_all(&made).unwrap();
    }
    eprintln!("peaks of split (text), split (table), validate: {peaks:?}");
    for (column, tool) in ["split (text)", "split (table)", "validate"]
        .iter()
        .enumerate()
    {
        let (few, many) = (peaks[0][column], peaks[1][column]);
        // Up to some 5 million rows the validator is still filling what it may use.
        if *tool == "validate" && rows < 50_000_000 {
            continue;
        }
        assert!(
            many as f64 <= 1.05 * few as f64,
            "{tool}: {few} bytes with a tenth of the rows, {many} bytes with all"
        );
    }
}
