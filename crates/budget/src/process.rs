//! The promise of the whole process: a memory limit, and the pool that is left of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{ByteSize, MemoryLimit, Pool, allocator, rss};

/// Set aside for what no reservation sees, whatever the limit: code pages touched later, thread
/// stacks, allocator metadata, small allocations.
const FIXED_SLACK: u64 = 10 << 20;
/// Set aside per limit, as one part in so many: size-class rounding and fragmentation grow with
/// what is allocated.
const SLACK_PART: u64 = 24;

/// Bytes of `limit` that the pool leaves alone. Measured 2026-11 with halo-dedup-merge, 5 million
/// rows, limits of 64 to 512 MiB: RSS outside the pool's bytes was 14 to 21 MiB, of which 9 MiB
/// were there at the start.
#[must_use]
pub fn slack(limit: MemoryLimit) -> u64 {
    FIXED_SLACK + limit.bytes() / SLACK_PART
}

/// The memory promise of one process. Cloning gives another handle to the same promise.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: MemoryLimit,
    pool: Pool,
    /// Resident bytes at the start.
    start_bytes: u64,
    max_residual: Arc<AtomicU64>,
}

/// What became of the promise, for a sidecar or a verdict. `Display` is the line for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFigures {
    /// The promise.
    pub limit: ByteSize,
    /// Peak resident set (`VmHWM`).
    pub peak_rss: ByteSize,
    /// Most that was reserved at once.
    pub peak_reserved: ByteSize,
    /// Resident bytes that no reservation accounts for, the most that was seen.
    pub residual: ByteSize,
}

impl fmt::Display for MemoryFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "memory: peak {:#} of {:#}; reserved at most {:#}; residual (RSS minus reserved) at most {:#}",
            self.peak_rss, self.limit, self.peak_reserved, self.residual,
        )
    }
}

/// Why a process cannot start under its limit.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The limit leaves less than the tool cannot do without.
    #[error("a memory limit of {limit} is too little; the least that works here is {least}")]
    TooLittle {
        /// The limit that was asked for.
        limit: MemoryLimit,
        /// The least limit that works.
        least: ByteSize,
    },
}

impl Budget {
    /// Starts the promise: call once, after fixed tables are loaded and before the first large
    /// buffer. `least` is the number of pool bytes the tool cannot do without.
    ///
    /// Also tells the allocator to return freed pages at once.
    ///
    /// # Errors
    /// [`BudgetError::TooLittle`], naming the least limit that works (rounded up to 1 MiB).
    pub fn start(limit: MemoryLimit, least: u64) -> Result<Self, BudgetError> {
        allocator::return_freed_pages_at_once();
        let start_bytes = rss::current_bytes();
        let outside = start_bytes + slack(limit);
        let room = limit.bytes().saturating_sub(outside);
        if room < least {
            return Err(BudgetError::TooLittle {
                limit,
                least: least_limit(least),
            });
        }
        tracing::debug!(
            limit = limit.bytes(),
            pool = room,
            slack = slack(limit),
            "memory budget"
        );
        Ok(Self {
            limit,
            pool: Pool::new(room),
            start_bytes,
            max_residual: Arc::default(),
        })
    }

    /// The pool all large buffers draw on.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The limit of the process.
    #[must_use]
    pub fn limit(&self) -> MemoryLimit {
        self.limit
    }

    /// Resident bytes now that no reservation accounts for.
    #[must_use]
    pub fn residual(&self) -> u64 {
        rss::current_bytes().saturating_sub(self.pool.reserved())
    }

    /// Makes the process once as large as what is reserved now allows; for the moment between
    /// reserving for a long work and beginning it. What the machine or its cgroup cannot give, it
    /// then refuses at once and not after an hour; and the peak is that of the reservations, not of
    /// how often buffers that fill and empty have met at their fullest, which grows with the rows.
    pub fn touch_reserved(&self) {
        let allowed = self.start_bytes + self.pool.reserved();
        allocator::touch(allowed.saturating_sub(rss::current_bytes()));
    }

    /// Looks at the residual and keeps the largest seen; call once per row group or second.
    pub fn observe(&self) {
        self.max_residual
            .fetch_max(self.residual(), Ordering::Relaxed);
    }

    /// The largest residual [`Budget::observe`] has seen.
    #[must_use]
    pub fn max_residual(&self) -> u64 {
        self.max_residual.load(Ordering::Relaxed)
    }

    /// The figures so far, logged (`-v`); for the end of the process's work.
    #[must_use]
    pub fn figures(&self) -> MemoryFigures {
        self.observe();
        let figures = MemoryFigures {
            limit: ByteSize(self.limit.bytes()),
            peak_rss: ByteSize(self.peak_rss_bytes()),
            peak_reserved: ByteSize(self.pool.peak()),
            residual: ByteSize(self.max_residual()),
        };
        tracing::debug!("{figures}");
        figures
    }

    /// Peak resident set of the process so far (`VmHWM`).
    #[must_use]
    pub fn peak_rss_bytes(&self) -> u64 {
        rss::peak_bytes()
    }
}

/// How much more may be resident at the next start: of the program and its libraries what the page cache holds at hand,
/// which after they were built or copied is less (6 MiB more were seen right after linking, halo-transform-shard 2026-11).
const NEXT_START_BYTES: u64 = 8 << 20;

/// The least limit whose room after slack holds `least` bytes, rounded up to 1 MiB, also at the next start.
fn least_limit(least: u64) -> ByteSize {
    const MIB: u64 = 1 << 20;
    let fixed = rss::current_bytes() + NEXT_START_BYTES + FIXED_SLACK + least;
    // limit - limit / SLACK_PART >= fixed
    let limit = fixed + fixed / (SLACK_PART - 1) + 1;
    ByteSize(limit.next_multiple_of(MIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_and_the_rest_fit_the_limit() {
        let limit = MemoryLimit::new(1 << 30).unwrap();
        let budget = Budget::start(limit, 0).unwrap();
        assert!(budget.pool().limit() + slack(limit) < limit.bytes());
        let mut all = budget.pool().claim("all");
        all.try_grow(budget.pool().limit()).unwrap();
        budget.observe();
        assert!(budget.max_residual() < limit.bytes());
    }
}
