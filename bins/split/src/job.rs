//! What a run knows, and the files that are the same for every kind of input: rejects, plans,
//! sidecars.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder};
use halocline_budget::{Budget, Reservation};
use halocline_cli::sidecar::{Output, Sidecar, StageTimer};
use halocline_table::plan_file::{PLAN_SCHEMA, Plan};
use halocline_table::text::FileKind;
use halocline_table::{
    Kind, Meta, Published, SHARD_ROW_GROUP_BYTES, TableWriter, WriterOptions, bytes_digest,
    footer_digest, publish, text_rejects_schema,
};

use crate::args::{Balance, Config};
use crate::library::folders;
use crate::profile::Profile;

const TOOL: &str = "halo-split";

/// One run.
pub(crate) struct Job<'a> {
    pub(crate) config: &'a Config,
    pub(crate) budget: &'a Budget,
    pub(crate) times: StageTimer,
}

/// Where the rows went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Records of the input.
    pub(crate) rows_in: u64,
    /// Rows written to libraries, or left where they are.
    pub(crate) rows_out: u64,
    /// Rows of values no partition was asked for.
    pub(crate) rows_other: u64,
    /// Rows turned away, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Further counts for the sidecar.
    pub(crate) more: BTreeMap<String, u64>,
}

impl Job<'_> {
    /// What the run will write, sidecars apart.
    pub(crate) fn outputs(&self, input: FileKind) -> Vec<(&'static str, PathBuf)> {
        let mut outputs = vec![self.config.out_dir.join("rejects.parquet")];
        // A library that is not divided stays where it is.
        let copied = self.config.partition.is_some() || input != FileKind::Parquet;
        for folder in folders(self) {
            outputs.push(folder.join("plan.json"));
            if copied {
                outputs.push(folder.join("library.parquet"));
            }
        }
        outputs.into_iter().map(|o| ("--out-dir", o)).collect()
    }

    /// A named reservation, or an error that names the least a user could do.
    pub(crate) fn reserve(&self, name: &str, bytes: u64) -> anyhow::Result<Reservation> {
        let mut reservation = self.budget.pool().claim(name);
        cover(&mut reservation, bytes)?;
        Ok(reservation)
    }

    fn sidecar(&self, counts: &Counts, fingerprint: &str, output: Output) -> Sidecar {
        let mut sidecar = Sidecar {
            rows_in: counts.rows_in,
            rows_done: counts.rows_out + counts.rows_other,
            rows_rejected: counts.rejected.clone(),
            rows_out: counts.rows_out,
            input_fingerprint: Some(fingerprint.to_owned()),
            output: Some(output),
            counts: counts.more.clone(),
            ..Sidecar::new(TOOL)
        };
        sidecar
            .counts
            .insert("rows_other".to_owned(), counts.rows_other);
        sidecar.close(self.budget, &self.times);
        sidecar
    }

    /// Writes the sidecar of a table.
    pub(crate) fn describe(
        &self,
        table: &Path,
        published: &Published,
        counts: &Counts,
        fingerprint: &str,
    ) -> anyhow::Result<()> {
        let output = Output {
            path: file_name(table),
            rows: published.rows,
            bytes: published.bytes,
            xxh3_128: published.xxh3_128.clone(),
        };
        self.sidecar(counts, fingerprint, output)
            .write(&Sidecar::path_for(table))?;
        Ok(())
    }

    /// Writes `plan.json` for a library, and its sidecar.
    pub(crate) fn plan(
        &self,
        dir: &Path,
        library: &Path,
        fingerprint: &str,
        smiles_column: &str,
        profile: &Profile,
    ) -> anyhow::Result<()> {
        let Config {
            shards, balance, ..
        } = *self.config;
        let rows = profile.total().rows;
        let plan = Plan {
            schema: PLAN_SCHEMA.to_owned(),
            input: library.to_owned(),
            input_rows: rows,
            input_fingerprint: fingerprint.to_owned(),
            input_footer: footer_digest(library)?,
            smiles_column: smiles_column.to_owned(),
            shards: profile.shards(shards, balance),
        };
        let path = dir.join("plan.json");
        let text = plan.to_json(&path)?;
        let output = Output {
            path: file_name(&path),
            rows: shards,
            bytes: text.len() as u64,
            xxh3_128: bytes_digest(&text),
        };
        let total = profile.total();
        let counts = Counts {
            rows_in: rows,
            rows_out: rows,
            more: [
                ("heavy_atoms", total.heavy_atoms),
                ("sites", total.sites),
                ("products_expected", total.products),
            ]
            .map(|(k, v)| (k.to_owned(), v))
            .into(),
            ..Counts::default()
        };
        let mut sidecar = self.sidecar(&counts, fingerprint, output);
        for (name, balance) in [("skew", balance), ("skew_equal_rows", Balance::Rows)] {
            let skew = format!("{:.4}", profile.skew(shards, balance));
            sidecar.extra.insert(name.to_owned(), skew);
        }
        // The plan last: it says that the split is complete, however full the disk is.
        sidecar.write(&Sidecar::path_for(&path))?;
        publish::write_bytes(&path, &text)?;
        Ok(())
    }
}

/// Grows a reservation to at least `bytes`; the error says what a person can do.
pub(crate) fn cover(reservation: &mut Reservation, bytes: u64) -> anyhow::Result<()> {
    let more = bytes.saturating_sub(reservation.bytes());
    reservation
        .try_grow(more)
        .context("the memory limit is too small for this input\nhint: raise `--memory-limit`")
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// `rejects.parquet` under construction.
pub(crate) struct Rejects {
    path: PathBuf,
    writer: TableWriter,
    lines: Int64Builder,
    reasons: StringBuilder,
    texts: StringBuilder,
    bytes: usize,
    pub(crate) counts: BTreeMap<String, u64>,
    memory: Reservation,
}

/// Reject rows are written when this many bytes wait.
const REJECT_BATCH_BYTES: usize = 128 << 10;

impl Rejects {
    pub(crate) fn create(job: &Job<'_>) -> anyhow::Result<Self> {
        let path = job.config.out_dir.join("rejects.parquet");
        let options = WriterOptions {
            row_group_bytes: SHARD_ROW_GROUP_BYTES,
        };
        let schema = text_rejects_schema();
        let bytes = TableWriter::reserve_bytes(&schema, Kind::Rejects, &options)
            + 2 * REJECT_BATCH_BYTES as u64;
        let memory = job.reserve("rejects", bytes)?;
        let writer = TableWriter::create(&path, &schema, &Meta::new(Kind::Rejects), options)?;
        Ok(Self {
            path,
            writer,
            lines: Int64Builder::new(),
            reasons: StringBuilder::new(),
            texts: StringBuilder::new(),
            bytes: 0,
            counts: BTreeMap::new(),
            memory,
        })
    }

    /// Adds a row; `line` is its line in a text file and its row in a Parquet file.
    pub(crate) fn push(
        &mut self,
        line: u64,
        key: &str,
        reason: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        self.lines
            .append_value(i64::try_from(line).context("too many lines")?);
        self.reasons.append_value(reason);
        self.texts.append_value(text);
        self.bytes += text.len() + reason.len() + 16;
        match self.counts.get_mut(key) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(key.to_owned(), 1);
            }
        }
        if self.bytes >= REJECT_BATCH_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.bytes = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.lines.finish()),
            Arc::new(self.reasons.finish()),
            Arc::new(self.texts.finish()),
        ];
        self.writer
            .write(&RecordBatch::try_new(text_rejects_schema(), columns)?)?;
        // A file of nothing but rejects has a long footer.
        let table = self.writer.memory_bytes() + self.writer.seal_bytes();
        let held = table + 2 * REJECT_BATCH_BYTES as u64;
        cover(&mut self.memory, held)
    }

    /// Publishes the table and its sidecar, which describes the whole run.
    pub(crate) fn finish(
        mut self,
        job: &Job<'_>,
        counts: &Counts,
        fingerprint: &str,
    ) -> anyhow::Result<()> {
        self.flush()?;
        let published = self.writer.finish()?;
        job.describe(&self.path, &published, counts, fingerprint)
    }
}
