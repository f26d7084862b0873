//! What is made of one library: its split, the batches of all rules in scope, and per rule a merge and a validation.

use halocline_rules::Reaction;

use super::draft::{Draft, argv, map};
use super::libraries::Library;
use super::shards::{Merge, Shards};
use super::{Builder, PlanError, rules_print, text};
use crate::{Step, cost};

/// The table of rejected rows, which halo-transform-shard writes beside one table per rule.
const REJECTS: &str = "rejects";

impl Builder<'_> {
    /// Split, transform batches, and per rule a merge and a validation.
    pub(super) fn transforms(
        &mut self,
        library: &Library,
        rules: &[Reaction],
    ) -> Result<(), PlanError> {
        let (class, depth, name) = (library.class.as_str(), library.depth, library.name.as_str());
        if let Some(rule) = rules.iter().find(|rule| rule.id == REJECTS) {
            return Err(PlanError::RuleName {
                rule: rule.id.clone(),
                class: class.to_owned(),
            });
        }
        let (halogenate, transform) = (&self.config.halogenate, &self.config.transform);
        let dropped = |column: &&String| !halogenate.keep.contains(column);
        if library.job.is_some()
            && let Some(column) = transform.keep.iter().find(dropped)
        {
            let kept = halogenate.keep.join(", ");
            return Err(PlanError::NotKept {
                column: column.clone(),
                library: name.to_owned(),
                kept: if kept.is_empty() { "none".into() } else { kept },
            });
        }
        let shards = transform.shards(name);
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
                // The plan names the file, and batches read the file that it names.
                ("library path", library.path.clone()),
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
            // The plan may be there still when the library has to be made again, and batches read both.
            needs: library.job.iter().cloned().chain([split]).collect(),
            origin: &origin,
            work: library.rows * cost::transform(rules.len()),
        })?;
        origin.remove("rules");
        for rule in rules {
            let name = format!("{name}_{}", rule.id);
            let out = format!("{}/transforms/{name}", self.results);
            let mut origin = origin.clone();
            origin.insert("rule".into(), rule.fingerprint.clone());
            let rows = self.facts.scale.products(&name, library.rows);
            let table = format!("{}.parquet", rule.id);
            let merge = self.merge(Merge {
                step: Step::Merge,
                out: out.clone(),
                name: name.clone(),
                class,
                depth,
                rule: Some(&rule.id),
                batches: batches.clone(),
                table: &table,
                source: &library.path,
                origin,
                rows,
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
            // Also an empty list: then no column of the input may be there.
            command.extend(argv(["--keep", &self.config.transform.keep.join(",")]));
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
                cost: rows * cost::PER_MERGED_ROW,
                releases: vec![batches.tables(&table)],
                provenance: map([("products", self.key_of(&merge))]),
                needs: vec![merge],
                ..Draft::default()
            })?;
        }
        Ok(())
    }
}
