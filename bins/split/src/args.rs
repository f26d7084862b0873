//! What was typed ([`Args`]) and what is true ([`Config`]).

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use halocline_cli::Common;
use halocline_table::text::Format;

use crate::molecule::Work;

/// Splits a library into shards of equal cost, as ranges of rows in a plan file.
#[derive(Debug, clap::Parser)]
#[command(
    name = "halo-split",
    version,
    after_help = "Examples:
  halo-split np.tsv.gz --out-dir work/np --shards 32
  halo-split np.csv --out-dir work --shards 8 --partition-by class \\
      --partitions polyphenol,alkaloid
  halo-split products.parquet --shards 32 --inspect
  halo-split np.csv.zst --columns

Exit codes: 0 done; 1 the data broke a contract; 2 usage, I/O or limit;
130/143 ended by SIGINT/SIGTERM."
)]
pub struct Args {
    /// The library: Parquet, CSV, TSV or SMILES file; text may be compressed (.gz, .zst)
    ///
    /// CSV is quoted as RFC 4180 says, and a quote that is open at its end is an error; TSV is never
    /// quoted. A column is int64 or float64 when all its values are and none would change by it,
    /// else text; an empty field is null.
    #[arg(value_name = "INPUT")]
    input: PathBuf,

    /// Where library.parquet, plan.json, rejects.parquet and their sidecars go; made when missing
    #[arg(long, value_name = "DIR", required_unless_present_any = ["inspect", "columns"])]
    out_dir: Option<PathBuf>,

    /// Number of shards
    #[arg(long, value_name = "N", required_unless_present = "columns")]
    shards: Option<u32>,

    /// The SMILES column; found by name (smiles, canonical_smiles, SMILES) when not given
    #[arg(long, value_name = "NAME")]
    smiles_column: Option<String>,

    /// Format of a text input whose name does not tell it
    #[arg(long, value_name = "FORMAT")]
    format: Option<TextFormat>,

    /// Make one library per value of this column
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "partitions",
        conflicts_with = "inspect"
    )]
    partition_by: Option<String>,

    /// The values to make libraries of, each in DIR/{value}; rows of other values are counted
    #[arg(
        long,
        value_name = "A,B,C",
        value_delimiter = ',',
        requires = "partition_by",
        conflicts_with = "inspect"
    )]
    partitions: Vec<String>,

    /// What shards have equal amounts of
    #[arg(long, value_name = "WHAT", default_value = "cost")]
    balance: Balance,

    /// The work whose cost is estimated
    #[arg(long, value_name = "WORK", default_value = "transform")]
    cost: Work,

    /// Print the cost profile of the library instead of writing anything
    #[arg(long, conflicts_with = "out_dir")]
    inspect: bool,

    /// Print format, columns and SMILES column of the input as JSON; only its header or footer is read
    #[arg(
        long,
        conflicts_with_all = ["out_dir", "shards", "partition_by", "partitions", "balance", "cost", "inspect"]
    )]
    columns: bool,

    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "its doc comment would replace the heading of the help text"
    )]
    pub common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TextFormat {
    Csv,
    Tsv,
    Smiles,
}

/// What is balanced between shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Balance {
    /// Estimated cost.
    Cost,
    /// Rows.
    Rows,
}

/// Arguments that have been checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) input: PathBuf,
    pub(crate) out_dir: PathBuf,
    pub(crate) shards: u64,
    pub(crate) smiles_column: Option<String>,
    pub(crate) format: Option<Format>,
    /// Column and values, in the order given.
    pub(crate) partition: Option<(String, Vec<String>)>,
    pub(crate) balance: Balance,
    pub(crate) work: Work,
    pub(crate) inspect: bool,
    pub(crate) columns: bool,
}

/// More shards than this are a slip of the keyboard; a plan of them is 100 MB of JSON.
const MOST_SHARDS: u32 = 1_000_000;

impl Config {
    /// Checks everything at once and reports every problem.
    pub(crate) fn new(args: Args) -> anyhow::Result<Self> {
        let mut problems = Vec::new();
        // Always given but with --columns, which cuts nothing.
        let shards = args.shards.unwrap_or(1);
        if shards == 0 || shards > MOST_SHARDS {
            problems.push(format!("--shards is {shards}, not 1 to {MOST_SHARDS}"));
        }
        let mut seen = BTreeSet::new();
        for value in &args.partitions {
            let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            if value.is_empty() || value.starts_with('.') || !value.chars().all(safe) {
                problems.push(format!(
                    "partition `{value}` cannot be a folder name (letters, digits, `_`, `-`, `.`, no dot first)"
                ));
            }
            if !seen.insert(value) {
                problems.push(format!("partition `{value}` is named twice"));
            }
        }
        if !problems.is_empty() {
            bail!("{}", problems.join("; "));
        }
        Ok(Self {
            input: args.input,
            out_dir: args.out_dir.unwrap_or_default(),
            shards: u64::from(shards),
            smiles_column: args.smiles_column,
            format: args.format.map(|f| match f {
                TextFormat::Csv => Format::Csv,
                TextFormat::Tsv => Format::Tsv,
                TextFormat::Smiles => Format::Smiles,
            }),
            partition: args.partition_by.map(|column| (column, args.partitions)),
            balance: args.balance,
            work: args.cost,
            inspect: args.inspect,
            columns: args.columns,
        })
    }
}
