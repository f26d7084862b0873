//! The probes of the process, in a process of their own: other tests allocate too.

use halocline_budget::rss::{current_bytes, peak_bytes};

#[test]
fn touched_memory_shows_and_the_peak_stays() {
    let before = current_bytes();
    let block = vec![1_u8; 64 << 20];
    let during = current_bytes();
    assert!(
        during >= before + (60 << 20),
        "{before} {during} {}",
        block[77]
    );
    drop(block);
    assert!(peak_bytes() >= during);
}
