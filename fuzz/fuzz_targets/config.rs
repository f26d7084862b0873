//! The pipeline's configuration. What is accepted has names and paths that mean themselves in a shell, in a Snakemake
//! pattern and as a file name, and counts within their limits.

#![no_main]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what fuzzing looks for"
)]

use halocline_fuzz::{MemoryFile, check_error, is_plain_file_name, within};
use halocline_plan::config::{MAX_DEPTH, MAX_SHARDS};
use halocline_plan::{Config, Step};
use libfuzzer_sys::fuzz_target;

const MOST_MEMORY: usize = 32 << 20;

fuzz_target!(|data: &[u8]| {
    let file = MemoryFile::new(data);
    let config = match within(MOST_MEMORY, || Config::load(file.path())) {
        Ok(config) => config,
        Err(error) => return check_error(&error),
    };
    assert!(!config.classes.is_empty() && !config.depths.is_empty());
    for (place, class) in config.classes.iter().enumerate() {
        assert!(is_plain_file_name(class), "{class:?}");
        assert!(!config.classes[..place].contains(class), "{class:?} twice");
    }
    assert!(config.depths.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(config.depths.iter().all(|d| (1..=MAX_DEPTH).contains(d)));

    let input = config.input.as_ref().map(|input| &input.path);
    let fixed = [&config.results, &config.halogens, &config.transforms];
    let libraries = config.libraries.values();
    for path in fixed.into_iter().chain(input).chain(libraries) {
        let text = path.to_str().expect("YAML is UTF-8");
        assert!(!text.is_empty() && !text.starts_with('-'), "{text:?}");
        let bad = |c: char| c.is_control() || "{}*?\"'\\$`".contains(c);
        assert!(!text.contains(bad), "{text:?}");
    }
    for (class, depth) in config.libraries.keys() {
        assert!(config.classes.contains(class) && config.depths.contains(depth));
    }
    for batches in [&config.halogenate, &config.transform] {
        let counts = [batches.shards, batches.shards_per_batch];
        for count in counts.iter().chain(batches.shards_for.values()) {
            assert!((1..=MAX_SHARDS).contains(count));
        }
        for column in &batches.keep {
            assert!(!column.is_empty() && !column.starts_with('-') && !column.contains(','));
        }
    }
    for step in Step::ALL {
        let limits = config.limits(step).expect("a limit for every step");
        assert!(limits.memory.bytes() > 0 && limits.threads > 0 && limits.runtime_minutes > 0);
    }
});
