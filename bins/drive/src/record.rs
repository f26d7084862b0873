//! Records of completed jobs. Whether one still holds is asked in `check`.
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
use halocline_plan::{Job, JobTable, ShardTables, record_path};
use serde::{Deserialize, Serialize};

use crate::args::RecordArgs;
use crate::manifest::Manifest;
use crate::sources::Sources;

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
    sources: Sources,
    releases: Vec<ShardTables>,
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
            sources: Sources::of(job),
            releases: job.releases.clone(),
        }
    }

    /// Where the record lies.
    pub(crate) fn path(&self) -> PathBuf {
        record_path(&self.results, &self.id)
    }
}

/// Where a record is kept that does not hold now, but may again (a rule was edited back).
pub(crate) fn aside(path: &Path) -> PathBuf {
    path.with_extension("json.aside")
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    schema: String,
    id: String,
    pub(crate) key: String,
    pub(crate) provenance: BTreeMap<String, String>,
    wall_seconds: Option<f64>,
    pub(crate) outputs: Vec<Written>,
}

impl Record {
    /// The record of `job`, from the text of a file.
    pub(crate) fn parse(text: &[u8], job: &Job) -> Option<Self> {
        let record = serde_json::from_slice::<Self>(text).ok()?;
        (record.schema == SCHEMA && record.id == job.id).then_some(record)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    pub(crate) path: String,
    pub(crate) stamp: Stamp,
    pub(crate) xxh3_128: String,
}

/// Sets the record at `path` aside, if there is one: it does not hold now.
pub(crate) fn set_aside(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        fs_err::rename(path, aside(path))?;
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

/// The record of a job that has just ended well.
///
/// # Errors
/// An output is missing, or disagrees with its sidecar, or was made by another version, or what it
/// was made from has changed since the plan: the job is not complete.
pub(crate) fn examine(subject: &Subject, wall_seconds: Option<f64>) -> anyhow::Result<Record> {
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
    for manifest in subject.outputs.get("manifest").into_iter().flatten() {
        let manifest = Manifest::read(manifest)?;
        manifest.check(false, |_| false)?;
        manifest.check_versions(&subject.tool_version, subject.provenance.get("RDKit"))?;
    }
    subject
        .sources
        .check(&subject.results, &subject.provenance)?;
    Ok(Record {
        schema: SCHEMA.to_owned(),
        id: subject.id.clone(),
        key: subject.key.clone(),
        provenance: subject.provenance.clone(),
        wall_seconds,
        outputs,
    })
}

/// Writes the record, and removes what the job was the last to need.
///
/// # Errors
/// The record cannot be written, which is no fault of the job.
pub(crate) fn save(subject: &Subject, record: &Record) -> anyhow::Result<()> {
    let path = subject.path();
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    publish::write_bytes(&path, &text)?;
    let _ = std::fs::remove_file(aside(&path));
    let released = subject.releases.iter().flat_map(ShardTables::paths);
    released.for_each(|path| remove(&path));
    Ok(())
}

/// Removes a shard table that nobody needs any more. One that cannot be removed costs disk only.
pub(crate) fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(
                "cannot remove `{}`, which is no longer needed: {e}",
                path.display()
            );
        }
        _ => {}
    }
}

/// The `record` subcommand.
pub(crate) fn record(args: &RecordArgs) -> anyhow::Result<Outcome> {
    let subject: Subject =
        serde_json::from_str(&args.text).context("this is no text from `plan --settle`")?;
    examine(&subject, None)
        .and_then(|record| save(&subject, &record))
        .with_context(|| format!("`{}` cannot be recorded as complete", subject.id))?;
    Ok(Outcome::Done)
}

/// Makes a folder and those above it.
///
/// # Errors
/// It cannot be made; on a full disk with what it needs.
pub(crate) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs_err::create_dir_all(folder).map_err(|error| {
        let mut above = folder.ancestors();
        if let Some(link) = above.find(|path| path.is_symlink() && !path.exists()) {
            let target = std::fs::read_link(link).unwrap_or_default();
            return anyhow::anyhow!(
                "`{}` is a link to `{}`, which is not there",
                link.display(),
                target.display()
            );
        }
        if error.kind() == std::io::ErrorKind::StorageFull {
            anyhow::anyhow!(
                "no space left on the device for the folder `{}`: at least one block or inode more needed",
                folder.display()
            )
        } else {
            error.into()
        }
    })
}
