//! What the footer of a table in the making will say, held small until it is written.
//!
//! Parquet's own structures take about a kilobyte for every chunk of a column; a shard of four million products has seven
//! thousand chunks. Here a chunk without statistics takes some hundred bytes, and Parquet's structures are made of it when
//! the table ends.

use std::mem::size_of;
use std::sync::Arc;

use parquet::basic::{Compression, EncodingMask, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::page_index::PageIndexBuilder;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
    ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::schema::types::SchemaDescPtr;

use crate::encode::ZSTD_LEVEL;
use crate::page_store::EncodedColumn;

/// The row groups written so far.
#[derive(Debug)]
pub(crate) struct Footer {
    schema: SchemaDescPtr,
    groups: Vec<Group>,
    heap_bytes: usize,
}

/// The chunks of a row group lie one behind the other.
#[derive(Debug)]
struct Group {
    start: i64,
    rows: i64,
    chunks: Box<[Chunk]>,
}

#[derive(Debug)]
struct Chunk {
    /// Stored bytes of the dictionary page; 0 where there is none.
    dictionary: u32,
    pages: Box<[Page]>,
    uncompressed: i64,
    values: i64,
    encodings: EncodingMask,
    page_encodings: Box<[PageEncodingStats]>,
    noted: Option<Box<Noted>>,
}

#[derive(Debug)]
struct Page {
    stored: i32,
    first_row: u32,
    /// Bytes of text in it; -1 for columns that have none.
    text: i64,
}

/// What only tables with statistics have.
#[derive(Debug)]
struct Noted {
    statistics: Option<Statistics>,
    text: Option<i64>,
    repetition: Option<LevelHistogram>,
    definition: Option<LevelHistogram>,
    index: Option<ColumnIndexMetaData>,
}

/// What Parquet keeps of a chunk with statistics, and makes of any chunk when the footer is written: metadata, statistics
/// and the locations of its pages (measured 2026-11, row groups of 1 and 32 MiB of products).
const PARQUET_BYTES_PER_CHUNK: u64 = 2 << 10;

/// Bytes that a footer with statistics takes, the most it ever does, for reserving ahead.
#[must_use]
pub fn footer_bytes(row_groups: u64, columns: u64) -> u64 {
    row_groups * columns * PARQUET_BYTES_PER_CHUNK
}

impl Footer {
    pub(crate) fn new(schema: SchemaDescPtr) -> Self {
        Self {
            schema,
            groups: Vec::new(),
            heap_bytes: 0,
        }
    }

    /// Bytes held now.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (self.groups.capacity() * size_of::<Group>() + self.heap_bytes) as u64
    }

    /// Bytes that writing it takes.
    pub(crate) fn writing_bytes(&self) -> u64 {
        footer_bytes(self.groups.len() as u64, self.schema.num_columns() as u64)
    }

    /// Adds the row group of these columns, which begins at byte `start` of the file.
    pub(crate) fn push(
        &mut self,
        start: u64,
        rows: u64,
        columns: Vec<EncodedColumn>,
    ) -> Result<()> {
        let chunks: Result<Vec<Chunk>> = columns.into_iter().map(Chunk::new).collect();
        let chunks = chunks?.into_boxed_slice();
        let heap: usize = chunks.iter().map(Chunk::heap_bytes).sum();
        self.heap_bytes += heap + size_of_val(&*chunks);
        self.groups.push(Group {
            start: signed(start)?,
            rows: signed(rows)?,
            chunks,
        });
        Ok(())
    }

    /// The row group added last, as Parquet has it, and the index of the pages of each column.
    pub(crate) fn last(&self) -> Result<(RowGroupMetaData, Vec<OffsetIndexMetaData>)> {
        let missing = || ParquetError::General("there is no row group yet".to_owned());
        self.row_group(self.groups.len().checked_sub(1).ok_or_else(missing)?)
    }

    fn row_group(&self, place: usize) -> Result<(RowGroupMetaData, Vec<OffsetIndexMetaData>)> {
        let group = &self.groups[place];
        let mut at = group.start;
        let mut columns = Vec::with_capacity(group.chunks.len());
        let mut indexes = Vec::with_capacity(group.chunks.len());
        for (leaf, chunk) in group.chunks.iter().enumerate() {
            let start = at;
            at += i64::from(chunk.dictionary);
            let data = at;
            let mut index = OffsetIndexBuilder::new();
            for (place, page) in chunk.pages.iter().enumerate() {
                let next = chunk.pages.get(place + 1);
                let end = next.map_or(group.rows, |next| next.first_row.into());
                index.append_row_count(end - i64::from(page.first_row));
                index.append_offset_and_size(at, page.stored);
                index.append_unencoded_byte_array_data_bytes((page.text >= 0).then_some(page.text));
                at += i64::from(page.stored);
            }
            indexes.push(index.build());
            let mut column = ColumnChunkMetaData::builder(self.schema.column(leaf))
                .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
                .set_encodings_mask(chunk.encodings)
                .set_page_encoding_stats(chunk.page_encodings.to_vec())
                .set_total_compressed_size(at - start)
                .set_total_uncompressed_size(chunk.uncompressed)
                .set_num_values(chunk.values)
                .set_data_page_offset(data)
                .set_dictionary_page_offset((chunk.dictionary > 0).then_some(start));
            if let Some(noted) = &chunk.noted {
                column = column
                    .set_unencoded_byte_array_data_bytes(noted.text)
                    .set_repetition_level_histogram(noted.repetition.clone())
                    .set_definition_level_histogram(noted.definition.clone());
                if let Some(statistics) = &noted.statistics {
                    column = column.set_statistics(statistics.clone());
                }
            }
            columns.push(column.build()?);
        }
        let ordinal = i32::try_from(place)
            .map_err(|_| ParquetError::General("more row groups than Parquet counts".to_owned()))?;
        let group = RowGroupMetaData::builder(Arc::clone(&self.schema))
            .set_num_rows(group.rows)
            .set_total_byte_size(group.chunks.iter().map(|c| c.uncompressed).sum())
            .set_column_metadata(columns)
            .set_ordinal(ordinal)
            .set_file_offset(group.start)
            .build()?;
        Ok((group, indexes))
    }

    /// The whole, as Parquet writes it.
    pub(crate) fn into_metadata(
        mut self,
        properties: &WriterProperties,
    ) -> Result<ParquetMetaData> {
        let (groups, columns) = (self.groups.len(), self.schema.num_columns());
        let mut indexes = PageIndexBuilder::new(groups, columns);
        let mut made = Vec::with_capacity(groups);
        for place in 0..groups {
            let (group, offsets) = self.row_group(place)?;
            made.push(group);
            for (leaf, offsets) in offsets.into_iter().enumerate() {
                indexes.put_offset_index(offsets, place, leaf);
            }
            for (leaf, chunk) in std::mem::take(&mut self.groups[place].chunks)
                .into_iter()
                .enumerate()
            {
                if let Some(index) = chunk.noted.and_then(|noted| noted.index) {
                    indexes.put_column_index(index, place, leaf);
                }
            }
        }
        let file = FileMetaData::new(
            properties.writer_version().as_num(),
            self.groups.iter().map(|group| group.rows).sum(),
            Some(properties.created_by().to_owned()),
            properties.key_value_metadata().cloned(),
            self.schema,
            None,
        );
        Ok(ParquetMetaDataBuilder::new(file)
            .set_row_groups(made)
            .set_page_index(Some(Arc::new(indexes.build())))
            .build())
    }
}

impl Chunk {
    fn new(column: EncodedColumn) -> Result<Self> {
        let ColumnCloseResult {
            metadata,
            column_index,
            offset_index,
            ..
        } = column.close;
        let index = offset_index
            .ok_or_else(|| ParquetError::General("a chunk has no offset index".to_owned()))?;
        let texts = index.unencoded_byte_array_data_bytes();
        let pages: Result<Vec<Page>> = index
            .page_locations()
            .iter()
            .enumerate()
            .map(|(place, page)| {
                let first_row = u32::try_from(page.first_row_index).map_err(|_| {
                    ParquetError::General("more rows in a row group than 2^32".into())
                })?;
                Ok(Page {
                    stored: page.compressed_page_size,
                    first_row,
                    text: texts.and_then(|t| t.get(place)).copied().unwrap_or(-1),
                })
            })
            .collect();
        let dictionary = metadata
            .dictionary_page_offset()
            .map_or(0, |start| metadata.data_page_offset() - start);
        let dictionary = u32::try_from(dictionary)
            .map_err(|_| ParquetError::General("a dictionary of more than 4 GiB".to_owned()))?;
        let noted = Noted {
            statistics: metadata.statistics().cloned(),
            text: metadata.unencoded_byte_array_data_bytes(),
            repetition: metadata.repetition_level_histogram().cloned(),
            definition: metadata.definition_level_histogram().cloned(),
            index: column_index,
        };
        let has_any = noted.statistics.is_some()
            || noted.text.is_some()
            || noted.repetition.is_some()
            || noted.definition.is_some()
            || noted.index.is_some();
        let page_encodings = metadata.page_encoding_stats().cloned();
        Ok(Self {
            dictionary,
            pages: pages?.into_boxed_slice(),
            uncompressed: metadata.uncompressed_size(),
            values: metadata.num_values(),
            encodings: *metadata.encodings_mask(),
            page_encodings: page_encodings.unwrap_or_default().into_boxed_slice(),
            noted: has_any.then(|| Box::new(noted)),
        })
    }

    fn heap_bytes(&self) -> usize {
        let noted = match &self.noted {
            Some(_) => PARQUET_BYTES_PER_CHUNK as usize / 2,
            None => 0,
        };
        size_of_val(&*self.pages) + size_of_val(&*self.page_encodings) + noted
    }
}

fn signed(n: u64) -> Result<i64> {
    i64::try_from(n).map_err(|_| ParquetError::General("a file of more than 2^63 bytes".to_owned()))
}
