//! The columns of input and ready libraries, asked before anything runs: whether the tables have those that the
//! configuration names. halo-split is asked, which reads all formats, and for this their headers or footers alone.

use std::path::Path;

use anyhow::{Context as _, bail};
use halocline_plan::{Config, input_table, ready_libraries};
use serde::Deserialize;

use crate::facts::{ask, refusal};

const SPLIT: &str = "halo-split";

/// What `halo-split --columns` prints.
#[derive(Deserialize)]
struct Columns {
    format: String,
    columns: Vec<String>,
}

/// Refuses a table without a column that the configuration names, or one that cannot be read. Nothing where halo-split is
/// not there: a plan can be made without.
///
/// # Errors
/// That, with the key of the configuration.
pub(crate) fn check(config: &Config, bin_dir: &Path) -> anyhow::Result<()> {
    let program = bin_dir.join(SPLIT);
    if !program.is_file() {
        return Ok(());
    }
    let file = config.path.display();
    let columns = |key: &str, path: &Path, smiles: Option<&String>| -> anyhow::Result<Columns> {
        let path = path.to_string_lossy();
        let mut args = vec!["--columns", "-q", &path];
        args.extend(smiles.iter().flat_map(|name| ["--smiles-column", name]));
        let asked = ask(&program, &args)?;
        if !asked.status.success() {
            let why = refusal(SPLIT, &asked);
            if let Some(name) = smiles
                && why.contains(&format!("no column `{name}`"))
            {
                bail!("`input.smiles_column` in `{file}`: {why}");
            }
            bail!(
                "`{key}` in `{file}` cannot be used: {}",
                in_our_words(why, key)
            );
        }
        serde_json::from_slice(&asked.stdout)
            .with_context(|| format!("`{}` does not name columns", program.display()))
    };
    let has = |found: &Columns, path: &Path, key: &str, name: &String| -> anyhow::Result<()> {
        if found.columns.contains(name) {
            return Ok(());
        }
        bail!(
            "the table `{}` has no column `{name}` ({key} in `{file}`); its columns are {}",
            path.display(),
            found.columns.join(", ").escape_debug()
        )
    };
    if let Some(input) = input_table(config) {
        let found = columns("input.path", &input.path, input.smiles_column.as_ref())?;
        has(
            &found,
            &input.path,
            "input.class_column",
            &input.class_column,
        )?;
        for name in &config.halogenate.keep {
            has(&found, &input.path, "halogenate.keep", name)?;
        }
    }
    for (class, depth, path) in ready_libraries(config) {
        let key = format!("libraries.{class}.{depth}");
        let found = columns(&key, path, None)?;
        if found.format != "Parquet" {
            bail!(
                "`{key}` in `{file}` is not Parquet but {}: `{}`",
                found.format,
                path.display()
            );
        }
        for name in &config.transform.keep {
            has(&found, path, "transform.keep", name)?;
        }
    }
    Ok(())
}

/// What halo-split said, its advice to give an option turned into one about the configuration.
fn in_our_words(said: String, key: &str) -> String {
    let Some((why, hint)) = said.split_once("\nhint: ") else {
        return said;
    };
    let hint = if hint.contains("--format") {
        "give it a name that ends in .csv, .tsv or .smi; a link will do"
    } else if !hint.contains("--smiles-column") {
        hint
    } else if key == "input.path" {
        "name it with `input.smiles_column`"
    } else {
        "a ready library needs a column of one of these names"
    };
    format!("{why}\nhint: {hint}")
}
