//! Rows tried one by one, to learn which of them kills or hangs RDKit.

use std::ops::Range;

use anyhow::Context;
use arrow::array::Array;
use halocline_chem::{ChemError, SmilesBatch};

use crate::args::{Config, Work};
use crate::parents::{BATCH_BYTES, ParentSource};
use crate::shard::kernels;

/// Runs the kernels over `rows`, cut to the end of the shard they begin in, one row at a time, and throws the results away:
/// whoever watches this process learns which row kills or hangs it.
///
/// # Errors
/// A library that cannot be read, a kernel that fails as a whole.
pub(crate) fn sweep(config: &Config, mut rows: Range<u64>) -> anyhow::Result<()> {
    let input = config.input.as_ref().context("no library is open")?;
    let end = match &config.work {
        Work::Explain | Work::Row(_) | Work::Case(_) => rows.start,
        Work::Rows(all) => all.end,
        Work::Shards(shards) => shards
            .iter()
            .find(|(_, shard)| shard.contains(&rows.start))
            .map_or(rows.start, |(_, shard)| shard.end),
    };
    rows.end = rows.end.min(end).max(rows.start);
    let mut kernels = kernels(config)?;
    let mut source = ParentSource::new(config, input, rows.clone(), BATCH_BYTES)?;
    while let Some(parents) = source.next()? {
        for i in 0..parents.smiles.len() {
            let row = parents.first_row + i as u64;
            if parents.smiles.is_null(i) || config.quarantine.contains_key(&row) {
                continue;
            }
            let mut batch = SmilesBatch::new();
            batch.push(parents.smiles.value(i));
            for kernel in &mut kernels {
                kernel.set_max_product_bytes(config.limit.bytes() / 4);
                kernel.set_first_row(row);
                match kernel.run(&batch, config.depth) {
                    // It neither killed nor hung anything; the shard will say what is wrong.
                    Ok(_) | Err(ChemError::Outgrown { .. }) => {}
                    Err(other) => return Err(other.into()),
                }
            }
        }
    }
    Ok(())
}
