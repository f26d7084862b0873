//! The shards of a library in batches, and their merge: the two kinds of job that make tables.

use std::ops::Range;

use super::draft::{Draft, Map, argv, map};
use super::{Builder, PlanError};
use crate::config::Batches;
use crate::table::batch_folder;
use crate::{ShardTables, Step, cost};

/// Batches of one library.
pub(super) struct Shards<'a> {
    pub(super) step: Step,
    pub(super) library: &'a str,
    pub(super) class: &'a str,
    pub(super) depth: u32,
    /// `--depth`: successive substitutions.
    pub(super) steps: u32,
    pub(super) folder: &'a str,
    pub(super) plan: &'a str,
    pub(super) table: &'a str,
    pub(super) rule_file: String,
    pub(super) cut: &'a Batches,
    pub(super) needs: Vec<String>,
    pub(super) origin: &'a Map<String>,
    pub(super) work: f64,
}

/// Batches that were added.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) folder: String,
    pub(super) ids: Vec<String>,
    pub(super) manifests: Vec<String>,
    shards: u32,
    shards_per_batch: u32,
}

impl Made {
    /// Tables of that name in all shards.
    pub(super) fn tables(&self, table: &str) -> ShardTables {
        ShardTables {
            folder: self.folder.clone(),
            shards: self.shards,
            shards_per_batch: self.shards_per_batch,
            tables: vec![table.to_owned()],
        }
    }
}

/// Batches to merge into one table.
pub(super) struct Merge<'a> {
    pub(super) step: Step,
    pub(super) out: String,
    pub(super) name: String,
    pub(super) class: &'a str,
    pub(super) depth: u32,
    pub(super) rule: Option<&'a str>,
    pub(super) batches: Made,
    pub(super) table: &'a str,
    pub(super) source: &'a str,
    pub(super) origin: Map<String>,
    pub(super) rows: f64,
}

impl Builder<'_> {
    /// The batches of one library's shards; returns the folder that holds them and their ids.
    pub(super) fn batches(&mut self, s: &Shards<'_>) -> Result<Made, PlanError> {
        let shards = s.cut.shards(s.library);
        let per_batch = s.cut.shards_per_batch;
        // Other counts are another folder: a consumer never finds batches of an older cut.
        let cut = format!("{}/{shards}x{per_batch}", s.library);
        let folder = format!("{}/{cut}", s.folder);
        let mut made = Made {
            folder: folder.clone(),
            ids: Vec::new(),
            manifests: Vec::new(),
            shards,
            shards_per_batch: per_batch,
        };
        let count = shards.div_ceil(per_batch);
        for batch in 0..count {
            let range: Range<u32> = batch * per_batch..shards.min((batch + 1) * per_batch);
            let name = format!("{cut}/batch-{batch:04}");
            let out = batch_folder(&folder, batch);
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

    pub(super) fn merge(&mut self, m: Merge<'_>) -> Result<String, PlanError> {
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
        let read = m.batches.tables(m.table);
        // A product table is validated before its shards may go; a library has no such step.
        let releases = match m.step {
            Step::MergeLibrary => vec![read.clone()],
            _ => Vec::new(),
        };
        self.push(Draft {
            step: m.step,
            name: m.name,
            shard_tables: Some(read),
            releases,
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
}
