//! From the pipeline's configuration to its job table: the one source of truth for Snakemake and
//! `halo-drive`, which both run the command lines written here.
//!
//! Responsible for: the configuration's format and checks, which jobs exist, their files, commands
//! and limits, and a key per job that says what its outputs depend on.
//! Not responsible for: running anything, or knowing what is already done (that is `halo-drive`).

pub mod config;
mod cost;
pub mod fingerprint;
mod jobs;
mod step;
mod table;
mod typed;

pub use config::{Config, ConfigError, PRODUCT_COLUMNS};
pub use cost::Scale;
pub use jobs::{
    Facts, MAX_JOBS, PlanError, build, input_files, input_table, ready_libraries, rules_fingerprint,
};
pub use step::Step;
pub use table::{Job, JobTable, SCHEMA, ShardTables, has_records, record_path};
