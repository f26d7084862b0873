//! Parquet as others write it: other text layouts, codecs, page versions, no page index.

#![expect(clippy::unwrap_used, reason = "test helpers, too, fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int8DictionaryArray, LargeStringArray, ListArray, RecordBatch, StringArray,
    StringViewArray, StructArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};
use halocline_table::{
    Kind, Meta, ReadOptions, TableReader, TableWriter, WriterOptions, text_column,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::types::ColumnPath;

fn text(i: usize) -> String {
    format!("C{}", "CO".repeat(i % 50))
}

fn foreign(path: &Path, column: ArrayRef, properties: WriterProperties) {
    let rows = column.len();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..rows).map(|i| (i % 3 != 0).then(|| vec![Some(i as i32), None])),
    );
    let inner: ArrayRef = Arc::new(StringArray::from_iter(
        (0..rows).map(|i| (i % 5 != 0).then(|| format!("v{}", i % 7))),
    ));
    let fields = Fields::from(vec![Field::new("a", DataType::Utf8, true)]);
    let nested = StructArray::new(fields, vec![inner], None);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("smiles", column, true),
        ("list", Arc::new(list) as ArrayRef, true),
        ("nested", Arc::new(nested) as ArrayRef, true),
    ])
    .unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn plain() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(700))
        .set_data_page_row_count_limit(100)
}

/// All text in this encoding.
fn delta(properties: WriterPropertiesBuilder, encoding: Encoding) -> WriterPropertiesBuilder {
    let nested = ColumnPath::from(vec!["nested".to_owned(), "a".to_owned()]);
    properties
        .set_dictionary_enabled(false)
        .set_column_encoding("smiles".into(), encoding)
        .set_column_encoding(nested, encoding)
}

#[test]
fn codecs_versions_and_missing_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..2000).map(text)));
    for (i, properties) in [
        plain().set_compression(Compression::SNAPPY),
        plain().set_compression(Compression::GZIP(Default::default())),
        plain().set_compression(Compression::LZ4_RAW),
        plain().set_compression(Compression::UNCOMPRESSED),
        plain().set_writer_version(WriterVersion::PARQUET_2_0),
        plain()
            .set_offset_index_disabled(true)
            .set_statistics_enabled(EnabledStatistics::None),
        delta(plain(), Encoding::DELTA_BYTE_ARRAY),
        delta(plain(), Encoding::DELTA_LENGTH_BYTE_ARRAY),
        delta(plain(), Encoding::DELTA_BYTE_ARRAY)
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_compression(Compression::SNAPPY),
    ]
    .into_iter()
    .enumerate()
    {
        let path = dir.path().join(format!("{i}.parquet"));
        foreign(&path, Arc::clone(&column), properties.build());
        let table = TableReader::open(&path).unwrap();
        assert_eq!((table.rows(), table.meta()), (2000, None));
        let options = ReadOptions {
            rows: Some(650..1999),
            columns: Some(vec!["smiles".into()]),
            batch_bytes: 2000,
            ..ReadOptions::default()
        };
        assert!(table.reserve_bytes(&options).unwrap() > 4000);
        let mut row = 650;
        for batch in table.batches(options).unwrap() {
            for smiles in text_column(&batch.unwrap(), "smiles").unwrap().iter() {
                assert_eq!(smiles.unwrap(), text(row), "{i}");
                row += 1;
            }
        }
        assert_eq!(row, 1999);
    }
}

#[test]
fn text_layouts_are_read_and_nested_columns_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<String> = (0..2000).map(|i| text(i % 90)).collect();
    let layouts: [ArrayRef; 4] = [
        Arc::new(StringArray::from(values.clone())),
        Arc::new(LargeStringArray::from(values.clone())),
        Arc::new(StringViewArray::from(
            values.iter().map(String::as_str).collect::<Vec<_>>(),
        )),
        Arc::new(
            values
                .iter()
                .map(String::as_str)
                .collect::<Int8DictionaryArray>(),
        ),
    ];
    for (i, column) in layouts.into_iter().enumerate() {
        let path = dir.path().join(format!("{i}.parquet"));
        foreign(&path, column, plain().build());
        let table = TableReader::open(&path).unwrap();
        let batches: Vec<_> = table
            .batches(ReadOptions::default())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let all = concat_batches(table.schema(), &batches).unwrap();
        let found = text_column(&all, "smiles").unwrap();
        assert!(
            found
                .iter()
                .zip(&values)
                .all(|(a, b)| a == Some(b.as_str())),
            "{i}"
        );

        let again = dir.path().join(format!("{i}-again.parquet"));
        let mut writer = TableWriter::create(
            &again,
            table.schema(),
            &Meta::new(Kind::Library),
            WriterOptions {
                row_group_bytes: 20_000,
            },
        )
        .unwrap();
        for batch in &batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        let again = TableReader::open(&again).unwrap();
        let batches: Vec<_> = again
            .batches(ReadOptions::default())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let copy = concat_batches(again.schema(), &batches).unwrap();
        assert_eq!(text_column(&copy, "smiles").unwrap(), found);
        assert_eq!(copy.column(1), all.column(1));
        assert_eq!(copy.column(2), all.column(2));
    }
    let table = TableReader::open(dir.path().join("0.parquet")).unwrap();
    let batch = table
        .batches(ReadOptions::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let error = text_column(&batch, "list").unwrap_err().to_string();
    assert!(error.contains("not text"), "{error}");
    let _: &Schema = table.schema();
}

/// A page that says it has more lengths than values: the decoder would make room for them before it reads one.
#[test]
fn a_page_of_too_many_lengths_is_refused_before_there_is_room_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(text)));
    for (encoding, lists) in [
        (Encoding::DELTA_LENGTH_BYTE_ARRAY, 1),
        (Encoding::DELTA_BYTE_ARRAY, 2),
    ] {
        let properties = delta(plain(), encoding)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_compression(Compression::UNCOMPRESSED);
        foreign(&path, Arc::clone(&column), properties.build());
        let good = std::fs::read(&path).unwrap();
        // Blocks of 128 numbers, four to a block, and 100 in all.
        let header = [0x80, 1, 4, 100];
        let places: Vec<usize> = (0..good.len())
            .filter(|&at| good[at..].starts_with(&header))
            .take(lists)
            .collect();
        assert_eq!(places.len(), lists);
        let refused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let table = TableReader::open(&path).unwrap();
            let batches = table.batches(ReadOptions::default()).unwrap();
            let rows: Result<Vec<_>, _> = batches.collect();
            rows.err().map(|e| e.to_string())
        };
        assert_eq!(refused(&good), None);
        for place in places {
            // The count goes on into what follows it: 2^57 and more.
            let mut bad = good.clone();
            for byte in &mut bad[place + 3..place + 11] {
                *byte |= 0x80;
            }
            bad[place + 11] = 1;
            let error = refused(&bad).unwrap();
            assert!(error.contains("other counts of lengths"), "{error}");
            // One too many would still fit.
            let mut bad = good.clone();
            bad[place + 3] += 1;
            let error = refused(&bad).unwrap();
            assert!(error.contains("other counts of lengths"), "{error}");
        }
    }
}
