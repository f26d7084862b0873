//! The one error type of this crate.

use std::io;
use std::path::PathBuf;

use halocline_budget::publish::PublishError;
use parquet::errors::ParquetError;

/// Why a table could not be read or written. Every message carries its path.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file system refused; the message (from `fs-err`) names the path.
    #[error(transparent)]
    Io(io::Error),
    /// The file has no bytes at all.
    #[error("`{path}` is empty: zero bytes, not a Parquet file")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file does not begin with Parquet's magic bytes.
    #[error("`{path}` is not a Parquet file: no file that begins with `PAR1`")]
    NotParquet {
        /// The file.
        path: PathBuf,
    },
    /// The file begins like Parquet but its end is missing.
    #[error(
        "`{path}` has no footer: it ends after {bytes} bytes without `PAR1`, so it was cut off or never finished"
    )]
    NoFooter {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The footer is there but cannot be decoded or contradicts itself.
    #[error("the footer of `{path}` is damaged: {detail}")]
    Footer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A page could not be read, checked or decoded.
    #[error("`{path}` cannot be read at rows {start}..{end}: {detail}")]
    Read {
        /// The file.
        path: PathBuf,
        /// First row of the part that failed.
        start: u64,
        /// One past its last row.
        end: u64,
        /// What the decoder said.
        detail: String,
    },
    /// A range of rows that the table does not have.
    #[error("`{path}` has {rows} rows; rows {start}..{end} were asked for")]
    Range {
        /// The file.
        path: PathBuf,
        /// Rows in the file.
        rows: u64,
        /// First row asked for.
        start: u64,
        /// One past the last row asked for.
        end: u64,
    },
    /// A column is missing, twice there, or of the wrong type.
    #[error("{0}")]
    Schema(String),
    /// The key-value metadata says something that cannot be.
    #[error("`{path}`: {detail}")]
    Meta {
        /// The file.
        path: PathBuf,
        /// Which key, and what it says.
        detail: String,
    },
    /// The encoder refused rows.
    #[error("cannot encode rows for `{path}`")]
    Encode {
        /// The table being written.
        path: PathBuf,
        /// What the encoder said.
        #[source]
        source: ParquetError,
    },
    /// An array operation failed.
    #[error("cannot regroup rows")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Writing or publishing failed; the message names the path.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Text input that cannot be a table at all (rows that are merely bad become rejects).
    #[error("`{path}`{}: {detail}", line.map(|l| format!(", line {l}")).unwrap_or_default())]
    Text {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where one is at fault.
        line: Option<u64>,
        /// What is wrong.
        detail: String,
    },
    /// A plan file that does not hold together.
    #[error("`{path}` is not a valid plan: {detail}")]
    Plan {
        /// The plan file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

impl TableError {
    /// The system does not let `path` be read; of what is not there, in words.
    pub(crate) fn cannot_read(path: &std::path::Path, error: io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            _ => error.to_string(),
        };
        let text = format!("cannot read `{}`: {why}", path.display());
        Self::Io(io::Error::new(error.kind(), text))
    }

    /// An encoder's error about the table at `path`; an I/O error inside keeps its own message.
    pub(crate) fn encode(path: &std::path::Path, source: ParquetError) -> Self {
        if let ParquetError::External(inner) = source {
            return match inner.downcast::<io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(inner) => Self::Encode {
                    path: path.to_owned(),
                    source: ParquetError::External(inner),
                },
            };
        }
        Self::Encode {
            path: path.to_owned(),
            source,
        }
    }
}
