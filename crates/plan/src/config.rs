//! The pipeline's configuration (`configs/pipeline.yaml`): format, defaults, checks.
//!
//! [`Config::load`] reports every problem it finds at once, each with file and line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Component, Path, PathBuf};

use halocline_budget::{ByteSize, MemoryLimit};
use halocline_rules::{RulesError, is_safe_name, yaml};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::Step;
use crate::typed::Typed;

/// Greatest substitution depth: each step multiplies a library by about 25.
pub const MAX_DEPTH: u32 = 3;
/// Most shards of one library: their names have five digits.
pub const MAX_SHARDS: u32 = 99_999;

/// Columns that every table of products has of its own (crates/table/src/schema.rs), so that no input column of that
/// name can be kept beside them.
pub const PRODUCT_COLUMNS: [&str; 8] = [
    "smiles",
    "source_smiles",
    "source_row",
    "xf_rule_id",
    "xf_label",
    "xf_family",
    "xf_site_index",
    "xf_site_atoms",
];

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read from.
    pub path: PathBuf,
    /// Table of natural products to halogenate; `None` when every library is ready.
    pub input: Option<Input>,
    /// Ready halogenated libraries by class and depth: halogenation is skipped for them.
    pub libraries: BTreeMap<(String, u32), PathBuf>,
    /// Folder of all results.
    pub results: PathBuf,
    /// Halogenation rules.
    pub halogens: PathBuf,
    /// Transform rules.
    pub transforms: PathBuf,
    /// Classes, in the order of the job table.
    pub classes: Vec<String>,
    /// Substitution depths, ascending.
    pub depths: Vec<u32>,
    /// Halogenation.
    pub halogenate: Batches,
    /// Transformation.
    pub transform: Batches,
    /// Whether shard tables stay when their products are merged and validated.
    pub keep_intermediates: bool,
    /// Limits per step.
    pub limits: BTreeMap<Step, Limits>,
}

/// The table of natural products.
#[derive(Debug, Clone)]
pub struct Input {
    /// File: Parquet, CSV, TSV or SMILES, plain or compressed.
    pub path: PathBuf,
    /// SMILES column; `None`: found by name.
    pub smiles_column: Option<String>,
    /// Column that holds the class.
    pub class_column: String,
}

/// How the work on a library is cut.
#[derive(Debug, Clone)]
pub struct Batches {
    /// Shards per library.
    pub shards: u32,
    /// Shards per job.
    pub shards_per_batch: u32,
    /// Other shard counts for single libraries (`polyphenol-2X`).
    pub shards_for: BTreeMap<String, u32>,
    /// Input columns carried through to the products.
    pub keep: Vec<String>,
}

/// Limits of one step's jobs: constants, no functions of the input's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of the process.
    pub memory: MemoryLimit,
    /// Threads.
    pub threads: u32,
    /// Minutes until a cluster may end the job.
    pub runtime_minutes: u32,
    /// Disk a job may fill.
    pub disk: ByteSize,
}

impl Batches {
    /// Shard count of one library.
    #[must_use]
    pub fn shards(&self, library: &str) -> u32 {
        self.shards_for.get(library).copied().unwrap_or(self.shards)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Unreadable, no YAML, unknown keys, wrong types.
    #[error("the configuration cannot be used")]
    Form(#[source] RulesError),
    /// Well-formed, but with values that are not allowed; all of them are listed.
    #[error("the configuration has {count} problem{}:{list}", if *.count == 1 { "" } else { "s" })]
    Values {
        /// How many.
        count: usize,
        /// One line each: file, line, what is wrong, what is expected.
        list: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    input: Option<Spanned<InputEntry>>,
    #[serde(default)]
    libraries: BTreeMap<String, BTreeMap<String, Typed<String>>>,
    results: Typed<String>,
    rules: RulesEntry,
    classes: Spanned<Vec<Typed<String>>>,
    depths: Spanned<Vec<Typed<u32>>>,
    halogenate: Option<BatchesEntry>,
    transform: BatchesEntry,
    keep_intermediates: Option<Typed<bool>>,
    limits: BTreeMap<Step, LimitsEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputEntry {
    path: Typed<String>,
    smiles_column: Option<Typed<String>>,
    class_column: Typed<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesEntry {
    halogens: Typed<String>,
    transforms: Typed<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchesEntry {
    shards: Typed<u32>,
    shards_per_batch: Typed<u32>,
    #[serde(default)]
    shards_for: BTreeMap<String, Typed<u32>>,
    #[serde(default)]
    keep: Vec<Typed<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsEntry {
    memory: Spanned<String>,
    threads: Typed<u32>,
    runtime_minutes: Typed<u32>,
    disk: Spanned<String>,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`]; whether input files exist is not checked here.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = yaml::read(path).map_err(ConfigError::Form)?;
        Self::parse(path, &text)
    }

    /// As [`Config::load`], from text; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file: File = yaml::parse(path, text).map_err(ConfigError::Form)?;
        let mut check = Check {
            path,
            problems: Vec::new(),
        };
        let config = check.file(file);
        if check.problems.is_empty() {
            return Ok(config);
        }
        let count = check.problems.len();
        let list = check
            .problems
            .iter()
            .fold(String::new(), |mut list, problem| {
                let _ = write!(list, "\n  {problem}");
                list
            });
        Err(ConfigError::Values { count, list })
    }

    /// Limits of a step.
    #[must_use]
    pub fn limits(&self, step: Step) -> Option<Limits> {
        self.limits.get(&step).copied()
    }
}

/// Collects problems while values are turned into what they mean.
struct Check<'a> {
    path: &'a Path,
    problems: Vec<String>,
}

impl Check<'_> {
    fn problem(&mut self, line: u64, message: impl AsRef<str>) {
        self.problems.push(format!(
            "{}:{line}: {}",
            self.path.display(),
            message.as_ref()
        ));
    }

    fn file(&mut self, file: File) -> Config {
        let mut classes: Vec<String> = Vec::new();
        for class in &file.classes.value {
            let line = yaml::line(class);
            if !is_safe_name(&class.value) {
                self.problem(
                    line,
                    format!(
                        "class `{}` is not safe as a file name (`[A-Za-z0-9_.-]+`, no leading dot or hyphen)",
                        class.value.escape_default()
                    ),
                );
            } else if classes.contains(&class.value) {
                self.problem(line, format!("class `{}` is named twice", class.value));
            }
            classes.push(class.value.clone());
        }
        let mut depths: Vec<u32> = Vec::new();
        for depth in &file.depths.value {
            if depth.value == 0 || depth.value > MAX_DEPTH {
                self.problem(
                    yaml::line(depth),
                    format!("depth {}: expected 1 to {MAX_DEPTH}", depth.value),
                );
            } else if depths.contains(&depth.value) {
                self.problem(
                    yaml::line(depth),
                    format!("depth {} is named twice", depth.value),
                );
            }
            depths.push(depth.value);
        }
        depths.sort_unstable();
        if classes.is_empty() {
            self.problem(yaml::line(&file.classes), "`classes` is empty");
        }
        if depths.is_empty() {
            self.problem(yaml::line(&file.depths), "`depths` is empty");
        }

        let mut libraries = BTreeMap::new();
        for (class, by_depth) in &file.libraries {
            for (depth, library) in by_depth {
                let line = yaml::line(library);
                let number: u32 = depth.parse().unwrap_or(0);
                if !classes.contains(class) {
                    self.problem(
                        line,
                        format!(
                            "`libraries` names class `{}`, which `classes` does not",
                            class.escape_default()
                        ),
                    );
                }
                if !depths.contains(&number) {
                    self.problem(
                        line,
                        format!(
                            "`libraries` of `{class}` names depth `{}`, which `depths` does not",
                            depth.escape_default()
                        ),
                    );
                }
                let path = self.file_path("libraries", library);
                libraries.insert((class.clone(), number), path);
            }
        }
        let to_make: Vec<String> = classes
            .iter()
            .flat_map(|c| depths.iter().map(move |d| (c.clone(), *d)))
            .filter(|key| !libraries.contains_key(key))
            .map(|(c, d)| format!("{c}-{d}X"))
            .collect();
        if let (None, [first, ..]) = (&file.input, to_make.as_slice()) {
            self.problem(1, format!("no `input`, and no ready library for {} of the class-depth pairs, e.g. `{first}`", to_make.len()));
        }
        if !to_make.is_empty() && file.halogenate.is_none() {
            self.problem(1, "`halogenate` is missing, but libraries have to be made");
        }

        let input = file.input.as_ref().map(|entry| Input {
            path: self.file_path("input.path", &entry.value.path),
            smiles_column: entry
                .value
                .smiles_column
                .as_ref()
                .map(|c| self.column("input.smiles_column", c)),
            class_column: self.column("input.class_column", &entry.value.class_column),
        });
        let known: Vec<String> = classes
            .iter()
            .flat_map(|c| depths.iter().map(move |d| format!("{c}-{d}X")))
            .collect();
        let transform = self.batches("transform", &file.transform, &known);
        let halogenate = match &file.halogenate {
            Some(entry) => {
                if let Some((_, count)) = entry.shards_for.iter().next() {
                    self.problem(yaml::line(count), "`shards_for` is for `transform`: the input is split once, into equal counts for every class");
                }
                self.batches("halogenate", entry, &known)
            }
            None => Batches {
                shards: 1,
                shards_per_batch: 1,
                shards_for: BTreeMap::new(),
                keep: Vec::new(),
            },
        };

        let mut limits = BTreeMap::new();
        for step in Step::ALL {
            match file.limits.get(&step) {
                Some(entry) => {
                    if let Some(l) = self.limits(step, entry) {
                        limits.insert(step, l);
                    }
                }
                None => self.problem(1, format!("`limits` has no entry for step `{step}`")),
            }
        }
        Config {
            path: self.path.to_owned(),
            input,
            libraries,
            results: self.file_path("results", &file.results),
            halogens: self.file_path("rules.halogens", &file.rules.halogens),
            transforms: self.file_path("rules.transforms", &file.rules.transforms),
            classes,
            depths,
            halogenate,
            transform,
            keep_intermediates: file.keep_intermediates.is_some_and(|flag| flag.value),
            limits,
        }
    }

    /// Paths are put into wildcard patterns (Snakemake) and command lines: braces, control
    /// characters, a leading dash and tilde are refused rather than quoted in three languages.
    fn file_path(&mut self, key: &str, value: &Spanned<String>) -> PathBuf {
        let bad = |c: char| {
            c.is_control() || matches!(c, '{' | '}' | '*' | '?' | '"' | '\'' | '\\' | '$' | '`')
        };
        let path = plain(&value.value);
        // As the command lines have it, and a shell that is handed a copy of one.
        let leads_astray = path.to_string_lossy().starts_with(['-', '~']);
        if value.value.trim_end_matches('/').is_empty() || leads_astray || value.value.contains(bad)
        {
            self.problem(yaml::line(value), format!("`{key}`: `{}` cannot be used as a path here (empty, `-` or `~` first, quotes, braces, wildcards, `$`, `\\` or control characters)", value.value.escape_default()));
        }
        path
    }

    fn column(&mut self, key: &str, value: &Spanned<String>) -> String {
        let text = &value.value;
        if text.is_empty()
            || text.starts_with('-')
            || text.contains(|c: char| c.is_control() || c == ',')
        {
            self.problem(
                yaml::line(value),
                format!("`{key}`: `{}` is no column name", text.escape_default()),
            );
        }
        text.clone()
    }

    fn batches(&mut self, key: &str, entry: &BatchesEntry, known: &[String]) -> Batches {
        let mut count = |name: &str, value: &Spanned<u32>| {
            if value.value == 0 || value.value > MAX_SHARDS {
                self.problem(
                    yaml::line(value),
                    format!(
                        "`{key}.{name}`: {} shards, expected 1 to {MAX_SHARDS}",
                        value.value
                    ),
                );
            }
            value.value
        };
        let shards = count("shards", &entry.shards);
        let shards_per_batch = count("shards_per_batch", &entry.shards_per_batch);
        let mut shards_for = BTreeMap::new();
        for (library, n) in &entry.shards_for {
            shards_for.insert(library.clone(), count("shards_for", n));
        }
        for (library, n) in &entry.shards_for {
            if !known.contains(library) {
                self.problem(
                    yaml::line(n),
                    format!(
                        "`{key}.shards_for`: no library `{}`; there are {}",
                        library.escape_default(),
                        known.join(", ")
                    ),
                );
            }
        }
        let mut keep: Vec<String> = Vec::new();
        for column in &entry.keep {
            let name = self.column(&format!("{key}.keep"), column);
            if keep.contains(&name) {
                self.problem(
                    yaml::line(column),
                    format!("`{key}.keep` names `{name}` twice"),
                );
            }
            if PRODUCT_COLUMNS.contains(&name.as_str()) {
                self.problem(
                    yaml::line(column),
                    format!(
                        "`{key}.keep` names `{name}`, which every table of products has of its own"
                    ),
                );
            }
            keep.push(name);
        }
        Batches {
            shards,
            shards_per_batch,
            shards_for,
            keep,
        }
    }

    fn limits(&mut self, step: Step, entry: &LimitsEntry) -> Option<Limits> {
        let memory = entry.memory.value.parse::<MemoryLimit>();
        if let Err(e) = &memory {
            self.problem(
                yaml::line(&entry.memory),
                format!("`limits.{step}.memory`: {e}"),
            );
        }
        let disk = entry.disk.value.parse::<ByteSize>();
        if let Err(e) = &disk {
            self.problem(
                yaml::line(&entry.disk),
                format!("`limits.{step}.disk`: {e}"),
            );
        }
        for (name, value, most) in [
            ("threads", &entry.threads, 1024),
            ("runtime_minutes", &entry.runtime_minutes, 60 * 24 * 60),
        ] {
            if value.value == 0 || value.value > most {
                self.problem(
                    yaml::line(value),
                    format!(
                        "`limits.{step}.{name}`: {} is not in 1 to {most}",
                        value.value
                    ),
                );
            }
        }
        Some(Limits {
            memory: memory.ok()?,
            threads: entry.threads.value,
            runtime_minutes: entry.runtime_minutes.value,
            disk: disk.ok()?,
        })
    }
}

/// The path without `.` and doubled slashes: names of outputs are compared as they are spelled, and `./results` is no
/// other folder than `results`.
fn plain(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    let plain: PathBuf = parts.filter(|part| *part != Component::CurDir).collect();
    match plain.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => plain,
    }
}
