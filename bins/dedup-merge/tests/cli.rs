//! The binary from outside: exit codes, messages, signals.

#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use halocline_table::{Kind, Meta, TableWriter, WriterOptions};

fn shard(path: &Path, rule: &str, rows: usize) {
    let smiles = StringArray::from_iter_values((0..rows).map(|n| format!("CCCCCCCCCC{n}")));
    let batch = RecordBatch::try_from_iter([("smiles", Arc::new(smiles) as ArrayRef)]).unwrap();
    let mut meta = Meta::new(Kind::Product);
    meta.rule = Some(rule.to_owned());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer =
        TableWriter::create(path, batch.schema_ref(), &meta, WriterOptions::default()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

fn merge(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_halo-dedup-merge"))
        .current_dir(dir)
        .args(args)
        .output()
        .unwrap()
}

fn check(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
}

#[test]
fn shards_are_found_in_the_folders_of_batches_in_index_order() {
    let dir = tempfile::tempdir().unwrap();
    for (batch, index) in [(0, 0), (0, 2), (1, 10), (1, 9)] {
        let folder = format!("batch-{batch:04}/shard-{index:05}");
        shard(&dir.path().join(folder).join("R.parquet"), "R", 10 + index);
    }
    let from = [
        "--shards-from",
        ".",
        "--table",
        "R.parquet",
        "--out",
        "out.parquet",
    ];
    check(
        &merge(dir.path(), &from),
        0,
        "61 rows from 4 shards, 20 kept",
    );
    assert!(dir.path().join("SUMMARY.json").is_file());
    assert!(dir.path().join("out.parquet.stats.json").is_file());
    std::fs::remove_file(dir.path().join("batch-0000/shard-00002/R.parquet")).unwrap();
    check(
        &merge(dir.path(), &from),
        2,
        "shard-00002/R.parquet` is missing",
    );
    shard(&dir.path().join("batch-0001/shard-00000/R.parquet"), "R", 1);
    shard(&dir.path().join("batch-0000/shard-00002/R.parquet"), "R", 1);
    check(&merge(dir.path(), &from), 2, "are the same shard");
}

#[test]
fn exit_codes_and_messages() {
    let dir = tempfile::tempdir().unwrap();
    shard(&dir.path().join("a.parquet"), "R1", 5);
    shard(&dir.path().join("b.parquet"), "R2", 5);
    std::fs::write(dir.path().join("text.parquet"), "no table").unwrap();
    let run = |args: &[&str]| merge(dir.path(), args);
    check(&run(&["--out", "o.parquet"]), 2, "required");
    check(
        &run(&["a.parquet", "--out", "o.parquet", "--memory-limit", "64"]),
        2,
        "512MiB",
    );
    check(
        &run(&["a.parquet", "--out", "o.parquet", "--memory-limit", "4MiB"]),
        2,
        "least that works",
    );
    check(
        &run(&["a.parquet", "--out", "nowhere/o.parquet"]),
        2,
        "nowhere",
    );
    check(
        &run(&["a.parquet", "--out", "a.parquet"]),
        2,
        "--out would overwrite `a.parquet`",
    );
    check(
        &run(&["missing.parquet", "--out", "o.parquet"]),
        2,
        "missing.parquet",
    );
    check(
        &run(&["text.parquet", "--out", "o.parquet"]),
        2,
        "text.parquet",
    );
    check(
        &run(&["a.parquet", "b.parquet", "--out", "o.parquet"]),
        1,
        "rule is R2, not R1",
    );
    assert!(!dir.path().join("o.parquet").exists());
    check(
        &run(&["a.parquet", "a.parquet", "--out", "o.parquet"]),
        0,
        "5 kept, 5 duplicates",
    );
    for depth in ["foo", "0"] {
        check(
            &run(&["a.parquet", "--out", "o.parquet", "--depth", depth]),
            2,
            "--depth <DEPTH>",
        );
    }
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("halo-dedup-merge 0."));
}

/// No output is a shard or another output, nor the sidecar of one; a merge may replace its own earlier outputs.
#[test]
fn inputs_and_outputs_are_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["S.parquet", "SUMMARY.json", "d/shard-00000/R.parquet"] {
        shard(&dir.path().join(name), "R", 5);
    }
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("S.parquet.stats.json"), "of S").unwrap();
    std::os::unix::fs::symlink("S.parquet", at("soft.parquet")).unwrap();
    std::fs::hard_link(at("S.parquet"), at("hard.parquet")).unwrap();
    let before = files(dir.path());
    let from_d = "--shards-from d --table R.parquet";
    for (args, option, file) in [
        ("S.parquet --out S.parquet", "--out", "S.parquet"),
        ("S.parquet --out ./d/../S.parquet", "--out", "S.parquet"),
        ("S.parquet --out soft.parquet", "--out", "S.parquet"),
        ("S.parquet --out hard.parquet", "--out", "S.parquet"),
        (
            "S.parquet --out S.parquet.stats.json",
            "--out",
            "S.parquet.stats.json",
        ),
        (
            &format!("{from_d} --out d/shard-00000/R.parquet"),
            "--out",
            "d/shard-00000/R.parquet",
        ),
        (
            "S.parquet --out m.parquet --summary S.parquet",
            "--summary",
            "S.parquet",
        ),
        (
            "S.parquet --out m.parquet --summary S.parquet.stats.json",
            "--summary",
            "S.parquet.stats.json",
        ),
        ("SUMMARY.json --out m.parquet", "--summary", "SUMMARY.json"),
        (
            "S.parquet --out m.parquet --summary m.parquet",
            "--summary",
            "m.parquet",
        ),
        (
            "S.parquet --out m.parquet --summary d/../m.parquet.stats.json",
            "--summary",
            "m.parquet.stats.json",
        ),
        (
            "S.parquet --out d/SUMMARY.json",
            "--summary",
            "d/SUMMARY.json",
        ),
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let says = format!("{option} would overwrite `{file}`");
        check(&merge(dir.path(), &args), 2, &says);
        assert_eq!(files(dir.path()), before, "{args:?}");
    }
    std::fs::remove_file(at("S.parquet.stats.json")).unwrap();
    for _ in 0..2 {
        let args = ["S.parquet", "--out", "d/m.parquet", "-q"];
        check(&merge(dir.path(), &args), 0, "");
    }
}

/// The files of a folder, with what is in them.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A merge ended by a signal exits 130 or 143 and leaves neither output nor temporary.
#[test]
fn a_signal_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    shard(&dir.path().join("a.parquet"), "R", 1_000_000);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_halo-dedup-merge"))
            .current_dir(dir.path())
            .args([
                "a.parquet",
                "a.parquet",
                "a.parquet",
                "a.parquet",
                "--out",
                "o.parquet",
            ])
            .args([
                "--memory-limit",
                "128MiB",
                "--strategy",
                "spill",
                "--threads",
                "1",
                "-q",
            ])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Long enough to have installed its handler, short of its end.
        std::thread::sleep(Duration::from_millis(400));
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap()
                .success()
        );
        let start = Instant::now();
        let status = child.wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
        if status.code() == Some(0) {
            // It was faster than the signal; that is no failure of what is tested here.
            std::fs::remove_file(dir.path().join("o.parquet")).unwrap();
            std::fs::remove_file(dir.path().join("o.parquet.stats.json")).unwrap();
            std::fs::remove_file(dir.path().join("SUMMARY.json")).unwrap();
            continue;
        }
        assert_eq!(status.code(), Some(code));
        let mut said = String::new();
        child.stderr.unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains(&format!("SIG{signal}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["a.parquet"]);
    }
}
