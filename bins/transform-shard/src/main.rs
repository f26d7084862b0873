//! `halo-transform-shard`: one shard and the rules in scope in, one table of products per rule out.

use std::process::ExitCode;

use halocline_transform_shard::{Args, run, stop};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    halocline_cli::main::<Args>(
        "halo-transform-shard",
        |args| &args.common,
        stop,
        |args| run(args, &mut std::io::stdout()),
    )
}
