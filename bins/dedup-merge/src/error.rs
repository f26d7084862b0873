//! Why a merge did not happen.

use halocline_budget::{BudgetError, OutOfBudget, SpillError};
use halocline_cli::sidecar::SidecarError;
use halocline_table::TableError;
use halocline_table::publish::PublishError;

/// Why a merge did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Arguments that cannot be.
    #[error("{0}")]
    Usage(String),
    /// The shards do not belong together: exit 1.
    #[error("{0}")]
    Broken(String),
    /// A table could not be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Rows could not be handled in memory.
    #[error("cannot handle rows")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Rows could not be encoded.
    #[error("cannot encode rows: {0}")]
    Encode(String),
    /// The memory limit is too little for the tool at all.
    #[error(transparent)]
    Limit(#[from] BudgetError),
    /// The strategy needs more memory than there is. `auto` takes the next one.
    #[error("strategy `{strategy}` does not fit in the memory limit")]
    DoesNotFit {
        /// The strategy.
        strategy: &'static str,
        /// Who asked for how much.
        #[source]
        source: OutOfBudget,
    },
    /// A stage of the pipeline does not fit.
    #[error(
        "stage `{stage}` does not fit in the memory limit\nhint: raise --memory-limit or lower --threads"
    )]
    Stage {
        /// The stage.
        stage: &'static str,
        /// Who asked for how much.
        #[source]
        source: OutOfBudget,
    },
    /// A spill file.
    #[error(transparent)]
    Spill(#[from] SpillError),
    /// Reading or writing a spill file.
    #[error("cannot use a spill file")]
    SpillIo(#[source] std::io::Error),
    /// A sidecar.
    #[error(transparent)]
    Sidecar(#[from] SidecarError),
    /// The summary.
    #[error("cannot write the summary")]
    Summary(#[from] PublishError),
    /// Two counts of the same thing differ: a bug or a file that changed while it was read.
    #[error("{what}: expected {expected}, found {found}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// Count before.
        expected: u64,
        /// Count now.
        found: u64,
    },
}
