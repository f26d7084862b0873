//! The steps of the pipeline, in the order in which they run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One kind of job.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The input table to one library per class, with shards of equal cost.
    #[default]
    SplitInput,
    /// One batch of shards of one class, substituted to one depth.
    Halogenate,
    /// The halogenated shards of one class and depth to one library.
    MergeLibrary,
    /// A library to shards of equal cost.
    SplitLibrary,
    /// One batch of shards of one library, all rules in scope in one pass.
    Transform,
    /// The shards of one library and rule to one product table.
    Merge,
    /// One product table against its promises.
    Validate,
    /// Everything, for people.
    Report,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 8] = [
        Self::SplitInput,
        Self::Halogenate,
        Self::MergeLibrary,
        Self::SplitLibrary,
        Self::Transform,
        Self::Merge,
        Self::Validate,
        Self::Report,
    ];

    /// Name as in configuration, job table and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SplitInput => "split_input",
            Self::Halogenate => "halogenate",
            Self::MergeLibrary => "merge_library",
            Self::SplitLibrary => "split_library",
            Self::Transform => "transform",
            Self::Merge => "merge",
            Self::Validate => "validate",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no step; the steps are split_input, halogenate, merge_library, split_library, transform, merge, validate, report"
)]
pub struct UnknownStep(String);

impl FromStr for Step {
    type Err = UnknownStep;

    fn from_str(text: &str) -> Result<Self, UnknownStep> {
        Self::ALL
            .into_iter()
            .find(|s| s.name() == text)
            .ok_or_else(|| UnknownStep(text.to_owned()))
    }
}
