//! The Arrow and Parquet contract: which columns a table has, how it is read and written within a
//! bound, and when it may appear under its name.
//!
//! Responsible for schemas ([`schema`]), file metadata ([`Meta`]), the bounded reader
//! ([`TableReader`]), the deterministic writer ([`TableWriter`]), raw pages ([`pages`]), text input
//! ([`text`]) and the plan of shards ([`plan_file`]).
//!
//! Not responsible for what the rows mean: no chemistry, no deduplication; and not for how many
//! bytes the process may use: callers hold reservations for what [`TableWriter::memory_bytes`],
//! [`TableReader::metadata_bytes`] and [`ReadOptions::batch_bytes`] say.
//!
//! # Bytes are a function of rows and options
//!
//! Row groups are cut at the row with which the raw size passes a limit, and pages at rows counted
//! from the start of the row group. Neither depends on how rows were grouped into batches, on
//! threads or on memory. The same rows give the same file.

mod cut;
mod density;
mod encode;
mod error;
mod footer;
mod guard;
mod input;
mod meta;
mod page_store;
pub mod pages;
pub mod plan_file;
mod reader;
mod recovery;
mod row_bytes;
pub mod schema;
pub mod text;
mod writer;

pub use cut::{RowGroupCutter, RowGroupRows};
pub use encode::{EncodedRowGroup, RowGroupEncoder, WriterSchema};
pub use error::TableError;
pub use footer::footer_bytes;
pub use halocline_budget::publish;
pub use meta::{Kind, Meta};
pub use reader::{Batches, ReadOptions, TableReader, text_column};
pub use recovery::{Salvage, salvage};
pub use row_bytes::row_bytes;
pub use schema::{
    PRODUCT_SCHEMA_VERSION, find_smiles_column, product_schema, rejects_schema, text_rejects_schema,
};
pub use writer::{Published, Sealed, TableWriter, WriterOptions};

/// Raw bytes per row group of a table people keep: final libraries and merged products. 32 MiB is
/// about 110,000 products, what DuckDB reads as one unit (122,880 rows), and keeps the footer of
/// 50 million rows near 5 MiB (with 8 MiB it was near 20 MiB, which no 64 MiB process can hold).
/// The writer itself holds the *encoded* row group only, about a sixth of this.
pub const PRODUCT_ROW_GROUP_BYTES: u64 = 32 << 20;

/// Raw bytes per row group of a library that `halo-split` writes: one writer per partition is
/// open, so smaller than [`PRODUCT_ROW_GROUP_BYTES`].
pub const LIBRARY_ROW_GROUP_BYTES: u64 = 16 << 20;

/// Raw bytes per row group of a table one step writes for the next: small, because one process
/// keeps one such table open per rule. Such tables have no statistics: nobody asks them for some of their rows.
pub const SHARD_ROW_GROUP_BYTES: u64 = 1 << 20;

/// `xxh3-128` of bytes as 32 lower-case hex digits.
#[must_use]
pub fn bytes_digest(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// `xxh3-128` of a file's bytes as 32 lower-case hex digits, read in blocks of 64 KiB.
///
/// # Errors
/// [`TableError::Io`] when the file cannot be read.
pub fn file_digest(path: &std::path::Path) -> Result<String, TableError> {
    rest_digest(fs_err::File::open(path).map_err(TableError::Io)?)
}

/// `xxh3-128` of a Parquet file's footer: where every page chunk lies, how long it is and what it holds at least and at
/// most. Another table has another one, unless it was made for it; reads no rows.
///
/// # Errors
/// [`TableError::Io`]; [`TableError::NotParquet`] for a file without the end of one.
pub fn footer_digest(path: &std::path::Path) -> Result<String, TableError> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs_err::File::open(path).map_err(TableError::Io)?;
    let length = file.metadata().map_err(TableError::Io)?.len();
    let mut end = [0; 8];
    let mut footer = None;
    if length >= 8 {
        file.seek(SeekFrom::End(-8)).map_err(TableError::Io)?;
        file.read_exact(&mut end).map_err(TableError::Io)?;
        let [a, b, c, d, magic @ ..] = end;
        let bytes = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
        footer = (&magic == b"PAR1")
            .then(|| length.checked_sub(bytes))
            .flatten();
    }
    let start = footer.ok_or_else(|| TableError::NotParquet {
        path: path.to_owned(),
    })?;
    file.seek(SeekFrom::Start(start)).map_err(TableError::Io)?;
    rest_digest(file)
}

fn rest_digest(mut file: fs_err::File) -> Result<String, TableError> {
    use std::io::Read;
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let mut block = vec![0u8; 64 << 10];
    loop {
        let read = file.read(&mut block).map_err(TableError::Io)?;
        if read == 0 {
            return Ok(format!("{:032x}", hash.digest128()));
        }
        hash.update(&block[..read]);
    }
}
