//! Which strategy fits, and with what sizes.

use halocline_budget::{ByteSize, SpillDir};
use halocline_cli::distinct::Distinct;

use crate::bloom::bloom_bytes;
use crate::partitions::{
    Drops, Partitions, READ_BYTES, WINDOW_BYTES, drops_bytes, partitions_bytes,
};
use crate::scan::{Job, find_candidates, find_drops, scan_bytes};
use crate::set::{PARTS, Part, ordinals_bytes, part_bytes, share};
use crate::shards::Shards;
use crate::write::{Decider, Written, least_bytes, write};
use crate::{Config, MergeError, Strategy};

/// How many keys there can be, from the sidecars' estimators when every shard has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    rows: u64,
    /// Distinct keys at most and at least, five standard errors each way.
    most: u64,
    least: u64,
    known: bool,
}

impl Estimate {
    pub(crate) fn new(rows: u64, distinct: Option<&Distinct>) -> Self {
        let Some(distinct) = distinct else {
            return Self {
                rows,
                most: rows,
                least: 0,
                known: false,
            };
        };
        let estimate = distinct.estimate();
        let error = (5.0 * Distinct::STANDARD_ERROR * estimate as f64) as u64 + 16;
        Self {
            rows,
            most: (estimate + error).min(rows),
            least: estimate.saturating_sub(error).min(rows),
            known: true,
        }
    }

    /// Keys that occur more than once, at most; a guess when nothing is known (the set grows).
    fn repeated(&self) -> u64 {
        if self.known {
            (self.rows - self.least).min(self.most)
        } else {
            self.rows / 8
        }
    }
}

fn parts_bytes(keys: u64) -> u64 {
    PARTS as u64 * part_bytes(share(keys, PARTS as u64))
}

/// Whether a strategy is expected to fit.
fn fits(job: Job<'_>, estimate: Estimate, strategy: Strategy) -> bool {
    let pool = job.pool.available();
    let least = least_bytes(job.shards, job.pool.limit());
    match strategy {
        Strategy::Memory => parts_bytes(estimate.most) + least <= pool,
        Strategy::Bloom => {
            let bloom = PARTS as u64 * bloom_bytes(share(estimate.most, PARTS as u64));
            // One of the parts may be growing.
            let candidates = parts_bytes(estimate.repeated() + estimate.most / 100) * 17 / 16;
            let scan = scan_bytes(job.shards, job.keys) * job.threads as u64;
            candidates + (bloom + scan).max(least) <= pool
        }
        Strategy::Spill | Strategy::Auto => true,
    }
}

/// Merges with one strategy.
pub(crate) fn merge_with(
    job: Job<'_>,
    config: &Config,
    spill: &SpillDir,
    estimate: Estimate,
    strategy: Strategy,
) -> Result<Written, MergeError> {
    match strategy {
        Strategy::Memory => {
            let mut parts = Vec::with_capacity(PARTS);
            for _ in 0..PARTS {
                let keys = share(estimate.most, PARTS as u64);
                let part = Part::new(job.pool.claim("keys"), keys).map_err(|source| {
                    MergeError::DoesNotFit {
                        strategy: "memory",
                        source,
                    }
                })?;
                parts.push(part);
            }
            write(job, &config.out, Decider::Memory(parts))
        }
        Strategy::Bloom => {
            let repeated = if estimate.known {
                estimate.repeated()
            } else {
                1024
            };
            let candidates = find_candidates(job, estimate.most, repeated)?;
            let keys: u64 = candidates.parts.iter().map(Part::len).sum();
            tracing::debug!(
                keys,
                reserved = job.pool.reserved(),
                "keys that may occur twice"
            );
            let written = write(job, &config.out, Decider::Bloom(candidates.parts))?;
            Ok(Written {
                distinct: candidates.distinct,
                ..written
            })
        }
        Strategy::Spill | Strategy::Auto => {
            let sizes = SpillSizes::new(
                job.shards,
                job.keys,
                job.threads,
                job.pool.available(),
                estimate,
            );
            tracing::debug!(?sizes, "spilling");
            let partitions = Partitions::new(
                spill,
                job.pool.claim("spill buffers"),
                sizes.partitions,
                sizes.buffer_bytes,
            )?;
            let drops = Drops::new(spill, job.pool.claim("dropped rows"), job.shards.rows)?;
            let (distinct, dropped) = find_drops(job, partitions, sizes.partition_keys, &drops)?;
            let cursor = drops.into_cursor(job.pool.claim("dropped rows"))?;
            let written = write(job, &config.out, Decider::Spill(Box::new(cursor)))?;
            crate::scan::check_count(
                "rows written",
                job.shards.rows - dropped,
                written.table.published().rows,
            )?;
            Ok(Written {
                distinct,
                spill_partitions: sizes.partitions as u64,
                ..written
            })
        }
    }
}

/// How the spill is cut.
#[derive(Clone, Copy, Debug)]
struct SpillSizes {
    partitions: usize,
    /// Distinct keys a partition has at most.
    partition_keys: u64,
    /// Bytes buffered per partition before they are written.
    buffer_bytes: usize,
}

impl SpillSizes {
    fn new(
        shards: &Shards,
        keys: &[String],
        threads: usize,
        pool_bytes: u64,
        estimate: Estimate,
    ) -> Self {
        let scan = scan_bytes(shards, keys) * threads as u64;
        let room = pool_bytes
            .saturating_sub(drops_bytes(shards.rows))
            .max(4 << 20);
        // Small maps stay in the cache, and many partitions mean small writes: maps of 4 MiB, more
        // past a thousand partitions, a third of the room for all threads at most.
        let most = (room / 3 / threads as u64).saturating_sub(READ_BYTES as u64);
        let map = (ordinals_bytes(estimate.most) / 1024)
            .max(4 << 20)
            .min(most)
            .max(1 << 20);
        // A thousand partitions still write 8 KiB at a time. So many partitions that their buffers take all of it also for
        // few rows: with fewer the peak would grow with the rows until they do.
        let buffers = (room.saturating_sub(scan.min(room / 2)) / 3).min(8 << 20);
        let mut partitions = ordinals_bytes(estimate.most)
            .div_ceil(map)
            .max(buffers.div_ceil(READ_BYTES as u64));
        while ordinals_bytes(share(estimate.most, partitions)) > map {
            partitions += partitions.div_ceil(16);
        }
        let buffer_bytes = (buffers / partitions).clamp(1 << 10, READ_BYTES as u64) as usize;
        Self {
            partitions: partitions as usize,
            partition_keys: share(estimate.most, partitions),
            buffer_bytes,
        }
    }

    /// Bytes of the first pass with these sizes on one thread.
    fn bytes(&self, shards: &Shards, keys: &[String]) -> u64 {
        let resolve = ordinals_bytes(self.partition_keys) + READ_BYTES as u64;
        drops_bytes(shards.rows)
            + partitions_bytes(self.partitions, self.buffer_bytes)
            + scan_bytes(shards, keys).max(resolve)
    }
}

/// The least pool with which the strategy that needs least works, on one thread.
pub(crate) fn least_pool_bytes(shards: &Shards, keys: &[String], estimate: Estimate) -> u64 {
    const STEP: u64 = 1 << 20;
    let needs = |pool: u64| {
        let sizes = SpillSizes::new(shards, keys, 1, pool, estimate);
        let write = least_bytes(shards, pool) + drops_bytes(shards.rows) + WINDOW_BYTES;
        sizes.bytes(shards, keys).max(write)
    };
    let mut pool = needs(0).next_multiple_of(STEP);
    while needs(pool) > pool {
        pool += STEP;
    }
    pool
}

/// The strategies to try, in order.
pub(crate) fn candidates(job: Job<'_>, estimate: Estimate, asked: Strategy) -> Vec<Strategy> {
    if asked != Strategy::Auto {
        return vec![asked];
    }
    let all = [Strategy::Memory, Strategy::Bloom, Strategy::Spill];
    let fitting: Vec<Strategy> = all
        .into_iter()
        .filter(|strategy| fits(job, estimate, *strategy))
        .collect();
    tracing::debug!(
        rows = estimate.rows,
        distinct_most = estimate.most,
        estimated = estimate.known,
        pool = %format!("{:#}", ByteSize(job.pool.available())),
        ?fitting,
        "strategies"
    );
    fitting
}
