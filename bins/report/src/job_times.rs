//! Time, memory and rejects of every process of the plan that left a trace: its sidecars, else Snakemake's benchmark
//! table (wall time and memory as Snakemake sampled them), else the job's record (wall time alone). A validator's peak
//! memory stands in its verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use halocline_cli::sidecar::Sidecar;
use halocline_plan::{Job, JobTable, Step};

use crate::model::Run;
use crate::text::grouped;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Slowest first.
    pub(crate) runs: Vec<Run>,
    /// By step and reason.
    pub(crate) rejects: BTreeMap<String, BTreeMap<String, u64>>,
    /// What a person should know of rows that went no further, and were no rejects.
    pub(crate) notes: Vec<String>,
}

/// Reads the traces of all jobs.
pub(crate) fn read(table: &JobTable) -> Traces {
    let mut traces = Traces::default();
    for job in &table.jobs {
        let sidecars: Vec<Sidecar> = sidecar_paths(job)
            .iter()
            .filter_map(|path| Sidecar::read(path).ok())
            .collect();
        for sidecar in &sidecars {
            if job.step == Step::SplitInput
                && let Some(other @ 1..) = of_no_class(job, sidecar)
            {
                traces.notes.push(format!(
                    "{} of {} rows of the input are of no class that the configuration names",
                    grouped(other),
                    grouped(sidecar.rows_in)
                ));
            }
            for (reason, rows) in &sidecar.rows_rejected {
                let of_step = traces
                    .rejects
                    .entry(job.step.name().to_owned())
                    .or_default();
                *of_step.entry(reason.clone()).or_default() += rows;
            }
        }
        let mut run = Run {
            id: job.id.clone(),
            step: job.step.name().to_owned(),
            wall_seconds: sidecars.iter().map(|s| s.wall_seconds).sum(),
            cpu_seconds: (!sidecars.is_empty())
                .then(|| sidecars.iter().map(|s| s.cpu_seconds).sum()),
            peak_rss_bytes: sidecars.iter().map(|s| s.peak_rss_bytes).max(),
            memory_limit_bytes: job.memory_limit_bytes,
        };
        if sidecars.is_empty()
            && !benchmark(&job.benchmark, &mut run)
            && !record(table, job, &mut run)
        {
            continue;
        }
        run.peak_rss_bytes = peak_in_verdict(job).or(run.peak_rss_bytes);
        traces.runs.push(run);
    }
    traces.runs.sort_by(|a, b| {
        b.wall_seconds
            .total_cmp(&a.wall_seconds)
            .then_with(|| a.id.cmp(&b.id))
    });
    traces
}

/// One sidecar per process: of a batch, those of its shards; of another job, that of its table.
fn sidecar_paths(job: &Job) -> Vec<PathBuf> {
    match job.step {
        Step::Halogenate | Step::Transform => {
            let manifest = job.outputs.get("manifest").and_then(|files| files.first());
            let Some(batch) = manifest.and_then(|path| Path::new(path).parent()) else {
                return Vec::new();
            };
            let Ok(entries) = fs::read_dir(batch) else {
                return Vec::new();
            };
            let mut paths: Vec<PathBuf> = entries
                .filter_map(Result::ok)
                .map(|entry| entry.path().join("shard.stats.json"))
                .collect();
            paths.sort();
            paths
        }
        Step::MergeLibrary | Step::Merge => job
            .outputs
            .get("stats")
            .into_iter()
            .flatten()
            .map(PathBuf::from)
            .collect(),
        // Rejects are of the whole input, above the folders of its classes.
        Step::SplitInput => {
            let plans = job.outputs.get("plans").into_iter().flatten();
            let folders = plans.filter_map(|plan| Path::new(plan).parent()?.parent());
            let rejects = folders.map(|dir| Sidecar::path_for(&dir.join("rejects.parquet")));
            rejects.take(1).collect()
        }
        Step::SplitLibrary => {
            let first = job.outputs.values().flatten().next();
            first
                .map(|path| Sidecar::path_for(Path::new(path)))
                .into_iter()
                .collect()
        }
        Step::Validate | Step::Report => Vec::new(),
    }
}

/// Rows of the input that are of no class of the plan. The split may be one for other classes, in the part that is still
/// good: what it left out then does not tell, and the rows of the present classes do, if they are all of that input.
fn of_no_class(split: &Job, whole: &Sidecar) -> Option<u64> {
    let mut of_classes = 0;
    for library in split.outputs.get("libraries")? {
        let class = Sidecar::read(&Sidecar::path_for(Path::new(library))).ok()?;
        if class.input_fingerprint != whole.input_fingerprint {
            return None;
        }
        of_classes += class.rows_in;
    }
    whole.rows_done.checked_sub(of_classes)
}

/// Peak memory as a validator wrote it into its verdict.
fn peak_in_verdict(job: &Job) -> Option<u64> {
    let verdict = fs::read(job.outputs.get("verdict")?.first()?).ok()?;
    let verdict: serde_json::Value = serde_json::from_slice(&verdict).ok()?;
    verdict.get("peak_rss_bytes")?.as_u64()
}

/// Fills in what Snakemake measured; false when there is no such table.
fn benchmark(path: &str, run: &mut Run) -> bool {
    let Ok(text) = fs::read_to_string(path) else {
        return false;
    };
    let mut lines = text.lines();
    let (Some(header), Some(values)) = (lines.next(), lines.next_back()) else {
        return false;
    };
    let columns: BTreeMap<&str, &str> = header.split('\t').zip(values.split('\t')).collect();
    let number = |name: &str| {
        columns
            .get(name)
            .and_then(|value| value.parse::<f64>().ok())
    };
    let Some(wall_seconds) = number("s") else {
        return false;
    };
    run.wall_seconds = wall_seconds;
    // 0 of a process that ended before Snakemake looked.
    let sampled = |name: &str| number(name).filter(|value| *value > 0.0);
    run.cpu_seconds = sampled("cpu_time");
    run.peak_rss_bytes = sampled("max_rss").map(|mib| (mib * 1_048_576.0) as u64);
    true
}

/// Fills in the wall time of the job's record; false when there is none.
fn record(table: &JobTable, job: &Job, run: &mut Run) -> bool {
    let path = format!("{}/work/jobs/{}.json", table.results, job.id);
    let Ok(bytes) = fs::read(path) else {
        return false;
    };
    let Ok(record) = serde_json::from_slice::<serde_json::Value>(&bytes) else {
        return false;
    };
    let seconds = record
        .get("wall_seconds")
        .and_then(serde_json::Value::as_f64);
    run.wall_seconds = seconds.unwrap_or(0.0);
    seconds.is_some()
}
