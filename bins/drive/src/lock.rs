//! One run per results folder, of halo-drive or of Snakemake (`lock` in workflow/scripts/jobtable.py). The lock is the
//! kernel's (`flock`): it ends with the process that holds it, however that ends, and is not inherited by jobs.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use std::time::Duration;

use anyhow::Context as _;

use crate::record;

/// How often a taken lock is tried again, and after how long: `status` holds it for an instant.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The lock; released when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Where the lock of a results folder is; the plan tells Snakemake.
pub(crate) fn path(results: &Path) -> PathBuf {
    results.join("work/drive.lock")
}

impl Lock {
    /// Takes the lock, or says who holds it.
    pub(crate) fn take(results: &Path) -> anyhow::Result<Self> {
        let path = path(results);
        if let Some(folder) = path.parent() {
            record::make_folder(folder)?;
        }
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open the lock `{}`", path.display()))?;
        let mut locked = file.try_lock();
        for _ in 1..TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(PAUSE);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!("{}", taken(results, holder(results))),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock `{}`", path.display()));
            }
        }
        let holder = format!("process {}", std::process::id());
        file.set_len(0)
            .and_then(|()| file.write_all(holder.as_bytes()))
            .with_context(|| {
                format!(
                    "cannot write the lock `{}`: at least {} more bytes needed",
                    path.display(),
                    holder.len()
                )
            })?;
        Ok(Self { _file: file })
    }

    /// Who holds the lock, if anybody does.
    pub(crate) fn held_by(results: &Path) -> Option<String> {
        let file = File::options().write(true).open(path(results)).ok()?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Some(holder(results).unwrap_or_default()),
            _ => None,
        }
    }
}

/// What to say when the lock is held, by Snakemake or by a halo-drive.
pub(crate) fn taken(results: &Path, holder: Option<String>) -> String {
    format!(
        "another run is at work in `{}`: {}\nhint: wait for its end, or stop it; `halo-drive status` shows how far it is",
        results.display(),
        holder
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| "it has not said who it is".into())
    )
}

/// Whether this holder keeps the journal of what runs: Snakemake does not.
pub(crate) fn keeps_journal(holder: &str) -> bool {
    !holder.ends_with("(Snakemake)")
}

fn holder(results: &Path) -> Option<String> {
    std::fs::read_to_string(path(results))
        .ok()
        .filter(|text| !text.is_empty())
}
