//! Rule files: which reactions apply to a class of molecules, in which order, under which limits.
//!
//! Responsible for: reading `transforms.yaml` (the users' format) and `halogens.yaml` (ours) with
//! errors that name file and line, expanding halogen families (`…__TO__X`) to one reaction per
//! halogen, scoping by class and depth, and fingerprinting a reaction.
//! Not responsible for: chemistry. SMARTS and SMIRKS stay text here; the RDKit user compiles them.

mod error;
mod halogens;
mod transforms;
pub mod yaml;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use xxhash_rust::xxh3::Xxh3;

pub use error::RulesError;

/// Longest SMIRKS or query SMARTS, in bytes. The longest of the users' rules has 42.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// Longest rule or class name, in bytes: with `.parquet.stats.json` it must fit a file name (255).
pub const MAX_NAME_BYTES: usize = 128;
/// Longest label or family, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// Most reactions one rule file may hold, after expansion.
pub const MAX_REACTIONS: usize = 4096;

/// One reaction, ready to be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// Unique name, safe as a file name: `FG_PHENOL_OH__OH__TO__OMe`, `RING_SP2__CH__TO__Cl`.
    pub id: String,
    /// What a person reads: `phenol OH -> OMe`.
    pub label: String,
    /// Family: as in the file for transforms, the `…__TO__X` name for halogens.
    pub family: String,
    /// Reaction SMIRKS, one reactant template.
    pub smirks: String,
    /// Query SMARTS that finds the sites; `None`: the reactant template of the SMIRKS finds them.
    pub query_smarts: Option<String>,
    /// Most sites used per parent (the first in canonical atom-rank order); `None`: all.
    pub max_sites: Option<u32>,
    /// Skip sites in or on a sugar ring.
    pub exclude_sugar_like: bool,
    /// xxh3-128 (hex) of everything above: two reactions with equal fingerprints give equal rows
    /// under one RDKit version (which the caller adds).
    pub fingerprint: String,
}

/// How the products of a rule file are laid out on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One table per rule: `{rule}.parquet` (transforms).
    PerRule,
    /// One table with the products of all rules: `products.parquet` (halogens).
    Library,
}

/// A parsed and validated rule file.
#[derive(Debug, Clone)]
pub struct RuleFile {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Transforms(transforms::Transforms),
    Halogens(halogens::Halogens),
}

/// Top-level keys that tell the two formats apart; everything else is checked afterwards.
#[derive(Deserialize)]
struct Probe {
    transforms: Option<IgnoredAny>,
    reactions: Option<IgnoredAny>,
}

impl RuleFile {
    /// Reads and validates a rule file of either format, told apart by content.
    ///
    /// # Errors
    /// Unreadable or oversized file, YAML errors, unknown keys, unsafe names, patterns that are
    /// empty, too long or hold control characters; all with file and line.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RulesError> {
        let path = path.as_ref();
        let text = yaml::read(path)?;
        Self::parse(path, &text)
    }

    /// As [`RuleFile::load`], from text that was already read; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`RuleFile::load`].
    pub fn parse(path: impl AsRef<Path>, text: &str) -> Result<Self, RulesError> {
        let path = path.as_ref();
        let probe: Probe = yaml::parse(path, text)?;
        let kind = match (probe.transforms.is_some(), probe.reactions.is_some()) {
            (true, false) => Kind::Transforms(transforms::Transforms::parse(path, text)?),
            (false, true) => Kind::Halogens(halogens::Halogens::parse(path, text)?),
            _ => {
                return Err(RulesError::UnknownFormat {
                    path: path.to_owned(),
                });
            }
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
        })
    }

    /// Path the file was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One table per rule, or one library.
    #[must_use]
    pub fn output(&self) -> Layout {
        match self.kind {
            Kind::Transforms(_) => Layout::PerRule,
            Kind::Halogens(_) => Layout::Library,
        }
    }

    /// Classes that some rule applies to, in alphabetical order; disabled classes are not listed.
    #[must_use]
    pub fn classes(&self) -> Vec<String> {
        match &self.kind {
            Kind::Transforms(t) => t.classes(),
            Kind::Halogens(h) => h.classes(),
        }
    }

    /// Reactions in scope of `class` for a library of substitution depth `depth` (>= 1), in file
    /// order (halogens: rule order of the class, then the halogens in file order).
    ///
    /// For transforms `depth` has no influence. For halogens depth 1 uses the first list, any
    /// greater depth the longer one, for all of its steps.
    ///
    /// # Errors
    /// Depth zero, a class the file does not know (the known ones are listed), a disabled class.
    pub fn for_class(&self, class: &str, depth: u32) -> Result<Vec<Reaction>, RulesError> {
        if depth == 0 {
            return Err(RulesError::DepthZero);
        }
        match &self.kind {
            Kind::Transforms(t) => t.for_class(class),
            Kind::Halogens(h) => h.for_class(class, depth),
        }
        .map_err(|why| match why {
            NoClass::Disabled => RulesError::DisabledClass {
                path: self.path.clone(),
                class: class.into(),
            },
            NoClass::Unknown => RulesError::UnknownClass {
                path: self.path.clone(),
                class: class.into(),
                known: self.classes().join(", "),
            },
        })
    }

    /// As [`RuleFile::for_class`], reduced to the rules in `names` (a halogen family selects its
    /// members); order stays that of the file.
    ///
    /// # Errors
    /// As [`RuleFile::for_class`]; a name that is not in scope of the class.
    pub fn for_class_named(
        &self,
        class: &str,
        depth: u32,
        names: &[String],
    ) -> Result<Vec<Reaction>, RulesError> {
        let in_scope = self.for_class(class, depth)?;
        pick(in_scope, names, |name, known| RulesError::NotInScope {
            path: self.path.clone(),
            class: class.to_owned(),
            rule: name.to_owned(),
            known,
        })
    }

    /// The rules in `names`, whatever their class, in file order. A halogen family such as
    /// `RING_SP2__CH__TO__X` selects one reaction per halogen. Caps that depend on the class
    /// (halogens) do not apply here.
    ///
    /// # Errors
    /// A name the file does not hold (the known ones are listed).
    pub fn select(&self, names: &[String]) -> Result<Vec<Reaction>, RulesError> {
        pick(self.all(), names, |name, known| RulesError::UnknownRule {
            path: self.path.clone(),
            rule: name.to_owned(),
            known,
        })
    }

    /// Every reaction of the file, in file order, without class-dependent caps.
    #[must_use]
    pub fn all(&self) -> Vec<Reaction> {
        match &self.kind {
            Kind::Transforms(t) => t.all(),
            Kind::Halogens(h) => h.all(),
        }
    }
}

/// Why a class has no reactions.
enum NoClass {
    Unknown,
    Disabled,
}

fn pick(
    from: Vec<Reaction>,
    names: &[String],
    missing: impl Fn(&str, String) -> RulesError,
) -> Result<Vec<Reaction>, RulesError> {
    let named = |r: &Reaction, name: &str| r.id == name || (r.family == name && is_family(name));
    if let Some(name) = names.iter().find(|n| !from.iter().any(|r| named(r, n))) {
        let known: Vec<&str> = from.iter().map(|r| r.id.as_str()).collect();
        return Err(missing(name, known.join(", ")));
    }
    Ok(from
        .into_iter()
        .filter(|r| names.iter().any(|n| named(r, n)))
        .collect())
}

/// Halogen families end in X, which stands for the halogen (`COOH__TO__CX`).
fn is_family(name: &str) -> bool {
    name.ends_with('X')
}

impl Reaction {
    /// Builds a reaction and its fingerprint.
    fn new(
        id: String,
        label: String,
        family: String,
        smirks: String,
        query_smarts: Option<String>,
        max_sites: Option<u32>,
        exclude_sugar_like: bool,
    ) -> Self {
        let mut hash = Xxh3::new();
        // Each field with its length, so that no two different field lists hash the same bytes.
        let mut field = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        field("halocline.rule/1");
        field(&id);
        field(&label);
        field(&family);
        field(&smirks);
        field(if query_smarts.is_some() {
            "query"
        } else {
            "template"
        });
        field(query_smarts.as_deref().unwrap_or(""));
        field(&max_sites.map_or_else(|| "all".to_owned(), |n| n.to_string()));
        field(if exclude_sugar_like { "mask" } else { "open" });
        let fingerprint = format!("{:032x}", hash.digest128());
        Self {
            id,
            label,
            family,
            smirks,
            query_smarts,
            max_sites,
            exclude_sugar_like,
            fingerprint,
        }
    }
}

/// Whether `name` is safe as a file name: `[A-Za-z0-9_.-]+`, no leading dot (hidden) or hyphen (a flag), not too long.
#[must_use]
pub fn is_safe_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
