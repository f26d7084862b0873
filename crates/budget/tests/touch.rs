//! What is reserved is touched and given back. Alone in its process: it reads the resident set.

use halocline_budget::{Budget, MemoryLimit, rss};

#[test]
fn what_is_reserved_is_touched_and_given_back() {
    const MORE: u64 = 256 << 20;
    // The kernel counts resident pages in batches per processor.
    const COUNTED: u64 = MORE - (2 << 20);
    let start = rss::current_bytes();
    let budget = Budget::start(MemoryLimit::new(4 << 30).unwrap(), 0).unwrap();
    let mut held = budget.pool().claim("all");
    let before = rss::peak_bytes();
    budget.touch_reserved();
    assert!(rss::peak_bytes() < before + MORE / 2);
    held.try_grow(MORE).unwrap();
    budget.touch_reserved();
    assert!(rss::peak_bytes() >= start + COUNTED);
    assert!(rss::current_bytes() < start + MORE / 2);
}
