//! The row groups of an open table, held small: Parquet's own structures take 320 bytes for each chunk of a column, which
//! at 50 million rows is a megabyte; here a chunk takes 64, and Parquet's structure is made of it when the row group is read.

use std::ops::Range;
use std::sync::Arc;

use parquet::basic::CompressionCodec;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::SchemaDescPtr;

#[derive(Debug)]
pub(super) struct Groups {
    schema: SchemaDescPtr,
    /// First row of each row group, and the number of rows at the end.
    starts: Vec<u64>,
    /// Row group by row group.
    chunks: Vec<Chunk>,
    raw_bytes: u64,
}

/// -1 stands for what is not there.
#[derive(Debug)]
struct Chunk {
    dictionary: i64,
    data: i64,
    compressed: i64,
    uncompressed: i64,
    values: i64,
    index: i64,
    index_length: i32,
    codec: CompressionCodec,
}

impl Groups {
    /// Of metadata whose row groups start at the rows `starts`.
    pub(super) fn new(metadata: &ParquetMetaData, starts: Vec<u64>) -> Self {
        let groups = metadata.row_groups();
        let raw = |group: &RowGroupMetaData| u64::try_from(group.total_byte_size()).unwrap_or(0);
        Self {
            schema: metadata.file_metadata().schema_descr_ptr(),
            starts,
            chunks: groups
                .iter()
                .flat_map(|g| g.columns())
                .map(Chunk::new)
                .collect(),
            raw_bytes: groups.iter().map(raw).sum(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    pub(super) fn num_rows(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    pub(super) fn rows(&self, group: usize) -> Range<u64> {
        self.starts[group]..self.starts[group + 1]
    }

    /// The row group that `row` is in.
    pub(super) fn of_row(&self, row: u64) -> usize {
        self.starts.partition_point(|start| *start <= row) - 1
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        (size_of_val(&*self.starts) + size_of_val(&*self.chunks)) as u64
    }

    /// Bytes of all pages before compression.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// As Parquet has it, without statistics.
    pub(super) fn metadata(&self, group: usize) -> Result<RowGroupMetaData, String> {
        let width = self.schema.num_columns();
        let chunks = &self.chunks[group * width..(group + 1) * width];
        let mut columns = Vec::with_capacity(width);
        for (leaf, chunk) in chunks.iter().enumerate() {
            let there = |n: i64| (n >= 0).then_some(n);
            let column = ColumnChunkMetaData::builder(self.schema.column(leaf))
                .set_compression_codec(chunk.codec)
                .set_num_values(chunk.values)
                .set_total_compressed_size(chunk.compressed)
                .set_total_uncompressed_size(chunk.uncompressed)
                .set_data_page_offset(chunk.data)
                .set_dictionary_page_offset(there(chunk.dictionary))
                .set_offset_index_offset(there(chunk.index))
                .set_offset_index_length((chunk.index >= 0).then_some(chunk.index_length));
            columns.push(column.build().map_err(|e| e.to_string())?);
        }
        let rows = self.rows(group);
        RowGroupMetaData::builder(Arc::clone(&self.schema))
            .set_num_rows(i64::try_from(rows.end - rows.start).unwrap_or(i64::MAX))
            .set_total_byte_size(chunks.iter().map(|c| c.uncompressed).sum())
            .set_column_metadata(columns)
            .build()
            .map_err(|e| e.to_string())
    }
}

impl Chunk {
    fn new(chunk: &ColumnChunkMetaData) -> Self {
        let index = chunk.offset_index_offset().zip(chunk.offset_index_length());
        let (index, index_length) = index.unwrap_or((-1, 0));
        Self {
            dictionary: chunk.dictionary_page_offset().unwrap_or(-1),
            data: chunk.data_page_offset(),
            compressed: chunk.compressed_size(),
            uncompressed: chunk.uncompressed_size(),
            values: chunk.num_values(),
            index,
            index_length,
            codec: chunk.compression_codec(),
        }
    }
}
