//! Glue of halo-dedup-merge: see the library for what it does.

use std::process::ExitCode;

use halocline_cli::Outcome;
use halocline_dedup_merge::{Args, Config, MergeError, NAME, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    halocline_cli::main(
        NAME,
        |args: &Args| &args.common,
        || (),
        |args| match Config::from_args(args).and_then(|config| run(&config)) {
            Ok(_) => Ok(Outcome::Done),
            Err(MergeError::Broken(what)) => Ok(Outcome::Broken(what)),
            Err(error) => Err(error.into()),
        },
    )
}
