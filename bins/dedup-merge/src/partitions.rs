//! Hash-partitioned spill: every row's (hash, ordinal) goes to disk, one partition per part of the
//! hash space; then one partition at a time fits in memory and names the rows to drop.
//!
//! Both kinds of record live in one nameless file each.

use std::sync::{Mutex, MutexGuard, PoisonError};

use halocline_budget::{OutOfBudget, Reservation, SpillDir, SpillFile};

use crate::MergeError;
use crate::set::FirstOrdinals;

/// Hash, then ordinal in six bytes: 2^48 rows.
const RECORD_BYTES: usize = 22;
const ORDINAL_BYTES: usize = RECORD_BYTES - 16;
/// A row to drop, as its distance from the start of its window.
const DROP_BYTES: usize = 4;
/// Rows per window of the bitmap of rows to drop: 1 MiB of bits.
pub(crate) const WINDOW_ROWS: u64 = 1 << 23;
/// Bytes the reader of dropped rows holds.
pub(crate) const WINDOW_BYTES: u64 = WINDOW_ROWS / 8 + READ_BYTES as u64;
/// Most bytes of a chunk in a spill file.
pub(crate) const READ_BYTES: usize = 128 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records of one size in many streams, appended in any order to one file, read back per stream.
///
/// A chunk in the file is a header (where the stream's previous chunk is, and how long) and
/// records, so that a stream of any length takes the same memory.
#[derive(Debug)]
struct Streams {
    file: Mutex<SpillFile>,
    streams: Vec<Mutex<Stream>>,
    record_bytes: usize,
    /// Header and records of a full chunk.
    chunk_bytes: usize,
    _held: Reservation,
}

#[derive(Debug, Default)]
struct Stream {
    /// The chunk under construction, its header (of the chunk before) included; or empty.
    buffer: Vec<u8>,
    /// Offset and length of the last chunk written; length zero when there is none.
    last: (u64, u32),
}

const HEADER_BYTES: usize = 12;
/// Bytes [`Streams`] reserves per stream beside its buffer.
const STREAM_BYTES: u64 = size_of::<Mutex<Stream>>() as u64 + 64;

impl Streams {
    fn new(
        dir: &SpillDir,
        mut held: Reservation,
        count: usize,
        record_bytes: usize,
        buffer_bytes: usize,
    ) -> Result<Self, MergeError> {
        let records =
            (buffer_bytes.min(READ_BYTES).saturating_sub(HEADER_BYTES) / record_bytes).max(1);
        let chunk_bytes = HEADER_BYTES + records * record_bytes;
        held.try_resize(count as u64 * (chunk_bytes as u64 + STREAM_BYTES))
            .map_err(does_not_fit)?;
        let streams = (0..count).map(|_| Mutex::default()).collect();
        let file = Mutex::new(dir.file()?);
        Ok(Self {
            file,
            streams,
            record_bytes,
            chunk_bytes,
            _held: held,
        })
    }

    /// Appends whole records to a stream.
    fn append(&self, stream: usize, mut records: &[u8]) -> Result<(), MergeError> {
        let mut stream = lock(&self.streams[stream]);
        while !records.is_empty() {
            if stream.buffer.is_empty() {
                stream.buffer.reserve_exact(self.chunk_bytes);
                let (offset, length) = stream.last;
                stream.buffer.extend_from_slice(&offset.to_le_bytes());
                stream.buffer.extend_from_slice(&length.to_le_bytes());
            }
            let room = self.chunk_bytes - stream.buffer.len();
            let (now, later) = records.split_at(room.min(records.len()));
            stream.buffer.extend_from_slice(now);
            records = later;
            if stream.buffer.len() == self.chunk_bytes {
                self.write(&mut stream)?;
            }
        }
        Ok(())
    }

    fn write(&self, stream: &mut Stream) -> Result<(), MergeError> {
        if stream.buffer.is_empty() {
            return Ok(());
        }
        let mut file = lock(&self.file);
        let offset = file.written();
        file.write_all_at(&stream.buffer, offset)
            .map_err(MergeError::SpillIo)?;
        stream.last = (offset, stream.buffer.len() as u32);
        stream.buffer.clear();
        Ok(())
    }

    /// Calls `each` with every record of a stream, in some order. `buffer` is [`READ_BYTES`] long.
    fn read(
        &self,
        stream: usize,
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), MergeError>,
    ) -> Result<(), MergeError> {
        let mut stream = lock(&self.streams[stream]);
        self.write(&mut stream)?;
        stream.buffer = Vec::new();
        let (mut offset, mut length) = stream.last;
        while length > 0 {
            let chunk = &mut buffer[..length as usize];
            lock(&self.file)
                .read_exact_at(chunk, offset)
                .map_err(MergeError::SpillIo)?;
            let (header, records) = chunk.split_at(HEADER_BYTES);
            let (mut previous, mut previous_length) = ([0; 8], [0; 4]);
            previous.copy_from_slice(&header[..8]);
            previous_length.copy_from_slice(&header[8..]);
            for record in records.chunks_exact(self.record_bytes) {
                each(record)?;
            }
            (offset, length) = (
                u64::from_le_bytes(previous),
                u32::from_le_bytes(previous_length),
            );
        }
        Ok(())
    }
}

fn does_not_fit(source: OutOfBudget) -> MergeError {
    MergeError::DoesNotFit {
        strategy: "spill",
        source,
    }
}

/// The partitioned (hash, ordinal) of all rows.
#[derive(Debug)]
pub(crate) struct Partitions {
    streams: Streams,
}

/// Bytes [`Partitions`] reserves.
pub(crate) fn partitions_bytes(count: usize, buffer_bytes: usize) -> u64 {
    count as u64 * (buffer_bytes as u64 + STREAM_BYTES)
}

impl Partitions {
    pub(crate) fn new(
        dir: &SpillDir,
        held: Reservation,
        count: usize,
        buffer_bytes: usize,
    ) -> Result<Self, MergeError> {
        Ok(Self {
            streams: Streams::new(dir, held, count, RECORD_BYTES, buffer_bytes)?,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.streams.streams.len()
    }

    fn partition_of(&self, hash: u128) -> usize {
        let high = (hash >> 64) as u64;
        ((u128::from(high) * self.count() as u128) >> 64) as usize
    }

    /// Notes consecutive rows that begin at `ordinal`. From any thread, in any order.
    pub(crate) fn add(&self, hashes: &[u128], ordinal: u64) -> Result<(), MergeError> {
        // Rows grouped by partition, so that each is locked once per batch.
        let mut order: Vec<(u32, u32)> = hashes
            .iter()
            .enumerate()
            .map(|(row, hash)| (self.partition_of(*hash) as u32, row as u32))
            .collect();
        order.sort_unstable();
        let mut records = Vec::new();
        for group in order.chunk_by(|a, b| a.0 == b.0) {
            records.clear();
            for (_, row) in group {
                records.extend_from_slice(&hashes[*row as usize].to_le_bytes());
                let ordinal = (ordinal + u64::from(*row)).to_le_bytes();
                records.extend_from_slice(&ordinal[..ORDINAL_BYTES]);
            }
            self.streams.append(group[0].0 as usize, &records)?;
        }
        Ok(())
    }

    /// Finds the duplicates of one partition and notes them in `drops`; the partition's distinct
    /// keys go through `map`.
    pub(crate) fn resolve(
        &self,
        partition: usize,
        mut map: FirstOrdinals,
        drops: &Drops,
        buffer: &mut [u8],
    ) -> Result<u64, MergeError> {
        let mut dropped = 0;
        let mut pending = Vec::with_capacity(512);
        self.streams.read(partition, buffer, |record| {
            let (mut hash, mut ordinal) = ([0; 16], [0; 8]);
            hash.copy_from_slice(&record[..16]);
            ordinal[..ORDINAL_BYTES].copy_from_slice(&record[16..]);
            let later = map
                .note(u128::from_le_bytes(hash), u64::from_le_bytes(ordinal))
                .map_err(does_not_fit)?;
            if let Some(later) = later {
                dropped += 1;
                pending.push(later);
                if pending.len() == pending.capacity() {
                    drops.add(&mut pending)?;
                }
            }
            Ok(())
        })?;
        drops.add(&mut pending)?;
        Ok(dropped)
    }
}

/// The rows to drop, by window of [`WINDOW_ROWS`] rows.
#[derive(Debug)]
pub(crate) struct Drops {
    streams: Streams,
}

/// Buffer per window of dropped rows.
const DROP_BUFFER_BYTES: usize = 8 << 10;

/// Bytes [`Drops`] reserves.
pub(crate) fn drops_bytes(rows: u64) -> u64 {
    (rows / WINDOW_ROWS + 1) * (DROP_BUFFER_BYTES as u64 + STREAM_BYTES)
}

impl Drops {
    pub(crate) fn new(dir: &SpillDir, held: Reservation, rows: u64) -> Result<Self, MergeError> {
        let windows = (rows / WINDOW_ROWS + 1) as usize;
        Ok(Self {
            streams: Streams::new(dir, held, windows, DROP_BYTES, DROP_BUFFER_BYTES)?,
        })
    }

    /// Notes rows to drop and empties the list. From any thread, in any order.
    fn add(&self, ordinals: &mut Vec<u64>) -> Result<(), MergeError> {
        ordinals.sort_unstable();
        let mut records = Vec::with_capacity(ordinals.len() * DROP_BYTES);
        for window in ordinals.chunk_by(|a, b| a / WINDOW_ROWS == b / WINDOW_ROWS) {
            records.clear();
            for ordinal in window {
                records.extend_from_slice(&((ordinal % WINDOW_ROWS) as u32).to_le_bytes());
            }
            self.streams
                .append((window[0] / WINDOW_ROWS) as usize, &records)?;
        }
        ordinals.clear();
        Ok(())
    }

    /// For asking about rows in order. `held` becomes [`WINDOW_BYTES`].
    pub(crate) fn into_cursor(self, mut held: Reservation) -> Result<DropCursor, MergeError> {
        held.try_resize(WINDOW_BYTES).map_err(does_not_fit)?;
        let bits = vec![0; (WINDOW_ROWS / 64) as usize];
        Ok(DropCursor {
            drops: self,
            window: None,
            bits,
            buffer: vec![0; READ_BYTES],
            _held: held,
        })
    }
}

/// Answers whether a row is to be dropped, for rows in order.
#[derive(Debug)]
pub(crate) struct DropCursor {
    drops: Drops,
    window: Option<u64>,
    bits: Vec<u64>,
    buffer: Vec<u8>,
    _held: Reservation,
}

impl DropCursor {
    pub(crate) fn is_dropped(&mut self, ordinal: u64) -> Result<bool, MergeError> {
        let window = ordinal / WINDOW_ROWS;
        if self.window != Some(window) {
            self.bits.fill(0);
            let bits = &mut self.bits;
            self.drops
                .streams
                .read(window as usize, &mut self.buffer, |record| {
                    let mut row = [0; DROP_BYTES];
                    row.copy_from_slice(record);
                    let row = u32::from_le_bytes(row);
                    bits[(row / 64) as usize] |= 1 << (row % 64);
                    Ok(())
                })?;
            self.window = Some(window);
        }
        let row = ordinal % WINDOW_ROWS;
        Ok(self.bits[(row / 64) as usize] >> (row % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use halocline_budget::Pool;
    use proptest::prelude::*;

    use super::*;
    use crate::set::ordinals_bytes;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn exactly_the_later_rows_are_dropped(
            keys in proptest::collection::vec(0_u64..300, 0..2_000),
            far in any::<bool>(),
            partitions in 1_usize..9,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let spill = SpillDir::new(dir.path()).unwrap();
            let pool = Pool::new(64 << 20);
            // Rows across the border of two windows, too.
            let base = if far { WINDOW_ROWS - 700 } else { 0 };
            let store = Partitions::new(&spill, pool.claim("p"), partitions, 100).unwrap();
            let drops = Drops::new(&spill, pool.claim("d"), base + keys.len() as u64).unwrap();
            let hashes: Vec<u128> =
                keys.iter().map(|k| xxhash_rust::xxh3::xxh3_128(&k.to_le_bytes())).collect();
            // Batches arrive in reverse.
            for (index, batch) in hashes.chunks(97).enumerate().rev() {
                store.add(batch, base + index as u64 * 97).unwrap();
            }
            let mut buffer = vec![0; READ_BYTES];
            let mut dropped = 0;
            for partition in 0..partitions {
                let mut held = pool.claim("map");
                held.try_grow(ordinals_bytes(8)).unwrap();
                let map = FirstOrdinals::new(held, 8).unwrap();
                dropped += store.resolve(partition, map, &drops, &mut buffer).unwrap();
            }
            let mut seen = BTreeSet::new();
            let mut cursor = drops.into_cursor(pool.claim("w")).unwrap();
            let mut want = 0;
            for (index, key) in keys.iter().enumerate() {
                let again = !seen.insert(*key);
                want += u64::from(again);
                prop_assert_eq!(cursor.is_dropped(base + index as u64).unwrap(), again, "{}", index);
            }
            prop_assert_eq!(dropped, want);
            drop((store, cursor));
            prop_assert_eq!(pool.reserved(), 0);
        }
    }
}
