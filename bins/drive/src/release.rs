//! Shard tables of complete results that are still there: an interruption came between a record and its removals, or a
//! batch was made again for the sake of another table.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use halocline_cli::Outcome;
use halocline_plan::{Job, JobTable, ShardTables, Step, record_path};
use serde::{Deserialize, Serialize};

use crate::args::ReleaseArgs;
use crate::check::{Checker, State};
use crate::lock::Lock;
use crate::record;

/// The shard tables that nobody needs once these jobs are complete.
///
/// A validation is complete while its products are lost and made again: what their merge has still to read stays, so the
/// merge is among them.
struct Leftovers<'a> {
    jobs: Vec<&'a Job>,
    tables: &'a [ShardTables],
}

fn leftovers(table: &JobTable) -> BTreeMap<&str, Leftovers<'_>> {
    let merges = table.jobs.iter().filter(|j| j.shard_tables.is_some());
    let merges: BTreeMap<&str, &Job> = merges.map(|j| (j.id.as_str(), j)).collect();
    let with = |job: &&Job| job.step != Step::Report && !job.releases.is_empty();
    let jobs = table.jobs.iter().filter(with).map(|job| {
        let read_by = job.needs.iter().filter_map(|n| merges.get(n.as_str()));
        let jobs = read_by.copied().chain([job]).collect();
        let tables = &job.releases;
        (job.id.as_str(), Leftovers { jobs, tables })
    });
    jobs.collect()
}

/// Removes them, as the last that a run does.
pub(crate) fn release_leftovers(table: &JobTable) {
    let mut checker = Checker::new(table, false);
    let mut folders = Folders::default();
    for left in leftovers(table).values() {
        if left
            .jobs
            .iter()
            .all(|j| checker.state(j) == State::Complete)
        {
            folders.remove(left.tables);
        }
    }
}

/// The same for another engine, which keeps it from its plan to its end: a text under `release` in the plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    results: PathBuf,
    /// Records that must be there.
    records: Vec<PathBuf>,
    tables: Vec<ShardTables>,
}

/// By job, the text that it is released with.
///
/// # Errors
/// A folder of results whose name is not UTF-8, which no configuration has.
pub(crate) fn tickets(table: &JobTable) -> anyhow::Result<BTreeMap<&str, String>> {
    let ticket = |left: &Leftovers<'_>| {
        let record = |job: &&Job| record_path(&table.results, &job.id);
        serde_json::to_string(&Ticket {
            results: PathBuf::from(&table.results),
            records: left.jobs.iter().map(record).collect(),
            tables: left.tables.to_vec(),
        })
    };
    let all = leftovers(table);
    all.iter()
        .map(|(id, left)| Ok((*id, ticket(left)?)))
        .collect()
}

/// The `release` subcommand.
pub(crate) fn release(args: &ReleaseArgs) -> anyhow::Result<Outcome> {
    let mut text = String::new();
    let stdin = std::io::stdin().lock();
    let read = stdin.take(MOST_BYTES).read_to_string(&mut text);
    read.context("cannot read from stdin what is to be released")?;
    let tickets: Vec<Ticket> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("stdin holds no lines from `release` of a plan")?;
    let mut folders = Folders::default();
    let mut locks: BTreeMap<&Path, Lock> = BTreeMap::new();
    for ticket in &tickets {
        let complete = |ticket: &Ticket| ticket.records.iter().all(|record| record.exists());
        // (Where nothing is to be removed no lock is asked for: the folder may be one that can only be read.)
        if !complete(ticket) || folders.there(&ticket.tables).next().is_none() {
            continue;
        }
        if !args.locked && !locks.contains_key(ticket.results.as_path()) {
            locks.insert(&ticket.results, Lock::take(&ticket.results)?);
            // A run that ended just now may have made it incomplete.
            if !complete(ticket) {
                continue;
            }
        }
        folders.remove(&ticket.tables);
    }
    Ok(Outcome::Done)
}

/// More than the largest plan has.
const MOST_BYTES: u64 = 64 << 20;

/// Folders of shards, each listed once: on a network file system that is far quicker than to look for every table of
/// every rule.
#[derive(Default)]
struct Folders(BTreeMap<PathBuf, BTreeSet<OsString>>);

impl Folders {
    /// Those of the tables that are there.
    fn there<'a>(&'a mut self, tables: &'a [ShardTables]) -> impl Iterator<Item = PathBuf> + 'a {
        let paths = tables.iter().flat_map(ShardTables::paths);
        paths.filter(|path| {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                return false;
            };
            let names = self.0.entry(folder.to_owned());
            names.or_insert_with(|| names_in(folder)).contains(name)
        })
    }

    /// Removes them. One that cannot be removed costs disk only.
    fn remove(&mut self, tables: &[ShardTables]) {
        self.there(tables).for_each(|path| record::remove(&path));
    }
}

fn names_in(folder: &Path) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}
