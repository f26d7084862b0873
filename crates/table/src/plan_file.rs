//! `plan.json`: which rows of which library make which shard.

use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::TableError;
use crate::publish;

/// The `schema` of a plan file.
pub const PLAN_SCHEMA: &str = "halocline.plan/1";

/// Largest plan file that is read, in bytes: a million shards.
const MOST_BYTES: u64 = 256 << 20;

/// A plan: contiguous shards that together are the whole library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_SCHEMA`].
    pub schema: String,
    /// The library, as named when the plan was made (a relative path is relative to the directory
    /// commands run in, not to the plan).
    pub input: PathBuf,
    /// Rows of the library.
    pub input_rows: u64,
    /// [`crate::file_digest`] of the library.
    pub input_fingerprint: String,
    /// [`crate::footer_digest`] of the library, which is quickly compared.
    pub input_footer: String,
    /// Its SMILES column.
    pub smiles_column: String,
    /// The shards, by index.
    pub shards: Vec<Shard>,
}

/// One shard: rows `start..end`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Its place in [`Plan::shards`].
    pub index: u64,
    /// First row.
    pub start: u64,
    /// One past the last row; equal to `start` for an empty shard.
    pub end: u64,
    /// Estimated cost, in the unit `halo-split` documents; only ratios mean something.
    pub cost: f64,
}

impl Shard {
    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> Range<u64> {
        self.start..self.end
    }
}

impl Plan {
    /// Reads and checks a plan.
    ///
    /// # Errors
    /// [`TableError::Io`]; [`TableError::Plan`] when it is not JSON of this version, has an
    /// unknown key, or its shards do not follow each other from 0 to the number of rows.
    pub fn read(path: &Path) -> Result<Self, TableError> {
        Self::read_within(path, MOST_BYTES)
    }

    /// As [`Plan::read`], for a process that can spare `most_bytes` of memory for it.
    ///
    /// # Errors
    /// As [`Plan::read`]; [`TableError::Plan`] for a longer file.
    pub fn read_within(path: &Path, most_bytes: u64) -> Result<Self, TableError> {
        let wrong = |detail: String| TableError::Plan {
            path: path.to_owned(),
            detail,
        };
        let most = most_bytes.min(MOST_BYTES);
        let unread = |error| TableError::cannot_read(path, error);
        let file = std::fs::File::open(path).map_err(unread)?;
        let mut text = Vec::new();
        // One byte more than allowed, and no trust in what the system says the size is.
        file.take(most + 1).read_to_end(&mut text).map_err(unread)?;
        if text.len() as u64 > most {
            return Err(wrong(format!(
                "it has more than {most} bytes, the most that is read here"
            )));
        }
        let plan: Self = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        plan.check().map_err(wrong)?;
        Ok(plan)
    }

    /// Writes it atomically, as indented JSON.
    ///
    /// # Errors
    /// [`TableError::Plan`] when it would not be valid; [`TableError::Publish`].
    pub fn write(&self, path: &Path) -> Result<(), TableError> {
        publish::write_bytes(path, &self.to_json(path)?)?;
        Ok(())
    }

    /// The text [`Plan::write`] writes; `path` only names it in errors.
    ///
    /// # Errors
    /// [`TableError::Plan`] when it would not be valid.
    pub fn to_json(&self, path: &Path) -> Result<Vec<u8>, TableError> {
        let wrong = |detail: String| TableError::Plan {
            path: path.to_owned(),
            detail,
        };
        self.check().map_err(wrong)?;
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| wrong(e.to_string()))?;
        text.push(b'\n');
        Ok(text)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != PLAN_SCHEMA {
            return Err(format!(
                "its schema is `{}`, not `{PLAN_SCHEMA}`",
                self.schema
            ));
        }
        let mut next = 0;
        for (place, shard) in self.shards.iter().enumerate() {
            if shard.index != place as u64 {
                return Err(format!("shard {place} has index {}", shard.index));
            }
            if shard.start != next || shard.end < shard.start {
                return Err(format!(
                    "shard {place} is rows {}..{}, but must begin at row {next}",
                    shard.start, shard.end
                ));
            }
            if !shard.cost.is_finite() || shard.cost < 0.0 {
                return Err(format!("shard {place} has cost {}", shard.cost));
            }
            next = shard.end;
        }
        if self.shards.is_empty() {
            return Err("it has no shards".to_owned());
        }
        if next != self.input_rows {
            return Err(format!(
                "its shards end at row {next} of {}",
                self.input_rows
            ));
        }
        Ok(())
    }

    /// The shard with this index.
    ///
    /// # Errors
    /// [`TableError::Range`] naming the shards there are.
    pub fn shard(&self, index: u64) -> Result<&Shard, TableError> {
        usize::try_from(index)
            .ok()
            .and_then(|i| self.shards.get(i))
            .ok_or_else(|| {
                TableError::Schema(format!(
                    "no shard {index}: the plan has 0..{}",
                    self.shards.len()
                ))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(bounds: &[u64]) -> Plan {
        Plan {
            schema: PLAN_SCHEMA.into(),
            input: "a.parquet".into(),
            input_rows: bounds[bounds.len() - 1],
            input_fingerprint: "0".repeat(32),
            input_footer: "0".repeat(32),
            smiles_column: "smiles".into(),
            shards: bounds
                .windows(2)
                .enumerate()
                .map(|(i, b)| Shard {
                    index: i as u64,
                    start: b[0],
                    end: b[1],
                    cost: 1.0,
                })
                .collect(),
        }
    }

    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        let mut plan = plan(&[0, 5, 5, 9]);
        // serde_json without `float_roundtrip` reads its own last digit wrong (found by fuzzing).
        plan.shards[0].cost = "978848888888888888800.0".parse().unwrap();
        plan.write(&path).unwrap();
        assert_eq!(Plan::read(&path).unwrap(), plan);
        assert_eq!(plan.shard(1).unwrap().rows(), 5..5);
        assert!(plan.shard(3).unwrap_err().to_string().contains("0..3"));
    }

    #[test]
    fn gaps_overlaps_and_unknown_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        let mut bad = Vec::new();
        let mut p = plan(&[0, 5, 9]);
        p.shards[1].start = 6;
        bad.push(serde_json::to_string(&p).unwrap());
        let mut p = plan(&[0, 5, 9]);
        p.input_rows = 10;
        bad.push(serde_json::to_string(&p).unwrap());
        let mut p = plan(&[0, 5, 9]);
        p.shards.clear();
        bad.push(serde_json::to_string(&p).unwrap());
        let good = serde_json::to_string(&plan(&[0, 5])).unwrap();
        bad.push(good.replacen('{', "{\"extra\":1,", 1));
        bad.push(good.replace("plan/1", "plan/2"));
        bad.push("{".into());
        for text in bad {
            std::fs::write(&path, &text).unwrap();
            let error = Plan::read(&path).unwrap_err().to_string();
            assert!(error.contains("plan.json"), "{error}");
        }
    }
}
