//! The pass that writes: reads all shards in order, drops the rows that are not the first of their
//! key, and encodes the rest.
//!
//! Two ways with the same bytes: when memory allows, whole row groups are encoded on several
//! threads; else rows go to the encoder as they come, on one thread beside the reading.

use std::path::Path;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use halocline_cascade::{Accumulate, After, Cascade, Chain, Emit, Weigh, Why};
use halocline_cli::distinct::Distinct;
use halocline_table::{
    Batches, EncodedRowGroup, PRODUCT_ROW_GROUP_BYTES, ReadOptions, RowGroupCutter, RowGroupRows,
    Sealed, TableWriter, WriterOptions, footer_bytes,
};

use crate::MergeError;
use crate::keys::KeyHasher;
use crate::partitions::DropCursor;
use crate::scan::{Job, LOOKAHEAD, check_count};
use crate::set::{Found, PARTS, Part, part_of};
use crate::shards::Shards;

const BATCH_ROWS: usize = 8 << 10;

/// Decides, for rows in order, which are the first of their key.
pub(crate) enum Decider {
    /// All keys so far; a key that is not there is new.
    Memory(Vec<Part>),
    /// All keys that may occur twice; a key that is not there occurs once.
    Bloom(Vec<Part>),
    /// The rows to drop are known.
    Spill(Box<DropCursor>),
}

/// Raw bytes a batch aims at: small beside the pool, large beside the cost of a batch.
fn batch_bytes(pool_bytes: u64) -> u64 {
    (pool_bytes / 128).clamp(256 << 10, 1 << 20)
}

/// Raw rows in memory against their raw size: offsets, validity, spare capacity of decoders.
const RAW_OVERHEAD: u64 = 2;

/// Pool bytes of the stages up to the encoder: decoders, a batch being read and one in each queue,
/// its hashes, its copy without duplicates.
fn front_bytes(shards: &Shards, pool_bytes: u64) -> u64 {
    let batch = RAW_OVERHEAD * batch_bytes(pool_bytes) + 32 * BATCH_ROWS as u64;
    2 * shards.footer_bytes + shards.decode_bytes(None) + 5 * batch
}

/// Pool bytes the pass cannot do without.
pub(crate) fn least_bytes(shards: &Shards, pool_bytes: u64) -> u64 {
    front_bytes(shards, pool_bytes) + encode_bytes(shards) + footer_reserve(shards)
}

/// The footer of the output while it grows, when no row is dropped.
fn footer_reserve(shards: &Shards) -> u64 {
    let columns = shards.schema.flattened_fields().len() as u64;
    let row_groups = shards.rows / 50_000 + 1;
    footer_bytes(row_groups, columns)
}

/// The footer of some 80 million products: 12 KiB for a row group of five columns (2026-11-20).
const FOOTER_BYTES: u64 = 4 << 20;

/// Pool bytes with which row groups are encoded whole: one filling, one being encoded on each
/// thread, up to two threads, above which the pool decides.
fn parallel_bytes(shards: &Shards, pool_bytes: u64) -> u64 {
    let raw = PRODUCT_ROW_GROUP_BYTES * 3 / 2;
    front_bytes(shards, pool_bytes) + 2 * raw + encode_bytes(shards) + footer_reserve(shards)
}

/// Bytes an encoder holds beside the raw rows.
fn encode_bytes(shards: &Shards) -> u64 {
    TableWriter::reserve_bytes(&shards.schema, shards.meta.kind, &WriterOptions::default())
}

/// Rows as read, with the hashes of their keys when the decider wants them.
struct Rows {
    batch: RecordBatch,
    hashes: Vec<u128>,
    first: u64,
}

/// Rows and which of them are kept.
struct Marked {
    batch: RecordBatch,
    keep: Option<BooleanBuffer>,
}

struct Kept(RecordBatch);

struct Group {
    rows: RowGroupRows,
    bytes: u64,
}

struct Encoded(EncodedRowGroup);

fn memory(batch: &RecordBatch) -> u64 {
    batch.get_array_memory_size() as u64
}

impl Weigh for Rows {
    fn bytes(&self) -> u64 {
        memory(&self.batch) + self.hashes.capacity() as u64 * 16
    }
}

impl Weigh for Marked {
    fn bytes(&self) -> u64 {
        memory(&self.batch) + self.keep.as_ref().map_or(0, |k| k.len().div_ceil(8) as u64)
    }
}

impl Weigh for Kept {
    fn bytes(&self) -> u64 {
        memory(&self.0)
    }
}

impl Weigh for Group {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Weigh for Encoded {
    fn bytes(&self) -> u64 {
        self.0.memory_bytes()
    }
}

/// Reads all shards one after the other.
struct Reader<'a> {
    shards: &'a Shards,
    batch_bytes: u64,
    next_shard: usize,
    current: Option<Batches>,
    rows: u64,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Option<Rows>, MergeError> {
        loop {
            if let Some(batches) = &mut self.current {
                if let Some(batch) = batches.next() {
                    let batch = batch?;
                    let first = self.rows;
                    self.rows += batch.num_rows() as u64;
                    return Ok(Some(Rows {
                        batch,
                        hashes: Vec::new(),
                        first,
                    }));
                }
                self.current = None;
            }
            if self.next_shard == self.shards.shards.len() {
                check_count("rows read", self.shards.rows, self.rows)?;
                return Ok(None);
            }
            let table = self.shards.table(self.next_shard)?;
            self.next_shard += 1;
            let options = ReadOptions {
                rows: None,
                columns: None,
                batch_rows: BATCH_ROWS,
                batch_bytes: self.batch_bytes,
            };
            self.current = Some(table.batches(options)?);
        }
    }
}

/// The stage that knows what came before: marks the rows that are kept.
struct First {
    decider: Decider,
    /// Filled by the strategy that reads once.
    distinct: Distinct,
    kept: u64,
}

impl First {
    fn mark(&mut self, rows: &Rows) -> Result<Option<BooleanBuffer>, MergeError> {
        let count = rows.batch.num_rows();
        let mut keep = vec![true; count];
        match &mut self.decider {
            Decider::Memory(parts) => {
                for (hashes, keep) in rows
                    .hashes
                    .chunks(LOOKAHEAD)
                    .zip(keep.chunks_mut(LOOKAHEAD))
                {
                    touch(parts, hashes);
                    for (hash, keep) in hashes.iter().zip(keep) {
                        self.distinct.insert(*hash as u64);
                        *keep = parts[part_of(*hash)].insert(*hash).map_err(|source| {
                            MergeError::DoesNotFit {
                                strategy: "memory",
                                source,
                            }
                        })?;
                    }
                }
            }
            Decider::Bloom(parts) => {
                for (hashes, keep) in rows
                    .hashes
                    .chunks(LOOKAHEAD)
                    .zip(keep.chunks_mut(LOOKAHEAD))
                {
                    touch(parts, hashes);
                    for (hash, keep) in hashes.iter().zip(keep) {
                        *keep = parts[part_of(*hash)].find(*hash) != Found::Again;
                    }
                }
            }
            Decider::Spill(cursor) => {
                for (row, keep) in keep.iter_mut().enumerate() {
                    *keep = !cursor.is_dropped(rows.first + row as u64)?;
                }
            }
        }
        let kept = keep.iter().filter(|keep| **keep).count();
        self.kept += kept as u64;
        Ok((kept < count).then(|| BooleanBuffer::from(keep)))
    }
}

fn touch(parts: &[Part], hashes: &[u128]) {
    let mut touched = 0;
    for hash in hashes {
        touched ^= parts[part_of(*hash)].touch(*hash);
    }
    std::hint::black_box(touched);
}

impl Accumulate for &mut First {
    type In = Rows;
    type Out = Marked;
    type Error = MergeError;

    fn take(&mut self, rows: Rows, out: &mut Emit<'_, Marked>) -> Result<(), MergeError> {
        let keep = self.mark(&rows)?;
        out.push(Marked {
            batch: rows.batch,
            keep,
        });
        Ok(())
    }

    fn bytes(&self) -> u64 {
        // The deciders hold reservations of their own.
        0
    }

    fn pass(&mut self, _: Why, _: &mut Emit<'_, Marked>) -> Result<(), MergeError> {
        Ok(())
    }
}

/// Collects rows into row groups.
struct Cut {
    cutter: RowGroupCutter,
    bytes: u64,
}

impl Accumulate for Cut {
    type In = Kept;
    type Out = Group;
    type Error = MergeError;

    fn take(&mut self, Kept(batch): Kept, out: &mut Emit<'_, Group>) -> Result<(), MergeError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let mine = memory(&batch) + 8 * batch.num_rows() as u64;
        self.bytes += mine;
        for rows in self.cutter.push(&batch) {
            // The batch in which the cut fell is counted on both sides: both keep it alive.
            out.push(Group {
                rows,
                bytes: std::mem::replace(&mut self.bytes, mine),
            });
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn pass(&mut self, why: Why, out: &mut Emit<'_, Group>) -> Result<(), MergeError> {
        // Where row groups end is decided by the rows alone, so pressure changes nothing here.
        if why == Why::End
            && let Some(rows) = self.cutter.finish()
        {
            out.push(Group {
                rows,
                bytes: std::mem::take(&mut self.bytes),
            });
        }
        Ok(())
    }
}

/// What was written.
pub(crate) struct Written {
    /// Gets its name when its sidecar and the summary are there.
    pub(crate) table: Sealed,
    /// Of the keys, when this pass was the only one.
    pub(crate) distinct: Distinct,
    /// Of the pass before, when that spilled.
    pub(crate) spill_partitions: u64,
}

fn front<'env>(
    job: Job<'env>,
    hasher: &'env KeyHasher,
    first: &'env mut First,
) -> Chain<'env, Kept, MergeError> {
    let batch = batch_bytes(job.pool.limit());
    let hashes_wanted = !matches!(first.decider, Decider::Spill(_));
    let mut reader = Reader {
        shards: job.shards,
        batch_bytes: batch,
        next_shard: 0,
        current: None,
        rows: 0,
    };
    Cascade::new(job.pool)
        .threads(job.threads)
        .source(
            "read",
            RAW_OVERHEAD * batch,
            batch * job.threads as u64,
            move || {
                let _time = job.times.time("read");
                reader.next()
            },
        )
        .map(
            "hash",
            batch * job.threads as u64,
            move |rows: &Rows| {
                if hashes_wanted {
                    16 * rows.batch.num_rows() as u64
                } else {
                    0
                }
            },
            move |rows| {
                if !hashes_wanted {
                    return Ok(rows);
                }
                let _time = job.times.time("hash");
                let hashes = hasher.hash(&rows.batch)?;
                Ok(Rows { hashes, ..rows })
            },
        )
        .accumulate("first", u64::MAX, After::Keep, first)
        .queue(batch * job.threads as u64)
        .map(
            "filter",
            batch,
            |marked: &Marked| marked.bytes(),
            move |Marked { batch, keep }| {
                let _time = job.times.time("filter");
                job.progress.inc(batch.num_rows() as u64);
                match keep {
                    None => Ok(Kept(batch)),
                    Some(keep) => Ok(Kept(filter_record_batch(
                        &batch,
                        &BooleanArray::new(keep, None),
                    )?)),
                }
            },
        )
}

/// Writes the merged table.
pub(crate) fn write(job: Job<'_>, out: &Path, decider: Decider) -> Result<Written, MergeError> {
    let shards = job.shards;
    let mut fixed = job.pool.claim("footers and decoders");
    let fixed_bytes = 2 * shards.footer_bytes + shards.decode_bytes(None) + footer_reserve(shards);
    fixed
        .try_grow(fixed_bytes)
        .map_err(|source| MergeError::Stage {
            stage: "read",
            source,
        })?;
    let options = WriterOptions::default();
    let mut writer = TableWriter::create(out, &shards.schema, &shards.meta, options.clone())?;
    let hasher = KeyHasher::new(&shards.schema, job.keys)?;
    let mut first = First {
        decider,
        distinct: Distinct::default(),
        kept: 0,
    };
    let available = job.pool.available() + fixed_bytes;
    let parallel = job.threads > 1 && available >= parallel_bytes(shards, job.pool.limit());
    tracing::debug!(parallel, available, "writing");
    // Reading, filtering and encoding are one thread each here; more would only hold memory.
    let job = Job {
        threads: if parallel {
            job.threads
        } else {
            job.threads.min(3)
        },
        ..job
    };
    let chain = front(job, &hasher, &mut first);
    let ready = if parallel {
        let schema = writer.writer_schema().clone();
        let cut = Cut {
            cutter: RowGroupCutter::new(options.row_group_bytes),
            bytes: 0,
        };
        let encode_bytes = encode_bytes(shards);
        chain
            .accumulate("row group", u64::MAX, After::Keep, cut)
            .queue(1)
            .map(
                "encode",
                PRODUCT_ROW_GROUP_BYTES / 2,
                move |_| encode_bytes,
                move |group: Group| {
                    let _time = job.times.time("encode");
                    let encoded = group.rows.encode(&schema);
                    encoded
                        .map(Encoded)
                        .map_err(|error| MergeError::Encode(error.to_string()))
                },
            )
            .sink("write", |Encoded(group)| {
                let _time = job.times.time("write");
                Ok(writer.append(group)?)
            })
    } else {
        fixed
            .try_grow(encode_bytes(shards))
            .map_err(|source| MergeError::Stage {
                stage: "encode",
                source,
            })?;
        // See `Budget::touch_reserved`. A merge that fills no row group never gets that far.
        if shards.raw_bytes > PRODUCT_ROW_GROUP_BYTES {
            let stages = front_bytes(shards, job.pool.limit()) + encode_bytes(shards);
            let most = fixed.bytes() + job.pool.available();
            halocline_budget::touch((stages + FOOTER_BYTES).min(most));
        }
        chain.sink("encode", |Kept(batch)| {
            let _time = job.times.time("encode");
            Ok(writer.write(&batch)?)
        })
    };
    for stage in ready.run().map_err(crate::pipeline_error)? {
        tracing::debug!(stage = stage.name, runs = stage.runs, busy = ?stage.busy, "stage");
    }
    let table = writer.seal()?;
    let published = table.published();
    check_count("rows written", first.kept, published.rows)?;
    if let Decider::Memory(parts) = &first.decider {
        assert_eq!(parts.len(), PARTS, "one set per part");
        check_count(
            "distinct keys",
            published.rows,
            parts.iter().map(Part::len).sum(),
        )?;
    }
    Ok(Written {
        table,
        distinct: first.distinct,
        spill_partitions: 0,
    })
}
