//! Text input: what is a row, what is a reject, and on which line.

#![expect(clippy::unwrap_used, reason = "test helpers, too, fail by panicking")]

use std::io::Write;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use halocline_table::text::{
    ColumnTypes, FileKind, Format, MOST_RECORD_BYTES, Record, RecordReader, Reject, TypedRows,
    file_kind,
};

type Rows = Vec<(u64, Vec<String>)>;
type Rejects = Vec<(u64, Reject)>;

fn read(path: &Path, format: Format) -> (Rows, Rejects) {
    let mut reader = RecordReader::open(path, format, None, 24).unwrap();
    let columns = reader.columns().len();
    let (mut rows, mut rejects) = (Vec::new(), Vec::new());
    while let Some(record) = reader.next_record().unwrap() {
        match record {
            Record::Row { line, fields } => {
                rows.push((
                    line,
                    (0..columns).map(|i| fields.get(i).to_owned()).collect(),
                ));
            }
            Record::Rejected {
                line, reason, text, ..
            } => {
                assert!(text.len() <= 3000, "{}", text.len());
                rejects.push((line, reason));
            }
        }
    }
    (rows, rejects)
}

fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn row(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
    (line, fields.iter().map(|f| (*f).to_owned()).collect())
}

#[test]
fn csv_quotes_line_breaks_and_bad_records() {
    let text = "\u{feff}id,smiles,note\r\n\
        1,CCO,\"a, \"\"b\"\"\nsecond line\"\r\n\
        \r\n\
        2,,empty\n\
        3,C\n\
        4, CN ,\n\
        5,C,x,y\n\
        6,CC,last";
    let (_dir, path) = file("a.csv", text.as_bytes());
    let (rows, rejects) = read(&path, Format::Csv);
    assert_eq!(
        rows,
        [
            row(2, &["1", "CCO", "a, \"b\"\nsecond line"]),
            row(7, &["4", "CN", ""]),
            row(9, &["6", "CC", "last"]),
        ]
    );
    let count = |found| Reject::ColumnCount { found, expected: 3 };
    assert_eq!(
        rejects,
        [(5, Reject::EmptySmiles), (6, count(2)), (8, count(4))]
    );
}

#[test]
fn tsv_has_no_quoting() {
    let text = b"id\tsmiles\tname\n1\tC\t\"half a quote\n2\tCC\t5\"\n3\tN\r\n4\t \tx\n5\tC\xff\tx\n6\tO\t\n";
    let (_dir, path) = file("a.tsv", text);
    let (rows, rejects) = read(&path, Format::Tsv);
    assert_eq!(
        rows,
        [
            row(2, &["1", "C", "\"half a quote"]),
            row(3, &["2", "CC", "5\""]),
            row(7, &["6", "O", ""]),
        ]
    );
    let count = Reject::ColumnCount {
        found: 2,
        expected: 3,
    };
    assert_eq!(
        rejects,
        [(4, count), (5, Reject::EmptySmiles), (6, Reject::NotUtf8)]
    );
}

#[test]
fn smiles_file_with_and_without_header() {
    let body = "CCO ethanol\nCC\tethane and more  \nC\n";
    for (head, first) in [("", 1), ("SMILES Name\n", 2)] {
        let (_dir, path) = file("a.smi", format!("{head}{body}").as_bytes());
        let (rows, rejects) = read(&path, Format::Smiles);
        assert_eq!(
            rows,
            [
                row(first, &["CCO", "ethanol"]),
                row(first + 1, &["CC", "ethane and more"]),
                row(first + 2, &["C", ""]),
            ]
        );
        assert!(rejects.is_empty());
    }
}

#[test]
fn a_record_of_many_megabytes_is_one_reject_and_the_next_line_is_right() {
    for (format, name) in [
        (Format::Csv, "a.csv"),
        (Format::Tsv, "a.tsv"),
        (Format::Smiles, "a.smi"),
    ] {
        let mut bytes = b"smiles\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'C', 5 * MOST_RECORD_BYTES));
        bytes.extend(b"\nCCO\n");
        let (_dir, path) = file(name, &bytes);
        let (rows, rejects) = read(&path, format);
        assert_eq!(rejects, [(2, Reject::TooLong)], "{format}");
        assert_eq!(
            (rows.len(), rows[0].0, rows[0].1[0].as_str()),
            (1, 3, "CCO"),
            "{format}"
        );
    }
    // The first line of a SMILES file, where a header may be.
    let mut bytes = vec![b'C'; MOST_RECORD_BYTES + 1];
    bytes.extend(b"\nCCO\n");
    let (_dir, path) = file("a.smi", &bytes);
    let (rows, rejects) = read(&path, Format::Smiles);
    assert_eq!((rows.len(), rejects), (1, vec![(1, Reject::TooLong)]));
    // A quote that another one closes many lines later: one reject, on its own line.
    let mut bytes = b"smiles,x\nC,1\nCC,\"open\n".to_vec();
    bytes.extend(b"CCC,3\n".repeat(MOST_RECORD_BYTES / 3));
    bytes.extend(b"\"\nO,4\n");
    let (_dir, path) = file("a.csv", &bytes);
    let (rows, rejects) = read(&path, Format::Csv);
    assert_eq!((rows.len(), rejects), (2, vec![(3, Reject::TooLong)]));
}

#[test]
fn a_quote_that_is_not_closed_is_an_error_on_its_line() {
    let error_of = |name: &str, bytes: &[u8]| {
        let (_dir, path) = file(name, bytes);
        let read = || -> Result<(), halocline_table::TableError> {
            let mut reader = RecordReader::open(&path, Format::Csv, None, 24)?;
            while reader.next_record()?.is_some() {}
            Ok(())
        };
        read().err().map(|error| error.to_string())
    };
    let open = |text: &[u8]| error_of("a.csv", text);
    let long = b"CCC,3\n".repeat(MOST_RECORD_BYTES / 3);
    for (text, line) in [
        (&b"smiles,x\nC,1\nCC,\"open\nCCC,3\n"[..], 3),
        (b"smiles,x\nC,1\nCC,\"op", 3),
        (b"smiles,x\nC,\"two\nlines\"\nCC,\"", 4),
        (b"smiles,x\r\n\r\nC,\"a \"\"quoted\"\" word\r\n", 3),
        (b"smiles,x\n\"C\",\"1\"\n\"CC\nC,1\n", 3),
        (&[&b"smiles,x\nC,1\nCC,\""[..], &long].concat(), 3),
    ] {
        let said = open(text).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(text)));
        let words = "a field opens with a quote that is not closed before the end of the file";
        assert!(
            said.contains(words) && said.contains(&format!("line {line}")),
            "{said}"
        );
    }
    for text in [
        &b"smiles,x\nC,\"closed\"\n"[..],
        b"smiles,x\nC,\"closed\"",
        b"smiles,x\nC,\"two \"\"quotes\"\"\"",
        b"smiles,x\nC,5\" wide\n",
        b"smiles,x\nC,\"\"",
        b"smiles,x\nC,\"\"\nCC,\"x\"y\n",
    ] {
        assert_eq!(open(text), None, "{:?}", String::from_utf8_lossy(text));
    }
    // A file that cannot be read to its end says that, wherever it breaks off.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"smiles,x\nC,\"two\nlines\"\n").unwrap();
    let gz = gz.finish().unwrap();
    for cut in 12..gz.len() {
        let said = error_of("a.csv.gz", &gz[..cut]).unwrap();
        assert!(said.contains("cannot read"), "{cut}: {said}");
    }
    // Whatever the blocks are cut to: the file is larger than any.
    for n in (1 << 16) - 40..(1 << 16) + 4 {
        let mut text = b"smiles,x\nC,".to_vec();
        text.resize(n, b'x');
        text.extend(b"\n\"CC\",\"a \"\"b\"\"\nc\"\nCC,\"open\n");
        let said = open(&text).unwrap();
        assert!(said.contains("line 5"), "{n}: {said}");
    }
}

#[test]
fn compressed_files_are_told_by_their_bytes() {
    let text = "id\tsmiles\n1\tC\n2\tCC\n";
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&text.as_bytes()[..12]).unwrap();
    let mut gz = gz.finish().unwrap();
    let mut second = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    second.write_all(&text.as_bytes()[12..]).unwrap();
    gz.extend(second.finish().unwrap());
    let zst = zstd::encode_all(text.as_bytes(), 3).unwrap();
    for (name, bytes) in [("a.tsv.gz", gz), ("a.tsv.zst", zst)] {
        let (_dir, path) = file(name, &bytes);
        assert_eq!(file_kind(&path, None).unwrap(), FileKind::Text(Format::Tsv));
        assert_eq!(read(&path, Format::Tsv).0.len(), 2, "{name}");
        // Cut off: an error that names the file, not a shorter table.
        std::fs::write(&path, &bytes[..bytes.len() - 6]).unwrap();
        let mut outcome = RecordReader::open(&path, Format::Tsv, None, 24).map(|mut reader| {
            loop {
                match reader.next_record() {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        });
        let error = outcome
            .as_mut()
            .map_or_else(|e| e.to_string(), |r| r.as_ref().unwrap_err().to_string());
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn headers_that_cannot_work_are_errors_with_a_line() {
    for (text, word) in [
        ("id\tname\n1\tC\n", "no SMILES column"),
        ("smiles\tx\tx\n", "more than once"),
        ("smiles\t\n", "no name"),
        ("\n\n", "no header"),
    ] {
        let (_dir, path) = file("a.tsv", text.as_bytes());
        let error = RecordReader::open(&path, Format::Tsv, None, 24)
            .unwrap_err()
            .to_string();
        assert!(error.contains(word) && error.contains("line"), "{error}");
    }
    // A comma inside a character: each name alone is no text, all names side by side are (found by fuzzing).
    let (_dir, path) = file("a.csv", b"smiles,a\xc2,\x8cb\nC,1,2\n");
    let error = RecordReader::open(&path, Format::Csv, None, 24).unwrap_err();
    assert!(error.to_string().contains("not valid UTF-8"), "{error}");
    let (_dir, path) = file("data.bin", b"x");
    assert!(
        file_kind(&path, None)
            .unwrap_err()
            .to_string()
            .contains("--format")
    );
    let (_dir, path) = file("empty.csv", b"");
    assert!(
        file_kind(&path, None)
            .unwrap_err()
            .to_string()
            .contains("empty")
    );
}

#[test]
fn types_come_from_all_rows() {
    let mut text = String::from("smiles\tint\tid\tfloat\tnone\tlate\n");
    for n in 0..5000 {
        let late = if n == 4999 {
            "x".to_owned()
        } else {
            n.to_string()
        };
        let int = if n % 10 == 0 {
            String::new()
        } else {
            n.to_string()
        };
        text.push_str(&format!(
            "C\t{int}\t{n:05}\t{}\t\t{late}\n",
            f64::from(n) / 2.0
        ));
    }
    let (_dir, path) = file("a.tsv", text.as_bytes());
    let mut reader = RecordReader::open(&path, Format::Tsv, None, 24).unwrap();
    let mut types = ColumnTypes::new(reader.columns().len(), reader.smiles_column());
    while let Some(record) = reader.next_record().unwrap() {
        if let Record::Row { fields, .. } = record {
            types.see(fields);
        }
    }
    let schema = types.schema(reader.columns());
    let found: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| f.data_type().clone())
        .collect();
    use DataType::{Float64, Int64, Utf8};
    assert_eq!(found, [Utf8, Int64, Utf8, Float64, Utf8, Utf8]);
    assert!(!schema.field(0).is_nullable());
    let mut reader = RecordReader::open(&path, Format::Tsv, None, 24).unwrap();
    let mut rows = TypedRows::new(schema);
    while let Some(Record::Row { fields, .. }) = reader.next_record().unwrap() {
        rows.push(fields).unwrap();
    }
    let batch = rows.take().unwrap();
    assert_eq!(batch.num_rows(), 5000);
    assert_eq!(batch.column(1).null_count(), 500);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(11), 11);
    assert_eq!(batch.column(3).as_primitive::<Float64Type>().value(7), 3.5);
    assert_eq!(batch.column(4).null_count(), 5000);
    assert_eq!(batch.column(5).as_string::<i32>().value(4999), "x");
}

/// Found by fuzzing: a gzip member of two bytes ended the block in the middle of the mark, which became a SMILES.
#[test]
fn a_byte_order_mark_cut_by_a_block_is_still_one() {
    let text = b"\xef\xbb\xbfCCO ethanol\n";
    for cut in 0..=3 {
        let mut packed = Vec::new();
        for piece in [&text[..cut], &text[cut..]] {
            let mut gz = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
            gz.write_all(piece).unwrap();
            packed = gz.finish().unwrap();
        }
        let (_dir, path) = file("a.smi.gz", &packed);
        let (rows, rejects) = read(&path, Format::Smiles);
        assert_eq!(rows, [(1, vec!["CCO".to_owned(), "ethanol".to_owned()])]);
        assert!(rejects.is_empty(), "cut {cut}");
    }
    // No mark: what was looked at is read.
    for short in ["C", "CC", "CCO"] {
        let (_dir, path) = file("a.smi", short.as_bytes());
        assert_eq!(read(&path, Format::Smiles).0[0].1[0], short);
    }
}

/// The last column would have taken the rest of the line, tabs and all.
#[test]
fn a_header_of_too_many_columns_is_refused() {
    for (format, separator) in [(Format::Tsv, "\t"), (Format::Csv, ",")] {
        let header = |columns: usize| {
            let names: Vec<String> = (1..columns).map(|i| format!("c{i}")).collect();
            format!("smiles{separator}{}\n", names.join(separator))
        };
        let (_dir, path) = file("wide", header(16 << 10).as_bytes());
        let reader = RecordReader::open(&path, format, None, 24).unwrap();
        assert_eq!(reader.columns().len(), 16 << 10, "{format}");
        for columns in [(16 << 10) + 1, 20_000] {
            let (_dir, path) = file("wide", header(columns).as_bytes());
            let error = RecordReader::open(&path, format, None, 24).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("16384 columns"), "{format}: {error}");
        }
    }
}

#[test]
fn a_float_has_all_digits_that_were_written() {
    for (value, float) in [
        ("0.5", true),
        ("1.10", true),
        ("0.0", true),
        ("1e-7", true),
        ("100000000000000000000000.0", true),
        ("0.30000000000000004", true),
        ("1.7976931348623157e308", true),
        ("2.2250738585072014e-308", true),
        ("5e-324", true),
        ("0.10000000000000000001", false),
        ("0.12345678901234567", false),
        ("123456789012345678.5", false),
        ("1e-400", false),
        ("1.23456789e-320", false),
    ] {
        let (_dir, path) = file("a.tsv", format!("smiles\tx\nC\t{value}\n").as_bytes());
        let mut reader = RecordReader::open(&path, Format::Tsv, None, 24).unwrap();
        let mut types = ColumnTypes::new(2, 0);
        while let Some(record) = reader.next_record().unwrap() {
            if let Record::Row { fields, .. } = record {
                types.see(fields);
            }
        }
        let found = types.schema(reader.columns()).field(1).data_type().clone();
        assert_eq!(found == DataType::Float64, float, "{value}: {found}");
    }
}
