//! `halo-split`, `halo-transform-shard`, `halo-dedup-merge` and `halo-validate-parquet` as builds that leak: the same
//! libraries under an allocator that gives nothing back. The memory tests run it with the inputs and limits of the real
//! programs (`halocline_tests::memory::leaking`), and it must fail there.
//!
//! The name it is started under says which program it is, so that its arguments are the program's, and the worker process
//! of `halo-transform-shard`, which starts itself again under the same name, is the same program.
//!
//! An example, not a binary: its dependencies are those of the tests alone (dev-dependencies), so that nothing that is
//! shipped, and no other test, reaches RDKit through it.

#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use halocline_cli::Outcome;

/// Takes from where the real programs take (`malloc`, which mimalloc serves) and forgets what it is given back. A block
/// that grows is a new block. RDKit's C++ frees as ever.
struct Leak;

// SAFETY: blocks come from `System` under the caller's own layout, and stay valid for ever.
unsafe impl GlobalAlloc for Leak {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static LEAK: Leak = Leak;

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str());
    match name {
        Some("halo-split") => halocline_cli::main::<halocline_split::Args>(
            "halo-split",
            |args| &args.common,
            || (),
            |args| say(&halocline_split::run(args)?, Outcome::Done),
        ),
        Some("halo-transform-shard") => halocline_cli::main::<halocline_transform_shard::Args>(
            "halo-transform-shard",
            |args| &args.common,
            halocline_transform_shard::stop,
            |args| halocline_transform_shard::run(args, &mut std::io::stdout()),
        ),
        Some("halo-dedup-merge") => halocline_cli::main::<halocline_dedup_merge::Args>(
            "halo-dedup-merge",
            |args| &args.common,
            || (),
            |args| {
                let config = halocline_dedup_merge::Config::from_args(args)?;
                halocline_dedup_merge::run(&config)?;
                Ok(Outcome::Done)
            },
        ),
        Some("halo-validate-parquet") => halocline_cli::main::<halocline_validate_parquet::Args>(
            "halo-validate-parquet",
            |args| &args.common,
            || (),
            |args| {
                let (outcome, text) = halocline_validate_parquet::run(args)?;
                say(&text, outcome)
            },
        ),
        other => panic!("started as {other:?}, which is none of the four programs"),
    }
}

fn say(text: &str, outcome: Outcome) -> anyhow::Result<Outcome> {
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(outcome)
}
