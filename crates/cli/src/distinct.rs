//! How many different keys a table has, estimated in 4 KiB: a HyperLogLog whose registers travel
//! in the sidecars, so that the merge can unite them before it reads a row.
//!
//! Flajolet, Fusy, Gandouet, Meunier 2007, with the linear counting correction; 64-bit hashes need
//! no large-range correction. Why not `probabilistic-collections` 0.7: its `len` divides where the
//! paper multiplies (`1 / (alpha m^2 sum)`), so every estimate falls back to linear counting and
//! is infinite once no register is empty (found 2026-11 by reading; `p` is also taken from the
//! natural logarithm); and its registers cannot be written out.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Register index bits: 2^12 registers, standard error 1.04 / sqrt(4096) = 1.6 %.
const BITS: u32 = 12;
const REGISTERS: usize = 1 << BITS;

/// An estimator of the number of distinct keys. Order and repetition of inserts do not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct {
    registers: Box<[u8]>,
}

impl Default for Distinct {
    fn default() -> Self {
        Self {
            registers: vec![0; REGISTERS].into_boxed_slice(),
        }
    }
}

impl Distinct {
    /// Standard error of [`Distinct::estimate`], as a share.
    pub const STANDARD_ERROR: f64 = 0.016_25;

    /// Counts a key by its hash; all 64 bits must be well mixed (the low half of an xxh3-128 is).
    #[inline]
    pub fn insert(&mut self, hash: u64) {
        let index = (hash >> (64 - BITS)) as usize;
        let rank = ((hash << BITS) | (1 << (BITS - 1))).leading_zeros() as u8 + 1;
        let register = &mut self.registers[index];
        *register = (*register).max(rank);
    }

    /// Makes this the estimator of both sets together.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Estimated number of distinct keys.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let alpha = 0.7213 / (1.0 + 1.079 / m);
        let sum: f64 = self.registers.iter().map(|&r| (-f64::from(r)).exp2()).sum();
        let raw = alpha * m * m / sum;
        let empty = self.registers.iter().filter(|&&r| r == 0).count();
        let estimate = if raw <= 2.5 * m && empty > 0 {
            m * (m / empty as f64).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }

    /// The registers as two hexadecimal digits each.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(2 * REGISTERS);
        for register in &self.registers {
            // Writing to a String does not fail.
            let _ = write!(text, "{register:02x}");
        }
        text
    }

    /// Reads what [`Distinct::to_hex`] wrote; `None` when it is anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * REGISTERS {
            return None;
        }
        let digit = |d: u8| (d as char).to_digit(16).map(|d| d as u8);
        let registers = digits
            .chunks_exact(2)
            .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
            .collect::<Option<Box<[u8]>>>()?;
        let most = (64 - BITS + 1) as u8;
        registers
            .iter()
            .all(|&r| r <= most)
            .then_some(Self { registers })
    }
}

impl Serialize for Distinct {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text)
            .ok_or_else(|| de::Error::custom("not the hexadecimal registers of an estimator"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// splitmix64: a stand-in for a good hash.
    fn hash(n: u64) -> u64 {
        let mut z = n
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn estimates_are_within_five_standard_errors() {
        for n in [0, 1, 10, 500, 3_000, 10_000, 12_000, 100_000, 3_000_000_u64] {
            let mut distinct = Distinct::default();
            for i in 0..n {
                distinct.insert(hash(i));
                distinct.insert(hash(i / 2));
            }
            let error = (distinct.estimate() as f64 - n as f64).abs();
            assert!(
                error <= 5.0 * Distinct::STANDARD_ERROR * n as f64,
                "{n}: {error}"
            );
        }
    }

    #[test]
    fn merging_is_counting_together_and_text_comes_back() {
        let (mut a, mut b, mut both) = (
            Distinct::default(),
            Distinct::default(),
            Distinct::default(),
        );
        for i in 0..20_000 {
            a.insert(hash(i));
            b.insert(hash(i + 10_000));
            both.insert(hash(i));
            both.insert(hash(i + 10_000));
        }
        a.merge(&b);
        assert_eq!(a, both);
        assert_eq!(Distinct::from_hex(&a.to_hex()), Some(a.clone()));
        assert_eq!(Distinct::from_hex("00"), None);
        assert_eq!(Distinct::from_hex(&"ff".repeat(REGISTERS)), None);
    }
}
