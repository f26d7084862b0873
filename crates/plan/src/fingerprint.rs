//! Fingerprints of input files by content, remembered by size and modification time, so that a
//! touched file costs one reading and a library of many gigabytes is not read at every start.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use halocline_budget::publish;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// xxh3-128 of `bytes`, hexadecimal.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// xxh3-128 of a file, hexadecimal, read in pieces of 256 KiB.
///
/// # Errors
/// When the file cannot be read.
pub fn of_file(path: &Path) -> std::io::Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0_u8; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:032x}", hash.digest128())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// What identifies the state of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Size.
    pub bytes: u64,
    /// Modification time in nanoseconds since 1970, as text: JSON numbers do not hold 64 bits
    /// everywhere.
    pub modified_ns: String,
}

impl Stamp {
    /// Stamp of a regular file.
    ///
    /// # Errors
    /// When there is none at `path`.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs_err::metadata(path)?;
        if !meta.is_file() {
            let message = format!("`{}` is not a regular file", path.display());
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                message,
            ));
        }
        let modified = meta
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            bytes: meta.len(),
            modified_ns: modified.as_nanos().to_string(),
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    stamp: Stamp,
    fingerprint: String,
}

/// Fingerprints by path, kept in a small JSON file. Losing the file costs time, nothing else.
#[derive(Debug)]
pub struct Cache {
    file: PathBuf,
    entries: BTreeMap<String, Entry>,
    changed: bool,
}

impl Cache {
    /// Opens the cache; an absent or unreadable file is an empty cache.
    #[must_use]
    pub fn open(file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        let entries = std::fs::read(&file)
            .ok()
            .filter(|text| text.len() < 1 << 20)
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self {
            file,
            entries,
            changed: false,
        }
    }

    /// Content fingerprint of `path`; the file is read only if its stamp has changed.
    ///
    /// # Errors
    /// When the file is missing or cannot be read.
    pub fn fingerprint(&mut self, path: &Path) -> std::io::Result<String> {
        let stamp = Stamp::of(path)?;
        let name = path.to_string_lossy().into_owned();
        if let Some(entry) = self.entries.get(&name)
            && entry.stamp == stamp
        {
            return Ok(entry.fingerprint.clone());
        }
        let fingerprint = of_file(path)?;
        self.entries.insert(
            name,
            Entry {
                stamp,
                fingerprint: fingerprint.clone(),
            },
        );
        self.changed = true;
        Ok(fingerprint)
    }

    /// Writes the cache if it has news. A failure is not an error: the next run reads again.
    pub fn save(&self) {
        if !self.changed {
            return;
        }
        let Ok(text) = serde_json::to_vec_pretty(&self.entries) else {
            return;
        };
        if let Some(folder) = self.file.parent() {
            let _ = std::fs::create_dir_all(folder);
        }
        let _ = publish::write_bytes(&self.file, &text);
    }
}
