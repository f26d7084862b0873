//! The pages of one row group on their way to the decoder, and what it must not be given.
//!
//! Delta encoded text begins with how many lengths follow, and the decoder of parquet 60 makes room for so many before
//! it has read one: a page of a few bytes can ask for 2^58 bytes, which aborts the process, or fill with a run of equal
//! lengths what no limit was told of. Such a page is refused here.

use std::iter;
use std::sync::Arc;

use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    FileMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use crate::input::PreadFile;
use crate::pages::varint;

/// Metadata of a row group alone, with the index of its pages where the file has one. The indexes of a whole
/// file would grow with its rows, so they are read when their row group is.
///
/// # Errors
/// What is wrong with the index, in words.
pub(crate) fn alone(
    file: &PreadFile,
    group: RowGroupMetaData,
) -> std::result::Result<ParquetMetaData, String> {
    let schema = group.schema_descr_ptr();
    let of_group = FileMetaData::new(1, group.num_rows(), None, None, schema, None);
    let alone = ParquetMetaData::new(of_group, vec![group]);
    let mut reader = ParquetMetaDataReader::new_with_metadata(alone)
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Optional);
    reader
        .read_page_indexes(file)
        .and_then(|()| reader.finish())
        .map_err(|e| e.to_string())
}

/// A row group of a file, from its metadata [`alone`].
pub(super) struct RowGroup {
    pub(super) file: Arc<PreadFile>,
    pub(super) metadata: Arc<ParquetMetaData>,
}

impl RowGroups for RowGroup {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.row_group(0).num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>> {
        let chunk = self.metadata.row_group(0).column(leaf);
        let index = self.metadata.page_index_for_row_group(0);
        let pages = SerializedPageReader::new(
            Arc::clone(&self.file),
            chunk,
            self.num_rows(),
            index.page_locations(leaf).cloned(),
        )?;
        let column = chunk.column_descr_ptr();
        Ok(Box::new(OneChunk(Some(Checked { pages, column }))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(iter::once(self.metadata.row_group(0)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

struct OneChunk(Option<Checked>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|pages| Ok(Box::new(pages) as _))
    }
}

impl PageIterator for OneChunk {}

struct Checked {
    pages: SerializedPageReader<PreadFile>,
    column: ColumnDescPtr,
}

impl PageReader for Checked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(page) = &page
            && let Some(text) = delta_text(page, &self.column)
        {
            let values = page.num_values() as usize;
            let lists = match page.encoding() {
                Encoding::DELTA_BYTE_ARRAY => 2,
                _ => 1,
            };
            if !lengths_are_at_most(text, values, lists) {
                let path = self.column.path().string();
                return Err(ParquetError::General(format!(
                    "a page of column `{path}` has {values} values and other counts of lengths"
                )));
            }
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.pages.take_deferred_dictionary()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for Checked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// The values of a page of delta encoded text, behind its levels.
fn delta_text<'p>(page: &'p Page, column: &ColumnDescPtr) -> Option<&'p [u8]> {
    if !matches!(
        page.encoding(),
        Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
    ) {
        return None;
    }
    let levels = match page {
        Page::DataPageV2 {
            rep_levels_byte_len,
            def_levels_byte_len,
            ..
        } => *rep_levels_byte_len as usize + *def_levels_byte_len as usize,
        Page::DataPage {
            buf,
            num_values,
            def_level_encoding,
            rep_level_encoding,
            ..
        } => {
            let mut at = 0;
            for (most, encoding) in [
                (column.max_rep_level(), rep_level_encoding),
                (column.max_def_level(), def_level_encoding),
            ] {
                let bits = (i16::BITS - most.leading_zeros()) as usize;
                at += match encoding {
                    _ if bits == 0 => 0,
                    Encoding::RLE => {
                        let length = buf.get(at..at + 4).and_then(|b| b.try_into().ok());
                        // A page that ends before its levels do is the decoder's to refuse.
                        4 + u32::from_le_bytes(length.unwrap_or([0xff; 4])) as usize
                    }
                    _ => (*num_values as usize * bits).div_ceil(8),
                };
            }
            at
        }
        Page::DictionaryPage { .. } => 0,
    };
    page.buffer().get(levels..)
}

/// Does `text` begin with `lists` DELTA_BINARY_PACKED lists of at most `most` numbers each?
fn lengths_are_at_most(text: &[u8], most: usize, lists: usize) -> bool {
    let mut rest = text;
    (0..lists).all(|_| match DeltaList::parse(rest) {
        Some(list) if list.count <= most => {
            rest = list.behind;
            true
        }
        _ => false,
    })
}

/// A list of the encoding DELTA_BINARY_PACKED (<https://parquet.apache.org/docs/file-format/data-pages/encodings/>).
struct DeltaList<'p> {
    count: usize,
    behind: &'p [u8],
}

impl<'p> DeltaList<'p> {
    /// `None` when it ends early or its header is none.
    fn parse(bytes: &'p [u8]) -> Option<Self> {
        let mut rest = bytes;
        let block = usize::try_from(varint(&mut rest)?).ok()?;
        let in_block = usize::try_from(varint(&mut rest)?).ok()?;
        let count = usize::try_from(varint(&mut rest)?).ok()?;
        varint(&mut rest)?;
        let in_mini = block.checked_div(in_block)?;
        if in_mini == 0 || in_mini % 32 != 0 {
            return None;
        }
        // The first value stands in the header.
        let mut left = count.saturating_sub(1);
        while left > 0 {
            varint(&mut rest)?;
            let widths = rest.get(..in_block)?;
            rest = &rest[in_block..];
            for &width in widths {
                if left > 0 {
                    rest = rest.get(usize::from(width).checked_mul(in_mini / 8)?..)?;
                    left = left.saturating_sub(in_mini);
                }
            }
        }
        Some(Self {
            count,
            behind: rest,
        })
    }
}
