//! Parquet in: without partitions it is only read and planned; with partitions its rows are copied
//! to one library per value, types unchanged.

use std::sync::Arc;

use anyhow::ensure;
use arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use halocline_budget::{Reservation, release_idle_pages};
use halocline_cli::Progress;
use halocline_table::schema::is_text;
use halocline_table::{ReadOptions, TableReader, file_digest, find_smiles_column, text_column};

use crate::inspect;
use crate::job::{Counts, Job, Rejects};
use crate::library::{Library, folders, meta_of};
use crate::molecule::Estimator;
use crate::profile::Profile;

/// Raw bytes of the batches that are read. With 512 KiB the peak is 0.8 MB higher over 15 million rows than over 1.5,
/// by how such buffers meet; with these it is that of the reservations (2026-11-20).
const BATCH_BYTES: u64 = 256 << 10;

/// The table, what its footer takes, and the name of its SMILES column.
fn open(job: &Job<'_>) -> anyhow::Result<(TableReader, Reservation, String)> {
    let table = TableReader::open(&job.config.input)?;
    // Reading a footer takes more than keeping it.
    release_idle_pages();
    let footer = job.reserve("footer", table.metadata_bytes())?;
    let asked = job.config.smiles_column.as_deref();
    let field = table
        .schema()
        .field(find_smiles_column(&names(&table), asked)?);
    ensure!(
        is_text(field.data_type()),
        "column `{}` is {}, not text",
        field.name(),
        field.data_type()
    );
    let smiles = field.name().clone();
    Ok((table, footer, smiles))
}

fn names(table: &TableReader) -> Vec<&str> {
    let fields = table.schema().fields().iter();
    fields.map(|f| f.name().as_str()).collect()
}

/// What `--columns` prints.
pub(crate) fn columns(job: &Job<'_>) -> anyhow::Result<String> {
    let (table, _footer, smiles) = open(job)?;
    inspect::columns("Parquet", &names(&table), &smiles)
}

/// Splits a Parquet file.
pub(crate) fn split(job: &Job<'_>) -> anyhow::Result<String> {
    let config = job.config;
    let (table, _footer, smiles) = open(job)?;
    if config.partition.is_some() {
        partition(job, &table, &smiles)?;
        return Ok(String::new());
    }
    let (profile, blank) = profile(job, &table, &smiles)?;
    if config.inspect {
        return Ok(inspect::report(config, &profile, blank));
    }
    let fingerprint = {
        let _time = job.times.time("fingerprint");
        file_digest(&config.input)?
    };
    if blank > 0 {
        tracing::warn!(
            "{blank} rows without a SMILES stay in the library; later steps reject them"
        );
    }
    let counts = Counts {
        rows_in: table.rows(),
        rows_out: table.rows(),
        more: [("rows_without_smiles".to_owned(), blank)].into(),
        ..Counts::default()
    };
    Rejects::create(job)?.finish(job, &counts, &fingerprint)?;
    job.plan(
        &config.out_dir,
        &config.input,
        &fingerprint,
        &smiles,
        &profile,
    )?;
    Ok(String::new())
}

/// The cost profile of a library, and its rows without a SMILES.
fn profile(job: &Job<'_>, table: &TableReader, smiles: &str) -> anyhow::Result<(Profile, u64)> {
    let _time = job.times.time("estimate");
    let options = ReadOptions {
        columns: Some(vec![smiles.to_owned()]),
        batch_bytes: BATCH_BYTES,
        ..ReadOptions::default()
    };
    // The text of a batch grows by doubling and can end just above a power of two, in the decoder and in what is given out.
    let pages = table.reserve_bytes(&options)? + 3 * BATCH_BYTES;
    let _memory = job.reserve("pages", pages + Profile::BYTES)?;
    job.budget.touch_reserved();
    let progress = Progress::rows(Some(table.rows()), "rows estimated");
    let mut profile = Profile::default();
    let mut estimator = Estimator::default();
    let mut blank = 0;
    for batch in table.batches(options)? {
        let batch = batch?;
        for value in &text_column(&batch, smiles)? {
            let value = value.unwrap_or_default();
            blank += u64::from(value.trim_ascii().is_empty());
            profile.push(
                estimator.estimate(value, job.config.work),
                value.len() as u64,
            );
        }
        job.budget.observe();
        progress.inc(batch.num_rows() as u64);
    }
    progress.finish();
    Ok((profile, blank))
}

fn partition(job: &Job<'_>, table: &TableReader, smiles: &str) -> anyhow::Result<()> {
    let Some((column, values)) = &job.config.partition else {
        return Ok(());
    };
    table.column(column)?;
    let fingerprint = file_digest(&job.config.input)?;
    let options = ReadOptions {
        batch_bytes: BATCH_BYTES,
        ..ReadOptions::default()
    };
    // The batch once more, filtered.
    let _memory = job.reserve("pages", table.reserve_bytes(&options)? + 2 * BATCH_BYTES)?;
    let mut rejects = Rejects::create(job)?;
    let mut counts = Counts {
        rows_in: table.rows(),
        ..Counts::default()
    };
    let folders = folders(job);
    let at_once = Library::at_once(job, table.schema(), folders.len())?;
    let passes = folders.len().div_ceil(at_once) as u64;
    let progress = Progress::rows(Some(table.rows() * passes), "rows into libraries");
    let mut finished = Vec::with_capacity(folders.len());
    for first in (0..folders.len()).step_by(at_once) {
        let _time = job.times.time("write");
        let group = first..(first + at_once).min(folders.len());
        let mut libraries = Vec::with_capacity(group.len());
        for place in group.clone() {
            let dir = folders[place].clone();
            libraries.push(Library::create(
                job,
                dir,
                table.schema(),
                &meta_of(job, place),
            )?);
        }
        job.budget.touch_reserved();
        let mut estimator = Estimator::default();
        let mut row = 0;
        for batch in table.batches(options.clone())? {
            let batch = batch?;
            let classes = as_text(&batch, column)?;
            let texts = text_column(&batch, smiles)?;
            let blank = |i: usize| texts.is_null(i) || texts.value(i).trim_ascii().is_empty();
            if first == 0 {
                for i in 0..batch.num_rows() {
                    if blank(i) {
                        rejects.push(row + i as u64, "empty_smiles", "empty SMILES", "")?;
                    } else if classes.is_null(i) || !values.iter().any(|v| v == classes.value(i)) {
                        counts.rows_other += 1;
                    }
                }
            }
            for (library, value) in libraries.iter_mut().zip(&values[group.clone()]) {
                let mine = |i| !blank(i) && classes.is_valid(i) && classes.value(i) == value;
                let mask: BooleanArray = (0..batch.num_rows()).map(|i| Some(mine(i))).collect();
                if mask.true_count() == 0 {
                    continue;
                }
                let rows = filter_record_batch(&batch, &mask)?;
                for text in text_column(&rows, smiles)?.iter().flatten() {
                    library.note(&mut estimator, text);
                }
                library.write(&rows)?;
            }
            row += batch.num_rows() as u64;
            job.budget.observe();
            progress.inc(batch.num_rows() as u64);
        }
        for library in libraries {
            let library = library.finish()?;
            counts.rows_out += library.rows();
            finished.push(library);
        }
    }
    progress.finish();
    counts.rejected = rejects.counts.clone();
    rejects.finish(job, &counts, &fingerprint)?;
    for library in &finished {
        library.describe(job, smiles, &fingerprint)?;
    }
    Ok(())
}

/// The values of any simple column as text.
fn as_text(batch: &RecordBatch, column: &str) -> anyhow::Result<StringArray> {
    let array = batch.column(batch.schema_ref().index_of(column)?);
    let text = arrow::compute::cast(array, &DataType::Utf8)?;
    let text = Arc::clone(&text);
    let text = text.as_any().downcast_ref::<StringArray>().cloned();
    text.ok_or_else(|| anyhow::anyhow!("column `{column}` cannot be read as text"))
}
