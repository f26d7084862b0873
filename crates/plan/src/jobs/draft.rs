//! A job before limits, paths and key, and the step that adds them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Builder, PlanError};
use crate::config::Limits;
use crate::{Job, ShardTables, Step, cost, fingerprint};

pub(super) type Map<T> = BTreeMap<String, T>;

/// A job before limits, paths and key.
#[derive(Default)]
pub(super) struct Draft {
    /// Always given; the default only lets the other fields be left out.
    pub(super) step: Step,
    pub(super) name: String,
    pub(super) class: Option<String>,
    pub(super) depth: Option<u32>,
    pub(super) rule: Option<String>,
    pub(super) batch: Option<u32>,
    pub(super) inputs: Map<Vec<String>>,
    pub(super) outputs: Map<Vec<String>>,
    pub(super) command: Vec<String>,
    /// Whether the command takes `--threads`.
    pub(super) threads: bool,
    pub(super) needs: Vec<String>,
    pub(super) shard_tables: Option<ShardTables>,
    pub(super) releases: Vec<ShardTables>,
    pub(super) cost: f64,
    pub(super) provenance: Map<String>,
}

impl Builder<'_> {
    /// Adds a job: limits and flags of its step, paths of log and benchmark, key. Returns its id.
    pub(super) fn push(&mut self, draft: Draft) -> Result<String, PlanError> {
        let step = draft.step;
        let Limits {
            memory,
            threads,
            runtime_minutes,
            disk,
        } = self.config.limits(step).ok_or(PlanError::NoLimits(step))?;
        let mut command = draft.command;
        if draft.threads {
            command.extend(argv(["--threads", &threads.to_string()]));
        }
        command.extend(argv(["--memory-limit", &memory.to_string()]));
        let mut provenance = draft.provenance;
        provenance.insert("halocline".into(), self.facts.tool_version.clone());
        let key_text = provenance
            .iter()
            .fold(format!("{step}\n"), |mut text, (name, value)| {
                let _ = writeln!(text, "{}:{name}={}:{value}", name.len(), value.len());
                text
            });
        let id = format!("{step}/{}", draft.name);
        self.jobs.push(Job {
            log: format!("{}/logs/{id}.log", self.results),
            benchmark: format!("{}/benchmarks/{id}.tsv", self.results),
            id: id.clone(),
            step,
            name: draft.name,
            class: draft.class,
            depth: draft.depth,
            rule: draft.rule,
            batch: draft.batch,
            inputs: draft.inputs,
            outputs: draft.outputs,
            command,
            threads,
            memory_limit_bytes: memory.bytes(),
            mem_mb: memory.bytes().div_ceil(1_000_000),
            disk_mb: disk.0.div_ceil(1_000_000),
            runtime_minutes,
            cost_seconds: draft.cost + cost::PER_JOB,
            needs: draft.needs,
            shard_tables: draft.shard_tables,
            releases: if self.config.keep_intermediates {
                Vec::new()
            } else {
                draft.releases
            },
            key: fingerprint::of_bytes(key_text.as_bytes()),
            provenance,
        });
        Ok(id)
    }
}

pub(super) fn map<T, const N: usize>(pairs: [(&str, T); N]) -> Map<T> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

pub(super) fn argv<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.into_iter().map(str::to_owned).collect()
}
