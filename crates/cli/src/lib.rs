//! What every halo-* binary has in common on the outside: flags, exit codes, logs, progress,
//! signals, the stats sidecar beside each output, and that no output overwrites an input.
//!
//! Not responsible for the memory accounts themselves (`halocline-budget`) or for anything a
//! single tool does. Nothing here writes to stdout.

pub mod distinct;
pub mod exit;
mod flags;
mod overwrite;
mod progress;
mod run;
pub mod sidecar;

pub use flags::{Common, Spill};
pub use overwrite::{Overwrite, refuse_overwrite};
pub use progress::Progress;
pub use run::{Outcome, PARENT_VARIABLE, legible, main, print, version};
