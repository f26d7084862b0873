//! `halo-report`: reads the summaries, verdicts and sidecars that the other steps left and writes
//! `transform_pipeline_report.json`, `jobs.tsv` and `index.html`.
//!
//! Responsible for: collecting, adding up and presenting. The page is one file that needs no network.
//! Not responsible for: checking tables (that is `halo-validate-parquet`) or molecules. It opens no
//! Parquet file.

mod collect;
mod html;
mod job_times;
mod model;
mod plots;
mod text;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use fs_err as fs;
use halocline_budget::{Budget, OutOfBudget, publish};
use halocline_cli::Common;
use halocline_plan::Config;

use collect::collect;
pub use model::{Job, Library, Report, Run, SCHEMA, Status, Totals};

/// Sums up a pipeline's results as JSON, as a table and as one HTML page
///
/// What is missing or broken is listed in the report, with the reason; it does not stop the report.
/// The totals are also printed.
#[derive(Debug, clap::Parser)]
#[command(
    name = "halo-report",
    version = halocline_cli::version(""),
    after_help = "Examples:
  halo-report --config configs/pipeline.yaml
  halo-report --show

Exit codes: 0 the report is written, whatever it says of the jobs;
2 usage, I/O or limit; 130/143 ended by SIGINT/SIGTERM."
)]
pub struct Args {
    /// The pipeline's configuration
    #[arg(long, value_name = "FILE", default_value = "configs/pipeline.yaml")]
    pub config: PathBuf,

    /// Folder of the results [default: `results` of the configuration]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,

    /// Folder of the report [default: `report` in the folder of the results]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,

    /// Print the totals of the report that is there; write nothing
    #[arg(long)]
    pub show: bool,

    /// Flags that every binary has
    #[command(flatten)]
    pub common: Common,
}

/// Pool bytes without which nothing can be read.
const LEAST_POOL_BYTES: u64 = 4 << 20;
/// Bytes of a job in the plan and in the report's three texts (measured 2026-11 with 16,074 jobs: 4.6 KiB), and as much
/// again for the sidecars of its shards.
const JOB_BYTES: u64 = 9 << 10;

/// Name of the JSON report in the report's folder.
pub const JSON: &str = "transform_pipeline_report.json";

/// Writes the report (or reads it, with `--show`); the totals as text.
///
/// # Errors
/// When the memory limit is too little, the configuration or a rule file cannot be used, or the report cannot be written
/// or read.
pub fn run(args: &Args) -> Result<String> {
    let budget = Budget::start(args.common.limit(), LEAST_POOL_BYTES)?;
    let mut memory = budget.pool().claim("report");
    let mut config = Config::load(&args.config)?;
    if let Some(results) = &args.results {
        config.results.clone_from(results);
    }
    let out_dir = args
        .out_dir
        .clone()
        .unwrap_or_else(|| config.results.join("report"));
    let json = out_dir.join(JSON);
    let too_little = |error: OutOfBudget| {
        anyhow!(
            "the memory limit is too small for this report: {error}\nhint: raise `--memory-limit`"
        )
    };
    let report = if args.show {
        // The text, and what it says once more.
        let bytes = fs::metadata(&json)?.len();
        memory.try_grow(2 * bytes).map_err(too_little)?;
        let bytes = fs::read(&json)?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("`{}` is no report of this version", json.display()))?
    } else {
        let table = collect::plan(&config)?;
        memory
            .try_grow(JOB_BYTES * table.jobs.len() as u64)
            .map_err(too_little)?;
        let report = collect(&config, &table);
        fs::create_dir_all(&out_dir)?;
        publish::write_bytes(out_dir.join("jobs.tsv"), text::jobs_tsv(&report).as_bytes())?;
        publish::write_bytes(out_dir.join("index.html"), html::page(&report).as_bytes())?;
        let mut bytes = serde_json::to_vec_pretty(&report)?;
        bytes.push(b'\n');
        // Last: the report counts as written when this is there.
        publish::write_bytes(&json, &bytes)?;
        report
    };
    let page = out_dir.join("index.html");
    let page = std::path::absolute(&page).unwrap_or(page);
    Ok(text::totals(&report, &page))
}
