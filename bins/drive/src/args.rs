//! Command-line arguments. The doc comments are the help text.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use halocline_budget::MemoryLimit;
use halocline_cli::Common;
use halocline_plan::Step;

/// Run the halocline pipeline without Python: plan it, execute it, resume it, ask how far it is.
///
/// Jobs, files and command lines are those Snakemake runs too; both take them from `plan`.
#[derive(Debug, Parser)]
#[command(
    name = "halo-drive",
    version,
    after_help = "Examples:
  halo-drive run --config configs/pipeline.yaml  # run again to resume
  halo-drive run --cores 16 --memory 16GiB --only 'polyphenol/*OMe'
  halo-drive status                              # while it runs
  halo-drive plan --format table | less -S

Exit codes: 0 done; 1 something asked for is not complete;
2 usage, I/O or limit; 130/143 ended by SIGINT/SIGTERM."
)]
pub struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Plan(PlanArgs),
    Run(RunArgs),
    Status(StatusArgs),
    Record(RecordArgs),
    Release(ReleaseArgs),
}

/// What every subcommand needs to make the job table.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Source {
    /// Configuration of the pipeline
    #[arg(long, value_name = "FILE", default_value = "configs/pipeline.yaml")]
    pub config: PathBuf,

    /// Folder of the halo-* binaries; default: where this one is
    #[arg(long, value_name = "DIR", env = "HALOCLINE_BIN")]
    pub bin_dir: Option<PathBuf>,
}

/// Print the job table
///
/// Every job with its files, command line, limits, and what its content depends on. Reads the
/// configuration, the rules and the content of the input (once; then only its time stamp).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  halo-drive plan | jq -r '.jobs[] | .command | join(\" \")'
  halo-drive plan --format table")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub source: Source,

    /// json (for programs) or table (for people)
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub format: Format,

    /// For engines: say of each job whether it is `complete`, and set aside the records of those that
    /// are not, so that "its record exists" means "it is complete"
    ///
    /// Besides, `why` it is not, whether it `runs`, of a complete job the first file that it read and
    /// that is `gone`, and the text for `release`. A record that was set aside is taken back when it holds again.
    #[arg(long)]
    pub settle: bool,

    #[command(flatten)]
    pub common: Common,
}

/// Run every job that is not complete
///
/// A job is complete when its record, its outputs and their sidecars agree with each other and
/// with what the job would do now; everything else is run, and the reason is logged. A failed job
/// is retried, then left; all jobs that do not depend on it still run.
///
/// Exit 0: everything asked for is complete; 1: something is not, because a job failed, and the last
/// lines say which and why (on a full disk: which file needed how many bytes); 2: it could not be
/// started, or halo-drive itself could not write a log or a record.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  halo-drive run                                     # the whole pipeline
  halo-drive run --dry-run                           # what would run, and why
  halo-drive run --only polyphenol-2X --until merge  # one library
  halo-drive run --only '*/FG_AMINE*' --cores 8 --memory 8GiB")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub source: Source,

    /// Cores that running jobs may use together; default: all
    ///
    /// A job whose step has more threads than that in the configuration runs alone, with all its threads.
    #[arg(long, short = 'c', value_name = "N")]
    pub cores: Option<NonZeroU32>,

    /// Memory that running jobs may promise together; default: half of the machine or its cgroup
    ///
    /// A job counts with its own --memory-limit, which it keeps.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<MemoryLimit>,

    /// Only these: CLASS, CLASS/RULE, LIBRARY or LIBRARY/RULE, with * for any text; repeatable
    ///
    /// What the selected results need is run too; the report is not.
    #[arg(long, value_name = "PATTERN")]
    pub only: Vec<String>,

    /// Run up to this step and not beyond
    #[arg(long, value_name = "STEP")]
    pub until: Option<Step>,

    /// Say what would run, and why, and run nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,

    /// How often a failed job is tried again, never with more memory
    ///
    /// After 1, 4, 16 … seconds. A job that says that the data broke a contract (exit 1) is not
    /// tried again: it would say so again. A job that ends with 2 is: whether it was a full disk, a
    /// file system that was away, or an argument that stays wrong is not to be seen from outside.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub retries: u32,

    /// Start nothing new after a failure; without it everything that can be done is done
    #[arg(long)]
    pub stop_on_error: bool,

    /// Compare the checksums of complete outputs and of the shard tables that are read too, not only their size and time
    ///
    /// What is damaged is made again.
    #[arg(long)]
    pub checksums: bool,

    /// Directory for the spill files of the jobs; default: $TMPDIR when it is on a disk, else where
    /// their output goes
    #[arg(long, value_name = "DIR")]
    pub tmp_dir: Option<PathBuf>,

    #[command(flatten)]
    pub common: Common,
}

/// Say what is complete, running, stale or missing
///
/// Works while `run` is running elsewhere. Exit 0: everything is complete; 1: not yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  halo-drive status            # one line per step
  halo-drive status --jobs     # every job that is not complete, with the reason
  halo-drive status --format json | jq .running")]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub source: Source,

    /// List every job that is not complete
    #[arg(long)]
    pub jobs: bool,

    /// json (for programs) or table (for people)
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Compare the checksums of complete outputs and of the shard tables that are read too, not only their size and time
    #[arg(long)]
    pub checksums: bool,

    #[command(flatten)]
    pub common: Common,
}

/// Record a job that another engine has just completed
///
/// Snakemake calls this after each job's command, so that both engines know what is complete. The
/// outputs must exist and agree with their sidecars.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  halo-drive record \"$(halo-drive plan | jq -r '.jobs[0].record')\"")]
pub(crate) struct RecordArgs {
    /// What to record: the text under `record` in `plan --settle`
    #[arg(value_name = "TEXT")]
    pub text: String,

    #[command(flatten)]
    pub common: Common,
}

/// Remove the shard tables that nothing needs any more
///
/// `run` does it at its end; Snakemake calls this at the end of its own runs, with what its plan says
/// on stdin. Refused while a run is at work: it would remove what that one reads.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  halo-drive plan --settle | jq -r '.jobs[].release // empty' | \\
      halo-drive release")]
pub(crate) struct ReleaseArgs {
    /// The caller holds the lock of the results folder, or went on without where there are no locks
    #[arg(long)]
    pub locked: bool,

    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Table,
}

impl Args {
    /// Flags every halo-* binary has.
    #[must_use]
    pub fn common(&self) -> &Common {
        match &self.command {
            Command::Plan(a) => &a.common,
            Command::Run(a) => &a.common,
            Command::Status(a) => &a.common,
            Command::Record(a) => &a.common,
            Command::Release(a) => &a.common,
        }
    }
}
