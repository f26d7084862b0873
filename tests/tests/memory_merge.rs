//! halo-dedup-merge keeps its limit under a hard cap: 5 million rows at 64, 128 and 512 MiB, any strategy, any number
//! of threads, with the same bytes each time; a build that leaks does not; and its peak does not grow with the rows.
//!
//! The rows come from the example `make_shards` of the merge (keys of 90 characters, int32, int64, dictionary, float64,
//! 15 % duplicates). `HALOCLINE_ROWS=50000000` (as `make bench` sets it) does the same with 50 million.

#![expect(
    clippy::unwrap_used,
    reason = "a failed precondition is a failed test, and a test says what it measured"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use halocline_tests::memory::{Build, Capped, run_capped};
use halocline_tests::{bin, bin_dir, json, python, root, run, scratch};

const MIB: u64 = 1 << 20;

fn make_shards(dir: &Path, rows: u64, files: u64, percent: u64, chars: u64) -> Vec<PathBuf> {
    let maker = bin_dir().join("examples/make_shards");
    assert!(
        maker.is_file(),
        "{} is missing: run `cargo build --workspace --examples` first",
        maker.display()
    );
    let numbers = [rows, files, percent, chars].map(|n| n.to_string());
    run(Command::new(maker).arg(dir).args(numbers));
    (0..files)
        .map(|file| dir.join(format!("shard-{file:05}.parquet")))
        .collect()
}

/// Merges under a cap.
fn capped(
    build: Build,
    shards: &[PathBuf],
    out: &Path,
    limit_mib: u64,
    threads: u64,
    strategy: &str,
) -> Capped {
    let mut command = Command::new(build.program("halo-dedup-merge"));
    command
        .args(shards)
        .arg("--out")
        .arg(out)
        .arg("--tmp-dir")
        .arg(out.parent().unwrap())
        .args(["--memory-limit", &format!("{limit_mib}MiB")])
        .args(["--threads", &threads.to_string()])
        .args(["--strategy", strategy, "--no-progress"]);
    run_capped(&command, limit_mib * MIB)
}

/// Merges within the limit and gives the run and the sidecar.
fn merge(
    shards: &[PathBuf],
    out: &Path,
    limit_mib: u64,
    threads: u64,
    strategy: &str,
) -> (Capped, serde_json::Value) {
    let ran = capped(Build::Real, shards, out, limit_mib, threads, strategy);
    ran.assert_within();
    let mut sidecar = out.as_os_str().to_owned();
    sidecar.push(".stats.json");
    let sidecar = json(Path::new(&sidecar));
    (ran, sidecar)
}

/// Rows that were asked for, or `otherwise`.
fn rows_or(otherwise: u64) -> u64 {
    std::env::var("HALOCLINE_ROWS").map_or(otherwise, |rows| rows.parse().unwrap())
}

#[test]
fn five_million_rows_at_64_128_and_512_mib() {
    let dir = scratch();
    let rows = rows_or(5_000_000);
    let files = rows.div_ceil(250_000);
    let shards = make_shards(&dir.path().join("shards"), rows, files, 15, 90);
    let out = dir.path().join("products.parquet");
    for limit in [64, 128, 512] {
        capped(Build::Leaking, &shards, &out, limit, 2, "auto").assert_caught();
    }
    let mut digest = None;
    for (limit, threads, strategy, used) in [
        (64, 2, "auto", "bloom"),
        (64, 16, "spill", "spill"),
        (64, 1, "bloom", "bloom"),
        (128, 4, "auto", "bloom"),
        (128, 2, "spill", "spill"),
        (512, 2, "auto", "memory"),
        (512, 16, "auto", "memory"),
    ] {
        // What does not fit at 5 million rows fits less with more of them.
        let more = rows > 5_000_000;
        let strategy = if more && strategy == "bloom" {
            "auto"
        } else {
            strategy
        };
        let (ran, sidecar) = merge(&shards, &out, limit, threads, strategy);
        let what = format!("{limit} MiB, {threads} threads, {strategy}");
        assert_eq!(sidecar["rows_in"], rows, "{what}");
        let did = sidecar["extra"]["strategy"].as_str().unwrap();
        assert!(more || did == used, "{what}: {did}");
        assert_eq!(sidecar["spill_bytes"] != 0, did == "spill", "{what}");
        eprintln!(
            "{rows} rows, {what}: {did}, peak {} MiB, {:.1} s",
            ran.measured.peak_rss_bytes / MIB,
            ran.measured.wall_seconds
        );
        let here = sidecar["output"]["xxh3_128"].clone();
        assert_eq!(digest.get_or_insert(here.clone()), &here, "{what}");
    }
    // All of them the same, and right: DuckDB finds the same keys, each with its first row.
    if rows <= 5_000_000 {
        let mut oracle = Command::new(python());
        oracle.arg(root().join("tests/oracle/distinct.py"));
        let keys = run(oracle.arg(&out).args(&shards)).stdout;
        let keys: u64 = String::from_utf8(keys).unwrap().trim().parse().unwrap();
        let (_, sidecar) = merge(&shards, &out, 512, 2, "auto");
        assert_eq!(sidecar["rows_out"], keys);
    }
}

/// Ten times the rows: less than 5 % more memory. (Below a million rows the writer has hardly filled a row group.)
#[test]
fn the_peak_does_not_grow_with_the_rows() {
    let dir = scratch();
    let out = dir.path().join("products.parquet");
    let peak = |rows: u64, files: u64| {
        let shards = make_shards(&dir.path().join(format!("{rows}")), rows, files, 15, 90);
        // The lesser of two: what the allocator keeps varies from run to run.
        (0..2)
            .map(|_| {
                merge(&shards, &out, 64, 1, "spill")
                    .0
                    .measured
                    .peak_rss_bytes
            })
            .min()
            .unwrap()
    };
    let rows = rows_or(15_000_000);
    let few = peak(rows / 10, rows / 1_000_000);
    let many = peak(rows, rows / 100_000);
    assert!(
        many as f64 <= 1.05 * few as f64,
        "a tenth of the rows: {few} bytes, {rows} rows: {many} bytes"
    );
}

/// One key a million times over all shards, and keys of 10,000 characters.
#[test]
fn adversarial_keys_at_64_mib() {
    let dir = scratch();
    let out = dir.path().join("products.parquet");
    let same = make_shards(&dir.path().join("same"), 1_000_000, 8, 100, 90);
    let long = make_shards(&dir.path().join("long"), 20_000, 4, 15, 10_000);
    for strategy in ["bloom", "spill"] {
        let (_, sidecar) = merge(&same, &out, 64, 2, strategy);
        assert_eq!(sidecar["rows_out"], 1, "{strategy}");
        let (_, sidecar) = merge(&long, &out, 64, 2, strategy);
        assert!(sidecar["rows_out"].as_u64().unwrap() > 16_000, "{strategy}");
    }
}

/// Too little is refused before anything is written, with the least that works; and that works.
#[test]
fn too_little_is_refused_with_the_least_that_works() {
    let dir = scratch();
    let shards = make_shards(&dir.path().join("shards"), 300_000, 3, 15, 90);
    let out = dir.path().join("products.parquet");
    let mut command = Command::new(bin("halo-dedup-merge"));
    command.args(&shards).arg("--out").arg(&out).args([
        "--memory-limit",
        "24MiB",
        "--threads",
        "1",
    ]);
    let said = halocline_tests::run_expecting(&mut command, 2);
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!out.exists());
    let least = text.split("the least that works here is ").nth(1).unwrap();
    let least: u64 = least.split("MiB").next().unwrap().parse().unwrap();
    // What counts as already resident differs by a page or two from start to start.
    merge(&shards, &out, least + 1, 1, "auto");
}
