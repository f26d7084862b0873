//! Sidecars. What is accepted has lost no row, can be summed over shards without overflow, and comes back from its own
//! text.

#![no_main]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what fuzzing looks for"
)]

use halocline_cli::distinct::Distinct;
use halocline_cli::sidecar::{SCHEMA, Sidecar};
use halocline_fuzz::{MemoryFile, check_error, within};
use libfuzzer_sys::fuzz_target;

const MOST_MEMORY: usize = 8 << 20;
/// As many shards as a library can have (`halocline_plan::config::MAX_SHARDS`).
const MOST_SHARDS: u64 = 99_999;

fuzz_target!(|data: &[u8]| {
    let file = MemoryFile::new(data);
    let sidecar = match within(MOST_MEMORY, || Sidecar::read(&file.path())) {
        Ok(sidecar) => sidecar,
        Err(error) => return check_error(&error),
    };
    assert_eq!(sidecar.schema, SCHEMA);
    let rejected: u64 = sidecar.rows_rejected.values().sum();
    assert_eq!(sidecar.rows_in, sidecar.rows_done + rejected, "a lost row");
    let single = [sidecar.rows_in, sidecar.rows_out, sidecar.duplicates];
    for count in single.iter().chain(sidecar.counts.values()) {
        assert!(count.checked_mul(MOST_SHARDS).is_some(), "{count} rows");
    }
    if let Some(distinct) = &sidecar.hll {
        assert_eq!(
            Distinct::from_hex(&distinct.to_hex()).as_ref(),
            Some(distinct)
        );
        let mut twice = distinct.clone();
        twice.merge(distinct);
        assert_eq!(twice.estimate(), distinct.estimate());
    }
    let text = serde_json::to_vec_pretty(&sidecar).expect("a sidecar is JSON");
    let again = MemoryFile::new(&text);
    assert_eq!(Sidecar::read(&again.path()).expect("its own text"), sidecar);
});
