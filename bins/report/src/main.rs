//! `halo-report`: what the pipeline made, for people and for scripts.

use std::process::ExitCode;

use halocline_cli::Outcome;
use halocline_report::{Args, run};

fn main() -> ExitCode {
    halocline_cli::main::<Args>(
        "halo-report",
        |args| &args.common,
        || (),
        |args| {
            let totals = run(&args)?;
            halocline_cli::print(&totals)?;
            Ok(Outcome::Done)
        },
    )
}
