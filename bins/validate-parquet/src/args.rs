//! What was typed ([`Args`]) and what is true ([`Config`]).

use std::path::PathBuf;

use anyhow::bail;
use halocline_cli::{Common, Spill, refuse_overwrite};

use crate::order::{OrderColumn, parse_order};

/// Checks that a table is whole, typed, counted, ordered and unique; a JSON verdict, exit 0 or 1.
#[derive(Debug, clap::Parser)]
#[command(
    name = "halo-validate-parquet",
    version,
    after_help = "Examples:
  halo-validate-parquet products.parquet
  halo-validate-parquet products.parquet --out validation.json \\
      --expect-rule FG_PHENOL_OH__OH__TO__OMe
  halo-validate-parquet cut-off.parquet --repair saved.parquet

Exit codes: 0 valid; 1 the table broke a promise (the verdict says which);
2 it could not be checked; 130/143 ended by SIGINT/SIGTERM."
)]
pub struct Args {
    /// The table; its sidecar FILE.stats.json is read when there is one
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write the verdict here instead of to stdout
    #[arg(long, value_name = "VERDICT.json")]
    out: Option<PathBuf>,

    /// Columns that together must be unique, or none (default: smiles in a product table)
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    keys: Option<Vec<String>>,

    /// Columns rows must be ordered by, or none; after a column, ? asks only that its equal values
    /// stand together
    ///
    /// Default: source_row,xf_rule_id?,xf_site_index in a product table.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    order: Option<Vec<String>>,

    /// The rule whose products these must be
    #[arg(long, value_name = "NAME")]
    expect_rule: Option<String>,

    /// The columns kept from the input must be exactly these (default: any)
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    keep: Option<Vec<String>>,

    /// Write the whole row groups of a damaged or cut-off FILE to this new file, and say what was
    /// lost; no other check is made. The new file says that it is salvaged, and is never valid
    #[arg(long, value_name = "NEW.parquet", conflicts_with_all = ["keys", "order", "expect_rule", "keep"])]
    repair: Option<PathBuf>,

    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "its doc comment would replace the heading of the help text"
    )]
    pub common: Common,

    #[command(flatten)]
    #[expect(
        missing_docs,
        reason = "its doc comment would replace the heading of the help text"
    )]
    pub spill: Spill,
}

/// Arguments that have been checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) file: PathBuf,
    pub(crate) out: Option<PathBuf>,
    /// `None`: by the kind of table.
    pub(crate) keys: Option<Vec<String>>,
    /// `None`: by the kind of table.
    pub(crate) order: Option<Vec<OrderColumn>>,
    pub(crate) expect_rule: Option<String>,
    pub(crate) keep: Option<Vec<String>>,
    pub(crate) repair: Option<PathBuf>,
}

impl Config {
    pub(crate) fn new(args: Args) -> anyhow::Result<Self> {
        let none = |list: &[String]| list.len() == 1 && list[0] == "none";
        for (flag, list) in [("--keys", &args.keys), ("--order", &args.order)] {
            if list
                .as_ref()
                .is_some_and(|l| l.iter().any(String::is_empty))
            {
                bail!("{flag} has an empty column name");
            }
        }
        let outputs: Vec<_> = [("--out", &args.out), ("--repair", &args.repair)]
            .into_iter()
            .filter_map(|(option, path)| Some((option, path.clone()?)))
            .collect();
        refuse_overwrite(&outputs, [args.file.as_path()])?;
        let keys = args.keys.map(|k| if none(&k) { Vec::new() } else { k });
        let order = args.order.map(|o| {
            if none(&o) {
                Vec::new()
            } else {
                parse_order(&o)
            }
        });
        let keep = args
            .keep
            .map(|k| k.into_iter().filter(|c| !c.is_empty()).collect());
        Ok(Self {
            file: args.file,
            out: args.out,
            keys,
            order,
            expect_rule: args.expect_rule,
            keep,
            repair: args.repair,
        })
    }
}
