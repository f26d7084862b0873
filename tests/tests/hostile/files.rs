//! Files that are none, links, and plans and sidecars that lie.

use crate::{MIB, OME, listing, quiet, refused, small_library, split, transform};
use halocline_tests::memory::run_capped;
use halocline_tests::{json, library, np_700, root, run, scratch};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn what_is_no_file() {
    let dir = scratch();
    let out = dir.path().join("out");
    let pipe = dir.path().join("pipe.csv");
    run(Command::new("mkfifo").arg(&pipe));
    let rules = root().join("configs/transforms.yaml");
    for input in [dir.path(), &pipe, Path::new("/dev/zero")] {
        let name = input.to_string_lossy();
        refused(
            &split(input, &out, &["--format", "csv"]),
            &[&name, "regular file"],
        );
        let mut tool = transform(input, &rules, &out);
        refused(&run_capped(tool.args(["--rule", OME]), 128 * MIB), &[&name]);
        for tool in ["halo-dedup-merge", "halo-validate-parquet"] {
            let mut tool = quiet(tool);
            tool.arg(input).args(["--memory-limit", "128MiB"]);
            tool.arg("--out").arg(dir.path().join("made"));
            refused(&run_capped(&tool, 128 * MIB), &[&name]);
        }
        if input != pipe {
            let mut tool = quiet("halo-transform-shard");
            tool.arg("--plan")
                .arg(input)
                .args(["--shard", "0", "--rule", OME]);
            tool.arg("--rules").arg(&rules).arg("--out-dir").arg(&out);
            tool.args(["--memory-limit", "128MiB"]);
            refused(&run_capped(&tool, 128 * MIB), &[&name]);
            let mut tool = transform(dir.path(), input, &out);
            refused(&run_capped(tool.args(["--rule", OME]), 128 * MIB), &[&name]);
        }
    }
    assert!(
        !dir.path().join("made").exists()
            || fs_err::read_to_string(dir.path().join("made"))
                .unwrap()
                .contains("not_parquet")
    );
}

#[test]
fn plans_and_sidecars_that_lie() {
    let dir = scratch();
    let library = library(dir.path(), &np_700(10));
    let rules = root().join("configs/transforms.yaml");
    let plan = library.with_file_name("plan.json");
    let good = fs_err::read_to_string(&plan).unwrap();
    let rows = json(&plan)["input_rows"].as_u64().unwrap();
    let end = format!("\"end\": {rows}");
    assert!(
        good.contains(&end) && good.contains("\"start\": 0"),
        "{good}"
    );
    let run_on = |text: &[u8], shards: &str| {
        fs_err::write(&plan, text).unwrap();
        let mut tool = quiet("halo-transform-shard");
        tool.arg("--plan")
            .arg(&plan)
            .args(["--shards", shards, "--rule", OME]);
        tool.arg("--rules")
            .arg(&rules)
            .arg("--out-dir")
            .arg(dir.path().join("out"));
        run_capped(tool.args(["--memory-limit", "128MiB"]), 128 * MIB)
    };
    let before = listing(dir.path());
    let other = |from: &str, to: &str| good.replace(from, to).into_bytes();
    let input_rows = format!("\"input_rows\": {rows}");
    let past = [&end, "\"end\": 100000"];
    for (text, words) in [
        (other(&end, past[1]), &["plan.json"][..]),
        (
            other(&end, past[1]).replace_all(&input_rows, "\"input_rows\": 100000"),
            &["rows"],
        ),
        (
            other("\"start\": 0", "\"start\": -1"),
            &["plan.json", "line"],
        ),
        (
            other("\"start\": 0", "\"start\": 18446744073709551616"),
            &["plan.json", "line"],
        ),
        (
            other("\"start\": 0", "\"start\": 18446744073709551615"),
            &["plan.json", "begin at row 0"],
        ),
        (
            other("\"index\": 0", "\"index\": 7"),
            &["plan.json", "index 7"],
        ),
        (
            other("\"start\": 0", "\"start\": \"0\""),
            &["plan.json", "line"],
        ),
        (
            other("halocline.plan/1", "halocline.plan/9"),
            &["plan.json", "plan/9"],
        ),
        (b"[]".to_vec(), &["plan.json"]),
        (b"null".to_vec(), &["plan.json"]),
        ("[".repeat(1 << 20).into_bytes(), &["plan.json"]),
        (
            format!("{{\"schema\":\"{}\"}}", "x".repeat(40 << 20)).into_bytes(),
            &["plan.json", "bytes"],
        ),
        (b"\xff\xfe{".to_vec(), &["plan.json"]),
    ] {
        refused(&run_on(&text, "0..1"), words);
    }
    for shards in ["0..99", "5..6", "99999999999..999999999999"] {
        refused(&run_on(good.as_bytes(), shards), &["shard"]);
    }
    fs_err::write(&plan, &good).unwrap();
    assert_eq!(listing(dir.path()), before, "nothing was written");

    // A shard and sidecars of every wrong kind.
    let mut tool = transform(&library, &rules, &dir.path().join("shard"));
    run(tool.args(["--rule", OME]));
    let shard = dir.path().join(format!("shard/{OME}.parquet"));
    let sidecar = PathBuf::from(format!("{}.stats.json", shard.display()));
    let good = fs_err::read_to_string(&sidecar).unwrap();
    let rows_in = format!("\"rows_in\": {}", json(&sidecar)["rows_in"]);
    for text in [
        "[]".to_owned(),
        "7".to_owned(),
        "[".repeat(1 << 20),
        format!("{{\"tool\":\"{}\"", "x".repeat(64 << 20)),
        good.replace(&rows_in, "\"rows_in\": -1"),
        good.replace(&rows_in, "\"rows_in\": 18446744073709551615"),
        good.replace(&rows_in, "\"rows_in\": 1e300"),
        good.replace("\"rows_rejected\": {}", "\"rows_rejected\": []"),
        good.replacen('{', "{\"unheard_of\": 1,", 1),
    ] {
        fs_err::write(&sidecar, &text).unwrap();
        let mut tool = quiet("halo-dedup-merge");
        let out = dir.path().join("merged.parquet");
        tool.arg(&shard)
            .arg("--out")
            .arg(&out)
            .args(["--memory-limit", "64MiB"]);
        refused(&run_capped(&tool, 64 * MIB), &[".stats.json"]);
        assert!(!out.exists());
        let mut tool = quiet("halo-validate-parquet");
        tool.arg(&shard).args(["--memory-limit", "64MiB"]);
        let ran = run_capped(&tool, 64 * MIB);
        refused(&ran, &[".stats.json"]);
        let verdict: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(verdict["failures"][0]["code"], "sidecar", "{verdict}");
    }
}

/// `replace` for what has been turned into bytes.
trait ReplaceAll {
    fn replace_all(self, from: &str, to: &str) -> Vec<u8>;
}

impl ReplaceAll for Vec<u8> {
    fn replace_all(self, from: &str, to: &str) -> Vec<u8> {
        String::from_utf8(self)
            .unwrap()
            .replace(from, to)
            .into_bytes()
    }
}

#[test]
fn links_in_the_output_folder_are_replaced_not_followed() {
    let dir = scratch();
    let library = small_library(dir.path());
    let out = dir.path().join("out");
    fs_err::create_dir_all(&out).unwrap();
    let precious = dir.path().join("precious");
    fs_err::write(&precious, "untouched").unwrap();
    let rules = root().join("configs/transforms.yaml");
    let names = [
        format!("{OME}.parquet"),
        "rejects.parquet".to_owned(),
        "shard.stats.json".to_owned(),
    ];
    for name in &names {
        fs_err::os::unix::fs::symlink(&precious, out.join(name)).unwrap();
    }
    run(transform(&library, &rules, &out).args(["--rule", OME]));
    for name in &names {
        assert!(
            fs_err::symlink_metadata(out.join(name)).unwrap().is_file(),
            "{name}"
        );
    }
    let merged = dir.path().join("merged.parquet");
    fs_err::os::unix::fs::symlink(&precious, &merged).unwrap();
    run(quiet("halo-dedup-merge")
        .arg(out.join(&names[0]))
        .arg("--out")
        .arg(&merged));
    assert!(fs_err::symlink_metadata(&merged).unwrap().is_file());
    assert_eq!(fs_err::read_to_string(&precious).unwrap(), "untouched");
    // Names of tables and partitions that climb.
    let mut merge = quiet("halo-dedup-merge");
    merge.arg("--shards-from").arg(&out).args([
        "--table",
        "../../../etc/passwd",
        "--memory-limit",
        "64MiB",
    ]);
    merge.arg("--out").arg(dir.path().join("x.parquet"));
    refused(&run_capped(&merge, 64 * MIB), &["--table"]);
    let more = ["--partition-by", "id", "--partitions", "../up,a/b"];
    refused(
        &split(&library, &dir.path().join("s"), &more),
        &["../up", "a/b", "folder name"],
    );
}
