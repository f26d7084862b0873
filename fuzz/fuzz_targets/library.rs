//! Parquet libraries. Whatever is opened gives as many rows as its footer says, or an error; and the same rows when it
//! is read from the middle.

#![no_main]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what fuzzing looks for"
)]

use arrow::array::RecordBatch;
use halocline_fuzz::{MemoryFile, check_error};
use halocline_table::{ReadOptions, TableError, TableReader, text_column};
use libfuzzer_sys::fuzz_target;

/// A few bytes can hold a run of a billion equal values: so many rows are looked at.
const MOST_ROWS: u64 = 4096;

fuzz_target!(|data: &[u8]| {
    let file = MemoryFile::new(data);
    let table = match TableReader::open(file.path()) {
        Ok(table) => table,
        Err(error) => return check_error(&error),
    };
    let groups = 0..table.row_groups();
    let rows: u64 = groups.map(|g| table.row_group_rows(g).count() as u64).sum();
    assert_eq!(rows, table.rows());
    let end = rows.min(MOST_ROWS);
    let options = |rows| ReadOptions {
        rows: Some(rows),
        columns: None,
        batch_rows: 256,
        batch_bytes: 64 << 10,
    };
    if let Err(error) = table.reserve_bytes(&options(0..end)) {
        return check_error(&error);
    }
    let Some(whole) = read(&table, options(0..end)) else {
        return;
    };
    let half = end / 2;
    // Only a range of rows needs the index of pages: where that alone is damaged, the range ends in an error.
    let Some(tail) = read(&table, options(half..end)) else {
        return;
    };
    let skip = usize::try_from(half).expect("at most MOST_ROWS");
    let whole = whole.slice(skip, whole.num_rows() - skip);
    assert_eq!(format!("{whole:?}"), format!("{tail:?}"));
    for field in table.schema().fields() {
        if let Err(error) = text_column(&whole, field.name()) {
            check_error(&error);
        }
    }
});

/// All rows as one batch; `None` after an error.
fn read(table: &TableReader, options: ReadOptions) -> Option<RecordBatch> {
    let wanted = options.rows.clone().expect("a range").count();
    let reader = table.batches(options).expect("rows that are there");
    let schema = reader.schema().clone();
    let batches: Result<Vec<RecordBatch>, TableError> = reader.collect();
    match batches {
        Ok(batches) => {
            let read: usize = batches.iter().map(RecordBatch::num_rows).sum();
            assert_eq!(read, wanted, "rows lost or invented");
            Some(arrow::compute::concat_batches(&schema, &batches).expect("batches of one table"))
        }
        Err(error) => {
            check_error(&error);
            None
        }
    }
}
