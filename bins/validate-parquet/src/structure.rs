//! What can be checked without reading a value: what the file says about itself, its columns, and
//! its sidecar.

use anyhow::Context;
use arrow::datatypes::{Field, Schema};
use halocline_cli::sidecar::Sidecar;
use halocline_table::{
    Kind, PRODUCT_SCHEMA_VERSION, TableReader, file_digest, product_schema, rejects_schema,
    schema::PRODUCT_COLUMNS, text_rejects_schema,
};

use crate::args::Config;
use crate::repair::SALVAGED;
use crate::verdict::{Code, Verdict};

/// Checks metadata, columns and sidecar.
pub(crate) fn check(
    config: &Config,
    table: &TableReader,
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    metadata(config, table, verdict);
    columns(config, table, verdict)?;
    sidecar(table, verdict)
}

fn metadata(config: &Config, table: &TableReader, verdict: &mut Verdict) {
    let Some(meta) = table.meta() else {
        let by = table.file_metadata().created_by();
        let message = format!(
            "it was not written by halocline but by `{}`, so it promises nothing to check",
            by.unwrap_or("an unknown program")
        );
        verdict.fail(Code::Metadata, message);
        verdict.conclude("metadata", &[Code::Metadata]);
        return;
    };
    if meta.schema_version != PRODUCT_SCHEMA_VERSION {
        verdict.fail(
            Code::SchemaVersion,
            format!(
                "its schema version is `{}`, this program knows `{PRODUCT_SCHEMA_VERSION}`",
                meta.schema_version
            ),
        );
    }
    if let Some(expected) = &config.expect_rule
        && meta.rule.as_ref() != Some(expected)
    {
        let found = meta
            .rule
            .as_ref()
            .map_or("no rule".to_owned(), |r| format!("rule `{r}`"));
        let message = format!("its metadata name {found}, expected `{expected}`");
        verdict.fail(Code::RuleMismatch, message);
    }
    if let Some(saved) = meta.extra.get(SALVAGED) {
        verdict.fail(
            Code::Salvaged,
            format!("it was salvaged from a damaged file: {saved}"),
        );
    }
    verdict.conclude(
        "metadata",
        &[
            Code::Metadata,
            Code::Salvaged,
            Code::SchemaVersion,
            Code::RuleMismatch,
        ],
    );
}

fn columns(config: &Config, table: &TableReader, verdict: &mut Verdict) -> anyhow::Result<()> {
    let found = table.schema();
    match table.meta().map(|m| m.kind) {
        Some(Kind::Product) => {
            let own = product_schema(&[])?;
            compare(&own, found, verdict);
            let kept: Vec<&str> = found
                .fields()
                .iter()
                .skip(own.fields().len())
                .map(|f| f.name().as_str())
                .collect();
            for (i, name) in kept.iter().enumerate() {
                if PRODUCT_COLUMNS.contains(name) || kept[..i].contains(name) {
                    let message = format!("column `{name}` is there twice");
                    verdict.fail(Code::ExtraColumn, message);
                }
            }
            if let Some(keep) = &config.keep {
                for name in keep.iter().filter(|k| !kept.contains(&k.as_str())) {
                    let message = format!("kept column `{name}` is missing");
                    verdict.fail(Code::MissingColumn, message);
                }
                for name in kept.iter().filter(|k| !keep.iter().any(|e| e == *k)) {
                    let message = format!("column `{name}` was not asked to be kept");
                    verdict.fail(Code::ExtraColumn, message);
                }
            }
        }
        Some(Kind::Rejects) => {
            let text = text_rejects_schema();
            let first = found.fields().first().map(|f| f.name().as_str());
            let own = if first == Some("line") {
                text
            } else {
                rejects_schema()
            };
            compare(&own, found, verdict);
            for field in found.fields().iter().skip(own.fields().len()) {
                let message = format!("column `{}` does not belong there", field.name());
                verdict.fail(Code::ExtraColumn, message);
            }
        }
        Some(Kind::Library) | None => {}
    }
    verdict.conclude(
        "columns",
        &[Code::MissingColumn, Code::ExtraColumn, Code::WrongType],
    );
    Ok(())
}

/// Compares the first columns of `found` with `own`.
fn compare(own: &Schema, found: &Schema, verdict: &mut Verdict) {
    for (place, expected) in own.fields().iter().enumerate() {
        let Ok(at) = found.index_of(expected.name()) else {
            verdict.fail(
                Code::MissingColumn,
                format!("column `{}` is missing", expected.name()),
            );
            continue;
        };
        if at != place {
            let message = format!(
                "column `{}` stands at place {}, not {}",
                expected.name(),
                at + 1,
                place + 1
            );
            verdict.fail(Code::ExtraColumn, message);
        }
        let field = found.field(at);
        if !same_type(expected, field) {
            verdict.fail(
                Code::WrongType,
                format!(
                    "column `{}` is {}, not {}",
                    expected.name(),
                    field.data_type(),
                    expected.data_type()
                ),
            );
        }
    }
}

fn same_type(expected: &Field, found: &Field) -> bool {
    expected.data_type().equals_datatype(found.data_type())
}

fn sidecar(table: &TableReader, verdict: &mut Verdict) -> anyhow::Result<()> {
    let digest = file_digest(table.path())?;
    verdict.bytes = Some(table.file_bytes());
    verdict.xxh3_128 = Some(digest.clone());
    let path = Sidecar::path_for(table.path());
    if !path
        .try_exists()
        .with_context(|| format!("cannot look for `{}`", path.display()))?
    {
        verdict.skipped("sidecar", "there is none");
        return Ok(());
    }
    let output = match Sidecar::read(&path) {
        Ok(sidecar) => sidecar.output,
        Err(error) => {
            verdict.fail(Code::Sidecar, format!("{:#}", anyhow::Error::new(error)));
            verdict.conclude("sidecar", &[Code::Sidecar]);
            return Ok(());
        }
    };
    match output {
        None => {
            verdict.fail(
                Code::Sidecar,
                format!("sidecar `{}` names no output", path.display()),
            );
        }
        Some(output) => {
            if output.rows != table.rows() {
                let message = format!(
                    "it has {} rows, its sidecar says {}",
                    table.rows(),
                    output.rows
                );
                verdict.fail(Code::RowCount, message);
            }
            if output.bytes != table.file_bytes() {
                let message = format!(
                    "it has {} bytes, its sidecar says {}",
                    table.file_bytes(),
                    output.bytes
                );
                verdict.fail(Code::FileSize, message);
            } else if output.xxh3_128 != digest {
                let message = format!(
                    "its bytes have digest {digest}, its sidecar says {}",
                    output.xxh3_128
                );
                verdict.fail(Code::Digest, message);
            }
        }
    }
    verdict.conclude(
        "sidecar",
        &[Code::Sidecar, Code::RowCount, Code::FileSize, Code::Digest],
    );
    Ok(())
}
