//! Text input read the simple way: the whole text in memory, split with `split` (TSV, SMILES) or by the `csv` crate.
//! What `halocline_table::text` reads block by block must be the same.

use halocline_table::find_smiles_column;
use halocline_table::text::{Format, Record, RecordReader, Reject};
use std::path::Path;

/// A record, owned.
#[derive(Debug, Clone, PartialEq)]
pub struct Owned {
    /// Line it begins on; 0 where the model does not know it.
    pub line: u64,
    /// Its fields, or why it is no row.
    pub row: Result<Vec<String>, Reject>,
}

/// Columns, the SMILES column and records; `None` when there is no usable header.
pub type Table = Option<(Vec<String>, usize, Vec<Owned>)>;

/// What the reader makes of the file at `path`.
///
/// # Errors
/// The reader's.
pub fn read(path: &Path, format: Format) -> Result<Table, halocline_table::TableError> {
    let mut reader = RecordReader::open(path, format, None, 20)?;
    let columns = reader.columns().to_vec();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(match record {
            Record::Row { line, fields } => Owned {
                line,
                row: Ok((0..columns.len())
                    .map(|i| fields.get(i).to_owned())
                    .collect()),
            },
            Record::Rejected {
                line, reason, text, ..
            } => {
                // 1,000 bytes of which each may have become the three of a replacement character.
                assert!(text.len() <= 3000, "an excerpt of {} bytes", text.len());
                Owned {
                    line,
                    row: Err(reason),
                }
            }
        });
    }
    Ok(Some((columns, reader.smiles_column(), records)))
}

/// What should come out of `text`; `None` also where a quote of a CSV file is open at its end.
#[must_use]
pub fn expected(text: &[u8], format: Format) -> Table {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match format {
        Format::Csv => csv(text),
        Format::Tsv => {
            let mut lines = lines(text).into_iter();
            let (_, head) = lines.next()?;
            let (columns, smiles) = header(&fields_of_tsv(head))?;
            let records = lines.map(|(line, text)| {
                record(line, &fields_of_tsv(text), b"\t", columns.len(), smiles)
            });
            let records = records.collect();
            Some((columns, smiles, records))
        }
        Format::Smiles => {
            let mut records: Vec<Owned> = Vec::new();
            for (place, (line, text)) in lines(text).into_iter().enumerate() {
                let fields = fields_of_smiles(text);
                let first = std::str::from_utf8(text)
                    .map_or("", |_| std::str::from_utf8(fields[0]).unwrap_or_default());
                let heads = ["smiles", "canonical_smiles"];
                if place == 0 && heads.iter().any(|h| first.eq_ignore_ascii_case(h)) {
                    continue;
                }
                records.push(record(line, &fields, b" ", 2, 0));
            }
            let columns = ["smiles", "name"].map(str::to_owned).to_vec();
            Some((columns, 0, records))
        }
    }
}

/// The lines that are not blank, with their numbers.
fn lines(text: &[u8]) -> Vec<(u64, &[u8])> {
    let mut found = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let blank = line.iter().take_while(|b| **b == b'\r').count();
        let line = &line[blank..];
        if !line.is_empty() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            found.push((number as u64 + 1, line));
        }
    }
    found
}

fn fields_of_tsv(line: &[u8]) -> Vec<&[u8]> {
    line.split(|b| *b == b'\t').collect()
}

fn fields_of_smiles(line: &[u8]) -> Vec<&[u8]> {
    let line = line.trim_ascii();
    let word = line
        .split(u8::is_ascii_whitespace)
        .next()
        .unwrap_or_default();
    vec![word, line[word.len()..].trim_ascii()]
}

fn header(fields: &[&[u8]]) -> Option<(Vec<String>, usize)> {
    let names: Option<Vec<String>> = fields
        .iter()
        .map(|f| std::str::from_utf8(f).ok().map(|f| f.trim().to_owned()))
        .collect();
    let names = names?;
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    if distinct.len() < names.len() || names.iter().any(String::is_empty) {
        return None;
    }
    let text: Vec<&str> = names.iter().map(String::as_str).collect();
    let smiles = find_smiles_column(&text, None).ok()?;
    Some((names, smiles))
}

/// `between`: what stands between two fields when the record is looked at as text. (Those of CSV lie side by side: the end of
/// one and the start of the next can make a character together.)
fn record(line: u64, fields: &[&[u8]], between: &[u8], expected: usize, smiles: usize) -> Owned {
    let row = (|| {
        // A record is rejected as text first, as a row of the wrong width second, field by field last.
        if std::str::from_utf8(&fields.join(between)).is_err() {
            return Err(Reject::NotUtf8);
        }
        let found = fields.len();
        if found != expected {
            return Err(Reject::ColumnCount { found, expected });
        }
        let mut row = Vec::with_capacity(expected);
        for field in fields {
            let field = std::str::from_utf8(field).map_err(|_| Reject::NotUtf8)?;
            row.push(field.to_owned());
        }
        row[smiles] = row[smiles].trim_ascii().to_owned();
        if row[smiles].is_empty() {
            return Err(Reject::EmptySmiles);
        }
        Ok(row)
    })();
    Owned { line, row }
}

fn csv(text: &[u8]) -> Table {
    // What stands behind an open quote is no record of its own.
    let count = |text: &[u8]| {
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).flexible(true).from_reader(text);
        reader.into_byte_records().count()
    };
    if count(&[text, b"\nbehind"].concat()) == count(text) {
        return None;
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    let mut records = reader
        .byte_records()
        .map(|record| record.expect("bytes in memory can be read"));
    let head = records.next()?;
    let (columns, smiles) = header(&head.iter().collect::<Vec<_>>())?;
    let records = records
        .map(|fields| {
            let fields: Vec<&[u8]> = fields.iter().collect();
            record(0, &fields, b"", columns.len(), smiles)
        })
        .collect();
    Some((columns, smiles, records))
}
