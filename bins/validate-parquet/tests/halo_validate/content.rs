//! What is in it: rows, their order, columns, keys.

use crate::{Row, batch, meta, rows, schema, table, validate, write};
use arrow::array::{RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use halocline_table::{Kind, Meta, TableReader, TableWriter, WriterOptions};
use std::sync::Arc;

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
