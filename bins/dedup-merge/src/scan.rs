//! Pass one of the strategies that need two: reads the key columns of all shards, on all threads,
//! in any order.

use std::sync::{Mutex, PoisonError};

use halocline_budget::{OutOfBudget, Pool};
use halocline_cascade::{Cascade, Weigh};
use halocline_cli::Progress;
use halocline_cli::distinct::Distinct;
use halocline_cli::sidecar::StageTimer;
use halocline_table::ReadOptions;

use crate::MergeError;
use crate::bloom::Bloom;
use crate::keys::KeyHasher;
use crate::partitions::{Drops, Partitions, READ_BYTES};
use crate::set::{FirstOrdinals, PARTS, Part, ordinals_bytes, part_of, share};
use crate::shards::{Shards, Unit};

/// Rows per batch of keys.
const BATCH_ROWS: usize = 2 << 10;
/// Raw bytes a batch of keys aims at.
const BATCH_BYTES: u64 = 256 << 10;

/// What every pass works with.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) shards: &'a Shards,
    pub(crate) keys: &'a [String],
    pub(crate) threads: usize,
    pub(crate) pool: &'a Pool,
    pub(crate) times: &'a StageTimer,
    pub(crate) progress: &'a Progress,
}

/// Bytes one thread holds while it scans: decoders, a batch (which may turn out twice its aim) and
/// its hashes, sorted and unsorted.
pub(crate) fn scan_bytes(shards: &Shards, keys: &[String]) -> u64 {
    shards.footer_bytes
        + shards.decode_bytes(Some(keys))
        + 2 * BATCH_BYTES
        + BATCH_ROWS as u64 * (16 + 16 + 8 + 22)
}

impl Weigh for Unit {
    fn bytes(&self) -> u64 {
        size_of::<Self>() as u64
    }
}

/// Number of a partition.
struct Partition(usize);

impl Weigh for Partition {
    fn bytes(&self) -> u64 {
        size_of::<Self>() as u64
    }
}

struct Nothing;

impl Weigh for Nothing {
    fn bytes(&self) -> u64 {
        0
    }
}

/// Calls `each` with the hashes of consecutive rows and the ordinal of the first; returns the
/// estimator of distinct keys. Also checks that every row was seen.
fn scan(
    job: Job<'_>,
    each: impl Fn(&[u128], u64) -> Result<(), MergeError> + Send + Sync,
) -> Result<Distinct, MergeError> {
    let mut units = job.shards.units.iter().cloned();
    let distinct = Mutex::new((Distinct::default(), 0_u64));
    let bytes = scan_bytes(job.shards, job.keys);
    let waiting = 4 * size_of::<Unit>() as u64 * job.threads as u64;
    Cascade::new(job.pool)
        .threads(job.threads)
        .source("units", size_of::<Unit>() as u64, waiting, || {
            Ok(units.next())
        })
        .map(
            "scan",
            1,
            |_| bytes,
            |unit| {
                let _time = job.times.time("scan");
                let mut mine = Distinct::default();
                let shard = &job.shards.shards[unit.shard];
                let mut ordinal = shard.first + unit.rows.start;
                let table = job.shards.table(unit.shard)?;
                let batches = table.batches(ReadOptions {
                    rows: Some(unit.rows.clone()),
                    columns: Some(job.keys.to_vec()),
                    batch_rows: BATCH_ROWS,
                    batch_bytes: BATCH_BYTES,
                })?;
                let hasher = KeyHasher::new(batches.schema(), job.keys)?;
                for batch in batches {
                    let hashes = hasher.hash(&batch?)?;
                    for hash in &hashes {
                        mine.insert(*hash as u64);
                    }
                    each(&hashes, ordinal)?;
                    ordinal += hashes.len() as u64;
                    job.progress.inc(hashes.len() as u64);
                }
                let mut all = distinct.lock().unwrap_or_else(PoisonError::into_inner);
                all.0.merge(&mine);
                all.1 += unit.rows.end - unit.rows.start;
                Ok(Nothing)
            },
        )
        .sink("scanned", |_| Ok(()))
        .run()
        .map_err(crate::pipeline_error)?;
    let (distinct, rows) = distinct
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    check_count("rows of pass one", job.shards.rows, rows)?;
    Ok(distinct)
}

pub(crate) fn check_count(what: &'static str, expected: u64, found: u64) -> Result<(), MergeError> {
    if expected == found {
        return Ok(());
    }
    Err(MergeError::Count {
        what,
        expected,
        found,
    })
}

/// The keys that may occur twice, as parts of a set.
pub(crate) struct Candidates {
    pub(crate) parts: Vec<Part>,
    pub(crate) distinct: Distinct,
}

/// Finds every key that occurs twice (and a few that do not) with a Bloom filter for
/// `distinct_keys` keys; the set is prepared for `repeated_keys`.
pub(crate) fn find_candidates(
    job: Job<'_>,
    distinct_keys: u64,
    repeated_keys: u64,
) -> Result<Candidates, MergeError> {
    let does_not_fit = |source: OutOfBudget| MergeError::DoesNotFit {
        strategy: "bloom",
        source,
    };
    let mut shares = Vec::with_capacity(PARTS);
    for _ in 0..PARTS {
        let keys = share(distinct_keys, PARTS as u64);
        let bloom = Bloom::new(job.pool.claim("bloom filter"), keys).map_err(does_not_fit)?;
        let keys = share(repeated_keys, PARTS as u64);
        let part = Part::new(job.pool.claim("repeated keys"), keys).map_err(does_not_fit)?;
        shares.push(Mutex::new((bloom, part)));
    }
    let distinct = scan(job, |hashes, _| {
        let mut by_part = group_by_part(hashes);
        let mut rest: &mut [u128] = &mut by_part.hashes;
        for (part, count) in by_part.counts.iter().enumerate() {
            let (mine, later) = rest.split_at_mut(*count);
            rest = later;
            let mut guard = shares[part].lock().unwrap_or_else(PoisonError::into_inner);
            let (bloom, set) = &mut *guard;
            for group in mine.chunks(LOOKAHEAD) {
                let mut touched = 0;
                for hash in group {
                    touched ^= bloom.touch(*hash);
                }
                std::hint::black_box(touched);
                for hash in group {
                    if bloom.insert(*hash) {
                        set.insert(*hash).map_err(does_not_fit)?;
                    }
                }
            }
        }
        Ok(())
    })?;
    let parts = shares
        .into_iter()
        .map(|share| share.into_inner().unwrap_or_else(PoisonError::into_inner).1)
        .collect();
    Ok(Candidates { parts, distinct })
}

/// Hashes whose memory is asked for together.
pub(crate) const LOOKAHEAD: usize = 32;

struct ByPart {
    hashes: Vec<u128>,
    counts: [usize; PARTS],
}

fn group_by_part(hashes: &[u128]) -> ByPart {
    let mut counts = [0; PARTS];
    for hash in hashes {
        counts[part_of(*hash)] += 1;
    }
    let mut next = [0; PARTS];
    for part in 1..PARTS {
        next[part] = next[part - 1] + counts[part - 1];
    }
    let mut grouped = vec![0; hashes.len()];
    for hash in hashes {
        let slot = &mut next[part_of(*hash)];
        grouped[*slot] = *hash;
        *slot += 1;
    }
    ByPart {
        hashes: grouped,
        counts,
    }
}

/// Spills all keys and finds the rows to drop. `partition_keys` is the most distinct keys a
/// partition can have.
pub(crate) fn find_drops(
    job: Job<'_>,
    partitions: Partitions,
    partition_keys: u64,
    drops: &Drops,
) -> Result<(Distinct, u64), MergeError> {
    let distinct = scan(job, |hashes, ordinal| partitions.add(hashes, ordinal))?;
    let map_bytes = ordinals_bytes(partition_keys);
    let mut numbers = 0..partitions.count();
    let mut dropped = 0;
    let size = size_of::<Partition>() as u64;
    let counts = Mutex::new(&mut dropped);
    Cascade::new(job.pool)
        .threads(job.threads)
        .source("partitions", size, size * job.threads as u64, || {
            Ok(numbers.next().map(Partition))
        })
        .map(
            "resolve",
            1,
            |_| map_bytes + READ_BYTES as u64,
            |partition| {
                let _time = job.times.time("resolve");
                // A pool of the stage's own: what the stage reserved for this run.
                let pool = Pool::new(map_bytes);
                let map = FirstOrdinals::new(pool.claim("partition"), partition_keys).map_err(
                    |source| MergeError::DoesNotFit {
                        strategy: "spill",
                        source,
                    },
                )?;
                let mut buffer = vec![0; READ_BYTES];
                let found = partitions.resolve(partition.0, map, drops, &mut buffer)?;
                **counts.lock().unwrap_or_else(PoisonError::into_inner) += found;
                Ok(Nothing)
            },
        )
        .sink("resolved", |_| Ok(()))
        .run()
        .map_err(crate::pipeline_error)?;
    Ok((distinct, dropped))
}
