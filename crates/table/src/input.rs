//! A file read by position: no shared cursor, no mapping, and no allocation for lengths the file
//! does not have.

use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use crate::TableError;

/// An open file and its length at opening. Cheap to clone, safe to read from many threads.
#[derive(Debug, Clone)]
pub(crate) struct PreadFile {
    file: Arc<std::fs::File>,
    path: Arc<PathBuf>,
    length: u64,
}

impl PreadFile {
    pub(crate) fn open(path: &Path) -> Result<Self, TableError> {
        let unread = |error| TableError::cannot_read(path, error);
        // Asked before it is opened: opening a pipe waits for its writer.
        if !std::fs::metadata(path).map_err(unread)?.is_file() {
            let why = "not a regular file; it is read by position, which pipes, devices and folders do not allow";
            return Err(unread(io::Error::other(why)));
        }
        let file = std::fs::File::open(path).map_err(unread)?;
        let metadata = file.metadata().map_err(unread)?;
        Ok(Self {
            file: Arc::new(file),
            path: Arc::new(path.to_owned()),
            length: metadata.len(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), TableError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|e| TableError::Io(self.explain(&e)))
    }

    fn explain(&self, error: &io::Error) -> io::Error {
        io::Error::new(
            error.kind(),
            format!("cannot read `{}`: {error}", self.path.display()),
        )
    }
}

impl Length for PreadFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for PreadFile {
    type T = BufReader<PreadAt>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        // Only page headers are read this way; a page's body comes through `get_bytes`.
        Ok(BufReader::with_capacity(
            512,
            PreadAt {
                file: self.clone(),
                at: start,
            },
        ))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} of a file of {} bytes",
                self.length
            )));
        }
        let mut buffer = vec![0; length];
        self.file
            .read_exact_at(&mut buffer, start)
            .map_err(|e| ParquetError::External(Box::new(self.explain(&e))))?;
        Ok(buffer.into())
    }
}

/// A reader at a position of its own.
#[derive(Debug)]
pub(crate) struct PreadAt {
    file: PreadFile,
    at: u64,
}

impl Read for PreadAt {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
