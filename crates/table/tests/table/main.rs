//! The laws of the table crate: bytes are a function of rows and options; ranges are what they
//! say; damage is found.

#![expect(clippy::unwrap_used, reason = "test helpers, too, fail by panicking")]
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StringDictionaryBuilder,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, SchemaRef};
use halocline_table::{
    Kind, Meta, ReadOptions, RowGroupCutter, TableError, TableReader, TableWriter, WriterOptions,
    WriterSchema, product_schema,
};

mod damage;

fn schema() -> SchemaRef {
    product_schema(&[
        Field::new("k", DataType::Int32, true),
        Field::new("note", DataType::Utf8, true),
    ])
    .unwrap()
}

/// Rows `start..end` of an endless product table; `note` is null in whole stretches.
fn rows(start: i64, end: i64) -> RecordBatch {
    let smiles = |n: i64, salt: i64| {
        let atoms = ["c1ccccc1", "C(=O)O", "OC", "N", "[C@@H](O)", "Br"];
        let mut text = String::from("C");
        let mut x = (n * 31 + salt).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) as u64;
        for _ in 0..(x >> 60) + 3 {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            text.push_str(atoms[(x >> 33) as usize % atoms.len()]);
        }
        text
    };
    let dictionary = |value: &str| {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        // A different physical dictionary for each batch; the values are what counts.
        for filler in 0..start % 5 {
            builder.append(format!("unused {filler}")).unwrap();
        }
        for n in start..end {
            builder.append(format!("{value}-{}", n / 700 % 3)).unwrap();
        }
        let array = builder.finish();
        Arc::new(array.slice((start % 5) as usize, (end - start) as usize)) as ArrayRef
    };
    let atoms = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (start..end).map(|n| Some((0..n % 4).map(|a| Some(a as i32)).collect::<Vec<_>>())),
    );
    let (_, offsets, values, nulls) = atoms.into_parts();
    let atoms = ListArray::new(
        halocline_table::schema::site_atom_field(),
        offsets,
        values,
        nulls,
    );
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(
                (start..end).map(|n| smiles(n, 0)),
            )),
            Arc::new(StringArray::from_iter_values(
                (start..end).map(|n| smiles(n / 6, 1)),
            )),
            Arc::new(Int64Array::from_iter_values((start..end).map(|n| n / 6))),
            dictionary("rule"),
            dictionary("label"),
            dictionary("family"),
            Arc::new(Int32Array::from_iter_values(
                (start..end).map(|n| (n % 6) as i32),
            )),
            Arc::new(atoms),
            Arc::new(Int32Array::from_iter(
                (start..end).map(|n| (n % 7 != 0).then_some(n as i32)),
            )),
            Arc::new(StringArray::from_iter(
                (start..end).map(|n| (n / 3000 % 2 == 1).then(|| format!("note {n}"))),
            )),
        ],
    )
    .unwrap()
}

fn meta() -> Meta {
    let mut meta = Meta::new(Kind::Product);
    meta.rule = Some("FG_PHENOL_OH__OH__TO__OMe".into());
    meta.rdkit_version = Some("2022.09.3".into());
    meta
}

const SMALL: u64 = 300_000;

fn write(path: &Path, total: i64, batch: impl Fn(i64) -> i64) -> halocline_table::Published {
    let options = WriterOptions {
        row_group_bytes: SMALL,
    };
    let mut writer = TableWriter::create(path, &schema(), &meta(), options).unwrap();
    let mut at = 0;
    while at < total {
        let end = (at + batch(at)).min(total);
        writer.write(&rows(at, end)).unwrap();
        at = end;
    }
    assert_eq!(writer.rows(), total as u64);
    writer.finish().unwrap()
}

fn read(table: &TableReader, options: ReadOptions) -> RecordBatch {
    let batches = table.batches(options).unwrap();
    let schema = Arc::clone(batches.schema());
    let batches: Vec<_> = batches.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn bytes_do_not_depend_on_batches_or_on_who_encodes() {
    let dir = tempfile::tempdir().unwrap();
    let total = 20_000;
    let mut digests = Vec::new();
    let batchings: [fn(i64) -> i64; 4] = [|_| 20_000, |_| 1000, |at| 1 + at % 977, |_| 8192];
    for (i, batching) in batchings.into_iter().enumerate() {
        let path = dir.path().join(format!("{i}.parquet"));
        let published = write(&path, total, batching);
        assert_eq!(published.rows, total as u64);
        assert_eq!(published.bytes, std::fs::metadata(&path).unwrap().len());
        assert_eq!(
            published.xxh3_128,
            halocline_table::file_digest(&path).unwrap()
        );
        digests.push(published.xxh3_128);
    }
    // Row groups encoded on other threads, appended in order.
    let path = dir.path().join("parallel.parquet");
    let options = WriterOptions {
        row_group_bytes: SMALL,
    };
    let writer_schema = WriterSchema::new(&schema(), &meta(), options).unwrap();
    let mut cutter = RowGroupCutter::new(SMALL);
    let mut groups = cutter.push(&rows(0, 12_345));
    groups.extend(cutter.push(&rows(12_345, total)));
    groups.extend(cutter.finish());
    assert!(groups.len() > 3, "{} row groups", groups.len());
    let encoded: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = groups
            .into_iter()
            .map(|g| scope.spawn(|| g.encode(&writer_schema).unwrap()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut writer = TableWriter::with_schema(&path, writer_schema).unwrap();
    for group in encoded {
        writer.append(group).unwrap();
    }
    digests.push(writer.finish().unwrap().xxh3_128);
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");
}

#[test]
fn values_types_and_metadata_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 10_000, |_| 777);
    let table = TableReader::open(&path).unwrap();
    assert_eq!(table.rows(), 10_000);
    assert!(table.row_groups() > 3);
    assert_eq!(table.meta(), Some(&meta()));
    assert_eq!(table.schema().fields(), schema().fields());
    let all = read(&table, ReadOptions::default());
    let expected = rows(0, 10_000);
    for (name, column) in expected.schema().fields().iter().zip(expected.columns()) {
        let found = all.column_by_name(name.name()).unwrap();
        if matches!(name.data_type(), DataType::Dictionary(_, _)) {
            let plain = |a: &ArrayRef| arrow::compute::cast(a, &DataType::Utf8).unwrap();
            assert_eq!(&plain(found), &plain(column), "{name}");
        } else {
            assert_eq!(found, column, "{name}");
        }
    }
}

#[test]
fn any_range_and_any_columns_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 10_000, |_| 10_000);
    let table = TableReader::open(&path).unwrap();
    let boundary = table.row_group_rows(1).start;
    for range in [
        0..0,
        0..1,
        5..5000,
        9_999..10_000,
        boundary - 1..boundary + 1,
        boundary..boundary + 7,
        17..10_000,
    ] {
        for batch_bytes in [1, 10_000, 1 << 20] {
            let columns = vec![
                "xf_site_atoms".to_owned(),
                "smiles".to_owned(),
                "k".to_owned(),
            ];
            let options = ReadOptions {
                rows: Some(range.clone()),
                columns: Some(columns),
                batch_rows: 1000,
                batch_bytes,
            };
            if batch_bytes == 1 && range.end - range.start > 100 {
                continue;
            }
            let found = read(&table, options);
            let expected = rows(range.start as i64, range.end as i64);
            assert_eq!(found.num_rows() as u64, range.end - range.start);
            for name in ["smiles", "xf_site_atoms", "k"] {
                assert_eq!(
                    found.column_by_name(name),
                    expected.column_by_name(name),
                    "{range:?}"
                );
            }
            assert_eq!(found.schema().field(0).name(), "xf_site_atoms");
        }
    }
    let error = table
        .batches(ReadOptions {
            rows: Some(0..10_001),
            ..ReadOptions::default()
        })
        .unwrap_err();
    assert!(
        matches!(
            error,
            TableError::Range {
                rows: 10_000,
                end: 10_001,
                ..
            }
        ),
        "{error}"
    );
    let error = table
        .batches(ReadOptions {
            columns: Some(vec!["nope".into()]),
            ..ReadOptions::default()
        })
        .unwrap_err();
    assert!(error.to_string().contains("`nope`"), "{error}");
}

#[test]
fn batches_are_cut_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long.parquet");
    let schema = Arc::new(Schema::new(vec![Field::new(
        "smiles",
        DataType::Utf8,
        false,
    )]));
    // Short rows, then a stretch of rows of 20,000 characters, then short ones again.
    let text = |n: i64| {
        "C".repeat(if (10_000..10_400).contains(&n) {
            20_000
        } else {
            10
        })
    };
    let mut writer = TableWriter::create(
        &path,
        &schema,
        &Meta::new(Kind::Library),
        WriterOptions::default(),
    )
    .unwrap();
    for start in (0..20_000).step_by(100) {
        let column = StringArray::from_iter_values((start..start + 100).map(text));
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    let table = TableReader::open(&path).unwrap();
    assert_eq!(table.row_groups(), 1);
    let options = ReadOptions {
        batch_bytes: 256 << 10,
        ..ReadOptions::default()
    };
    let (mut n, mut largest, mut batches) = (0, 0, 0);
    for batch in table.batches(options).unwrap() {
        let batch = batch.unwrap();
        let column = batch.column(0).as_string::<i32>();
        largest = largest.max(column.value_data().len());
        for value in column {
            assert_eq!(value.unwrap().len(), text(n).len(), "row {n}");
            n += 1;
        }
        batches += 1;
    }
    assert_eq!(n, 20_000);
    assert!(largest <= 600 << 10, "{largest}");
    assert!(batches < 100, "{batches}");
}

/// A reader of many small row groups keeps their batches by the hundred: none may hold room for more rows than it has.
#[test]
fn batches_take_no_room_for_rows_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.parquet");
    write(&path, 20_000, |_| 8192);
    let table = TableReader::open(&path).unwrap();
    let group_rows = table.row_group_rows(0).end as usize;
    for batch_rows in [8192, group_rows - 1, 1000] {
        let options = ReadOptions {
            batch_rows,
            batch_bytes: 8 << 20,
            columns: Some(vec!["smiles".into(), "source_row".into(), "k".into()]),
            ..ReadOptions::default()
        };
        for batch in table.batches(options).unwrap() {
            let batch = batch.unwrap();
            let raw: u64 = halocline_table::row_bytes(&batch).iter().sum();
            let held = batch.get_array_memory_size() as u64;
            // Text grows by doubling.
            assert!(
                held <= 2 * raw + 4096,
                "{} of {batch_rows} rows: {held} bytes for {raw}",
                batch.num_rows()
            );
        }
    }
}

#[test]
fn an_all_null_batch_changes_no_type_and_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    // `note` is null in rows 0..3000: a first batch of nothing but nulls.
    let a = write(&dir.path().join("a.parquet"), 6000, |_| 3000);
    let b = write(&dir.path().join("b.parquet"), 6000, |_| 6000);
    assert_eq!(a.xxh3_128, b.xxh3_128);
    let table = TableReader::open(dir.path().join("a.parquet")).unwrap();
    assert_eq!(table.column("note").unwrap().1.data_type(), &DataType::Utf8);
    assert_eq!(table.column("k").unwrap().1.data_type(), &DataType::Int32);
}

#[test]
fn rows_of_another_type_or_with_a_null_smiles_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let declared = Schema::new(vec![Field::new("smiles", DataType::Utf8, false)]);
    let mut writer = TableWriter::create(
        &path,
        &declared,
        &Meta::new(Kind::Library),
        WriterOptions::default(),
    )
    .unwrap();
    let batch = |array: ArrayRef| RecordBatch::try_from_iter([("smiles", array)]).unwrap();
    let null = batch(Arc::new(StringArray::from(vec![Some("C"), None])));
    assert!(
        writer
            .write(&null)
            .unwrap_err()
            .to_string()
            .contains("may not be null")
    );
    let number = batch(Arc::new(Int64Array::from(vec![1])));
    assert!(
        writer
            .write(&number)
            .unwrap_err()
            .to_string()
            .contains("Int64")
    );
    drop(writer);
    assert!(
        std::fs::read_dir(dir.path()).unwrap().next().is_none(),
        "nothing left behind"
    );
}

#[test]
fn rows_in_order_survive_a_row_group_of_one_huge_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.parquet");
    let schema = Arc::new(Schema::new(vec![
        Field::new("smiles", DataType::Utf8, false),
        Field::new("n", DataType::Int64, false),
    ]));
    let options = WriterOptions {
        row_group_bytes: 1 << 20,
    };
    let mut writer =
        TableWriter::create(&path, &schema, &Meta::new(Kind::Library), options).unwrap();
    for n in 0..5i64 {
        let text = "C".repeat(if n == 2 { 5 << 20 } else { 3 });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![text])),
            Arc::new(Int64Array::from(vec![n])),
        ];
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    let table = TableReader::open(&path).unwrap();
    assert_eq!(table.row_groups(), 2);
    let all = read(&table, ReadOptions::default());
    assert_eq!(
        all.column(1).as_primitive::<Int64Type>().values().to_vec(),
        [0, 1, 2, 3, 4]
    );
}
