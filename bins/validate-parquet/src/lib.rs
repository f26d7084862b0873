//! `halo-validate-parquet`: is this table whole, typed, counted, ordered and unique as promised?
//!
//! Checks go from the outside in: the footer, what the file says about itself and its columns, the
//! sidecar, every page's checksum, then every value. Each failure has a code of its own
//! ([`verdict::Code`]) and one sentence; all that can be found in one run are found.
//!
//! Not responsible for chemistry: SMILES are text here. Their characters and brackets are checked;
//! whether those of a sample parse is asked of `halo-transform-shard` where it is at hand, and said
//! to be unchecked where it is not.

mod args;
mod content;
mod order;
mod parse;
mod repair;
mod structure;
mod unique;
pub mod verdict;

use std::path::Path;

use anyhow::ensure;
use halocline_budget::{Budget, SpillDir};
use halocline_cli::Outcome;
use halocline_table::{TableError, TableReader, publish};

pub use args::Args;
use args::Config;
pub use parse::stop;
use verdict::{Code, Verdict};

/// Pool bytes without which nothing can be read.
const LEAST_POOL_BYTES: u64 = 8 << 20;

/// Runs the binary; returns the outcome and what belongs on stdout.
///
/// # Errors
/// When the checks themselves cannot be made (no such file, no memory, no disk), which says
/// nothing about the table.
pub fn run(args: Args) -> anyhow::Result<(Outcome, String)> {
    let limit = args.common.limit();
    let tmp_dir = args.spill.tmp_dir.clone();
    let config = Config::new(args)?;
    if let Some(folder) = config.out.as_deref().and_then(Path::parent) {
        let here = folder.as_os_str().is_empty();
        ensure!(
            here || folder.is_dir(),
            "--out: the folder `{}` does not exist",
            folder.display()
        );
    }
    let budget = Budget::start(limit, LEAST_POOL_BYTES)?;
    // Beside the verdict, which is a folder that can be written; the table's need not be.
    let beside = config
        .out
        .as_deref()
        .and_then(Path::parent)
        .map(Path::to_owned);
    let beside = beside.unwrap_or_else(std::env::temp_dir);
    let spill = SpillDir::choose(tmp_dir.as_deref(), &beside)?;
    if let Some(new) = &config.repair {
        let Some(text) = repair::repair(&config.file, new, &budget)? else {
            let file = config.file.display();
            let why = format!(
                "nothing of `{file}` can be salvaged: none of its row groups is whole; `{}` was not written",
                new.display()
            );
            return Ok((Outcome::Broken(why), String::new()));
        };
        return Ok((Outcome::Done, deliver(&config, text)?));
    }
    let mut verdict = Verdict::new(&config.file);
    match TableReader::open(&config.file) {
        Err(error) => broken_outside(&mut verdict, error)?,
        Ok(table) => {
            verdict.rows = Some(table.rows());
            verdict.row_groups = Some(table.row_groups() as u64);
            verdict.passed("footer");
            let _footer = content::reserve(&budget, "footer", table.metadata_bytes())?;
            structure::check(&config, &table, &mut verdict)?;
            content::check(&config, &table, &budget, &spill, &mut verdict)?;
        }
    }
    verdict.spill_bytes = spill.written();
    verdict.close(&budget);
    let mut text = serde_json::to_string_pretty(&verdict)?;
    text.push('\n');
    let text = deliver(&config, text)?;
    let outcome = match verdict.sentence() {
        None => Outcome::Done,
        Some(sentence) => Outcome::Broken(sentence),
    };
    Ok((outcome, text))
}

/// Writes `text` to `--out` when there is one; returns what is left for stdout.
fn deliver(config: &Config, text: String) -> anyhow::Result<String> {
    let Some(out) = &config.out else {
        return Ok(text);
    };
    publish::write_bytes(out, text.as_bytes())?;
    Ok(String::new())
}

/// A file that could not be opened as a table: the table's fault, or an error of reading.
fn broken_outside(verdict: &mut Verdict, error: TableError) -> anyhow::Result<()> {
    let code = match &error {
        TableError::Empty { .. } => Code::EmptyFile,
        TableError::NotParquet { .. } => Code::NotParquet,
        TableError::NoFooter { .. } => Code::NoFooter,
        TableError::Footer { .. } => Code::FooterDamaged,
        TableError::Meta { .. } => Code::Metadata,
        _ => return Err(error.into()),
    };
    verdict.fail(code, error.to_string());
    Ok(())
}
