//! Is the machine short of memory, whoever uses it?
//!
//! The pool keeps this process inside its own limit. This looks at everybody: the machine, or the
//! cgroup when it has a limit. Under pressure stages pass on what they hold and nothing new is
//! started while anything is under way.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use halocline_budget::rss;

/// Share of memory in use above which the machine counts as short.
pub const DEFAULT_SHARE: f64 = 0.8;
/// How often the machine is looked at, at most.
const EVERY: Duration = Duration::from_millis(250);

/// Watches the machine's memory. Shared by reference between threads.
#[derive(Debug)]
pub struct Pressure {
    share: f64,
    probe: fn() -> f64,
    start: Instant,
    /// Milliseconds after `start` when the machine is to be looked at again.
    next_ms: AtomicU64,
    high: AtomicBool,
    events: AtomicU64,
}

impl Default for Pressure {
    fn default() -> Self {
        Self::new(DEFAULT_SHARE)
    }
}

impl Pressure {
    /// High when more than `share` (0 to 1) of the memory of machine or cgroup is in use.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self::with_probe(share, || rss::machine().used_share())
    }

    /// As [`Pressure::new`] with another way to tell the share in use, for tests.
    #[must_use]
    pub fn with_probe(share: f64, probe: fn() -> f64) -> Self {
        Self {
            share,
            probe,
            start: Instant::now(),
            next_ms: AtomicU64::new(0),
            high: AtomicBool::new(false),
            events: AtomicU64::new(0),
        }
    }

    /// Whether memory was short when last looked at; looks again every 250 ms at most.
    pub fn is_high(&self) -> bool {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let next = self.next_ms.load(Ordering::Relaxed);
        let mine = now >= next
            && self
                .next_ms
                .compare_exchange(
                    next,
                    now.saturating_add(EVERY.as_millis() as u64),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if mine {
            let share = (self.probe)();
            let high = share > self.share;
            if high && !self.high.swap(high, Ordering::Relaxed) {
                self.events.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    "{:.0} % of the machine's memory is in use: buffers are passed on, and new work starts one batch at a time",
                    100.0 * share
                );
            }
            self.high.store(high, Ordering::Relaxed);
        }
        self.high.load(Ordering::Relaxed)
    }

    /// How often memory became short.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_follows_the_probe_and_counts_its_rises() {
        let high = Pressure::with_probe(0.8, || 0.9);
        assert!(high.is_high() && high.is_high());
        assert_eq!(high.events(), 1);
        let low = Pressure::with_probe(0.8, || 0.5);
        assert!(!low.is_high());
        assert_eq!(low.events(), 0);
    }
}
