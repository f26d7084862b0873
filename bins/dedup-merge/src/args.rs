//! What was typed ([`Args`]) and what is true ([`Config`]).

use std::path::{Path, PathBuf};

use halocline_budget::MemoryLimit;
use halocline_cli::{Common, Spill, refuse_overwrite};

use crate::MergeError;
use crate::shards::find_shards;

/// Merges the shards of one job, in order, into one table without duplicates
///
/// Of rows with the same key the first is kept. The answer is exact (128-bit hashes of the key are
/// compared) whatever the memory limit, and the bytes written depend on the rows alone: not on
/// --threads, --strategy, --memory-limit, or how the rows were spread over shards.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "halo-dedup-merge",
    version = halocline_cli::version(""),
    after_help = "Examples:
  halo-dedup-merge shard-*/OME.parquet --out products.parquet
  halo-dedup-merge --shards-from work/polyphenol-1X --table OME.parquet \\
      --out products.parquet --memory-limit 512MiB

Exit codes: 0 done; 1 the shards do not belong together or are damaged;
2 usage, I/O or limit; 130/143 ended by SIGINT/SIGTERM."
)]
pub struct Args {
    /// Shard tables, in the order of their rows; where their sidecars say which, these must be consecutive rows of the
    /// library
    #[arg(value_name = "SHARD", required_unless_present = "shards_from")]
    shards: Vec<PathBuf>,

    /// Take the shards from DIR/shard-*/TABLE and DIR/*/shard-*/TABLE, in index order; together they must stand for every
    /// row of the library
    #[arg(
        long,
        value_name = "DIR",
        requires = "table",
        conflicts_with = "shards"
    )]
    shards_from: Option<PathBuf>,

    /// File name of the table in each shard's folder, e.g. FG_PHENOL_OH__OH__TO__OMe.parquet
    #[arg(
        long,
        value_name = "NAME",
        requires = "shards_from",
        conflicts_with = "shards"
    )]
    table: Option<PathBuf>,

    /// The merged table; its sidecar is written beside it as FILE.stats.json
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Where the summary of the job goes [default: SUMMARY.json beside --out]
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,

    /// Columns whose values together identify a row
    #[arg(
        long,
        value_name = "COLUMN",
        value_delimiter = ',',
        default_value = "smiles"
    )]
    keys: Vec<String>,

    /// How duplicates are found; auto takes the first of the three that fits
    #[arg(long, value_enum, default_value_t = Strategy::Auto)]
    strategy: Strategy,

    /// Threads [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Name of the transform, for the summary [default: the rule the shards name]
    #[arg(long, value_name = "NAME")]
    transform: Option<String>,

    /// Class of the library, for the summary
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,

    /// The library the shards were made from, for the summary
    #[arg(long, value_name = "FILE")]
    source_file: Option<String>,

    /// Substitution depth of the library, for the summary
    #[arg(long, value_name = "DEPTH", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,

    /// Flags every binary has.
    #[command(flatten)]
    pub common: Common,

    /// Where it spills.
    #[command(flatten)]
    pub spill: Spill,
}

/// How duplicates are found. All give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Strategy {
    /// The first of memory, bloom and spill that fits in the memory limit
    Auto,
    /// One pass; the hashes of all keys in memory (20 bytes per distinct key)
    Memory,
    /// Two passes; a Bloom filter finds the keys that may occur twice, and only those are kept
    Bloom,
    /// Two passes; all hashes go to disk in partitions that fit
    Spill,
}

impl Strategy {
    /// As typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Memory => "memory",
            Self::Bloom => "bloom",
            Self::Spill => "spill",
        }
    }
}

/// A merge to be done.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shard tables in order; at least one.
    pub shards: Vec<PathBuf>,
    /// Must they stand for every row of their library? Without it, for consecutive rows.
    pub whole: bool,
    /// The merged table.
    pub out: PathBuf,
    /// The summary of the job.
    pub summary: PathBuf,
    /// Key columns; at least one.
    pub keys: Vec<String>,
    /// How duplicates are found.
    pub strategy: Strategy,
    /// Worker threads, at least one.
    pub threads: usize,
    /// What the job is called.
    pub job: Job,
    /// Peak resident memory.
    pub memory_limit: MemoryLimit,
    /// Directory for spill files, when one was named.
    pub tmp_dir: Option<PathBuf>,
}

/// Texts for the summary that the merge itself does not need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Transform name.
    pub transform: Option<String>,
    /// Library class.
    pub class: Option<String>,
    /// The library.
    pub source_file: Option<String>,
    /// Its substitution depth.
    pub depth: Option<u32>,
}

impl Config {
    /// Checks what was typed and finds the shards.
    ///
    /// # Errors
    /// [`MergeError::Usage`] with all problems at once.
    pub fn from_args(args: Args) -> Result<Self, MergeError> {
        let mut problems = Vec::new();
        let shards = match (&args.shards_from, &args.table) {
            (Some(dir), Some(table)) => find_shards(dir, table).unwrap_or_else(|problem| {
                problems.push(problem);
                Vec::new()
            }),
            _ => args.shards,
        };
        let directory = parent(&args.out);
        if !directory.is_dir() {
            problems.push(format!("--out: `{}` is no directory", directory.display()));
        }
        let summary = args
            .summary
            .unwrap_or_else(|| directory.join("SUMMARY.json"));
        let outputs = [("--out", args.out.clone()), ("--summary", summary.clone())];
        if let Err(overwrite) = refuse_overwrite(&outputs, shards.iter().map(PathBuf::as_path)) {
            problems.push(overwrite.to_string());
        }
        let mut keys = args.keys.clone();
        keys.sort();
        keys.dedup();
        if keys.len() != args.keys.len() || keys.iter().any(String::is_empty) {
            problems.push("--keys: a column is empty or named twice".to_owned());
        }
        if !problems.is_empty() {
            return Err(MergeError::Usage(problems.join("; ")));
        }
        let machine = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            summary,
            shards,
            whole: args.shards_from.is_some(),
            out: args.out,
            keys: args.keys,
            strategy: args.strategy,
            threads: args.threads.map_or(machine, usize::from),
            job: Job {
                transform: args.transform,
                class: args.class,
                source_file: args.source_file,
                depth: args.depth,
            },
            memory_limit: args.common.limit(),
            tmp_dir: args.spill.tmp_dir,
        })
    }

    /// Directory of the merged table.
    #[must_use]
    pub fn out_dir(&self) -> &Path {
        parent(&self.out)
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
