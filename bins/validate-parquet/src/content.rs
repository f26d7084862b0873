//! What takes reading every byte and every value: checksums, nulls, SMILES text, rules, order, keys.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::row::{RowConverter, Rows, SortField};
use halocline_budget::{Budget, Reservation, SpillDir};
use halocline_cli::Progress;
use halocline_table::pages::check_pages;
use halocline_table::schema::{SMILES, XF_RULE_ID, is_text};
use halocline_table::{Kind, ReadOptions, TableError, TableReader, product_schema, text_column};
use xxhash_rust::xxh3::xxh3_128;

use crate::args::Config;
use crate::order::{OrderCheck, OrderColumn, parse_order};
use crate::parse::Sample;
use crate::unique::{Record, Unique};
use crate::verdict::{Code, Verdict};

/// Raw bytes of the batches that are read.
const BATCH_BYTES: u64 = 512 << 10;
/// Why a check of all rows was not made.
const UNREAD: &str = "not every row could be read";

pub(crate) fn reserve(budget: &Budget, name: &str, bytes: u64) -> anyhow::Result<Reservation> {
    let mut reservation = budget.pool().claim(name);
    reservation
        .try_grow(bytes)
        .context("the memory limit is too small for this table\nhint: raise `--memory-limit`")?;
    Ok(reservation)
}

/// Checks pages and values.
pub(crate) fn check(
    config: &Config,
    table: &TableReader,
    budget: &Budget,
    spill: &SpillDir,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    check_checksums(table, verdict)?;
    let product = table.meta().is_some_and(|m| m.kind == Kind::Product);
    let default_keys = if product {
        vec![SMILES.to_owned()]
    } else {
        Vec::new()
    };
    let keys = config.keys.clone().unwrap_or(default_keys);
    let default_order = if product {
        parse_order(&["source_row", "xf_rule_id?", "xf_site_index"].map(str::to_owned))
    } else {
        Vec::new()
    };
    let order = config.order.clone().unwrap_or(default_order);
    for name in keys.iter().chain(order.iter().map(|c| &c.name)) {
        if table.column(name).is_err() {
            let code = Code::MissingColumn;
            let known = verdict
                .failures()
                .iter()
                .any(|f| f.message.contains(&format!("`{name}`")));
            if !known {
                verdict.fail(code, format!("column `{name}` is missing"));
            }
            for check in ["values", "order", "unique", "smiles_parse"] {
                verdict.skipped(check, "a column is missing");
            }
            return Ok(());
        }
    }
    let options = ReadOptions {
        batch_bytes: BATCH_BYTES,
        ..ReadOptions::default()
    };
    // Rows of keys and order columns beside the batch they come from.
    let pages = reserve(
        budget,
        "pages",
        table.reserve_bytes(&options)? + 2 * BATCH_BYTES,
    )?;
    let mut content = Content {
        table,
        product,
        rejects: table.meta().is_some_and(|m| m.kind == Kind::Rejects),
        rules: Rules::of(config, table),
        order: order_of(table, order)?,
        keys: keys_of(table, &keys, budget, spill)?,
        sample: product.then(|| Sample::new(table.rows())),
        row: 0,
    };
    let progress = Progress::rows(Some(table.rows()), "rows checked");
    let mut whole = true;
    for batch in table.batches(options)? {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error @ TableError::Read { .. }) => {
                verdict.fail(Code::Unreadable, error.to_string());
                whole = false;
                break;
            }
            Err(error) => return Err(error.into()),
        };
        content.check(&batch, verdict)?;
        progress.inc(batch.num_rows() as u64);
        budget.observe();
    }
    progress.finish();
    if let Some(rules) = &content.rules {
        rules.conclude(verdict);
    }
    verdict.conclude(
        "values",
        &[
            Code::Unreadable,
            Code::NullValue,
            Code::SmilesText,
            Code::RuleMismatch,
        ],
    );
    match content.order {
        None => verdict.skipped("order", "no order asked for"),
        Some(_) if !whole && !verdict.has(Code::Disorder) => verdict.skipped("order", UNREAD),
        Some(_) => verdict.conclude("order", &[Code::Disorder]),
    }
    let sample = content.sample.take();
    match content.keys {
        None => verdict.skipped("unique", "no keys asked for"),
        Some(_) if !whole => verdict.skipped("unique", UNREAD),
        Some(found) => {
            let found = found.unique.finish()?;
            verdict.duplicates = Some(found.duplicates);
            if let Some((row, earlier)) = found.first {
                let key = shown(table, &keys, row)?;
                let message = format!(
                    "{} of {} rows repeat a key; the first is row {row}, equal to row {earlier}: {key}",
                    found.duplicates,
                    table.rows()
                );
                verdict.fail_many(Code::DuplicateKey, message, found.duplicates);
            }
            verdict.conclude("unique", &[Code::DuplicateKey]);
        }
    }
    // Last, when the memory of keys and pages is free for the process of RDKit.
    drop(pages);
    match sample {
        Some(sample) if !whole && sample.is_empty() => verdict.skipped("smiles_parse", UNREAD),
        Some(sample) => sample.check(budget, spill, verdict)?,
        None => verdict.skipped(
            "smiles_parse",
            "only products must parse; what does not parse in a library is rejected where it is used",
        ),
    }
    Ok(())
}

fn check_checksums(table: &TableReader, verdict: &mut Verdict) -> anyhow::Result<()> {
    let counts = check_pages(table, |fault| {
        let code = if fault.checksum {
            Code::CrcMismatch
        } else {
            Code::PageHeader
        };
        let message = format!(
            "column `{}` of row group {}, page at byte {}: {}",
            fault.column, fault.row_group, fault.offset, fault.detail
        );
        verdict.fail(code, message);
        true
    })?;
    verdict.pages_checked = Some(counts.pages - counts.without_crc);
    if counts.without_crc > 0 && table.meta().is_some() {
        verdict.fail_many(
            Code::CrcMissing,
            format!(
                "{} of {} pages have no checksum",
                counts.without_crc, counts.pages
            ),
            counts.without_crc,
        );
    }
    verdict.conclude(
        "checksums",
        &[Code::CrcMismatch, Code::CrcMissing, Code::PageHeader],
    );
    Ok(())
}

struct Keys {
    columns: Vec<usize>,
    /// `None` for a single text column, which is hashed as it is.
    converter: Option<RowConverter>,
    unique: Unique,
}

struct Order {
    columns: Vec<usize>,
    converters: Vec<RowConverter>,
    check: OrderCheck,
}

/// Rows by whether they are of the rule their table is named after.
struct Rules {
    name: String,
    /// Given by the user; else taken from the metadata, where it may also be the name of a set of
    /// rules, of which then no row is.
    expected: bool,
    right: u64,
    wrong: u64,
    first: Option<(u64, String)>,
}

impl Rules {
    fn of(config: &Config, table: &TableReader) -> Option<Self> {
        let named = table.meta().and_then(|m| m.rule.clone());
        let name = config.expect_rule.clone().or(named)?;
        let expected = config.expect_rule.is_some();
        Some(Self {
            name,
            expected,
            right: 0,
            wrong: 0,
            first: None,
        })
    }

    fn conclude(&self, verdict: &mut Verdict) {
        if let Some((row, found)) = &self.first
            && (self.expected || self.right > 0)
        {
            let message = format!(
                "row {row} is of rule `{found}`, the table of `{}`",
                self.name
            );
            // Rows are counted; metadata that name another rule, and were counted as one, are about these rows.
            let counted = u64::from(verdict.has(Code::RuleMismatch));
            verdict.fail_many(Code::RuleMismatch, message, self.wrong - counted);
        }
    }
}

struct Content<'a> {
    table: &'a TableReader,
    product: bool,
    rejects: bool,
    rules: Option<Rules>,
    order: Option<Order>,
    keys: Option<Keys>,
    /// Of products, which must parse.
    sample: Option<Sample>,
    row: u64,
}

fn indices<'n>(
    table: &TableReader,
    names: impl Iterator<Item = &'n String>,
) -> anyhow::Result<Vec<usize>> {
    names.map(|name| Ok(table.column(name)?.0)).collect()
}

fn converter(table: &TableReader, columns: &[usize]) -> anyhow::Result<RowConverter> {
    let field = |i: &usize| SortField::new(table.schema().field(*i).data_type().clone());
    Ok(RowConverter::new(columns.iter().map(field).collect())?)
}

fn order_of(table: &TableReader, order: Vec<OrderColumn>) -> anyhow::Result<Option<Order>> {
    if order.is_empty() {
        return Ok(None);
    }
    let columns = indices(table, order.iter().map(|c| &c.name))?;
    let converters = columns
        .iter()
        .map(|c| converter(table, std::slice::from_ref(c)))
        .collect::<anyhow::Result<_>>()?;
    Ok(Some(Order {
        columns,
        converters,
        check: OrderCheck::new(order),
    }))
}

fn keys_of(
    table: &TableReader,
    keys: &[String],
    budget: &Budget,
    spill: &SpillDir,
) -> anyhow::Result<Option<Keys>> {
    if keys.is_empty() {
        return Ok(None);
    }
    let columns = indices(table, keys.iter())?;
    let text = columns.len() == 1 && is_text(table.schema().field(columns[0]).data_type());
    let converter = if text {
        None
    } else {
        Some(converter(table, &columns)?)
    };
    let all = Unique::LEAST_BYTES.saturating_add(table.rows().saturating_mul(24));
    let bytes = all.min(budget.pool().available()).max(Unique::LEAST_BYTES);
    let memory = reserve(budget, "keys", bytes)?;
    Ok(Some(Keys {
        columns,
        converter,
        unique: Unique::new(memory, spill.clone(), table.rows()),
    }))
}

impl Content<'_> {
    fn check(&mut self, batch: &RecordBatch, verdict: &mut Verdict) -> anyhow::Result<()> {
        if self.product {
            self.check_nulls(batch, verdict)?;
            self.check_rules(batch);
        }
        self.check_smiles(batch, verdict)?;
        if let Some(order) = &mut self.order {
            let mut values: Vec<Rows> = Vec::with_capacity(order.columns.len());
            for (column, converter) in order.columns.iter().zip(&mut order.converters) {
                values.push(converter.convert_columns(&[Arc::clone(batch.column(*column))])?);
            }
            for row in 0..batch.num_rows() {
                if let Some(column) = order.check.follow(&values, row) {
                    let message = format!(
                        "row {} is out of order by `{column}`",
                        self.row + row as u64
                    );
                    verdict.fail(Code::Disorder, message);
                }
            }
        }
        if let Some(keys) = &mut self.keys {
            match &mut keys.converter {
                None => {
                    let name = self.table.schema().field(keys.columns[0]).name();
                    let text = text_column(batch, name)?;
                    for row in 0..text.len() {
                        // A null is a key of its own, unlike any text.
                        let hash = if text.is_null(row) {
                            0
                        } else {
                            xxh3_128(text.value(row).as_bytes())
                        };
                        keys.unique
                            .insert(Record::new(hash, self.row + row as u64))?;
                    }
                }
                Some(converter) => {
                    let columns: Vec<ArrayRef> = keys
                        .columns
                        .iter()
                        .map(|c| Arc::clone(batch.column(*c)))
                        .collect();
                    let rows = converter.convert_columns(&columns)?;
                    for (row, value) in rows.iter().enumerate() {
                        let hash = xxh3_128(value.as_ref());
                        keys.unique
                            .insert(Record::new(hash, self.row + row as u64))?;
                    }
                }
            }
        }
        self.row += batch.num_rows() as u64;
        Ok(())
    }

    fn check_nulls(&self, batch: &RecordBatch, verdict: &mut Verdict) -> anyhow::Result<()> {
        for field in product_schema(&[])?
            .fields()
            .iter()
            .filter(|f| !f.is_nullable())
        {
            let Some(column) = batch.column_by_name(field.name()) else {
                continue;
            };
            let Some(nulls) = column.logical_nulls().filter(|n| n.null_count() > 0) else {
                continue;
            };
            let first = (0..nulls.len()).find(|i| nulls.is_null(*i)).unwrap_or(0) as u64;
            verdict.fail_many(
                Code::NullValue,
                format!(
                    "column `{}` is null in row {}",
                    field.name(),
                    self.row + first
                ),
                nulls.null_count() as u64,
            );
        }
        Ok(())
    }

    fn check_rules(&mut self, batch: &RecordBatch) {
        let (Some(rules), Some(column)) = (&mut self.rules, batch.column_by_name(XF_RULE_ID))
        else {
            return;
        };
        let Some(dictionary) = column.as_any_dictionary_opt() else {
            return;
        };
        let Some(values) = dictionary.values().as_string_opt::<i32>() else {
            return;
        };
        if values.is_empty() {
            return;
        }
        let wrong: Vec<bool> = (0..values.len())
            .map(|i| values.is_null(i) || values.value(i) != rules.name)
            .collect();
        let keys = dictionary.normalized_keys();
        for row in (0..column.len()).filter(|i| column.is_valid(*i)) {
            if !wrong[keys[row]] {
                rules.right += 1;
                continue;
            }
            if rules.wrong == 0 {
                let found = values.value(keys[row]).to_owned();
                rules.first = Some((self.row + row as u64, found));
            }
            rules.wrong += 1;
        }
    }

    fn check_smiles(&mut self, batch: &RecordBatch, verdict: &mut Verdict) -> anyhow::Result<()> {
        let text = batch
            .column_by_name(SMILES)
            .is_some_and(|c| is_text(c.data_type()));
        // Rejected rows are there because something was wrong with them.
        if !text || self.rejects {
            return Ok(());
        }
        for (row, smiles) in text_column(batch, SMILES)?.iter().enumerate() {
            let Some(smiles) = smiles else { continue };
            let row = self.row + row as u64;
            if let Some(wrong) = smiles_fault(smiles) {
                let message = format!("the SMILES of row {row} {wrong}");
                verdict.fail(Code::SmilesText, message);
            } else if let Some(sample) = &mut self.sample {
                sample.see(row, smiles);
            }
        }
        Ok(())
    }
}

/// What makes a text no SMILES, seen without chemistry.
fn smiles_fault(smiles: &str) -> Option<&'static str> {
    if smiles.is_empty() {
        return Some("is empty");
    }
    let (mut depth, mut bracket) = (0u32, false);
    for byte in smiles.bytes() {
        match byte {
            b'[' if bracket => return Some("has a bracket in a bracket"),
            b'[' => bracket = true,
            b']' if !bracket => return Some("closes a bracket that is not open"),
            b']' => bracket = false,
            b'(' => depth += 1,
            b')' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Some("closes a branch that is not open"),
            },
            0x21..=0x7e => {}
            _ => return Some("has a character no SMILES has"),
        }
    }
    if bracket {
        return Some("leaves a bracket open");
    }
    (depth > 0).then_some("leaves a branch open")
}

/// The key of a row, for people; long ones are cut.
fn shown(table: &TableReader, keys: &[String], row: u64) -> anyhow::Result<String> {
    let options = ReadOptions {
        rows: Some(row..row + 1),
        columns: Some(keys.to_vec()),
        ..ReadOptions::default()
    };
    let mut parts = Vec::new();
    for batch in table.batches(options)? {
        let batch = batch?;
        for column in batch.columns() {
            let text = arrow::util::display::array_value_to_string(column, 0)?;
            let cut: String = text.chars().take(120).collect();
            parts.push(if cut.len() < text.len() {
                format!("`{cut}…`")
            } else {
                format!("`{cut}`")
            });
        }
    }
    Ok(parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_smiles() {
        for good in [
            "C",
            "c1ccccc1",
            "[Na+].[Cl-]",
            "C(C)(C)O",
            "C%12CC%12",
            "[C@@H](O)C",
            "*",
        ] {
            assert_eq!(smiles_fault(good), None, "{good}");
        }
        for bad in ["", "C C", "C(", "C)", "[C", "C]", "[[C]]", "C\u{e9}", "C\n"] {
            assert!(smiles_fault(bad).is_some(), "{bad:?}");
        }
    }
}
