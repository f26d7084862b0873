//! A table being written: streaming, bounded, deterministic, published whole.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use halocline_budget::publish::AtomicFile;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataWriter;
use parquet::file::writer::TrackedWrite;
use xxhash_rust::xxh3::Xxh3;

use crate::cut::cut;
use crate::footer::Footer;
use crate::recovery::group_record;
use crate::{EncodedRowGroup, Kind, Meta, RowGroupEncoder, TableError, WriterSchema, row_bytes};

/// How a table is written. Part of what decides its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterOptions {
    /// Raw bytes per row group: [`crate::PRODUCT_ROW_GROUP_BYTES`] or
    /// [`crate::SHARD_ROW_GROUP_BYTES`].
    pub row_group_bytes: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            row_group_bytes: crate::PRODUCT_ROW_GROUP_BYTES,
        }
    }
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// xxh3-128 of the file's bytes, 32 lower-case hex digits.
    pub xxh3_128: String,
}

/// Counts and digests what goes to the file.
struct Hashing {
    file: AtomicFile,
    hash: Xxh3,
    failed: Option<io::Error>,
}

/// The file on its way through Parquet's writer of footers, which takes it, drops it, and with it what the last write
/// said: so it is shared, and remembers.
#[derive(Clone)]
struct HashingFile(Arc<Mutex<Hashing>>);

impl HashingFile {
    fn lock(&self) -> MutexGuard<'_, Hashing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Hashing { file, hash, failed } = &mut *self.lock();
        match file.write(bytes) {
            Ok(n) => {
                hash.update(&bytes[..n]);
                Ok(n)
            }
            Err(error) => {
                let text = error.to_string();
                let kind = error.kind();
                if kind != io::ErrorKind::Interrupted {
                    failed.get_or_insert_with(|| io::Error::new(kind, text));
                }
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().file.flush()
    }
}

/// Writes one table. Dropped without [`TableWriter::finish`], it leaves nothing behind.
pub struct TableWriter {
    path: PathBuf,
    schema: WriterSchema,
    file: TrackedWrite<HashingFile>,
    /// The same file, to have it back when the footer is written.
    whole: HashingFile,
    footer: Footer,
    encoder: Option<RowGroupEncoder>,
    rows: u64,
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl TableWriter {
    /// Starts the table that will become `path`; its directory must exist.
    ///
    /// # Errors
    /// [`TableError::Schema`] for a schema Parquet cannot hold, [`TableError::Publish`] when the
    /// directory cannot be written.
    pub fn create(
        path: impl Into<PathBuf>,
        schema: &Schema,
        meta: &Meta,
        options: WriterOptions,
    ) -> Result<Self, TableError> {
        let schema = WriterSchema::new(schema, meta, options)?;
        Self::with_schema(path, schema)
    }

    /// As [`TableWriter::create`], with a schema already prepared (to share it with encoders).
    ///
    /// # Errors
    /// As [`TableWriter::create`].
    pub fn with_schema(path: impl Into<PathBuf>, schema: WriterSchema) -> Result<Self, TableError> {
        let path = path.into();
        let whole = HashingFile(Arc::new(Mutex::new(Hashing {
            file: AtomicFile::create(&path)?,
            hash: Xxh3::new(),
            failed: None,
        })));
        let mut file = TrackedWrite::new(whole.clone());
        file.write_all(MAGIC).map_err(TableError::Io)?;
        let record = schema.file_record()?;
        file.write_all(&record).map_err(TableError::Io)?;
        Ok(Self {
            path,
            footer: Footer::new(schema.descriptor()),
            schema,
            file,
            whole,
            encoder: None,
            rows: 0,
        })
    }

    /// The columns as written.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        self.schema.arrow()
    }

    /// For encoding on other threads.
    #[must_use]
    pub fn writer_schema(&self) -> &WriterSchema {
        &self.schema
    }

    /// Where it will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows + self.encoder.as_ref().map_or(0, RowGroupEncoder::rows)
    }

    /// Bytes held now: the encoder's pages and the footer that grows with every row group.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.encoder
            .as_ref()
            .map_or(0, RowGroupEncoder::memory_bytes)
            + self.footer.memory_bytes()
    }

    /// Bytes that [`TableWriter::seal`] takes on top: Parquet's own structures of the footer.
    #[must_use]
    pub fn seal_bytes(&self) -> u64 {
        self.footer.writing_bytes()
    }

    /// Bytes the writer of a table of this kind holds beside its footer, for reserving ahead. Measured
    /// 2026-11 on products and libraries of natural products: an encoded row group is a fifth to a
    /// seventh of its raw bytes, of which a quarter is reserved here; then per column an
    /// unfinished page and its levels, and one slice of raw rows. Rows that do not compress hold
    /// more, and [`TableWriter::memory_bytes`] says so.
    #[must_use]
    pub fn reserve_bytes(schema: &Schema, kind: Kind, options: &WriterOptions) -> u64 {
        let columns = schema.flattened_fields().len() as u64;
        let page = crate::encode::page_bytes(kind) as u64 + LEVEL_BYTES;
        options.row_group_bytes / 4 + columns * page + 2 * crate::encode::SLICE_BYTES
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`TableError::Schema`] when names, order or types differ from the table's, or a null stands
    /// where none may be; [`TableError::Encode`]; [`TableError::Io`] when the disk is full.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.schema.check(batch)?;
        let sizes = row_bytes(batch);
        let mut start = 0;
        while start < sizes.len() {
            let encoder = match &mut self.encoder {
                Some(encoder) => encoder,
                none => none.insert(
                    RowGroupEncoder::new(&self.schema)
                        .map_err(|e| TableError::encode(&self.path, e))?,
                ),
            };
            let limit = self.schema.options().row_group_bytes.max(1);
            let (end, bytes) = cut(&sizes, start, encoder.raw_bytes(), limit);
            encoder
                .push(&batch.slice(start, end - start), &sizes[start..end])
                .map_err(|e| TableError::encode(&self.path, e))?;
            start = end;
            if bytes >= limit {
                self.end_row_group()?;
            }
        }
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<(), TableError> {
        if let Some(encoder) = self.encoder.take() {
            let group = encoder
                .finish()
                .map_err(|e| TableError::encode(&self.path, e))?;
            self.append_encoded(group)?;
        }
        Ok(())
    }

    fn append_encoded(&mut self, group: EncodedRowGroup) -> Result<(), TableError> {
        let encode = |e| TableError::encode(&self.path, e);
        let start = self.file.bytes_written() as u64;
        let (rows, columns) = group.into_parts();
        for page in columns.iter().flat_map(|column| &column.pages) {
            self.file.write_all(page).map_err(TableError::Io)?;
        }
        self.rows += rows;
        self.footer.push(start, rows, columns).map_err(encode)?;
        let (written, indexes) = self.footer.last().map_err(encode)?;
        let record = group_record(&written, &indexes)?;
        self.file.write_all(&record).map_err(TableError::Io)
    }

    /// Adds a row group encoded elsewhere with this table's [`WriterSchema`]. Rows written before
    /// with [`TableWriter::write`] must have ended their row group; mixing the two is for the end
    /// of a table only.
    ///
    /// # Errors
    /// [`TableError::Encode`] also when rows are waiting in an unfinished row group.
    pub fn append(&mut self, group: EncodedRowGroup) -> Result<(), TableError> {
        if self.encoder.is_some() {
            let text = "a row group was appended into the middle of another";
            return Err(TableError::encode(
                &self.path,
                ParquetError::General(text.to_owned()),
            ));
        }
        self.append_encoded(group)
    }

    /// Writes the footer, makes the file durable and gives it its name.
    ///
    /// # Errors
    /// As [`TableWriter::write`]; [`TableError::Publish`] when it cannot be synced or renamed. The
    /// path is then as it was before.
    pub fn finish(self) -> Result<Published, TableError> {
        self.seal()?.publish()
    }

    /// Writes the footer, but gives the file no name yet: what belongs beside the table can be
    /// written first, so that a table that is there has it.
    ///
    /// # Errors
    /// As [`TableWriter::write`].
    pub fn seal(mut self) -> Result<Sealed, TableError> {
        self.end_row_group()?;
        let encode = |e| TableError::encode(&self.path, e);
        let metadata = self
            .footer
            .into_metadata(self.schema.properties())
            .map_err(encode)?;
        let written = ParquetMetaDataWriter::new_with_tracked(self.file, &metadata).finish();
        let whole = Arc::into_inner(self.whole.0)
            .and_then(|file| file.into_inner().ok())
            .ok_or_else(|| encode(ParquetError::General("its file is still held".to_owned())))?;
        if let Some(error) = whole.failed {
            return Err(TableError::Io(error));
        }
        written.map_err(encode)?;
        let Hashing { file, hash, .. } = whole;
        let published = Published {
            rows: self.rows,
            bytes: file.written(),
            xxh3_128: format!("{:032x}", hash.digest128()),
        };
        Ok(Sealed { file, published })
    }
}

/// A whole table without a name. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Sealed {
    file: AtomicFile,
    published: Published,
}

impl Sealed {
    /// What the table will be.
    #[must_use]
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// [`TableError::Publish`] when it cannot be synced or renamed. The path is then as it was
    /// before.
    pub fn publish(self) -> Result<Published, TableError> {
        self.file.commit()?;
        Ok(self.published)
    }
}

/// Levels of an unfinished page, and what its encoder keeps beside its values.
const LEVEL_BYTES: u64 = 32 << 10;

/// What a Parquet file begins and ends with.
const MAGIC: &[u8; 4] = b"PAR1";
