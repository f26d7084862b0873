//! A batch of shards: each whole in its own folder, then one manifest; shards that are complete are left alone.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use halocline_budget::{Budget, publish};
use halocline_chem::Kernel;
use halocline_cli::sidecar::Sidecar;
use halocline_table::Published;
use serde::Serialize;

use crate::args::Config;
use crate::shard::{self, SHARD_SIDECAR};

/// Value of the `schema` key.
const SCHEMA: &str = "halocline.manifest/1";
/// The manifest's name in `--out-dir`; what a workflow declares as the batch's output.
const FILE: &str = "manifest.json";

#[derive(Serialize)]
struct Manifest {
    schema: &'static str,
    shards: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    index: u64,
    dir: String,
    rows_in: u64,
    tables: BTreeMap<String, TableEntry>,
}

#[derive(Serialize)]
struct TableEntry {
    rows: u64,
    bytes: u64,
    xxh3_128: String,
}

/// Runs the shards that are not complete yet, then writes the manifest.
///
/// # Errors
/// Those of the first shard that cannot be done; the ones before it stay.
pub(crate) fn run_batch(
    config: &Config,
    budget: &Budget,
    shards: &[(u64, Range<u64>)],
    kernel: Kernel,
) -> anyhow::Result<()> {
    let mut kernels = vec![kernel];
    let mut manifest = Manifest {
        schema: SCHEMA,
        shards: Vec::new(),
    };
    for (index, rows) in shards {
        let name = format!("shard-{index:05}");
        let dir = config.out_dir.join(&name);
        let entry = if let Some(tables) = complete(config, rows, &dir) {
            tracing::info!("{name} is complete");
            Entry {
                index: *index,
                dir: name,
                rows_in: rows.end - rows.start,
                tables,
            }
        } else {
            let done = shard::run(
                config,
                budget,
                rows.clone(),
                &dir,
                std::mem::take(&mut kernels),
            )?;
            kernels = done.kernels;
            Entry {
                index: *index,
                dir: name,
                rows_in: done.rows_in,
                tables: done
                    .tables
                    .iter()
                    .map(|(name, p)| (name.clone(), entry_of(p)))
                    .collect(),
            }
        };
        manifest.shards.push(entry);
    }
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    text.push(b'\n');
    publish::write_bytes(config.out_dir.join(FILE), &text)?;
    Ok(())
}

fn entry_of(published: &Published) -> TableEntry {
    TableEntry {
        rows: published.rows,
        bytes: published.bytes,
        xxh3_128: published.xxh3_128.clone(),
    }
}

/// The tables of a shard that was completed with the same input, rules and tools, and whose files are as long as their
/// sidecars say.
fn complete(
    config: &Config,
    rows: &Range<u64>,
    dir: &Path,
) -> Option<BTreeMap<String, TableEntry>> {
    let shard = Sidecar::read(&dir.join(SHARD_SIDECAR)).ok()?;
    if shard.extra.get("key") != Some(&shard::key(config, rows)) {
        return None;
    }
    let mut tables = BTreeMap::new();
    for name in shard::table_names(config) {
        let path = dir.join(format!("{name}.parquet"));
        let output = Sidecar::read(&Sidecar::path_for(&path)).ok()?.output?;
        if fs_err::metadata(&path).ok()?.len() != output.bytes {
            return None;
        }
        tables.insert(
            name,
            TableEntry {
                rows: output.rows,
                bytes: output.bytes,
                xxh3_128: output.xxh3_128,
            },
        );
    }
    Some(tables)
}
