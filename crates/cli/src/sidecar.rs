//! The stats sidecar `<output>.stats.json`: what a run read, wrote, dropped, and used.
//!
//! The report, the validator and the merge read it; its keys are a contract. Units are in the
//! names. Reading refuses unknown keys, so a sidecar of another version is never half understood.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fs_err as fs;
use halocline_budget::Budget;
use halocline_budget::publish::{self, PublishError};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::distinct::Distinct;

/// Value of the `schema` key.
pub const SCHEMA: &str = "halocline.stats/1";

/// Bytes of a sidecar that are read; one has about 10 KB. What is longer ends in the middle of its
/// JSON, and is refused for that.
const MOST_BYTES: u64 = 4 << 20;
/// The largest count that is believed: those of 99,999 shards can be added up.
const MOST_COUNT: u64 = 1 << 47;

/// The sidecar of one output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The binary, e.g. `halo-dedup-merge`.
    pub tool: String,
    /// Its version.
    pub tool_version: String,
    /// RDKit that made the molecules, when any.
    pub rdkit_version: Option<String>,
    /// The command line after the program name.
    pub args: Vec<String>,
    /// `--memory-limit` or its default.
    pub memory_limit_bytes: u64,
    /// Peak resident set of the process (`VmHWM`).
    pub peak_rss_bytes: u64,
    /// Most bytes the pool had handed out.
    pub peak_reserved_bytes: u64,
    /// Largest resident set minus reservations seen.
    pub residual_bytes: u64,
    /// Rows read.
    pub rows_in: u64,
    /// Rows that went through.
    pub rows_done: u64,
    /// Rows that did not, by reason. `rows_in == rows_done + sum(rows_rejected)`.
    pub rows_rejected: BTreeMap<String, u64>,
    /// Rows written.
    pub rows_out: u64,
    /// Rows dropped because their key had been seen.
    pub duplicates: u64,
    /// Bytes written to spill files.
    pub spill_bytes: u64,
    /// CPU time of the process, all threads.
    pub cpu_seconds: f64,
    /// Wall time of the process.
    pub wall_seconds: f64,
    /// Time per stage; stages run beside each other, so wall times may sum to more.
    pub stages: BTreeMap<String, StageSeconds>,
    /// Estimated distinct keys of the output.
    pub distinct_estimate: Option<u64>,
    /// The estimator itself (hexadecimal registers), to be united by a later step.
    pub hll: Option<Distinct>,
    /// Fingerprint of the input.
    pub input_fingerprint: Option<String>,
    /// Fingerprint of the rule that made the rows.
    pub rule_fingerprint: Option<String>,
    /// The file this describes.
    pub output: Option<Output>,
    /// Counts only this tool has, e.g. `sites_masked`.
    pub counts: BTreeMap<String, u64>,
    /// Texts only this tool has, e.g. `strategy`.
    pub extra: BTreeMap<String, String>,
}

/// The file a sidecar describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// File name without directory.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// xxh3-128 of its bytes, hexadecimal.
    pub xxh3_128: String,
}

/// CPU and wall seconds of one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageSeconds {
    /// CPU time, summed over threads.
    pub cpu_seconds: f64,
    /// Wall time, summed over threads.
    pub wall_seconds: f64,
}

/// A sidecar that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// The file cannot be read.
    #[error("cannot read the sidecar")]
    Read(#[source] std::io::Error),
    /// The file is not a sidecar of this version.
    #[error("`{path}` is not a sidecar this version understands")]
    Form {
        /// The sidecar.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Its `schema` key names another version.
    #[error("`{path}` has sidecar schema `{found}`, expected `{SCHEMA}`")]
    Version {
        /// The sidecar.
        path: PathBuf,
        /// Its `schema`.
        found: String,
    },
    /// A count that no run can have: it was changed after it was written.
    #[error("`{path}` is damaged: it counts {count} of something")]
    TooMany {
        /// The sidecar.
        path: PathBuf,
        /// The count.
        count: u64,
    },
    /// Its counts contradict each other: it was changed after it was written.
    #[error(
        "`{path}` is damaged: {rows_in} rows in are not {rows_done} done and {rejected} rejected"
    )]
    Counts {
        /// The sidecar.
        path: PathBuf,
        /// Rows read.
        rows_in: u64,
        /// Rows that went through.
        rows_done: u64,
        /// Rows that did not.
        rejected: u64,
    },
    /// It cannot be written.
    #[error("cannot write the sidecar")]
    Write(#[from] PublishError),
}

impl Sidecar {
    /// A sidecar with the tool's name and version, the command line, and zeros.
    #[must_use]
    pub fn new(tool: &str) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tool: tool.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            args: std::env::args_os()
                .skip(1)
                .map(|a| a.to_string_lossy().into_owned())
                .collect(),
            ..Self::default()
        }
    }

    /// `<output>.stats.json`.
    #[must_use]
    pub fn path_for(output: &Path) -> PathBuf {
        let mut name = output.as_os_str().to_owned();
        name.push(".stats.json");
        PathBuf::from(name)
    }

    /// Fills in the memory figures and the process's CPU and wall time; call it last.
    pub fn close(&mut self, budget: &Budget, times: &StageTimer) {
        let memory = budget.figures();
        self.memory_limit_bytes = memory.limit.0;
        self.peak_rss_bytes = memory.peak_rss.0;
        self.peak_reserved_bytes = memory.peak_reserved.0;
        self.residual_bytes = memory.residual.0;
        self.cpu_seconds = seconds(cpu_time(ClockId::ProcessCPUTime));
        self.wall_seconds = seconds(times.wall());
        self.stages = times.stages();
    }

    /// Writes it atomically, after checking that no row was lost.
    ///
    /// # Errors
    /// When the file cannot be written.
    ///
    /// # Panics
    /// When `rows_in` is not `rows_done` plus the rejected rows: the tool has lost a row.
    pub fn write(&self, path: &Path) -> Result<(), SidecarError> {
        let rejected = self.rejected();
        assert!(
            Some(self.rows_in) == self.rows_done.checked_add(rejected),
            "rows were lost: {} in, {} done, {rejected} rejected",
            self.rows_in,
            self.rows_done
        );
        let form = |source| SidecarError::Form {
            path: path.to_owned(),
            source,
        };
        let mut text = serde_json::to_vec_pretty(self).map_err(form)?;
        text.push(b'\n');
        publish::write_bytes(path, &text)?;
        Ok(())
    }

    /// Reads a sidecar.
    ///
    /// # Errors
    /// When it cannot be read, has an unknown key, is of another version, or its rows do not add up.
    pub fn read(path: &Path) -> Result<Self, SidecarError> {
        let mut text = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text))
            .map_err(SidecarError::Read)?;
        let sidecar: Self = serde_json::from_slice(&text).map_err(|source| SidecarError::Form {
            path: path.to_owned(),
            source,
        })?;
        if sidecar.schema != SCHEMA {
            let found = sidecar.schema;
            return Err(SidecarError::Version {
                path: path.to_owned(),
                found,
            });
        }
        let single = [
            sidecar.rows_in,
            sidecar.rows_out,
            sidecar.duplicates,
            sidecar.spill_bytes,
        ];
        if let Some(count) = single
            .iter()
            .chain(sidecar.counts.values())
            .find(|count| **count > MOST_COUNT)
        {
            return Err(SidecarError::TooMany {
                path: path.to_owned(),
                count: *count,
            });
        }
        let rejected = sidecar.rejected();
        if Some(sidecar.rows_in) != sidecar.rows_done.checked_add(rejected) {
            return Err(SidecarError::Counts {
                path: path.to_owned(),
                rows_in: sidecar.rows_in,
                rows_done: sidecar.rows_done,
                rejected,
            });
        }
        Ok(sidecar)
    }

    fn rejected(&self) -> u64 {
        let rows = self.rows_rejected.values();
        rows.fold(0, |sum, rows| sum.saturating_add(*rows))
    }
}

/// Adds up CPU and wall time per stage, from any thread. Cloning gives another handle.
#[derive(Clone, Debug)]
pub struct StageTimer {
    start: Instant,
    sums: Arc<Mutex<BTreeMap<&'static str, (Duration, Duration)>>>,
}

impl Default for StageTimer {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            sums: Arc::default(),
        }
    }
}

impl StageTimer {
    /// Starts the wall clock of the whole run.
    #[must_use]
    pub fn start() -> Self {
        Self::default()
    }

    /// Times a stage on this thread until the guard is dropped.
    #[must_use]
    pub fn time(&self, stage: &'static str) -> StageGuard<'_> {
        StageGuard {
            timer: self,
            stage,
            wall: Instant::now(),
            cpu: cpu_time(ClockId::ThreadCPUTime),
        }
    }

    /// Wall time since the start.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.start.elapsed()
    }

    /// The sums so far.
    #[must_use]
    pub fn stages(&self) -> BTreeMap<String, StageSeconds> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.iter()
            .map(|(stage, (cpu, wall))| {
                let sum = StageSeconds {
                    cpu_seconds: seconds(*cpu),
                    wall_seconds: seconds(*wall),
                };
                ((*stage).to_owned(), sum)
            })
            .collect()
    }
}

/// Ends a stage's time when dropped. Must be dropped on the thread that made it.
#[derive(Debug)]
pub struct StageGuard<'a> {
    timer: &'a StageTimer,
    stage: &'static str,
    wall: Instant,
    cpu: Duration,
}

impl Drop for StageGuard<'_> {
    fn drop(&mut self) {
        let cpu = cpu_time(ClockId::ThreadCPUTime).saturating_sub(self.cpu);
        let wall = self.wall.elapsed();
        let mut sums = self
            .timer
            .sums
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry(self.stage).or_default();
        sum.0 += cpu;
        sum.1 += wall;
    }
}

fn cpu_time(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Seconds to the microsecond: more digits are noise.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = Sidecar::path_for(&dir.path().join("products.parquet"));
        assert!(path.ends_with("products.parquet.stats.json"));
        let times = StageTimer::start();
        {
            let _guard = times.time("read");
            assert!((0..2_000_000_u64).map(std::hint::black_box).sum::<u64>() > 0);
        }
        let mut distinct = Distinct::default();
        distinct.insert(77);
        let mut sidecar = Sidecar {
            rows_in: 5,
            rows_done: 3,
            rows_rejected: [("parse".to_owned(), 2)].into(),
            hll: Some(distinct),
            ..Sidecar::new("halo-test")
        };
        let budget =
            Budget::start(halocline_budget::MemoryLimit::new(1 << 30).unwrap(), 0).unwrap();
        sidecar.close(&budget, &times);
        sidecar.write(&path).unwrap();
        let back = Sidecar::read(&path).unwrap();
        assert_eq!(back, sidecar);
        assert!(back.stages["read"].cpu_seconds > 0.0 && back.peak_rss_bytes > 0);
    }

    #[test]
    #[should_panic(expected = "rows were lost: 5 in, 3 done, 1 rejected")]
    fn a_lost_row_stops_the_run() {
        let sidecar = Sidecar {
            rows_in: 5,
            rows_done: 3,
            rows_rejected: [("parse".to_owned(), 1)].into(),
            ..Sidecar::new("halo-test")
        };
        let _ = sidecar.write(Path::new("/nonexistent/x"));
    }

    #[test]
    fn unknown_keys_and_other_versions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.stats.json");
        let mut value = serde_json::to_value(Sidecar::new("halo-test")).unwrap();
        value["schema"] = "halocline.stats/2".into();
        fs::write(&path, value.to_string()).unwrap();
        assert!(matches!(
            Sidecar::read(&path),
            Err(SidecarError::Version { .. })
        ));
        value["schema"] = SCHEMA.into();
        value["counts"] = serde_json::json!({"sites": MOST_COUNT + 1});
        fs::write(&path, value.to_string()).unwrap();
        assert!(matches!(
            Sidecar::read(&path),
            Err(SidecarError::TooMany { .. })
        ));
        value["counts"] = serde_json::json!({"sites": MOST_COUNT});
        value["rows_in"] = 1.into();
        value["rows_rejected"] = serde_json::json!({"parse": u64::MAX, "react": 1});
        value["rows_done"] = 1.into();
        fs::write(&path, value.to_string()).unwrap();
        assert!(matches!(
            Sidecar::read(&path),
            Err(SidecarError::Counts { .. })
        ));
        value["rows_wherever"] = 1.into();
        fs::write(&path, value.to_string()).unwrap();
        assert!(matches!(
            Sidecar::read(&path),
            Err(SidecarError::Form { .. })
        ));
    }
}
