//! `halo-drive`: see the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    halocline_cli::main(
        "halo-drive",
        halocline_drive::Args::common,
        halocline_drive::on_signal,
        halocline_drive::run,
    )
}
