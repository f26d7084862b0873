//! Estimated cost of jobs, for progress and for starting long jobs first. Only ratios matter.
//!
//! Before anything has run, the size of the input is all there is; growth factors per depth are
//! those of `data/np_700.tsv` (2026-11, one core): they set the order of jobs, not their limits.
//! Every count of rows that has become known since takes the place of its guess.

use std::collections::BTreeMap;

/// Size of what a pipeline works on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scale {
    /// Estimated rows of the input table, all classes.
    pub input_rows: f64,
    /// Rows of each class of the input, once it is split.
    pub classes: BTreeMap<String, f64>,
    /// Rows of each library (`polyphenol-2X`), once it or its shards are made.
    pub libraries: BTreeMap<String, f64>,
    /// Rows of all shards of each library and rule (`polyphenol-2X_RULE`), once they are made.
    pub products: BTreeMap<String, f64>,
}

/// Bytes per row of a table of natural products as text.
const BYTES_PER_ROW: f64 = 110.0;

impl Scale {
    /// From the size of the input file.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let rows = bytes as f64 / BYTES_PER_ROW;
        Self {
            input_rows: rows.max(1.0),
            ..Self::default()
        }
    }

    /// Input rows of one of `classes` classes.
    pub(crate) fn class(&self, class: &str, classes: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let even = self.input_rows / classes.max(1) as f64;
        self.classes.get(class).copied().unwrap_or(even)
    }

    /// Rows of a library made of `parents` rows.
    pub(crate) fn library(&self, library: &str, parents: f64, depth: u32) -> f64 {
        let guess = parents * growth(depth);
        self.libraries.get(library).copied().unwrap_or(guess)
    }

    /// Rows that one rule makes of a library, before the merge.
    pub(crate) fn products(&self, name: &str, library_rows: f64) -> f64 {
        self.products.get(name).copied().unwrap_or(library_rows)
    }
}

/// Rows a library of that depth has per parent.
fn growth(depth: u32) -> f64 {
    25.0_f64.powi(i32::try_from(depth).unwrap_or(1)) / if depth > 1 { 2.0 } else { 1.0 }
}

/// Seconds per parent to make its halogenated library of that depth.
pub(crate) fn halogenate(depth: u32) -> f64 {
    growth(depth) * 200e-6
}

/// Seconds per library row to parse it and match all rules, plus what each rule yields.
pub(crate) fn transform(rules: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let rules = rules as f64;
    150e-6 + rules * 60e-6
}

/// Seconds per row to merge or validate it.
pub(crate) const PER_MERGED_ROW: f64 = 2e-6;

/// Seconds every process costs, however small its work.
pub(crate) const PER_JOB: f64 = 0.05;
