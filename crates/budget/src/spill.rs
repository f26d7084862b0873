//! Files for what memory cannot hold. They have no name from the moment they exist, so the system
//! removes them however the process ends.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::publish::explain_full_disk;

/// `TMPFS_MAGIC` of `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// `RAMFS_MAGIC` of `linux/magic.h`.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// The directory of a process's spill files, and the sum of what was written there.
#[derive(Clone, Debug)]
pub struct SpillDir {
    path: PathBuf,
    written: Arc<AtomicU64>,
}

/// A spill directory or file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} spill files in `{path}`")]
pub struct SpillError {
    step: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl SpillDir {
    /// Spill files under `path`, which must exist. A directory that lives in memory (tmpfs) is
    /// used all the same, with a warning: what is spilled there still counts as memory.
    ///
    /// # Errors
    /// When `path` is no directory.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, SpillError> {
        let path = path.into();
        let metadata = std::fs::metadata(&path);
        let usable = metadata.and_then(|m| {
            if m.is_dir() {
                Ok(())
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        });
        if let Err(source) = usable {
            return Err(SpillError {
                step: "keep",
                path,
                source,
            });
        }
        if in_memory(&path) {
            tracing::warn!(
                path = %path.display(),
                "spill directory is a tmpfs: spilled bytes stay in memory; give --tmp-dir a disk"
            );
        }
        Ok(Self {
            path,
            written: Arc::default(),
        })
    }

    /// The directory a binary spills to: `--tmp-dir` when given, else `$TMPDIR` when it is set and
    /// on a disk, else the directory of the output.
    ///
    /// # Errors
    /// As [`SpillDir::new`].
    pub fn choose(tmp_dir: Option<&Path>, out_dir: &Path) -> Result<Self, SpillError> {
        if let Some(path) = tmp_dir {
            return Self::new(path);
        }
        let from_environment = std::env::var_os("TMPDIR")
            .map(PathBuf::from)
            .filter(|path| path.is_dir() && !in_memory(path));
        let out_dir = if out_dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            out_dir
        };
        Self::new(from_environment.unwrap_or_else(|| out_dir.to_owned()))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes written to all spill files so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// A new empty file.
    ///
    /// # Errors
    /// When the directory is not writable.
    pub fn file(&self) -> Result<SpillFile, SpillError> {
        let file = tempfile::tempfile_in(&self.path).map_err(|source| SpillError {
            step: "create",
            path: self.path.clone(),
            source,
        })?;
        Ok(SpillFile {
            file,
            dir: self.clone(),
            written: 0,
        })
    }
}

/// Whether a folder is a tmpfs, whose files are memory.
#[must_use]
pub fn in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path)
        .is_ok_and(|fs| matches!(fs.f_type as u64 & 0xffff_ffff, TMPFS_MAGIC | RAMFS_MAGIC))
}

/// A nameless file: read, write, seek, and read at an offset from any thread. Unbuffered.
#[derive(Debug)]
pub struct SpillFile {
    file: std::fs::File,
    dir: SpillDir,
    written: u64,
}

impl SpillFile {
    /// Bytes written to this file.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Fills `buffer` from `offset`, without moving the file's position.
    ///
    /// # Errors
    /// The system's error, with the directory's name; `UnexpectedEof` past the end.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| self.name(error))
    }

    /// Writes all of `bytes` at `offset`, without moving the file's position.
    ///
    /// # Errors
    /// The system's error; a full disk names the directory and the bytes needed.
    pub fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| explain_full_disk(e, &self.dir.path, self.written, bytes.len() as u64))?;
        self.count(bytes.len());
        Ok(())
    }

    fn count(&mut self, bytes: usize) {
        self.written += bytes as u64;
        self.dir.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn name(&self, error: io::Error) -> io::Error {
        let text = format!("spill file in `{}`: {error}", self.dir.path.display());
        io::Error::new(error.kind(), text)
    }
}

impl Read for SpillFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Write for SpillFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(n) => {
                self.count(n);
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(explain_full_disk(
                error,
                &self.dir.path,
                self.written,
                bytes.len() as u64,
            )),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for SpillFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spilled_bytes_come_back_are_counted_and_have_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let spill = SpillDir::new(dir.path()).unwrap();
        let mut a = spill.file().unwrap();
        let mut b = spill.file().unwrap();
        a.write_all(b"hello spill").unwrap();
        b.write_all_at(b"xyz", 2).unwrap();
        let mut five = [0; 5];
        a.read_exact_at(&mut five, 6).unwrap();
        assert_eq!(&five, b"spill");
        a.seek(SeekFrom::Start(0)).unwrap();
        let mut all = String::new();
        a.read_to_string(&mut all).unwrap();
        assert_eq!(all, "hello spill");
        assert_eq!((a.written(), b.written(), spill.written()), (11, 3, 14));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = SpillDir::new("/nonexistent/tmp").unwrap_err();
        assert!(error.to_string().contains("/nonexistent/tmp"), "{error}");
    }

    #[test]
    fn a_flag_beats_the_output_directory() {
        let dir = tempfile::tempdir().unwrap();
        let chosen = SpillDir::choose(Some(dir.path()), Path::new("/elsewhere")).unwrap();
        assert_eq!(chosen.path(), dir.path());
    }

    #[test]
    fn shared_memory_is_recognised() {
        if Path::new("/dev/shm").is_dir() {
            assert!(in_memory(Path::new("/dev/shm")));
        }
    }
}
