//! Splitting text into records without ever holding more than [`MOST_RECORD_BYTES`] of one.

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};
use std::path::{Path, PathBuf};

use crate::TableError;
use crate::text::Format;

/// Longest record that can be a row. The longest SMILES of COCONUT has under 2,000 characters; a
/// line of a megabyte is a damaged file.
pub const MOST_RECORD_BYTES: usize = 1 << 20;
/// Most fields of a record.
const MOST_FIELDS: usize = 16 << 10;
/// In front of UTF-8 text, as some spreadsheets write it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a rejected record that are kept.
const EXCERPT_BYTES: usize = 1000;

/// Why a record is not a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reject {
    /// The SMILES field is empty.
    EmptySmiles,
    /// The record has another number of fields than the header.
    ColumnCount {
        /// Fields of the record.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// The record is not UTF-8.
    NotUtf8,
    /// The record is longer than [`MOST_RECORD_BYTES`].
    TooLong,
}

impl Reject {
    /// For counting: one word, always the same.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::EmptySmiles => "empty_smiles",
            Self::ColumnCount { .. } => "column_count",
            Self::NotUtf8 => "not_utf8",
            Self::TooLong => "too_long",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptySmiles => f.write_str("empty SMILES"),
            Self::ColumnCount { found, expected } => {
                write!(f, "{found} columns where the header has {expected}")
            }
            Self::NotUtf8 => f.write_str("not valid UTF-8"),
            Self::TooLong => write!(f, "longer than {} MiB", MOST_RECORD_BYTES >> 20),
        }
    }
}

/// One record of the file.
#[derive(Debug)]
pub enum Record<'a> {
    /// A row: as many fields as there are columns, the SMILES field not blank.
    Row {
        /// Line it begins on, from 1.
        line: u64,
        /// Its fields.
        fields: Fields<'a>,
    },
    /// Not a row.
    Rejected {
        /// Line it begins on, from 1.
        line: u64,
        /// Lines it has: several where a quoted field holds line breaks.
        lines: u64,
        /// Why.
        reason: Reject,
        /// The first 1,000 bytes of it.
        text: String,
    },
}

/// The fields of a row.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    text: &'a str,
    bounds: &'a [(usize, usize)],
}

impl<'a> Fields<'a> {
    /// Field `index`; the SMILES field comes without blanks around it.
    ///
    /// # Panics
    /// When there is no such column.
    #[must_use]
    pub fn get(&self, index: usize) -> &'a str {
        let (start, end) = self.bounds[index];
        &self.text[start..end]
    }
}

/// Reads the records of a text file in order. Holds at most [`MOST_RECORD_BYTES`] of a record.
pub struct RecordReader {
    path: PathBuf,
    source: Box<dyn BufRead + Send>,
    splitter: Splitter,
    columns: Vec<String>,
    smiles: usize,
    buffers: Buffers,
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Buffers {
    /// The record (fields without separators and quotes for CSV, the line otherwise).
    text: Vec<u8>,
    bounds: Vec<(usize, usize)>,
    ends: Vec<usize>,
    /// Start of the record as it is in the file.
    excerpt: Vec<u8>,
    /// Line breaks consumed so far.
    breaks: u64,
    /// Lines of the record at hand.
    lines: u64,
    /// Where quotes stand in it.
    quotes: Quotes,
    /// A first line that turned out to be a row.
    held: Option<Raw>,
}

/// CSV fields lie side by side; a boundary inside a character is not UTF-8 on either side.
fn cuts_no_character(text: &str, bounds: &[(usize, usize)]) -> bool {
    bounds
        .iter()
        .all(|(start, end)| text.is_char_boundary(*start) && text.is_char_boundary(*end))
}

/// Follows the quotes of a CSV record: the splitter ends a record at the end of the file in silence, open quote or not.
#[derive(Default)]
struct Quotes {
    place: Place,
    /// Line of the quote that opened last.
    opened: u64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A quote here opens a quoted field.
    #[default]
    FieldStart,
    /// A quote here is text.
    Field,
    Quoted,
    /// Behind a quote in a quoted field: the field's end, or the first of two quotes that stand for one.
    AfterQuote,
}

impl Quotes {
    /// `bytes` of the record are read, the first of them on line `line`.
    fn follow(&mut self, bytes: &[u8], mut line: u64) {
        let inside = matches!(self.place, Place::Quoted | Place::AfterQuote);
        if !inside && !bytes.contains(&b'"') {
            match bytes.last() {
                Some(b',' | b'\n' | b'\r') => self.place = Place::FieldStart,
                Some(_) => self.place = Place::Field,
                None => {}
            }
            return;
        }
        for byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::AfterQuote,
                (Place::Quoted, _) => Place::Quoted,
                (Place::AfterQuote, b'"') => Place::Quoted,
                (Place::FieldStart, b'"') => {
                    self.opened = line;
                    Place::Quoted
                }
                (_, b',' | b'\n' | b'\r') => Place::FieldStart,
                _ => Place::Field,
            };
            line += u64::from(*byte == b'\n');
        }
    }
}

enum Splitter {
    Csv(Box<csv_core::Reader>),
    Tsv,
    Smiles,
}

/// How a raw record came out.
#[derive(Clone, Copy)]
enum Raw {
    End,
    Record { line: u64, too_long: bool },
}

impl RecordReader {
    /// Opens `path` and reads its header. `smiles_column` as in
    /// [`crate::find_smiles_column`]; `window_log` bounds what a zstd decoder may hold.
    ///
    /// # Errors
    /// [`TableError::Io`]; [`TableError::Text`] for a header that cannot name columns (not UTF-8,
    /// too long, a name that is empty or there twice); [`TableError::Schema`] without a SMILES
    /// column.
    pub fn open(
        path: &Path,
        format: Format,
        smiles_column: Option<&str>,
        window_log: u32,
    ) -> Result<Self, TableError> {
        let mut source = super::open(path, window_log)?;
        let splitter = match format {
            Format::Csv => Splitter::Csv(Box::new(csv_core::ReaderBuilder::new().build())),
            Format::Tsv => Splitter::Tsv,
            Format::Smiles => Splitter::Smiles,
        };
        // A block may end in the middle of a byte order mark: as many bytes as it has are taken, and given back.
        let mut head = Vec::with_capacity(BYTE_ORDER_MARK.len());
        Read::by_ref(&mut source)
            .take(BYTE_ORDER_MARK.len() as u64)
            .read_to_end(&mut head)
            .map_err(|e| read_error(path, &e))?;
        if head == BYTE_ORDER_MARK {
            head.clear();
        }
        let mut reader = Self {
            path: path.to_owned(),
            source: Box::new(Cursor::new(head).chain(source)),
            splitter,
            columns: vec!["smiles".to_owned(), "name".to_owned()],
            smiles: 0,
            buffers: Buffers::default(),
        };
        reader.read_header(smiles_column)?;
        Ok(reader)
    }

    fn read_header(&mut self, smiles_column: Option<&str>) -> Result<(), TableError> {
        let wrong = |path: &Path, line, detail: &str| TableError::Text {
            path: path.to_owned(),
            line: Some(line),
            detail: detail.to_owned(),
        };
        let raw = self.raw_record()?;
        let buffers = &mut self.buffers;
        if matches!(self.splitter, Splitter::Smiles) {
            let first = std::str::from_utf8(&buffers.text)
                .ok()
                .and_then(|t| buffers.bounds.first().map(|(s, e)| &t[*s..*e]))
                .unwrap_or_default();
            let header = first.eq_ignore_ascii_case("smiles")
                || first.eq_ignore_ascii_case("canonical_smiles");
            buffers.held = (!header).then_some(raw);
            let names: Vec<&str> = self.columns.iter().map(String::as_str).collect();
            self.smiles = crate::find_smiles_column(&names, smiles_column)?;
            if self.smiles != 0 {
                let detail = "the SMILES of a SMILES file are its first word";
                return Err(wrong(&self.path, 1, detail));
            }
            return Ok(());
        }
        let line = match raw {
            Raw::End => return Err(wrong(&self.path, 1, "there is no header line")),
            Raw::Record {
                line,
                too_long: true,
            } => {
                let detail = format!(
                    "the header line is longer than 1 MiB or has more than {MOST_FIELDS} columns"
                );
                return Err(wrong(&self.path, line, &detail));
            }
            Raw::Record { line, .. } => line,
        };
        if buffers.bounds.len() > MOST_FIELDS {
            let detail = format!("the header line has more than {MOST_FIELDS} columns");
            return Err(wrong(&self.path, line, &detail));
        }
        let text = std::str::from_utf8(&buffers.text)
            .ok()
            .filter(|text| cuts_no_character(text, &buffers.bounds))
            .ok_or_else(|| wrong(&self.path, line, "the header line is not valid UTF-8"))?;
        let columns: Vec<String> = buffers
            .bounds
            .iter()
            .map(|(s, e)| text[*s..*e].trim().to_owned())
            .collect();
        if let Some(place) = columns.iter().position(String::is_empty) {
            let detail = format!("column {} of the header has no name", place + 1);
            return Err(wrong(&self.path, line, &detail));
        }
        let mut sorted: Vec<&str> = columns.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|p| p[0] == p[1]) {
            let detail = format!("column `{}` is there more than once", pair[0]);
            return Err(wrong(&self.path, line, &detail));
        }
        let names: Vec<&str> = columns.iter().map(String::as_str).collect();
        self.smiles = crate::find_smiles_column(&names, smiles_column).map_err(|e| match e {
            TableError::Schema(detail) => wrong(&self.path, line, &detail),
            other => other,
        })?;
        self.columns = columns;
        Ok(())
    }

    /// Names of the columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Index of the SMILES column.
    #[must_use]
    pub fn smiles_column(&self) -> usize {
        self.smiles
    }

    /// The next record, or `None` at the end of the file.
    ///
    /// # Errors
    /// [`TableError::Io`] naming the line, also for compressed data that is damaged or cut off.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, TableError> {
        let raw = match self.buffers.held.take() {
            Some(held) => held,
            None => self.raw_record()?,
        };
        let (line, too_long) = match raw {
            Raw::End => return Ok(None),
            Raw::Record { line, too_long } => (line, too_long),
        };
        let expected = self.columns.len();
        let buffers = &mut self.buffers;
        let lines = buffers.lines;
        let reject = |reason: Reject, excerpt: &[u8]| {
            let text = String::from_utf8_lossy(excerpt).into_owned();
            Ok(Some(Record::Rejected {
                line,
                lines,
                reason,
                text,
            }))
        };
        if too_long {
            return reject(Reject::TooLong, &buffers.excerpt);
        }
        let Ok(text) = std::str::from_utf8(&buffers.text) else {
            return reject(Reject::NotUtf8, &buffers.excerpt);
        };
        let found = buffers.bounds.len();
        if found != expected {
            return reject(Reject::ColumnCount { found, expected }, &buffers.excerpt);
        }
        let (start, end) = buffers.bounds[self.smiles];
        if !cuts_no_character(text, &buffers.bounds) {
            return reject(Reject::NotUtf8, &buffers.excerpt);
        }
        let smiles = &text[start..end];
        let trimmed = smiles.trim_ascii();
        if trimmed.is_empty() {
            return reject(Reject::EmptySmiles, &buffers.excerpt);
        }
        let start = start + (smiles.len() - smiles.trim_ascii_start().len());
        buffers.bounds[self.smiles] = (start, start + trimmed.len());
        Ok(Some(Record::Row {
            line,
            fields: Fields {
                text,
                bounds: &buffers.bounds,
            },
        }))
    }

    fn raw_record(&mut self) -> Result<Raw, TableError> {
        let Self {
            path,
            source,
            splitter,
            buffers,
            ..
        } = self;
        let outcome = skip_blank_lines(source.as_mut(), &mut buffers.breaks).and_then(|more| {
            if !more {
                return Ok(Raw::End);
            }
            let line = buffers.breaks + 1;
            buffers.text.clear();
            buffers.bounds.clear();
            buffers.excerpt.clear();
            buffers.quotes = Quotes::default();
            buffers.lines = 1;
            let too_long = match splitter {
                Splitter::Csv(csv) => buffers.csv_record(csv, source.as_mut())?,
                Splitter::Tsv => {
                    let too_long = buffers.line(source.as_mut())?;
                    buffers.split_tabs();
                    too_long
                }
                Splitter::Smiles => {
                    let too_long = buffers.line(source.as_mut())?;
                    buffers.split_word();
                    too_long
                }
            };
            Ok(Raw::Record { line, too_long })
        });
        let raw = outcome.map_err(|error| {
            let text = format!(
                "cannot read `{}` at line {}: {error}",
                path.display(),
                buffers.breaks + 1
            );
            TableError::Io(io::Error::new(error.kind(), text))
        })?;
        if buffers.quotes.place == Place::Quoted {
            return Err(TableError::Text {
                path: path.clone(),
                line: Some(buffers.quotes.opened),
                detail: "a field opens with a quote that is not closed before the end of the file; close it, or remove it"
                    .to_owned(),
            });
        }
        Ok(raw)
    }
}

fn read_error(path: &Path, error: &io::Error) -> TableError {
    TableError::Io(io::Error::new(
        error.kind(),
        format!("cannot read `{}`: {error}", path.display()),
    ))
}

/// Skips line breaks; false at the end of the file.
fn skip_blank_lines(source: &mut dyn BufRead, breaks: &mut u64) -> io::Result<bool> {
    loop {
        let block = source.fill_buf()?;
        if block.is_empty() {
            return Ok(false);
        }
        let blank = block
            .iter()
            .take_while(|b| matches!(b, b'\n' | b'\r'))
            .count();
        *breaks += block[..blank].iter().filter(|b| **b == b'\n').count() as u64;
        let more = blank < block.len();
        source.consume(blank);
        if more {
            return Ok(true);
        }
    }
}

impl Buffers {
    fn keep_excerpt(&mut self, bytes: &[u8]) {
        let room = EXCERPT_BYTES
            .saturating_sub(self.excerpt.len())
            .min(bytes.len());
        self.excerpt.extend_from_slice(&bytes[..room]);
    }

    /// Reads a line into `text`, without its break; true when it is too long (and then skipped).
    fn line(&mut self, source: &mut dyn BufRead) -> io::Result<bool> {
        let mut too_long = false;
        loop {
            let block = source.fill_buf()?;
            if block.is_empty() {
                break;
            }
            let end = block.iter().position(|b| *b == b'\n');
            let line = &block[..end.unwrap_or(block.len())];
            self.keep_excerpt(line);
            if self.text.len() + line.len() > MOST_RECORD_BYTES {
                too_long = true;
            }
            if !too_long {
                self.text.extend_from_slice(line);
            }
            let used = line.len() + usize::from(end.is_some());
            source.consume(used);
            if end.is_some() {
                self.breaks += 1;
                break;
            }
        }
        if too_long {
            self.text = Vec::new();
        } else if self.text.last() == Some(&b'\r') {
            self.text.pop();
        }
        Ok(too_long)
    }

    fn split_tabs(&mut self) {
        let mut start = 0;
        for (at, byte) in self.text.iter().enumerate() {
            if *byte == b'\t' {
                self.bounds.push((start, at));
                start = at + 1;
            }
            if self.bounds.len() > MOST_FIELDS {
                break;
            }
        }
        self.bounds.push((start, self.text.len()));
    }

    /// First word, and the rest without the blanks around it.
    fn split_word(&mut self) {
        let text = self.text.trim_ascii();
        let start = self.text.len() - self.text.trim_ascii_start().len();
        let word = text
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(text.len());
        let rest = text[word..].trim_ascii();
        let end = start + text.len();
        self.bounds.push((start, start + word));
        self.bounds.push((end - rest.len(), end));
    }

    fn csv_record(
        &mut self,
        csv: &mut csv_core::Reader,
        source: &mut dyn BufRead,
    ) -> io::Result<bool> {
        use csv_core::ReadRecordResult as Step;
        self.text.resize(4 << 10, 0);
        self.ends.resize(self.ends.len().max(64), 0);
        let (mut bytes, mut fields, mut too_long) = (0, 0, false);
        let before = self.breaks;
        let mut last = b'\n';
        loop {
            let block = source.fill_buf()?;
            let (step, read, wrote, ended) =
                csv.read_record(block, &mut self.text[bytes..], &mut self.ends[fields..]);
            self.quotes.follow(&block[..read], self.breaks + 1);
            let room = EXCERPT_BYTES.saturating_sub(self.excerpt.len()).min(read);
            self.excerpt.extend_from_slice(&block[..room]);
            self.breaks += block[..read].iter().filter(|b| **b == b'\n').count() as u64;
            last = *block[..read].last().unwrap_or(&last);
            source.consume(read);
            bytes += wrote;
            fields += ended;
            match step {
                Step::InputEmpty => {}
                Step::OutputFull if bytes >= MOST_RECORD_BYTES => {
                    // Read on to the record's end, over what was read.
                    too_long = true;
                    bytes = 0;
                    fields = 0;
                }
                Step::OutputFull => {
                    let double = (self.text.len() * 2).min(MOST_RECORD_BYTES);
                    self.text.resize(double, 0);
                }
                Step::OutputEndsFull if fields >= MOST_FIELDS => {
                    too_long = true;
                    bytes = 0;
                    fields = 0;
                }
                Step::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                Step::Record | Step::End => break,
            }
        }
        // The last line of a file may have no break.
        self.lines = self.breaks - before + u64::from(last != b'\n');
        if too_long {
            self.text = Vec::new();
            return Ok(true);
        }
        self.text.truncate(bytes);
        let mut start = 0;
        for end in &self.ends[..fields] {
            self.bounds.push((start, *end));
            start = *end;
        }
        while matches!(self.excerpt.last(), Some(b'\n' | b'\r')) {
            self.excerpt.pop();
        }
        Ok(false)
    }
}
