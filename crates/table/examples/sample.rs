//! Writes ROWS rows of a table, evenly spread over it, as a table of the same kind: for benchmarks, which need few rows of
//! a large library. Another program's copy would not be known to hold canonical SMILES.
//!
//! usage: sample TABLE OUT ROWS

#![expect(
    clippy::unwrap_used,
    reason = "a tool of the benchmarks: it ends at what goes wrong"
)]

use arrow::array::UInt64Array;
use arrow::compute::take_record_batch;
use halocline_table::{ReadOptions, TableReader, TableWriter, WriterOptions};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, table, out, rows] = args.as_slice() else {
        panic!("usage: sample TABLE OUT ROWS");
    };
    let table = TableReader::open(table).unwrap();
    let meta = table.meta().unwrap().clone();
    let (total, rows) = (table.rows(), rows.parse::<u64>().unwrap());
    let schema = table.schema();
    let mut writer = TableWriter::create(out, schema, &meta, WriterOptions::default()).unwrap();
    let mut wanted = (0..rows).map(|i| i * total / rows).peekable();
    let mut start = 0;
    for batch in table.batches(ReadOptions::default()).unwrap() {
        let batch = batch.unwrap();
        let end = start + batch.num_rows() as u64;
        let here: UInt64Array = std::iter::from_fn(|| wanted.next_if(|row| *row < end))
            .map(|row| row - start)
            .collect();
        writer
            .write(&take_record_batch(&batch, &here).unwrap())
            .unwrap();
        start = end;
    }
    writer.finish().unwrap();
}
