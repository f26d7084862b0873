//! `halo-split`: see the library beside it.

use std::io::Write;
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
            std::io::stdout().lock().write_all(text.as_bytes())?;
            Ok(Outcome::Done)
        },
    )
}
