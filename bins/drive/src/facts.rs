//! What the plan depends on besides its configuration: versions of the tools, content of inputs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use halocline_plan::fingerprint::Cache;
use halocline_plan::{Config, Facts, JobTable, Scale, build, input_files};

use crate::args::Source;

/// The job table with where its binaries are.
pub(crate) struct Planned {
    pub(crate) table: JobTable,
    pub(crate) bin_dir: PathBuf,
}

/// Reads configuration, rules and input fingerprints, and makes the job table.
pub(crate) fn plan(source: &Source) -> anyhow::Result<Planned> {
    let config = Config::load(&source.config)?;
    let bin_dir = match &source.bin_dir {
        Some(dir) => dir.clone(),
        None => std::env::current_exe()
            .context("cannot find out where this binary is")?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    let mut cache = Cache::open(config.results.join("work/fingerprints.json"));
    let mut inputs = std::collections::BTreeMap::new();
    let mut bytes = 0;
    for file in input_files(&config) {
        let path = Path::new(&file);
        let print = cache.fingerprint(path).with_context(|| {
            format!(
                "the input `{file}` named in {} cannot be read",
                source.config.display()
            )
        })?;
        bytes += fs_err::metadata(path)?.len();
        inputs.insert(file, print);
    }
    cache.save();
    let facts = Facts {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        rdkit_version: rdkit_version(&bin_dir),
        inputs,
        scale: Scale::from_bytes(bytes),
    };
    Ok(Planned {
        table: build(&config, &facts)?,
        bin_dir,
    })
}

/// The line `RDKit 2022.09.3` of `halo-transform-shard --version`.
fn rdkit_version(bin_dir: &Path) -> Option<String> {
    let program = bin_dir.join("halo-transform-shard");
    let text = duct::cmd!(&program, "--version")
        .stdin_null()
        .stderr_null()
        .unchecked()
        .read()
        .ok()?;
    text.lines()
        .find_map(|l| l.trim().strip_prefix("RDKit "))
        .map(|v| v.trim().to_owned())
}

/// Every program of the table exists in the folder of binaries.
pub(crate) fn check_programs(planned: &Planned) -> anyhow::Result<()> {
    let mut programs: Vec<&String> = planned
        .table
        .jobs
        .iter()
        .filter_map(|j| j.command.first())
        .collect();
    programs.sort();
    programs.dedup();
    let missing: Vec<&str> = programs
        .into_iter()
        .filter(|p| !planned.bin_dir.join(p).is_file())
        .map(String::as_str)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "{} not found in `{}`\nhint: `make build` builds them into target/release; --bin-dir or HALOCLINE_BIN names another folder",
        missing.join(", "),
        planned.bin_dir.display()
    )
}
