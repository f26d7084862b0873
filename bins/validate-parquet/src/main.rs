//! `halo-validate-parquet`: see the library beside it.

use std::io::Write;
use std::process::ExitCode;

use halocline_validate_parquet::{Args, run, stop};

fn main() -> ExitCode {
    halocline_cli::main::<Args>(
        "halo-validate-parquet",
        |args| &args.common,
        stop,
        |args| {
            let (outcome, text) = run(args)?;
            std::io::stdout().lock().write_all(text.as_bytes())?;
            Ok(outcome)
        },
    )
}
