//! Text to libraries: one reading to find the types, one more for every group of libraries that
//! fits in memory.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use anyhow::{bail, ensure};
use halocline_cli::Progress;
use halocline_table::text::{
    ColumnTypes, Format, MOST_RECORD_BYTES, Record, RecordReader, TypedRows,
};
use halocline_table::{TableError, file_digest};

use crate::inspect;
use crate::job::{Counts, Job, Rejects};
use crate::library::{BATCH_BYTES, Library, folders, meta_of};
use crate::molecule::Estimator;
use crate::profile::Profile;

/// Opens the input under a reservation that covers its decoder and its longest record.
struct Source<'a> {
    job: &'a Job<'a>,
    format: Format,
    window_log: u32,
    _memory: halocline_budget::Reservation,
}

impl<'a> Source<'a> {
    fn new(job: &'a Job<'a>, format: Format) -> anyhow::Result<Self> {
        let name = job.config.input.to_string_lossy().to_ascii_lowercase();
        let mut bytes = 3 * MOST_RECORD_BYTES as u64;
        // What zstd files declare: 8 MiB at level 19 and below, more with `--ultra` or `--long`.
        let window_log = (job.budget.pool().available() / 4)
            .max(1)
            .ilog2()
            .clamp(20, 27);
        if name.ends_with(".zst") {
            bytes += 1 << window_log.min(23);
        }
        let memory = job.reserve("records", bytes)?;
        Ok(Self {
            job,
            format,
            window_log,
            _memory: memory,
        })
    }

    fn open(&self) -> anyhow::Result<RecordReader> {
        let config = self.job.config;
        let column = config.smiles_column.as_deref();
        Ok(RecordReader::open(
            &config.input,
            self.format,
            column,
            self.window_log,
        )?)
    }
}

fn next<'r>(reader: &'r mut RecordReader) -> anyhow::Result<Option<Record<'r>>> {
    reader.next_record().map_err(|error| {
        let window = matches!(&error, TableError::Io(e) if e.to_string().contains("too much memory"));
        let error = anyhow::Error::new(error);
        if window {
            return error.context(
                "this zstd file needs a larger window than the memory limit allows\nhint: raise `--memory-limit`, or compress it without `--long` and `--ultra`",
            );
        }
        error
    })
}

/// What `--columns` prints.
pub(crate) fn columns(job: &Job<'_>, format: Format) -> anyhow::Result<String> {
    let source = Source::new(job, format)?;
    let reader = source.open()?;
    let names: Vec<&str> = reader.columns().iter().map(String::as_str).collect();
    inspect::columns(&format.to_string(), &names, names[reader.smiles_column()])
}

/// Splits a text file.
pub(crate) fn split(job: &Job<'_>, format: Format) -> anyhow::Result<String> {
    let source = Source::new(job, format)?;
    if job.config.inspect {
        return inspect_text(job, &source);
    }
    let fingerprint = file_digest(&job.config.input)?;
    let (types, records) = {
        let _time = job.times.time("types");
        find_types(&source)?
    };
    let mut reader = source.open()?;
    let schema = types.schema(reader.columns());
    let smiles = reader.smiles_column();
    let smiles_name = reader.columns()[smiles].clone();
    let partition = match &job.config.partition {
        None => None,
        Some((column, values)) => {
            let Some(index) = reader.columns().iter().position(|c| c == column) else {
                bail!(
                    "no column `{column}` to partition by; the columns are {}",
                    reader.columns().join(", ")
                );
            };
            Some((index, values))
        }
    };
    let folders = folders(job);
    let mut rejects = Some(Rejects::create(job)?);
    let mut counts = Counts::default();
    let at_once = Library::at_once(job, &schema, folders.len())?;
    let mut finished = Vec::with_capacity(folders.len());
    let progress = Progress::rows(
        Some(records * folders.len().div_ceil(at_once) as u64),
        "rows into libraries",
    );
    for first in (0..folders.len()).step_by(at_once) {
        let _time = job.times.time("write");
        let group = first..(first + at_once).min(folders.len());
        let mut libraries = Vec::with_capacity(group.len());
        for place in group.clone() {
            let dir = folders[place].clone();
            libraries.push(Library::create(job, dir, &schema, &meta_of(job, place))?);
        }
        let mut waiting: Vec<TypedRows> = libraries
            .iter()
            .map(|_| TypedRows::new(Arc::clone(&schema)))
            .collect();
        job.budget.touch_reserved();
        let places: HashMap<&str, usize> = partition
            .map(|(_, values)| {
                values[group.clone()]
                    .iter()
                    .enumerate()
                    .map(|(i, v)| (v.as_str(), i))
                    .collect()
            })
            .unwrap_or_default();
        let mut estimator = Estimator::default();
        let (mut seen, mut since) = (0u64, 0u64);
        while let Some(record) = next(&mut reader)? {
            seen += 1;
            since += 1;
            if since == 1024 {
                progress.inc(std::mem::take(&mut since));
            }
            let fields = match record {
                Record::Row { fields, .. } => fields,
                Record::Rejected {
                    line,
                    lines,
                    reason,
                    text,
                } => {
                    if first == 0
                        && let Some(rejects) = &mut rejects
                    {
                        let mut why = reason.to_string();
                        if lines > 1 {
                            let _ = write!(
                                why,
                                ", over the {lines} lines {line} to {}: a quote may open where none should",
                                line + lines - 1
                            );
                        }
                        rejects.push(line, reason.key(), &why, &text)?;
                    }
                    continue;
                }
            };
            let place = match partition {
                None => 0,
                Some((column, values)) => {
                    let value = fields.get(column);
                    let Some(place) = places.get(value) else {
                        if first == 0 && !values.iter().any(|v| v == value) {
                            counts.rows_other += 1;
                        }
                        continue;
                    };
                    *place
                }
            };
            libraries[place].note(&mut estimator, fields.get(smiles));
            waiting[place].push(fields)?;
            if waiting[place].bytes() >= BATCH_BYTES {
                libraries[place].write(&waiting[place].take()?)?;
            }
        }
        progress.inc(since);
        ensure!(
            seen == records,
            "it had {records} records when read first and {seen} when read again: it is being written to"
        );
        for (mut library, mut rows) in libraries.into_iter().zip(waiting) {
            library.write(&rows.take()?)?;
            let library = library.finish()?;
            counts.rows_out += library.rows();
            finished.push(library);
        }
        job.budget.observe();
        if group.end < folders.len() {
            reader = source.open()?;
        }
    }
    progress.finish();
    counts.rows_in = records;
    if let Some(rejects) = rejects.take() {
        counts.rejected = rejects.counts.clone();
        warn_of(&counts);
        rejects.finish(job, &counts, &fingerprint)?;
    }
    for library in &finished {
        library.describe(job, &smiles_name, &fingerprint)?;
    }
    Ok(String::new())
}

fn warn_of(counts: &Counts) {
    for (reason, rows) in &counts.rejected {
        tracing::warn!("{rows} rows rejected: {reason}; see rejects.parquet");
    }
    if counts.rows_other > 0 {
        tracing::info!("{} rows of other partitions left out", counts.rows_other);
    }
}

fn find_types(source: &Source<'_>) -> anyhow::Result<(ColumnTypes, u64)> {
    let mut reader = source.open()?;
    let mut types = ColumnTypes::new(reader.columns().len(), reader.smiles_column());
    let mut records = 0;
    let progress = Progress::rows(None, "rows read for their types");
    let mut since = 0;
    while let Some(record) = next(&mut reader)? {
        records += 1;
        since += 1;
        if since == 1024 {
            progress.inc(std::mem::take(&mut since));
        }
        if let Record::Row { fields, .. } = record {
            types.see(fields);
        }
    }
    progress.finish();
    Ok((types, records))
}

fn inspect_text(job: &Job<'_>, source: &Source<'_>) -> anyhow::Result<String> {
    let mut reader = source.open()?;
    let smiles = reader.smiles_column();
    let mut profile = Profile::default();
    let mut estimator = Estimator::default();
    let mut rejected = 0;
    while let Some(record) = next(&mut reader)? {
        match record {
            Record::Row { fields, .. } => {
                let smiles = fields.get(smiles);
                profile.push(
                    estimator.estimate(smiles, job.config.work),
                    smiles.len() as u64,
                );
            }
            Record::Rejected { .. } => rejected += 1,
        }
    }
    Ok(inspect::report(job.config, &profile, rejected))
}
