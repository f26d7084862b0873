//! `halo-validate-parquet` as a person runs it: every kind of damage has its code.

#![expect(clippy::unwrap_used, reason = "test helpers, too, fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use halocline_cli::sidecar::{Output, Sidecar};
use halocline_table::schema::dictionary;
use halocline_table::{
    Kind, Meta, Published, TableReader, TableWriter, WriterOptions, product_schema,
};

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
fn damage_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(9000));
    let good = std::fs::read(&path).unwrap();
    let code = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let verdict = validate(&path, &[]);
        assert_eq!(verdict.exit, 1);
        verdict
            .codes()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(code(b""), ["empty_file"]);
    assert_eq!(code(b"hello"), ["not_parquet"]);
    assert_eq!(code(&good[..good.len() / 2]), ["no_footer"]);
    assert_eq!(code(&good[..good.len() - 1]), ["no_footer"]);
    let mut bad = good.clone();
    let at = good.len() - 200;
    bad[at..at + 100].fill(0xff);
    assert_eq!(code(&bad), ["footer_damaged"]);
    let mut bad = good.clone();
    bad[3000] ^= 4;
    let codes = code(&bad);
    assert!(codes.contains(&"digest".to_owned()), "{codes:?}");
    assert!(codes.contains(&"crc_mismatch".to_owned()), "{codes:?}");
    assert!(codes.contains(&"unreadable".to_owned()), "{codes:?}");
    // Without the sidecar, too.
    std::fs::remove_file(Sidecar::path_for(&path)).unwrap();
    let verdict = validate(&path, &[]);
    assert!(verdict.codes().contains(&"crc_mismatch"));
    // What was not read was not checked.
    for check in ["order", "unique", "smiles_parse"] {
        assert_eq!(
            verdict.json["checks"][check], "skipped: not every row could be read",
            "{check}"
        );
    }
    assert!(
        verdict.stderr.ends_with("(and 1 more kind of failure)\n"),
        "{}",
        verdict.stderr
    );
    assert!(
        verdict.json["checks"]["sidecar"]
            .as_str()
            .unwrap()
            .starts_with("skipped")
    );
}

/// A page header in Thrift's compact protocol, up to its checksum: page type, size, compressed size, CRC, as fields 1 to 4.
fn without_crc(header: &[u8]) -> (Vec<u8>, usize) {
    let varint = |at: usize| {
        let length = header[at..].iter().take_while(|b| **b & 0x80 != 0).count() + 1;
        (header[at..at + length].to_vec(), at + length)
    };
    let mut at = 0;
    let mut fields = Vec::new();
    for _ in 0..4 {
        assert_eq!(header[at], 0x15, "the next field, an i32");
        let (value, next) = varint(at + 1);
        fields.push(value);
        at = next;
    }
    // The field behind the checksum is one further away now. What is missing in length, longer forms of the numbers make up.
    let mut missing = 1 + fields.pop().unwrap().len();
    let mut out = Vec::new();
    for mut value in fields {
        out.push(0x15);
        while missing > 0 && value.len() < 5 {
            *value.last_mut().unwrap() |= 0x80;
            value.push(0);
            missing -= 1;
        }
        out.extend(value);
    }
    assert_eq!(missing, 0);
    out.push(header[at] + 0x10);
    assert_eq!(out.len(), at + 1);
    (out, at + 1)
}

#[test]
fn pages_without_a_checksum_or_with_a_broken_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(9000));
    std::fs::remove_file(Sidecar::path_for(&path)).unwrap();
    let good = std::fs::read(&path).unwrap();
    assert_eq!(validate(&path, &[]).exit, 0);
    let group = TableReader::open(&path)
        .unwrap()
        .row_group_metadata(0)
        .unwrap();
    let page = group.column(0).byte_range().0 as usize;
    let (header, length) = without_crc(&good[page..]);
    let mut bad = good.clone();
    bad[page..page + length].copy_from_slice(&header);
    std::fs::write(&path, &bad).unwrap();
    let verdict = validate(&path, &[]);
    assert_eq!((verdict.exit, verdict.codes()), (1, vec!["crc_missing"]));
    assert_eq!(verdict.json["failures"][0]["count"], 1);
    assert_eq!(verdict.json["checks"]["checksums"], "failed");
    let mut bad = good;
    bad[page..page + 4].fill(0xff);
    std::fs::write(&path, &bad).unwrap();
    let verdict = validate(&path, &[]);
    assert!(
        verdict.codes().contains(&"page_header"),
        "{:?}",
        verdict.codes()
    );
    assert!(verdict.stderr.contains("row group 0"), "{}", verdict.stderr);
}

#[test]
fn every_flipped_bit_is_found_with_its_sidecar() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(300));
    let good = std::fs::read(&path).unwrap();
    for i in 0..60usize {
        let mut bad = good.clone();
        let at = i * (good.len() - 1) / 59;
        bad[at] ^= 1 << (i % 8);
        std::fs::write(&path, &bad).unwrap();
        assert_eq!(validate(&path, &[]).exit, 1, "bit {at}");
    }
}

#[test]
fn a_sidecar_that_says_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(300));
    let place = Sidecar::path_for(&path);
    let good = Sidecar::read(&place).unwrap();
    let code = |change: fn(&mut Output)| {
        let mut sidecar = good.clone();
        change(sidecar.output.as_mut().unwrap());
        sidecar.write(&place).unwrap();
        validate(&path, &[]).codes().join(" ")
    };
    assert_eq!(code(|o| o.rows += 1), "row_count");
    assert_eq!(code(|o| o.bytes += 1), "file_size");
    assert_eq!(code(|o| o.xxh3_128 = "0".repeat(32)), "digest");
    std::fs::write(&place, "{").unwrap();
    assert_eq!(validate(&path, &[]).codes(), ["sidecar"]);
}

#[test]
fn wrong_rows() {
    let dir = tempfile::tempdir().unwrap();
    let good = rows(3000);
    let verdict = |change: &dyn Fn(&mut Vec<Row>)| {
        let mut rows = good.clone();
        change(&mut rows);
        validate(&table(dir.path(), &rows), &[])
    };
    let v = verdict(&|rows| rows[2500].smiles = rows[17].smiles.clone());
    assert_eq!(v.codes(), ["duplicate_key"]);
    assert!(
        v.stderr.contains("row 2500, equal to row 17"),
        "{}",
        v.stderr
    );
    let v = verdict(&|rows| rows.swap(10, 1500));
    assert_eq!(v.codes(), ["disorder"]);
    assert!(
        v.stderr.contains("row 11") && v.stderr.contains("source_row"),
        "{}",
        v.stderr
    );
    let v = verdict(&|rows| rows.swap(0, 1));
    assert_eq!(v.codes(), ["disorder"]);
    assert!(v.stderr.contains("xf_site_index"), "{}", v.stderr);
    assert_eq!(
        verdict(&|rows| rows[7].smiles = Some(String::new())).codes(),
        ["smiles_text"]
    );
    assert_eq!(
        verdict(&|rows| rows[7].smiles = Some("C(C".into())).codes(),
        ["smiles_text"]
    );
    let v = verdict(&|rows| rows[7].rule = "R2".into());
    assert!(v.codes().contains(&"rule_mismatch"), "{:?}", v.codes());
    let v = validate(&table(dir.path(), &good), &["--expect-rule", "R9"]);
    assert_eq!(v.codes(), ["rule_mismatch"]);
    assert_eq!(v.json["failures"][0]["count"], 3000, "rows");
    // Duplicates are nobody's business when other keys are asked for.
    let twice: Vec<Row> = good
        .iter()
        .map(|r| Row {
            smiles: Some("C".into()),
            ..r.clone()
        })
        .collect();
    let path = table(dir.path(), &twice);
    assert_eq!(
        validate(&path, &["--keys", "source_row,xf_site_index"]).exit,
        0
    );
    assert_eq!(validate(&path, &["--keys", "none"]).exit, 0);
    assert_eq!(validate(&path, &[]).json["duplicates"], 2999);
}

#[test]
fn rules_stand_together_but_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut meta = meta();
    meta.rule = None;
    let row = |source_row: i64, rule: &str, site: i32| Row {
        smiles: Some(format!("C{source_row}{rule}{site}")),
        source_row,
        rule: rule.into(),
        site,
    };
    let path = dir.path().join("library.parquet");
    let good = [
        row(0, "Z", 0),
        row(0, "Z", 4),
        row(0, "A", 1),
        row(1, "A", 0),
        row(1, "Z", 0),
    ];
    write(&path, &schema(), &meta, &good);
    assert_eq!(validate(&path, &[]).exit, 0);
    // A library may be named after its set of rules; a rule asked for is another matter.
    meta.rule = Some("halogens".into());
    write(&path, &schema(), &meta, &good);
    assert_eq!(validate(&path, &[]).exit, 0);
    let asked = validate(&path, &["--expect-rule", "halogens"]);
    assert_eq!(asked.codes(), ["rule_mismatch"]);
    let bad = [row(0, "Z", 0), row(0, "A", 1), row(0, "Z", 4)];
    write(&path, &schema(), &meta, &bad);
    let verdict = validate(&path, &[]);
    assert_eq!(verdict.codes(), ["disorder"]);
    assert!(verdict.stderr.contains("row 2") && verdict.stderr.contains("xf_rule_id"));
}

#[test]
fn wrong_columns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("products.parquet");
    let all = batch(&schema(), &rows(100));
    let save = |meta: &Meta, fields: &[usize], change: Option<(usize, DataType)>| {
        let (mut out, mut columns) = (Vec::new(), Vec::new());
        for i in fields {
            let mut field = all.schema().field(*i).clone();
            let mut column = Arc::clone(all.column(*i));
            if let Some((at, to)) = &change
                && at == i
            {
                column = cast(&column, to).unwrap();
                field = field.with_data_type(to.clone());
            }
            out.push(field);
            columns.push(column);
        }
        let schema = Arc::new(Schema::new(out));
        let mut writer =
            TableWriter::create(&path, &schema, meta, WriterOptions::default()).unwrap();
        writer
            .write(&RecordBatch::try_new(schema, columns).unwrap())
            .unwrap();
        writer.finish().unwrap();
    };
    let eight = [0, 1, 2, 3, 4, 5, 6, 7];
    save(&meta(), &eight[..7], None);
    assert_eq!(validate(&path, &[]).codes(), ["missing_column"]);
    save(&meta(), &[1, 2, 3, 4, 5, 6, 7, 8], None);
    assert!(validate(&path, &[]).codes().contains(&"missing_column"));
    save(&meta(), &[1, 0, 2, 3, 4, 5, 6, 7], None);
    assert_eq!(validate(&path, &[]).codes(), ["extra_column"]);
    save(&meta(), &eight, Some((2, DataType::Int32)));
    assert_eq!(validate(&path, &[]).codes(), ["wrong_type"]);
    save(&meta(), &eight, Some((3, DataType::Utf8)));
    assert_eq!(validate(&path, &[]).codes(), ["wrong_type"]);
    save(&meta(), &[0, 1, 2, 3, 4, 5, 6, 7, 8], None);
    assert_eq!(validate(&path, &["--keep", ""]).codes(), ["extra_column"]);
    assert_eq!(
        validate(&path, &["--keep", "k,m"]).codes(),
        ["missing_column"]
    );
    let mut old = meta();
    old.schema_version = "0".into();
    save(&old, &eight, None);
    assert_eq!(validate(&path, &[]).codes(), ["schema_version"]);
}

#[test]
fn nulls_in_a_column_that_allows_them_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("products.parquet");
    let mut fields: Vec<Field> = schema()
        .fields()
        .iter()
        .map(|f| f.as_ref().clone())
        .collect();
    fields[0] = fields[0].clone().with_nullable(true);
    let schema = Arc::new(Schema::new(fields));
    let mut rows = rows(500);
    rows[123].smiles = None;
    write(&path, &schema, &meta(), &rows);
    let verdict = validate(&path, &[]);
    assert_eq!(verdict.codes(), ["null_value"]);
    assert!(verdict.stderr.contains("row 123"), "{}", verdict.stderr);
}

#[test]
fn many_keys_in_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("products.parquet");
    let schema = Arc::new(Schema::new(vec![Field::new(
        "smiles",
        DataType::Utf8,
        false,
    )]));
    let mut writer = TableWriter::create(
        &path,
        &schema,
        &Meta::new(Kind::Library),
        WriterOptions::default(),
    )
    .unwrap();
    let n = 1_500_000u64;
    for start in (0..n).step_by(10_000) {
        // Row 1,234,567 repeats row 42.
        let text = |i: u64| format!("C{:x}", if i == 1_234_567 { 42 } else { i });
        let column = StringArray::from_iter_values((start..start + 10_000).map(text));
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    assert!(TableReader::open(&path).unwrap().rows() == n);
    for limit in ["40MiB", "512MiB"] {
        let verdict = validate(&path, &["--keys", "smiles", "--memory-limit", limit]);
        assert_eq!(verdict.codes(), ["duplicate_key"]);
        assert_eq!(verdict.json["duplicates"], 1);
        assert!(
            verdict
                .stderr
                .contains("row 1234567, equal to row 42: `C2a`"),
            "{}",
            verdict.stderr
        );
        let peak = verdict.json["peak_rss_bytes"].as_u64().unwrap();
        let residual = verdict.json["residual_bytes"].as_u64().unwrap();
        assert!(residual > 0 && residual < peak, "{residual} of {peak}");
        assert!(
            peak <= verdict.json["memory_limit_bytes"].as_u64().unwrap(),
            "{peak}"
        );
        let spilled = verdict.json["spill_bytes"].as_u64().unwrap();
        assert_eq!(spilled > 0, limit == "40MiB", "{spilled}");
    }
}

#[test]
fn a_cut_off_table_is_repaired_into_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(9000));
    let good = std::fs::read(&path).unwrap();
    let whole = TableReader::open(&path).unwrap();
    let first = whole.row_group_rows(2);
    let cut = dir.path().join("cut.parquet");
    let at = whole
        .row_group_metadata(2)
        .unwrap()
        .column(3)
        .byte_range()
        .0 as usize;
    std::fs::write(&cut, &good[..at]).unwrap();
    let new = dir.path().join("saved.parquet");
    let repair = || {
        Command::new(program())
            .args([&cut, Path::new("--repair"), &new])
            .output()
            .unwrap()
    };
    let output = repair();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("lost"), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows_saved"], first.start);
    assert_eq!(report["row_groups_saved"], 2);
    assert!(report["tail_bytes"].as_u64().unwrap() > 0);
    // It is whole, but not all that was there.
    let verdict = validate(&new, &[]);
    assert_eq!((verdict.exit, verdict.codes()), (1, vec!["salvaged"]));
    let saved = TableReader::open(&new).unwrap();
    assert_eq!((saved.rows(), saved.row_groups()), (first.start, 2));
    assert!(saved.meta().unwrap().extra.contains_key("salvaged"));
    // Where nothing can be saved nothing is written.
    let none = dir.path().join("none.parquet");
    std::fs::write(&cut, &good[..3000]).unwrap();
    let output = Command::new(program())
        .args([&cut, Path::new("--repair"), &none])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("nothing of"), "{stderr}");
    assert!(!none.exists());
    // The file that is there is not replaced; a file of others is an error.
    let again = repair();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8(again.stderr).unwrap().contains("already"));
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
