//! Reads what the steps left behind and adds it up. Every file may be missing, cut short or of another version: then
//! the job it belongs to says so, and the rest of the report stands.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use halocline_cli::sidecar::{Sidecar, SidecarError};
use halocline_plan::{
    Config, Facts, Job as Planned, JobTable, Scale, Step, build, has_records, input_files,
    record_path,
};
use serde::Deserialize;

use crate::job_times::{self, Traces};
use crate::model::{Job, Library, Report, SCHEMA, Status, Totals};
use crate::text::grouped;

/// The keys of `SUMMARY.json` that the report shows; the file has more. What shards without sidecars do not tell is null.
#[derive(Debug, Default, Deserialize)]
struct Summary {
    total_input: Option<u64>,
    total_processed: Option<u64>,
    total_products: u64,
    unique_products: u64,
    elapsed_seconds: f64,
    #[serde(default)]
    stats: Stats,
}

/// The counts of the shards' sidecars, added up; without sidecars there are none.
#[derive(Debug, Default, Deserialize)]
struct Stats {
    products_failed: Option<u64>,
}

impl Summary {
    fn products_failed(&self) -> u64 {
        self.stats.products_failed.unwrap_or(0)
    }
}

/// The keys of `validation.json` that the report shows.
#[derive(Debug, Deserialize)]
struct Verdict {
    valid: bool,
    #[serde(default)]
    failures: Vec<Failure>,
    /// Of the bytes that it is about.
    xxh3_128: Option<String>,
}

/// The keys of a record of `halo-drive` that the report needs.
#[derive(Debug, Deserialize)]
struct Record {
    provenance: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    message: String,
}

/// The jobs of a configuration.
///
/// # Errors
/// When its rule files cannot be used.
pub(crate) fn plan(config: &Config) -> Result<JobTable> {
    // Which jobs there are depends on the rules alone, so that a report can be made where the inputs no longer are.
    let facts = Facts {
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        rdkit_version: None,
        inputs: input_files(config)
            .into_iter()
            .map(|path| (path, String::new()))
            .collect(),
        scale: Scale::from_bytes(0),
    };
    Ok(build(config, &facts)?)
}

/// Reads all results there are of the jobs of a plan.
pub(crate) fn collect(config: &Config, table: &JobTable) -> Report {
    let traces = job_times::read(table);
    let libraries: Vec<Library> = table.of(Step::MergeLibrary).map(library).collect();
    let mut rdkit_version = None;
    let jobs: Vec<Job> = table
        .of(Step::Merge)
        .map(|merge| job(table, merge, &mut rdkit_version))
        .collect();
    let totals = totals(&jobs, &libraries, &traces);
    let empty = libraries
        .iter()
        .filter(|l| l.complete && l.total_input == 0);
    let empty = empty.map(|l| format!("library {} is empty: no molecule is of its class", l.name));
    let none = without_rules(config, &jobs);
    let notes = traces.notes.into_iter().chain(none).chain(empty);
    let notes = notes.chain(mostly_failed(&libraries, &jobs)).collect();
    Report {
        schema: SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        rdkit_version,
        results: table.results.clone(),
        totals,
        libraries,
        jobs,
        runs: traces.runs,
        rejects: traces.rejects,
        notes,
    }
}

/// Names the classes that no rule is for.
fn without_rules(config: &Config, jobs: &[Job]) -> Vec<String> {
    if jobs.is_empty() {
        let none =
            "no rule is in scope of any class of the configuration: there is nothing to make";
        return vec![none.to_owned()];
    }
    let classes = config.classes.iter();
    classes
        .filter(|class| jobs.iter().all(|job| job.class != **class))
        .map(|class| {
            format!("no rule is in scope of class {class}: nothing is made of its libraries")
        })
        .collect()
}

/// Names rules and libraries of which more products failed than were made.
fn mostly_failed(libraries: &[Library], jobs: &[Job]) -> Vec<String> {
    // By rule: of an impossible product, every class and depth would say the same.
    let mut rules: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for job in jobs {
        let (made, failed) = rules.entry(&job.rule).or_default();
        *made = made.saturating_add(job.total_products);
        *failed = failed.saturating_add(job.products_failed);
    }
    let libraries = libraries.iter().map(|library| {
        let counts = (library.total_products, library.products_failed);
        (format!("library {}: halogenation", library.name), counts)
    });
    let rules = rules.into_iter();
    libraries
        .chain(rules.map(|(rule, counts)| (format!("rule {rule}"), counts)))
        .filter(|(_, (made, failed))| failed > made)
        .map(|(what, (made, failed))| {
            format!(
                "{what} made {} of {} products; why {} failed is in the `rejects.parquet` of the shards",
                grouped(made),
                grouped(made.saturating_add(failed)),
                grouped(failed)
            )
        })
        .collect()
}

/// The single file of a role; an empty name (which no file has) where the plan gives none.
fn output<'a>(job: &'a Planned, role: &str) -> &'a str {
    job.outputs
        .get(role)
        .and_then(|files| files.first())
        .map_or("", String::as_str)
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &str) -> Result<T, String> {
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    serde_json::from_slice(&bytes).map_err(|e| format!("`{path}` cannot be understood: {e}"))
}

fn file_size(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

fn share(unique: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| unique as f64 / total as f64)
}

fn library(merge: &Planned) -> Library {
    let products = output(merge, "products");
    let summary = read_json::<Summary>(output(merge, "summary"));
    let complete = summary.is_ok() && Path::new(products).is_file();
    let summary = summary.unwrap_or_default();
    Library {
        name: merge.name.clone(),
        complete,
        total_input: summary.total_input.unwrap_or(0),
        total_products: summary.total_products,
        unique_products: summary.unique_products,
        products_failed: summary.products_failed(),
        bytes: file_size(products),
        products: products.to_owned(),
    }
}

fn job(table: &JobTable, merge: &Planned, rdkit: &mut Option<String>) -> Job {
    let products = output(merge, "products");
    let summary = read_json::<Summary>(output(merge, "summary"));
    let sidecar = Sidecar::read(&Sidecar::path_for(Path::new(products)));
    let verdict = table
        .of(Step::Validate)
        .find(|validate| validate.name == merge.name)
        .map(|validate| (validate, read_json::<Verdict>(output(validate, "verdict"))));
    let (status, problem) = match (&summary, &verdict) {
        (Err(_), _) => (Status::Missing, Some(why_missing(table, merge))),
        (Ok(_), _) if let Some(why) = not_made(table, merge) => (Status::Missing, Some(why)),
        (Ok(_), Some((_, Ok(verdict))))
            if let Some(why) = not_itself(products, &sidecar, verdict) =>
        {
            (Status::Invalid, Some(why))
        }
        (Ok(_), Some((_, Ok(verdict)))) if verdict.valid => (Status::Valid, None),
        (Ok(_), Some((_, Ok(verdict)))) => {
            let all: Vec<&str> = verdict
                .failures
                .iter()
                .map(|p| p.message.as_str())
                .collect();
            let reason = if all.is_empty() {
                "the validator refused it".to_owned()
            } else {
                all.join("; ")
            };
            (Status::Invalid, Some(reason))
        }
        (Ok(_), Some((validate, Err(unread)))) => {
            let there = Path::new(output(validate, "verdict")).exists();
            let reason = if there {
                unread.clone()
            } else {
                why_missing(table, validate)
            };
            (Status::Missing, Some(format!("not validated: {reason}")))
        }
        (Ok(_), None) => (
            Status::Missing,
            Some("the plan validates it nowhere".to_owned()),
        ),
    };
    if let Ok(sidecar) = &sidecar
        && rdkit.is_none()
    {
        rdkit.clone_from(&sidecar.rdkit_version);
    }
    let summary = summary.unwrap_or_default();
    let sidecar = sidecar.unwrap_or_default();
    Job {
        name: merge.name.clone(),
        class: merge.class.clone().unwrap_or_default(),
        depth: merge.depth.unwrap_or_default(),
        rule: merge.rule.clone().unwrap_or_default(),
        status,
        problem,
        total_input: summary.total_input.unwrap_or(0),
        total_processed: summary.total_processed.unwrap_or(0),
        total_products: summary.total_products,
        unique_products: summary.unique_products,
        products_failed: summary.products_failed(),
        unique_share: share(summary.unique_products, summary.total_products),
        elapsed_seconds: summary.elapsed_seconds,
        bytes: file_size(products),
        peak_rss_bytes: sidecar.peak_rss_bytes,
        memory_limit_bytes: sidecar.memory_limit_bytes,
        spill_bytes: sidecar.spill_bytes,
        products: products.to_owned(),
    }
}

/// Why the products are not those of the plan: they are gone, or an engine that works here has not recorded that they were
/// made, or recorded it of another rule.
fn not_made(table: &JobTable, merge: &Planned) -> Option<String> {
    let products = output(merge, "products");
    if !Path::new(products).is_file() {
        return Some(format!("`{products}` is gone"));
    }
    if !has_records(&table.results) {
        return None;
    }
    let path = record_path(&table.results, &merge.id);
    let Ok(record) = read_json::<Record>(&path.to_string_lossy()) else {
        return Some(why_missing(table, merge));
    };
    (record.provenance.get("rule") != merge.provenance.get("rule")).then(|| {
        format!(
            "{} was made by another text of its rule; run it again",
            merge.id
        )
    })
}

/// Why the file that is there is not the one that was written and validated.
fn not_itself(
    products: &str,
    sidecar: &Result<Sidecar, SidecarError>,
    verdict: &Verdict,
) -> Option<String> {
    let sidecar = match sidecar {
        Ok(sidecar) => sidecar,
        Err(error) => return Some(format!("its sidecar cannot be read: {error}")),
    };
    let written = sidecar.output.as_ref()?;
    let bytes = file_size(products);
    if bytes != written.bytes {
        return Some(format!(
            "`{products}` has {bytes} bytes, its sidecar says {}",
            written.bytes
        ));
    }
    let other = verdict
        .xxh3_128
        .as_ref()
        .is_some_and(|digest| *digest != written.xxh3_128);
    other.then(|| format!("other bytes were validated than the sidecar of `{products}` names"))
}

/// The first job on the way to `job` that is not complete, and the last word of its log.
fn why_missing(table: &JobTable, job: &Planned) -> String {
    let mut job = job;
    // Each step goes to a job that this one needs; the plan has no cycles and few levels.
    for _ in Step::ALL {
        let incomplete = job
            .needs
            .iter()
            .filter_map(|id| table.job(id))
            .find(|needed| {
                let mut files = needed.outputs.values().flatten();
                files.any(|path| !Path::new(path).exists())
                    || (has_records(&table.results)
                        && !record_path(&table.results, &needed.id).is_file())
            });
        match incomplete {
            Some(needed) if last_error(&job.log).is_none() => job = needed,
            _ => break,
        }
    }
    match last_error(&job.log) {
        Some(error) => format!("{} failed: {error}", job.id),
        None => format!("{} has not run to its end", job.id),
    }
}

/// Bytes of a log that are looked at, from its end.
const LOG_BYTES: u64 = 64 << 10;

/// The last line of a log that names an error, without its colours.
fn last_error(log: &str) -> Option<String> {
    // The end of the log: a job that logs its every row may have written more than there is memory.
    let mut file = fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| {
        let line = line.to_ascii_lowercase();
        line.contains("error") || line.contains("broken:") || line.contains("panicked")
    })?;
    Some(
        line.trim()
            .chars()
            .filter(|c| !c.is_control())
            .take(500)
            .collect(),
    )
}

fn totals(jobs: &[Job], libraries: &[Library], traces: &Traces) -> Totals {
    let mut totals = Totals {
        jobs: jobs.len() as u64,
        ..Totals::default()
    };
    // By library that a rule is for: what the jobs that read it counted, as of a ready one nothing else does.
    let mut parents: BTreeMap<String, u64> = BTreeMap::new();
    for job in jobs {
        match job.status {
            Status::Valid => totals.valid += 1,
            Status::Invalid => totals.invalid += 1,
            Status::Missing => totals.missing += 1,
        }
        let library = format!("{}-{}X", job.class, job.depth);
        let of_library = parents.entry(library).or_default();
        *of_library = (*of_library).max(job.total_input);
        totals.total_products += job.total_products;
        totals.unique_products += job.unique_products;
        totals.products_failed = totals.products_failed.saturating_add(job.products_failed);
        totals.bytes += job.bytes;
    }
    // Also of libraries of which no product is there yet.
    for library in libraries.iter().filter(|library| library.complete) {
        if let Some(of_library) = parents.get_mut(&library.name) {
            *of_library = library.unique_products;
        }
    }
    totals.parents = parents.values().sum();
    totals.libraries = parents.values().filter(|rows| **rows > 0).count() as u64;
    for run in &traces.runs {
        totals.cpu_seconds += run.cpu_seconds.unwrap_or(0.0);
        totals.peak_rss_bytes = totals.peak_rss_bytes.max(run.peak_rss_bytes.unwrap_or(0));
    }
    totals.rejected = traces.rejects.values().flat_map(BTreeMap::values).sum();
    totals
}
