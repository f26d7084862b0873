//! Reading a table within a bound: one page per column at a time, batches cut by bytes, page CRCs
//! verified by parquet's `crc` feature.
//!
//! A damaged file ends in a [`TableError`]. Where the decoder panics on bytes no checksum covers
//! (page headers, the footer), the panic is caught here and becomes one too.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::column::page::{Page, PageReader as _};
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, ParquetStatisticsPolicy,
    RowGroupMetaData,
};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::encode::CREATED_BY;
use crate::guard::guard;
use crate::input::PreadFile;
use crate::pages::ChunkPages;
use crate::{Meta, TableError};

mod batches;
mod groups;
mod row_group;

pub use batches::Batches;
use groups::Groups;
pub(crate) use row_group::alone;

/// What to read of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Rows, from 0; all when `None`.
    pub rows: Option<Range<u64>>,
    /// Columns by name, in the order wanted; all when `None`.
    pub columns: Option<Vec<String>>,
    /// Most rows in a batch.
    pub batch_rows: usize,
    /// Raw bytes a batch aims at. Kept by the sizes of pages, from the page index or, where a file
    /// has none or not ours, from their headers, and by what the last batch held.
    pub batch_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            rows: None,
            columns: None,
            batch_rows: 8192,
            batch_bytes: 1 << 20,
        }
    }
}

/// A zstd decompression context with its window (libzstd 1.5: 95 KiB and the page).
const DECOMPRESSOR_BYTES: u64 = 128 << 10;

/// An open table. Cheap to clone; may be read from several threads at once.
#[derive(Debug, Clone)]
pub struct TableReader {
    file: PreadFile,
    arrow: ArrowReaderMetadata,
    meta: Option<Meta>,
    /// Bytes of the footer as Parquet holds it.
    footer_bytes: u64,
    groups: Arc<Groups>,
    /// Of a table that this crate wrote, with the index of its pages: per leaf column, most bytes its decoder holds by that
    /// index. `None`: the pages of others are looked at one by one.
    indexed: Option<Arc<Vec<u64>>>,
}

impl TableReader {
    /// Opens a Parquet file and checks that its footer is whole and agrees with the file's size.
    ///
    /// Columns come in the types the file declares, except that dictionary keys are widened to
    /// int32 (narrow ones overflow when batches are joined).
    ///
    /// # Errors
    /// [`TableError::Io`], [`TableError::Empty`], [`TableError::NotParquet`],
    /// [`TableError::NoFooter`], [`TableError::Footer`], [`TableError::Meta`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TableError> {
        let path = path.as_ref();
        let file = PreadFile::open(path)?;
        check_magic(&file)?;
        let damaged = |detail: String| TableError::Footer {
            path: path.to_owned(),
            detail,
        };
        let metadata = guard(|| load_metadata(&file)).map_err(damaged)?;
        let table = Self::from_metadata(file, &metadata)?;
        crate::recovery::check_footer(table.file(), &metadata)?.map_err(damaged)?;
        Ok(table)
    }

    /// A reader over the row groups `metadata` names.
    pub(crate) fn from_metadata(
        file: PreadFile,
        metadata: &ParquetMetaData,
    ) -> Result<Self, TableError> {
        let path = file.path().to_owned();
        let damaged = |detail: String| TableError::Footer {
            path: path.clone(),
            detail,
        };
        let starts = guard(|| check_footer(metadata, file.length())).map_err(&damaged)?;
        // What copies a table also copies what it says about itself, and says nothing about the rows it wrote.
        let own = metadata.file_metadata();
        let meta = if own
            .created_by()
            .is_some_and(|by| by.starts_with(CREATED_BY))
        {
            Meta::from_key_values(&path, own.key_value_metadata())?
        } else {
            None
        };
        let without_groups = Arc::new(ParquetMetaData::new(own.clone(), Vec::new()));
        let arrow = guard(|| {
            let new = |options| ArrowReaderMetadata::try_new(Arc::clone(&without_groups), options);
            let plain = new(ArrowReaderOptions::new()).map_err(|e| e.to_string())?;
            let Some(schema) = widened(plain.schema()) else {
                return Ok(plain);
            };
            let options = ArrowReaderOptions::new().with_schema(schema);
            new(options).map_err(|e| e.to_string())
        })
        .map_err(&damaged)?;
        let indexed = match &meta {
            Some(_) => guard(|| indexed_decode_bytes(&file, metadata)).map_err(damaged)?,
            None => None,
        };
        Ok(Self {
            file,
            indexed: indexed.map(Arc::new),
            arrow,
            meta,
            footer_bytes: metadata.memory_size() as u64,
            groups: Arc::new(Groups::new(metadata, starts)),
        })
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed.is_some()
    }

    /// The metadata of a row group alone, with the index of its pages.
    ///
    /// # Errors
    /// What is wrong with the index, in words.
    pub(crate) fn row_group(&self, group: usize) -> Result<ParquetMetaData, String> {
        guard(|| alone(&self.file, self.groups.metadata(group)?))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file.length()
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        self.arrow.schema()
    }

    /// What the file says about itself; `None` when halocline did not write it, also where another program has copied
    /// the metadata of such a file to rows of its own.
    #[must_use]
    pub fn meta(&self) -> Option<&Meta> {
        self.meta.as_ref()
    }

    /// Rows in the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.groups.num_rows()
    }

    /// Row groups in the file.
    #[must_use]
    pub fn row_groups(&self) -> usize {
        self.groups.len()
    }

    /// The rows of row group `index`.
    ///
    /// # Panics
    /// When there is no such row group.
    #[must_use]
    pub fn row_group_rows(&self, index: usize) -> Range<u64> {
        self.groups.rows(index)
    }

    /// Bytes that opening the table took in memory: the footer as Parquet has it.
    #[must_use]
    pub fn opening_bytes(&self) -> u64 {
        self.footer_bytes
    }

    /// Bytes of it that are held while it is open.
    #[must_use]
    pub fn metadata_bytes(&self) -> u64 {
        self.groups.memory_bytes()
    }

    /// Bytes of all pages before compression.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.groups.raw_bytes()
    }

    /// What the footer says of the file as a whole.
    #[must_use]
    pub fn file_metadata(&self) -> &FileMetaData {
        self.arrow.metadata().file_metadata()
    }

    /// Where the chunks of a row group lie; without statistics and page index.
    ///
    /// # Errors
    /// [`TableError::Footer`], which a table that could be opened does not meet.
    ///
    /// # Panics
    /// When there is no such row group.
    pub fn row_group_metadata(&self, index: usize) -> Result<RowGroupMetaData, TableError> {
        let metadata = self.groups.metadata(index);
        metadata.map_err(|detail| TableError::Footer {
            path: self.path().to_owned(),
            detail,
        })
    }

    pub(crate) fn file(&self) -> &PreadFile {
        &self.file
    }

    /// The field of a column.
    ///
    /// # Errors
    /// [`TableError::Schema`] when it is not there, or more than once.
    pub fn column(&self, name: &str) -> Result<(usize, &Field), TableError> {
        let mut found = self
            .schema()
            .fields()
            .iter()
            .enumerate()
            .filter(|(_, f)| f.name() == name);
        match (found.next(), found.next()) {
            (Some((index, field)), None) => Ok((index, field.as_ref())),
            (None, _) => Err(TableError::Schema(format!(
                "`{}` has no column `{name}`; it has {}",
                self.path().display(),
                self.schema()
                    .fields()
                    .iter()
                    .map(|f| format!("`{}`", f.name()))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
            _ => Err(TableError::Schema(format!(
                "`{}` has more than one column `{name}`",
                self.path().display()
            ))),
        }
    }

    /// Per leaf column, most bytes its decoder holds: the largest page as stored and raw, as much again in rows that are
    /// given out, and the dictionary, read and decoded. By the index of the pages, or, where there is none or not ours, by
    /// their headers; 0 for columns that are not `wanted`, whose pages are not looked at.
    ///
    /// # Errors
    /// [`TableError::Io`]; [`TableError::Read`] where there is no page.
    pub fn decode_bytes(&self, wanted: impl Fn(usize) -> bool) -> Result<Vec<u64>, TableError> {
        let columns = self.arrow.parquet_schema().num_columns();
        let mut bytes = vec![0; columns];
        if let Some(indexed) = &self.indexed {
            for (leaf, largest) in bytes.iter_mut().enumerate().filter(|(l, _)| wanted(*l)) {
                *largest = indexed[leaf];
            }
            return Ok(bytes);
        }
        for group in 0..self.row_groups() {
            for (leaf, largest) in bytes.iter_mut().enumerate().filter(|(l, _)| wanted(*l)) {
                let pages = self.chunk_pages(group, leaf)?;
                let here = 2 * pages.raw + pages.stored + 3 * pages.dictionary;
                *largest = here.max(*largest);
            }
        }
        Ok(bytes)
    }

    /// The pages of a chunk, from their headers.
    pub(crate) fn chunk_pages(&self, group: usize, leaf: usize) -> Result<ChunkPages, TableError> {
        let row_group = self.row_group_metadata(group)?;
        let chunk = row_group.column(leaf);
        let rows = self.row_group_rows(group);
        ChunkPages::read(&self.file, chunk)?.map_err(|detail| TableError::Read {
            path: self.path().to_owned(),
            start: rows.start,
            end: rows.end,
            detail: format!("column `{}`: {detail}", chunk.column_path().string()),
        })
    }

    /// Bytes of the longest entry of the dictionary of a column of text. Holds the dictionary meanwhile.
    pub(crate) fn longest_entry(&self, group: usize, leaf: usize) -> Result<u64, TableError> {
        let row_group = self.row_group_metadata(group)?;
        let chunk = row_group.column(leaf);
        let rows = self.row_group_rows(group);
        guard(|| {
            let file = Arc::new(self.file.clone());
            let rows = usize::try_from(chunk.num_values()).unwrap_or(0);
            let page = SerializedPageReader::new(file, chunk, rows, None)
                .and_then(|mut pages| pages.get_next_page())
                .map_err(|e| e.to_string())?;
            let mut longest = 0;
            if let Some(Page::DictionaryPage { buf, .. }) = page {
                // PLAIN: each entry behind its length.
                let mut rest = &buf[..];
                while let Some((length, behind)) = rest.split_first_chunk() {
                    let length = u32::from_le_bytes(*length);
                    longest = longest.max(length.into());
                    rest = behind.get(length as usize..).unwrap_or_default();
                }
            }
            Ok(longest)
        })
        .map_err(|detail| TableError::Read {
            path: self.path().to_owned(),
            start: rows.start,
            end: rows.end,
            detail,
        })
    }

    /// Most bytes [`Batches`] of these options hold, for reserving ahead: two batches, and per column its decoder
    /// ([`TableReader::decode_bytes`]) and a decompressor.
    ///
    /// # Errors
    /// [`TableError::Schema`] for a column that is not there; those of reading the headers of
    /// pages.
    pub fn reserve_bytes(&self, options: &ReadOptions) -> Result<u64, TableError> {
        let (mask, _) = self.projection(options.columns.as_deref())?;
        let columns = self.decode_bytes(|leaf| mask.leaf_included(leaf))?;
        let included = columns.iter().filter(|bytes| **bytes > 0);
        let pages: u64 = included.map(|bytes| bytes + DECOMPRESSOR_BYTES).sum();
        Ok(pages + 2 * options.batch_bytes)
    }

    fn projection(
        &self,
        columns: Option<&[String]>,
    ) -> Result<(ProjectionMask, Option<Vec<usize>>), TableError> {
        let Some(names) = columns else {
            return Ok((ProjectionMask::all(), None));
        };
        let mut roots = Vec::with_capacity(names.len());
        for name in names {
            roots.push(self.column(name)?.0);
        }
        let mut sorted = roots.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != roots.len() {
            return Err(TableError::Schema("a column is asked for twice".to_owned()));
        }
        let mask = ProjectionMask::roots(self.arrow.parquet_schema(), roots.iter().copied());
        let position = |root: &usize| sorted.binary_search(root).unwrap_or(0);
        Ok((mask, Some(roots.iter().map(position).collect())))
    }

    /// Reads batches in row order.
    ///
    /// # Errors
    /// [`TableError::Schema`] for a column that is not there, [`TableError::Range`] for rows that
    /// are not there. Errors of reading come from the iterator.
    pub fn batches(&self, options: ReadOptions) -> Result<Batches, TableError> {
        let rows = options.rows.clone().unwrap_or(0..self.rows());
        if rows.start > rows.end || rows.end > self.rows() {
            return Err(TableError::Range {
                path: self.path().to_owned(),
                rows: self.rows(),
                start: rows.start,
                end: rows.end,
            });
        }
        let (mask, order) = self.projection(options.columns.as_deref())?;
        let schema = match &options.columns {
            None => Arc::clone(self.schema()),
            Some(names) => {
                let mut fields = Vec::with_capacity(names.len());
                for name in names {
                    fields.push(self.column(name)?.1.clone());
                }
                Arc::new(Schema::new(fields))
            }
        };
        Ok(Batches::new(
            self.clone(),
            mask,
            order,
            schema,
            options,
            rows,
        ))
    }
}

fn check_magic(file: &PreadFile) -> Result<(), TableError> {
    let path = || file.path().to_owned();
    let bytes = file.length();
    if bytes == 0 {
        return Err(TableError::Empty { path: path() });
    }
    let mut magic = [0; 4];
    let head = usize::try_from(bytes).unwrap_or(4).min(4);
    file.read_exact_at(&mut magic[..head], 0)?;
    if &magic != b"PAR1" {
        if &magic == b"PARE" {
            let detail = "the file is encrypted, which is not supported".to_owned();
            return Err(TableError::Footer {
                path: path(),
                detail,
            });
        }
        return Err(TableError::NotParquet { path: path() });
    }
    if bytes >= 12 {
        file.read_exact_at(&mut magic, bytes - 4)?;
    }
    if bytes < 12 || &magic != b"PAR1" {
        return Err(TableError::NoFooter {
            path: path(),
            bytes,
        });
    }
    Ok(())
}

fn load_metadata(file: &PreadFile) -> Result<ParquetMetaData, String> {
    // Statistics of chunks are read by nobody here and are most of a footer in memory. The column
    // index likewise; the offset index, which lets a range of rows skip pages, is read row group by row group.
    let options = parquet::file::metadata::ParquetMetaDataOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
    ParquetMetaDataReader::new()
        .with_metadata_options(Some(options))
        .with_page_index_policy(PageIndexPolicy::Skip)
        .parse_and_finish(file)
        .map_err(|e| e.to_string())
}

/// [`TableReader::decode_bytes`] by the index of the pages; `None` where a chunk has none.
fn indexed_decode_bytes(
    file: &PreadFile,
    metadata: &ParquetMetaData,
) -> Result<Option<Vec<u64>>, String> {
    let positive = |n: i64| u64::try_from(n).unwrap_or(0);
    let mut columns = vec![0; metadata.file_metadata().schema_descr().num_columns()];
    for group in 0..metadata.num_row_groups() {
        let alone = alone(file, metadata.row_group(group).clone())?;
        let index = alone.page_index_for_row_group(0);
        for (leaf, chunk) in alone.row_group(0).columns().iter().enumerate() {
            let Some(pages) = index.page_locations(leaf) else {
                return Ok(None);
            };
            let stored = pages.iter().map(|p| i64::from(p.compressed_page_size));
            let stored = positive(stored.max().unwrap_or(0)) as f64;
            let raw = positive(chunk.uncompressed_size());
            let ratio = raw as f64 / positive(chunk.compressed_size()).max(1) as f64;
            // Pages compress unevenly; a half more is for those that do it best.
            let page = ((stored * (1.0 + 1.5 * ratio)) as u64).min(2 * raw);
            let dictionary = match chunk.dictionary_page_offset() {
                Some(start) => positive(chunk.data_page_offset() - start).min(raw) * 4,
                None => 0,
            };
            columns[leaf] = (page + dictionary).max(columns[leaf]);
        }
    }
    Ok(Some(columns))
}

/// The footer's numbers against each other and against the file. Returns the rows at which row
/// groups start.
fn check_footer(metadata: &ParquetMetaData, length: u64) -> Result<Vec<u64>, String> {
    let mut starts = Vec::with_capacity(metadata.num_row_groups() + 1);
    let mut rows = 0u64;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        starts.push(rows);
        let here = u64::try_from(group.num_rows())
            .map_err(|_| format!("row group {index} has {} rows", group.num_rows()))?;
        rows = rows
            .checked_add(here)
            .ok_or("more rows than there are numbers")?;
        for chunk in group.columns() {
            let name = chunk.column_path().string();
            let start = chunk
                .dictionary_page_offset()
                .unwrap_or_else(|| chunk.data_page_offset());
            let inside = u64::try_from(start)
                .ok()
                .zip(u64::try_from(chunk.compressed_size()).ok())
                .and_then(|(start, bytes)| start.checked_add(bytes))
                .is_some_and(|end| end <= length);
            if !inside {
                return Err(format!(
                    "column `{name}` of row group {index} lies outside the file"
                ));
            }
            let flat = chunk.column_descr().max_rep_level() == 0;
            if chunk.num_values() < 0 || (flat && chunk.num_values() != group.num_rows()) {
                return Err(format!(
                    "column `{name}` of row group {index} has {} values for {here} rows",
                    chunk.num_values()
                ));
            }
        }
    }
    starts.push(rows);
    let said = metadata.file_metadata().num_rows();
    if u64::try_from(said) != Ok(rows) {
        return Err(format!("it says {said} rows, its row groups have {rows}"));
    }
    Ok(starts)
}

/// The schema with dictionary keys widened to int32, or `None` when nothing changes.
fn widened(schema: &SchemaRef) -> Option<SchemaRef> {
    let mut changed = false;
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Dictionary(key, value) if **key != DataType::Int32 => {
                changed = true;
                let wide = DataType::Dictionary(Box::new(DataType::Int32), value.clone());
                field.as_ref().clone().with_data_type(wide)
            }
            _ => field.as_ref().clone(),
        })
        .collect();
    changed.then(|| Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// A column of `batch` as plain utf8, whatever text layout it has.
///
/// # Errors
/// [`TableError::Schema`] when the column is missing or is not text.
pub fn text_column(batch: &RecordBatch, name: &str) -> Result<StringArray, TableError> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| TableError::Schema(format!("no column `{name}`")))?;
    if let Some(text) = column.as_any().downcast_ref::<StringArray>() {
        return Ok(text.clone());
    }
    if !crate::schema::is_text(column.data_type()) {
        return Err(TableError::Schema(format!(
            "column `{name}` is {}, not text",
            column.data_type()
        )));
    }
    let cast = arrow::compute::cast(column, &DataType::Utf8)?;
    cast.as_any()
        .downcast_ref::<StringArray>()
        .cloned()
        .ok_or_else(|| TableError::Schema(format!("column `{name}` cannot be read as text")))
}
