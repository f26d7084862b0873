//! Records of completed jobs, and the check whether one is still complete.
//!
//! A record is written after a job's outputs are in place. It holds what their content depends on
//! and the size, time and checksum of each. Checksums of tables are those of their sidecars (the
//! tool computed them while writing); other files are small and are read. A job is complete when
//! its record names the same dependencies as the plan does now and its outputs are those recorded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use halocline_budget::publish;
use halocline_cli::Outcome;
use halocline_cli::sidecar::Sidecar;
use halocline_plan::fingerprint::{Stamp, of_file};
use halocline_plan::{Job, JobTable};
use serde::{Deserialize, Serialize};

use crate::args::RecordArgs;

const SCHEMA: &str = "halocline.job/1";

/// What a job is and where its record lies: enough to record it without making the plan again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subject {
    results: String,
    tool_version: String,
    id: String,
    key: String,
    provenance: BTreeMap<String, String>,
    outputs: BTreeMap<String, Vec<String>>,
}

impl Subject {
    pub(crate) fn new(table: &JobTable, job: &Job) -> Self {
        Self {
            results: table.results.clone(),
            tool_version: table.tool_version.clone(),
            id: job.id.clone(),
            key: job.key.clone(),
            provenance: job.provenance.clone(),
            outputs: job.outputs.clone(),
        }
    }

    /// Where the record lies. Ids hold slashes and safe names only.
    pub(crate) fn path(&self) -> PathBuf {
        record_path(&self.results, &self.id)
    }
}

/// Where the record of a job lies.
fn record_path(results: &str, id: &str) -> PathBuf {
    Path::new(results)
        .join("work/jobs")
        .join(format!("{id}.json"))
}

/// Where a record is kept that does not hold now, but may again (a rule was edited back).
fn aside(path: &Path) -> PathBuf {
    path.with_extension("json.aside")
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema: String,
    id: String,
    key: String,
    provenance: BTreeMap<String, String>,
    wall_seconds: Option<f64>,
    outputs: Vec<Written>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: String,
    stamp: Stamp,
    xxh3_128: String,
}

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

/// Whether `job` is complete. With `checksums` the bytes of outputs are compared even when size
/// and time agree.
pub(crate) fn check(table: &JobTable, job: &Job, checksums: bool) -> State {
    let path = record_path(&table.results, &job.id);
    let here = check_at(&path, job, checksums);
    if here == State::Complete || check_at(&aside(&path), job, checksums) != State::Complete {
        return here;
    }
    State::Complete
}

/// Makes "the record exists" mean "the job is complete", for engines that look at files.
///
/// # Errors
/// A record that cannot be renamed.
pub(crate) fn settle(table: &JobTable, job: &Job) -> anyhow::Result<State> {
    let path = record_path(&table.results, &job.id);
    let aside = aside(&path);
    let state = check_at(&path, job, false);
    if state == State::Complete {
        return Ok(state);
    }
    if check_at(&aside, job, false) == State::Complete {
        fs_err::rename(&aside, &path)?;
        return Ok(State::Complete);
    }
    if path.exists() {
        fs_err::rename(&path, &aside)?;
    }
    Ok(state)
}

fn check_at(path: &Path, job: &Job, checksums: bool) -> State {
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
    let record = match serde_json::from_slice::<Record>(&text) {
        Ok(record) if record.schema == SCHEMA && record.id == job.id => record,
        _ => return State::Missing("its record is of another version or damaged".into()),
    };
    if record.key != job.key {
        return State::Stale(difference(&record.provenance, &job.provenance));
    }
    let mut verified = false;
    for file in job.outputs.values().flatten() {
        let Some(written) = record.outputs.iter().find(|w| w.path == *file) else {
            return State::Stale(format!("`{file}` was not written by the recorded run"));
        };
        match Stamp::of(Path::new(file)) {
            Err(_) => return State::Missing(format!("`{file}` is gone")),
            Ok(stamp) if stamp.bytes != written.stamp.bytes => {
                return State::Stale(format!(
                    "`{file}` has {} bytes, {} were written",
                    stamp.bytes, written.stamp.bytes
                ));
            }
            Ok(stamp) if trusted(&stamp, &written.stamp, path) && !checksums => {}
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
    match shards(&job.outputs) {
        Ok(()) => State::Complete,
        Err(why) => State::Missing(format!("{why:#}")),
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

/// A batch's manifest, as far as resume needs it.
#[derive(Deserialize)]
struct Manifest {
    shards: Vec<ManifestShard>,
}

#[derive(Deserialize)]
struct ManifestShard {
    dir: String,
    tables: BTreeMap<String, ManifestTable>,
}

#[derive(Deserialize)]
struct ManifestTable {
    bytes: u64,
}

/// The tables that a batch's manifest lists are there, with their sizes.
fn shards(outputs: &BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
    for manifest in outputs.get("manifest").into_iter().flatten() {
        let path = Path::new(manifest);
        let parsed: Manifest = serde_json::from_slice(&fs_err::read(path)?)
            .with_context(|| format!("`{manifest}` is no manifest"))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for shard in parsed.shards {
            for (name, table) in shard.tables {
                let file = folder.join(&shard.dir).join(if name.ends_with(".parquet") {
                    name
                } else {
                    format!("{name}.parquet")
                });
                match std::fs::metadata(&file) {
                    Ok(meta) if meta.len() == table.bytes => {}
                    Ok(meta) => bail!(
                        "`{}` has {} bytes, its manifest says {}",
                        file.display(),
                        meta.len(),
                        table.bytes
                    ),
                    Err(_) => bail!("`{}` is gone", file.display()),
                }
            }
        }
    }
    Ok(())
}

/// Forgets that a job was completed: called before it runs again.
pub(crate) fn forget(table: &JobTable, job: &Job) -> anyhow::Result<()> {
    let path = record_path(&table.results, &job.id);
    for path in [aside(&path), path] {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove `{}`", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Records that a job was completed.
///
/// # Errors
/// An output is missing, or disagrees with its sidecar, or was made by another version.
pub(crate) fn write(subject: &Subject, wall_seconds: Option<f64>) -> anyhow::Result<()> {
    let mut outputs = Vec::new();
    for file in subject.outputs.values().flatten() {
        let path = Path::new(file);
        let stamp =
            Stamp::of(path).with_context(|| format!("{} did not write `{file}`", subject.id))?;
        let sidecar_path = Sidecar::path_for(path);
        let xxh3_128 = if file.ends_with(".parquet") && sidecar_path.exists() {
            let sidecar = Sidecar::read(&sidecar_path)?;
            let Some(output) = sidecar.output else {
                bail!("the sidecar of `{file}` does not describe it")
            };
            if output.bytes != stamp.bytes {
                bail!(
                    "`{file}` has {} bytes, its sidecar says {}",
                    stamp.bytes,
                    output.bytes
                );
            }
            if sidecar.tool_version != subject.tool_version {
                bail!(
                    "`{file}` was made by {} {}, this is {}",
                    sidecar.tool,
                    sidecar.tool_version,
                    subject.tool_version
                );
            }
            output.xxh3_128
        } else {
            of_file(path)?
        };
        outputs.push(Written {
            path: file.clone(),
            stamp,
            xxh3_128,
        });
    }
    shards(&subject.outputs)?;
    let record = Record {
        schema: SCHEMA.to_owned(),
        id: subject.id.clone(),
        key: subject.key.clone(),
        provenance: subject.provenance.clone(),
        wall_seconds,
        outputs,
    };
    let path = subject.path();
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut text = serde_json::to_vec_pretty(&record)?;
    text.push(b'\n');
    publish::write_bytes(&path, &text)?;
    let _ = std::fs::remove_file(aside(&path));
    Ok(())
}

/// The `record` subcommand.
pub(crate) fn record(args: &RecordArgs) -> anyhow::Result<Outcome> {
    let subject: Subject =
        serde_json::from_str(&args.text).context("this is no text from `plan --settle`")?;
    write(&subject, None)
        .with_context(|| format!("`{}` cannot be recorded as complete", subject.id))?;
    Ok(Outcome::Done)
}
