//! One shard of a library and the rules in scope in, one table of products per rule out: the only user of RDKit.
//!
//! A parent is parsed once for all rules. The work is a [`halocline_cascade`] chain under one memory budget:
//!
//! ```text
//! read rows -> react (threads) -> keep the first of equal products, cut row groups -> encode (threads) -> write
//! ```
//!
//! Order and bytes of the tables do not depend on the number of threads: results pass the serial stages in row order.
//! What this module is not responsible for: chemistry (`halocline-chem`), the layout of files (`halocline-table`), and
//! duplicates between shards (`halo-dedup-merge`).

mod args;
mod collect;
mod explain;
mod gate;
mod isolate;
mod manifest;
mod outgrown;
mod parents;
mod react;
mod rows;
mod shard;
mod stats;
mod sweep;
mod tables;

use std::io::Write;

use anyhow::Context;
use halocline_budget::{Budget, BudgetError, ByteSize, MemoryLimit};
use halocline_chem::Kernel;
use halocline_cli::Outcome;

pub use args::Args;
use args::{Config, Work};
use isolate::Task;
pub use isolate::stop;

/// Runs the tool, in a child process unless that is not wanted; `out` receives what is data, not log (`--explain-rules`,
/// `--explain`).
///
/// # Errors
/// Usage, I/O, a rule RDKit does not take, or a memory limit that is too small.
pub fn run(args: Args, out: &mut (dyn Write + Send)) -> anyhow::Result<Outcome> {
    if let Some(task) = isolate::task()? {
        // A thread of its own, so that every thread that runs RDKit has the same stack.
        let work = std::thread::Builder::new().stack_size(isolate::STACK_BYTES);
        return std::thread::scope(|scope| {
            let work = work.spawn_scoped(scope, || here(args, task, out));
            match work.context("cannot start a thread")?.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
    }
    if args.no_isolate || args.explain_rules {
        return here(args, Task::default(), out);
    }
    isolate::supervise(args.row_timeout.0, args.row.or(args.dump_case))
}

/// Does the work in this process.
fn here(args: Args, task: Task, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut config = Config::try_from(args)?;
    config.outside_bytes = task.outside_bytes;
    config.quarantine = task.quarantine.into_iter().map(|q| (q.row, q)).collect();
    // Compiled before anything is read or reserved: a broken rule is the first thing said, and RDKit's own tables count
    // as what the process had before its budget began.
    let kernel = Kernel::new(&config.reactions, &config.chemistry)?;
    for (reaction, maps) in config.reactions.iter().zip(kernel.product_only_maps()) {
        if !maps.is_empty() && task.sweep.is_none() && config.quarantine.is_empty() {
            tracing::warn!(
                "rule `{}`: map number {maps} stands in its product only; RDKit makes a new atom there",
                reaction.id
            );
        }
    }
    if config.work == Work::Explain {
        // Refused like every other work, where the rules alone are too much.
        Budget::start(config.limit, 1 << 20)?;
        for (reaction, why) in config.reactions.iter().zip(kernel.explain()) {
            let lane = why.map_or_else(
                || "local edit".to_owned(),
                |why| format!("full route: {why}"),
            );
            writeln!(out, "{}\t{lane}", reaction.id).context("cannot write to stdout")?;
        }
        return Ok(Outcome::Done);
    }
    let budget = start(&config)?;
    let mut outside = budget.pool().claim("the watching process");
    outside.try_grow(config.outside_bytes)?;
    if let Some((first, end)) = task.sweep {
        sweep::sweep(&config, first..end)?;
        return Ok(Outcome::Done);
    }
    match &config.work {
        Work::Explain => {}
        Work::Row(row) => explain::explain(&config, *row, out)?,
        Work::Case(row) => explain::dump_case(&config, *row, &config.out_dir)?,
        Work::Rows(rows) => {
            shard::run(
                &config,
                &budget,
                rows.clone(),
                &config.out_dir,
                vec![kernel],
            )?;
        }
        Work::Shards(shards) => manifest::run_batch(&config, &budget, shards, kernel)?,
    }
    Ok(Outcome::Done)
}

/// Starts the memory promise. What the tool cannot do without grows with the limit (the sets of keys take a share of
/// it), so that the least limit is looked for step by step.
fn start(config: &Config) -> anyhow::Result<Budget> {
    let limit = config.limit;
    let mut candidate = limit;
    let least = loop {
        let least = shard::least_pool_bytes(config, candidate)? + config.outside_bytes;
        match Budget::start(candidate, least) {
            Ok(budget) if candidate == limit => return Ok(budget),
            Ok(_) => break ByteSize(candidate.bytes()),
            Err(BudgetError::TooLittle { least, .. }) => match MemoryLimit::new(least.0) {
                Some(next) if next > candidate => candidate = next,
                _ => break least,
            },
        }
    };
    Err(BudgetError::TooLittle { limit, least }.into())
}
