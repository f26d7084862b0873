//! The output side: the set of keys seen, and for each table the rows that wait for a row group, and the file.

use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, DictionaryArray, Int32Array, ListArray, PrimitiveArray,
    RecordBatch, StringArray, UInt32Array,
    builder::{Int32Builder, Int64Builder, StringBuilder},
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{Field, Int32Type, Int64Type, SchemaRef};
use halocline_cli::sidecar::Output;
use halocline_rules::Reaction;
use halocline_table::{
    Kind, Meta, Published, RowGroupCutter, RowGroupRows, SHARD_ROW_GROUP_BYTES, TableWriter,
    WriterOptions, product_schema, rejects_schema, schema,
};

use crate::parents::Parents;
use crate::react::Reject;
use crate::rows::Rows;

/// Raw bytes of rows that wait before they are made into a batch.
pub(crate) const PENDING_BYTES: usize = 96 << 10;

/// Keys are hashes already; the set takes their low half as they are.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        let mut low = [0; 8];
        let n = bytes.len().min(8);
        low[..n].copy_from_slice(&bytes[..n]);
        self.0 = u64::from_ne_bytes(low);
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

/// Keys seen so far in all tables of a shard, in a set of fixed size: it takes what it has room for and then knows only
/// that; what it lets through twice the merge folds. Made at its full size, so that memory does not grow with the rows.
pub(crate) struct Seen {
    keys: hashbrown::HashSet<u128, BuildHasherDefault<Identity>>,
    most: usize,
}

/// Bytes of one slot: the key and a control byte.
const BYTES_PER_SLOT: u64 = 17;

impl Seen {
    /// The largest set whose slots, a power of two, fit `bytes`.
    pub(crate) fn with_bytes(bytes: u64) -> Self {
        let slots = Self::slots(bytes);
        // Load of 7/8, as in hashbrown; asking for as many entries gives this number of slots.
        let most = (slots / 8 * 7) as usize;
        Self {
            keys: hashbrown::HashSet::with_capacity_and_hasher(most, BuildHasherDefault::default()),
            most,
        }
    }

    fn slots(bytes: u64) -> u64 {
        let fit = (bytes / BYTES_PER_SLOT).max(1024);
        1 << fit.ilog2()
    }

    /// Bytes of the set that [`Seen::with_bytes`] makes.
    pub(crate) fn bytes(bytes: u64) -> u64 {
        Self::slots(bytes) * BYTES_PER_SLOT + 64
    }

    /// `true` when the key is new in its table, as far as the set knows.
    pub(crate) fn insert(&mut self, table: usize, key: u128) -> bool {
        // Any odd constant keeps the tables apart: keys are hashes.
        let key = key
            .wrapping_add((table as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        if self.keys.len() < self.most {
            self.keys.insert(key)
        } else {
            !self.keys.contains(&key)
        }
    }
}

/// Id, label and family of every rule path that has come up, shared by all rows through dictionaries.
pub(crate) struct Labels {
    num_reactions: usize,
    across_rules: bool,
    ids: Vec<String>,
    labels: Vec<String>,
    families: Vec<String>,
}

impl Labels {
    /// One entry per reaction, and one per path of `depth` reactions where products have more than one step.
    pub(crate) fn new(reactions: &[Reaction], depth: u32, across_rules: bool) -> Self {
        let mut all = Self {
            num_reactions: reactions.len(),
            across_rules,
            ids: Vec::new(),
            labels: Vec::new(),
            families: Vec::new(),
        };
        let mut frontier: Vec<Vec<u32>> = vec![Vec::new()];
        for step in 0..depth {
            let mut next = Vec::new();
            for path in frontier {
                for r in 0..reactions.len() as u32 {
                    if step > 0 && !across_rules && path[0] != r {
                        continue;
                    }
                    let mut longer = path.clone();
                    longer.push(r);
                    next.push(longer);
                }
            }
            frontier = next;
        }
        for path in frontier {
            let joined = |text: fn(&Reaction) -> &str| {
                path.iter()
                    .map(|r| text(&reactions[*r as usize]))
                    .collect::<Vec<_>>()
                    .join("+")
            };
            all.ids.push(joined(|r| &r.id));
            all.labels.push(joined(|r| &r.label));
            all.families.push(joined(|r| &r.family));
        }
        all
    }

    /// Index of a path given as a group's rule indices: its place among the paths, which [`Labels::new`] makes in order.
    pub(crate) fn index(&self, path: &[u16], first_reaction: usize) -> u32 {
        let index = if self.across_rules {
            path.iter().fold(0, |index, r| {
                index * self.num_reactions + usize::from(*r) + first_reaction
            })
        } else {
            usize::from(path[0]) + first_reaction
        };
        assert!(
            index < self.ids.len(),
            "the kernel gave a rule path that does not exist: {path:?}"
        );
        index as u32
    }
}

/// One table in the making.
pub(crate) struct Table {
    schema: SchemaRef,
    index: usize,
    cutter: RowGroupCutter,
    pending: Pending,
    pub rows_out: u64,
    pub duplicates: u64,
    pub distinct: halocline_cli::distinct::Distinct,
}

/// Rows that wait to be made into a batch. The buffers stay: a batch copies what it takes.
#[derive(Default)]
struct Pending {
    smiles: Texts,
    source: Texts,
    source_row: Vec<i64>,
    labels: Vec<i32>,
    site: Vec<i32>,
    atoms: Vec<i32>,
    atom_ends: Vec<i32>,
    /// Pieces of each kept column, up to the parents in `uncarried`.
    kept: Vec<Vec<ArrayRef>>,
    /// Of the rows since then, each one's parent in the batch at hand; only where columns are kept.
    uncarried: Vec<u32>,
    bytes: usize,
}

/// Texts one after the other.
#[derive(Default)]
struct Texts {
    text: Vec<u8>,
    ends: Vec<i32>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
        self.ends.push(self.text.len() as i32);
    }

    /// A copy as a column; leaves the buffers empty.
    fn take(&mut self) -> anyhow::Result<ArrayRef> {
        let column = StringArray::try_new(
            offsets(&self.ends),
            Buffer::from(self.text.as_slice()),
            None,
        )?;
        self.text.clear();
        self.ends.clear();
        Ok(Arc::new(column))
    }
}

/// The ends of lists or texts, which start at 0, as Arrow wants them.
fn offsets(ends: &[i32]) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend_from_slice(ends);
    OffsetBuffer::new(offsets.into())
}

/// A copy of `values`, which is left empty.
fn copied<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>) -> PrimitiveArray<T> {
    let copy = PrimitiveArray::new(ScalarBuffer::from(values.as_slice().to_vec()), None);
    values.clear();
    copy
}

impl Pending {
    /// Copies the kept columns of the rows that have not been carried yet.
    fn carry(&mut self, parents: &Parents) -> anyhow::Result<()> {
        if self.uncarried.is_empty() {
            return Ok(());
        }
        let indices: UInt32Array = copied(&mut self.uncarried);
        self.kept.resize_with(parents.kept.len(), Vec::new);
        for (pieces, column) in self.kept.iter_mut().zip(&parents.kept) {
            let piece = take(column, &indices, None)?;
            self.bytes += piece.get_array_memory_size();
            pieces.push(piece);
        }
        Ok(())
    }
}

impl Table {
    /// `index`: the table's place among the shard's.
    pub(crate) fn new(schema: SchemaRef, index: usize) -> Self {
        Self {
            schema,
            index,
            cutter: RowGroupCutter::new(SHARD_ROW_GROUP_BYTES),
            pending: Pending::default(),
            rows_out: 0,
            duplicates: 0,
            distinct: halocline_cli::distinct::Distinct::default(),
        }
    }

    /// Adds the rows whose key is new, and returns the row groups that are full.
    pub(crate) fn add(
        &mut self,
        rows: &Rows,
        parents: &Parents,
        labels: &Dictionaries,
        seen: &mut Seen,
    ) -> anyhow::Result<Vec<RowGroupRows>> {
        let mut groups = Vec::new();
        for i in rows.of_table(self.index) {
            if !seen.insert(self.index, rows.keys[i]) {
                self.duplicates += 1;
                continue;
            }
            self.rows_out += 1;
            // The low half is what `halo-dedup-merge` counts too, so that estimators can be united.
            self.distinct.insert(rows.keys[i] as u64);
            let parent = rows.parents[i];
            let source = parents.smiles.value(parent as usize);
            let pending = &mut self.pending;
            pending.smiles.push(rows.smiles(i));
            pending.source.push(source);
            pending
                .source_row
                .push((parents.first_row + u64::from(parent)) as i64);
            pending.labels.push(rows.labels[i] as i32);
            pending.site.push(rows.sites[i]);
            pending.atoms.extend_from_slice(rows.atoms(i));
            pending.atom_ends.push(pending.atoms.len() as i32);
            pending.bytes += rows.smiles(i).len() + source.len() + rows.atoms(i).len() * 4 + 40;
            if !parents.kept.is_empty() {
                pending.uncarried.push(parent);
            }
            if pending.bytes >= PENDING_BYTES {
                pending.carry(parents)?;
                groups.extend(self.flush(labels)?);
            }
        }
        self.pending.carry(parents)?;
        if self.pending.bytes >= PENDING_BYTES {
            groups.extend(self.flush(labels)?);
        }
        Ok(groups)
    }

    fn flush(&mut self, labels: &Dictionaries) -> anyhow::Result<Vec<RowGroupRows>> {
        let pending = &mut self.pending;
        if pending.atom_ends.is_empty() {
            return Ok(Vec::new());
        }
        pending.bytes = 0;
        let keys: Int32Array = copied(&mut pending.labels);
        let atoms = ListArray::try_new(
            schema::site_atom_field(),
            offsets(&pending.atom_ends),
            Arc::new(copied::<Int32Type>(&mut pending.atoms)),
            None,
        )?;
        pending.atom_ends.clear();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        columns.extend([
            pending.smiles.take()?,
            pending.source.take()?,
            Arc::new(copied::<Int64Type>(&mut pending.source_row)),
            Arc::new(labels.array(&keys, &labels.ids)?),
            Arc::new(labels.array(&keys, &labels.labels)?),
            Arc::new(labels.array(&keys, &labels.families)?),
            Arc::new(copied::<Int32Type>(&mut pending.site)),
            Arc::new(atoms),
        ]);
        for pieces in &mut pending.kept {
            let all: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&all)?);
            pieces.clear();
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        Ok(self.cutter.push(&batch))
    }

    /// The row groups that are left.
    pub(crate) fn finish(&mut self, labels: &Dictionaries) -> anyhow::Result<Vec<RowGroupRows>> {
        let mut groups = self.flush(labels)?;
        groups.extend(self.cutter.finish());
        Ok(groups)
    }
}

/// The values of the three rule columns, shared by every batch.
pub(crate) struct Dictionaries {
    ids: Arc<StringArray>,
    labels: Arc<StringArray>,
    families: Arc<StringArray>,
}

impl Dictionaries {
    pub(crate) fn new(labels: &Labels) -> Self {
        let array = |texts: &[String]| Arc::new(StringArray::from_iter_values(texts));
        Self {
            ids: array(&labels.ids),
            labels: array(&labels.labels),
            families: array(&labels.families),
        }
    }

    fn array(
        &self,
        keys: &Int32Array,
        values: &Arc<StringArray>,
    ) -> anyhow::Result<DictionaryArray<Int32Type>> {
        Ok(DictionaryArray::try_new(
            keys.clone(),
            Arc::clone(values) as ArrayRef,
        )?)
    }
}

/// The rejects table in the making: few rows, so one batch at a time.
#[derive(Default)]
pub(crate) struct Rejects {
    row: Int64Builder,
    smiles: StringBuilder,
    rule: Vec<Option<u32>>,
    stage: Vec<&'static str>,
    site: Int32Builder,
    reason: StringBuilder,
    bytes: usize,
    cutter: Option<RowGroupCutter>,
    pub whole: BTreeMap<String, u64>,
    pub rows_out: u64,
}

impl Rejects {
    pub(crate) fn add(
        &mut self,
        rejects: &[Reject],
        parents: &Parents,
        ids: &[String],
    ) -> anyhow::Result<Vec<RowGroupRows>> {
        for reject in rejects {
            let parent = reject.parent as usize;
            self.row
                .append_value((parents.first_row + u64::from(reject.parent)) as i64);
            if parents.smiles.is_null(parent) {
                self.smiles.append_null();
            } else {
                self.smiles.append_value(parents.smiles.value(parent));
                self.bytes += parents.smiles.value(parent).len();
            }
            if reject.reaction.is_none() {
                *self
                    .whole
                    .entry(reject.stage.name().to_owned())
                    .or_default() += 1;
            }
            self.rule.push(reject.reaction);
            self.stage.push(reject.stage.name());
            self.site.append_option(reject.site);
            self.reason.append_value(&reject.reason);
            self.bytes += reject.reason.len() + 40;
        }
        self.rows_out += rejects.len() as u64;
        if self.bytes >= PENDING_BYTES {
            self.flush(ids)
        } else {
            Ok(Vec::new())
        }
    }

    fn flush(&mut self, ids: &[String]) -> anyhow::Result<Vec<RowGroupRows>> {
        if self.stage.is_empty() {
            return Ok(Vec::new());
        }
        self.bytes = 0;
        let rule: DictionaryArray<Int32Type> = std::mem::take(&mut self.rule)
            .into_iter()
            .map(|r| r.map(|r| ids[r as usize].as_str()))
            .collect();
        let stage: DictionaryArray<Int32Type> =
            std::mem::take(&mut self.stage).into_iter().collect();
        let batch = RecordBatch::try_new(
            rejects_schema(),
            vec![
                Arc::new(self.row.finish()),
                Arc::new(self.smiles.finish()),
                Arc::new(rule),
                Arc::new(stage),
                Arc::new(self.site.finish()),
                Arc::new(self.reason.finish()),
            ],
        )?;
        let cutter = self
            .cutter
            .get_or_insert_with(|| RowGroupCutter::new(SHARD_ROW_GROUP_BYTES));
        Ok(cutter.push(&batch))
    }

    pub(crate) fn finish(&mut self, ids: &[String]) -> anyhow::Result<Vec<RowGroupRows>> {
        let mut groups = self.flush(ids)?;
        groups.extend(self.cutter.as_mut().and_then(RowGroupCutter::finish));
        Ok(groups)
    }
}

/// Opens the file of one product table.
///
/// # Errors
/// A kept column that cannot be carried, or a folder that cannot be written.
pub(crate) fn create(
    dir: &Path,
    name: &str,
    keep: &[Field],
    meta: &Meta,
) -> anyhow::Result<(TableWriter, SchemaRef)> {
    let schema = product_schema(keep)?;
    let writer = TableWriter::create(file_of(dir, name), &schema, meta, options())?;
    Ok((writer, schema))
}

/// Opens the rejects table.
///
/// # Errors
/// A folder that cannot be written.
pub(crate) fn create_rejects(dir: &Path, rdkit: &str) -> anyhow::Result<TableWriter> {
    let mut meta = Meta::new(Kind::Rejects);
    meta.rdkit_version = Some(rdkit.to_owned());
    TableWriter::create(file_of(dir, "rejects"), &rejects_schema(), &meta, options())
        .context("rejects table")
}

fn options() -> WriterOptions {
    WriterOptions {
        row_group_bytes: SHARD_ROW_GROUP_BYTES,
    }
}

/// `{dir}/{name}.parquet`.
pub(crate) fn file_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.parquet"))
}

/// What a sidecar says of a published file.
pub(crate) fn output(name: &str, published: &Published) -> Output {
    Output {
        path: format!("{name}.parquet"),
        rows: published.rows,
        bytes: published.bytes,
        xxh3_128: published.xxh3_128.clone(),
    }
}
