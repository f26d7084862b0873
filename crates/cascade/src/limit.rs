//! What an item weighs, when a stage has enough, and how many rows make a given number of bytes.

/// Heap bytes an item keeps alive. What a stage reserves, and what its limit counts.
pub trait Weigh {
    /// Bytes; an upper bound is fine, a lower bound is not.
    fn bytes(&self) -> u64;
}

impl Weigh for Vec<u8> {
    fn bytes(&self) -> u64 {
        self.capacity() as u64
    }
}

impl Weigh for String {
    fn bytes(&self) -> u64 {
        self.capacity() as u64
    }
}

macro_rules! weigh_plain {
    ($($plain:ty),*) => {$(
        impl Weigh for $plain {
            fn bytes(&self) -> u64 {
                size_of::<$plain>() as u64
            }
        }
    )*};
}
weigh_plain!(u8, u16, u32, u64, u128, usize, i32, i64, f32, f64);

impl<T: Weigh> Weigh for Box<T> {
    fn bytes(&self) -> u64 {
        size_of::<T>() as u64 + T::bytes(self)
    }
}

/// What a stage does with its state when its limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Passes the state on and starts empty. The limit counts the bytes held.
    Flush,
    /// Passes on what it wants and keeps its state; the limit counts the bytes that came since it
    /// last did. The state itself is bounded by the pool.
    Keep,
}

/// A byte target turned into a number of rows, from the bytes per row seen so far.
///
/// The estimate follows a rise at once and a fall slowly, because too many rows cost memory and
/// too few only a little time.
///
/// ```
/// use halocline_cascade::Adaptive;
///
/// let mut rows = Adaptive::new(1 << 20, 100);      // 1 MiB per batch, 100 B per row assumed
/// assert_eq!(rows.rows(), 10_485);
/// rows.observe(10_000, 10_000_000);                // rows were 1,000 B
/// assert_eq!(rows.rows(), 1_048);
/// ```
#[derive(Clone, Debug)]
pub struct Adaptive {
    target_bytes: u64,
    bytes_per_row: f64,
}

impl Adaptive {
    /// Share of the old estimate kept when rows get smaller.
    const INERTIA: f64 = 0.75;

    /// Batches of about `target_bytes`, assuming `bytes_per_row` until rows have been seen.
    #[must_use]
    pub fn new(target_bytes: u64, bytes_per_row: u64) -> Self {
        Self {
            target_bytes,
            bytes_per_row: bytes_per_row.max(1) as f64,
        }
    }

    /// Tells what a batch turned out to be.
    pub fn observe(&mut self, rows: u64, bytes: u64) {
        if rows == 0 {
            return;
        }
        let seen = (bytes as f64 / rows as f64).max(1.0);
        self.bytes_per_row = if seen >= self.bytes_per_row {
            seen
        } else {
            Self::INERTIA * self.bytes_per_row + (1.0 - Self::INERTIA) * seen
        };
    }

    /// Rows for the next batch; at least one.
    #[must_use]
    pub fn rows(&self) -> u64 {
        ((self.target_bytes as f64 / self.bytes_per_row) as u64).max(1)
    }

    /// Bytes per row as now estimated.
    #[must_use]
    pub fn bytes_per_row(&self) -> f64 {
        self.bytes_per_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_followed_at_once_and_a_fall_slowly() {
        let mut adaptive = Adaptive::new(1_000, 10);
        assert_eq!(adaptive.rows(), 100);
        adaptive.observe(10, 10_000);
        assert_eq!(adaptive.rows(), 1);
        adaptive.observe(100, 100);
        assert_eq!(adaptive.rows(), 1);
        for _ in 0..40 {
            adaptive.observe(100, 100);
        }
        assert!(adaptive.rows() > 900);
        adaptive.observe(0, 0);
        assert!(adaptive.bytes_per_row() >= 1.0);
    }

    #[test]
    fn one_row_is_always_allowed() {
        assert_eq!(Adaptive::new(10, 1_000_000).rows(), 1);
    }
}
