//! Tables of other writers may have pages of any size, and short pages that stand for long rows: split, merge and
//! transformation keep a hard cap all the same, or say which limit they need.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use std::path::Path;
use std::process::Command;

use halocline_tests::memory::run_capped;
use halocline_tests::{command, python, root, run, scratch};

const LIMIT: u64 = 128 << 20;

/// Each program that reads such a table, on `table`.
fn programs(dir: &Path, table: &Path) -> [Command; 3] {
    let out = dir.join("out");
    if out.exists() {
        fs_err::remove_dir_all(&out).unwrap();
    }
    let mut split = command("halo-split");
    split.arg(table).args(["--shards", "4", "--out-dir"]);
    split.arg(out.join("split"));
    let mut merge = command("halo-dedup-merge");
    merge
        .arg(table)
        .arg("--out")
        .arg(out.join("merged.parquet"));
    let mut shard = command("halo-transform-shard");
    shard.arg("--input").arg(table).args(["--rules"]);
    shard.arg(root().join("configs/transforms.yaml"));
    shard.args(["--rule", "FG_PHENOL_OH__OH__TO__OMe", "--rows"]);
    shard
        .arg("152000..152100")
        .arg("--out-dir")
        .arg(out.join("shard"));
    [split, merge, shard].map(|mut tool| {
        tool.args(["--memory-limit", "128MiB", "--no-progress", "-q"]);
        tool
    })
}

#[test]
fn pages_of_any_size_keep_128_mib() {
    let dir = scratch();
    let mut maker = Command::new(python());
    maker.arg(root().join("tests/oracle/foreign_pages.py"));
    run(maker.arg(dir.path()));
    for name in ["long_entries", "row_group"] {
        for tool in programs(dir.path(), &dir.path().join(format!("{name}.parquet"))) {
            let ran = run_capped(&tool, LIMIT);
            eprintln!(
                "{name}: {:?} {:?}",
                tool.get_program(),
                ran.measured.peak_rss_bytes
            );
            ran.assert_within();
        }
    }
    for tool in programs(dir.path(), &dir.path().join("one_page.parquet")) {
        let ran = run_capped(&tool, LIMIT);
        ran.verdict(2)
            .unwrap_or_else(|why| panic!("{tool:?}: {why}"));
    }
}
