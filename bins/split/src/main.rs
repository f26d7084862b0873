//! `halo-split`: see the library beside it.

use std::process::ExitCode;

use halocline_cli::Outcome;
use halocline_split::{Args, run};

fn main() -> ExitCode {
    halocline_cli::main::<Args>(
        "halo-split",
        |args| &args.common,
        || (),
        |args| {
            let text = run(args)?;
            halocline_cli::print(&text)?;
            Ok(Outcome::Done)
        },
    )
}
