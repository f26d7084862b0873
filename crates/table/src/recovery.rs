//! Records between the row groups from which a file that lost its footer is read again.
//!
//! Parquet readers follow absolute offsets, so bytes between column chunks are nobody's business
//! (`SerializedFileWriter::write_all` is made for such payloads). Behind the leading `PAR1` stands a
//! *file record* (schema, key-value metadata, row group size), behind every row group a *row group
//! record* (rows, and where its chunks lie). A record is an eight-byte magic, the length of its JSON
//! as little-endian u32, the JSON, and the CRC-32 of the JSON. About 600 bytes per row group.
//!
//! [`salvage`] finds the records, believes those whose CRC and position agree, checks every page
//! behind them, and gives a [`TableReader`] over the row groups that are whole.
//!
//! No checksum of Parquet covers the footer. Of a file with records it must agree with them
//! ([`check_footer`]): a bit flipped in it could make a column nullable or name another rule, and
//! the rows would be read without an error and wrong.

use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataWriter,
    RowGroupMetaData,
};
use parquet::file::page_index::offset_index::{OffsetIndexMetaData, PageLocation};
use parquet::file::properties::WriterProperties;
use parquet::schema::parser::parse_message_type;
use parquet::schema::printer::print_schema;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor, Type};
use serde::{Deserialize, Serialize};

use crate::guard::guard;
use crate::input::PreadFile;
use crate::pages::check_pages;
use crate::reader::alone;
use crate::{TableError, TableReader};

const FILE_MAGIC: &[u8; 8] = b"HALOFILE";
const GROUP_MAGIC: &[u8; 8] = b"HALOROWS";
/// Magic and length before the JSON, CRC behind it.
const FRAME_BYTES: u64 = 8 + 4 + 4;
/// Records are far smaller; a length above this is no record.
const MOST_RECORD_BYTES: u32 = 16 << 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    /// Parquet's message type, as text.
    schema: String,
    key_values: Vec<(String, Option<String>)>,
    created_by: String,
    row_group_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupRecord {
    /// Offset of the first page.
    start: u64,
    rows: i64,
    columns: Vec<ChunkRecord>,
}

/// Where a chunk lies; offsets from the start of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChunkRecord {
    dictionary: Option<i64>,
    data: i64,
    compressed: i64,
    uncompressed: i64,
    values: i64,
    /// [`index_crc`] of its pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
}

/// The footer begins with the bytes that its version and schema are written as. Readers differ in what they make of a
/// damaged type: of a text column pyarrow made bytes where this library saw text.
fn begins_as_written(file: &PreadFile, own: &FileMetaData) -> Result<bool, TableError> {
    /// What follows them in a footer without row groups: 0 rows, and an empty list of structures.
    const NO_ROWS: &[u8] = b"\x16\x00\x19\x0c";
    let schema = own.schema_descr_ptr();
    let own = FileMetaData::new(own.version(), 0, None, None, schema, None);
    let own = ParquetMetaData::new(own, Vec::new());
    let mut bytes = Vec::new();
    let written = ParquetMetaDataWriter::new(&mut bytes, &own).finish();
    let mut ends = bytes.windows(NO_ROWS.len());
    let (Ok(()), Some(end)) = (written, ends.rposition(|window| window == NO_ROWS)) else {
        return Ok(false);
    };
    bytes.truncate(end);
    let behind = file.length().saturating_sub(8);
    let mut length = [0; 4];
    file.read_exact_at(&mut length, behind)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > behind || (bytes.len() as u64) > length {
        return Ok(false);
    }
    let mut there = vec![0; bytes.len()];
    file.read_exact_at(&mut there, behind - length)?;
    Ok(there == bytes)
}

fn frame(magic: &[u8; 8], record: &impl Serialize) -> Result<Vec<u8>, TableError> {
    let json = serde_json::to_vec(record)
        .map_err(|e| TableError::Schema(format!("a recovery record cannot be written: {e}")))?;
    let length = u32::try_from(json.len())
        .map_err(|_| TableError::Schema("a recovery record of more than 4 GiB".to_owned()))?;
    let mut bytes = Vec::with_capacity(json.len() + 16);
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
    Ok(bytes)
}

/// The record behind the leading magic.
pub(crate) fn file_record(
    schema: &Type,
    properties: &WriterProperties,
    row_group_bytes: u64,
) -> Result<Vec<u8>, TableError> {
    let mut text = Vec::new();
    print_schema(&mut text, schema);
    let pairs = properties.key_value_metadata().into_iter().flatten();
    let record = FileRecord {
        schema: String::from_utf8_lossy(&text).into_owned(),
        key_values: pairs.map(|p| (p.key.clone(), p.value.clone())).collect(),
        created_by: properties.created_by().to_owned(),
        row_group_bytes,
    };
    frame(FILE_MAGIC, &record)
}

fn chunks_of(group: &RowGroupMetaData) -> Vec<ChunkRecord> {
    let chunks = group.columns().iter();
    chunks
        .map(|c| ChunkRecord {
            dictionary: c.dictionary_page_offset(),
            data: c.data_page_offset(),
            compressed: c.compressed_size(),
            uncompressed: c.uncompressed_size(),
            values: c.num_values(),
            index: None,
        })
        .collect()
}

/// CRC-32 of what an offset index says about the pages of a chunk, their place in the file aside: a
/// wrong first row there makes a reader skip the wrong rows.
fn index_crc(pages: &[PageLocation]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for page in pages {
        hasher.update(&page.first_row_index.to_le_bytes());
        hasher.update(&page.compressed_page_size.to_le_bytes());
    }
    hasher.finalize()
}

/// The offset index of a chunk against its record, and its pages against the chunk.
fn index_agrees(pages: &[PageLocation], chunk: &ColumnChunkMetaData, crc: u32) -> bool {
    let mut at = chunk.data_page_offset();
    let side_by_side = pages.iter().all(|page| {
        let here = page.offset == at;
        at = at.saturating_add(i64::from(page.compressed_page_size));
        here
    });
    side_by_side && index_crc(pages) == crc
}

/// The record behind a row group that has just been written.
pub(crate) fn group_record(
    group: &RowGroupMetaData,
    indexes: &[OffsetIndexMetaData],
) -> Result<Vec<u8>, TableError> {
    let mut columns = chunks_of(group);
    for (column, index) in columns.iter_mut().zip(indexes) {
        column.index = Some(index_crc(index.page_locations()));
    }
    let start = columns
        .first()
        .map_or(0, |c| c.dictionary.unwrap_or(c.data));
    let start = u64::try_from(start).unwrap_or(0);
    frame(
        GROUP_MAGIC,
        &GroupRecord {
            start,
            rows: group.num_rows(),
            columns,
        },
    )
}

/// The footer against the records: the same schema and metadata, row groups and chunks side by side
/// without a gap from the first record to the index, and as many rows. A record that is itself
/// damaged proves nothing against the footer. The error is what is wrong, in words.
pub(crate) fn check_footer(
    file: &PreadFile,
    metadata: &ParquetMetaData,
) -> Result<Result<(), String>, TableError> {
    let Some((json, mut at)) = read_frame(file, 4, FILE_MAGIC)? else {
        return Ok(Ok(()));
    };
    let Ok(record) = serde_json::from_slice::<FileRecord>(&json) else {
        return Ok(Ok(()));
    };
    let own = metadata.file_metadata();
    let mut text = Vec::new();
    print_schema(&mut text, own.schema());
    if record.schema.as_bytes() != text {
        return Ok(Err(
            "its columns are not those the file was begun with".to_owned()
        ));
    }
    if !begins_as_written(file, own)? {
        return Ok(Err(
            "it does not write its columns as the program that made it does".to_owned(),
        ));
    }
    let pairs = own.key_value_metadata().into_iter().flatten();
    let pairs: Vec<_> = pairs.map(|p| (p.key.clone(), p.value.clone())).collect();
    if pairs != record.key_values {
        return Ok(Err(
            "its metadata are not those the file was begun with".to_owned()
        ));
    }
    // Whether the metadata count at all hangs on who wrote the file.
    if own.created_by() != Some(&*record.created_by) {
        return Ok(Err(format!(
            "it names another writer than `{}`, who began the file",
            record.created_by
        )));
    }
    let mut index = file.length();
    for (place, group) in metadata.row_groups().iter().enumerate() {
        let gap = || {
            Ok(Err(format!(
                "row group {place} does not lie where the one before it ends"
            )))
        };
        for chunk in group.columns() {
            let (start, length) = chunk.byte_range();
            if start != at {
                return gap();
            }
            at = start + length;
            let indexes = [chunk.column_index_offset(), chunk.offset_index_offset()];
            for offset in indexes.into_iter().flatten() {
                index = index.min(u64::try_from(offset).unwrap_or(0));
            }
        }
        let frame = read_frame(file, at, GROUP_MAGIC)?;
        let Some((json, end)) = frame else {
            // Damaged; how long it is cannot be known.
            let Some(next) = metadata.row_groups().get(place + 1) else {
                return Ok(Ok(()));
            };
            at = next.columns().first().map_or(at, |c| c.byte_range().0);
            continue;
        };
        at = end;
        let Ok(mut record) = serde_json::from_slice::<GroupRecord>(&json) else {
            continue;
        };
        let alone = match guard(|| alone(file, group.clone())) {
            Ok(alone) => alone,
            Err(detail) => return Ok(Err(detail)),
        };
        let pages = alone.page_index_for_row_group(0);
        for (leaf, (chunk, column)) in group.columns().iter().zip(&mut record.columns).enumerate() {
            if let (Some(crc), Some(pages)) = (column.index.take(), pages.page_locations(leaf))
                && !index_agrees(pages, chunk, crc)
            {
                return Ok(Err(format!(
                    "the index of the pages of row group {place} is not the one that was written"
                )));
            }
        }
        if record.rows != group.num_rows() || record.columns != chunks_of(group) {
            return Ok(Err(format!(
                "row group {place} is not the one that was written"
            )));
        }
    }
    if index < file.length() && index != at {
        return Ok(Err(format!(
            "its row groups end at byte {at} and its index begins at byte {index}: a row group is missing"
        )));
    }
    Ok(Ok(()))
}

/// What could be saved of a file.
#[derive(Debug)]
pub struct Salvage {
    /// The row groups that are whole, with correct checksums.
    pub table: TableReader,
    /// Raw bytes per row group the file was written with.
    pub row_group_bytes: u64,
    /// Row groups whose record is there but whose pages are damaged.
    pub damaged_row_groups: u64,
    /// Rows of those.
    pub damaged_rows: u64,
    /// Bytes at the end of the file that belong to no whole row group (of a whole file, its index
    /// and footer).
    pub tail_bytes: u64,
}

/// Reads what is left of a file halocline wrote, with or without its footer.
///
/// # Errors
/// [`TableError::Io`]; [`TableError::Footer`] when the start of the file, which holds its schema, is
/// damaged or not ours.
pub fn salvage(path: &Path) -> Result<Salvage, TableError> {
    let file = PreadFile::open(path)?;
    let wrong = |detail: String| TableError::Footer {
        path: path.to_owned(),
        detail,
    };
    let no_record = || {
        wrong(
            "nothing at its start says what its pages hold, so nothing can be salvaged".to_owned(),
        )
    };
    let (json, mut at) = read_frame(&file, 4, FILE_MAGIC)?.ok_or_else(no_record)?;
    let record: FileRecord = serde_json::from_slice(&json).map_err(|_| no_record())?;
    let schema = parse_message_type(&record.schema).map_err(|e| wrong(e.to_string()))?;
    let schema: SchemaDescPtr = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let mut groups = Vec::new();
    while let Some((group, end)) = next_group(&file, at, &schema)? {
        groups.push(group);
        at = end;
    }
    let build = |groups: Vec<RowGroupMetaData>| {
        let rows = groups.iter().map(RowGroupMetaData::num_rows).sum();
        let pairs = record
            .key_values
            .iter()
            .map(|(k, v)| KeyValue::new(k.clone(), v.clone()));
        let file_metadata = FileMetaData::new(
            1,
            rows,
            Some(record.created_by.clone()),
            Some(pairs.collect()),
            Arc::clone(&schema),
            None,
        );
        let metadata = ParquetMetaData::new(file_metadata, groups);
        TableReader::from_metadata(file.clone(), &metadata)
    };
    let all = build(groups.clone())?;
    let mut bad = vec![false; groups.len()];
    check_pages(&all, |fault| {
        bad[fault.row_group] = true;
        true
    })?;
    let rows_of = |g: &RowGroupMetaData| u64::try_from(g.num_rows()).unwrap_or(0);
    let (mut whole, mut damaged_row_groups, mut damaged_rows) = (Vec::new(), 0, 0);
    for (group, bad) in groups.into_iter().zip(bad) {
        if bad {
            damaged_row_groups += 1;
            damaged_rows += rows_of(&group);
        } else {
            whole.push(group);
        }
    }
    Ok(Salvage {
        table: build(whole)?,
        row_group_bytes: record.row_group_bytes,
        damaged_row_groups,
        damaged_rows,
        tail_bytes: file.length().saturating_sub(at),
    })
}

/// The JSON of the record at `at` and the offset behind it, when one stands there whole.
fn read_frame(
    file: &PreadFile,
    at: u64,
    magic: &[u8; 8],
) -> Result<Option<(Vec<u8>, u64)>, TableError> {
    let mut head = [0; 12];
    if at + FRAME_BYTES > file.length() {
        return Ok(None);
    }
    file.read_exact_at(&mut head, at)?;
    let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    let end = at + FRAME_BYTES + u64::from(length);
    if &head[..8] != magic || length > MOST_RECORD_BYTES || end > file.length() {
        return Ok(None);
    }
    let mut rest = vec![0; length as usize + 4];
    file.read_exact_at(&mut rest, at + 12)?;
    let crc = rest.split_off(length as usize);
    Ok((crc32fast::hash(&rest).to_le_bytes()[..] == crc[..]).then_some((rest, end)))
}

/// The first believable row group record at or behind `from`, and the offset behind it.
fn next_group(
    file: &PreadFile,
    from: u64,
    schema: &SchemaDescPtr,
) -> Result<Option<(RowGroupMetaData, u64)>, TableError> {
    const BLOCK: u64 = 64 << 10;
    const OVERLAP: u64 = 7;
    let mut at = from;
    let mut block = vec![0; BLOCK as usize];
    while at + FRAME_BYTES <= file.length() {
        let n = BLOCK.min(file.length() - at) as usize;
        file.read_exact_at(&mut block[..n], at)?;
        for place in 0..n.saturating_sub(OVERLAP as usize) {
            if block[place..n].starts_with(GROUP_MAGIC) {
                let record_at = at + place as u64;
                if let Some((json, end)) = read_frame(file, record_at, GROUP_MAGIC)?
                    && let Some(group) = believe(&json, from, record_at, schema)
                {
                    return Ok(Some((group, end)));
                }
            }
        }
        if (n as u64) < BLOCK {
            break;
        }
        at += BLOCK - OVERLAP;
    }
    Ok(None)
}

/// A record as Parquet's metadata, when its chunks lie between `from` and the record.
fn believe(
    json: &[u8],
    from: u64,
    record_at: u64,
    schema: &SchemaDescPtr,
) -> Option<RowGroupMetaData> {
    let record: GroupRecord = serde_json::from_slice(json).ok()?;
    if record.start < from || record.rows < 0 || record.columns.len() != schema.num_columns() {
        return None;
    }
    let codec = Compression::ZSTD(ZstdLevel::default());
    let mut chunks = Vec::with_capacity(record.columns.len());
    for (leaf, chunk) in record.columns.iter().enumerate() {
        let start = u64::try_from(chunk.dictionary.unwrap_or(chunk.data)).ok()?;
        let end = start.checked_add(u64::try_from(chunk.compressed).ok()?)?;
        if start < record.start || end > record_at || chunk.values < 0 {
            return None;
        }
        let built = ColumnChunkMetaData::builder(schema.column(leaf))
            .set_compression(codec)
            .set_num_values(chunk.values)
            .set_total_compressed_size(chunk.compressed)
            .set_total_uncompressed_size(chunk.uncompressed)
            .set_data_page_offset(chunk.data)
            .set_dictionary_page_offset(chunk.dictionary)
            .build();
        chunks.push(built.ok()?);
    }
    let bytes = record.columns.iter().map(|c| c.uncompressed).sum();
    RowGroupMetaData::builder(Arc::clone(schema))
        .set_num_rows(record.rows)
        .set_total_byte_size(bytes)
        .set_column_metadata(chunks)
        .build()
        .ok()
}
