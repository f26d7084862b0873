//! Rows that are known by now, from plans, sidecars and manifests of what has been made: they take
//! the place of guesses in the estimated costs. They decide nothing else, so that files of an
//! earlier run do no harm, and one that cannot be read is as good as none.

use std::collections::BTreeMap;
use std::path::Path;

use halocline_cli::sidecar::Sidecar;
use halocline_plan::{Job, JobTable, Scale, Step};
use serde::Deserialize;

use crate::manifest::Manifest;

/// Puts every count that is known into `scale`.
pub(crate) fn known(table: &JobTable, scale: &mut Scale) {
    let mut shards = Shards::default();
    for job in &table.jobs {
        let files = |role: &str| job.outputs.get(role).into_iter().flatten();
        match (job.step, job.library()) {
            (Step::SplitInput, _) => {
                for plan in files("plans") {
                    let class = Path::new(plan).parent().and_then(Path::file_name);
                    if let (Some(class), Some(rows)) = (class, plan_rows(plan)) {
                        scale
                            .classes
                            .insert(class.to_string_lossy().into_owned(), rows);
                    }
                }
            }
            (Step::Halogenate | Step::Transform, _) => shards.add(job),
            (Step::MergeLibrary, Some(library)) => {
                let of_shards = shards.of(job);
                let merged = files("products").find_map(|file| merged_rows(file));
                if let Some(rows) = merged.or(of_shards) {
                    scale.libraries.insert(library, rows);
                }
            }
            (Step::SplitLibrary, Some(library)) => {
                if let Some(rows) = files("plan").find_map(|plan| plan_rows(plan)) {
                    scale.libraries.insert(library, rows);
                }
            }
            (Step::Merge, _) => {
                if let Some(rows) = shards.of(job) {
                    scale.products.insert(job.name.clone(), rows);
                }
            }
            _ => {}
        }
    }
}

/// Rows by table of the batches that are there.
#[derive(Default)]
struct Shards<'a> {
    batches: BTreeMap<&'a str, BTreeMap<String, u64>>,
}

impl<'a> Shards<'a> {
    fn add(&mut self, batch: &'a Job) {
        let manifest = batch
            .outputs
            .get("manifest")
            .and_then(|files| files.first());
        let Some(manifest) = manifest.and_then(|path| Manifest::read(path).ok()) else {
            return;
        };
        let tables = self.batches.entry(&batch.id).or_default();
        for (table, rows) in manifest.rows() {
            *tables.entry(table).or_default() += rows;
        }
    }

    /// Rows that a merge has to read, as far as its batches tell: those that are not there are
    /// taken to be like the others.
    fn of(&self, merge: &Job) -> Option<f64> {
        let table = merge.shard_tables.as_ref()?.tables.first()?;
        let there = merge
            .needs
            .iter()
            .filter_map(|n| self.batches.get(n.as_str()));
        let (mut seen, mut rows) = (0_usize, 0);
        for tables in there {
            seen += 1;
            rows += tables.get(table)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let all = |n: usize| rows as f64 * merge.needs.len() as f64 / n as f64;
        (seen > 0).then(|| all(seen))
    }
}

/// Rows of what a plan file cuts.
fn plan_rows(path: &str) -> Option<f64> {
    #[derive(Deserialize)]
    struct Plan {
        input_rows: u64,
    }
    let plan: Plan = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    Some(plan.input_rows as f64)
}

/// Rows of a table, from its sidecar.
fn merged_rows(path: &str) -> Option<f64> {
    let sidecar = Sidecar::read(&Sidecar::path_for(Path::new(path))).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    sidecar.output.map(|output| output.rows as f64)
}
