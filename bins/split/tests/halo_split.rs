//! `halo-split` as a person runs it.

#![expect(clippy::unwrap_used, reason = "test helpers, too, fail by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use halocline_cli::sidecar::Sidecar;
use halocline_table::plan_file::Plan;
use halocline_table::{ReadOptions, TableReader, file_digest};

fn split(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_halo-split"))
        .args(args)
        .arg("-q")
        .output()
        .unwrap()
}

fn done(args: &[&str]) -> String {
    let output = split(args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn fails(args: &[&str]) -> String {
    let output = split(args);
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

fn data(name: &str) -> String {
    format!("{}/../../data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn column(path: &Path, name: &str) -> Vec<Option<String>> {
    let table = TableReader::open(path).unwrap();
    let options = ReadOptions {
        columns: Some(vec![name.to_owned()]),
        ..ReadOptions::default()
    };
    let mut values = Vec::new();
    for batch in table.batches(options).unwrap() {
        let text = arrow::compute::cast(batch.unwrap().column(0), &DataType::Utf8).unwrap();
        values.extend(text.as_string::<i32>().iter().map(|v| v.map(str::to_owned)));
    }
    values
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_demo_by_class() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new/input");
    let input = data("np_700.tsv");
    done(&[
        &input,
        "--out-dir",
        text(&out),
        "--shards",
        "4",
        "--partition-by",
        "class",
        "--partitions",
        "polyphenol,alkaloid,nothing",
    ]);
    let tsv = std::fs::read_to_string(&input).unwrap();
    let rows: Vec<Vec<&str>> = tsv
        .lines()
        .skip(1)
        .map(|l| l.split('\t').collect())
        .collect();
    for class in ["polyphenol", "alkaloid", "nothing"] {
        let library = out.join(class).join("library.parquet");
        let expected: Vec<_> = rows
            .iter()
            .filter(|r| r[2] == class)
            .map(|r| Some(r[1].to_owned()))
            .collect();
        assert_eq!(column(&library, "smiles"), expected, "{class}");
        let plan = Plan::read(&out.join(class).join("plan.json")).unwrap();
        assert_eq!(plan.shards.len(), 4);
        assert_eq!(plan.input, library);
        assert_eq!(plan.input_rows, expected.len() as u64);
        assert_eq!(plan.input_fingerprint, file_digest(&library).unwrap());
        assert_eq!(plan.smiles_column, "smiles");
        let sidecar = Sidecar::read(&Sidecar::path_for(&library)).unwrap();
        assert_eq!(sidecar.output.unwrap().xxh3_128, plan.input_fingerprint);
        Sidecar::read(&Sidecar::path_for(&out.join(class).join("plan.json"))).unwrap();
    }
    assert!(column(&out.join("polyphenol/library.parquet"), "id").len() > 50);
    let whole = Sidecar::read(&Sidecar::path_for(&out.join("rejects.parquet"))).unwrap();
    assert_eq!(whole.rows_in, rows.len() as u64);
    let other = rows
        .iter()
        .filter(|r| r[2] != "polyphenol" && r[2] != "alkaloid")
        .count();
    assert_eq!(whole.counts["rows_other"], other as u64);
    assert_eq!(whole.rows_out + other as u64, whole.rows_in);
    assert!(whole.peak_rss_bytes <= whole.memory_limit_bytes);
}

#[test]
fn bad_rows_go_to_rejects_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.csv");
    std::fs::write(
        &input,
        "name,SMILES,mw\na,CCO,46\nb,,1\nc,C\n\"d\ne\",CC,30\nf,N,17,x\ng,O,18\n",
    )
    .unwrap();
    let out = dir.path().join("out");
    done(&[text(&input), "--out-dir", text(&out), "--shards", "2"]);
    let library = out.join("library.parquet");
    assert_eq!(
        column(&library, "name"),
        ["a", "d\ne", "g"].map(|s| Some(s.to_owned()))
    );
    let table = TableReader::open(&library).unwrap();
    assert_eq!(table.column("mw").unwrap().1.data_type(), &DataType::Int64);
    let rejects = TableReader::open(out.join("rejects.parquet")).unwrap();
    let batch = rejects
        .batches(ReadOptions::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec(),
        [3, 4, 7]
    );
    assert_eq!(batch.column(1).as_string::<i32>().value(0), "empty SMILES");
    assert_eq!(
        batch.column(1).as_string::<i32>().value(1),
        "2 columns where the header has 3"
    );
    assert_eq!(batch.column(2).as_string::<i32>().value(2), "f,N,17,x");
    let sidecar = Sidecar::read(&Sidecar::path_for(&library)).unwrap();
    assert_eq!(sidecar.rows_in, 3);
    let whole = Sidecar::read(&Sidecar::path_for(&out.join("rejects.parquet"))).unwrap();
    assert_eq!((whole.rows_in, whole.rows_rejected["column_count"]), (6, 2));
}

#[test]
fn every_format_gives_the_same_library() {
    let dir = tempfile::tempdir().unwrap();
    let tsv = std::fs::read_to_string(data("np_700.tsv")).unwrap();
    let pairs: Vec<(&str, &str)> = tsv
        .lines()
        .skip(1)
        .map(|l| l.split('\t').collect::<Vec<_>>())
        .map(|f| (f[1], f[0]))
        .collect();
    let table = |head: &str, gap: &str| {
        let mut text = head.to_owned();
        for (smiles, name) in &pairs {
            text.push_str(&format!("{smiles}{gap}{name}\n"));
        }
        text.into_bytes()
    };
    let gz = |bytes: &[u8]| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    };
    let mut digests = Vec::new();
    for (file, bytes) in [
        ("a.tsv", table("smiles\tname\n", "\t")),
        ("a.csv", table("smiles,name\n", ",")),
        ("a.smi", table("", "   ")),
        ("b.smi", table("smiles name\n", " ")),
        ("a.csv.gz", gz(&table("smiles,name\n", ","))),
        (
            "a.smi.zst",
            zstd::encode_all(&table("", "\t")[..], 19).unwrap(),
        ),
    ] {
        let input = dir.path().join(file);
        std::fs::write(&input, bytes).unwrap();
        let out = dir.path().join(format!("out-{file}"));
        done(&[text(&input), "--out-dir", text(&out), "--shards", "3"]);
        digests.push((file, file_digest(&out.join("library.parquet")).unwrap()));
    }
    assert!(digests.iter().all(|d| d.1 == digests[0].1), "{digests:?}");

    // The library again as input: planned, not copied.
    let library = dir.path().join("out-a.tsv/library.parquet");
    let out = dir.path().join("again");
    done(&[text(&library), "--out-dir", text(&out), "--shards", "3"]);
    assert!(!out.join("library.parquet").exists());
    let again = Plan::read(&out.join("plan.json")).unwrap();
    let first = Plan::read(&dir.path().join("out-a.tsv/plan.json")).unwrap();
    assert_eq!(again, first);
    assert_eq!(column(&out.join("rejects.parquet"), "reason").len(), 0);
}

#[test]
fn a_parquet_library_by_value_keeps_its_types() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    let input = data("np_700.tsv");
    done(&[&input, "--out-dir", text(&first), "--shards", "1"]);
    let library = first.join("library.parquet");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let by = [
        "--shards",
        "2",
        "--partition-by",
        "class",
        "--partitions",
        "lipid,terpenoid",
    ];
    let run = |input: &str, out: &PathBuf| {
        let mut args = vec![input, "--out-dir", text(out)];
        args.extend(by);
        done(&args);
    };
    run(text(&library), &a);
    run(&input, &b);
    for class in ["lipid", "terpenoid"] {
        let file = Path::new(class).join("library.parquet");
        assert_eq!(
            file_digest(&a.join(&file)).unwrap(),
            file_digest(&b.join(&file)).unwrap(),
            "from Parquet and from text the same bytes"
        );
    }
}

#[test]
fn neither_memory_nor_passes_change_a_byte() {
    let dir = tempfile::tempdir().unwrap();
    let input = data("np_68k.tsv.gz");
    let mut digests = Vec::new();
    for limit in ["36MiB", "512MiB"] {
        let out = dir.path().join(limit);
        done(&[
            &input,
            "--out-dir",
            text(&out),
            "--shards",
            "32",
            "--memory-limit",
            limit,
            "--partition-by",
            "class",
            "--partitions",
            "polyphenol,terpenoid,alkaloid,lipid,aa_peptide,other,polysaccharide",
        ]);
        let whole = Sidecar::read(&Sidecar::path_for(&out.join("rejects.parquet"))).unwrap();
        assert!(
            whole.peak_rss_bytes <= whole.memory_limit_bytes,
            "{}",
            whole.peak_rss_bytes
        );
        let mut of_limit = Vec::new();
        for class in [
            "polyphenol",
            "terpenoid",
            "alkaloid",
            "lipid",
            "aa_peptide",
            "other",
            "polysaccharide",
        ] {
            let plan = Plan::read(&out.join(class).join("plan.json")).unwrap();
            of_limit.push((plan.input_fingerprint, plan.shards));
        }
        digests.push(of_limit);
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_line_five_times_the_limit_is_one_reject_within_it() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("long.csv.gz");
    let file = std::fs::File::create(&input).unwrap();
    let mut gz = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gz.write_all(b"smiles\nCCO\n").unwrap();
    let block = vec![b'C'; 1 << 20];
    for _ in 0..256 {
        gz.write_all(&block).unwrap();
    }
    gz.write_all(b"\nCC\n").unwrap();
    gz.finish().unwrap();
    let out = dir.path().join("out");
    done(&[
        text(&input),
        "--out-dir",
        text(&out),
        "--shards",
        "1",
        "--memory-limit",
        "48MiB",
    ]);
    assert_eq!(column(&out.join("library.parquet"), "smiles").len(), 2);
    assert_eq!(
        column(&out.join("rejects.parquet"), "line"),
        [Some("3".to_owned())]
    );
    let whole = Sidecar::read(&Sidecar::path_for(&out.join("rejects.parquet"))).unwrap();
    assert!(whole.peak_rss_bytes <= 48 << 20, "{}", whole.peak_rss_bytes);
}

#[test]
fn errors_name_the_file_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let cases = [
        (file("none.tsv", b"id\tname\n1\ta\n"), "no SMILES column"),
        (file("empty.csv", b""), "empty"),
        (file("what.bin", b"hello"), "--format"),
        (file("cut.parquet", b"PAR1 and then nothing"), "no footer"),
        (file("cut.csv.gz", &[0x1f, 0x8b, 8, 0, 0]), "unexpected end"),
    ];
    for (path, word) in cases {
        let error = fails(&[text(&path), "--out-dir", text(&out), "--shards", "2"]);
        assert!(error.contains(word), "{error}");
        assert!(
            error.contains(path.file_name().unwrap().to_str().unwrap()),
            "{error}"
        );
        assert_eq!(
            error
                .trim_end()
                .lines()
                .filter(|l| !l.starts_with("hint"))
                .count(),
            1,
            "{error}"
        );
    }
    let left: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let good = data("np_700.tsv");
    for (args, word) in [
        (vec!["--shards", "0"], "--shards is 0"),
        (
            vec![
                "--shards",
                "2",
                "--partition-by",
                "class",
                "--partitions",
                "../x",
            ],
            "`../x`",
        ),
        (
            vec![
                "--shards",
                "2",
                "--partition-by",
                "klass",
                "--partitions",
                "x",
            ],
            "klass",
        ),
        (
            vec!["--shards", "2", "--memory-limit", "12MiB"],
            "least that works",
        ),
        (
            vec!["--shards", "2", "--smiles-column", "Smiles"],
            "no column `Smiles`",
        ),
    ] {
        let mut all = vec![good.as_str(), "--out-dir", text(&out)];
        all.extend(args);
        let error = fails(&all);
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn the_input_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path().join("d");
    let tsv = b"smiles\tclass\nCCO\ta\nC\tb\n";
    let np = dir.path().join("np.tsv");
    std::fs::write(&np, tsv).unwrap();
    done(&[text(&np), "--out-dir", text(&d), "--shards", "2"]);
    let library = std::fs::read(d.join("library.parquet")).unwrap();
    std::fs::create_dir(d.join("a")).unwrap();
    let by_class = ["--partition-by", "class", "--partitions", "a,b"];
    let as_tsv = ["--format", "tsv"];
    // Each in the place of a file the run would write.
    for (name, bytes, more) in [
        ("rejects.parquet", library.as_slice(), &[][..]),
        ("plan.json", library.as_slice(), &[]),
        ("rejects.parquet.stats.json", library.as_slice(), &[]),
        ("a/library.parquet", library.as_slice(), &by_class),
        ("a/plan.json.stats.json", library.as_slice(), &by_class),
        ("rejects.parquet", tsv, &as_tsv),
        ("plan.json", tsv, &as_tsv),
        ("library.parquet", tsv, &as_tsv),
        ("library.parquet.stats.json", tsv, &as_tsv),
        ("a/plan.json", tsv, &[as_tsv.as_slice(), &by_class].concat()),
    ] {
        let input = d.join(name);
        std::fs::write(&input, bytes).unwrap();
        let before = files(&d);
        for out in [d.clone(), dir.path().join("new/../d")] {
            let mut args = vec![text(&input), "--out-dir", text(&out), "--shards", "2"];
            args.extend(more);
            let error = fails(&args);
            let says = format!("--out-dir would overwrite `{}`", text(&input));
            assert!(error.contains(&says), "{error}");
            assert_eq!(files(&d), before, "{name}");
        }
        assert!(!dir.path().join("new").exists());
    }
    // A library that is not divided is only read, also beside its plan; and a run may be repeated.
    let input = d.join("library.parquet");
    std::fs::write(&input, &library).unwrap();
    for _ in 0..2 {
        done(&[text(&input), "--out-dir", text(&d), "--shards", "2"]);
        let mut divided = vec![text(&input), "--out-dir", text(&d), "--shards", "2"];
        divided.extend(by_class);
        done(&divided);
        done(&[text(&np), "--out-dir", text(&d), "--shards", "2"]);
    }
    assert_eq!(std::fs::read(&input).unwrap(), library);
}

/// The files in a folder and the folders in it, with their bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            all.push((path, bytes));
        }
    }
    all.sort();
    all
}

#[test]
fn inspect_prints_a_profile_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let printed = Command::new(env!("CARGO_BIN_EXE_halo-split"))
        .args([&data("np_700.tsv"), "--shards", "8", "--inspect"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    for word in [
        "rows      700",
        "by position",
        "shards",
        "equal cost",
        "equal rows",
        "products  about",
    ] {
        assert!(printed.contains(word), "{word}: {printed}");
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());

    // The shards are those that splitting makes, and the figures are theirs.
    let split = Command::new(env!("CARGO_BIN_EXE_halo-split"))
        .args([&data("np_700.tsv"), "--shards", "8", "-q", "--out-dir"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(split.success());
    let plan = std::fs::read(dir.path().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&plan).unwrap();
    let shards = plan["shards"].as_array().unwrap();
    let (_, table) = printed.split_once("\nshards\n").unwrap();
    let lines: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map_while(|line| (!line.is_empty()).then(|| line.split_whitespace().collect()))
        .collect();
    assert_eq!((lines.len(), shards.len()), (8, 8));
    let total: f64 = shards.iter().map(|s| s["cost"].as_f64().unwrap()).sum();
    let (mut products, mut largest) = (0, 0.0_f64);
    for (line, shard) in lines.iter().zip(shards) {
        let (start, end) = (
            shard["start"].as_u64().unwrap(),
            shard["end"].as_u64().unwrap(),
        );
        assert_eq!(line[1], format!("{start}..{end}"));
        assert_eq!(line[2].parse::<u64>().unwrap(), end - start);
        products += line[3].parse::<u64>().unwrap();
        let share = shard["cost"].as_f64().unwrap() * 8.0 / total;
        assert_eq!(line[4], format!("{share:.3}x"));
        largest = largest.max(share);
    }
    assert!(
        printed.contains(&format!("products  about {products} ")),
        "{printed}"
    );
    assert!(
        printed.contains(&format!("equal cost {largest:>8.3}\n")),
        "{printed}"
    );
}

#[test]
fn columns_of_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("t.csv");
    std::fs::write(&csv, "id,\"a \"\"b\"\"\",Smiles\n1,x,CCO\n").unwrap();
    done(&[text(&csv), "--out-dir", text(dir.path()), "--shards", "1"]);
    let parquet = dir.path().join("library.parquet");
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    for (table, format) in [(&csv, "CSV"), (&parquet, "Parquet")] {
        let mut split = std::process::Command::new(env!("CARGO_BIN_EXE_halo-split"));
        let output = split.args([text(table), "--columns"]).output().unwrap();
        assert!(output.status.success());
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let wanted = serde_json::json!({"format": format, "columns": ["id", "a \"b\"", "Smiles"], "smiles_column": "Smiles"});
        assert_eq!(found, wanted);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before);
    for more in [
        &["--shards", "2"][..],
        &["--inspect"],
        &["--cost", "transform"],
    ] {
        let error = fails(&[&[text(&csv), "--columns"], more].concat());
        assert!(error.contains("cannot be used with"), "{error}");
    }
}
