//! Input made to do harm, through the programs: a clear sentence with the place, nothing outside the output folder, memory
//! within the limit. The parts have such tests of their own; here stands what a person meets.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use flate2::write::GzEncoder;
use halocline_tests::memory::{Capped, run_capped};
use halocline_tests::{command, json, library, np_68k, np_700, root, run, scratch, table};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io::Write;
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

#[test]
fn rules_that_would_leave_the_folder_or_the_memory() {
    let dir = scratch();
    let library = small_library(dir.path());
    let rules = dir.path().join("rules.yaml");
    let good = "transforms:\n  - name: A\n    scope_classes: [x]\n    smirks: \"[c:1]O>>[c:1]N\"\n";
    let bomb = {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..10 {
            let list = vec![format!("*a{}", i - 1); 9].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        text + "transforms: *a9\n"
    };
    let named = |name: &str| good.replace("name: A", &format!("name: \"{name}\""));
    let smarts = |n: usize| good.replace("[c:1]O", &format!("[c:1]{}", "C".repeat(n)));
    let cases: Vec<(String, &[&str])> = vec![
        (named("../../outside"), &["rules.yaml:2:", "file name"]),
        (named("/tmp/outside"), &["rules.yaml:2:", "file name"]),
        (named("a\\nb"), &["rules.yaml:2:", "file name"]),
        (named("a\\0b"), &["rules.yaml:2:", "file name"]),
        (named("rejects"), &["rules.yaml", "rejects"]),
        (
            good.replace("[x]", "[\"../x\"]"),
            &["rules.yaml:3:", "class name"],
        ),
        (smarts(10 << 20), &["rules.yaml", "bytes"]),
        (smarts(100_000), &["rules.yaml:4:", "100013 bytes"]),
        (
            good.replace("[c:1]O", &format!("{}c:1]O", "[".repeat(3000))),
            &["rule `A`"],
        ),
        (
            good.replace("[c:1]O", &format!("[c:1]{}", "(C".repeat(1900))),
            &["rule `A`"],
        ),
        (
            good.replace("[c:1]O", &format!("[{}c:1]O", "$(C".repeat(1000))),
            &["rule `A`"],
        ),
        (bomb, &["rules.yaml:"]),
        (
            format!("transforms: {}", "[".repeat(100_000)),
            &["rules.yaml:1:"],
        ),
        (
            format!("transforms:\n{}", "- ".repeat(50_000)),
            &["rules.yaml:"],
        ),
        (
            format!("transforms: [{}]", "1,".repeat(400_000)),
            &["rules.yaml:"],
        ),
        ("transforms: 7\n".to_owned(), &["rules.yaml:1:"]),
        ("\u{feff}".to_owned(), &["rules.yaml"]),
        (String::new(), &["rules.yaml"]),
    ];
    let before = {
        fs_err::write(&rules, "").unwrap();
        fs_err::create_dir_all(dir.path().join("out")).unwrap();
        listing(dir.path())
    };
    for (text, words) in cases {
        fs_err::write(&rules, &text).unwrap();
        let mut tool = transform(&library, &rules, &dir.path().join("out"));
        let ran = run_capped(tool.args(["--class", "x"]), 128 * MIB);
        refused(&ran, words);
        assert_eq!(listing(dir.path()), before, "nothing was written");
    }
    // A name that is asked for, not given, is looked up and nothing else.
    fs_err::write(&rules, good).unwrap();
    for flag in ["--rule", "--class"] {
        let mut tool = transform(&library, &rules, &dir.path().join("out"));
        refused(
            &run_capped(tool.args([flag, "../../etc/passwd"]), 128 * MIB),
            &["../../etc/passwd"],
        );
        assert_eq!(listing(dir.path()), before);
    }
}

#[test]
fn configurations_that_would_leave_the_folder() {
    let dir = scratch();
    let config = dir.path().join("pipeline.yaml");
    let shipped = fs_err::read_to_string(root().join("configs/pipeline.yaml")).unwrap();
    let from = "classes: [polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]";
    assert!(shipped.contains(from));
    let line = 1 + shipped[..shipped.find(from).unwrap()].matches('\n').count();
    let at = format!("pipeline.yaml:{line}:");
    let mut cases: Vec<(String, Vec<&str>)> = Vec::new();
    for class in ["a/b", "../up", "/etc", "a\\nb", ".hidden", "", "a b"] {
        let to = format!("classes: [polyphenol, \"{class}\"]");
        cases.push((shipped.replace(from, &to), vec![&at]));
    }
    let deep = format!("classes: {}", "[".repeat(50_000));
    cases.push((shipped.replace(from, &deep), vec!["pipeline.yaml:"]));
    cases.push(("x".repeat(3 << 20), vec!["pipeline.yaml", "bytes"]));
    cases.push(("\0\0\0".to_owned(), vec!["pipeline.yaml"]));
    for (text, words) in cases {
        fs_err::write(&config, text).unwrap();
        let before = listing(dir.path());
        for (tool, args) in [
            ("halo-drive", &["run", "--config", "pipeline.yaml"][..]),
            ("halo-drive", &["plan", "--config", "pipeline.yaml"]),
            ("halo-report", &["--config", "pipeline.yaml"]),
        ] {
            let mut tool = command(tool);
            tool.args(args)
                .args(["-qq", "--memory-limit", "128MiB"])
                .current_dir(dir.path());
            refused(&run_capped(&tool, 128 * MIB), &words);
            assert_eq!(listing(dir.path()), before);
        }
    }
}

/// Splits a text under 64 MiB.
fn split(input: &Path, out: &Path, more: &[&str]) -> Capped {
    let mut tool = quiet("halo-split");
    tool.arg(input).arg("--out-dir").arg(out);
    tool.args(["--shards", "2", "--memory-limit", "64MiB"])
        .args(more);
    run_capped(&tool, 64 * MIB)
}

#[test]
fn lines_of_a_gigabyte() {
    let dir = scratch();
    let out = dir.path().join("out");
    // Zeros that take no space on disk; also inside a quoted field, and after a good row.
    for (name, head, bytes) in [
        ("line.csv", "smiles\nC\n", 1 << 30),
        ("quoted.csv", "smiles\nC\n\"", 128 << 20),
        ("line.tsv", "smiles\nC\n", 128 << 20),
        ("line.smi", "C\n", 128 << 20),
    ] {
        let input = dir.path().join(name);
        let mut file = fs_err::File::create(&input).unwrap();
        file.write_all(head.as_bytes()).unwrap();
        file.set_len(bytes).unwrap();
        let ran = split(&input, &out, &[]);
        ran.assert_within();
        let refused = table(&out.join("rejects.parquet"));
        assert_eq!(
            refused["data"]["line"],
            serde_json::json!([if name == "line.smi" { 2 } else { 3 }])
        );
        assert!(
            refused["data"]["reason"][0]
                .as_str()
                .unwrap()
                .contains("longer than 1 MiB"),
            "{refused}"
        );
        assert_eq!(table(&out.join("library.parquet"))["rows"], 1);
        fs_err::remove_dir_all(&out).unwrap();
        fs_err::remove_file(&input).unwrap();
    }
    // As the header, it names no columns.
    let input = dir.path().join("header.csv");
    fs_err::File::create(&input)
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    refused(
        &split(&input, &out, &[]),
        &["header.csv", "line 1", "longer than 1 MiB"],
    );
}

#[test]
fn compressed_bombs() {
    let dir = scratch();
    let out = dir.path().join("out");
    // 1 GiB of one line in 64 members of 16 MiB: 1 MB on disk.
    let zeros = vec![b'C'; 16 << 20];
    let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&zeros).unwrap();
    let member = gz.finish().unwrap();
    let mut head = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    head.write_all(b"smiles\nC\n").unwrap();
    let head = head.finish().unwrap();
    let frame = zstd::encode_all(&zeros[..], 1).unwrap();
    let zhead = zstd::encode_all(&b"smiles\nC\n"[..], 1).unwrap();
    for (name, head, member) in [
        ("bomb.tsv.gz", head, member),
        ("bomb.csv.zst", zhead, frame),
    ] {
        let input = dir.path().join(name);
        fs_err::write(&input, [head, member.repeat(64)].concat()).unwrap();
        let ran = split(&input, &out, &[]);
        ran.assert_within();
        assert_eq!(json(&out.join("library.parquet.stats.json"))["rows_out"], 1);
        let sidecar = json(&out.join("rejects.parquet.stats.json"));
        assert_eq!(sidecar["rows_rejected"]["too_long"], 1, "{sidecar}");
        fs_err::remove_dir_all(&out).unwrap();
        // Cut off in the middle, it is an error that names the line.
        let bytes = fs_err::read(&input).unwrap();
        fs_err::write(&input, &bytes[..bytes.len() - 100]).unwrap();
        refused(&split(&input, &out, &[]), &[name, "line 3"]);
    }
    // A zstd frame that asks for a window of 2 GiB.
    let mut large = zstd::Encoder::new(Vec::new(), 1).unwrap();
    large.long_distance_matching(true).unwrap();
    large.window_log(31).unwrap();
    large.write_all(b"smiles\nC\n").unwrap();
    let input = dir.path().join("window.tsv.zst");
    fs_err::write(&input, large.finish().unwrap()).unwrap();
    refused(&split(&input, &out, &[]), &["window.tsv.zst", "window"]);
}

#[test]
fn text_that_is_not_quite_a_table() {
    let dir = scratch();
    let out = dir.path().join("out");
    // Text, rows, rejected by reason.
    let taken: [(&str, &[u8], u64, serde_json::Value); 5] = [
        (
            "nul.tsv",
            b"id\tsmiles\na\tC\0C\nb\tCC\n",
            2,
            serde_json::json!({}),
        ),
        (
            "latin.tsv",
            b"id\tsmiles\na\tC\xe9\nb\tCC\n",
            1,
            serde_json::json!({"not_utf8": 1}),
        ),
        (
            "crlf.tsv",
            b"id\tsmiles\r\na\tC\r\nb\tCC\r\n",
            2,
            serde_json::json!({}),
        ),
        (
            "bom.csv",
            b"\xef\xbb\xbfsmiles,id\nC,a\n",
            1,
            serde_json::json!({}),
        ),
        (
            "short.tsv",
            b"id\tsmiles\na\nb\tC\nc\tC\tx\nd\t \n",
            1,
            serde_json::json!({"column_count": 2, "empty_smiles": 1}),
        ),
    ];
    for (name, text, rows, rejected) in taken {
        let input = dir.path().join(name);
        fs_err::write(&input, text).unwrap();
        split(&input, &out, &[]).assert_within();
        let sidecar = json(&out.join("rejects.parquet.stats.json"));
        assert_eq!(sidecar["rows_rejected"], rejected, "{name}");
        assert_eq!(sidecar["rows_out"], rows, "{name}: {sidecar}");
        // Whatever came through, the next program takes it: a NUL is a molecule that does not parse.
        let mut tool = transform(
            &out.join("library.parquet"),
            &root().join("configs/transforms.yaml"),
            &dir.path().join("shard"),
        );
        run_capped(tool.args(["--rule", OME]), 128 * MIB).assert_within();
        let shard = json(&dir.path().join("shard/shard.stats.json"));
        assert_eq!(shard["rows_in"], rows);
        assert_eq!(
            shard["rows_rejected"].as_object().unwrap().len(),
            usize::from(name == "nul.tsv"),
            "{shard}"
        );
        fs_err::remove_dir_all(&out).unwrap();
    }
    let refusals: [(&str, &[u8], &[&str]); 7] = [
        (
            "twice.tsv",
            b"smiles\tsmiles\nC\tC\n",
            &["twice.tsv", "line 1", "more than once"],
        ),
        (
            "unnamed.tsv",
            b"smiles\t\nC\tC\n",
            &["unnamed.tsv", "line 1", "no name"],
        ),
        (
            "none.tsv",
            b"id\tname\na\tb\n",
            &["none.tsv", "line 1", "smiles"],
        ),
        (
            "latin-header.csv",
            b"smiles,caf\xe9\nC,x\n",
            &["latin-header.csv", "line 1", "UTF-8"],
        ),
        ("empty.csv", b"", &["empty.csv", "empty"]),
        ("blank.csv", b"\n\n\n", &["blank.csv", "no header"]),
        ("liar.parquet", b"smiles\nC\n", &["liar.parquet", "PAR1"]),
    ];
    for (name, text, words) in refusals {
        let input = dir.path().join(name);
        fs_err::write(&input, text).unwrap();
        refused(&split(&input, &out, &[]), words);
    }
    assert!(!out.join("plan.json").exists());
}

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

/// Where the rows of a whole run of split and transform went.
fn every_row_is_somewhere(rows: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let dir = scratch();
    let input = dir.path().join("molecules.tsv");
    let mut text = b"smiles\n".to_vec();
    for row in rows {
        text.extend_from_slice(row);
        text.push(b'\n');
    }
    fs_err::write(&input, &text).unwrap();
    let out = dir.path().join("library");
    let ran = split(&input, &out, &[]);
    prop_assert_eq!(ran.measured.exit_code, Some(0), "{}", ran.stderr);
    let read = json(&out.join("rejects.parquet.stats.json"));
    let lost: u64 = read["rows_rejected"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(serde_json::Value::as_u64)
        .sum();
    let molecules = read["rows_out"].as_u64().unwrap();
    prop_assert_eq!(read["rows_in"].as_u64().unwrap(), lost + molecules);
    let shard = dir.path().join("shard");
    let mut tool = quiet("halo-transform-shard");
    tool.arg("--input")
        .arg(out.join("library.parquet"))
        .arg("--out-dir")
        .arg(&shard);
    tool.arg("--rules")
        .arg(root().join("configs/transforms.yaml"));
    tool.args([
        "--class",
        "polyphenol",
        "--threads",
        "2",
        "--row-timeout",
        "20",
        "--memory-limit",
        "256MiB",
    ]);
    let ran = run_capped(&tool, 256 * MIB);
    prop_assert_eq!(ran.measured.exit_code, Some(0), "{}", ran.stderr);
    prop_assert!(ran.verdict(0).is_ok() && !ran.stderr.contains("panicked"));
    let stats = json(&shard.join("shard.stats.json"));
    let rejects = table(&shard.join("rejects.parquet"));
    let column =
        |table: &serde_json::Value, name: &str| table["data"][name].as_array().unwrap().clone();
    let mut whole = BTreeSet::new();
    for ((row, rule), reason) in column(&rejects, "row")
        .iter()
        .zip(column(&rejects, "rule"))
        .zip(column(&rejects, "reason"))
    {
        prop_assert!(
            !reason.as_str().unwrap().is_empty(),
            "row {row} is rejected without a reason"
        );
        prop_assert!(row.as_u64().unwrap() < molecules);
        if rule.is_null() {
            prop_assert!(
                whole.insert(row.as_u64().unwrap()),
                "row {row} is rejected twice"
            );
        }
    }
    prop_assert_eq!(stats["rows_in"].as_u64().unwrap(), molecules);
    prop_assert_eq!(
        stats["rows_done"].as_u64().unwrap(),
        molecules - whole.len() as u64
    );
    let products = table(&shard.join(format!("{OME}.parquet")));
    for (row, smiles) in column(&products, "source_row")
        .iter()
        .zip(column(&products, "smiles"))
    {
        prop_assert!(
            !whole.contains(&row.as_u64().unwrap()),
            "row {row} is a product and a reject"
        );
        prop_assert!(!smiles.as_str().unwrap().is_empty());
    }
    Ok(())
}

/// What is done to a real SMILES: at a place, remove, double or replace a byte.
fn mutated(real: &str, changes: &[(u16, u8, u8)]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"CNOPSFIBclnos[]()=#@+-123456789%/\\.:*H$~>\"\t ";
    let mut bytes = real.as_bytes().to_vec();
    for (place, kind, value) in changes {
        let at = usize::from(*place) % bytes.len().max(1);
        let letter = ALPHABET[usize::from(*value) % ALPHABET.len()];
        match kind % 3 {
            0 if !bytes.is_empty() => drop(bytes.remove(at)),
            1 if !bytes.is_empty() => bytes[at] = letter,
            _ => bytes.insert(at, letter),
        }
    }
    bytes
}

#[test]
fn random_rows_are_products_or_rejects_with_a_reason() {
    let real: Vec<String> = np_68k(30, 2000)
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').nth(1).map(str::to_owned))
        .collect();
    assert!(
        real.len() > 1000 && real[0].contains('C'),
        "{:?}",
        real.first()
    );
    let count = real.len();
    let noise = proptest::collection::vec(any::<u8>(), 0..80);
    let change = (any::<u16>(), any::<u8>(), any::<u8>());
    let mutant = (0..count, proptest::collection::vec(change, 1..4));
    let row = prop_oneof![
        1 => noise,
        4 => mutant.prop_map(move |(i, changes)| mutated(&real[i], &changes)),
    ];
    let rows = proptest::collection::vec(row, 2000);
    let mut config = ProptestConfig::with_cases(
        std::env::var("HALOCLINE_DAMAGES").map_or(1, |n| n.parse::<u32>().unwrap().div_ceil(100)),
    );
    // A failing library is large; a few halvings are enough to look at.
    config.max_shrink_iters = 20;
    config.failure_persistence = None;
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&rows, |rows| every_row_is_somewhere(&rows))
        .unwrap();
}
