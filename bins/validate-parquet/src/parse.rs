//! Do the SMILES of a sample parse? RDKit is asked where it is at hand: by running
//! `halo-transform-shard`, when it lies beside this program, over the sample with a rule that
//! matches nothing. It parses every parent and rejects, with the reason, what does not parse, kills
//! RDKit or hangs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use halocline_budget::{Budget, SpillDir};
use halocline_table::schema::SMILES;
use halocline_table::{
    Kind, Meta, ReadOptions, TableReader, TableWriter, WriterOptions, publish, text_column,
};

use crate::verdict::{Code, Verdict};

/// Most rows of a sample: as many as RDKit parses in the time its process takes to start.
const SAMPLE_ROWS: u64 = 200;
/// Most bytes of its SMILES.
const SAMPLE_BYTES: usize = 1 << 20;
/// What `halo-transform-shard` asks for here, with room to spare (2026-11: 64 MiB).
const CHILD_BYTES: u64 = 96 << 20;
const PROGRAM: &str = "halo-transform-shard";
const RULE: &str = "NONE";
/// No product has a bond between two atoms of uranium in it.
const RULES: &str = "defaults: {exclude_sugar_like: false}
transforms:
  - {name: NONE, scope_classes: [any], smirks: \"[U:1][U:2]>>[U:1].[U:2]\"}
";

/// SMILES of rows at equal distances.
pub(crate) struct Sample {
    step: u64,
    rows: Vec<u64>,
    smiles: Vec<String>,
    bytes: usize,
}

impl Sample {
    pub(crate) fn new(rows: u64) -> Self {
        Self {
            step: rows.div_ceil(SAMPLE_ROWS).max(1),
            rows: Vec::new(),
            smiles: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn see(&mut self, row: u64, smiles: &str) {
        if row.is_multiple_of(self.step) && self.bytes + smiles.len() <= SAMPLE_BYTES {
            self.bytes += smiles.len();
            self.rows.push(row);
            self.smiles.push(smiles.to_owned());
        }
    }

    /// No row was seen.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Has the sample parsed, and says in the verdict what came of it, or why it was not done.
    pub(crate) fn check(
        self,
        budget: &Budget,
        spill: &SpillDir,
        verdict: &mut Verdict,
    ) -> anyhow::Result<()> {
        let mut skipped = |why: &str| {
            let text = format!("{why}; characters and brackets of every SMILES were checked");
            verdict.skipped("smiles_parse", &text);
        };
        let program = std::env::current_exe().ok().and_then(|own| {
            let path = own.parent()?.join(PROGRAM);
            path.is_file().then_some(path)
        });
        let Some(program) = program else {
            skipped("no RDKit at hand: no halo-transform-shard beside this program");
            return Ok(());
        };
        let left = budget
            .limit()
            .bytes()
            .saturating_sub(halocline_budget::rss::current_bytes());
        if left < CHILD_BYTES {
            skipped("the memory limit leaves no room for RDKit");
            return Ok(());
        }
        if self.is_empty() {
            skipped("no row to parse");
            return Ok(());
        }
        let faults = match self.ask(&program, &Folder::create(spill.path())?)? {
            Ok(faults) => faults,
            Err(said) => {
                skipped(&format!("{PROGRAM} could not be asked ({said})"));
                return Ok(());
            }
        };
        verdict.smiles_parsed = Some(self.rows.len() as u64);
        for (place, reason) in faults {
            let row = usize::try_from(place).ok().and_then(|p| self.rows.get(p));
            let row =
                row.with_context(|| format!("{PROGRAM} rejected row {place} of the sample"))?;
            let message = format!("the SMILES of row {row} does not parse: {reason}");
            verdict.fail(Code::SmilesParse, message);
        }
        verdict.conclude("smiles_parse", &[Code::SmilesParse]);
        Ok(())
    }

    /// The rows of the sample that do not parse, and why; the inner error is the program's.
    fn ask(
        &self,
        program: &Path,
        folder: &Folder,
    ) -> anyhow::Result<Result<Vec<(i64, String)>, String>> {
        let (table, rules, out) = (
            folder.0.join("sample.parquet"),
            folder.0.join("rules.yaml"),
            folder.0.join("out"),
        );
        let schema = Arc::new(Schema::new(vec![Field::new(SMILES, DataType::Utf8, false)]));
        let column = Arc::new(StringArray::from_iter_values(&self.smiles));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
        let meta = Meta::new(Kind::Library);
        let mut writer = TableWriter::create(&table, &schema, &meta, WriterOptions::default())?;
        writer.write(&batch)?;
        writer.finish()?;
        publish::write_bytes(&rules, RULES.as_bytes())?;
        let mut child = Command::new(program);
        child.arg("--input").arg(&table).arg("--rules").arg(&rules);
        child.args(["--rule", RULE, "--out-dir"]).arg(&out);
        child.args(["--row-timeout", "60", "-qq", "--memory-limit"]);
        child.arg(format!("{CHILD_BYTES}B"));
        // It ends when this process does, however that ends.
        let own = std::process::id().to_string();
        child.env(halocline_cli::PARENT_VARIABLE, own);
        child.stdin(Stdio::null());
        let ended = child.output();
        let ended = ended.with_context(|| format!("cannot run `{}`", program.display()))?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr);
            let last = said.lines().last().unwrap_or_default().to_owned();
            return Ok(Err(if last.is_empty() {
                ended.status.to_string()
            } else {
                last
            }));
        }
        let rejects = TableReader::open(out.join("rejects.parquet"))?;
        let options = ReadOptions {
            columns: Some(vec!["row".to_owned(), "reason".to_owned()]),
            ..ReadOptions::default()
        };
        let mut faults = Vec::new();
        for batch in rejects.batches(options)? {
            let batch = batch?;
            let reasons = text_column(&batch, "reason")?;
            let rows = batch.column(0).as_primitive_opt::<Int64Type>();
            let rows = rows.context("the rejects have no numbers of rows")?;
            for (row, reason) in rows.values().iter().zip(reasons.iter()) {
                faults.push((*row, reason.unwrap_or_default().to_owned()));
            }
        }
        Ok(Ok(faults))
    }
}

/// A folder of this process, removed when dropped, by [`stop`], or by the next one to make such a
/// folder in the same place.
struct Folder(PathBuf);

static OPEN: Mutex<Option<PathBuf>> = Mutex::new(None);
const PREFIX: &str = ".halo-smiles-";
/// After this long a folder was left by a process that was killed; a check takes seconds.
const LEFT: Duration = Duration::from_secs(24 * 3600);

/// Removes the folder of a check under way: for signals.
pub fn stop() {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(folder) = open {
        // Nothing can be done about a failure while dying; the next run sweeps.
        let _ = std::fs::remove_dir_all(folder);
    }
}

impl Folder {
    fn create(parent: &Path) -> anyhow::Result<Self> {
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let ours = name
                .to_str()
                .is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(".tmp"));
            // By age: the process that made it may live where its number cannot be asked for.
            let age = entry.metadata().and_then(|m| m.modified()).ok();
            let old = age.and_then(|t| t.elapsed().ok()).is_some_and(|t| t > LEFT);
            if ours && old {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let unique = now.unwrap_or_default().as_nanos();
        let path = parent.join(format!("{PREFIX}{}-{unique}.tmp", std::process::id()));
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::create_dir(&path)
            .with_context(|| format!("cannot make the folder `{}`", path.display()))?;
        *open = Some(path.clone());
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        stop();
    }
}
