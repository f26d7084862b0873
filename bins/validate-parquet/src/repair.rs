//! `--repair`: the whole row groups of a damaged file, written to a new one.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use halocline_budget::Budget;
use halocline_table::{
    ReadOptions, TableReader, TableWriter, WriterOptions, footer_bytes, salvage,
};
use serde::Serialize;

use crate::content::reserve;

/// Value of the `schema` key.
const SCHEMA: &str = "halocline.repair/1";
/// Key of the metadata by which a salvaged file is known.
pub(crate) const SALVAGED: &str = "salvaged";
/// Raw bytes of the batches that are copied.
const BATCH_BYTES: u64 = 512 << 10;

/// What was saved and what was lost, as JSON.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    file: String,
    repaired: String,
    row_groups_saved: u64,
    rows_saved: u64,
    /// Row groups that are there but damaged.
    row_groups_damaged: u64,
    rows_damaged: u64,
    /// Bytes behind the last whole row group; with a footer, the footer.
    tail_bytes: u64,
    /// Rows the footer promises, where there is one.
    rows_promised: Option<u64>,
    bytes: u64,
    xxh3_128: String,
}

/// Salvages `file` into `new`; returns the report, or nothing and writes nothing when no row can be saved.
pub(crate) fn repair(file: &Path, new: &Path, budget: &Budget) -> anyhow::Result<Option<String>> {
    let exists = new
        .try_exists()
        .with_context(|| format!("cannot look for `{}`", new.display()))?;
    ensure!(
        !exists,
        "`{}` is there already; a repair writes a new file",
        new.display()
    );
    let saved = salvage(file)?;
    let table = &saved.table;
    let Some(meta) = table.meta() else {
        bail!(
            "`{}` has no halocline metadata, so nothing can be salvaged",
            file.display()
        );
    };
    if table.rows() == 0 {
        return Ok(None);
    }
    let rows_promised = TableReader::open(file).ok().map(|whole| whole.rows());
    let mut meta = meta.clone();
    meta.extra.insert(
        SALVAGED.to_owned(),
        format!(
            "{} rows; {} row groups damaged; rows behind them may be missing",
            table.rows(),
            saved.damaged_row_groups
        ),
    );
    let options = WriterOptions {
        row_group_bytes: saved.row_group_bytes,
    };
    let read = ReadOptions {
        batch_bytes: BATCH_BYTES,
        ..ReadOptions::default()
    };
    let columns = table.schema().flattened_fields().len() as u64;
    let _memory = reserve(
        budget,
        "repair",
        table.metadata_bytes()
            + table.reserve_bytes(&read)?
            + TableWriter::reserve_bytes(table.schema(), meta.kind, &options)
            + 2 * footer_bytes(table.row_groups() as u64, columns),
    )?;
    let mut writer = TableWriter::create(new, table.schema(), &meta, options)?;
    for batch in table.batches(read)? {
        writer.write(&batch?)?;
    }
    let published = writer.finish()?;
    let report = Report {
        schema: SCHEMA,
        file: file.display().to_string(),
        repaired: new.display().to_string(),
        row_groups_saved: table.row_groups() as u64,
        rows_saved: published.rows,
        row_groups_damaged: saved.damaged_row_groups,
        rows_damaged: saved.damaged_rows,
        tail_bytes: saved.tail_bytes,
        rows_promised,
        bytes: published.bytes,
        xxh3_128: published.xxh3_128,
    };
    let lost = match rows_promised {
        Some(promised) => format!(
            "{} of {promised} rows are lost",
            promised.saturating_sub(report.rows_saved)
        ),
        None => format!(
            "lost are {} rows of {} damaged row groups and the rows of the last {} bytes",
            report.rows_damaged, report.row_groups_damaged, report.tail_bytes
        ),
    };
    tracing::warn!(
        "saved {} rows in {} row groups; {lost}",
        report.rows_saved,
        report.row_groups_saved
    );
    let mut text = serde_json::to_string_pretty(&report)?;
    text.push('\n');
    Ok(Some(text))
}
