//! SMILES tables as text. Rows and rejects are those of a reader that has the whole text in memory, with their line
//! numbers, wherever blocks end; types found in a first reading hold in the second and lose nothing.

#![no_main]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what fuzzing looks for"
)]

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use halocline_fuzz::text_model::{Owned, Table, expected, read};
use halocline_fuzz::{MemoryFile, check_error, within};
use halocline_table::text::{
    ColumnTypes, FileKind, Format, MOST_RECORD_BYTES, Record, RecordReader, TypedRows, file_kind,
};
use libfuzzer_sys::fuzz_target;

/// A record of 1 MiB, its copy while it grows, blocks of 64 KiB and a decoder.
const MOST_MEMORY: usize = 8 << 20;

fuzz_target!(|data: &[u8]| {
    let packed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    // Of a packed text, a kilobyte can be many megabytes.
    if data.len() >= MOST_RECORD_BYTES || (packed && data.len() > 1024) {
        return;
    }
    let file = MemoryFile::new(data);
    let path = file.path();
    for format in [Format::Csv, Format::Tsv, Format::Smiles] {
        match file_kind(&path, Some(format)) {
            Ok(FileKind::Text(found)) => assert_eq!(found, format),
            Ok(FileKind::Parquet) => assert!(data.starts_with(b"PAR1")),
            Err(error) => {
                assert!(data.is_empty());
                check_error(&error);
            }
        }
        let counted = within(MOST_MEMORY, || count(&path, format));
        if let Err(error) = &counted {
            check_error(error);
        }
        if packed {
            continue;
        }
        let table: Table = match read(&path, format) {
            Ok(table) => table,
            Err(error) => {
                check_error(&error);
                None
            }
        };
        compare(&table, &expected(data, format), format);
        let pieces = MemoryFile::new(&members(data));
        let again = read(&pieces.path(), format).unwrap_or(None);
        assert_eq!(again, table, "{format}: rows depend on where blocks end");
        if let Some((_, _, records)) = &table {
            assert_eq!(counted.expect("read before"), records.len());
            typed(&path, format, records);
        }
    }
});

/// Rows and rejects, without keeping them.
fn count(path: &Path, format: Format) -> Result<usize, halocline_table::TableError> {
    let mut reader = RecordReader::open(path, format, None, 20)?;
    let mut records = 0;
    let mut last = 0;
    while let Some(record) = reader.next_record()? {
        let (Record::Row { line, .. } | Record::Rejected { line, .. }) = record;
        assert!(line >= last && line > 0, "line {line} after line {last}");
        last = line;
        records += 1;
    }
    Ok(records)
}

fn compare(table: &Table, model: &Table, format: Format) {
    let (Some((columns, smiles, records)), Some((names, place, rows))) = (table, model) else {
        assert_eq!(table, model, "{format}");
        return;
    };
    assert_eq!((columns, smiles), (names, place), "{format}");
    assert_eq!(records.len(), rows.len(), "{format}: records lost or made");
    for (record, row) in records.iter().zip(rows) {
        assert_eq!(record.row, row.row, "{format}, line {}", record.line);
        // The csv crate counts lines in another way.
        assert!(row.line == 0 || row.line == record.line, "{record:?}");
    }
}

/// The text as about 16 gzip members, which the decoder hands out one by one. Made by hand, each of one stored block: a
/// compressor for each would take most of the time.
fn members(data: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    for piece in data.chunks((data.len() / 16).clamp(1, 0x7fff)) {
        let length = u16::try_from(piece.len()).expect("at most 0x7fff");
        let mut crc = flate2::Crc::new();
        crc.update(piece);
        packed.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 1]);
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(&(!length).to_le_bytes());
        packed.extend_from_slice(piece);
        packed.extend_from_slice(&crc.sum().to_le_bytes());
        packed.extend_from_slice(&crc.amount().to_le_bytes());
    }
    packed
}

/// Two readings, as `halo-split` does: types from the first hold for the second.
fn typed(path: &Path, format: Format, records: &[Owned]) {
    let open = || RecordReader::open(path, format, None, 20).expect("opened before");
    let mut reader = open();
    let mut types = ColumnTypes::new(reader.columns().len(), reader.smiles_column());
    while let Some(record) = reader.next_record().expect("read before") {
        if let Record::Row { fields, .. } = record {
            types.see(fields);
        }
    }
    let mut rows = TypedRows::new(types.schema(reader.columns()));
    let mut reader = open();
    while let Some(record) = reader.next_record().expect("read before") {
        if let Record::Row { fields, .. } = record {
            rows.push(fields).expect("types of the same rows");
        }
    }
    let batch = rows.take().expect("no null SMILES");
    let texts: Vec<&Vec<String>> = records.iter().filter_map(|r| r.row.as_ref().ok()).collect();
    assert_eq!(batch.num_rows(), texts.len());
    for column in 0..batch.num_columns() {
        for (row, text) in texts.iter().enumerate() {
            lossless(&batch, column, row, &text[column]);
        }
    }
}

/// The value is the text: integers to the digit, decimals to the number they denote.
fn lossless(batch: &RecordBatch, column: usize, row: usize, text: &str) {
    let array = batch.column(column);
    assert_eq!(array.is_null(row), text.is_empty());
    if text.is_empty() {
        return;
    }
    match array.data_type() {
        DataType::Int64 => {
            let value = array.as_primitive::<Int64Type>().value(row);
            assert_eq!(value.to_string(), text);
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            assert!(value.is_finite());
            if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
                assert_eq!(format!("{value:.0}"), text, "an integer beyond float64");
            }
        }
        _ => assert_eq!(array.as_string::<i32>().value(row), text),
    }
}
