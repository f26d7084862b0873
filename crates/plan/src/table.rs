//! The job table and its JSON form (`halo-drive plan`), which Snakemake reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Step;

/// Value of the `schema` key.
pub const SCHEMA: &str = "halocline.jobs/1";

/// Every job of the pipeline, each after the jobs it needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobTable {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Version of the tools the table was made for.
    pub tool_version: String,
    /// RDKit the transform binary says it is linked to; `None`: not asked, or it did not say.
    pub rdkit_version: Option<String>,
    /// Folder of all results.
    pub results: String,
    /// The jobs.
    pub jobs: Vec<Job>,
}

/// One job. All paths are as in the configuration: relative to the working directory, or absolute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// `step/name`, unique.
    pub id: String,
    /// What it does.
    pub step: Step,
    /// Unique within the step, and the part of its output path that tells its jobs apart.
    pub name: String,
    /// Class of molecules, where the job has one.
    pub class: Option<String>,
    /// Substitution depth of the library.
    pub depth: Option<u32>,
    /// Transform rule.
    pub rule: Option<String>,
    /// Batch number.
    pub batch: Option<u32>,
    /// Files read, by role.
    pub inputs: BTreeMap<String, Vec<String>>,
    /// Files written, by role; the job is incomplete while one of them is missing.
    pub outputs: BTreeMap<String, Vec<String>>,
    /// Program (a name, found in the folder of binaries) and arguments.
    pub command: Vec<String>,
    /// Threads the command uses.
    pub threads: u32,
    /// `--memory-limit` of the command.
    pub memory_limit_bytes: u64,
    /// The same in units of 10^6 bytes, rounded up, as Snakemake counts.
    pub mem_mb: u64,
    /// Disk the job may fill, in units of 10^6 bytes.
    pub disk_mb: u64,
    /// Wall time after which a cluster may end the job, in minutes.
    pub runtime_minutes: u32,
    /// Estimated CPU seconds; only ratios matter.
    pub cost_seconds: f64,
    /// Log file of the job.
    pub log: String,
    /// Benchmark table (written by Snakemake).
    pub benchmark: String,
    /// Ids of the jobs whose outputs it reads.
    pub needs: Vec<String>,
    /// Shard tables the job reads and no other job does (merges).
    pub shard_tables: Option<ShardTables>,
    /// Shard tables that nobody needs once this job is complete: they are removed when it is
    /// recorded. Of a library when it is merged, of a rule when its products are validated, and
    /// whatever is left when the report is written.
    pub releases: Vec<ShardTables>,
    /// What the content of the outputs depends on, by name: two equal maps mean equal bytes.
    pub provenance: BTreeMap<String, String>,
    /// xxh3-128 of `provenance`, hexadecimal.
    pub key: String,
}

/// Tables of all shards of one library: `FOLDER/batch-0003/shard-00012/TABLE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardTables {
    /// Folder of the batches.
    pub folder: String,
    /// Shards of the library.
    pub shards: u32,
    /// Shards of each batch but the last.
    pub shards_per_batch: u32,
    /// File names of the tables in each shard's folder.
    pub tables: Vec<String>,
}

impl ShardTables {
    /// Path of every table.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.shards).flat_map(move |shard| {
            let batch = batch_folder(&self.folder, shard / self.shards_per_batch.max(1));
            let folder = Path::new(&batch).join(format!("shard-{shard:05}"));
            self.tables.iter().map(move |table| folder.join(table))
        })
    }
}

/// Folder of one batch of shards.
pub(crate) fn batch_folder(folder: &str, batch: u32) -> String {
    format!("{folder}/batch-{batch:04}")
}

/// Folder of the records in a folder of results.
const RECORDS: &str = "work/jobs";

/// Where the record that a job is complete lies. Ids hold slashes and safe names only.
#[must_use]
pub fn record_path(results: &str, id: &str) -> PathBuf {
    Path::new(results).join(RECORDS).join(format!("{id}.json"))
}

/// Whether an engine has ever recorded a job there: programs run by hand leave no records.
#[must_use]
pub fn has_records(results: &str) -> bool {
    Path::new(results).join(RECORDS).is_dir()
}

impl JobTable {
    /// The job of that id.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<&Job> {
        self.jobs.iter().find(|j| j.id == id)
    }

    /// Jobs of one step.
    pub fn of(&self, step: Step) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(move |j| j.step == step)
    }
}

impl Job {
    /// The first file that the job reads and that is not there.
    #[must_use]
    pub fn first_gone(&self) -> Option<PathBuf> {
        let inputs = self.inputs.values().flatten().map(PathBuf::from);
        let tables = self.shard_tables.iter().flat_map(ShardTables::paths);
        inputs.chain(tables).find(|path| !path.exists())
    }

    /// The library the job belongs to, `polyphenol-2X`, where it has one.
    #[must_use]
    pub fn library(&self) -> Option<String> {
        Some(format!("{}-{}X", self.class.as_deref()?, self.depth?))
    }
}
