//! Where one row group ends and the next begins: at the row with which the raw bytes reach the
//! limit, whatever batches the rows come in.

use arrow::array::RecordBatch;
use parquet::errors::Result as ParquetResult;

use crate::{EncodedRowGroup, RowGroupEncoder, WriterSchema, row_bytes};

/// The rows of one whole row group, raw, with their sizes. `Send`.
#[derive(Debug)]
pub struct RowGroupRows {
    batches: Vec<(RecordBatch, Vec<u64>)>,
    raw_bytes: u64,
}

impl RowGroupRows {
    /// Raw bytes of the rows.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Encodes them; call it on any thread. The result is the same the writer would have made.
    ///
    /// # Errors
    /// From the Parquet encoder.
    pub fn encode(self, schema: &WriterSchema) -> ParquetResult<EncodedRowGroup> {
        let mut encoder = RowGroupEncoder::new(schema)?;
        for (batch, sizes) in self.batches {
            encoder.push(&batch, &sizes)?;
        }
        encoder.finish()
    }
}

/// Cuts a stream of batches into row groups for encoding in parallel. Holds the raw rows of the
/// unfinished row group.
#[derive(Debug)]
pub struct RowGroupCutter {
    limit: u64,
    rows: RowGroupRows,
}

impl RowGroupCutter {
    /// Row groups end at the row that makes them reach `row_group_bytes` raw bytes.
    #[must_use]
    pub fn new(row_group_bytes: u64) -> Self {
        Self {
            limit: row_group_bytes.max(1),
            rows: RowGroupRows {
                batches: Vec::new(),
                raw_bytes: 0,
            },
        }
    }

    /// Adds rows and returns the row groups they complete, often none.
    pub fn push(&mut self, batch: &RecordBatch) -> Vec<RowGroupRows> {
        let mut done = Vec::new();
        let sizes = row_bytes(batch);
        let mut start = 0;
        while start < sizes.len() {
            let (end, bytes) = cut(&sizes, start, self.rows.raw_bytes, self.limit);
            self.rows
                .batches
                .push((batch.slice(start, end - start), sizes[start..end].to_vec()));
            self.rows.raw_bytes = bytes;
            start = end;
            if bytes >= self.limit {
                done.extend(self.finish());
            }
        }
        done
    }

    /// The last, smaller row group, if any rows are left.
    pub fn finish(&mut self) -> Option<RowGroupRows> {
        if self.rows.batches.is_empty() {
            return None;
        }
        let fresh = RowGroupRows {
            batches: Vec::new(),
            raw_bytes: 0,
        };
        Some(std::mem::replace(&mut self.rows, fresh))
    }

    /// Raw bytes of the rows that wait.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.rows.raw_bytes
    }
}

/// The end of the part of `sizes[start..]` that still belongs to a row group holding `held` bytes,
/// and the bytes it then holds.
pub(crate) fn cut(sizes: &[u64], start: usize, held: u64, limit: u64) -> (usize, u64) {
    let mut bytes = held;
    for (offset, size) in sizes[start..].iter().enumerate() {
        bytes += size;
        if bytes >= limit {
            return (start + offset + 1, bytes);
        }
    }
    (sizes.len(), bytes)
}
