//! The report over everything.

use super::draft::{Draft, argv, map};
use super::{Builder, PlanError, text};
use crate::{Job, ShardTables, Step, cost, fingerprint};

/// Most tables the report names as released: the list is an argument of `halo-drive record`, and
/// Linux takes 128 KiB. Beyond, what an interruption left stays until `halo-drive run` finds it.
const MOST_RELEASED: usize = 1_000;

impl Builder<'_> {
    pub(super) fn report(&mut self) -> Result<(), PlanError> {
        let folder = format!("{}/report", self.results);
        let files = |step: Step, role: &str| -> Vec<String> {
            self.jobs
                .iter()
                .filter(|j| j.step == step)
                .flat_map(|j| j.outputs.get(role).cloned().unwrap_or_default())
                .collect()
        };
        let mut summaries = files(Step::MergeLibrary, "summary");
        summaries.extend(files(Step::Merge, "summary"));
        let verdicts = files(Step::Validate, "verdict");
        let read = |j: &&Job| matches!(j.step, Step::MergeLibrary | Step::Merge | Step::Validate);
        let needs: Vec<String> = self
            .jobs
            .iter()
            .filter(read)
            .map(|j| j.id.clone())
            .collect();
        let keys: Vec<&str> = self
            .jobs
            .iter()
            .filter(read)
            .map(|j| j.key.as_str())
            .collect();
        let releases = self.leftovers();
        let config = text(&self.config.path);
        self.push(Draft {
            step: Step::Report,
            name: "report".into(),
            inputs: map([("summaries", summaries), ("verdicts", verdicts)]),
            outputs: map([
                (
                    "json",
                    vec![format!("{folder}/transform_pipeline_report.json")],
                ),
                ("jobs", vec![format!("{folder}/jobs.tsv")]),
                ("html", vec![format!("{folder}/index.html")]),
            ]),
            command: argv([
                "halo-report",
                "--config",
                &config,
                "--results",
                &self.results,
                "--out-dir",
                &folder,
            ]),
            cost: cost::PER_JOB * 10.0,
            provenance: map([("results", fingerprint::of_bytes(keys.join("\n").as_bytes()))]),
            needs,
            releases,
            ..Draft::default()
        })?;
        Ok(())
    }

    /// All shard tables that are to go, one entry per library: what an interruption between a
    /// record and its removals left, and what a batch made again beside what it was needed for.
    fn leftovers(&self) -> Vec<ShardTables> {
        let mut all: Vec<ShardTables> = Vec::new();
        for released in self.jobs.iter().flat_map(|j| &j.releases) {
            match all.iter_mut().find(|a| a.folder == released.folder) {
                Some(known) => known.tables.extend(released.tables.iter().cloned()),
                None => all.push(released.clone()),
            }
        }
        if all.iter().map(|a| a.tables.len()).sum::<usize>() > MOST_RELEASED {
            all.clear();
        }
        all
    }
}
