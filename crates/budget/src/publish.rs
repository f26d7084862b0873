//! Files that appear only whole.
//!
//! An [`AtomicFile`] has no name while it is written (`O_TMPFILE`), so that even SIGKILL leaves
//! nothing behind. Where the file system cannot do that, and for the instant of replacing a file, it
//! lies beside its target as `.<name>.<pid>-<n>.tmp`, removed on drop and by [`remove_temporaries`],
//! and swept by the next writer of the same target, when it starts and when it ends, if its process
//! is gone. Either way the contents are fsynced before the name appears, and the directory after.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::ByteSize;

/// Why a file was not published. The path is part of the message.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The target has no file name, or a folder, a device or a pipe has it.
    #[error("cannot write `{path}`: not the name of a regular file")]
    NoName {
        /// The target.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {step} `{path}`")]
    Io {
        /// What was being done.
        step: &'static str,
        /// The target.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process is ending on a signal; no new name may appear.
    #[error("`{path}` was not written: the process is stopping")]
    Stopping {
        /// The target.
        path: PathBuf,
    },
}

#[derive(Default)]
struct Registry {
    stopping: bool,
    names: BTreeSet<PathBuf>,
}

static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    stopping: false,
    names: BTreeSet::new(),
});
static COUNTER: AtomicU64 = AtomicU64::new(0);

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every named temporary of this process and lets no new one appear. For signal handling:
/// the process must exit after it.
pub fn remove_temporaries() {
    let mut registry = registry();
    registry.stopping = true;
    for name in std::mem::take(&mut registry.names) {
        // Nothing can be done about a failure while dying; the next writer sweeps.
        let _ = fs::remove_file(name);
    }
}

/// A file under construction; [`AtomicFile::commit`] gives it its name. Dropped before that, it
/// is gone.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    file: std::fs::File,
    /// The temporary's name, when it has one.
    named: Option<PathBuf>,
    written: u64,
}

impl AtomicFile {
    /// Starts a file that will become `target`; its directory must exist. Sweeps temporaries that
    /// dead processes left of the same target.
    ///
    /// # Errors
    /// [`PublishError`] when the directory is missing or not writable.
    pub fn create(target: impl Into<PathBuf>) -> Result<Self, PublishError> {
        Self::create_as(target.into(), true)
    }

    fn create_as(target: PathBuf, unnamed: bool) -> Result<Self, PublishError> {
        // Also behind a link: renaming onto `/dev/full` would replace the device for everybody.
        let special = std::fs::metadata(&target).is_ok_and(|there| !there.is_file());
        if target.file_name().is_none() || special {
            return Err(PublishError::NoName { path: target });
        }
        sweep(&target);
        if unnamed {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let opened =
                rustix::fs::openat(CWD, directory(&target), flags, Mode::from_raw_mode(0o666));
            // Any failure (an old kernel, NFS, a FUSE file system) is retried under a name, which
            // gives the error that matters.
            if let Ok(fd) = opened {
                return Ok(Self {
                    target,
                    file: fd.into(),
                    named: None,
                    written: 0,
                });
            }
        }
        let mut registry = registry();
        if registry.stopping {
            return Err(PublishError::Stopping { path: target });
        }
        let name = temporary_name(&target);
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&name)
            .map_err(|source| io_error("create a temporary for", &target, source))?;
        registry.names.insert(name.clone());
        drop(registry);
        Ok(Self {
            target,
            file,
            named: Some(name),
            written: 0,
        })
    }

    /// The path it will have.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the contents durable, gives the file its name (replacing what was there), and makes
    /// the name durable.
    ///
    /// # Errors
    /// [`PublishError`]; the target is then as it was.
    pub fn commit(mut self) -> Result<(), PublishError> {
        self.file
            .sync_all()
            .map_err(|source| io_error("sync", &self.target, source))?;
        // Held to the end: a signal between link and rename waits, or finds the name to remove.
        let mut registry = registry();
        if registry.stopping {
            return Err(PublishError::Stopping {
                path: self.target.clone(),
            });
        }
        let name = match &self.named {
            Some(name) => name.clone(),
            None => {
                if self.link_to(&self.target)? {
                    drop(registry);
                    return self.published();
                }
                let name = temporary_name(&self.target);
                if !self.link_to(&name)? {
                    let there = io::Error::from(io::ErrorKind::AlreadyExists);
                    return Err(io_error("link a temporary for", &self.target, there));
                }
                registry.names.insert(name.clone());
                self.named = Some(name.clone());
                name
            }
        };
        fs::rename(&name, &self.target)
            .map_err(|source| io_error("rename the temporary to", &self.target, source))?;
        registry.names.remove(&name);
        self.named = None;
        drop(registry);
        self.published()
    }

    /// Gives a file that has no name this one; `false` when something has it.
    fn link_to(&self, name: &Path) -> Result<bool, PublishError> {
        let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match rustix::fs::linkat(CWD, unnamed, CWD, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(io_error("link", &self.target, errno.into())),
        }
    }

    /// The name is there: makes it durable. A writer that was killed may have been dying for so long, with its files being
    /// closed on a busy disk, that the sweep at the start took it for alive.
    fn published(&self) -> Result<(), PublishError> {
        sweep(&self.target);
        sync_directory(&self.target)
    }

    fn explain(&self, error: io::Error, more: usize) -> io::Error {
        explain_full_disk(error, &self.target, self.written, more as u64)
    }
}

/// Turns "no space left" into a message with the path and the bytes; other errors get the path.
pub(crate) fn explain_full_disk(
    error: io::Error,
    path: &Path,
    written: u64,
    more: u64,
) -> io::Error {
    let text = if error.kind() == io::ErrorKind::StorageFull {
        format!(
            "no space left on the device for `{}`: {:#} written, at least {:#} more needed",
            path.display(),
            ByteSize(written),
            ByteSize(more)
        )
    } else {
        format!("cannot write `{}`: {error}", path.display())
    };
    io::Error::new(error.kind(), text)
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Ok(n) => {
                self.written += n as u64;
                Ok(n)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(self.explain(error, bytes.len())),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for AtomicFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(name) = self.named.take() {
            let mut registry = registry();
            if registry.names.remove(&name) {
                // A drop cannot report; the next writer of the target sweeps what stays.
                let _ = fs::remove_file(name);
            }
        }
    }
}

/// Writes a small file (JSON, TSV) atomically.
///
/// # Errors
/// As [`AtomicFile::create`], writing, and [`AtomicFile::commit`].
pub fn write_bytes(target: impl Into<PathBuf>, bytes: &[u8]) -> Result<(), PublishError> {
    let mut file = AtomicFile::create(target)?;
    file.write_all(bytes)
        .map_err(|source| io_error("write", &file.target, source))?;
    file.commit()
}

fn io_error(step: &'static str, path: &Path, source: io::Error) -> PublishError {
    PublishError::Io {
        step,
        path: path.to_owned(),
        source,
    }
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_directory(target: &Path) -> Result<(), PublishError> {
    let opened = std::fs::File::open(directory(target));
    opened
        .and_then(|directory| directory.sync_all())
        .map_err(|source| io_error("sync the directory of", target, source))
}

/// `.<name>.<pid>-<n>.tmp`; two writers of one target in one process get different `n`.
fn temporary_name(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    directory(target).join(format!(".{name}.{}-{n}.tmp", std::process::id()))
}

/// Removes temporaries of `target` whose process is gone. Two hosts writing one target at the
/// same time is not supported; the one that is swept fails, it does not publish damage.
fn sweep(target: &Path) {
    let Some(name) = target.file_name().map(|n| n.to_string_lossy().into_owned()) else {
        return;
    };
    // Without /proc nobody can be told dead.
    if !Path::new("/proc/self").exists() {
        return;
    }
    let Ok(entries) = fs::read_dir(directory(target)) else {
        return;
    };
    let prefix = format!(".{name}.");
    for entry in entries.flatten() {
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str() else {
            continue;
        };
        let Some(middle) = text
            .strip_prefix(&prefix)
            .and_then(|t| t.strip_suffix(".tmp"))
        else {
            continue;
        };
        let Some((pid, n)) = middle.split_once('-') else {
            continue;
        };
        let (Ok(pid), Ok(_)) = (pid.parse::<u32>(), n.parse::<u64>()) else {
            continue;
        };
        let alive = if pid == std::process::id() {
            registry().names.contains(&entry.path())
        } else {
            Path::new(&format!("/proc/{pid}")).exists()
        };
        if !alive {
            tracing::info!(path = %entry.path().display(), "removing a dead writer's temporary");
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_shows_before_commit_and_all_of_it_after() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.parquet");
        for unnamed in [true, false] {
            for text in ["first", "second"] {
                let mut file = AtomicFile::create_as(target.clone(), unnamed).unwrap();
                file.write_all(text.as_bytes()).unwrap();
                if text == "first" && unnamed {
                    assert!(names(dir.path()).is_empty());
                }
                file.commit().unwrap();
                assert_eq!(fs::read_to_string(&target).unwrap(), text);
                assert_eq!(names(dir.path()), ["a.parquet"]);
            }
        }
    }

    #[test]
    fn a_dropped_file_leaves_nothing_and_keeps_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        write_bytes(&target, b"old").unwrap();
        for unnamed in [true, false] {
            let mut file = AtomicFile::create_as(target.clone(), unnamed).unwrap();
            file.write_all(b"half").unwrap();
            drop(file);
            assert_eq!(names(dir.path()), ["a"]);
            assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        }
    }

    #[test]
    fn dead_writers_are_swept_and_living_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        let living = AtomicFile::create_as(target.clone(), false).unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        for name in [
            format!(".a.{dead}-0.tmp"),
            ".a.1-7.tmp".into(),
            format!(".b.{dead}-0.tmp"),
        ] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        write_bytes(&target, b"new").unwrap();
        let left = names(dir.path());
        assert!(!left.contains(&format!(".a.{dead}-0.tmp")), "{left:?}");
        assert!(
            left.contains(&".a.1-7.tmp".to_owned()),
            "process 1 is alive"
        );
        assert!(left.contains(&format!(".b.{dead}-0.tmp")), "not our target");
        living.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "");
    }

    /// Met by the kill test on a busy disk: the killed process was still closing its files when the next one started.
    #[test]
    fn a_writer_that_dies_while_the_next_one_writes_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        for unnamed in [true, false] {
            for _new_then_replaced in 0..2 {
                let mut dying = std::process::Command::new("cat")
                    .stdin(std::process::Stdio::piped())
                    .spawn()
                    .unwrap();
                let left = dir.path().join(format!(".a.{}-0.tmp", dying.id()));
                fs::write(&left, "x").unwrap();
                let next = AtomicFile::create_as(target.clone(), unnamed).unwrap();
                assert!(left.exists(), "its writer is alive");
                dying.kill().unwrap();
                dying.wait().unwrap();
                next.commit().unwrap();
                assert_eq!(names(dir.path()), ["a"]);
            }
            fs::remove_file(&target).unwrap();
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let pipe = dir.path().join("socket");
        let _listening = std::os::unix::net::UnixListener::bind(&pipe).unwrap();
        for target in [dir.path(), &link, &pipe, Path::new("/dev/null")] {
            let error = write_bytes(target, b"x").unwrap_err().to_string();
            assert!(error.contains("not the name of a regular file"), "{error}");
        }
        assert_eq!(names(dir.path()), ["link", "socket"]);
        // A link to a file, or to nothing, is replaced; what it names is not touched.
        let file = dir.path().join("file");
        fs::write(&file, "old").unwrap();
        for to in [&file, &dir.path().join("nowhere")] {
            let link = dir.path().join("to-file");
            std::os::unix::fs::symlink(to, &link).unwrap();
            write_bytes(&link, b"new").unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_file());
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = AtomicFile::create("/nonexistent/x.json").unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x.json"), "{error}");
    }

    #[test]
    fn a_full_disk_names_path_and_bytes() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let text = explain_full_disk(full, Path::new("/x/y"), 5 << 20, 1 << 20).to_string();
        assert!(
            text.contains("`/x/y`") && text.contains("1.0 MiB more"),
            "{text}"
        );
    }
}
