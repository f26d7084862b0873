//! `halo-drive`: the pipeline without Python. `plan` prints the job table, `run` executes it,
//! `status` says what is complete; `record` and `release` are for another engine, which tells it what it completed and has
//! it remove what nothing needs any more.
//!
//! Responsible for: order, admission by cores and memory, retries, resume, and saying at the end
//! what is incomplete and why. Not responsible for: what the jobs are (`halocline-plan`) or do.

mod args;
mod check;
mod children;
mod columns;
mod execute;
mod facts;
mod lock;
mod manifest;
mod progress;
mod record;
mod release;
mod rows;
mod run;
mod schedule;
mod select;
mod show;
mod sources;
mod status;
mod strays;

pub use args::Args;
pub use children::on_signal;

use halocline_budget::Budget;
use halocline_cli::Outcome;

use args::Command;

/// Runs the subcommand.
///
/// # Errors
/// Configuration, rules or input that cannot be used; another `run` in the same results folder.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let budget = Budget::start(args.common().limit(), 4 << 20)?;
    match args.command {
        Command::Plan(args) => show::plan(&args, &budget),
        Command::Run(args) => run::run(&args, &budget),
        Command::Status(args) => status::status(&args, &budget),
        Command::Record(args) => record::record(&args),
        Command::Release(args) => release::release(&args),
    }
}
