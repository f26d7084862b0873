//! Builds the job table: which jobs a configuration means, with files, command lines and keys.
//!
//! A job's key covers everything its bytes depend on (rule texts, input content, tool versions)
//! and nothing else: not threads, memory, shard counts or paths, by the invariant that bytes do
//! not depend on those. So a changed SMIRKS makes exactly the products of that rule stale, and a
//! touched file makes nothing stale.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use halocline_rules::{Reaction, RuleFile, RulesError};

use crate::config::{Batches, Config, Input, Limits};
use crate::{Job, JobTable, SCHEMA, Scale, Step, cost, fingerprint};

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
    /// The configuration needs an input table and has none.
    #[error("no input table")]
    NoInput,
}

/// Input files whose content the plan depends on, as in the configuration.
#[must_use]
pub fn input_files(config: &Config) -> Vec<String> {
    let table = config.input.iter().map(|i| text(&i.path));
    let wanted =
        |key: &&(String, u32)| config.classes.contains(&key.0) && config.depths.contains(&key.1);
    let ready = config
        .libraries
        .keys()
        .filter(wanted)
        .map(|key| text(&config.libraries[key]));
    let all_ready = to_make(config).is_empty();
    table.filter(|_| !all_ready).chain(ready).collect()
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
    Ok(JobTable {
        schema: SCHEMA.to_owned(),
        tool_version: facts.tool_version.clone(),
        rdkit_version: facts.rdkit_version.clone(),
        results: text(&config.results),
        jobs: builder.jobs,
    })
}

struct Builder<'a> {
    config: &'a Config,
    facts: &'a Facts,
    results: String,
    jobs: Vec<Job>,
}

/// A library that transforms read: made here or ready.
struct Library {
    /// `polyphenol-2X`.
    name: String,
    class: String,
    depth: u32,
    path: String,
    /// What its content depends on: the key of its job, or the fingerprint of the ready file.
    origin: (String, String),
    /// Job that makes it.
    job: Option<String>,
    rows: f64,
}

type Map<T> = BTreeMap<String, T>;

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

    fn ready(&self, class: &str, depth: u32, path: &Path) -> Result<Library, PlanError> {
        let path = text(path);
        let print = self.input_print(&path)?;
        Ok(Library {
            name: format!("{class}-{depth}X"),
            class: class.to_owned(),
            depth,
            origin: ("library file".into(), print),
            job: None,
            rows: self.class_rows() * cost::growth(depth),
            path,
        })
    }

    fn split_input(&mut self) -> Result<(), PlanError> {
        let Some(Input {
            path,
            smiles_column,
            class_column,
        }) = &self.config.input
        else {
            return Err(PlanError::NoInput);
        };
        let path = text(path);
        let print = self.input_print(&path)?;
        let classes = to_make(self.config);
        let folder = format!("{}/work/input", self.results);
        let mut command = argv(["halo-split", &path, "--out-dir", &folder]);
        command.extend(argv([
            "--shards",
            &self.config.halogenate.shards.to_string(),
            "--cost",
            "halogenate",
        ]));
        if let Some(column) = smiles_column {
            command.extend(argv(["--smiles-column", column]));
        }
        command.extend(argv([
            "--partition-by",
            class_column,
            "--partitions",
            &classes.join(","),
        ]));
        let files = |name: &str| {
            classes
                .iter()
                .map(|c| format!("{folder}/{c}/{name}"))
                .collect::<Vec<_>>()
        };
        let provenance = map([
            ("input file", print),
            ("classes", classes.join(",")),
            ("class column", class_column.clone()),
            ("SMILES column", smiles_column.clone().unwrap_or_default()),
            ("shards", self.config.halogenate.shards.to_string()),
        ]);
        self.push(Draft {
            step: Step::SplitInput,
            name: "input".into(),
            inputs: map([("table", vec![path])]),
            outputs: map([
                ("libraries", files("library.parquet")),
                ("plans", files("plan.json")),
            ]),
            command,
            cost: self.facts.scale.input_rows * cost::PER_MERGED_ROW,
            provenance,
            ..Draft::default()
        })?;
        Ok(())
    }

    /// Halogenation of one class to one depth, and its merge.
    fn library(
        &mut self,
        class: &str,
        depth: u32,
        rules: &[Reaction],
    ) -> Result<Library, PlanError> {
        let name = format!("{class}-{depth}X");
        let input = format!("{}/work/input/{class}", self.results);
        let Some(table) = &self.config.input else {
            return Err(PlanError::NoInput);
        };
        let origin = map([
            ("input file", self.input_print(&text(&table.path))?),
            ("class column", table.class_column.clone()),
            (
                "SMILES column",
                table.smiles_column.clone().unwrap_or_default(),
            ),
            ("class", class.to_owned()),
            ("depth", depth.to_string()),
            ("kept columns", self.config.halogenate.keep.join(",")),
            ("rules", rules_print(rules)),
            ("RDKit", self.rdkit()),
        ]);
        let work = self.class_rows() * cost::halogenate(depth);
        let batches = self.batches(&Shards {
            step: Step::Halogenate,
            library: &name,
            class,
            depth,
            steps: depth,
            folder: &format!("{}/work/library", self.results),
            plan: &format!("{input}/plan.json"),
            table: &format!("{input}/library.parquet"),
            rule_file: text(&self.config.halogens),
            cut: &self.config.halogenate,
            needs: vec!["split_input/input".into()],
            origin: &origin,
            work,
        })?;
        let path = format!("{}/library/{name}/products.parquet", self.results);
        let rows = self.class_rows() * cost::growth(depth);
        let job = self.merge(Merge {
            step: Step::MergeLibrary,
            out: format!("{}/library/{name}", self.results),
            name: name.clone(),
            class,
            depth,
            rule: None,
            batches,
            table: "products.parquet",
            source: &format!("{input}/library.parquet"),
            origin,
            rows,
        })?;
        let key = self.key_of(&job);
        Ok(Library {
            name,
            class: class.to_owned(),
            depth,
            path,
            origin: ("library".into(), key),
            job: Some(job),
            rows,
        })
    }

    /// Split, transform batches, and per rule a merge and a validation.
    fn transforms(&mut self, library: &Library, rules: &[Reaction]) -> Result<(), PlanError> {
        let (class, depth, name) = (library.class.as_str(), library.depth, library.name.as_str());
        let shards = self.config.transform.shards(name);
        let folder = format!("{}/work/plans/{name}", self.results);
        let plan = format!("{folder}/plan.json");
        let split = self.push(Draft {
            step: Step::SplitLibrary,
            name: name.to_owned(),
            class: Some(class.to_owned()),
            depth: Some(depth),
            inputs: map([("library", vec![library.path.clone()])]),
            outputs: map([("plan", vec![plan.clone()])]),
            command: argv([
                "halo-split",
                &library.path,
                "--out-dir",
                &folder,
                "--shards",
                &shards.to_string(),
            ]),
            needs: library.job.iter().cloned().collect(),
            cost: library.rows * cost::PER_MERGED_ROW / 4.0,
            provenance: map([
                (library.origin.0.as_str(), library.origin.1.clone()),
                ("shards", shards.to_string()),
            ]),
            ..Draft::default()
        })?;
        let mut origin = map([
            (library.origin.0.as_str(), library.origin.1.clone()),
            ("kept columns", self.config.transform.keep.join(",")),
            ("rules", rules_print(rules)),
            ("RDKit", self.rdkit()),
        ]);
        let batches = self.batches(&Shards {
            step: Step::Transform,
            library: name,
            class,
            depth,
            steps: 1,
            folder: &format!("{}/work/transforms", self.results),
            plan: &plan,
            table: &library.path,
            rule_file: text(&self.config.transforms),
            cut: &self.config.transform,
            needs: vec![split],
            origin: &origin,
            work: library.rows * cost::transform(rules.len()),
        })?;
        origin.remove("rules");
        for rule in rules {
            let name = format!("{name}_{}", rule.id);
            let out = format!("{}/transforms/{name}", self.results);
            let mut origin = origin.clone();
            origin.insert("rule".into(), rule.fingerprint.clone());
            let merge = self.merge(Merge {
                step: Step::Merge,
                out: out.clone(),
                name: name.clone(),
                class,
                depth,
                rule: Some(&rule.id),
                batches: batches.clone(),
                table: &format!("{}.parquet", rule.id),
                source: &library.path,
                origin,
                rows: library.rows,
            })?;
            let (products, verdict) = (
                format!("{out}/products.parquet"),
                format!("{out}/validation.json"),
            );
            let mut command = argv([
                "halo-validate-parquet",
                &products,
                "--expect-rule",
                &rule.id,
                "--out",
                &verdict,
            ]);
            if !self.config.transform.keep.is_empty() {
                command.extend(argv(["--keep", &self.config.transform.keep.join(",")]));
            }
            self.push(Draft {
                step: Step::Validate,
                name,
                class: Some(class.to_owned()),
                depth: Some(depth),
                rule: Some(rule.id.clone()),
                command,
                inputs: map([
                    ("products", vec![products.clone()]),
                    ("stats", vec![format!("{products}.stats.json")]),
                ]),
                outputs: map([("verdict", vec![verdict])]),
                cost: library.rows * cost::PER_MERGED_ROW,
                provenance: map([("products", self.key_of(&merge))]),
                needs: vec![merge],
                ..Draft::default()
            })?;
        }
        Ok(())
    }

    /// The batches of one library's shards; returns the folder that holds them and their ids.
    fn batches(&mut self, s: &Shards<'_>) -> Result<Made, PlanError> {
        let shards = s.cut.shards(s.library);
        let per_batch = s.cut.shards_per_batch;
        // Other counts are another folder: a consumer never finds batches of an older cut.
        let cut = format!("{}/{shards}x{per_batch}", s.library);
        let folder = format!("{}/{cut}", s.folder);
        let mut made = Made {
            folder: folder.clone(),
            ids: Vec::new(),
            manifests: Vec::new(),
        };
        let count = shards.div_ceil(per_batch);
        for batch in 0..count {
            let range: Range<u32> = batch * per_batch..shards.min((batch + 1) * per_batch);
            let name = format!("{cut}/batch-{batch:04}");
            let out = format!("{folder}/batch-{batch:04}");
            let manifest = format!("{out}/manifest.json");
            let mut command = argv(["halo-transform-shard", "--plan", s.plan]);
            command.extend(argv([
                "--shards",
                &format!("{}..{}", range.start, range.end),
            ]));
            command.extend(argv(["--rules", &s.rule_file, "--class", s.class]));
            command.extend(argv(["--depth", &s.steps.to_string(), "--out-dir", &out]));
            for column in &s.cut.keep {
                command.extend(argv(["--keep", column]));
            }
            let mut provenance = s.origin.clone();
            provenance.insert(
                "shards".into(),
                format!("{}..{} of {shards}", range.start, range.end),
            );
            let id = self.push(Draft {
                step: s.step,
                name,
                class: Some(s.class.to_owned()),
                depth: Some(s.depth),
                batch: Some(batch),
                inputs: map([
                    ("table", vec![s.table.to_owned()]),
                    ("plan", vec![s.plan.to_owned()]),
                    ("rules", vec![s.rule_file.clone()]),
                ]),
                outputs: map([("manifest", vec![manifest.clone()])]),
                command,
                threads: true,
                needs: s.needs.clone(),
                cost: s.work / f64::from(count),
                provenance,
                ..Draft::default()
            })?;
            made.ids.push(id);
            made.manifests.push(manifest);
        }
        Ok(made)
    }

    fn merge(&mut self, m: Merge<'_>) -> Result<String, PlanError> {
        let products = format!("{}/products.parquet", m.out);
        let summary = format!("{}/SUMMARY.json", m.out);
        let mut command = argv([
            "halo-dedup-merge",
            "--shards-from",
            &m.batches.folder,
            "--table",
            m.table,
        ]);
        command.extend(argv(["--out", &products, "--summary", &summary]));
        command.extend(argv([
            "--transform",
            m.rule.unwrap_or("halogenation"),
            "--class",
            m.class,
        ]));
        command.extend(argv([
            "--source-file",
            m.source,
            "--depth",
            &m.depth.to_string(),
        ]));
        self.push(Draft {
            step: m.step,
            name: m.name,
            class: Some(m.class.to_owned()),
            depth: Some(m.depth),
            rule: m.rule.map(str::to_owned),
            inputs: map([("manifests", m.batches.manifests)]),
            outputs: map([
                ("stats", vec![format!("{products}.stats.json")]),
                ("products", vec![products]),
                ("summary", vec![summary]),
            ]),
            command,
            threads: true,
            needs: m.batches.ids,
            cost: m.rows * cost::PER_MERGED_ROW,
            provenance: m.origin,
            ..Draft::default()
        })
    }

    fn report(&mut self) -> Result<(), PlanError> {
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
            ..Draft::default()
        })?;
        Ok(())
    }

    /// Adds a job: limits and flags of its step, paths of log and benchmark, key. Returns its id.
    fn push(&mut self, draft: Draft) -> Result<String, PlanError> {
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
            key: fingerprint::of_bytes(key_text.as_bytes()),
            provenance,
        });
        Ok(id)
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

    fn class_rows(&self) -> f64 {
        let classes = u32::try_from(self.config.classes.len()).unwrap_or(1).max(1);
        self.facts.scale.input_rows / f64::from(classes)
    }
}

/// A job before limits, paths and key.
#[derive(Default)]
struct Draft {
    /// Always given; the default only lets the other fields be left out.
    step: Step,
    name: String,
    class: Option<String>,
    depth: Option<u32>,
    rule: Option<String>,
    batch: Option<u32>,
    inputs: Map<Vec<String>>,
    outputs: Map<Vec<String>>,
    command: Vec<String>,
    /// Whether the command takes `--threads`.
    threads: bool,
    needs: Vec<String>,
    cost: f64,
    provenance: Map<String>,
}

/// Batches of one library.
struct Shards<'a> {
    step: Step,
    library: &'a str,
    class: &'a str,
    depth: u32,
    /// `--depth`: successive substitutions.
    steps: u32,
    folder: &'a str,
    plan: &'a str,
    table: &'a str,
    rule_file: String,
    cut: &'a Batches,
    needs: Vec<String>,
    origin: &'a Map<String>,
    work: f64,
}

/// Batches that were added.
#[derive(Clone)]
struct Made {
    folder: String,
    ids: Vec<String>,
    manifests: Vec<String>,
}

struct Merge<'a> {
    step: Step,
    out: String,
    name: String,
    class: &'a str,
    depth: u32,
    rule: Option<&'a str>,
    batches: Made,
    table: &'a str,
    source: &'a str,
    origin: Map<String>,
    rows: f64,
}

fn rules_print(rules: &[Reaction]) -> String {
    let prints: Vec<&str> = rules.iter().map(|r| r.fingerprint.as_str()).collect();
    fingerprint::of_bytes(prints.join("\n").as_bytes())
}

fn map<T, const N: usize>(pairs: [(&str, T); N]) -> Map<T> {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

fn argv<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.into_iter().map(str::to_owned).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
