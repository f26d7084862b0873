//! `halo-validate-parquet` as a person runs it: every kind of damage has its code.

#![expect(clippy::unwrap_used, reason = "test helpers, too, fail by panicking")]

mod content;
mod file;

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, SchemaRef};
use halocline_cli::sidecar::{Output, Sidecar};
use halocline_table::schema::dictionary;
use halocline_table::{Kind, Meta, Published, TableWriter, WriterOptions, product_schema};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

#[derive(Clone)]
struct Row {
    smiles: Option<String>,
    source_row: i64,
    rule: String,
    site: i32,
}

fn rows(n: i64) -> Vec<Row> {
    (0..n)
        .map(|i| Row {
            smiles: Some(
                format!("C{}", "OC".repeat(1 + i as usize % 40)) + &"N".repeat(i as usize / 40),
            ),
            source_row: i / 3,
            rule: "R1".to_owned(),
            site: (i % 3) as i32,
        })
        .collect()
}

fn batch(schema: &SchemaRef, rows: &[Row]) -> RecordBatch {
    let dictionary = |values: Vec<&str>| cast(&StringArray::from(values), &dictionary()).unwrap();
    let rules = || rows.iter().map(|r| r.rule.as_str()).collect::<Vec<_>>();
    let atoms = ListArray::from_iter_primitive::<Int32Type, _, _>(
        rows.iter().map(|r| Some(vec![Some(r.site)])),
    );
    let (_, offsets, values, nulls) = atoms.into_parts();
    let atoms = ListArray::new(
        halocline_table::schema::site_atom_field(),
        offsets,
        values,
        nulls,
    );
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(
            rows.iter().map(|r| r.smiles.as_deref()).collect::<Vec<_>>(),
        )),
        Arc::new(StringArray::from(vec!["C"; rows.len()])),
        Arc::new(Int64Array::from(
            rows.iter().map(|r| r.source_row).collect::<Vec<_>>(),
        )),
        dictionary(rules()),
        dictionary(rules()),
        dictionary(vec!["f"; rows.len()]),
        Arc::new(Int32Array::from(
            rows.iter().map(|r| r.site).collect::<Vec<_>>(),
        )),
        Arc::new(atoms),
        Arc::new(Int32Array::from(vec![1; rows.len()])),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn schema() -> SchemaRef {
    product_schema(&[Field::new("k", DataType::Int32, true)]).unwrap()
}

fn meta() -> Meta {
    let mut meta = Meta::new(Kind::Product);
    meta.rule = Some("R1".into());
    meta
}

fn write(path: &Path, schema: &SchemaRef, meta: &Meta, rows: &[Row]) -> Published {
    let options = WriterOptions {
        row_group_bytes: 100_000,
    };
    let mut writer = TableWriter::create(path, schema, meta, options).unwrap();
    for rows in rows.chunks(1000) {
        writer.write(&batch(schema, rows)).unwrap();
    }
    writer.finish().unwrap()
}

fn table(dir: &Path, rows: &[Row]) -> PathBuf {
    let path = dir.join("products.parquet");
    let published = write(&path, &schema(), &meta(), rows);
    let sidecar = Sidecar {
        output: Some(Output {
            path: "products.parquet".into(),
            rows: published.rows,
            bytes: published.bytes,
            xxh3_128: published.xxh3_128,
        }),
        ..Sidecar::new("test")
    };
    sidecar.write(&Sidecar::path_for(&path)).unwrap();
    path
}

struct Verdict {
    exit: i32,
    json: serde_json::Value,
    stderr: String,
}

impl Verdict {
    fn codes(&self) -> Vec<&str> {
        let failures = self.json["failures"].as_array().unwrap();
        failures
            .iter()
            .map(|f| f["code"].as_str().unwrap())
            .collect()
    }
}

/// The program in a folder of its own: beside others it would find RDKit or not, by what was built.
fn program() -> &'static Path {
    static ALONE: OnceLock<PathBuf> = OnceLock::new();
    ALONE.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_halo-validate-parquet"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("alone");
        std::fs::create_dir_all(&folder).unwrap();
        let alone = folder.join("halo-validate-parquet");
        let _ = std::fs::remove_file(&alone);
        std::fs::hard_link(built, &alone).unwrap();
        alone
    })
}

fn validate(path: &Path, more: &[&str]) -> Verdict {
    let output = Command::new(program())
        .arg(path)
        .args(more)
        .arg("-q")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let exit = output.status.code().unwrap();
    assert!(exit < 2, "{stderr}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["valid"].as_bool().unwrap(), exit == 0);
    if exit == 1 {
        assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
        assert!(
            stderr.contains(path.file_name().unwrap().to_str().unwrap()),
            "{stderr}"
        );
    }
    Verdict { exit, json, stderr }
}

#[test]
fn a_good_table_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(9000));
    let verdict = validate(&path, &["--expect-rule", "R1", "--keep", "k"]);
    assert_eq!(verdict.exit, 0, "{}", verdict.stderr);
    assert_eq!(verdict.json["rows"], 9000);
    assert_eq!(verdict.json["duplicates"], 0);
    assert!(verdict.json["pages_checked"].as_u64().unwrap() > 20);
    let checks = verdict.json["checks"].as_object().unwrap();
    for check in [
        "footer",
        "metadata",
        "columns",
        "sidecar",
        "checksums",
        "values",
        "order",
        "unique",
    ] {
        assert_eq!(checks[check], "passed", "{check}");
    }
    assert!(
        checks["smiles_parse"]
            .as_str()
            .unwrap()
            .starts_with("skipped: no RDKit at hand")
    );

    let out = dir.path().join("validation.json");
    let status = Command::new(program())
        .args([&path, Path::new("--out"), &out])
        .output()
        .unwrap();
    assert!(status.status.success() && status.stdout.is_empty());
    let text = std::fs::read_to_string(out).unwrap();
    assert!(text.contains("\"valid\": true"), "{text}");
}

#[test]
fn empty_tables_are_valid_and_missing_files_are_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(validate(&table(dir.path(), &[]), &[]).exit, 0);
    let output = Command::new(program())
        .arg(dir.path().join("nowhere.parquet"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("nowhere.parquet`: no such file")
    );
    // Nor is a folder, or a verdict that has no place to be.
    let good = table(dir.path(), &[]);
    let verdict = dir.path().join("nowhere/verdict.json");
    for (args, words) in [
        (vec![dir.path()], "not a regular file"),
        (
            vec![good.as_path(), Path::new("--out"), &verdict],
            "--out: the folder",
        ),
    ] {
        let output = Command::new(program()).args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn the_table_and_its_sidecar_are_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(90));
    let alone = dir.path().join("alone.parquet");
    std::fs::copy(&path, &alone).unwrap();
    std::os::unix::fs::symlink(&path, dir.path().join("soft.json")).unwrap();
    let files = || -> Vec<_> {
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let run = |args: &str| {
        let output = Command::new(program())
            .current_dir(dir.path())
            .args(args.split(' '))
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    };
    let before = files();
    for (args, option, file) in [
        (
            "products.parquet --out products.parquet",
            "--out",
            "products.parquet",
        ),
        (
            "products.parquet --out ./products.parquet",
            "--out",
            "products.parquet",
        ),
        (
            "products.parquet --out soft.json",
            "--out",
            "products.parquet",
        ),
        (
            "products.parquet --out products.parquet.stats.json",
            "--out",
            "products.parquet.stats.json",
        ),
        (
            "products.parquet --repair products.parquet",
            "--repair",
            "products.parquet",
        ),
        (
            "alone.parquet --repair alone.parquet.stats.json",
            "--repair",
            "alone.parquet.stats.json",
        ),
        (
            "alone.parquet --repair new.parquet --out new.parquet",
            "--repair",
            "new.parquet",
        ),
        (
            "alone.parquet --repair new.parquet --out new.parquet.stats.json",
            "--repair",
            "new.parquet.stats.json",
        ),
    ] {
        let (code, stderr) = run(args);
        assert_eq!(code, 2, "{args}: {stderr}");
        let says = format!("{option} would overwrite `{file}`");
        assert!(stderr.contains(&says), "{args}: {stderr}");
        assert_eq!(files(), before, "{args}");
    }
    // An earlier verdict is replaced.
    for _ in 0..2 {
        let (code, stderr) = run("products.parquet --out validation.json");
        assert_eq!(code, 0, "{stderr}");
    }
    assert_eq!(validate(&path, &[]).exit, 0);
}
