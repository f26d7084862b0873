//! A library being written, with its cost profile; and how many of them fit at once.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use halocline_budget::{Reservation, release_idle_pages};
use halocline_table::{Kind, LIBRARY_ROW_GROUP_BYTES, Meta, Published, TableWriter, WriterOptions};

use crate::job::{Counts, Job, cover};
use crate::molecule::{Estimator, Work};
use crate::profile::Profile;

const OPTIONS: WriterOptions = WriterOptions {
    row_group_bytes: LIBRARY_ROW_GROUP_BYTES,
};

/// Raw rows that wait for a library before they are written.
pub(crate) const BATCH_BYTES: usize = 128 << 10;

/// `library.parquet` under construction.
pub(crate) struct Library {
    dir: PathBuf,
    writer: TableWriter,
    profile: Profile,
    memory: Reservation,
    work: Work,
}

/// `library.parquet`, published.
pub(crate) struct Finished {
    dir: PathBuf,
    path: PathBuf,
    published: Published,
    profile: Profile,
}

impl Library {
    /// Bytes to reserve for a library of this schema.
    pub(crate) fn reserve_bytes(schema: &Schema) -> u64 {
        // Waiting rows grow by doubling, and are sliced while they are written.
        TableWriter::reserve_bytes(schema, Kind::Library, &OPTIONS)
            + Profile::BYTES
            + 4 * BATCH_BYTES as u64
    }

    /// How many of `wanted` libraries fit in memory at once.
    ///
    /// # Errors
    /// When not even one does.
    pub(crate) fn at_once(job: &Job<'_>, schema: &Schema, wanted: usize) -> anyhow::Result<usize> {
        let each = Self::reserve_bytes(schema);
        // Fails with the figures when there is no room for one.
        drop(job.reserve("library", each)?);
        let fit = usize::try_from(job.budget.pool().available() / each).unwrap_or(usize::MAX);
        Ok(fit.clamp(1, wanted.max(1)))
    }

    pub(crate) fn create(
        job: &Job<'_>,
        dir: PathBuf,
        schema: &Schema,
        meta: &Meta,
    ) -> anyhow::Result<Self> {
        fs_err::create_dir_all(&dir)?;
        let memory = job.reserve("library", Self::reserve_bytes(schema))?;
        let writer = TableWriter::create(dir.join("library.parquet"), schema, meta, OPTIONS)?;
        Ok(Self {
            dir,
            writer,
            profile: Profile::default(),
            memory,
            work: job.config.work,
        })
    }

    /// Takes the SMILES of the next row into account.
    pub(crate) fn note(&mut self, estimator: &mut Estimator, smiles: &str) {
        self.profile
            .push(estimator.estimate(smiles, self.work), smiles.len() as u64);
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        self.writer.write(batch)?;
        // Encoded pages have every size: what the allocator keeps of each would follow the rows.
        release_idle_pages();
        let table = self.writer.memory_bytes() + self.writer.seal_bytes();
        let held = table + Profile::BYTES + 4 * BATCH_BYTES as u64;
        cover(&mut self.memory, held)
    }

    pub(crate) fn finish(self) -> anyhow::Result<Finished> {
        let path = self.writer.path().to_owned();
        let published = self.writer.finish()?;
        assert_eq!(
            published.rows,
            self.profile.total().rows,
            "one estimate per row"
        );
        Ok(Finished {
            dir: self.dir,
            path,
            published,
            profile: self.profile,
        })
    }
}

impl Finished {
    pub(crate) fn rows(&self) -> u64 {
        self.published.rows
    }

    /// Writes the library's sidecar and its plan.
    pub(crate) fn describe(
        &self,
        job: &Job<'_>,
        smiles_column: &str,
        input_fingerprint: &str,
    ) -> anyhow::Result<()> {
        let rows = self.published.rows;
        let counts = Counts {
            rows_in: rows,
            rows_out: rows,
            ..Counts::default()
        };
        job.describe(&self.path, &self.published, &counts, input_fingerprint)?;
        job.plan(
            &self.dir,
            &self.path,
            &self.published.xxh3_128,
            smiles_column,
            &self.profile,
        )
    }
}

/// The folders to write to: one per partition, or the output folder itself.
pub(crate) fn folders(job: &Job<'_>) -> Vec<PathBuf> {
    let out: &Path = &job.config.out_dir;
    match &job.config.partition {
        None => vec![out.to_owned()],
        Some((_, values)) => values.iter().map(|value| out.join(value)).collect(),
    }
}

/// Metadata of a library; `partition` is its column and value.
pub(crate) fn meta(partition: Option<(&str, &str)>) -> Meta {
    let mut meta = Meta::new(Kind::Library);
    if let Some((column, value)) = partition {
        meta.extra
            .insert("partition_column".to_owned(), column.to_owned());
        meta.extra
            .insert("partition_value".to_owned(), value.to_owned());
    }
    meta
}

/// Metadata of the library at `place` among [`folders`].
pub(crate) fn meta_of(job: &Job<'_>, place: usize) -> Meta {
    let partition = job.config.partition.as_ref();
    meta(partition.map(|(column, values)| (column.as_str(), values[place].as_str())))
}
