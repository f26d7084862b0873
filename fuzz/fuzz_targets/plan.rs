//! Plan files. What is accepted covers the rows of its library from the first to the last, each once, and comes back
//! from its own text.

#![no_main]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what fuzzing looks for"
)]

use halocline_fuzz::{MemoryFile, check_error, within};
use halocline_table::plan_file::{PLAN_SCHEMA, Plan};
use libfuzzer_sys::fuzz_target;

const MOST_MEMORY: usize = 8 << 20;

fuzz_target!(|data: &[u8]| {
    let file = MemoryFile::new(data);
    let plan = match within(MOST_MEMORY, || Plan::read(&file.path())) {
        Ok(plan) => plan,
        Err(error) => return check_error(&error),
    };
    assert_eq!(plan.schema, PLAN_SCHEMA);
    let mut next = 0;
    for (index, shard) in plan.shards.iter().enumerate() {
        assert_eq!(plan.shard(index as u64).expect("its own shard"), shard);
        assert_eq!(shard.rows().start, next);
        assert!(shard.rows().end >= next && shard.cost.is_finite() && shard.cost >= 0.0);
        next = shard.rows().end;
    }
    assert_eq!(next, plan.input_rows);
    for beyond in [plan.shards.len() as u64, u64::MAX] {
        assert!(plan.shard(beyond).is_err());
    }
    let text = serde_json::to_vec_pretty(&plan).expect("a plan is JSON");
    let again = MemoryFile::new(&text);
    assert_eq!(Plan::read(&again.path()).expect("its own text"), plan);
});
