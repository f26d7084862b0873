//! Pages as they lie in the file: just enough of Parquet's page header (Thrift compact protocol,
//! `parquet.thrift` 2.10, struct `PageHeader`) to add a CRC when writing and to walk and check
//! every page of a chunk without decoding it.
//!
//! Not responsible for what is in a page: decoding is parquet's.

use parquet::file::metadata::ColumnChunkMetaData;

use crate::input::PreadFile;
use crate::{TableError, TableReader};

/// The kind of a page, field 1 of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageType {
    /// Values, format version 1.
    Data,
    /// Never written by anybody.
    Index,
    /// The dictionary of the chunk.
    Dictionary,
    /// Values, format version 2.
    DataV2,
}

/// What a page header says, as far as it is needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Kind of page.
    pub page_type: PageType,
    /// Bytes of the page after decompression.
    pub uncompressed_bytes: u64,
    /// Bytes of the page in the file, behind the header.
    pub compressed_bytes: u64,
    /// CRC-32 of those bytes.
    pub crc: Option<u32>,
    /// Values in the page, nulls included (of a data or dictionary page).
    pub values: u64,
    /// Bytes of the header itself.
    pub header_bytes: usize,
}

/// A cursor over Thrift compact bytes; `None` when they end too early or make no sense.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut rest = self.bytes.get(self.at..)?;
        let value = varint(&mut rest)?;
        self.at = self.bytes.len() - rest.len();
        Some(value)
    }

    fn zigzag(&mut self) -> Option<i64> {
        let raw = self.varint()?;
        Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Next field of a struct: (id, type), or `Some(None)` at its end.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        let delta = i64::from(byte >> 4);
        *last = if delta == 0 {
            self.zigzag()?
        } else {
            last.checked_add(delta)?
        };
        Some(Some((*last, byte & 0x0f)))
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        if depth == 0 {
            return None;
        }
        match kind {
            1 | 2 => {}
            3 => {
                self.byte()?;
            }
            4..=6 => {
                self.varint()?;
            }
            7 => self.advance(8)?,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.advance(length)?;
            }
            9 | 10 => {
                let head = self.byte()?;
                let mut count = u64::from(head >> 4);
                if count == 15 {
                    count = self.varint()?;
                }
                if count > self.bytes.len() as u64 {
                    return None;
                }
                for _ in 0..count {
                    // Booleans in a list take a byte each, unlike booleans in a struct.
                    self.skip(if head & 0x0f <= 2 { 3 } else { head & 0x0f }, depth - 1)?;
                }
            }
            12 => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth - 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn advance(&mut self, length: usize) -> Option<()> {
        self.at = self
            .at
            .checked_add(length)
            .filter(|at| *at <= self.bytes.len())?;
        Some(())
    }
}

/// Takes an unsigned LEB128 number; `None` when it is cut off or longer than 64 bits' worth.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads the page header at the start of `bytes`; `None` when there is none or it is cut off.
#[must_use]
pub fn parse_header(bytes: &[u8]) -> Option<PageHeader> {
    let mut thrift = Thrift { bytes, at: 0 };
    let (mut page_type, mut uncompressed, mut compressed, mut crc) = (None, None, None, None);
    let mut values = None;
    let mut last = 0;
    while let Some((id, kind)) = thrift.field(&mut last)? {
        match (id, kind) {
            (1, 5) => {
                page_type = Some(match thrift.zigzag()? {
                    0 => PageType::Data,
                    1 => PageType::Index,
                    2 => PageType::Dictionary,
                    3 => PageType::DataV2,
                    _ => return None,
                });
            }
            (2, 5) => uncompressed = Some(u64::try_from(thrift.zigzag()?).ok()?),
            (3, 5) => compressed = Some(u64::try_from(thrift.zigzag()?).ok()?),
            (4, 5) => crc = Some(thrift.zigzag()? as u32),
            // All three page structs begin with their number of values.
            (5 | 7 | 8, 12) => {
                let mut inner = 0;
                while let Some((id, kind)) = thrift.field(&mut inner)? {
                    if id == 1 && kind == 5 {
                        values = Some(u64::try_from(thrift.zigzag()?).ok()?);
                    } else {
                        thrift.skip(kind, 8)?;
                    }
                }
            }
            _ => thrift.skip(kind, 8)?,
        }
    }
    Some(PageHeader {
        page_type: page_type?,
        uncompressed_bytes: uncompressed?,
        compressed_bytes: compressed?,
        crc,
        values: values?,
        header_bytes: thrift.at,
    })
}

/// The header of an uncompressed page without CRC, made the header of that page compressed to
/// `compressed` bytes with this CRC: field 3 is replaced, field 4 inserted. `None` unless fields 1
/// to 3 are there in order and a later one follows, which is how every header is written.
pub(crate) fn sealed_header(header: &[u8], compressed: usize, crc: u32) -> Option<Vec<u8>> {
    let mut thrift = Thrift {
        bytes: header,
        at: 0,
    };
    let mut last = 0;
    let mut third = 0;
    for expected in 1..=3 {
        third = thrift.at;
        if thrift.field(&mut last)?? != (expected, 5) {
            return None;
        }
        thrift.varint()?;
    }
    let next = *header.get(thrift.at)?;
    // From 3 at least to 5, so that 4 fits between.
    if next >> 4 < 2 {
        return None;
    }
    let mut out = Vec::with_capacity(header.len() + 6);
    out.extend_from_slice(&header[..third]);
    push_i32(&mut out, i32::try_from(compressed).ok()?);
    push_i32(&mut out, crc as i32);
    out.push(next - 0x10);
    out.extend_from_slice(&header[thrift.at + 1..]);
    Some(out)
}

/// An i32 field whose id is one above the last.
fn push_i32(out: &mut Vec<u8>, value: i32) {
    let mut raw = ((value << 1) ^ (value >> 31)) as u32;
    out.push(0x15);
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// What is wrong with a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageFault {
    /// Row group, from 0.
    pub row_group: usize,
    /// The column's path.
    pub column: String,
    /// Where the page's header begins.
    pub offset: u64,
    /// Is it the checksum (and not the header) that is wrong?
    pub checksum: bool,
    /// In words.
    pub detail: String,
}

/// Counts from [`check_pages`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Pages seen.
    pub pages: u64,
    /// Pages without a CRC, which nobody can vouch for.
    pub without_crc: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// The pages of a column chunk, as their headers say.
#[derive(Debug, Default)]
pub(crate) struct ChunkPages {
    /// Bytes of the largest page in the file.
    pub(crate) stored: u64,
    /// Bytes of the largest page of values after decompression.
    pub(crate) raw: u64,
    /// Bytes of the dictionary after decompression.
    pub(crate) dictionary: u64,
    /// Of each page of values: how many, and their bytes after decompression.
    pub(crate) data: Vec<(u64, u64)>,
}

impl ChunkPages {
    /// Reads every header of a chunk and nothing else; the inner error is a broken header.
    pub(crate) fn read(
        file: &PreadFile,
        chunk: &ColumnChunkMetaData,
    ) -> Result<Result<Self, String>, TableError> {
        let mut pages = Self::default();
        let mut block = vec![0; 64 << 10];
        let (mut at, length) = chunk.byte_range();
        let end = at + length;
        while at < end {
            let header = match read_header(file, at, end, &mut block)? {
                Ok(header) => header,
                Err(detail) => return Ok(Err(detail)),
            };
            pages.stored = pages.stored.max(header.compressed_bytes);
            if header.page_type == PageType::Dictionary {
                pages.dictionary = pages.dictionary.max(header.uncompressed_bytes);
            } else {
                pages.raw = pages.raw.max(header.uncompressed_bytes);
                pages.data.push((header.values, header.uncompressed_bytes));
            }
            at += header.header_bytes as u64 + header.compressed_bytes;
        }
        Ok(Ok(pages))
    }
}

/// Reads every byte of every page of `table` and checks headers, CRCs, and that the pages of a
/// chunk fill it exactly. Holds one block of 64 KiB. `fault` hears of each fault and returns
/// whether to go on; the rest of a chunk behind a broken header is skipped.
///
/// # Errors
/// [`TableError::Io`] when the file cannot be read.
pub fn check_pages(
    table: &TableReader,
    mut fault: impl FnMut(PageFault) -> bool,
) -> Result<PageCounts, TableError> {
    let mut counts = PageCounts::default();
    let file = table.file();
    let mut block = vec![0; 64 << 10];
    for row_group in 0..table.row_groups() {
        let group = table.row_group_metadata(row_group)?;
        for chunk in group.columns() {
            let (start, length) = chunk.byte_range();
            let mut report = |offset, checksum, detail: String| {
                fault(PageFault {
                    row_group,
                    column: chunk.column_path().string(),
                    offset,
                    checksum,
                    detail,
                })
            };
            let mut at = start;
            let end = start + length;
            let mut values = 0;
            let mut whole = true;
            while at < end {
                let header = match read_header(file, at, end, &mut block)? {
                    Ok(header) => header,
                    Err(detail) => {
                        whole = false;
                        if !report(at, false, detail) {
                            return Ok(counts);
                        }
                        break;
                    }
                };
                counts.pages += 1;
                let body = at + header.header_bytes as u64;
                match header.crc {
                    None => counts.without_crc += 1,
                    Some(expected) => {
                        let found = crc_of(file, body, header.compressed_bytes, &mut block)?;
                        if found != expected
                            && !report(
                                at,
                                true,
                                format!(
                                    "the page's bytes have CRC {found:08x}, its header says {expected:08x}"
                                ),
                            )
                        {
                            return Ok(counts);
                        }
                    }
                }
                if header.page_type != PageType::Dictionary {
                    values += header.values;
                }
                counts.bytes += header.header_bytes as u64 + header.compressed_bytes;
                at = body + header.compressed_bytes;
            }
            let expected = u64::try_from(chunk.num_values()).unwrap_or(0);
            if whole
                && values != expected
                && !report(
                    start,
                    false,
                    format!("its pages hold {values} values, the footer says {expected}"),
                )
            {
                return Ok(counts);
            }
        }
    }
    Ok(counts)
}

/// The header at `at` of a chunk that ends at `end`; the inner error is a broken header.
fn read_header(
    file: &PreadFile,
    at: u64,
    end: u64,
    block: &mut [u8],
) -> Result<Result<PageHeader, String>, TableError> {
    // Headers are about 30 bytes; with statistics of long text they may be much longer.
    for ask in [256, block.len()] {
        let n = usize::try_from(end - at).unwrap_or(usize::MAX).min(ask);
        file.read_exact_at(&mut block[..n], at)?;
        if let Some(header) = parse_header(&block[..n]) {
            let page_end = at + header.header_bytes as u64 + header.compressed_bytes;
            if page_end > end {
                return Ok(Err("the page reaches beyond its column chunk".to_owned()));
            }
            return Ok(Ok(header));
        }
        if n < ask {
            break;
        }
    }
    Ok(Err("there is no page header where one must be".to_owned()))
}

fn crc_of(file: &PreadFile, at: u64, length: u64, block: &mut [u8]) -> Result<u32, TableError> {
    let mut hasher = crc32fast::Hasher::new();
    let (mut at, mut left) = (at, length);
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.read_exact_at(&mut block[..n], at)?;
        hasher.update(&block[..n]);
        at += n as u64;
        left -= n as u64;
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields 1..3, then field 5 (data page header) with values 5, encoding 0, levels 3 3.
    const DATA: [u8; 16] = [
        0x15, 0x00, 0x15, 0x14, 0x15, 0x0e, 0x2c, 0x15, 0x0a, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06,
        0x00,
    ];

    fn data_header() -> Vec<u8> {
        let mut header = DATA.to_vec();
        header.push(0);
        header
    }

    #[test]
    fn a_crc_is_inserted_and_read_back() {
        for crc in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            let patched = sealed_header(&data_header(), 300, crc).unwrap();
            let parsed = parse_header(&patched).unwrap();
            assert_eq!(parsed.page_type, PageType::Data);
            assert_eq!(parsed.crc, Some(crc));
            assert_eq!(
                (
                    parsed.uncompressed_bytes,
                    parsed.compressed_bytes,
                    parsed.values
                ),
                (10, 300, 5)
            );
            assert_eq!(parsed.header_bytes, patched.len());
        }
    }

    #[test]
    fn a_cut_header_is_no_header() {
        let header = data_header();
        for n in 0..header.len() {
            assert_eq!(parse_header(&header[..n]), None, "{n}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse_header(&bytes);
            let _ = sealed_header(&bytes, 7, 7);
        }
    }
}
