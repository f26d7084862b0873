//! One row group, encoded: a pure function of its rows.
//!
//! Rows are handed to the column encoders in slices cut at fixed places (see [`SLICE_ROWS`],
//! [`SLICE_BYTES`]), so that page boundaries do not depend on how rows arrived.
//!
//! Every page is compressed and gets its CRC here, in the page store through which each finished
//! page passes; the chunk's offsets and sizes are recomputed from the pages. Two reasons: parquet 60
//! verifies page CRCs but does not write them (its `to_thrift_header` says `crc: None`), and it
//! keeps a zstd context of half a megabyte for every open column, which for a shard with sixteen
//! tables open is 90 MB; here there is one context per thread.

use std::fmt;
use std::io;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnWriter, ArrowRowGroupWriterFactory, PageStoreFactory, compute_leaves,
};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescPtr, SchemaDescriptor, TypePtr};

use crate::page_store::{EncodedColumn, Shared, Stores, finish_column, lock};
use crate::{Kind, Meta, SHARD_ROW_GROUP_BYTES, TableError, WriterOptions};

/// Most rows in a slice, and
pub(crate) const SLICE_ROWS: usize = 2048;
/// raw bytes after which a slice ends. What a slice holds is the encoder's working memory.
pub(crate) const SLICE_BYTES: u64 = 256 << 10;

/// Raw bytes after which a page ends. A reader holds one page per column, so this is small; at 1 MiB
/// products are 3 % and libraries 6 % smaller (2026-11-20, np_68k and its 1X products).
const PAGE_BYTES: usize = 128 << 10;
/// The same in a library, of which few columns are read at a time. The index of its pages is in memory until the footer
/// is written, and again in every reader: with pages of 128 KiB that is 0.02 bytes a row, at 50 million rows 7 % of what
/// `halo-split` has (2026-11-20).
pub(crate) const LIBRARY_PAGE_BYTES: usize = 512 << 10;
/// Rows after which a page of a narrow column ends.
const PAGE_ROWS: usize = 20_000;
/// Dictionaries above this fall back to plain pages.
const DICTIONARY_BYTES: usize = 256 << 10;
/// Level 3 makes products 2 % and libraries 3 % smaller for 9 % more CPU of the whole `halo-split`
/// (2026-11-20, 1,000,000 rows of np_68k).
pub(crate) const ZSTD_LEVEL: i32 = 1;
/// Who wrote a file, as Parquet's footer says it; the version follows.
pub(crate) const CREATED_BY: &str = "halocline version ";
/// Bytes of a minimum or maximum kept in statistics.
const STATISTICS_BYTES: usize = 64;

/// The schema of a table being written together with how each column is encoded. Cheap to clone;
/// share it with the threads that encode.
#[derive(Clone)]
pub struct WriterSchema {
    options: WriterOptions,
    arrow: SchemaRef,
    properties: WriterPropertiesPtr,
    parquet: TypePtr,
    /// Writes nothing; `ArrowRowGroupWriterFactory` takes its schema and properties from it.
    pattern: Arc<SerializedFileWriter<io::Sink>>,
}

impl fmt::Debug for WriterSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterSchema")
            .field("arrow", &self.arrow)
            .finish_non_exhaustive()
    }
}

impl WriterSchema {
    /// Prepares `schema` for writing as `options` say. Metadata of schema and fields is dropped (its order is
    /// random); columns typed as dictionary are dictionary-encoded, all others are plain.
    ///
    /// # Errors
    /// [`TableError::Schema`] for a type Parquet cannot hold or an extra metadata key that hides a
    /// fixed one.
    pub fn new(schema: &Schema, meta: &Meta, options: WriterOptions) -> Result<Self, TableError> {
        let arrow = crate::schema::bare_schema(schema);
        let unsupported =
            |e: ParquetError| TableError::Schema(format!("a column cannot be written: {e}"));
        let descriptor = ArrowSchemaConverter::new()
            .convert(&arrow)
            .map_err(unsupported)?;
        let mut properties = properties(&arrow, &descriptor, meta, &options)?;
        add_encoded_arrow_schema_to_metadata(&arrow, &mut properties);
        let properties = Arc::new(properties);
        let parquet = descriptor.root_schema_ptr();
        let pattern =
            SerializedFileWriter::new(io::sink(), Arc::clone(&parquet), Arc::clone(&properties))
                .map_err(unsupported)?;
        Ok(Self {
            options,
            arrow,
            properties,
            parquet,
            pattern: Arc::new(pattern),
        })
    }

    /// The columns as they are written (without metadata).
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    pub(crate) fn options(&self) -> &WriterOptions {
        &self.options
    }

    pub(crate) fn descriptor(&self) -> SchemaDescPtr {
        Arc::new(SchemaDescriptor::new(Arc::clone(&self.parquet)))
    }

    pub(crate) fn properties(&self) -> &WriterProperties {
        &self.properties
    }

    /// The record that tells a salvager what the pages hold.
    pub(crate) fn file_record(&self) -> Result<Vec<u8>, TableError> {
        let row_group_bytes = self.options.row_group_bytes;
        crate::recovery::file_record(&self.parquet, &self.properties, row_group_bytes)
    }

    /// Refuses a batch whose names, order or types differ.
    ///
    /// # Errors
    /// [`TableError::Schema`] naming the first column that differs.
    pub(crate) fn check(&self, batch: &RecordBatch) -> Result<(), TableError> {
        let schema = batch.schema_ref();
        if schema.fields().len() != self.arrow.fields().len() {
            return Err(TableError::Schema(format!(
                "rows with {} columns for a table of {}",
                schema.fields().len(),
                self.arrow.fields().len()
            )));
        }
        for ((there, here), column) in schema
            .fields()
            .iter()
            .zip(self.arrow.fields())
            .zip(batch.columns())
        {
            if there.name() != here.name() {
                return Err(TableError::Schema(format!(
                    "column `{}` where the table has `{}`",
                    there.name(),
                    here.name()
                )));
            }
            if !here.data_type().equals_datatype(there.data_type()) {
                return Err(TableError::Schema(format!(
                    "column `{}` is {} where the table has {}",
                    here.name(),
                    there.data_type(),
                    here.data_type()
                )));
            }
            if !here.is_nullable() && column.logical_null_count() > 0 {
                return Err(TableError::Schema(format!(
                    "column `{}` may not be null",
                    here.name()
                )));
            }
        }
        Ok(())
    }
}

/// Raw bytes after which a page of such a table ends.
pub(crate) fn page_bytes(kind: Kind) -> usize {
    if kind == Kind::Library {
        LIBRARY_PAGE_BYTES
    } else {
        PAGE_BYTES
    }
}

fn properties(
    arrow: &SchemaRef,
    descriptor: &SchemaDescriptor,
    meta: &Meta,
    options: &WriterOptions,
) -> Result<WriterProperties, TableError> {
    let library = meta.kind == Kind::Library;
    let passed_on = options.row_group_bytes <= SHARD_ROW_GROUP_BYTES;
    // Minima and maxima of pages of text prune nothing here and would be most of the footer.
    let statistics = match passed_on {
        true => EnabledStatistics::None,
        false => EnabledStatistics::Chunk,
    };
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("{CREATED_BY}{}", env!("CARGO_PKG_VERSION")))
        // Compressed in `CrcStore`.
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_data_page_size_limit(page_bytes(meta.kind))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(256)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES))
        .set_statistics_enabled(statistics)
        .set_key_value_metadata(Some(meta.to_key_values()?));
    for leaf in 0..descriptor.num_columns() {
        let root = descriptor.get_column_root_idx(leaf);
        let field = arrow.field(root);
        let path: ColumnPath = descriptor.column(leaf).path().clone();
        if matches!(field.data_type(), DataType::Dictionary(_, _)) {
            builder = builder.set_column_dictionary_enabled(path.clone(), true);
        }
        // Of a library whole shards are read, never rows by their values.
        if field.data_type().is_primitive() && !library && !passed_on {
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Page);
        }
    }
    Ok(builder.build())
}

/// Encodes the rows of one row group as they come. Holds the encoded pages, one unfinished page
/// per column and at most one slice of raw rows.
pub struct RowGroupEncoder {
    schema: WriterSchema,
    columns: Vec<ArrowColumnWriter>,
    stores: Vec<Shared>,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: u64,
    rows: u64,
    raw_bytes: u64,
}

impl fmt::Debug for RowGroupEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowGroupEncoder")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl RowGroupEncoder {
    /// An encoder with no rows yet.
    ///
    /// # Errors
    /// From the Parquet encoder.
    pub fn new(schema: &WriterSchema) -> ParquetResult<Self> {
        let stores = Arc::new(Stores::default());
        let factory = ArrowRowGroupWriterFactory::new(&schema.pattern, Arc::clone(&schema.arrow))
            .with_page_store_factory(Arc::clone(&stores) as Arc<dyn PageStoreFactory>);
        let columns = factory.create_column_writers(0)?;
        let stores = std::mem::take(&mut *lock(&stores.0));
        if stores.len() != columns.len() {
            return Err(ParquetError::General(
                "one page store per column expected".to_owned(),
            ));
        }
        Ok(Self {
            schema: schema.clone(),
            columns,
            stores,
            pending: Vec::new(),
            pending_rows: 0,
            pending_bytes: 0,
            rows: 0,
            raw_bytes: 0,
        })
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Raw bytes so far.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Bytes held: encoded pages, unfinished pages, raw rows that wait for their slice.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let encoders: usize = self
            .columns
            .iter()
            .map(ArrowColumnWriter::memory_size)
            .sum();
        encoders as u64 + self.pending_bytes
    }

    /// Adds the rows of `batch`; `sizes` are their [`crate::row_bytes`].
    ///
    /// # Errors
    /// From the Parquet encoder.
    ///
    /// # Panics
    /// When `sizes` is not one number per row.
    pub fn push(&mut self, batch: &RecordBatch, sizes: &[u64]) -> ParquetResult<()> {
        assert_eq!(batch.num_rows(), sizes.len(), "one size per row");
        let mut start = 0;
        for (row, size) in sizes.iter().enumerate() {
            self.pending_rows += 1;
            self.pending_bytes += size;
            if self.pending_rows == SLICE_ROWS || self.pending_bytes >= SLICE_BYTES {
                self.pending.push(batch.slice(start, row + 1 - start));
                start = row + 1;
                self.encode_slice()?;
            }
        }
        if start < sizes.len() {
            self.pending.push(batch.slice(start, sizes.len() - start));
        }
        self.rows += sizes.len() as u64;
        self.raw_bytes += sizes.iter().sum::<u64>();
        Ok(())
    }

    fn encode_slice(&mut self) -> ParquetResult<()> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_rows = 0;
        self.pending_bytes = 0;
        let mut writers = self.columns.iter_mut();
        for (index, field) in self.schema.arrow.fields().iter().enumerate() {
            let array: ArrayRef = match pending.as_slice() {
                [one] => Arc::clone(one.column(index)),
                many => {
                    let parts: Vec<_> = many.iter().map(|b| b.column(index).as_ref()).collect();
                    concat(&parts)?
                }
            };
            for leaf in compute_leaves(field, &array)? {
                let writer = writers.next().ok_or_else(|| {
                    ParquetError::General("more leaves than column writers".to_owned())
                })?;
                writer.write(&leaf)?;
            }
        }
        Ok(())
    }

    /// Ends the row group.
    ///
    /// # Errors
    /// From the Parquet encoder.
    pub fn finish(mut self) -> ParquetResult<EncodedRowGroup> {
        if !self.pending.is_empty() {
            self.encode_slice()?;
        }
        let mut columns = Vec::with_capacity(self.columns.len());
        for (writer, store) in self.columns.into_iter().zip(&self.stores) {
            let close = writer.close()?.close().clone();
            let pages = std::mem::take(&mut *lock(store));
            columns.push(finish_column(close, pages)?);
        }
        Ok(EncodedRowGroup {
            rows: self.rows,
            raw_bytes: self.raw_bytes,
            columns,
        })
    }
}

/// A row group ready to be appended to any table of the same [`WriterSchema`]. `Send`: encode on
/// any thread, append in order.
pub struct EncodedRowGroup {
    rows: u64,
    raw_bytes: u64,
    columns: Vec<EncodedColumn>,
}

impl fmt::Debug for EncodedRowGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedRowGroup")
            .field("rows", &self.rows)
            .field("memory_bytes", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

impl EncodedRowGroup {
    /// Rows in it.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Raw bytes of its rows.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Bytes of its pages.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.columns
            .iter()
            .flat_map(|c| &c.pages)
            .map(|p| p.len() as u64)
            .sum()
    }

    /// Its rows and its columns.
    pub(crate) fn into_parts(self) -> (u64, Vec<EncodedColumn>) {
        (self.rows, self.columns)
    }
}
