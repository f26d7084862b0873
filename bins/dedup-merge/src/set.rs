//! Sets and maps of 128-bit hashes in little memory: open addressing, linear probing, 16 bytes per
//! slot, split by the first four bits of the hash into parts that grow one at a time.
//!
//! The part is implied by where a hash lies, which frees four bits of its slot for flags; all 128
//! bits are still compared. Growth is reserved before it happens, the old part included.

use halocline_budget::{OutOfBudget, Reservation};

/// Number of parts, from the first [`PART_BITS`] bits of a hash.
pub(crate) const PARTS: usize = 1 << PART_BITS;
const PART_BITS: u32 = 4;

/// Slots are at most this full, in parts of 16: 12.8 probes for a hash that is not there.
const LOAD: (u64, u64) = (13, 16);
const SLOT_BYTES: u64 = size_of::<u128>() as u64;

const USED: u128 = 1;
const MARKED: u128 = 2;
const FLAGS: u128 = USED | MARKED;

/// The part a hash belongs to.
#[inline]
pub(crate) fn part_of(hash: u128) -> usize {
    (hash >> (128 - PART_BITS)) as usize
}

/// Slots for `keys` hashes at the permitted load.
fn slots_for(keys: u64) -> u64 {
    (keys * LOAD.1).div_ceil(LOAD.0) + 1
}

/// Bytes a [`Part`] reserves for so many hashes.
pub(crate) fn part_bytes(keys: u64) -> u64 {
    slots_for(keys) * SLOT_BYTES
}

/// The most of `keys` evenly spread hashes that fall in one of `parts`, five standard deviations
/// up.
pub(crate) fn share(keys: u64, parts: u64) -> u64 {
    let mean = keys.div_ceil(parts);
    (mean + 5 * mean.isqrt() + 16).min(keys)
}

/// What [`Part::find`] says of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is not in the set.
    Absent,
    /// It is, and this is the first time it is found.
    First,
    /// It was found before.
    Again,
}

/// A set of hashes of one part.
#[derive(Debug)]
pub(crate) struct Part {
    slots: Vec<u128>,
    used: u64,
    most: u64,
    held: Reservation,
}

#[inline]
fn stored(hash: u128) -> u128 {
    (hash << PART_BITS) | USED
}

impl Part {
    /// An empty set with room for `keys` hashes before it grows.
    pub(crate) fn new(mut held: Reservation, keys: u64) -> Result<Self, OutOfBudget> {
        let slots = slots_for(keys);
        held.try_resize(slots * SLOT_BYTES)?;
        Ok(Self {
            slots: vec![0; slots as usize],
            used: 0,
            most: most(slots),
            held,
        })
    }

    #[inline]
    fn start(&self, stored: u128) -> usize {
        let high = (stored >> 64) as u64;
        ((u128::from(high) * self.slots.len() as u128) >> 64) as usize
    }

    /// The slot of the hash, or the empty one where it would go.
    #[inline]
    fn slot(&self, stored: u128) -> usize {
        let mut index = self.start(stored);
        loop {
            let slot = self.slots[index];
            if slot == 0 || (slot & !FLAGS) == (stored & !FLAGS) {
                return index;
            }
            index += 1;
            if index == self.slots.len() {
                index = 0;
            }
        }
    }

    /// Touches the first slot of a hash, so that several can be on their way from memory at once.
    #[inline]
    pub(crate) fn touch(&self, hash: u128) -> u64 {
        self.slots[self.start(stored(hash))] as u64
    }

    /// Adds a hash; whether it was new.
    ///
    /// # Errors
    /// [`OutOfBudget`] when the part is full and may not grow; the hash is not added then.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u128) -> Result<bool, OutOfBudget> {
        let stored = stored(hash);
        let mut index = self.slot(stored);
        if self.slots[index] != 0 {
            return Ok(false);
        }
        if self.used >= self.most {
            self.grow()?;
            index = self.slot(stored);
        }
        self.slots[index] = stored;
        self.used += 1;
        Ok(true)
    }

    /// Looks a hash up and marks it as found.
    #[inline]
    pub(crate) fn find(&mut self, hash: u128) -> Found {
        let index = self.slot(stored(hash));
        let slot = &mut self.slots[index];
        if *slot == 0 {
            return Found::Absent;
        }
        if *slot & MARKED != 0 {
            return Found::Again;
        }
        *slot |= MARKED;
        Found::First
    }

    /// Half as many slots again. Both tables are reserved while the hashes move.
    #[cold]
    fn grow(&mut self) -> Result<(), OutOfBudget> {
        let slots = (self.slots.len() as u64 * 3 / 2).max(64);
        self.held.try_grow(slots * SLOT_BYTES)?;
        let old = std::mem::replace(&mut self.slots, vec![0; slots as usize]);
        self.most = most(slots);
        for stored in old.iter().filter(|slot| **slot != 0) {
            let index = self.slot(*stored);
            self.slots[index] = *stored;
        }
        let freed = old.len() as u64 * SLOT_BYTES;
        drop(old);
        self.held.shrink(freed);
        Ok(())
    }

    /// Hashes in it.
    pub(crate) fn len(&self) -> u64 {
        self.used
    }
}

fn most(slots: u64) -> u64 {
    slots * LOAD.0 / LOAD.1
}

/// Ordinal of a slot that holds nothing.
const EMPTY: u64 = u64::MAX;

/// A map from hash to the smallest ordinal it was given; 24 bytes per slot.
#[derive(Debug)]
pub(crate) struct FirstOrdinals {
    slots: Vec<u128>,
    ordinals: Vec<u64>,
    used: u64,
    most: u64,
    held: Reservation,
}

/// Bytes [`FirstOrdinals`] reserves for so many hashes.
pub(crate) fn ordinals_bytes(keys: u64) -> u64 {
    slots_for(keys) * (SLOT_BYTES + 8)
}

impl FirstOrdinals {
    /// Room for `keys` hashes; `held` must cover [`ordinals_bytes`].
    pub(crate) fn new(mut held: Reservation, keys: u64) -> Result<Self, OutOfBudget> {
        held.try_resize(ordinals_bytes(keys))?;
        let slots = slots_for(keys);
        Ok(Self {
            slots: vec![0; slots as usize],
            ordinals: vec![EMPTY; slots as usize],
            used: 0,
            most: most(slots),
            held,
        })
    }

    fn slot(&self, hash: u128) -> usize {
        // The high half chose the partition, so the low half places the hash within it.
        let low = hash as u64;
        let mut index = ((u128::from(low) * self.slots.len() as u128) >> 64) as usize;
        while self.ordinals[index] != EMPTY && self.slots[index] != hash {
            index += 1;
            if index == self.slots.len() {
                index = 0;
            }
        }
        index
    }

    /// Notes a row; returns the ordinal of a row that is thereby known to be a duplicate, this one
    /// or one noted before.
    ///
    /// # Errors
    /// [`OutOfBudget`] when the map is full and may not grow; the row is not noted then.
    pub(crate) fn note(&mut self, hash: u128, ordinal: u64) -> Result<Option<u64>, OutOfBudget> {
        assert!(ordinal != EMPTY, "an ordinal marks empty slots");
        let mut index = self.slot(hash);
        if self.ordinals[index] != EMPTY {
            let first = &mut self.ordinals[index];
            let later = ordinal.max(*first);
            *first = ordinal.min(*first);
            return Ok(Some(later));
        }
        if self.used >= self.most {
            self.grow()?;
            index = self.slot(hash);
        }
        self.slots[index] = hash;
        self.ordinals[index] = ordinal;
        self.used += 1;
        Ok(None)
    }

    #[cold]
    fn grow(&mut self) -> Result<(), OutOfBudget> {
        let slots = (self.slots.len() as u64 * 3 / 2).max(64);
        self.held.try_grow(slots * (SLOT_BYTES + 8))?;
        let old = std::mem::replace(&mut self.slots, vec![0; slots as usize]);
        let ordinals = std::mem::replace(&mut self.ordinals, vec![EMPTY; slots as usize]);
        self.most = most(slots);
        for (hash, ordinal) in old.iter().zip(&ordinals).filter(|(_, o)| **o != EMPTY) {
            let index = self.slot(*hash);
            self.slots[index] = *hash;
            self.ordinals[index] = *ordinal;
        }
        let freed = old.len() as u64 * (SLOT_BYTES + 8);
        drop((old, ordinals));
        self.held.shrink(freed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use halocline_budget::Pool;
    use proptest::prelude::*;

    use super::*;

    fn hash(n: u64) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes())
    }

    #[test]
    fn growth_is_reserved_and_refused_growth_loses_nothing() {
        let pool = Pool::new(100_000);
        let mut part = Part::new(pool.claim("set"), 10).unwrap();
        let in_part: Vec<u128> = (0..200_000)
            .map(hash)
            .filter(|h| part_of(*h) == 3)
            .collect();
        let mut added = 0;
        let mut refused = false;
        for hash in &in_part {
            match part.insert(*hash) {
                Ok(true) => added += 1,
                Ok(false) => panic!("all are different"),
                Err(error) => {
                    assert_eq!(error.who, "set");
                    refused = true;
                    break;
                }
            }
            assert!(pool.reserved() >= part.slots.len() as u64 * SLOT_BYTES);
        }
        assert!(refused && added > 1_000, "{added}");
        assert_eq!(part.len(), added);
        for hash in in_part.iter().take(added as usize) {
            assert_eq!(part.find(*hash), Found::First);
            assert_eq!(part.find(*hash), Found::Again);
        }
        assert_eq!(part.find(in_part[added as usize]), Found::Absent);
        assert!(pool.peak() <= 100_000);
        drop(part);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn the_flags_are_no_part_of_a_hash() {
        let pool = Pool::new(1 << 20);
        let mut part = Part::new(pool.claim("set"), 8).unwrap();
        // All eight differ in the last three bits only, and zero is one of them.
        for n in 0..8_u128 {
            assert!(part.insert(n).unwrap(), "{n}");
            assert!(!part.insert(n).unwrap(), "{n}");
        }
        for n in 0..8_u128 {
            assert_eq!(part.find(n), Found::First);
            assert_eq!(part.find(n | 8), Found::Absent);
        }
    }

    proptest! {
        #[test]
        fn a_part_is_a_set(keys in proptest::collection::vec(0_u64..200, 0..400)) {
            let pool = Pool::new(1 << 20);
            let mut parts: Vec<Part> =
                (0..PARTS).map(|_| Part::new(pool.claim("set"), 0).unwrap()).collect();
            let mut model = BTreeSet::new();
            for key in keys {
                let hash = hash(key);
                prop_assert_eq!(parts[part_of(hash)].insert(hash).unwrap(), model.insert(key));
            }
            let used: u64 = parts.iter().map(Part::len).sum();
            prop_assert_eq!(used, model.len() as u64);
        }

        /// In any order of arrival, all rows but the first of each key are named exactly once.
        #[test]
        fn all_but_the_first_are_named(
            rows in proptest::collection::vec(0_u64..50, 0..300),
            seed in any::<u64>(),
        ) {
            let pool = Pool::new(1 << 20);
            let mut map = FirstOrdinals::new(pool.claim("map"), 4).unwrap();
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|i| hash(*i as u64 ^ seed));
            let mut dropped = Vec::new();
            for index in order {
                dropped.extend(map.note(hash(rows[index]), index as u64).unwrap());
            }
            dropped.sort_unstable();
            let mut first = BTreeMap::new();
            let mut want = Vec::new();
            for (index, key) in rows.iter().enumerate() {
                if *first.entry(key).or_insert(index) != index {
                    want.push(index as u64);
                }
            }
            prop_assert_eq!(dropped, want);
        }
    }

    #[test]
    fn shares_are_upper_bounds() {
        assert_eq!(share(0, 16), 0);
        assert_eq!(share(10, 16), 10);
        assert!(share(1_600_000, 16) > 100_000 && share(1_600_000, 16) < 103_000);
    }
}
