//! One pool of bytes, and the named reservations that share it.
//!
//! The pool counts promises, not allocations: a claimant reserves before it allocates, and gives
//! back after it has freed. It is locked once per batch or buffer, never per row.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ByteSize;

/// A fixed number of bytes shared by named [`Reservation`]s. Cloning gives another handle.
///
/// Invariant: the sum of all live reservations never exceeds [`Pool::limit`].
#[derive(Clone, Debug)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reserved: u64,
    peak: u64,
    next_id: u64,
    holders: BTreeMap<u64, (Arc<str>, u64)>,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // The counters are consistent after every statement that holds the lock, so a panic
        // elsewhere does not make them wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool refused to grow a reservation: who asked, for how much, and what is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{who}` asked for {asked:#} more and holds {held:#}, but only {available:#} of {limit:#} are free",
    asked = ByteSize(*asked), held = ByteSize(*held), available = ByteSize(*available),
    limit = ByteSize(*limit)
)]
pub struct OutOfBudget {
    /// Name of the claimant.
    pub who: String,
    /// Bytes asked for on top of what it holds.
    pub asked: u64,
    /// Bytes it holds.
    pub held: u64,
    /// Bytes nobody holds.
    pub available: u64,
    /// Bytes of the whole pool.
    pub limit: u64,
}

impl Pool {
    /// A pool of so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                limit: bytes,
                state: Mutex::default(),
            }),
        }
    }

    /// A new reservation of zero bytes under this name.
    #[must_use]
    pub fn claim(&self, name: &str) -> Reservation {
        self.enter(Arc::from(name), 0)
    }

    fn enter(&self, name: Arc<str>, bytes: u64) -> Reservation {
        let mut state = self.inner.state();
        let id = state.next_id;
        state.next_id += 1;
        state.holders.insert(id, (Arc::clone(&name), bytes));
        drop(state);
        Reservation {
            pool: self.clone(),
            id,
            name,
            bytes,
        }
    }

    /// Bytes of the whole pool.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.inner.limit
    }

    /// Bytes now held by reservations.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.inner.state().reserved
    }

    /// Bytes nobody holds.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.inner.limit - self.reserved()
    }

    /// The most bytes ever held at one time.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.inner.state().peak
    }

    /// Live claimants and their bytes, summed by name, largest first.
    #[must_use]
    pub fn holders(&self) -> Vec<(String, u64)> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (name, bytes) in self.inner.state().holders.values() {
            *sums.entry(name.to_string()).or_default() += bytes;
        }
        let mut holders: Vec<_> = sums.into_iter().collect();
        holders.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        holders
    }
}

/// Bytes held by one named claimant; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    pool: Pool,
    id: u64,
    name: Arc<str>,
    bytes: u64,
}

impl Reservation {
    /// Name of the claimant.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The pool it draws on.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes `more` bytes from the pool.
    ///
    /// # Errors
    /// [`OutOfBudget`] when fewer are free; nothing changes then.
    pub fn try_grow(&mut self, more: u64) -> Result<(), OutOfBudget> {
        let mut state = self.pool.inner.state();
        let available = self.pool.inner.limit - state.reserved;
        if more > available {
            return Err(OutOfBudget {
                who: self.name.to_string(),
                asked: more,
                held: self.bytes,
                available,
                limit: self.pool.inner.limit,
            });
        }
        state.reserved += more;
        state.peak = state.peak.max(state.reserved);
        self.bytes += more;
        self.note(&mut state);
        Ok(())
    }

    /// Makes the reservation hold exactly `bytes`.
    ///
    /// # Errors
    /// [`OutOfBudget`] when it would have to grow by more than is free; nothing changes then.
    pub fn try_resize(&mut self, bytes: u64) -> Result<(), OutOfBudget> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.try_grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }

    /// Gives `less` bytes back.
    ///
    /// # Panics
    /// When more would be given back than is held: the accounts are wrong then.
    pub fn shrink(&mut self, less: u64) {
        assert!(
            less <= self.bytes,
            "`{}` gives back {less} of {} bytes",
            self.name,
            self.bytes
        );
        let mut state = self.pool.inner.state();
        state.reserved -= less;
        self.bytes -= less;
        self.note(&mut state);
    }

    /// Gives everything back and stays usable.
    pub fn release(&mut self) {
        self.shrink(self.bytes);
    }

    /// Splits `bytes` off into a reservation of its own, under the same name.
    ///
    /// # Panics
    /// When more is asked for than is held.
    #[must_use]
    pub fn take(&mut self, bytes: u64) -> Reservation {
        assert!(
            bytes <= self.bytes,
            "`{}` splits {bytes} off {} bytes",
            self.name,
            self.bytes
        );
        self.bytes -= bytes;
        self.note(&mut self.pool.inner.state());
        self.pool.enter(Arc::clone(&self.name), bytes)
    }

    /// Takes over all bytes of another reservation of the same pool.
    ///
    /// # Panics
    /// When `other` draws on another pool.
    pub fn absorb(&mut self, mut other: Reservation) {
        assert!(
            Arc::ptr_eq(&self.pool.inner, &other.pool.inner),
            "`{}` and `{}` draw on different pools",
            self.name,
            other.name
        );
        self.bytes += std::mem::take(&mut other.bytes);
        self.note(&mut self.pool.inner.state());
    }

    fn note(&self, state: &mut State) {
        if let Some(holder) = state.holders.get_mut(&self.id) {
            holder.1 = self.bytes;
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.pool.inner.state();
        state.reserved -= self.bytes;
        state.holders.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_refusal_says_who_asked_and_what_is_left() {
        let pool = Pool::new(10 << 20);
        let mut held = pool.claim("row group");
        held.try_grow(8 << 20).unwrap();
        let mut hashes = pool.claim("hash table");
        let error = hashes.try_grow(4 << 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`hash table` asked for 4.0 MiB more and holds 0 B, but only 2.0 MiB of 10.0 MiB are free"
        );
        assert_eq!(hashes.bytes(), 0);
        assert_eq!(pool.holders()[0], ("row group".to_owned(), 8 << 20));
    }

    #[test]
    #[should_panic(expected = "gives back")]
    fn giving_back_more_than_held_is_a_bug() {
        Pool::new(10).claim("x").shrink(1);
    }

    #[test]
    fn a_reservation_takes_over_another() {
        let pool = Pool::new(10);
        let mut a = pool.claim("a");
        let mut b = pool.claim("b");
        a.try_grow(3).unwrap();
        b.try_grow(4).unwrap();
        a.absorb(b);
        assert_eq!((a.bytes(), pool.reserved()), (7, 7));
        assert_eq!(pool.holders(), [("a".to_owned(), 7)]);
    }

    #[test]
    fn threads_never_pass_the_limit_together() {
        let pool = Pool::new(1_000);
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let pool = pool.clone();
                scope.spawn(move || {
                    let mut held = pool.claim(&format!("thread {thread}"));
                    for step in 0..2_000_u64 {
                        let _ = held.try_grow((step * 7 + thread) % 301);
                        assert!(pool.reserved() <= pool.limit());
                        if step % 3 == 0 {
                            held.release();
                        }
                    }
                });
            }
        });
        assert_eq!(pool.reserved(), 0);
        assert!(pool.holders().is_empty());
        assert!(pool.peak() <= 1_000 && pool.peak() > 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Claim,
        Grow(usize, u64),
        Resize(usize, u64),
        Take(usize, u64),
        Drop(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            Just(Step::Claim),
            (any::<usize>(), 0_u64..700).prop_map(|(i, b)| Step::Grow(i, b)),
            (any::<usize>(), 0_u64..700).prop_map(|(i, b)| Step::Resize(i, b)),
            (any::<usize>(), 0_u64..700).prop_map(|(i, b)| Step::Take(i, b)),
            any::<usize>().prop_map(Step::Drop),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        /// Whatever claimants do: the pool's sum is the sum of what they hold, never over the
        /// limit, a refusal changes nothing, and all of it comes back.
        #[test]
        fn accounts_balance(steps in steps(), limit in 0_u64..2_000) {
            let pool = Pool::new(limit);
            let mut held: Vec<Reservation> = Vec::new();
            let mut peak = 0;
            for step in steps {
                let pick = |i: usize, n: usize| if n == 0 { None } else { Some(i % n) };
                match step {
                    Step::Claim => held.push(pool.claim("a")),
                    Step::Grow(i, b) => if let Some(i) = pick(i, held.len()) {
                        let free = pool.available();
                        let before = held[i].bytes();
                        let result = held[i].try_grow(b);
                        prop_assert_eq!(result.is_ok(), b <= free);
                        prop_assert_eq!(held[i].bytes(), if b <= free { before + b } else { before });
                    },
                    Step::Resize(i, b) => if let Some(i) = pick(i, held.len()) {
                        let room = pool.available() + held[i].bytes();
                        prop_assert_eq!(held[i].try_resize(b).is_ok(), b <= room);
                    },
                    Step::Take(i, b) => if let Some(i) = pick(i, held.len()) {
                        let b = b.min(held[i].bytes());
                        let part = held[i].take(b);
                        prop_assert_eq!(part.bytes(), b);
                        held.push(part);
                    },
                    Step::Drop(i) => if let Some(i) = pick(i, held.len()) { held.swap_remove(i); },
                }
                let sum: u64 = held.iter().map(Reservation::bytes).sum();
                peak = peak.max(sum);
                prop_assert_eq!(pool.reserved(), sum);
                prop_assert_eq!(pool.holders().iter().map(|h| h.1).sum::<u64>(), sum);
                prop_assert!(sum <= limit);
            }
            prop_assert_eq!(pool.peak(), peak);
            drop(held);
            prop_assert_eq!(pool.reserved(), 0);
        }
    }
}
