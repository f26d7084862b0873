//! What was typed ([`Args`]) and what is true ([`Config`]).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use halocline_budget::MemoryLimit;
use halocline_chem::{Engine, Options, rdkit_origin, rdkit_version};
use halocline_cli::{Common, Overwrite, refuse_overwrite};
use halocline_rules::{Layout, Reaction, RuleFile};
use halocline_table::plan_file::{Plan, Shard};
use halocline_table::schema::is_text;
use halocline_table::{
    Kind, TableError, TableReader, file_digest, find_smiles_column, footer_digest,
};

use crate::isolate::Quarantined;
use crate::shard::{SHARD_SIDECAR, table_names};
use crate::tables::file_of;

/// Apply reaction rules to one shard of a library
///
/// Reads parents from a Parquet library, applies every rule in scope at every matching site in one pass, and writes one
/// table per rule ({rule}.parquet; for halogens one products.parquet), rejects.parquet and shard.stats.json. Rows are
/// ordered by parent, rule and site; within the shard the first of equal products is kept.
#[derive(Debug, clap::Parser)]
#[command(
    name = "halo-transform-shard",
    version = halocline_cli::version(&format!("RDKit {} ({})", rdkit_version(), rdkit_origin())),
    after_help = "Examples:\n  \
        halo-transform-shard --input library.parquet --rows 0..1000 \\\n      \
            --rules configs/transforms.yaml --class polyphenol \\\n      \
            --out-dir /tmp/debug --threads 2 --memory-limit 512MiB\n  \
        halo-transform-shard --plan plan.json --shard 3 \\\n      \
            --rules configs/transforms.yaml \\\n      \
            --rule FG_PHENOL_OH__OH__TO__OMe --out-dir /tmp/shard-3\n  \
        halo-transform-shard --rules configs/transforms.yaml --class polyphenol \\\n      \
            --explain-rules\n  \
        halo-transform-shard --input library.parquet --class polyphenol \\\n      \
            --rules configs/transforms.yaml --row 17 --explain\n\n\
        Exit codes: 0 done; 1 the data broke a contract; 2 usage, I/O or limit;\n\
        130/143 ended by SIGINT/SIGTERM."
)]
pub struct Args {
    /// Library to read, Parquet; may be left out with --plan, which names it
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,

    /// Rows A up to but not B, from 0; default: all
    #[arg(long, value_name = "A..B", conflicts_with = "plan")]
    pub rows: Option<Span>,

    /// Plan of halo-split
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,

    /// Shard of the plan, from 0; its tables go straight into --out-dir
    #[arg(long, value_name = "I", requires = "plan", conflicts_with = "shards")]
    pub shard: Option<u64>,

    /// Shards A up to but not B of the plan; each gets a folder shard-00000 in --out-dir, and manifest.json is written
    /// last. Shards that are complete already are not done again
    #[arg(long, value_name = "A..B", requires = "plan")]
    pub shards: Option<Span>,

    /// Rules: a transforms.yaml or halogens.yaml
    #[arg(long, value_name = "FILE")]
    pub rules: PathBuf,

    /// Rules by name; default: all in scope of --class
    #[arg(long = "rule", value_name = "NAME", num_args = 1..)]
    pub rule: Vec<String>,

    /// Class of the parents: decides which rules are in scope, and their caps
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,

    /// Successive substitutions at any sites; each distinct product once per parent
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub depth: u32,

    /// Folder for the tables; made if missing
    #[arg(long, value_name = "DIR", required_unless_present_any = ["explain_rules", "explain"])]
    pub out_dir: Option<PathBuf>,

    /// Columns of the input to carry through
    #[arg(long, value_name = "COL", num_args = 1..)]
    pub keep: Vec<String>,

    /// Column that holds the SMILES; default: smiles, canonical_smiles or SMILES
    #[arg(long, value_name = "NAME")]
    pub smiles_column: Option<String>,

    /// Threads; the output does not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: u16,

    /// Route of the products: `auto` edits the parent where that is exact, `full` always runs the whole reaction
    #[arg(long, value_name = "ENGINE", default_value = "auto", value_parser = ["auto", "full"])]
    pub engine: String,

    /// Products of one parent past which it is rejected. Memory never rejects: a parent that needs more than
    /// --memory-limit leaves it ends the run, with the limit that would do
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_products: u64,

    /// Bytes of a SMILES past which its row is rejected unread. With more than the default, --memory-limit is not kept
    /// for the rows that this lets pass: how much RDKit takes for them is not known
    #[arg(long, value_name = "N", default_value_t = halocline_chem::MAX_SMILES_BYTES, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_smiles_bytes: u64,

    /// Seconds for one parent past which it is rejected, or `none`; of 68,000 natural products none takes a second
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    pub row_timeout: RowTimeout,

    /// Run RDKit in this very process: a molecule that kills RDKit then ends the run, and one that hangs it is not stopped
    #[arg(long)]
    pub no_isolate: bool,

    /// Print for each rule whether it is a local edit, or why not, and exit
    #[arg(long, conflicts_with_all = ["input", "plan", "rows", "shard", "shards", "out_dir", "keep", "smiles_column", "profile"])]
    pub explain_rules: bool,

    /// With --explain: the row of the library to explain, from 0
    #[arg(long, value_name = "ROW", requires = "explain", conflicts_with_all = ["rows", "shard", "shards"])]
    pub row: Option<u64>,

    /// Print for --row what each rule finds in it and makes of it: sites, masked, capped, route, products, and why one was
    /// rejected. No table is written, so that --out-dir and --keep, which the command line at hand may have, do not matter
    #[arg(long, requires = "row", conflicts_with = "profile")]
    pub explain: bool,

    /// Write this row, the rules and what they make of it as a test case into --out-dir: parents.tsv, rules.yaml,
    /// command.txt, expected.tsv
    #[arg(long, value_name = "ROW", conflicts_with_all = ["rows", "shard", "shards", "explain", "explain_rules", "keep", "profile"])]
    pub dump_case: Option<u64>,

    /// Log the time per stage at the end (it is always in the sidecar)
    #[arg(long)]
    pub profile: bool,

    /// Flags of every halo-* binary.
    #[command(flatten)]
    pub common: Common,
}

/// `A..B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span(pub Range<u64>);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once("..")
            .and_then(|(a, b)| Some(a.trim().parse().ok()?..b.trim().parse().ok()?));
        match parsed {
            Some(range) if range.start <= range.end => Ok(Self(range)),
            Some(_) => Err(format!("`{text}` ends before it starts")),
            None => Err(format!("`{text}` is not a range like 0..1000")),
        }
    }
}

/// Seconds, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowTimeout(pub Option<Duration>);

impl FromStr for RowTimeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        match text.parse::<f64>() {
            Ok(seconds) if seconds > 0.0 && seconds < 1e9 => {
                Ok(Self(Some(Duration::from_secs_f64(seconds))))
            }
            _ => Err(format!("`{text}` is neither seconds above 0 nor `none`")),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Say which rules are local edits.
    Explain,
    /// Say what becomes of one row.
    Row(u64),
    /// Write one row as a test case.
    Case(u64),
    Rows(Range<u64>),
    Shards(Vec<(u64, Range<u64>)>),
}

/// The run as it will happen: everything checked, nothing read twice.
#[derive(Debug)]
pub(crate) struct Config {
    pub work: Work,
    pub input: Option<Input>,
    pub out_dir: PathBuf,
    pub rules_path: PathBuf,
    pub class: Option<String>,
    /// Names given with `--rule`.
    pub asked: Vec<String>,
    pub reactions: Vec<Reaction>,
    pub layout: Layout,
    pub depth: u32,
    pub keep: Vec<String>,
    pub threads: usize,
    pub chemistry: Options,
    pub profile: bool,
    pub limit: MemoryLimit,
    /// Bytes of the process that watches this one.
    pub outside_bytes: u64,
    /// Rows that are rejected unseen, by row.
    pub quarantine: BTreeMap<u64, Quarantined>,
}

/// The library.
#[derive(Debug)]
pub(crate) struct Input {
    pub reader: TableReader,
    pub path: PathBuf,
    pub smiles_column: String,
    pub fingerprint: String,
}

impl TryFrom<Args> for Config {
    type Error = anyhow::Error;

    fn try_from(args: Args) -> anyhow::Result<Self> {
        ensure!(args.depth >= 1, "--depth 0 makes nothing; the least is 1");
        // clap drops a `requires` whose argument conflicts with another one that is there.
        ensure!(
            args.row.is_none() || args.explain,
            "--row says which row --explain explains; it goes with --explain"
        );
        let file = RuleFile::load(&args.rules)?;
        let reactions = match (&args.class, args.rule.is_empty()) {
            (Some(class), true) => file.for_class(class, args.depth)?,
            (Some(class), false) => file.for_class_named(class, args.depth, &args.rule)?,
            (None, false) => file.select(&args.rule)?,
            (None, true) if args.explain_rules => file.all(),
            (None, true) => bail!(
                "name the rules with --rule, or the class whose rules are wanted with --class"
            ),
        };
        ensure!(
            !reactions.is_empty(),
            "`{}` has no rule for class `{}`",
            args.rules.display(),
            args.class.as_deref().unwrap_or_default()
        );
        ensure!(
            reactions.iter().all(|r| r.id != "rejects"),
            "`{}`: a rule cannot be called `rejects`, which is the name of the table of rejected rows",
            args.rules.display()
        );
        let paths = (reactions.len() as u64)
            .checked_pow(args.depth)
            .filter(|n| *n <= 1 << 16);
        ensure!(
            paths.is_some(),
            "--depth {} over {} rules makes more than 65,536 sequences of rules",
            args.depth,
            reactions.len()
        );
        let mut chemistry = Options {
            max_products: args.max_products,
            max_smiles_bytes: args.max_smiles_bytes,
            row_timeout: args.row_timeout.0,
            engine: if args.engine == "full" {
                Engine::Full
            } else {
                Engine::Auto
            },
            trusted_input: false,
        };
        let (work, input) = if args.explain_rules {
            (Work::Explain, None)
        } else {
            let (work, input) = open(&args)?;
            chemistry.trusted_input = is_ours(&input);
            (work, Some(input))
        };
        let config = Self {
            work,
            input,
            out_dir: args.out_dir.unwrap_or_default(),
            rules_path: args.rules,
            class: args.class,
            layout: file.output(),
            asked: args.rule,
            reactions,
            depth: args.depth,
            keep: args.keep,
            threads: usize::from(args.threads),
            chemistry,
            profile: args.profile,
            limit: args.common.limit(),
            outside_bytes: 0,
            quarantine: BTreeMap::new(),
        };
        config.refuse_overwrite(args.plan.as_deref())?;
        Ok(config)
    }
}

impl Config {
    /// Refuses tables, a manifest or a case in the place of the library, its plan or the rules.
    fn refuse_overwrite(&self, plan: Option<&Path>) -> Result<(), Overwrite> {
        let Some(input) = &self.input else {
            return Ok(());
        };
        let library = || [Some(input.path.as_path()), plan].into_iter().flatten();
        let inputs = || library().chain([self.rules_path.as_path()]);
        let in_out_dir = |name: &str| ("--out-dir", self.out_dir.join(name));
        let names = table_names(self);
        let shard = |dir: &Path| -> Vec<_> {
            let tables = names.iter().map(|name| file_of(dir, name));
            let files = tables.chain([dir.join(SHARD_SIDECAR)]);
            files.map(|file| ("--out-dir", file)).collect()
        };
        match &self.work {
            Work::Explain | Work::Row(_) => Ok(()),
            Work::Case(_) => {
                // A case that is written again has its rules already, and keeps them.
                refuse_overwrite(&[in_out_dir("rules.yaml")], library())?;
                let others = ["parents.tsv", "command.txt", "expected.tsv"];
                refuse_overwrite(&others.map(in_out_dir), inputs())
            }
            Work::Rows(_) => refuse_overwrite(&shard(&self.out_dir), inputs()),
            Work::Shards(shards) => {
                refuse_overwrite(&[in_out_dir("manifest.json")], inputs())?;
                shards.iter().try_for_each(|(index, _)| {
                    let dir = self.out_dir.join(format!("shard-{index:05}"));
                    refuse_overwrite(&shard(&dir), inputs())
                })
            }
        }
    }
}

/// The SMILES were written by the very RDKit that is linked.
fn is_ours(input: &Input) -> bool {
    input.smiles_column == halocline_table::schema::SMILES
        && input.reader.meta().is_some_and(|meta| {
            meta.kind == Kind::Product
                && meta.rdkit_version.as_deref() == Some(rdkit_version().as_str())
        })
}

fn open(args: &Args) -> anyhow::Result<(Work, Input)> {
    // Text and parsed form of the plan, beside what the work itself takes.
    let plan_bytes = args.common.limit().bytes() / 8;
    let plan = args
        .plan
        .as_deref()
        .map(|path| Plan::read_within(path, plan_bytes))
        .transpose()?;
    let path = match (&args.input, &plan) {
        (Some(path), _) => path.clone(),
        (None, Some(plan)) => plan.input.clone(),
        (None, None) => bail!("name the library with --input, or a plan of it with --plan"),
    };
    let reader = match (TableReader::open(&path), &args.plan) {
        (Err(error @ TableError::Io(_)), Some(plan)) if args.input.is_none() => bail!(
            "the library that `{}` names: {error}\nhint: a relative path is relative to the folder in which halo-split \
             ran; run there, or name the library with --input",
            plan.display()
        ),
        (opened, _) => opened?,
    };
    let smiles_column = match (&args.smiles_column, &plan) {
        (None, Some(plan)) => plan.smiles_column.clone(),
        (asked, _) => {
            let names: Vec<&str> = reader
                .schema()
                .fields()
                .iter()
                .map(|f| f.name().as_str())
                .collect();
            let index = find_smiles_column(&names, asked.as_deref())
                .with_context(|| format!("`{}`", path.display()))?;
            names[index].to_owned()
        }
    };
    for name in &args.keep {
        reader.column(name)?;
    }
    let (_, field) = reader.column(&smiles_column)?;
    ensure!(
        is_text(field.data_type()),
        "column `{smiles_column}` of `{}` holds {}, not text",
        path.display(),
        field.data_type()
    );
    let fingerprint = match &plan {
        Some(plan) => {
            ensure!(
                plan.input_rows == reader.rows(),
                "`{}` has {} rows, the plan was made for {}; run halo-split again",
                path.display(),
                reader.rows(),
                plan.input_rows
            );
            ensure!(
                plan.input_footer == footer_digest(&path)?,
                "`{}` is not the library that the plan was made for, though it has as many rows; run halo-split again",
                path.display()
            );
            plan.input_fingerprint.clone()
        }
        None => file_digest(&path)?,
    };
    let named = |shard: &Shard| (shard.index, shard.rows());
    let work = match (plan, args.shard, &args.shards) {
        _ if args.row.is_some() || args.dump_case.is_some() => match (args.row, args.dump_case) {
            (Some(row), _) => Work::Row(row),
            (None, row) => Work::Case(row.unwrap_or_default()),
        },
        (Some(plan), Some(index), _) => Work::Rows(plan.shard(index)?.rows()),
        (Some(plan), None, Some(Span(span))) => {
            ensure!(
                !span.is_empty(),
                "--shards {}..{} names no shard",
                span.start,
                span.end
            );
            let shards = span
                .clone()
                .map(|i| plan.shard(i).map(named))
                .collect::<Result<_, _>>()?;
            Work::Shards(shards)
        }
        (Some(plan), None, None) => {
            bail!(
                "the plan has {} shards: say which with --shard I or --shards A..B",
                plan.shards.len()
            )
        }
        (None, ..) => {
            let all = 0..reader.rows();
            let rows = args.rows.as_ref().map_or(all, |span| span.0.clone());
            ensure!(
                rows.end <= reader.rows(),
                "--rows {}..{}: `{}` has {} rows",
                rows.start,
                rows.end,
                path.display(),
                reader.rows()
            );
            Work::Rows(rows)
        }
    };
    Ok((
        work,
        Input {
            reader,
            path,
            smiles_column,
            fingerprint,
        },
    ))
}
