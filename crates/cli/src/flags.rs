//! The flags every binary takes. Their doc comments are the help text.

use std::path::PathBuf;

use halocline_budget::MemoryLimit;
use tracing_subscriber::filter::LevelFilter;

/// Flags of every halo-* binary; flatten it into a binary's arguments.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Most resident memory the process may ever use, everything included, e.g. 512MiB
    ///
    /// The unit is required (B, KiB, MiB, GiB, TiB, KB, MB, GB, TB). Too little is refused with
    /// the least that works. Default: half of what the machine or its cgroup has, at most 2 GiB.
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<MemoryLimit>,

    /// What to log to stderr: off, error, warn, info, debug or trace, or a tracing filter (`warn,halocline_drive=debug`)
    #[arg(long, value_name = "LEVEL", conflicts_with_all = ["verbose", "quiet"], value_parser = log_level)]
    pub log_level: Option<String>,

    /// Log more: -v debug, -vv trace
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Log less: -q warnings and errors, -qq errors only
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub quiet: u8,

    /// Show no progress bar and log no progress
    #[arg(long)]
    pub no_progress: bool,
}

/// The flag of binaries that spill; flatten it behind [`Common`].
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Spill {
    /// Directory for spill files, on a disk and not a tmpfs
    ///
    /// Default: $TMPDIR when it is set and on a disk, else the directory of the output. Spill
    /// files have no name; nothing is left behind however the process ends.
    #[arg(long, value_name = "DIR")]
    pub tmp_dir: Option<PathBuf>,
}

/// A level or a filter, which to the filter's own parser a misspelt level is too: of a target of that name.
fn log_level(text: &str) -> Result<String, String> {
    for part in text.split(',').filter(|part| !part.contains('=')) {
        if part.parse::<LevelFilter>().is_err() {
            return Err(format!("`{part}` is no level"));
        }
    }
    Ok(text.to_owned())
}

impl Common {
    /// The limit of `--memory-limit`, or the machine's default.
    #[must_use]
    pub fn limit(&self) -> MemoryLimit {
        self.memory_limit
            .unwrap_or_else(MemoryLimit::machine_default)
    }

    /// The tracing filter the flags ask for.
    #[must_use]
    pub fn filter(&self) -> String {
        if let Some(level) = &self.log_level {
            return level.clone();
        }
        let level = match (self.verbose, self.quiet) {
            (0, 0) => "info",
            (1, _) => "debug",
            (2.., _) => "trace",
            (_, 1) => "warn",
            (_, 2..) => "error",
        };
        level.to_owned()
    }
}
