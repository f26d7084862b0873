//! What the plan depends on besides its configuration: versions of the tools, content of inputs,
//! and, for estimates, the rows of what has been made so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use halocline_budget::{Budget, Reservation};
use halocline_plan::fingerprint::Cache;
use halocline_plan::{Config, Facts, Job, JobTable, Scale, build, input_files};

use crate::args::Source;
use crate::{columns, rows};

/// The job table with where its binaries are.
pub(crate) struct Planned {
    pub(crate) table: JobTable,
    pub(crate) bin_dir: PathBuf,
    config: Config,
    facts: Facts,
    _memory: Reservation,
}

/// Bytes of a job in the table, in what is known of its state, and in the second table that costs are estimated with
/// (measured 2026-11 with 16,074 jobs: 10 KiB).
const JOB_BYTES: u64 = 12 << 10;

/// Memory for `jobs` jobs of `each` bytes.
///
/// # Errors
/// A memory limit that does not leave as much.
pub(crate) fn reserve(
    budget: &Budget,
    what: &str,
    jobs: usize,
    each: u64,
) -> anyhow::Result<Reservation> {
    let mut memory = budget.pool().claim(what);
    memory.try_grow(each * jobs as u64).map_err(|error| {
        anyhow::anyhow!("the memory limit is too small for {jobs} jobs: {error}\nhint: raise `--memory-limit`, or `shards_per_batch` in the configuration")
    })?;
    Ok(memory)
}

impl Planned {
    /// Costs by job with all rows that are known by now.
    ///
    /// # Errors
    /// Rule files that cannot be read any more.
    pub(crate) fn costs(&self) -> anyhow::Result<BTreeMap<String, f64>> {
        let mut facts = self.facts.clone();
        rows::known(&self.table, &mut facts.scale);
        let jobs = build(&self.config, &facts)?.jobs;
        Ok(jobs.into_iter().map(|j| (j.id, j.cost_seconds)).collect())
    }
}

/// Where fingerprints of inputs are remembered.
pub(crate) fn cache_file(results: &Path) -> PathBuf {
    results.join("work/fingerprints.json")
}

/// Reads configuration, rules and input fingerprints, and makes the job table.
pub(crate) fn plan(source: &Source, budget: &Budget) -> anyhow::Result<Planned> {
    let config = Config::load(&source.config)?;
    let bin_dir = match &source.bin_dir {
        Some(dir) => dir.clone(),
        None => std::env::current_exe()
            .context("cannot find out where this binary is")?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    // Before the whole input is read for its fingerprint.
    columns::check(&config, &bin_dir)?;
    let mut cache = Cache::open(cache_file(&config.results));
    let mut inputs = BTreeMap::new();
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
        rdkit_version: rdkit_version(&bin_dir)?,
        inputs,
        scale: Scale::from_bytes(bytes),
    };
    let table = build(&config, &facts)?;
    let mut planned = Planned {
        _memory: reserve(budget, "the job table", table.jobs.len(), JOB_BYTES)?,
        table,
        bin_dir,
        config,
        facts,
    };
    let costs = planned.costs()?;
    for job in &mut planned.table.jobs {
        if let Some(cost) = costs.get(&job.id) {
            job.cost_seconds = *cost;
        }
    }
    Ok(planned)
}

/// The version in the line `RDKit 2022.09.3 (where it is)` of `halo-transform-shard --version`.
/// Where it is decides nothing. `None` where there is no such program: a plan can be made without.
///
/// # Errors
/// A program that is there and does not say: without its answer everything would count as stale.
fn rdkit_version(bin_dir: &Path) -> anyhow::Result<Option<String>> {
    let program = bin_dir.join(TRANSFORM);
    if !program.is_file() {
        return Ok(None);
    }
    let asked = ask(&program, &["--version"])?;
    let text = String::from_utf8_lossy(&asked.stdout);
    let version = text
        .lines()
        .find_map(|l| l.trim().strip_prefix("RDKit "))
        .and_then(|v| v.split_whitespace().next());
    match version {
        Some(version) if asked.status.success() => Ok(Some(version.to_owned())),
        _ => bail!(
            "`{} --version` does not say which RDKit it has ({}){}",
            program.display(),
            asked.status,
            String::from_utf8_lossy(&asked.stderr)
                .lines()
                .next()
                .map_or_else(String::new, |line| format!(": {line}"))
        ),
    }
}

/// RDKit takes the rules that these jobs apply; found here, and not by the first batch that has come so far. Nothing where
/// the program is not there: a plan can be made without.
///
/// # Errors
/// A rule that RDKit refuses, with its words.
pub(crate) fn check_rules<'a>(
    planned: &Planned,
    jobs: impl Iterator<Item = &'a Job>,
) -> anyhow::Result<()> {
    let program = planned.bin_dir.join(TRANSFORM);
    if !program.is_file() {
        return Ok(());
    }
    let batches = jobs.filter(|job| job.command.first().is_some_and(|name| name == TRANSFORM));
    // Rules of another class are no business of these jobs: asked is as each job asks, its class and depth included.
    let scopes: BTreeSet<[&str; 3]> = batches
        .filter_map(|job| {
            let value = |flag: &str| {
                let mut after = job.command.iter().skip_while(|word| *word != flag);
                after.nth(1).map(String::as_str)
            };
            Some([value("--rules")?, value("--class")?, value("--depth")?])
        })
        .collect();
    for [file, class, depth] in scopes {
        let scope = ["--rules", file, "--class", class, "--depth", depth];
        let asked = ask(&program, &[&scope[..], &["--explain-rules", "-q"]].concat())?;
        if !asked.status.success() {
            bail!(
                "the rules in `{file}` cannot be used: {}",
                refusal(TRANSFORM, &asked)
            );
        }
    }
    Ok(())
}

/// The only program that knows RDKit.
const TRANSFORM: &str = "halo-transform-shard";

/// What the program says to these arguments.
pub(crate) fn ask(program: &Path, args: &[&str]) -> anyhow::Result<std::process::Output> {
    duct::cmd(program, args)
        .stdin_null()
        .stderr_capture()
        .stdout_capture()
        .unchecked()
        .run()
        .with_context(|| format!("cannot start `{}`", program.display()))
}

/// Why a program that ended badly refuses what it was asked.
pub(crate) fn refusal(program: &str, asked: &std::process::Output) -> String {
    let said = String::from_utf8_lossy(&asked.stderr);
    let said = said.trim();
    if said.is_empty() {
        return format!("{program} ended with {}", asked.status);
    }
    let bare = said.strip_prefix(&format!("{program}: error: "));
    bare.unwrap_or(said).to_owned()
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
