//! The serial stage: results in row order, each product kept once, row groups cut.

use arrow::array::Array;
use halocline_cascade::{Accumulate, Emit, Weigh, Why};
use halocline_chem::{Counts, Profile};
use halocline_cli::Progress;
use halocline_cli::sidecar::StageTimer;
use halocline_table::{EncodedRowGroup, RowGroupRows, SHARD_ROW_GROUP_BYTES};

use crate::react::Reacted;
use crate::tables::{Dictionaries, PENDING_BYTES, Rejects, Seen, Table};

/// A row group on its way to its table. The rejects are the last table.
pub(crate) struct Cut {
    pub table: usize,
    pub rows: RowGroupRows,
}

impl Weigh for Cut {
    fn bytes(&self) -> u64 {
        // Arrow buffers are rounded up to twice their need at worst while they grow, then shrunk to 64-byte steps.
        self.rows.raw_bytes() * 5 / 4 + (32 << 10)
    }
}

/// The same, encoded.
pub(crate) struct Encoded {
    pub table: usize,
    pub group: EncodedRowGroup,
}

impl Weigh for Encoded {
    fn bytes(&self) -> u64 {
        self.group.memory_bytes()
    }
}

/// State of the serial stage.
pub(crate) struct Collector<'a> {
    pub tables: Vec<Table>,
    pub rejects: Rejects,
    pub dictionaries: &'a Dictionaries,
    pub reaction_ids: &'a [String],
    pub seen: Seen,
    pub counts: Vec<Counts>,
    pub profile: Profile,
    pub rows_in: u64,
    pub times: &'a StageTimer,
    pub progress: &'a Progress,
    fixed_bytes: u64,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(
        tables: Vec<Table>,
        dictionaries: &'a Dictionaries,
        reaction_ids: &'a [String],
        seen_bytes: u64,
        times: &'a StageTimer,
        progress: &'a Progress,
    ) -> Self {
        let fixed_bytes = fixed_bytes(tables.len(), seen_bytes);
        Self {
            tables,
            rejects: Rejects::default(),
            dictionaries,
            reaction_ids,
            seen: Seen::with_bytes(seen_bytes),
            counts: vec![Counts::default(); reaction_ids.len()],
            profile: Profile::default(),
            rows_in: 0,
            times,
            progress,
            fixed_bytes,
        }
    }

    fn add(&mut self, reacted: &Reacted, out: &mut Emit<'_, Cut>) -> anyhow::Result<()> {
        let _guard = self.times.time("deduplicate");
        for (index, table) in self.tables.iter_mut().enumerate() {
            let groups = table.add(
                &reacted.rows,
                &reacted.parents,
                self.dictionaries,
                &mut self.seen,
            )?;
            push(index, groups, out);
        }
        let groups = self
            .rejects
            .add(&reacted.rejects, &reacted.parents, self.reaction_ids)?;
        push(self.tables.len(), groups, out);
        for (sum, count) in self.counts.iter_mut().zip(&reacted.counts) {
            sum.add(count);
        }
        self.profile.add(&reacted.profile);
        let rows = reacted.parents.smiles.len() as u64;
        self.rows_in += rows;
        self.progress.inc(rows);
        Ok(())
    }
}

/// Bytes the stage's state can come to: the set of keys, and per table the rows that wait for a row group.
pub(crate) fn fixed_bytes(tables: usize, seen_bytes: u64) -> u64 {
    let waiting = SHARD_ROW_GROUP_BYTES * 5 / 4 + 3 * PENDING_BYTES as u64;
    Seen::bytes(seen_bytes) + (tables as u64 + 1) * waiting
}

fn push(table: usize, groups: Vec<RowGroupRows>, out: &mut Emit<'_, Cut>) {
    for rows in groups {
        out.push(Cut { table, rows });
    }
}

/// The stage of the cascade.
pub(crate) struct Stage<'c, 'a>(pub &'c mut Collector<'a>);

impl Accumulate for Stage<'_, '_> {
    type In = Reacted;
    type Out = Cut;
    type Error = anyhow::Error;

    fn take(&mut self, reacted: Reacted, out: &mut Emit<'_, Cut>) -> anyhow::Result<()> {
        self.0.add(&reacted, out)
    }

    fn bytes(&self) -> u64 {
        self.0.fixed_bytes
    }

    fn pass(&mut self, why: Why, out: &mut Emit<'_, Cut>) -> anyhow::Result<()> {
        // Row groups are cut by bytes alone, so that their places depend on nothing else.
        if why != Why::End {
            return Ok(());
        }
        let Collector {
            tables,
            dictionaries,
            rejects,
            reaction_ids,
            ..
        } = &mut *self.0;
        for (index, table) in tables.iter_mut().enumerate() {
            push(index, table.finish(dictionaries)?, out);
        }
        push(tables.len(), rejects.finish(reaction_ids)?, out);
        Ok(())
    }
}
