//! How many raw bytes a row has, along a row group: what batches are cut by.

use parquet::arrow::ProjectionMask;

use crate::TableReader;

/// Raw bytes per row along a row group.
pub(crate) struct Densities {
    /// Of all columns without an offset index together.
    flat: f64,
    /// Per column with one: (first row of page, bytes per row).
    columns: Vec<Vec<(u64, f64)>>,
}

impl Densities {
    pub(crate) fn of(table: &TableReader, group: usize, mask: &ProjectionMask) -> Self {
        let metadata = table.parquet_metadata();
        let row_group = metadata.row_group(group);
        let rows = u64::try_from(row_group.num_rows()).unwrap_or(0).max(1);
        let index = metadata.page_index_for_row_group(group);
        let mut densities = Self {
            flat: 0.0,
            columns: Vec::new(),
        };
        for (leaf, chunk) in row_group.columns().iter().enumerate() {
            if !mask.leaf_included(leaf) {
                continue;
            }
            // Offsets and validity on top of the values.
            let overhead = 5.0;
            let uncompressed = chunk.uncompressed_size().max(0) as f64;
            let Some(offsets) = index
                .offset_index(leaf)
                .filter(|o| o.page_locations().len() > 1)
            else {
                densities.flat += overhead + uncompressed / rows as f64;
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
                pages.push((first, overhead + bytes.max(0.0) / count));
            }
            densities.columns.push(pages);
        }
        densities
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
