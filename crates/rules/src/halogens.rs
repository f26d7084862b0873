//! `halogens.yaml`: halogenation families with a placeholder for the halogen, and per class which
//! families apply at which depth, and to how many sites.

use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::transforms::At;
use crate::{
    MAX_LABEL_BYTES, MAX_NAME_BYTES, MAX_PATTERN_BYTES, MAX_REACTIONS, NoClass, Reaction,
    RulesError, is_family, yaml,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Defaults,
    halogens: Spanned<Vec<Spanned<String>>>,
    reactions: Vec<Entry>,
    classes: Vec<ClassEntry>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Defaults {
    #[serde(default)]
    sugar_mask: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    label: Option<Spanned<String>>,
    query_smarts: Option<Spanned<String>>,
    smirks: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassEntry {
    name: Spanned<String>,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    depth_1: Vec<Spanned<String>>,
    #[serde(default)]
    depth_2_extra: Vec<Spanned<String>>,
    #[serde(default)]
    max_sites: Vec<Cap>,
}

/// Most sites per parent for one family.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cap {
    rule: Spanned<String>,
    sites: Spanned<i64>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone)]
pub(crate) struct Halogens {
    halogens: Vec<String>,
    sugar_mask: bool,
    families: Vec<Family>,
    classes: Vec<Class>,
}

#[derive(Debug, Clone)]
struct Family {
    name: String,
    label: String,
    smirks: String,
    query: Option<String>,
}

#[derive(Debug, Clone)]
struct Class {
    name: String,
    enabled: bool,
    /// Index of the family and its cap; the first `depth_1` of them make the depth-1 list.
    rules: Vec<(usize, Option<u32>)>,
    depth_1: usize,
}

impl Family {
    fn id(&self, halogen: &str) -> String {
        format!("{}{halogen}", &self.name[..self.name.len() - 1])
    }

    fn label(&self, halogen: &str) -> String {
        format!("{} -> {halogen}", self.label)
    }

    /// The limits of names, labels and patterns hold for what is written into tables and file names.
    fn check_limits(&self, at: &At<'_>, entry: &Entry, halogen: &str) -> Result<(), RulesError> {
        let limits = [
            (self.id(halogen), MAX_NAME_BYTES, "name", &entry.name),
            (
                self.label(halogen),
                MAX_LABEL_BYTES,
                "label",
                entry.label.as_ref().unwrap_or(&entry.name),
            ),
            (
                with_halogen(&self.smirks, halogen),
                MAX_PATTERN_BYTES,
                "smirks",
                &entry.smirks,
            ),
        ];
        for (text, most, key, written) in limits {
            if text.len() > most {
                let message = format!(
                    "`{key}` with {halogen} has {} bytes; at most {most} are allowed",
                    text.len()
                );
                return Err(at.invalid(yaml::line(written), message));
            }
        }
        Ok(())
    }
}

impl Halogens {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, RulesError> {
        let file: File = yaml::parse(path, text)?;
        let at = At(path);

        let mut halogens: Vec<String> = Vec::new();
        for symbol in &file.halogens.value {
            if !["F", "Cl", "Br", "I"].contains(&symbol.value.as_str())
                || halogens.contains(&symbol.value)
            {
                let message = format!(
                    "`{}` in `halogens`: expected F, Cl, Br, I, each at most once",
                    symbol.value.escape_default()
                );
                return Err(at.invalid(yaml::line(symbol), message));
            }
            halogens.push(symbol.value.clone());
        }
        if halogens.is_empty() {
            return Err(at.invalid(yaml::line(&file.halogens), "`halogens` is empty".into()));
        }

        let mut families: Vec<Family> = Vec::new();
        for entry in &file.reactions {
            let name = at.name("rule", &entry.name)?;
            let line = yaml::line(&entry.name);
            if !is_family(&name) {
                return Err(at.invalid(
                    line,
                    format!("rule `{name}` must end in `X`, which stands for the halogen"),
                ));
            }
            if families.iter().any(|f| f.name == name) {
                return Err(at.invalid(line, format!("rule `{name}` is defined twice")));
            }
            let smirks = at.smirks(&entry.smirks)?;
            if with_halogen(&smirks, "F") == smirks {
                let message =
                    format!("`smirks` of `{name}` has no `X` outside brackets to put a halogen in");
                return Err(at.invalid(yaml::line(&entry.smirks), message));
            }
            let query = entry
                .query_smarts
                .as_ref()
                .map(|q| at.pattern("query_smarts", q))
                .transpose()?;
            let label = at.label("label", entry.label.as_ref(), &name)?;
            let family = Family {
                name,
                label,
                smirks,
                query,
            };
            for halogen in &halogens {
                family.check_limits(&at, entry, halogen)?;
            }
            families.push(family);
        }
        if families.len() * halogens.len() > MAX_REACTIONS {
            return Err(at.invalid(
                1,
                format!(
                    "{} rules; at most {MAX_REACTIONS} are read",
                    families.len() * halogens.len()
                ),
            ));
        }

        let mut classes: Vec<Class> = Vec::new();
        for entry in &file.classes {
            let class = class(&at, entry, &families)?;
            if classes.iter().any(|c| c.name == class.name) {
                return Err(at.invalid(
                    yaml::line(&entry.name),
                    format!("class `{}` is defined twice", class.name),
                ));
            }
            classes.push(class);
        }
        Ok(Self {
            halogens,
            sugar_mask: file.defaults.sugar_mask,
            families,
            classes,
        })
    }

    pub(crate) fn classes(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .classes
            .iter()
            .filter(|c| c.enabled)
            .map(|c| c.name.clone())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn for_class(&self, class: &str, depth: u32) -> Result<Vec<Reaction>, NoClass> {
        let class = self
            .classes
            .iter()
            .find(|c| c.name == class)
            .ok_or(NoClass::Unknown)?;
        if !class.enabled {
            return Err(NoClass::Disabled);
        }
        let rules = if depth == 1 {
            &class.rules[..class.depth_1]
        } else {
            &class.rules[..]
        };
        Ok(rules
            .iter()
            .flat_map(|&(family, cap)| self.expand(&self.families[family], cap))
            .collect())
    }

    pub(crate) fn all(&self) -> Vec<Reaction> {
        self.families
            .iter()
            .flat_map(|f| self.expand(f, None))
            .collect()
    }

    fn expand<'a>(
        &'a self,
        family: &'a Family,
        cap: Option<u32>,
    ) -> impl Iterator<Item = Reaction> + 'a {
        self.halogens.iter().map(move |halogen| {
            Reaction::new(
                family.id(halogen),
                family.label(halogen),
                family.name.clone(),
                with_halogen(&family.smirks, halogen),
                family.query.clone(),
                cap,
                self.sugar_mask,
            )
        })
    }
}

fn class(at: &At<'_>, entry: &ClassEntry, families: &[Family]) -> Result<Class, RulesError> {
    let name = at.name("class", &entry.name)?;
    let find = |rule: &Spanned<String>| {
        families
            .iter()
            .position(|f| f.name == rule.value)
            .ok_or_else(|| {
                let known: Vec<&str> = families.iter().map(|f| f.name.as_str()).collect();
                at.invalid(
                    yaml::line(rule),
                    format!(
                        "class `{name}`: no reaction `{}`; defined are {}",
                        rule.value.escape_default(),
                        known.join(", ")
                    ),
                )
            })
    };
    let mut rules: Vec<(usize, Option<u32>)> = Vec::new();
    for rule in entry.depth_1.iter().chain(&entry.depth_2_extra) {
        let family = find(rule)?;
        if rules.iter().any(|(f, _)| *f == family) {
            return Err(at.invalid(
                yaml::line(rule),
                format!("class `{name}`: `{}` is listed twice", rule.value),
            ));
        }
        rules.push((family, None));
    }
    if entry.enabled && entry.depth_1.is_empty() {
        return Err(at.invalid(
            yaml::line(&entry.name),
            format!("class `{name}` has no `depth_1` rules; say `enabled: false` if that is meant"),
        ));
    }
    let mut capped: Vec<usize> = Vec::new();
    for cap in &entry.max_sites {
        let family = find(&cap.rule)?;
        let line = yaml::line(&cap.rule);
        let Some(slot) = rules.iter_mut().find(|(f, _)| *f == family) else {
            return Err(at.invalid(
                line,
                format!(
                    "class `{name}`: `max_sites` for `{}`, which the class does not use",
                    cap.rule.value
                ),
            ));
        };
        if capped.contains(&family) {
            return Err(at.invalid(
                line,
                format!(
                    "class `{name}`: `max_sites` for `{}` is given twice",
                    cap.rule.value
                ),
            ));
        }
        capped.push(family);
        slot.1 = at.max_sites(&cap.sites)?;
    }
    Ok(Class {
        name,
        enabled: entry.enabled,
        rules,
        depth_1: entry.depth_1.len(),
    })
}

/// Puts `halogen` where `X` stands outside brackets in the product side. Inside brackets X is
/// SMARTS for total connectivity (`[CX3:2]`); outside it is no SMILES symbol at all.
fn with_halogen(smirks: &str, halogen: &str) -> String {
    let Some((reactant, product)) = smirks.split_once(">>") else {
        return smirks.to_owned();
    };
    let mut out = format!("{reactant}>>");
    let mut in_brackets = 0_i32;
    for c in product.chars() {
        match c {
            '[' => in_brackets += 1,
            ']' => in_brackets -= 1,
            _ => {}
        }
        if c == 'X' && in_brackets == 0 {
            out.push_str(halogen)
        } else {
            out.push(c)
        }
    }
    out
}
