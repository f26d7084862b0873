//! `halo-validate-parquet`: see the library beside it.

use std::process::ExitCode;

use halocline_validate_parquet::{Args, run, stop};

fn main() -> ExitCode {
    halocline_cli::main::<Args>(
        "halo-validate-parquet",
        |args| &args.common,
        stop,
        |args| {
            let (outcome, text) = run(args)?;
            halocline_cli::print(&text)?;
            Ok(outcome)
        },
    )
}
