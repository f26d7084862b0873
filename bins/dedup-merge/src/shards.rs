//! The shards of a job: where they are, that they belong together, and how their rows are cut into
//! units of reading.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use halocline_cli::distinct::Distinct;
use halocline_cli::sidecar::Sidecar;
use halocline_table::{Kind, Meta, TableReader, file_digest};

use crate::MergeError;

/// `DIR/shard-*/TABLE` and `DIR/*/shard-*/TABLE`, by the number of the shard. The error is a text
/// for the user.
pub(crate) fn find_shards(dir: &Path, table: &Path) -> Result<Vec<PathBuf>, String> {
    if table.file_name() != Some(table.as_os_str()) {
        return Err(format!("--table: `{}` is not a file name", table.display()));
    }
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut folders = vec![dir.to_owned()];
    folders.extend(subfolders(dir)?);
    for folder in folders {
        if shard_number(&folder).is_some() {
            continue;
        }
        for shard in subfolders(&folder)? {
            if let Some(number) = shard_number(&shard) {
                let path = shard.join(table);
                if !path.is_file() {
                    return Err(format!("--table: `{}` is missing", path.display()));
                }
                found.push((number, path));
            }
        }
    }
    found.sort();
    if let Some(pair) = found.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let (a, b) = (pair[0].1.display(), pair[1].1.display());
        return Err(format!("--shards-from: `{a}` and `{b}` are the same shard"));
    }
    if found.is_empty() {
        return Err(format!(
            "--shards-from: no shard-* folder under `{}`",
            dir.display()
        ));
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn subfolders(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs_err::read_dir(dir).map_err(|error| format!("--shards-from: {error}"))?;
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| format!("--shards-from: {error}"))?
            .path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

fn shard_number(path: &Path) -> Option<u64> {
    path.file_name()?
        .to_str()?
        .strip_prefix("shard-")?
        .parse()
        .ok()
}

/// One shard, as far as it is kept in memory.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    pub(crate) rows: u64,
    /// Number of its first row among the rows of all shards.
    pub(crate) first: u64,
}

/// What the sidecars of all shards say together. Empty when one of them is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    sidecars: usize,
    pub(crate) rows_in: u64,
    pub(crate) rows_done: u64,
    pub(crate) rows_rejected: BTreeMap<String, u64>,
    pub(crate) duplicates: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) rule_fingerprint: Option<String>,
    /// Of the key `smiles`.
    pub(crate) distinct: Option<Distinct>,
}

impl Totals {
    fn add(&mut self, sidecar: &Sidecar) {
        let first = self.sidecars == 0;
        self.sidecars += 1;
        self.rows_in += sidecar.rows_in;
        self.rows_done += sidecar.rows_done;
        self.duplicates += sidecar.duplicates;
        self.cpu_seconds += sidecar.cpu_seconds;
        for (reason, rows) in &sidecar.rows_rejected {
            *self.rows_rejected.entry(reason.clone()).or_default() += rows;
        }
        for (name, count) in &sidecar.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
        self.rule_fingerprint.clone_from(&sidecar.rule_fingerprint);
        match (&mut self.distinct, &sidecar.hll) {
            (Some(all), Some(one)) => all.merge(one),
            (None, Some(one)) if first => self.distinct = Some(one.clone()),
            _ => self.distinct = None,
        }
    }
}

/// Which rows of their library the shards before were made of, as far as their sidecars say.
#[derive(Debug, Default)]
struct Covered {
    /// The shard read last: its path, its library, and where its rows end.
    last: Option<(PathBuf, Span)>,
    /// Libraries whose shards came before those of the last one.
    done: Vec<String>,
}

#[derive(Clone, Debug)]
struct Span {
    library: String,
    rows: Range<u64>,
    library_rows: u64,
}

impl Span {
    /// `None` for what `halo-transform-shard` has not made.
    fn of(sidecar: &Sidecar) -> Option<Self> {
        let (start, end) = sidecar.extra.get("rows")?.split_once("..")?;
        Some(Self {
            library: sidecar.input_fingerprint.clone()?,
            rows: start.parse().ok()?..end.parse().ok()?,
            library_rows: sidecar.extra.get("library_rows")?.parse().ok()?,
        })
    }
}

impl Covered {
    /// A shard must begin where the one before ended: else rows are missing, or there twice. With `whole` the first must
    /// begin at row 0 and all be of one library; without it, those of one library stand together.
    fn add(&mut self, path: &Path, span: Option<Span>, whole: bool) -> Result<(), MergeError> {
        let Some(span) = span else {
            self.last = None;
            return Ok(());
        };
        let (start, here) = (span.rows.start, path.display());
        let missing = |from: u64| {
            Err(MergeError::Broken(format!(
                "rows {from}..{start} of the library are missing: no shard before `{here}` was made of them"
            )))
        };
        if let Some((before, last)) = &self.last
            && last.library != span.library
        {
            let before = before.display();
            if whole {
                return Err(MergeError::Broken(format!(
                    "`{here}` was made of another library than `{before}`; shards of both together are no library's"
                )));
            }
            self.done.push(last.library.clone());
        }
        if self.done.contains(&span.library) {
            return Err(MergeError::Broken(format!(
                "`{here}` was made of a library that other shards before it were made of, and others between them: a shard is given twice, or they are not in order"
            )));
        }
        match &self.last {
            None if whole && start > 0 => return missing(0),
            Some((_, last)) if last.library == span.library && start > last.rows.end => {
                return missing(last.rows.end);
            }
            Some((before, last)) if last.library == span.library && start < last.rows.end => {
                return Err(MergeError::Broken(format!(
                    "`{here}` was made of rows {}..{} of the library and `{}`, before it, of rows {}..{}: a shard is given twice, or they are not in order",
                    start,
                    span.rows.end,
                    before.display(),
                    last.rows.start,
                    last.rows.end
                )));
            }
            _ => {}
        }
        self.last = Some((path.to_owned(), span));
        Ok(())
    }

    /// With `whole` the last must end where the library does.
    fn finish(&self, whole: bool) -> Result<(), MergeError> {
        match &self.last {
            Some((path, span)) if whole && span.rows.end < span.library_rows => {
                Err(MergeError::Broken(format!(
                    "rows {}..{} of the library are missing: no shard after `{}` was made of them",
                    span.rows.end,
                    span.library_rows,
                    path.display()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Consecutive rows of one shard that begin and end at row groups.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) shard: usize,
    pub(crate) rows: Range<u64>,
}

/// Rows of a unit, so that threads have enough units and units enough rows.
const UNIT_ROWS: u64 = 1 << 18;

/// All shards of a job, checked against each other.
#[derive(Debug)]
pub(crate) struct Shards {
    pub(crate) shards: Vec<Shard>,
    pub(crate) units: Vec<Unit>,
    pub(crate) schema: SchemaRef,
    /// What the merged table says about itself.
    pub(crate) meta: Meta,
    pub(crate) rows: u64,
    /// Of all pages before compression.
    pub(crate) raw_bytes: u64,
    /// From the sidecars, when every shard has one.
    pub(crate) totals: Option<Totals>,
    /// Most bytes the footer of a shard holds.
    pub(crate) footer_bytes: u64,
    /// For each leaf column's root: most bytes its decoder holds.
    decode_bytes: Vec<u64>,
    last_opened: Mutex<Option<(usize, TableReader)>>,
}

impl Shards {
    /// Opens every shard once. They must stand for consecutive rows of their library; with `whole`, for all of them.
    pub(crate) fn open(paths: &[PathBuf], whole: bool) -> Result<Self, MergeError> {
        let mut shards: Vec<Shard> = Vec::with_capacity(paths.len());
        let mut units = Vec::new();
        let mut schema: Option<SchemaRef> = None;
        let (mut rows, mut raw_bytes) = (0, 0);
        let mut footer_bytes = 0;
        let mut decode_bytes = Vec::new();
        let mut first_meta = None;
        let mut totals = Some(Totals::default());
        let mut covered = Covered::default();
        for (index, path) in paths.iter().enumerate() {
            let table = TableReader::open(path)?;
            let bare = bare(table.schema());
            match &schema {
                None => {
                    decode_bytes = vec![0; bare.fields().len()];
                    schema = Some(bare);
                }
                Some(first) => check_schema(&paths[0], first, path, &bare)?,
            }
            if index == 0 {
                first_meta = table.meta().cloned();
            }
            check_meta(&paths[0], first_meta.as_ref(), path, table.meta())?;
            footer_bytes = footer_bytes.max(table.opening_bytes());
            measure(&table, &mut decode_bytes)?;
            cut_units(&table, index, &mut units);
            shards.push(Shard {
                path: path.clone(),
                rows: table.rows(),
                first: rows,
            });
            let sidecar = read_sidecar(&table)?;
            covered.add(path, sidecar.as_ref().and_then(Span::of), whole)?;
            totals = match (totals, sidecar) {
                (Some(mut totals), Some(sidecar)) => {
                    totals.add(&sidecar);
                    Some(totals)
                }
                _ => None,
            };
            rows += table.rows();
            raw_bytes += table.raw_bytes();
        }
        covered.finish(whole)?;
        let Some(schema) = schema else {
            return Err(MergeError::Usage("no shards to merge".to_owned()));
        };
        Ok(Self {
            shards,
            units,
            schema,
            meta: merged_meta(first_meta.as_ref()),
            rows,
            raw_bytes,
            totals,
            footer_bytes,
            decode_bytes,
            last_opened: Mutex::new(None),
        })
    }

    /// The table of a shard; the one opened last stays open.
    pub(crate) fn table(&self, shard: usize) -> Result<TableReader, MergeError> {
        let mut last = self
            .last_opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((index, table)) = &*last
            && *index == shard
        {
            return Ok(table.clone());
        }
        let expected = &self.shards[shard];
        *last = None;
        let table = TableReader::open(&expected.path)?;
        if table.rows() != expected.rows {
            return Err(MergeError::Count {
                what: "rows of a shard that changed while it was read",
                expected: expected.rows,
                found: table.rows(),
            });
        }
        *last = Some((shard, table.clone()));
        Ok(table)
    }

    /// Most bytes the decoders of these columns hold together; of all columns for `None`.
    pub(crate) fn decode_bytes(&self, columns: Option<&[String]>) -> u64 {
        let fields = self.schema.fields().iter().zip(&self.decode_bytes);
        fields
            .filter(|(field, _)| columns.is_none_or(|names| names.contains(field.name())))
            .map(|(_, bytes)| *bytes)
            .sum()
    }
}

fn bare(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| {
            field
                .as_ref()
                .clone()
                .with_metadata(HashMap::<String, String>::new())
        })
        .collect();
    Arc::new(Schema::new(fields))
}

/// Most bytes the decoders of each column hold.
fn measure(table: &TableReader, decode_bytes: &mut [u64]) -> Result<(), MergeError> {
    let descriptor = table.file_metadata().schema_descr();
    let leaves = table.decode_bytes(|_| true)?;
    for (leaf, bytes) in leaves.iter().enumerate() {
        let root = descriptor.get_column_root_idx(leaf);
        decode_bytes[root] = decode_bytes[root].max(*bytes);
    }
    Ok(())
}

fn cut_units(table: &TableReader, shard: usize, units: &mut Vec<Unit>) {
    let mut start = 0;
    for group in 0..table.row_groups() {
        let end = table.row_group_rows(group).end;
        if end - start >= UNIT_ROWS || end == table.rows() {
            if end > start {
                units.push(Unit {
                    shard,
                    rows: start..end,
                });
            }
            start = end;
        }
    }
}

fn check_schema(a: &Path, first: &Schema, b: &Path, other: &Schema) -> Result<(), MergeError> {
    let broken = |what: String| {
        let (a, b) = (a.display(), b.display());
        Err(MergeError::Broken(format!(
            "`{b}` does not belong with `{a}`: {what}"
        )))
    };
    let names = |schema: &Schema| -> Vec<String> {
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    };
    if names(first) != names(other) {
        return broken(format!(
            "its columns are {}, not {}",
            names(other).join(", "),
            names(first).join(", ")
        ));
    }
    for (mine, theirs) in first.fields().iter().zip(other.fields()) {
        if mine.data_type() != theirs.data_type() || mine.is_nullable() != theirs.is_nullable() {
            let null = |nullable: bool| if nullable { "" } else { " not null" };
            return broken(format!(
                "column `{}` is {}{}, not {}{}",
                mine.name(),
                theirs.data_type(),
                null(theirs.is_nullable()),
                mine.data_type(),
                null(mine.is_nullable())
            ));
        }
    }
    Ok(())
}

/// Everything but the version of the tool must agree.
fn check_meta(
    a: &Path,
    first: Option<&Meta>,
    b: &Path,
    other: Option<&Meta>,
) -> Result<(), MergeError> {
    let texts = |meta: Option<&Meta>| -> Vec<(String, String)> {
        let Some(meta) = meta else {
            return vec![("writer".into(), "not halocline".into())];
        };
        let none = || "none".to_owned();
        let mut texts = vec![
            ("writer".to_owned(), "halocline".to_owned()),
            ("kind".to_owned(), meta.kind.as_str().to_owned()),
            ("schema version".to_owned(), meta.schema_version.clone()),
            ("rule".to_owned(), meta.rule.clone().unwrap_or_else(none)),
            (
                "rule fingerprint".to_owned(),
                meta.rule_fingerprint.clone().unwrap_or_else(none),
            ),
            (
                "RDKit version".to_owned(),
                meta.rdkit_version.clone().unwrap_or_else(none),
            ),
        ];
        texts.extend(meta.extra.iter().map(|(k, v)| (k.clone(), v.clone())));
        texts
    };
    let (mine, theirs) = (texts(first), texts(other));
    let value = |texts: &[(String, String)], key: &str| {
        texts
            .iter()
            .find(|(k, _)| k == key)
            .map_or_else(|| "none".to_owned(), |(_, v)| v.clone())
    };
    for (key, _) in mine.iter().chain(&theirs) {
        let (m, t) = (value(&mine, key), value(&theirs, key));
        if m != t {
            let (a, b) = (a.display(), b.display());
            return Err(MergeError::Broken(format!(
                "`{b}` does not belong with `{a}`: its {key} is {t}, not {m}"
            )));
        }
    }
    Ok(())
}

fn merged_meta(first: Option<&Meta>) -> Meta {
    let fresh = Meta::new(Kind::Library);
    match first {
        None => fresh,
        Some(meta) => Meta {
            tool_version: fresh.tool_version,
            ..meta.clone()
        },
    }
}

/// The sidecar, when there is one; it must describe this very table. The digest is compared because
/// no checksum of Parquet covers the footer: a flipped bit there can name another rule, or hide a
/// row group.
fn read_sidecar(table: &TableReader) -> Result<Option<Sidecar>, MergeError> {
    let path = table.path();
    let sidecar_path = Sidecar::path_for(path);
    if !sidecar_path.exists() {
        return Ok(None);
    }
    let sidecar = Sidecar::read(&sidecar_path)?;
    if let Some(output) = &sidecar.output {
        let broken = |what: &str, found: String, said: String| {
            Err(MergeError::Broken(format!(
                "`{}` has {found} {what} and its sidecar says {said}: one of the two is damaged or of another run",
                path.display(),
            )))
        };
        let (rows, bytes) = (table.rows(), table.file_bytes());
        if output.rows != rows {
            return broken("rows", rows.to_string(), output.rows.to_string());
        }
        if output.bytes != bytes {
            return broken("bytes", bytes.to_string(), output.bytes.to_string());
        }
        let digest = file_digest(path)?;
        if output.xxh3_128 != digest {
            return broken("as its digest", digest, output.xxh3_128.clone());
        }
    }
    Ok(Some(sidecar))
}
