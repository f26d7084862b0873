//! A split-block Bloom filter: eight bits of a hash, one in each word of one cache line (Putze,
//! Sanders, Singler 2007). One memory access per key; at 12 bits per key about 0.6 % of new keys
//! seem to be there already, which costs 20 bytes each and no row.
//!
//! `probabilistic-collections` 0.7 has a Bloom filter too; it hashes each item anew with
//! SipHash and touches a cache line per bit, where the hash here is the key's own and is at hand.
//! Asking and adding 20 million 128-bit hashes at 12 bits a key took 99 ns a key here and 1,067 ns
//! there; 0.07 % and 0.04 % of the new keys seemed to be there already, the filling filter's mean
//! (2026-11-20, two busy cores, the best of three runs of each).

use halocline_budget::{OutOfBudget, Reservation};

const BLOCK_WORDS: usize = 8;
const BLOCK_BYTES: u64 = 64;

/// Bits per expected key.
pub(crate) const BITS_PER_KEY: u64 = 12;

/// Bytes of a filter for so many keys.
pub(crate) fn bloom_bytes(keys: u64) -> u64 {
    (keys * BITS_PER_KEY).div_ceil(8 * BLOCK_BYTES).max(1) * BLOCK_BYTES
}

#[derive(Debug)]
pub(crate) struct Bloom {
    words: Vec<[u64; BLOCK_WORDS]>,
    _held: Reservation,
}

impl Bloom {
    /// An empty filter for `keys` keys.
    pub(crate) fn new(mut held: Reservation, keys: u64) -> Result<Self, OutOfBudget> {
        let bytes = bloom_bytes(keys);
        held.try_resize(bytes)?;
        let blocks = (bytes / BLOCK_BYTES) as usize;
        Ok(Self {
            words: vec![[0; BLOCK_WORDS]; blocks],
            _held: held,
        })
    }

    #[inline]
    fn block(&self, hash: u128) -> usize {
        let low = hash as u64;
        ((u128::from(low) * self.words.len() as u128) >> 64) as usize
    }

    /// Touches the cache line of a hash, so that several can be on their way at once.
    #[inline]
    pub(crate) fn touch(&self, hash: u128) -> u64 {
        self.words[self.block(hash)][0]
    }

    /// Adds a hash; whether it may have been there before. Never says no wrongly.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u128) -> bool {
        let block = self.block(hash);
        // The low half chooses the block; the high half, below the bits that choose a part, the
        // bits.
        let mut bits = (hash >> 64) as u64;
        let mut missing = 0;
        for word in &mut self.words[block] {
            let bit = 1_u64 << (bits & 63);
            bits >>= 6;
            missing |= !*word & bit;
            *word |= bit;
        }
        missing == 0
    }
}

#[cfg(test)]
mod tests {
    use halocline_budget::Pool;

    use super::*;

    #[test]
    fn no_key_is_forgotten_and_few_are_imagined() {
        let hash = |n: u64| xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes());
        let pool = Pool::new(1 << 24);
        let keys = 400_000;
        let mut bloom = Bloom::new(pool.claim("bloom"), keys).unwrap();
        let imagined = (0..keys).filter(|n| bloom.insert(hash(*n))).count();
        assert!((0..keys).all(|n| bloom.insert(hash(n))));
        assert!(imagined < keys as usize / 200, "{imagined}");
        assert_eq!(pool.reserved(), bloom_bytes(keys));
    }
}
