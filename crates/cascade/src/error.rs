//! Why a cascade stopped.

use halocline_budget::OutOfBudget;

/// Why a cascade stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum CascadeError<E> {
    /// A stage's own error.
    #[error(transparent)]
    Stage(E),
    /// A stage could not go on within the pool, with everything after it already passed on.
    #[error(
        "stage `{stage}` does not fit in the memory limit\nhint: raise --memory-limit or lower --threads"
    )]
    Budget {
        /// The stage.
        stage: &'static str,
        /// Who asked for how much.
        #[source]
        source: OutOfBudget,
    },
    /// A stage that flushes at its limit still held it afterwards.
    #[error("stage `{stage}` was flushed at its limit and still holds {held_bytes} bytes")]
    NotFlushed {
        /// The stage.
        stage: &'static str,
        /// What it still holds.
        held_bytes: u64,
    },
}
