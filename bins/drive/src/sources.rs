//! What a job reads besides the outputs of other jobs, and whether it is still what the plan was
//! made from. A rule file edited while a job ran would otherwise be recorded under its old text.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use halocline_plan::fingerprint::Cache;
use halocline_plan::{Job, Step, rules_fingerprint};
use serde::{Deserialize, Serialize};

use crate::facts;

/// Files from outside that decide the content of a job's outputs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sources {
    /// Input table or ready library: path and fingerprint.
    table: Option<(String, String)>,
    /// Rule file, class and depth; the fingerprint of the rules is in the provenance.
    rules: Option<(String, String, u32)>,
}

/// Something a job read has changed since the plan was made.
#[derive(Debug)]
pub(crate) struct Changed(String);

impl std::fmt::Display for Changed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} changed while this ran, so it is not known of which text the output is\nhint: the same command, started again, finds out",
            self.0
        )
    }
}

impl std::error::Error for Changed {}

impl Sources {
    pub(crate) fn of(job: &Job) -> Self {
        let input = |role: &str| {
            job.inputs
                .get(role)
                .and_then(|files| files.first())
                .cloned()
        };
        let print = |name: &str| job.provenance.get(name).cloned();
        let table = match job.step {
            Step::SplitInput => input("table").zip(print("input file")),
            Step::SplitLibrary => input("library").zip(print("library file")),
            Step::Transform => input("table").zip(print("library file")),
            _ => None,
        };
        let rules = match (input("rules"), &job.class, job.depth) {
            (Some(file), Some(class), Some(depth)) => Some((file, class.clone(), depth)),
            _ => None,
        };
        Self { table, rules }
    }

    /// Everything is as the plan found it.
    ///
    /// # Errors
    /// [`Changed`], or a file that cannot be read.
    pub(crate) fn check(
        &self,
        results: &str,
        provenance: &BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        if let Some((path, print)) = &self.table {
            // The cache has the fingerprint the plan was made from; the file is read again only
            // when it was touched.
            let now = Cache::open(facts::cache_file(Path::new(results)))
                .fingerprint(Path::new(path))
                .with_context(|| format!("the input `{path}` cannot be read"))?;
            if now != *print {
                return Err(Changed(format!("`{path}`")).into());
            }
        }
        if let Some((file, class, depth)) = &self.rules {
            let now = rules_fingerprint(Path::new(file), class, *depth)?;
            if provenance.get("rules") != Some(&now) {
                return Err(Changed(format!("the rules of {class} in `{file}`")).into());
            }
        }
        Ok(())
    }
}
