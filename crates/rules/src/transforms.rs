//! `transforms.yaml`, the users' format, read unchanged: one entry per rule, scoped by class.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::{
    MAX_LABEL_BYTES, MAX_PATTERN_BYTES, MAX_REACTIONS, NoClass, Reaction, RulesError, is_safe_name,
    yaml,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Defaults,
    transforms: Vec<Entry>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Defaults {
    #[serde(default)]
    exclude_sugar_like: bool,
    max_sites_per_mol: Option<Spanned<i64>>,
}

/// One entry as written. The last five keys serve the users' other scripts (figures, old names).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    label: Option<Spanned<String>>,
    family: Option<Spanned<String>>,
    scope_classes: Spanned<Vec<Spanned<String>>>,
    query_smarts: Option<Spanned<String>>,
    smirks: Spanned<String>,
    #[expect(
        dead_code,
        reason = "accepted and checked for type; used by the users' other scripts"
    )]
    code: Option<String>,
    #[expect(
        dead_code,
        reason = "accepted and checked for type; used by the users' other scripts"
    )]
    legacy_rule_id: Option<String>,
    #[expect(
        dead_code,
        reason = "accepted and checked for type; used by the users' other scripts"
    )]
    highlight_mapnums: Option<Vec<u32>>,
    #[expect(
        dead_code,
        reason = "accepted and checked for type; used by the users' other scripts"
    )]
    product_highlight_symbol: Option<String>,
}

/// The rules in file order, each with its classes.
#[derive(Debug, Clone)]
pub(crate) struct Transforms {
    rules: Vec<(Reaction, Vec<String>)>,
}

impl Transforms {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, RulesError> {
        let file: File = yaml::parse(path, text)?;
        let at = At(path);
        let max_sites = match &file.defaults.max_sites_per_mol {
            None => None,
            Some(n) => at.max_sites(n)?,
        };
        if file.transforms.len() > MAX_REACTIONS {
            let message = format!(
                "{} rules; at most {MAX_REACTIONS} are read",
                file.transforms.len()
            );
            return Err(at.invalid(1, message));
        }
        let mut seen: HashMap<String, u64> = HashMap::new();
        let mut rules = Vec::with_capacity(file.transforms.len());
        for entry in file.transforms {
            let id = at.name("rule", &entry.name)?;
            if let Some(first) = seen.insert(id.clone(), yaml::line(&entry.name)) {
                let message = format!("rule `{id}` stands already on line {first}");
                return Err(at.invalid(yaml::line(&entry.name), message));
            }
            let smirks = at.smirks(&entry.smirks)?;
            let query = entry
                .query_smarts
                .as_ref()
                .map(|q| at.pattern("query_smarts", q))
                .transpose()?;
            let label = at.label("label", entry.label.as_ref(), &id)?;
            let family = at.label("family", entry.family.as_ref(), "")?;
            let mut classes = Vec::new();
            for class in &entry.scope_classes.value {
                let name = at.name("class", class)?;
                if classes.contains(&name) {
                    let message =
                        format!("class `{name}` is named twice in `scope_classes` of `{id}`");
                    return Err(at.invalid(yaml::line(class), message));
                }
                classes.push(name);
            }
            let masked = file.defaults.exclude_sugar_like;
            rules.push((
                Reaction::new(id, label, family, smirks, query, max_sites, masked),
                classes,
            ));
        }
        Ok(Self { rules })
    }

    pub(crate) fn classes(&self) -> Vec<String> {
        let set: BTreeSet<&String> = self.rules.iter().flat_map(|(_, classes)| classes).collect();
        set.into_iter().cloned().collect()
    }

    pub(crate) fn for_class(&self, class: &str) -> Result<Vec<Reaction>, NoClass> {
        let found: Vec<Reaction> = self
            .rules
            .iter()
            .filter(|(_, classes)| classes.iter().any(|c| c == class))
            .map(|(rule, _)| rule.clone())
            .collect();
        if found.is_empty() {
            Err(NoClass::Unknown)
        } else {
            Ok(found)
        }
    }

    pub(crate) fn all(&self) -> Vec<Reaction> {
        self.rules.iter().map(|(rule, _)| rule.clone()).collect()
    }
}

/// Checks of single values; the errors name the file.
pub(crate) struct At<'a>(pub(crate) &'a Path);

impl At<'_> {
    pub(crate) fn invalid(&self, line: u64, message: String) -> RulesError {
        RulesError::Invalid {
            path: self.0.to_owned(),
            line,
            message,
        }
    }

    /// A name that becomes a file name.
    pub(crate) fn name(&self, what: &str, value: &Spanned<String>) -> Result<String, RulesError> {
        if is_safe_name(&value.value) {
            return Ok(value.value.clone());
        }
        let shown = shorten(&value.value);
        Err(self.invalid(
            yaml::line(value),
            format!("{what} name {shown} is not safe as a file name: letters, digits, `_`, `.`, `-`, no leading dot or hyphen, at most {} bytes", crate::MAX_NAME_BYTES),
        ))
    }

    /// SMARTS or SMIRKS text: not empty, not huge, printable ASCII without spaces.
    pub(crate) fn pattern(&self, key: &str, value: &Spanned<String>) -> Result<String, RulesError> {
        let text = &value.value;
        let fault = if text.is_empty() {
            "is empty".to_owned()
        } else if text.len() > MAX_PATTERN_BYTES {
            format!(
                "has {} bytes; at most {MAX_PATTERN_BYTES} are allowed",
                text.len()
            )
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            format!(
                "{} holds a space, a control character or non-ASCII text",
                shorten(text)
            )
        } else {
            return Ok(text.clone());
        };
        Err(self.invalid(yaml::line(value), format!("`{key}` {fault}")))
    }

    /// A pattern with exactly one reaction arrow.
    pub(crate) fn smirks(&self, value: &Spanned<String>) -> Result<String, RulesError> {
        let text = self.pattern("smirks", value)?;
        let fault = match text.split_once(">>") {
            None => "has no reaction arrow `>>`",
            Some((_, right)) if right.contains(">>") => "has more than one reaction arrow `>>`",
            Some((left, right)) if left.is_empty() || right.is_empty() => "has an empty side",
            Some(_) => return Ok(text),
        };
        Err(self.invalid(
            yaml::line(value),
            format!("`smirks` {} {fault}", shorten(&text)),
        ))
    }

    pub(crate) fn label(
        &self,
        key: &str,
        value: Option<&Spanned<String>>,
        default: &str,
    ) -> Result<String, RulesError> {
        let Some(value) = value else {
            return Ok(default.to_owned());
        };
        if value.value.len() > MAX_LABEL_BYTES || value.value.chars().any(char::is_control) {
            let message = format!("`{key}` must be one line of at most {MAX_LABEL_BYTES} bytes");
            return Err(self.invalid(yaml::line(value), message));
        }
        Ok(value.value.clone())
    }

    /// -1 means all sites.
    pub(crate) fn max_sites(&self, value: &Spanned<i64>) -> Result<Option<u32>, RulesError> {
        match value.value {
            -1 => Ok(None),
            n @ 1..=1_000_000 => Ok(u32::try_from(n).ok()),
            n => Err(self.invalid(
                yaml::line(value),
                format!("{n} sites per molecule: expected -1 (all) or 1 to 1,000,000"),
            )),
        }
    }
}

/// The text in back-ticks, escaped and cut, so that an error stays one readable line.
fn shorten(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(60)
        .flat_map(char::escape_default)
        .collect();
    if text.chars().nth(60).is_some() {
        format!("`{shown}…`")
    } else {
        format!("`{shown}`")
    }
}
