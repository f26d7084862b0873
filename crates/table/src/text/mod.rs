//! Libraries that come as text: CSV, TSV and SMILES files, plain, `.gz` or `.zst`.
//!
//! Responsible for telling formats apart, for splitting records within a fixed bound
//! ([`RecordReader`]) and for the types of columns ([`ColumnTypes`], [`TypedRows`]). Not
//! responsible for where rows go.
//!
//! - CSV: comma, RFC 4180 quoting (a quoted field may hold line breaks), a header line.
//! - TSV: tab, *no* quoting (a quote is a character like any other), a header line.
//! - SMILES file: SMILES, white space, the rest of the line is the name; columns `smiles` and
//!   `name`; no header, but a first line whose first word is `smiles` or `canonical_smiles` in any
//!   case is taken for one.
//!
//! Blank lines are no records. A record that is not a row (see [`Reject`]) is handed out with its
//! line number and the start of its text; nothing is dropped silently.

mod record;
mod types;

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

pub use record::{MOST_RECORD_BYTES, Record, RecordReader, Reject};
pub use types::{ColumnTypes, TypedRows};

use crate::TableError;

/// How the rows of a text file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, quoted as RFC 4180 says.
    Csv,
    /// Tab-separated, never quoted.
    Tsv,
    /// SMILES, white space, name.
    Smiles,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Smiles => "SMILES file",
        })
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// It begins with `PAR1`.
    Parquet,
    /// Text of this format, perhaps compressed.
    Text(Format),
}

/// Tells what `path` is: Parquet by its first bytes; text by its name without `.gz` or `.zst`
/// (`.csv`; `.tsv`, `.tab`; `.smi`, `.smiles`, `.ism`), unless `asked`.
///
/// # Errors
/// [`TableError::Io`]; [`TableError::Text`] when neither the name nor `asked` tells the format.
pub fn file_kind(path: &Path, asked: Option<Format>) -> Result<FileKind, TableError> {
    let wrong = |detail: String| TableError::Text {
        path: path.to_owned(),
        line: None,
        detail,
    };
    // Asked before it is opened: opening a pipe waits for its writer, and a device may never end.
    let unread = |error| TableError::cannot_read(path, error);
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(wrong(
            "not a regular file; it is read more than once, which pipes, devices and folders do not allow"
                .to_owned(),
        ));
    }
    let mut file = std::fs::File::open(path).map_err(unread)?;
    let mut magic = Vec::new();
    Read::by_ref(&mut file)
        .take(4)
        .read_to_end(&mut magic)
        .map_err(unread)?;
    if magic == b"PAR1" {
        return Ok(FileKind::Parquet);
    }
    if magic.is_empty() {
        return Err(wrong("the file is empty".to_owned()));
    }
    if let Some(format) = asked {
        return Ok(FileKind::Text(format));
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    let name = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => Ok(FileKind::Text(Format::Csv)),
        Some("tsv" | "tab") => Ok(FileKind::Text(Format::Tsv)),
        Some("smi" | "smiles" | "ism") => Ok(FileKind::Text(Format::Smiles)),
        Some("parquet" | "pq") => Err(wrong(
            "named like Parquet, but it does not begin with `PAR1`".to_owned(),
        )),
        _ => Err(wrong(
            "neither Parquet nor a name that tells the format (.csv, .tsv, .smi, with or without .gz or .zst)\nhint: name it with `--format`"
                .to_owned(),
        )),
    }
}

/// Opens a text file, decompressing by its first bytes. Holds 64 KiB, and for zstd a window of at
/// most `1 << window_log` bytes.
pub(crate) fn open(path: &Path, window_log: u32) -> Result<Box<dyn BufRead + Send>, TableError> {
    let file = fs_err::File::open(path).map_err(TableError::Io)?;
    let mut file = BufReader::with_capacity(64 << 10, file);
    let head = file.fill_buf().map_err(TableError::Io)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        // A concatenation of gzip members is a gzip file, as `bgzip` and `cat` make them.
        let decoder = flate2::bufread::MultiGzDecoder::new(file);
        return Ok(Box::new(BufReader::with_capacity(64 << 10, decoder)));
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(file).map_err(TableError::Io)?;
        decoder.window_log_max(window_log).map_err(TableError::Io)?;
        return Ok(Box::new(BufReader::with_capacity(64 << 10, decoder)));
    }
    Ok(Box::new(file))
}
