//! How many raw bytes a row has, along a row group: what batches are cut by.

use parquet::arrow::ProjectionMask;
use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaData;

use crate::{TableError, TableReader};

/// Raw bytes per row along a row group.
pub(crate) struct Densities {
    /// Of all columns without an offset index together.
    flat: f64,
    /// Per column with one: (first row of page, bytes per row).
    columns: Vec<Vec<(u64, f64)>>,
}

/// Offsets and validity of a row of a column, on top of its values.
const OVERHEAD: f64 = 5.0;

impl Densities {
    /// Of the columns in `mask`, along row group `group`, whose metadata with the index of its pages is `metadata`.
    ///
    /// # Errors
    /// Those of reading pages, of a table that has no index of them, or not ours.
    pub(crate) fn of(
        table: &TableReader,
        group: usize,
        metadata: &ParquetMetaData,
        mask: &ProjectionMask,
    ) -> Result<Self, TableError> {
        let row_group = metadata.row_group(0);
        let rows = u64::try_from(row_group.num_rows()).unwrap_or(0).max(1);
        let index = metadata.page_index_for_row_group(0);
        let indexed = table.is_indexed();
        let mut densities = Self {
            flat: 0.0,
            columns: Vec::new(),
        };
        for (leaf, chunk) in row_group.columns().iter().enumerate() {
            if !mask.leaf_included(leaf) {
                continue;
            }
            let uncompressed = chunk.uncompressed_size().max(0) as f64;
            if !indexed && chunk.column_descr().max_rep_level() == 0 {
                densities.columns.push(walked(table, group, leaf)?);
                continue;
            }
            let Some(offsets) = index
                .offset_index(leaf)
                .filter(|o| indexed && o.page_locations().len() > 1)
            else {
                densities.flat += OVERHEAD + uncompressed / rows as f64;
                continue;
            };
            let ratio = uncompressed / (chunk.compressed_size().max(1) as f64);
            let raw = offsets.unencoded_byte_array_data_bytes();
            let locations = offsets.page_locations();
            let mut pages = Vec::with_capacity(locations.len());
            for (i, location) in locations.iter().enumerate() {
                let first = u64::try_from(location.first_row_index).unwrap_or(0);
                let next = locations
                    .get(i + 1)
                    .map_or(rows, |l| u64::try_from(l.first_row_index).unwrap_or(rows));
                let bytes = raw
                    .and_then(|raw| raw.get(i))
                    .map_or(f64::from(location.compressed_page_size) * ratio, |b| {
                        *b as f64
                    });
                let count = next.saturating_sub(first).max(1) as f64;
                pages.push((first, OVERHEAD + bytes.max(0.0) / count));
            }
            densities.columns.push(pages);
        }
        Ok(densities)
    }

    /// Bytes per row at `row`, and the row up to which that holds.
    pub(crate) fn at(&self, row: u64) -> (f64, Option<u64>) {
        let mut density = self.flat;
        let mut until: Option<u64> = None;
        for pages in &self.columns {
            let index = pages.partition_point(|(first, _)| *first <= row).max(1) - 1;
            density += pages[index].1;
            if let Some((next, _)) = pages.get(index + 1)
                && *next > row
            {
                until = Some(until.map_or(*next, |u| u.min(*next)));
            }
        }
        (density, until)
    }
}

/// Of a column whose pages say by themselves how many rows they hold. A row that refers to the dictionary is taken to be
/// as long as its longest entry.
fn walked(table: &TableReader, group: usize, leaf: usize) -> Result<Vec<(u64, f64)>, TableError> {
    let row_group = table.row_group_metadata(group)?;
    let chunk = row_group.column(leaf);
    let pages = table.chunk_pages(group, leaf)?;
    let width = match chunk.column_type() {
        Type::BYTE_ARRAY if pages.dictionary > 0 => table.longest_entry(group, leaf)?,
        Type::BYTE_ARRAY => 0,
        Type::FIXED_LEN_BYTE_ARRAY => chunk.column_descr().type_length().unsigned_abs().into(),
        Type::INT96 => 12,
        _ => 8,
    };
    let mut first = 0;
    let mut densities = Vec::with_capacity(pages.data.len());
    for (values, bytes) in pages.data {
        let density = bytes as f64 / values.max(1) as f64;
        densities.push((first, OVERHEAD + density.max(width as f64)));
        first += values;
    }
    // Without any page the column has no rows; there is always one density to find.
    if densities.is_empty() {
        densities.push((0, OVERHEAD));
    }
    Ok(densities)
}
