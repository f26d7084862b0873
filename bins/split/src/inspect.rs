//! What is printed of a library: with `--inspect` its cost profile for people, with `--columns` its columns for programs.

use std::fmt::Write;

use halocline_budget::ByteSize;
use serde_json::json;

use crate::args::{Balance, Config};
use crate::profile::{Profile, Sums};

/// Slices the rows are shown in.
const SLICES: u64 = 20;
/// Shards listed one by one; of more, the dearest.
const LISTED: usize = 64;
/// Raw bytes of a product beside its two SMILES (rule, label, family, site, row; measured).
const PRODUCT_BYTES: u64 = 90;
/// Raw bytes of products per byte in the file (zstd, measured on np_68k products 2026-11).
const COMPRESSION: u64 = 7;

/// The report.
pub(crate) fn report(config: &Config, profile: &Profile, rejected: u64) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, config, profile, rejected);
    out
}

/// Its columns.
pub(crate) fn columns(format: &str, names: &[&str], smiles: &str) -> anyhow::Result<String> {
    let columns = json!({"format": format, "columns": names, "smiles_column": smiles});
    Ok(serde_json::to_string(&columns)? + "\n")
}

fn write(out: &mut String, config: &Config, profile: &Profile, rejected: u64) -> std::fmt::Result {
    let total = profile.total();
    let per_row = |sum: u64, rows: u64| sum as f64 / rows.max(1) as f64;
    writeln!(out, "library   {}", config.input.display())?;
    writeln!(
        out,
        "rows      {} ({rejected} without a usable SMILES)",
        total.rows
    )?;
    writeln!(
        out,
        "molecules {:.1} heavy atoms and {:.2} reactive sites on average",
        per_row(total.heavy_atoms, total.rows),
        per_row(total.sites, total.rows)
    )?;
    let raw = total.products * PRODUCT_BYTES
        + (u128::from(total.text_bytes) * 2 * u128::from(total.products)
            / u128::from(total.rows.max(1))) as u64;
    writeln!(
        out,
        "products  about {} before deduplication, {:#} raw, {:#} on disk",
        total.products,
        ByteSize(raw),
        ByteSize(raw / COMPRESSION)
    )?;
    writeln!(
        out,
        "\nby position\n{:>25} {:>8} {:>8} {:>9}",
        "rows", "atoms", "sites", "cost"
    )?;
    let slices = SLICES.min(total.rows.max(1));
    let bounds = profile.boundaries(slices, Balance::Rows);
    for (rows, sum) in bounds.windows(2).zip(profile.between(&bounds)) {
        writeln!(
            out,
            "{:>25} {:>8.1} {:>8.2} {:>8.2}%",
            format!("{}..{}", rows[0], rows[1]),
            per_row(sum.heavy_atoms, sum.rows),
            per_row(sum.sites, sum.rows),
            percent(sum, total)
        )?;
    }
    let n = config.shards;
    let bounds = profile.boundaries(n, config.balance);
    let sums = profile.between(&bounds);
    let mut listed: Vec<usize> = (0..sums.len()).collect();
    if listed.len() > LISTED {
        listed.sort_by_key(|i| std::cmp::Reverse(sums[*i].cost));
        listed.truncate(LISTED);
        writeln!(out, "\nshards (the {LISTED} dearest of {n})")?;
    } else {
        writeln!(out, "\nshards")?;
    }
    writeln!(
        out,
        "{:>6} {:>25} {:>10} {:>12} {:>8}",
        "index", "rows", "count", "products", "cost"
    )?;
    for i in listed {
        writeln!(
            out,
            "{:>6} {:>25} {:>10} {:>12} {:>7.3}x",
            i,
            format!("{}..{}", bounds[i], bounds[i + 1]),
            sums[i].rows,
            sums[i].products,
            sums[i].cost as f64 * n as f64 / total.cost.max(1) as f64
        )?;
    }
    writeln!(out, "\nskew (largest shard / mean)")?;
    writeln!(out, "  equal cost {:>8.3}", profile.skew(n, Balance::Cost))?;
    writeln!(out, "  equal rows {:>8.3}", profile.skew(n, Balance::Rows))
}

fn percent(part: Sums, total: Sums) -> f64 {
    100.0 * part.cost as f64 / total.cost.max(1) as f64
}
