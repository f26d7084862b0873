//! What every program says about itself: name and version, examples that fit a terminal, exit codes.

use halocline_tests::{command, run};

const PROGRAMS: [&str; 6] = [
    "halo-split",
    "halo-transform-shard",
    "halo-dedup-merge",
    "halo-validate-parquet",
    "halo-report",
    "halo-drive",
];

fn said(program: &str, arguments: &[&str]) -> String {
    let output = run(command(program).args(arguments));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn name_examples_and_exit_codes() {
    for program in PROGRAMS {
        let version = said(program, &["--version"]);
        assert!(version.starts_with(&format!("{program} 0.")), "{version}");
        let help = said(program, &["--help"]);
        assert!(
            help.contains("Exit codes: 0 ") && help.contains("130/143"),
            "{help}"
        );
        examples(program, &help);
    }
    for subcommand in ["plan", "run", "status", "record", "release"] {
        examples("halo-drive", &said("halo-drive", &[subcommand, "--help"]));
    }
}

/// A line that the terminal wraps in the middle of a command cannot be copied; the continuation of one that is broken by
/// hand is indented further.
fn examples(program: &str, help: &str) {
    let block = help.lines().skip_while(|line| !line.starts_with("Example"));
    let block = block.skip(1).take_while(|line| !line.is_empty());
    let mut continued = false;
    let mut commands = 0;
    for line in block {
        assert!(line.chars().count() <= 80, "{program}: {line}");
        let start = if continued {
            "      "
        } else {
            commands += 1;
            &format!("  {program} ")
        };
        assert!(line.starts_with(start), "{program}: {line}");
        continued = line.ends_with('\\');
    }
    assert!(commands > 0 && !continued, "{program}: {help}");
}
