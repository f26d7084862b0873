//! Finished pages: compressed, sealed with a CRC, laid out as a column chunk.
//!
//! The page store through which each finished page of parquet's encoder passes; see the module
//! `encode` for why.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result as ParquetResult};

use crate::encode::{LIBRARY_PAGE_BYTES, ZSTD_LEVEL};
use crate::pages::{PageType, parse_header, sealed_header};

/// The finished pages of one column chunk.
#[derive(Default)]
pub(crate) struct ChunkPages {
    dictionary: Option<Bytes>,
    data: Vec<Bytes>,
    /// Bytes by which the headers grew.
    added: i64,
    bytes: usize,
}

pub(crate) type Shared = Arc<Mutex<ChunkPages>>;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    /// The compressor of this thread and its output.
    static COMPRESSOR: RefCell<Option<(zstd::bulk::Compressor<'static>, Vec<u8>)>> =
        const { RefCell::new(None) };
}

/// Takes pages as (header, body) pairs from parquet's page writer, compresses them and keeps
/// them with their CRC.
struct CrcStore {
    pages: Shared,
    header: Option<Bytes>,
    puts: u64,
}

impl PageStore for CrcStore {
    fn put(&mut self, value: Bytes) -> ParquetResult<PageKey> {
        let key = PageKey::new(self.puts);
        self.puts += 1;
        let Some(header) = self.header.take() else {
            self.header = Some(value);
            return Ok(key);
        };
        let odd = || ParquetError::General("a page header unlike parquet 60's".to_owned());
        let page_type = parse_header(&header).ok_or_else(odd)?.page_type;
        let page = COMPRESSOR.with(|context| -> ParquetResult<Vec<u8>> {
            let context = &mut *context.borrow_mut();
            let (compressor, buffer) = match context {
                Some(ready) => ready,
                none => none.insert((zstd::bulk::Compressor::new(ZSTD_LEVEL)?, Vec::new())),
            };
            buffer.clear();
            buffer.reserve(zstd::zstd_safe::compress_bound(value.len()));
            compressor.compress_to_buffer(&value[..], buffer)?;
            let sealed =
                sealed_header(&header, buffer.len(), crc32fast::hash(buffer)).ok_or_else(odd)?;
            let mut page = Vec::with_capacity(sealed.len() + buffer.len());
            page.extend_from_slice(&sealed);
            page.extend_from_slice(buffer);
            if buffer.capacity() > 2 * LIBRARY_PAGE_BYTES {
                *buffer = Vec::new();
            }
            Ok(page)
        })?;
        let body = parse_header(&page).ok_or_else(odd)?.header_bytes;
        let mut pages = lock(&self.pages);
        pages.added += body as i64 - header.len() as i64;
        pages.bytes += page.len();
        match page_type {
            PageType::Dictionary => pages.dictionary = Some(page.into()),
            _ => pages.data.push(page.into()),
        }
        Ok(key)
    }

    fn take(&mut self, _: PageKey) -> ParquetResult<Bytes> {
        Err(ParquetError::General(
            "pages leave through `EncodedRowGroup`".to_owned(),
        ))
    }

    fn memory_size(&self) -> usize {
        lock(&self.pages).bytes
    }
}

#[derive(Default)]
pub(crate) struct Stores(pub(crate) Mutex<Vec<Shared>>);

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stores")
    }
}

impl PageStoreFactory for Stores {
    fn create(&self, _: &PageStoreArgs<'_>) -> ParquetResult<Box<dyn PageStore>> {
        let pages = Shared::default();
        lock(&self.0).push(Arc::clone(&pages));
        Ok(Box::new(CrcStore {
            pages,
            header: None,
            puts: 0,
        }))
    }
}

/// Lays the pages out (dictionary first) and makes offsets and sizes say so.
pub(crate) fn finish_column(
    mut close: ColumnCloseResult,
    pages: ChunkPages,
) -> ParquetResult<EncodedColumn> {
    let dictionary_bytes = pages.dictionary.as_ref().map_or(0, Bytes::len);
    let total = dictionary_bytes + pages.data.iter().map(Bytes::len).sum::<usize>();
    let uncompressed = close.metadata.uncompressed_size() + pages.added;
    let level = ZstdLevel::try_new(ZSTD_LEVEL)?;
    close.bytes_written = total as u64;
    close.metadata = close
        .metadata
        .into_builder()
        .set_compression(Compression::ZSTD(level))
        .set_total_compressed_size(total as i64)
        .set_total_uncompressed_size(uncompressed)
        .set_dictionary_page_offset((dictionary_bytes > 0).then_some(0))
        .set_data_page_offset(dictionary_bytes as i64)
        .build()?;
    if let Some(index) = close.offset_index.as_mut() {
        if index.page_locations.len() != pages.data.len() {
            return Err(ParquetError::General(
                "the offset index misses pages".to_owned(),
            ));
        }
        let mut offset = dictionary_bytes as i64;
        for (location, page) in index.page_locations.iter_mut().zip(&pages.data) {
            location.offset = offset;
            location.compressed_page_size = i32::try_from(page.len())
                .map_err(|_| ParquetError::General("a page of more than 2 GiB".to_owned()))?;
            offset += page.len() as i64;
        }
    }
    let mut all = Vec::with_capacity(pages.data.len() + 1);
    all.extend(pages.dictionary);
    all.extend(pages.data);
    Ok(EncodedColumn { close, pages: all })
}

pub(crate) struct EncodedColumn {
    pub(crate) close: ColumnCloseResult,
    pub(crate) pages: Vec<Bytes>,
}
