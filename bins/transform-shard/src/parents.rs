//! Parents in batches whose cost is bounded before the work on them starts.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use halocline_cascade::Weigh;
use halocline_chem::SmilesBatch;
use halocline_rules::Reaction;
use halocline_table::{Batches, ReadOptions, text_column};

use crate::args::{Config, Input};

/// Estimated bytes of results after which a batch of parents ends.
pub(crate) const BATCH_BYTES: u64 = 2 << 20;
/// Most parents in a batch: about 20 ms of work.
const BATCH_ROWS: usize = 128;
/// Raw bytes read from the library at a time.
pub(crate) const READ_BYTES: u64 = 512 << 10;

/// Some consecutive parents.
pub(crate) struct Parents {
    /// Row of the first in the library.
    pub first_row: u64,
    pub smiles: StringArray,
    /// Columns to carry through, as long as `smiles`.
    pub kept: Vec<ArrayRef>,
    /// Upper estimate of what the work on them, and its results, take.
    pub estimate_bytes: u64,
}

impl Weigh for Parents {
    fn bytes(&self) -> u64 {
        let kept: usize = self.kept.iter().map(|a| a.get_array_memory_size()).sum();
        // Slices share their buffers; the share of this batch is what counts, the rest is the reader's.
        let text = self.smiles.value_data().len().min(4 * READ_BYTES as usize);
        (text + kept.min(4 * READ_BYTES as usize) + size_of::<Self>()) as u64
    }
}

impl Parents {
    /// The SMILES as the kernel takes them. A null, or a row that is rejected unseen, is an empty text, which the kernel
    /// rejects.
    pub(crate) fn batch(&self, unseen: &dyn Fn(u64) -> bool) -> SmilesBatch {
        let mut batch = SmilesBatch::with_capacity(self.smiles.len(), text_bytes(&self.smiles));
        for i in 0..self.smiles.len() {
            batch.push(
                if self.smiles.is_null(i) || unseen(self.first_row + i as u64) {
                    ""
                } else {
                    self.smiles.value(i)
                },
            );
        }
        batch
    }
}

/// Bytes of the values of a slice.
fn text_bytes(texts: &StringArray) -> usize {
    let offsets = texts.value_offsets();
    (offsets[texts.len()] - offsets[0]) as usize
}

/// Upper estimate of the bytes one parent can cost: every atom a site of every rule, up to the caps, each product as long
/// as the parent plus what a rule adds, held once by the kernel and once by the results.
pub(crate) struct CostModel {
    caps: Vec<u64>,
    depth: u32,
    most: u64,
}

impl CostModel {
    /// `most`: what a single parent may claim; beyond it runs alone.
    pub(crate) fn new(reactions: &[Reaction], depth: u32, most: u64) -> Self {
        Self {
            caps: reactions
                .iter()
                .map(|r| r.max_sites.map_or(u64::MAX, u64::from))
                .collect(),
            depth,
            most,
        }
    }

    pub(crate) fn bytes(&self, smiles: &str) -> u64 {
        let atoms = smiles.bytes().filter(u8::is_ascii_alphabetic).count() as u64;
        let sites: u64 = self.caps.iter().map(|cap| atoms.min(*cap)).sum();
        let mut products = sites;
        for _ in 1..self.depth {
            // Two substitutions in either order are one product.
            products = products.saturating_mul(sites) / 2;
        }
        let each = 2 * (smiles.len() as u64 + 96) + if self.depth > 1 { 160 } else { 0 };
        products.saturating_mul(each).clamp(4 << 10, self.most)
    }
}

/// Cuts the rows of a library into [`Parents`].
pub(crate) struct ParentSource {
    batches: Batches,
    smiles_column: String,
    keep: Vec<String>,
    model: CostModel,
    next_row: u64,
    /// What is left of the batch being cut: its rows' first, SMILES and kept columns.
    rest: Option<(StringArray, Vec<ArrayRef>)>,
}

/// How `rows` of a library are read.
pub(crate) fn read_options(config: &Config, input: &Input, rows: Range<u64>) -> ReadOptions {
    ReadOptions {
        rows: Some(rows),
        columns: Some(columns(&input.smiles_column, &config.keep)),
        batch_bytes: READ_BYTES,
        ..ReadOptions::default()
    }
}

impl ParentSource {
    /// The parents in `rows`, in batches whose products take about `most` bytes at most.
    ///
    /// # Errors
    /// A library that cannot be read.
    pub(crate) fn new(
        config: &Config,
        input: &Input,
        rows: Range<u64>,
        most: u64,
    ) -> anyhow::Result<Self> {
        let next_row = rows.start;
        Ok(Self {
            batches: input.reader.batches(read_options(config, input, rows))?,
            smiles_column: input.smiles_column.clone(),
            keep: config.keep.clone(),
            model: CostModel::new(&config.reactions, config.depth, most),
            next_row,
            rest: None,
        })
    }

    /// The next batch of parents, or `None` at the end.
    ///
    /// # Errors
    /// What reading the library gives, with the row it had come to.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Parents>> {
        let (smiles, kept) = match self.rest.take() {
            Some(rest) => rest,
            None => loop {
                match self.batches.next() {
                    None => return Ok(None),
                    Some(batch) => {
                        let batch = batch.with_context(|| format!("near row {}", self.next_row))?;
                        if batch.num_rows() > 0 {
                            break self.columns(&batch)?;
                        }
                    }
                }
            },
        };
        let mut estimate = 0;
        let mut rows = 0;
        while rows < smiles.len().min(BATCH_ROWS) {
            let cost = if smiles.is_null(rows) {
                0
            } else {
                self.model.bytes(smiles.value(rows))
            };
            if rows > 0 && estimate + cost > BATCH_BYTES {
                break;
            }
            estimate += cost;
            rows += 1;
        }
        let left = smiles.len() - rows;
        if left > 0 {
            let kept = kept.iter().map(|a| a.slice(rows, left)).collect();
            self.rest = Some((smiles.slice(rows, left), kept));
        }
        let parents = Parents {
            first_row: self.next_row,
            smiles: smiles.slice(0, rows),
            kept: kept.iter().map(|a| a.slice(0, rows)).collect(),
            estimate_bytes: estimate,
        };
        self.next_row += rows as u64;
        Ok(Some(parents))
    }

    fn columns(&self, batch: &RecordBatch) -> anyhow::Result<(StringArray, Vec<ArrayRef>)> {
        let smiles = text_column(batch, &self.smiles_column)?;
        let kept = self
            .keep
            .iter()
            .map(|name| {
                batch
                    .column_by_name(name)
                    .map(Arc::clone)
                    .with_context(|| format!("no column `{name}`"))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok((smiles, kept))
    }
}

/// The columns a shard reads: SMILES first, then the kept ones.
fn columns(smiles_column: &str, keep: &[String]) -> Vec<String> {
    let mut columns = vec![smiles_column.to_owned()];
    columns.extend(keep.iter().filter(|name| *name != smiles_column).cloned());
    columns
}
