//! Choices at random that can be made again: the seed is `HALOCLINE_SEED`, or the clock's, and it is said.

use crate::number;

/// A small generator of its own (xorshift64; Marsaglia 2003), so that a seed means the same choices for good.
#[derive(Debug)]
pub struct Random {
    state: u64,
    seed: u64,
}

impl Random {
    /// Says the seed on stderr, with what it is for.
    pub fn seeded(what: &str) -> Self {
        let seed = number("HALOCLINE_SEED").unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            u64::from(now.unwrap_or_default().subsec_nanos()) << 20 | 1
        });
        eprintln!("{what}: HALOCLINE_SEED={seed}");
        // From zero it would never get away.
        let state = seed.max(1);
        Self { state, seed }
    }

    /// What `HALOCLINE_SEED` has to be for the same choices.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `n`, which is not zero.
    pub fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        // (the remainder is below a usize)
        usize::try_from(self.state % n as u64).unwrap_or(0)
    }
}
