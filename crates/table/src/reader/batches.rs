//! Reading rows in order, in batches cut by bytes: a range of rows, some of the columns, never a whole row group.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;

use arrow::datatypes::SchemaRef;
use halocline_budget::release_idle_pages;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelector};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::ParquetMetaData;

use super::row_group::RowGroup;
use super::{ReadOptions, TableReader};
use crate::TableError;
use crate::density::Densities;
use crate::guard::guard;

/// Rows of one row group that are read with one batch size.
#[derive(Debug, Clone)]
struct Segment {
    rows: Range<u64>,
    batch_rows: usize,
}

struct Current {
    reader: ParquetRecordBatchReader,
    segment: Segment,
}

/// Batches of a table in row order; ends after the first error.
pub struct Batches {
    table: TableReader,
    mask: ProjectionMask,
    order: Option<Vec<usize>>,
    schema: SchemaRef,
    options: ReadOptions,
    next: u64,
    end: u64,
    segments: VecDeque<Segment>,
    /// The row group that is read: its place, and its metadata with the index of its pages.
    group: Option<(usize, Arc<ParquetMetaData>)>,
    current: Option<Current>,
    failed: bool,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("path", &self.table.path())
            .field("rows", &(self.next..self.end))
            .finish_non_exhaustive()
    }
}

impl Batches {
    /// Of these rows; `order` are the places of the columns asked for among those read.
    pub(super) fn new(
        table: TableReader,
        mask: ProjectionMask,
        order: Option<Vec<usize>>,
        schema: SchemaRef,
        options: ReadOptions,
        rows: Range<u64>,
    ) -> Self {
        Self {
            table,
            mask,
            order,
            schema,
            options,
            next: rows.start,
            end: rows.end,
            segments: VecDeque::new(),
            group: None,
            current: None,
            failed: false,
        }
    }

    /// The columns of the batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The row the next batch begins with.
    #[must_use]
    pub fn next_row(&self) -> u64 {
        self.next
    }

    fn error(&self, end: u64, detail: String) -> TableError {
        TableError::Read {
            path: self.path(),
            start: self.next,
            end,
            detail,
        }
    }

    fn path(&self) -> PathBuf {
        self.table.path().to_owned()
    }

    fn open(&mut self) -> Result<(), TableError> {
        if self.segments.is_empty() {
            let group = self.table.groups.of_row(self.next);
            let rows = self.table.row_group_rows(group);
            let wanted = self.next..rows.end.min(self.end);
            let metadata = self.open_group(group, wanted.end)?;
            self.segments = self.plan(group, &metadata, wanted)?;
        }
        let Some(mut segment) = self.segments.pop_front() else {
            return Err(self.error(self.end, "no rows where rows were promised".to_owned()));
        };
        // Decoders take room for a full batch whatever comes: equal batches, none of them a remainder.
        let rows = to_usize(segment.rows.end - segment.rows.start);
        let batches = rows.div_ceil(segment.batch_rows);
        segment.batch_rows = rows.div_ceil(batches.max(1));
        let group = self.table.groups.of_row(segment.rows.start);
        let first = self.table.row_group_rows(group).start;
        let offset = to_usize(segment.rows.start - first);
        let metadata = match &self.group {
            Some((open, metadata)) if *open == group => Arc::clone(metadata),
            _ => self.open_group(group, segment.rows.end)?,
        };
        let reader = guard(|| {
            let arrow = &self.table.arrow;
            let levels = parquet_to_arrow_field_levels(
                arrow.parquet_schema(),
                self.mask.clone(),
                Some(arrow.schema().fields()),
            )
            .map_err(|e| e.to_string())?;
            let pages = RowGroup {
                file: Arc::new(self.table.file.clone()),
                metadata,
            };
            let rows = [RowSelector::skip(offset), RowSelector::select(rows)];
            let rows = Some(rows.to_vec().into());
            ParquetRecordBatchReader::try_new_with_row_groups(
                &levels,
                &pages,
                segment.batch_rows,
                rows,
            )
            .map_err(|e| e.to_string())
        })
        .map_err(|detail| self.error(segment.rows.end, detail))?;
        self.current = Some(Current { reader, segment });
        Ok(())
    }

    /// Reads the index of the pages of a row group, of which the rows up to `end` are wanted.
    fn open_group(&mut self, group: usize, end: u64) -> Result<Arc<ParquetMetaData>, TableError> {
        // What the row group before took in sizes of its own is not kept for this one.
        self.group = None;
        release_idle_pages();
        let metadata = self
            .table
            .row_group(group)
            .map_err(|detail| self.error(end, detail))?;
        let metadata = Arc::new(metadata);
        self.group = Some((group, Arc::clone(&metadata)));
        Ok(metadata)
    }

    /// Cuts `rows` of a row group into segments whose batches hold about `batch_bytes`.
    fn plan(
        &self,
        group: usize,
        metadata: &ParquetMetaData,
        rows: Range<u64>,
    ) -> Result<VecDeque<Segment>, TableError> {
        let most = self.options.batch_rows.max(1);
        let densities = Densities::of(&self.table, group, metadata, &self.mask)?;
        let first = self.table.row_group_rows(group).start;
        let mut segments: VecDeque<Segment> = VecDeque::new();
        let mut at = rows.start;
        while at < rows.end {
            let (density, until) = densities.at(at - first);
            let until = until
                .map_or(rows.end, |u| (first + u).min(rows.end))
                .max(at + 1);
            let allowed = (self.options.batch_bytes as f64 / density.max(1.0)) as usize;
            let allowed = allowed.clamp(1, most);
            match segments.back_mut() {
                // A reader is opened per segment: the size changes only when it must shrink or may
                // grow four times.
                Some(last) if allowed >= last.batch_rows && allowed < 4 * last.batch_rows => {
                    last.rows.end = until;
                }
                _ => {
                    let batch_rows = (allowed * 3 / 4).max(1);
                    segments.push_back(Segment {
                        rows: at..until,
                        batch_rows,
                    });
                }
            }
            at = until;
        }
        Ok(segments)
    }

    fn read(&mut self) -> Result<RecordBatch, TableError> {
        loop {
            if self.current.is_none() {
                self.open()?;
            }
            let Some(current) = &mut self.current else {
                continue;
            };
            let segment = current.segment.clone();
            let outcome = guard(|| current.reader.next().transpose().map_err(|e| e.to_string()));
            let until = segment.rows.end.min(self.next + segment.batch_rows as u64);
            let batch = match outcome {
                Err(detail) => return Err(self.error(until, detail)),
                Ok(None) if self.next == segment.rows.end => {
                    self.current = None;
                    continue;
                }
                Ok(None) => {
                    let detail = "its pages end before its rows do".to_owned();
                    return Err(self.error(segment.rows.end, detail));
                }
                Ok(Some(batch)) => batch,
            };
            let read = batch.num_rows() as u64;
            if read == 0 || self.next + read > segment.rows.end {
                let detail = "its pages hold other rows than its footer says".to_owned();
                return Err(self.error(segment.rows.end, detail));
            }
            self.next += read;
            if self.next == segment.rows.end {
                self.current = None;
            } else if batch.get_array_memory_size() as u64 > 4 * self.options.batch_bytes
                && segment.batch_rows > 1
            {
                // The rows are longer than the index or the average said.
                self.current = None;
                let batch_rows = (segment.batch_rows / 4).max(1);
                self.segments.push_front(Segment {
                    rows: self.next..segment.rows.end,
                    batch_rows,
                });
            }
            return match &self.order {
                None => Ok(batch),
                Some(order) => batch.project(order).map_err(TableError::Arrow),
            };
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.next >= self.end {
            return None;
        }
        let result = self.read();
        self.failed = result.is_err();
        Some(result)
    }
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
