//! Whether a job is complete: its record names the same dependencies as the plan does now, and its
//! outputs are those recorded.
//!
//! The shard tables of a batch are no outputs of their own. Those of a rule may be gone when the
//! merge that read them is complete: then nobody needs them, and the batch counts as complete.

use std::collections::BTreeMap;
use std::path::Path;

use halocline_plan::fingerprint::{Stamp, of_file};
use halocline_plan::{Job, JobTable, record_path};

use crate::manifest::Manifest;
use crate::record::{Record, aside, set_aside};

/// Whether a job is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Recorded, and everything agrees.
    Complete,
    /// Never completed, as far as can be known; the text says what is missing.
    Missing(String),
    /// Completed once, but not as it would be now; the text says what differs.
    Stale(String),
}

/// Answers for the jobs of one table, each looked at once.
pub(crate) struct Checker<'a> {
    table: &'a JobTable,
    /// Whether the bytes of outputs are compared even when size and time agree.
    checksums: bool,
    /// The merges that read a batch's shard tables, by the batch's id.
    merges: BTreeMap<&'a str, Vec<&'a Job>>,
    known: BTreeMap<&'a str, State>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(table: &'a JobTable, checksums: bool) -> Self {
        let mut merges: BTreeMap<&str, Vec<&Job>> = BTreeMap::new();
        for merge in table.jobs.iter().filter(|j| j.shard_tables.is_some()) {
            for batch in &merge.needs {
                merges.entry(batch).or_default().push(merge);
            }
        }
        Self {
            table,
            checksums,
            merges,
            known: BTreeMap::new(),
        }
    }

    /// Whether `job` is complete.
    pub(crate) fn state(&mut self, job: &'a Job) -> State {
        if let Some(state) = self.known.get(job.id.as_str()) {
            return state.clone();
        }
        let path = record_path(&self.table.results, &job.id);
        let mut state = self.state_at(&path, job);
        if state != State::Complete {
            let set_aside = self.state_at(&aside(&path), job);
            let says_more = matches!(set_aside, State::Stale(_)) && !path.exists();
            if set_aside == State::Complete || says_more {
                state = set_aside;
            }
        }
        self.known.insert(&job.id, state.clone());
        state
    }

    /// Makes "the record exists" mean "the job is complete", for engines that look at files.
    ///
    /// # Errors
    /// A record that cannot be renamed.
    pub(crate) fn settle(&mut self, job: &'a Job) -> anyhow::Result<State> {
        let path = record_path(&self.table.results, &job.id);
        let aside = aside(&path);
        let state = self.state_at(&path, job);
        if state == State::Complete {
            return Ok(state);
        }
        if self.state_at(&aside, job) == State::Complete {
            fs_err::rename(&aside, &path)?;
            return Ok(State::Complete);
        }
        set_aside(&path)?;
        Ok(state)
    }

    fn state_at(&mut self, path: &Path, job: &'a Job) -> State {
        let Ok(text) = std::fs::read(path) else {
            let there = job
                .outputs
                .values()
                .flatten()
                .filter(|f| Path::new(f).exists())
                .count();
            return State::Missing(if there == 0 {
                "not done".into()
            } else {
                "no record that it was completed".into()
            });
        };
        let Some(record) = Record::parse(&text, job) else {
            return State::Missing("its record is of another version or damaged".into());
        };
        if record.key != job.key {
            return State::Stale(difference(&record.provenance, &job.provenance));
        }
        let mut verified = false;
        for file in job.outputs.values().flatten() {
            let Some(written) = record.outputs.iter().find(|w| w.path == *file) else {
                return State::Stale(self.not_written(&record, file));
            };
            match Stamp::of(Path::new(file)) {
                Err(_) => return State::Missing(format!("`{file}` is gone")),
                Ok(stamp) if stamp.bytes != written.stamp.bytes => {
                    return State::Stale(format!(
                        "`{file}` has {} bytes, {} were written",
                        stamp.bytes, written.stamp.bytes
                    ));
                }
                Ok(stamp) if trusted(&stamp, &written.stamp, path) && !self.checksums => {}
                Ok(_) => match of_file(Path::new(file)) {
                    Ok(print) if print == written.xxh3_128 => verified = true,
                    Ok(_) => {
                        return State::Stale(format!("`{file}` has other bytes than were written"));
                    }
                    Err(error) => return State::Stale(format!("`{file}` cannot be read: {error}")),
                },
            }
        }
        if verified && let Ok(file) = std::fs::File::options().append(true).open(path) {
            // From here on the files are older than their record, and need not be read again.
            let _ = file.set_modified(std::time::SystemTime::now());
        }
        for manifest in job.outputs.get("manifest").into_iter().flatten() {
            let checksums = self.checksums;
            let checked = Manifest::read(manifest)
                .and_then(|m| m.check(checksums, |table| self.is_merged(job, table)));
            if let Err(why) = checked {
                return State::Missing(format!("{why:#}"));
            }
        }
        State::Complete
    }

    /// Why an output is not among those that were recorded: the results folder had another path then, if one of them ends
    /// as it does.
    fn not_written(&self, record: &Record, file: &str) -> String {
        let now = self.table.results.as_str();
        let below = file.strip_prefix(now).filter(|b| b.starts_with('/'));
        let before = below.and_then(|below| {
            let mut outputs = record.outputs.iter();
            outputs.find_map(|written| written.path.strip_suffix(below))
        });
        match before {
            Some(before) => format!(
                "it was recorded with the results in `{before}`, and `results` is `{now}` now: the path is part of what is recorded"
            ),
            None => format!("`{file}` was not written by the recorded run"),
        }
    }

    /// Whether the merge that reads `table` of a batch is complete.
    fn is_merged(&mut self, batch: &Job, table: &str) -> bool {
        let merges = self.merges.get(batch.id.as_str()).cloned();
        let mut merges = merges.unwrap_or_default().into_iter();
        let reads = |merge: &&Job| {
            let tables = merge.shard_tables.iter().flat_map(|s| &s.tables);
            tables.into_iter().any(|t| t == table)
        };
        let merge = merges.find(reads);
        merge.is_some_and(|merge| self.state(merge) == State::Complete)
    }
}

/// Whether an output with the recorded size needs no reading: its time is the recorded one, or lies
/// between that and the time of the record (Snakemake touches all outputs of a job, the record
/// last). A file touched later is read once.
fn trusted(now: &Stamp, recorded: &Stamp, record: &Path) -> bool {
    let nanoseconds = |stamp: &Stamp| stamp.modified_ns.parse::<u128>().ok();
    now == recorded
        || match (
            nanoseconds(recorded),
            nanoseconds(now),
            Stamp::of(record).ok().as_ref().and_then(nanoseconds),
        ) {
            (Some(written), Some(now), Some(record)) => written <= now && now <= record,
            _ => false,
        }
}

/// What differs between two sets of dependencies, for people.
fn difference(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> String {
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let short = |value: Option<&String>| match value {
        None => "none".to_owned(),
        // fingerprints say no more than that they differ
        Some(v) if v.len() == 32 && v.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("{}…", &v[..8])
        }
        Some(v) => v.clone(),
    };
    let list: Vec<String> = names
        .into_iter()
        .filter(|n| before.get(*n) != now.get(*n))
        .map(|n| {
            format!(
                "{n} changed ({} -> {})",
                short(before.get(n)),
                short(now.get(n))
            )
        })
        .collect();
    if list.is_empty() {
        "its dependencies are recorded in another form".into()
    } else {
        list.join("; ")
    }
}
