//! `halo-split`: any library in, shards of equal cost out, as ranges of rows.
//!
//! Text (CSV, TSV, SMILES files) becomes a typed Parquet library first; a Parquet library is only
//! read. With `--partition-by` the input becomes one library per named value. The plan is a
//! function of the rows and of `--shards` alone: neither the memory limit nor the number of passes
//! over the input changes a boundary.
//!
//! Not responsible for chemistry: costs are estimated from the text of the SMILES ([`molecule`]),
//! because reading them with RDKit would cost as much as a tenth of the work that is being divided
//! and would tie this binary to librdkit.

mod args;
mod inspect;
mod job;
mod library;
pub mod molecule;
mod parquet_input;
pub mod profile;
mod text_input;

use anyhow::ensure;
use halocline_budget::Budget;
use halocline_cli::refuse_overwrite;
use halocline_cli::sidecar::StageTimer;
use halocline_table::text::{FileKind, file_kind};

pub use args::Args;
use args::Config;
use job::Job;

/// Pool bytes without which nothing can be read: one record and its decoder, one writer.
const LEAST_POOL_BYTES: u64 = 8 << 20;

/// Runs the binary; returns what `--inspect` or `--columns` prints, else nothing.
///
/// # Errors
/// What is wrong with the arguments, the input or the machine, in one sentence.
pub fn run(args: Args) -> anyhow::Result<String> {
    let limit = args.common.limit();
    let config = Config::new(args)?;
    let budget = Budget::start(limit, LEAST_POOL_BYTES)?;
    let kind = file_kind(&config.input, config.format)?;
    ensure!(
        kind != FileKind::Parquet || config.format.is_none(),
        "`{}` is Parquet: --format is for text",
        config.input.display()
    );
    let job = Job {
        config: &config,
        budget: &budget,
        times: StageTimer::start(),
    };
    if !config.inspect && !config.columns {
        refuse_overwrite(&job.outputs(kind), [config.input.as_path()])?;
        fs_err::create_dir_all(&config.out_dir)?;
    }
    match kind {
        FileKind::Parquet if config.columns => parquet_input::columns(&job),
        FileKind::Parquet => parquet_input::split(&job),
        FileKind::Text(format) if config.columns => text_input::columns(&job, format),
        FileKind::Text(format) => text_input::split(&job, format),
    }
    .map_err(|error| {
        let input = config.input.display().to_string();
        // Most errors name the file already.
        let named = format!("{error:#}").contains(&input);
        if named {
            error
        } else {
            error.context(format!("`{input}`"))
        }
    })
}
