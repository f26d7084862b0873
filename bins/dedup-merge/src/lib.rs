//! halo-dedup-merge: the shards of one job, in order, into one exact, first-wins, deduplicated
//! table.
//!
//! Rows are compared by the 128-bit xxh3 of their key columns. Three strategies give the same
//! bytes; they differ in what they need:
//!
//! | strategy | passes | memory | disk |
//! |---|---|---|---|
//! | memory | 1 | 20 bytes per distinct key | none |
//! | bloom | 2 (keys only, then all) | 1.5 bytes per distinct key, then 20 per key that occurs twice | none |
//! | spill | 2 (keys only, then all) | what there is | 22 bytes per row |
//!
//! Not responsible for what a key is: SMILES are made canonical where they are written, and are
//! text here.

mod args;
mod bloom;
mod choose;
mod error;
mod keys;
mod partitions;
mod scan;
mod set;
mod shards;
mod summary;
mod write;

use halocline_budget::{Budget, SpillDir, publish};
use halocline_cascade::CascadeError;
use halocline_cli::Progress;
use halocline_cli::distinct::Distinct;
use halocline_cli::sidecar::{Output, Sidecar, StageTimer};

pub use args::{Args, Config, Job, Strategy};
pub use error::MergeError;
use shards::Shards;

/// Name of the binary.
pub const NAME: &str = "halo-dedup-merge";

/// What a thread beyond the first keeps in its heap between stages (measured 2026-11 with 2 to 16
/// threads: 3 to 3.5 MiB).
const THREAD_BYTES: u64 = 4 << 20;

/// As many of the threads as a quarter of the pool carries, and what is left beside `least` bytes.
fn usable_threads(asked: usize, pool_bytes: u64, least: u64) -> usize {
    let room = (pool_bytes / 4).min(pool_bytes.saturating_sub(least));
    let carried = 1 + room / THREAD_BYTES;
    asked
        .min(usize::try_from(carried).unwrap_or(usize::MAX))
        .max(1)
}

/// What a merge did.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The sidecar as written.
    pub sidecar: Sidecar,
    /// The strategy that was used.
    pub strategy: Strategy,
}

fn pipeline_error(error: CascadeError<MergeError>) -> MergeError {
    match error {
        CascadeError::Stage(error) => error,
        CascadeError::Budget { stage, source } => MergeError::Stage { stage, source },
        CascadeError::NotFlushed { stage, held_bytes } => MergeError::Count {
            what: stage,
            expected: 0,
            found: held_bytes,
        },
    }
}

/// Merges, and writes the table, its sidecar and the summary.
///
/// # Errors
/// [`MergeError::Broken`] when the shards do not belong together, [`MergeError::Usage`] for
/// arguments that cannot be, and the rest as it comes.
pub fn run(config: &Config) -> Result<Merged, MergeError> {
    let times = StageTimer::start();
    let shards = {
        let _time = times.time("open");
        Shards::open(&config.shards, config.whole)?
    };
    // The estimators in the sidecars count `smiles`.
    let hasher = keys::KeyHasher::new(&shards.schema, &config.keys)?;
    let smiles = config.keys == ["smiles"] && hasher.is_text();
    let distinct = shards
        .totals
        .as_ref()
        .and_then(|t| t.distinct.as_ref())
        .filter(|_| smiles);
    let estimate = choose::Estimate::new(shards.rows, distinct);
    let least = choose::least_pool_bytes(&shards, &config.keys, estimate);
    let budget = Budget::start(config.memory_limit, least)?;
    let spill = SpillDir::choose(config.tmp_dir.as_deref(), config.out_dir())?;
    let progress = Progress::rows(None, "merge");
    let threads = usable_threads(config.threads, budget.pool().limit(), least);
    let mut thread_bytes = budget.pool().claim("threads");
    thread_bytes
        .try_grow(THREAD_BYTES * (threads as u64 - 1))
        .map_err(|source| MergeError::Stage {
            stage: "threads",
            source,
        })?;
    let job = scan::Job {
        shards: &shards,
        keys: &config.keys,
        threads,
        pool: budget.pool(),
        times: &times,
        progress: &progress,
    };
    let mut done = None;
    let strategies = choose::candidates(job, estimate, config.strategy);
    for (index, strategy) in strategies.iter().enumerate() {
        match choose::merge_with(job, config, &spill, estimate, *strategy) {
            Err(error @ (MergeError::DoesNotFit { .. } | MergeError::Stage { .. }))
                if index + 1 < strategies.len() =>
            {
                let next = strategies[index + 1].name();
                tracing::warn!("{error}; starting again with `{next}`");
            }
            Err(error) => return Err(error),
            Ok(written) => {
                done = Some((*strategy, written));
                break;
            }
        }
        budget.observe();
    }
    let Some((strategy, written)) = done else {
        return Err(MergeError::Usage("no strategy fits".to_owned()));
    };
    progress.finish();
    drop(thread_bytes);
    assert_eq!(
        budget.pool().reserved(),
        0,
        "a reservation outlived the merge"
    );
    let mut sidecar = sidecar(&shards, written.table.published(), strategy, &config.out);
    sidecar.counts.insert("threads".into(), threads as u64);
    sidecar.spill_bytes = spill.written();
    if written.spill_partitions > 0 {
        let partitions = written.spill_partitions;
        sidecar.counts.insert("spill_partitions".into(), partitions);
    }
    if smiles {
        sidecar.distinct_estimate = Some(Distinct::estimate(&written.distinct));
        sidecar.hll = Some(written.distinct);
    }
    sidecar.close(&budget, &times);
    let summary = summary::summary(config, &shards, &sidecar);
    // The table last: when it is there, so is what describes it, however full the disk is.
    let beside = Sidecar::path_for(&config.out);
    sidecar.write(&beside)?;
    let publish = || -> Result<(), MergeError> {
        publish::write_bytes(&config.summary, format!("{summary:#}\n").as_bytes())?;
        written.table.publish()?;
        Ok(())
    };
    publish().inspect_err(|_| {
        // It would describe nothing that is there.
        let _ = fs_err::remove_file(&beside);
    })?;
    tracing::info!(
        "{} rows from {} shards, {} kept, {} duplicates; {} in {:.1} s, peak {:#}",
        shards.rows,
        shards.shards.len(),
        sidecar.rows_out,
        sidecar.duplicates,
        strategy.name(),
        sidecar.wall_seconds,
        halocline_budget::ByteSize(sidecar.peak_rss_bytes),
    );
    Ok(Merged { sidecar, strategy })
}

fn sidecar(
    shards: &Shards,
    published: &halocline_table::Published,
    strategy: Strategy,
    out: &std::path::Path,
) -> Sidecar {
    let totals = shards.totals.as_ref();
    let mut sidecar = Sidecar {
        rdkit_version: shards.meta.rdkit_version.clone(),
        rows_in: shards.rows,
        rows_done: shards.rows,
        rows_out: published.rows,
        duplicates: shards.rows - published.rows,
        rule_fingerprint: shards
            .meta
            .rule_fingerprint
            .clone()
            .or_else(|| totals.and_then(|t| t.rule_fingerprint.clone())),
        output: Some(Output {
            path: out
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            rows: published.rows,
            bytes: published.bytes,
            xxh3_128: published.xxh3_128.clone(),
        }),
        ..Sidecar::new(NAME)
    };
    sidecar
        .extra
        .insert("strategy".into(), strategy.name().into());
    sidecar
        .counts
        .insert("shards".into(), shards.shards.len() as u64);
    sidecar
}
