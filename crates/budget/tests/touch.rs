//! What is reserved is touched and given back. Alone in its process: it reads the resident set.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_budget::{Budget, MemoryLimit, rss};

#[test]
fn what_is_reserved_is_touched_and_given_back() {
    const MORE: u64 = 256 << 20;
    let start = rss::current_bytes();
    let budget = Budget::start(MemoryLimit::new(4 << 30).unwrap(), 0).unwrap();
    let mut held = budget.pool().claim("all");
    let before = rss::peak_bytes();
    budget.touch_reserved();
    assert!(rss::peak_bytes() < before + MORE / 2);
    held.try_grow(MORE).unwrap();
    budget.touch_reserved();
    assert!(rss::peak_bytes() >= start + MORE);
    assert!(rss::current_bytes() < start + MORE / 2);
}
