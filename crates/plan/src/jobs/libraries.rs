//! Libraries: the input cut by class, its halogenation to one depth, or a file that is ready.

use std::path::Path;

use halocline_rules::Reaction;

use super::draft::{Draft, argv, map};
use super::shards::{Merge, Shards};
use super::{Builder, PlanError, rules_print, text, to_make};
use crate::config::Input;
use crate::{Step, cost};

/// A library that transforms read: made here or ready.
pub(super) struct Library {
    /// `polyphenol-2X`.
    pub(super) name: String,
    pub(super) class: String,
    pub(super) depth: u32,
    pub(super) path: String,
    /// What its content depends on: the key of its job, or the fingerprint of the ready file.
    pub(super) origin: (String, String),
    /// Job that makes it.
    pub(super) job: Option<String>,
    pub(super) rows: f64,
}

impl Builder<'_> {
    pub(super) fn ready(&self, class: &str, depth: u32, path: &Path) -> Result<Library, PlanError> {
        let path = text(path);
        let print = self.input_print(&path)?;
        Ok(Library {
            name: format!("{class}-{depth}X"),
            class: class.to_owned(),
            depth,
            origin: ("library file".into(), print),
            job: None,
            rows: self.library_rows(class, depth),
            path,
        })
    }

    pub(super) fn split_input(&mut self) -> Result<(), PlanError> {
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
    pub(super) fn library(
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
        let work = self.class_rows(class) * cost::halogenate(depth);
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
        let rows = self.library_rows(class, depth);
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

    fn library_rows(&self, class: &str, depth: u32) -> f64 {
        let name = format!("{class}-{depth}X");
        let parents = self.class_rows(class);
        self.facts.scale.library(&name, parents, depth)
    }
}
