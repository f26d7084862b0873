//! `SUMMARY.json` beside the merged table: the keys the users' other scripts read, and more.

use halocline_cli::sidecar::Sidecar;
use serde_json::{Map, Value, json};

use crate::Config;
use crate::shards::Shards;

/// The summary of a job. Keys whose figure is not known (no sidecars beside the shards) are null.
pub(crate) fn summary(config: &Config, shards: &Shards, sidecar: &Sidecar) -> Value {
    let totals = shards.totals.as_ref();
    let seconds = sidecar.wall_seconds;
    // Every product that was made, so that the figure does not depend on how many shards there were.
    let products = shards.rows + totals.map_or(0, |t| t.duplicates);
    let mut stats = Map::new();
    stats.insert("duplicates".into(), sidecar.duplicates.into());
    stats.insert(
        "duplicates_in_shards".into(),
        json!(totals.map(|t| t.duplicates)),
    );
    stats.insert(
        "rows_rejected".into(),
        json!(totals.map(|t| &t.rows_rejected)),
    );
    stats.insert(
        "transform_cpu_seconds".into(),
        json!(totals.map(|t| t.cpu_seconds)),
    );
    for (name, count) in totals.iter().flat_map(|t| &t.counts) {
        stats.insert(name.clone(), (*count).into());
    }
    let subset = match (&config.job.class, &config.job.depth) {
        (Some(class), Some(depth)) => Some(format!("{class}-{depth}X")),
        (class, _) => class.clone(),
    };
    json!({
        "transform": config.job.transform.as_ref().or(shards.meta.rule.as_ref()),
        "source_file": config.job.source_file,
        "source_subset": subset,
        "class": config.job.class,
        "depth": config.job.depth,
        "total_input": totals.map(|t| t.rows_in),
        "total_processed": totals.map(|t| t.rows_done),
        "total_products": products,
        "unique_products": sidecar.rows_out,
        "elapsed_seconds": seconds,
        "throughput_mol_per_sec": products as f64 / seconds.max(1e-6),
        "stats": stats,
        "keys": config.keys,
        "shards": shards.shards.len(),
        "strategy": sidecar.extra.get("strategy"),
        "output": sidecar.output,
        "rule_fingerprint": sidecar.rule_fingerprint,
        "rdkit_version": sidecar.rdkit_version,
        "memory_limit_bytes": sidecar.memory_limit_bytes,
        "peak_rss_bytes": sidecar.peak_rss_bytes,
        "spill_bytes": sidecar.spill_bytes,
        "cpu_seconds": sidecar.cpu_seconds,
        "tool_version": sidecar.tool_version,
    })
}
