//! Are all keys different? Exact up to 128-bit hashes, for any number of rows, within a reservation.
//!
//! Records of (hash, row) are collected in memory while they fit. When they do not, they go to
//! spill files by the next bits of the hash, and each file is treated the same way. Wherever records
//! are sorted, all but the first row of equal hashes are dropped and counted, so that a key repeated
//! a million times shrinks instead of filling one file.

use std::io::{self, Seek, SeekFrom, Write};

use anyhow::Context;
use halocline_budget::{Reservation, SpillDir, SpillFile};

/// A key's hash and the row it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    high: u64,
    low: u64,
    row: u64,
}

const RECORD_BYTES: usize = size_of::<Record>();
/// Spill files per level, by this many bits of the hash.
const FAN_BITS: u32 = 6;
const FAN: usize = 1 << FAN_BITS;
/// Records buffered per spill file.
const BUFFERED: usize = 512;

impl Record {
    pub(crate) fn new(hash: u128, row: u64) -> Self {
        Self {
            high: (hash >> 64) as u64,
            low: hash as u64,
            row,
        }
    }

    fn same_key(&self, other: &Self) -> bool {
        (self.high, self.low) == (other.high, other.low)
    }

    fn part(&self, level: u32) -> usize {
        // 64 bits are ten levels of six, which is 2^60 files' worth of records.
        ((self.high << (level * FAN_BITS).min(58)) >> (64 - FAN_BITS)) as usize
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&self.high.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.low.to_le_bytes());
        bytes[16..].copy_from_slice(&self.row.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            high: word(0),
            low: word(8),
            row: word(16),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Rows whose key an earlier row has.
    pub(crate) duplicates: u64,
    /// The first such row, and an earlier row of the same key.
    pub(crate) first: Option<(u64, u64)>,
}

impl Found {
    fn drop_row(&mut self, dropped: u64, kept: u64) {
        self.duplicates += 1;
        if self.first.is_none_or(|(row, _)| dropped < row) {
            self.first = Some((dropped, kept));
        }
    }

    /// Sorts records and drops all but the first row of each key.
    fn settle(&mut self, records: &mut Vec<Record>) {
        records.sort_unstable();
        records.dedup_by(|later, earlier| {
            let same = later.same_key(earlier);
            if same {
                self.drop_row(later.row, earlier.row);
            }
            same
        });
    }
}

/// Collects keys; see the module.
pub(crate) struct Unique {
    spill: SpillDir,
    memory: Reservation,
    capacity: usize,
    records: Vec<Record>,
    parts: Option<Vec<Part>>,
    found: Found,
}

impl Unique {
    /// Bytes without which it cannot work: the buffers of two levels of files and room to sort.
    pub(crate) const LEAST_BYTES: u64 = (3 * FAN * BUFFERED * RECORD_BYTES) as u64 + (1 << 20);

    /// `memory` is already grown to what may be used, at least [`Unique::LEAST_BYTES`]. At most
    /// `rows` keys are expected (a larger number is no error).
    pub(crate) fn new(memory: Reservation, spill: SpillDir, rows: u64) -> Self {
        // The vector is allocated once, so that growing never holds it twice. Buffers of files, of
        // this level and of the one being read, come on top.
        let buffers = 2 * FAN * BUFFERED * RECORD_BYTES;
        let room = usize::try_from(memory.bytes())
            .unwrap_or(usize::MAX)
            .saturating_sub(buffers);
        let wanted = usize::try_from(rows).unwrap_or(usize::MAX).max(1);
        let capacity = (room / RECORD_BYTES).clamp(BUFFERED, wanted.max(BUFFERED));
        Self {
            spill,
            memory,
            capacity,
            records: Vec::with_capacity(capacity),
            parts: None,
            found: Found::default(),
        }
    }

    pub(crate) fn insert(&mut self, record: Record) -> anyhow::Result<()> {
        if self.records.len() == self.capacity {
            self.found.settle(&mut self.records);
            // Sorting again for the few that were dropped would take for ever.
            if self.records.len() > self.capacity / 2 {
                let parts = match &mut self.parts {
                    Some(parts) => parts,
                    none => none.insert(new_parts(&self.spill)?),
                };
                for record in self.records.drain(..) {
                    parts[record.part(0)].push(record, &mut self.found)?;
                }
            }
        }
        self.records.push(record);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<Found> {
        let Some(mut parts) = self.parts.take() else {
            self.found.settle(&mut self.records);
            return Ok(self.found);
        };
        for record in self.records.drain(..) {
            parts[record.part(0)].push(record, &mut self.found)?;
        }
        self.finish_parts(parts, 1)?;
        self.memory.release();
        Ok(self.found)
    }

    fn finish_parts(&mut self, parts: Vec<Part>, level: u32) -> anyhow::Result<()> {
        let mut files = Vec::with_capacity(parts.len());
        for mut part in parts {
            part.flush(&mut self.found)?;
            files.push((part.file, part.records));
        }
        for (file, records) in files {
            self.finish_file(file, records, level)?;
        }
        Ok(())
    }

    fn finish_file(&mut self, mut file: SpillFile, count: u64, level: u32) -> anyhow::Result<()> {
        file.seek(SeekFrom::Start(0))
            .context("cannot read a spill file")?;
        let mut block = vec![0u8; BUFFERED * RECORD_BYTES];
        let fits = count <= self.capacity as u64;
        let mut parts = if fits {
            Vec::new()
        } else {
            new_parts(&self.spill)?
        };
        self.records.clear();
        let mut left = count;
        let mut offset = 0;
        while left > 0 {
            let n = left.min(BUFFERED as u64) as usize;
            let bytes = &mut block[..n * RECORD_BYTES];
            file.read_exact_at(bytes, offset)
                .context("cannot read a spill file")?;
            offset += bytes.len() as u64;
            left -= n as u64;
            for bytes in bytes.chunks_exact(RECORD_BYTES) {
                let record = Record::from_bytes(bytes);
                if fits {
                    self.records.push(record);
                } else {
                    parts[record.part(level)].push(record, &mut self.found)?;
                }
            }
        }
        drop(file);
        if fits {
            let mut records = std::mem::take(&mut self.records);
            self.found.settle(&mut records);
            self.records = records;
            return Ok(());
        }
        self.finish_parts(parts, level + 1)
    }
}

/// One spill file and its buffer.
struct Part {
    file: SpillFile,
    buffer: Vec<Record>,
    records: u64,
}

fn new_parts(spill: &SpillDir) -> anyhow::Result<Vec<Part>> {
    (0..FAN)
        .map(|_| {
            Ok(Part {
                file: spill.file()?,
                buffer: Vec::with_capacity(BUFFERED),
                records: 0,
            })
        })
        .collect()
}

impl Part {
    fn push(&mut self, record: Record, found: &mut Found) -> anyhow::Result<()> {
        self.buffer.push(record);
        if self.buffer.len() == BUFFERED {
            self.flush(found)
        } else {
            Ok(())
        }
    }

    fn flush(&mut self, found: &mut Found) -> anyhow::Result<()> {
        found.settle(&mut self.buffer);
        let mut bytes = Vec::with_capacity(self.buffer.len() * RECORD_BYTES);
        for record in self.buffer.drain(..) {
            bytes.extend_from_slice(&record.to_bytes());
            self.records += 1;
        }
        let write = |file: &mut SpillFile| -> io::Result<()> { file.write_all(&bytes) };
        write(&mut self.file).context("cannot write a spill file")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use halocline_budget::Pool;
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn unique(keys: &[u64], bytes: u64) -> (Found, u64) {
        let dir = tempfile::tempdir().unwrap();
        let spill = SpillDir::new(dir.path()).unwrap();
        let mut memory = Pool::new(1 << 30).claim("test");
        memory.try_grow(bytes).unwrap();
        let mut unique = Unique::new(memory, spill.clone(), keys.len() as u64);
        for (row, key) in keys.iter().enumerate() {
            unique
                .insert(Record::new(xxh3_128(&key.to_le_bytes()), row as u64))
                .unwrap();
        }
        (unique.finish().unwrap(), spill.written())
    }

    fn expected(keys: &[u64]) -> (u64, Option<u64>) {
        let mut seen = HashSet::new();
        let rows: Vec<_> = keys
            .iter()
            .enumerate()
            .filter(|(_, k)| !seen.insert(**k))
            .map(|(r, _)| r as u64)
            .collect();
        (rows.len() as u64, rows.first().copied())
    }

    #[test]
    fn the_same_answer_in_memory_and_on_disk() {
        let n = 300_000u64;
        let distinct: Vec<u64> = (0..n).collect();
        let twice: Vec<u64> = (0..n).map(|k| k % (n - 7)).collect();
        let equal = vec![5; n as usize];
        let one_often: Vec<u64> = (0..n).map(|k| if k % 2 == 0 { 1 } else { k }).collect();
        for keys in [&distinct, &twice, &equal, &one_often] {
            let (want, first) = expected(keys);
            for bytes in [1 << 28, Unique::LEAST_BYTES, 1] {
                let (found, _) = unique(keys, bytes);
                assert_eq!(
                    (found.duplicates, found.first.map(|f| f.0)),
                    (want, first),
                    "{bytes}"
                );
                if let Some((row, earlier)) = found.first {
                    assert!(earlier < row && keys[earlier as usize] == keys[row as usize]);
                }
            }
        }
        assert_eq!(unique(&distinct, 1 << 28).1, 0);
        assert!(unique(&distinct, Unique::LEAST_BYTES).1 > 0);
        // Two levels of files: more records than one level's files hold at this capacity.
        assert!(unique(&distinct, 1).1 >= 2 * n * RECORD_BYTES as u64);
        // One key again and again never reaches the disk.
        assert_eq!(unique(&equal, Unique::LEAST_BYTES).1, 0);
    }
}
