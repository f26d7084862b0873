//! Builds the job table: which jobs a configuration means, with files, command lines and keys.
//!
//! A job's key covers everything its bytes depend on (rule texts, input content, tool versions)
//! and nothing else: not threads, memory, shard counts or paths, by the invariant that bytes do
//! not depend on those (a split of a library does: its plan names the file). So a changed SMIRKS
//! makes exactly the products of that rule stale, and a touched file makes nothing stale.

mod draft;
mod libraries;
mod report;
mod shards;
mod transforms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use halocline_rules::{Reaction, RuleFile, RulesError};

use crate::config::{Config, Input};
use crate::{Job, JobTable, SCHEMA, Scale, Step, fingerprint};

/// Most jobs a table may have: beyond, an engine needs a minute and a gigabyte just to start.
pub const MAX_JOBS: usize = 50_000;

/// What the plan depends on besides its configuration.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Version of the tools.
    pub tool_version: String,
    /// RDKit of the transform binary, if known.
    pub rdkit_version: Option<String>,
    /// Content fingerprint of each input file, by path as in the configuration.
    pub inputs: BTreeMap<String, String>,
    /// Size of the work, for cost estimates.
    pub scale: Scale,
}

/// Why no job table can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A rule file cannot be used, or does not know a class.
    #[error("the rules do not fit the configuration")]
    Rules(#[from] RulesError),
    /// No fingerprint was given for an input file.
    #[error("no fingerprint of `{0}`")]
    NoFingerprint(String),
    /// No limits for a step (a configuration that was not checked).
    #[error("no limits for step `{0}`")]
    NoLimits(Step),
    /// More jobs than an engine can take.
    #[error("{0} jobs; at most {MAX_JOBS} are planned\nhint: raise `shards_per_batch`")]
    TooManyJobs(usize),
    /// A rule with the name of a table that every shard has.
    #[error(
        "the rule `{rule}` of class `{class}` cannot be called so: `{rule}.parquet` is the table of rejected rows\nhint: give it another name"
    )]
    RuleName {
        /// The rule.
        rule: String,
        /// A class in its scope.
        class: String,
    },
    /// The transforms are to keep a column that halogenation drops.
    #[error(
        "`transform.keep` names `{column}`, which the library `{library}` will not have: it is made here, with the columns of `halogenate.keep`: {kept}\nhint: name it in `halogenate.keep` too, or leave it out of `transform.keep`"
    )]
    NotKept {
        /// The column.
        column: String,
        /// The first library without it.
        library: String,
        /// What halogenation keeps.
        kept: String,
    },
    /// Class and rule names that make one name together, so that the jobs would write the same files.
    #[error(
        "the job `{id}` would be of {first} and of {second}, and both would write the same files\nhint: rename one of them"
    )]
    SameJob {
        /// The name of both.
        id: String,
        /// Class and rule of one.
        first: String,
        /// Class and rule of the other.
        second: String,
    },
    /// The configuration needs an input table and has none.
    #[error("no input table")]
    NoInput,
}

/// Input files whose content the plan depends on, as in the configuration.
#[must_use]
pub fn input_files(config: &Config) -> Vec<String> {
    let table = input_table(config).into_iter().map(|input| &input.path);
    let ready = ready_libraries(config).map(|(_, _, path)| path);
    table.chain(ready).map(|path| text(path)).collect()
}

/// The table of natural products, where a library is to be made of it.
#[must_use]
pub fn input_table(config: &Config) -> Option<&Input> {
    let input = config.input.as_ref();
    input.filter(|_| !to_make(config).is_empty())
}

/// Class, depth and path of the libraries that are ready.
pub fn ready_libraries(config: &Config) -> impl Iterator<Item = (&str, u32, &PathBuf)> {
    let wanted = |(class, depth): &(String, u32)| {
        config.classes.contains(class) && config.depths.contains(depth)
    };
    let all = config.libraries.iter();
    all.filter(move |(key, _)| wanted(key))
        .map(|((class, depth), path)| (class.as_str(), *depth, path))
}

/// Classes that have a library to be made.
fn to_make(config: &Config) -> Vec<String> {
    let missing = |c: &String| {
        config
            .depths
            .iter()
            .any(|d| !config.libraries.contains_key(&(c.clone(), *d)))
    };
    config
        .classes
        .iter()
        .filter(|c| missing(c))
        .cloned()
        .collect()
}

/// Makes the job table of a configuration.
///
/// # Errors
/// Rule files that cannot be read or do not know a class; an input without fingerprint.
pub fn build(config: &Config, facts: &Facts) -> Result<JobTable, PlanError> {
    let halogens = if to_make(config).is_empty() {
        None
    } else {
        Some(RuleFile::load(&config.halogens)?)
    };
    let transforms = RuleFile::load(&config.transforms)?;
    let mut builder = Builder {
        config,
        facts,
        results: text(&config.results),
        jobs: Vec::new(),
    };
    builder.run(halogens.as_ref(), &transforms)?;
    if builder.jobs.len() > MAX_JOBS {
        return Err(PlanError::TooManyJobs(builder.jobs.len()));
    }
    all_different(&builder.jobs)?;
    Ok(JobTable {
        schema: SCHEMA.to_owned(),
        tool_version: facts.tool_version.clone(),
        rdkit_version: facts.rdkit_version.clone(),
        results: text(&config.results),
        jobs: builder.jobs,
    })
}

/// No two jobs have the same id. Names of classes and rules may hold what joins them: class `a` with rule `b-1X_c` and
/// class `a-1X_b` with rule `c` are both `a-1X_b-1X_c`.
fn all_different(jobs: &[Job]) -> Result<(), PlanError> {
    let whose = |job: &Job| match (&job.class, &job.rule) {
        (Some(class), Some(rule)) => format!("class `{class}` with rule `{rule}`"),
        (Some(class), None) => format!("class `{class}`"),
        (None, _) => "the whole pipeline".to_owned(),
    };
    let mut known: BTreeMap<&str, &Job> = BTreeMap::new();
    for job in jobs {
        if let Some(other) = known.insert(&job.id, job) {
            return Err(PlanError::SameJob {
                id: job.id.clone(),
                first: whose(other),
                second: whose(job),
            });
        }
    }
    Ok(())
}

struct Builder<'a> {
    config: &'a Config,
    facts: &'a Facts,
    results: String,
    jobs: Vec<Job>,
}

impl Builder<'_> {
    fn run(&mut self, halogens: Option<&RuleFile>, transforms: &RuleFile) -> Result<(), PlanError> {
        if halogens.is_some() {
            self.split_input()?;
        }
        let mut libraries = Vec::new();
        for class in &self.config.classes {
            for &depth in &self.config.depths {
                let ready = self.config.libraries.get(&(class.clone(), depth));
                libraries.push(match (ready, halogens) {
                    (Some(path), _) => self.ready(class, depth, path)?,
                    (None, Some(rules)) => {
                        self.library(class, depth, &rules.for_class(class, depth)?)?
                    }
                    (None, None) => return Err(PlanError::NoInput),
                });
            }
        }
        let scoped = transforms.classes();
        for library in &libraries {
            // A class without transform rules is a library and nothing more.
            if scoped.contains(&library.class) {
                self.transforms(
                    library,
                    &transforms.for_class(&library.class, library.depth)?,
                )?;
            }
        }
        self.report()
    }

    fn input_print(&self, path: &str) -> Result<String, PlanError> {
        self.facts
            .inputs
            .get(path)
            .cloned()
            .ok_or_else(|| PlanError::NoFingerprint(path.to_owned()))
    }

    fn key_of(&self, id: &str) -> String {
        self.jobs
            .iter()
            .rev()
            .find(|j| j.id == id)
            .map(|j| j.key.clone())
            .unwrap_or_default()
    }

    fn rdkit(&self) -> String {
        self.facts
            .rdkit_version
            .clone()
            .unwrap_or_else(|| "unknown".into())
    }

    fn class_rows(&self, class: &str) -> f64 {
        self.facts.scale.class(class, self.config.classes.len())
    }
}

/// What the jobs of a class and depth depend on in a rule file: what the provenance of a
/// halogenation or transform job says under `rules`.
///
/// # Errors
/// A rule file that cannot be used, or does not know the class.
pub fn rules_fingerprint(file: &Path, class: &str, depth: u32) -> Result<String, RulesError> {
    let rules = RuleFile::load(file)?;
    Ok(rules_print(&rules.for_class(class, depth)?))
}

fn rules_print(rules: &[Reaction]) -> String {
    let prints: Vec<&str> = rules.iter().map(|r| r.fingerprint.as_str()).collect();
    fingerprint::of_bytes(prints.join("\n").as_bytes())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
