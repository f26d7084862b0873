//! The report's content: what is written as JSON and drawn on the page. Units are in the names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Value of the `schema` key.
pub const SCHEMA: &str = "halocline.pipeline-report/1";

/// Everything the report says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Version of the tools.
    pub tool_version: String,
    /// RDKit that made the products; `None` when no sidecar names one.
    pub rdkit_version: Option<String>,
    /// Folder of the results.
    pub results: String,
    /// Sums over `jobs`.
    pub totals: Totals,
    /// Halogenated libraries, in the order of the plan.
    pub libraries: Vec<Library>,
    /// Transform jobs (class x depth x rule), in the order of the plan.
    pub jobs: Vec<Job>,
    /// Processes whose times are known, slowest first.
    pub runs: Vec<Run>,
    /// Rows rejected, by step and reason.
    pub rejects: BTreeMap<String, BTreeMap<String, u64>>,
    /// What is not wrong and may not be meant: rows of no class, libraries without molecules, rules that make next to
    /// nothing.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Sums over all transform jobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Transform jobs in the plan.
    pub jobs: u64,
    /// Of these, complete and found good.
    pub valid: u64,
    /// Complete and found bad.
    pub invalid: u64,
    /// Not complete.
    pub missing: u64,
    /// Parents in all libraries that are there and that rules are for.
    pub parents: u64,
    /// Libraries that these are of.
    #[serde(default)]
    pub libraries: u64,
    /// Products before deduplication.
    pub total_products: u64,
    /// Products after it.
    pub unique_products: u64,
    /// Products that could not be made, e.g. did not sanitise.
    #[serde(default)]
    pub products_failed: u64,
    /// Size of the product tables.
    pub bytes: u64,
    /// CPU time of the processes in `runs`.
    pub cpu_seconds: f64,
    /// Largest peak RSS of a process in `runs`.
    pub peak_rss_bytes: u64,
    /// Rows rejected anywhere.
    pub rejected: u64,
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Complete, and the validator found nothing wrong.
    Valid,
    /// Complete, and something is wrong with it.
    Invalid,
    /// Not complete.
    Missing,
}

impl Status {
    /// As in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
        }
    }
}

/// One transform job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// `{class}-{depth}X_{rule}`.
    pub name: String,
    /// Class of the parents.
    pub class: String,
    /// Halogens on them.
    pub depth: u32,
    /// The rule.
    pub rule: String,
    /// What became of it.
    pub status: Status,
    /// Why it is not valid.
    pub problem: Option<String>,
    /// Parents offered.
    pub total_input: u64,
    /// Parents the rule was applied to.
    pub total_processed: u64,
    /// Products before deduplication.
    pub total_products: u64,
    /// Products after it.
    pub unique_products: u64,
    /// Products that could not be made, e.g. did not sanitise; none of them is in `total_products`.
    #[serde(default)]
    pub products_failed: u64,
    /// `unique_products / total_products`; `None` without products.
    pub unique_share: Option<f64>,
    /// Wall time of the merge.
    pub elapsed_seconds: f64,
    /// Size of the table.
    pub bytes: u64,
    /// Peak RSS of the merge.
    pub peak_rss_bytes: u64,
    /// Its limit.
    pub memory_limit_bytes: u64,
    /// Bytes the merge spilled.
    pub spill_bytes: u64,
    /// The product table.
    pub products: String,
}

/// One halogenated library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Library {
    /// `{class}-{depth}X`.
    pub name: String,
    /// Is it there?
    pub complete: bool,
    /// Natural products it was made from.
    pub total_input: u64,
    /// Rows before deduplication.
    pub total_products: u64,
    /// Rows.
    pub unique_products: u64,
    /// Halogenated molecules that could not be made; none of them is in `total_products`.
    #[serde(default)]
    pub products_failed: u64,
    /// Size of the table.
    pub bytes: u64,
    /// The table.
    pub products: String,
}

/// One process that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Id of the job in the plan.
    pub id: String,
    /// Step of the plan.
    pub step: String,
    /// Wall time.
    pub wall_seconds: f64,
    /// CPU time, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Peak RSS, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Its limit.
    pub memory_limit_bytes: u64,
}
