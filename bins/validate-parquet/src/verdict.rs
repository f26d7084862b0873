//! The verdict: what was checked, what failed, one code per kind of failure.

use std::collections::BTreeMap;
use std::path::Path;

use halocline_budget::Budget;
use serde::Serialize;

/// Value of the `schema` key.
pub const SCHEMA: &str = "halocline.verdict/1";

/// One kind of failure. In JSON in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Zero bytes.
    EmptyFile,
    /// It does not begin like Parquet.
    NotParquet,
    /// It ends without a footer.
    NoFooter,
    /// The footer cannot be decoded or contradicts itself or the file.
    FooterDamaged,
    /// The halocline metadata is missing or strange.
    Metadata,
    /// It holds what `--repair` saved of a damaged file: rows may be missing.
    Salvaged,
    /// Written under another version of the schema.
    SchemaVersion,
    /// Products of another rule than expected, in the metadata or in the rows.
    RuleMismatch,
    /// A column that must be there is not.
    MissingColumn,
    /// A column that must not be there is, or stands in the wrong place.
    ExtraColumn,
    /// A column has another type than promised.
    WrongType,
    /// The sidecar cannot be read.
    Sidecar,
    /// The sidecar says another number of rows.
    RowCount,
    /// The sidecar says another size.
    FileSize,
    /// The sidecar says another digest.
    Digest,
    /// A page without a checksum in a file that promises them.
    CrcMissing,
    /// A page whose bytes do not have its checksum.
    CrcMismatch,
    /// A page header that is broken, or pages that do not fill their chunk.
    PageHeader,
    /// Pages that cannot be decoded.
    Unreadable,
    /// A null where none may be.
    NullValue,
    /// A SMILES that is empty or cannot be one by its characters and brackets.
    SmilesText,
    /// A SMILES of the sample that RDKit does not parse.
    SmilesParse,
    /// Rows that are not in order.
    Disorder,
    /// Keys that are there more than once.
    DuplicateKey,
}

/// A failure and how often it was met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its kind.
    pub code: Code,
    /// One sentence: the first of its kind.
    pub message: String,
    /// How many of its kind were seen.
    pub count: u64,
}

/// What is written as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    schema: &'static str,
    tool_version: &'static str,
    file: String,
    /// No failure.
    valid: bool,
    /// Rows the footer promises.
    pub rows: Option<u64>,
    /// Row groups.
    pub row_groups: Option<u64>,
    /// Size of the file.
    pub bytes: Option<u64>,
    /// xxh3-128 of the file.
    pub xxh3_128: Option<String>,
    /// Pages whose checksum was computed.
    pub pages_checked: Option<u64>,
    /// Rows whose key had been seen before.
    pub duplicates: Option<u64>,
    /// SMILES of the sample that RDKit was given.
    pub smiles_parsed: Option<u64>,
    /// Each check: `passed`, `failed`, or `skipped: …`.
    checks: BTreeMap<&'static str, String>,
    failures: Vec<Failure>,
    memory_limit_bytes: u64,
    peak_rss_bytes: u64,
    peak_reserved_bytes: u64,
    /// Resident bytes that no reservation accounts for, the most that was seen.
    residual_bytes: u64,
    /// Bytes written to spill files.
    pub spill_bytes: u64,
}

impl Verdict {
    /// Nothing checked yet.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self {
            schema: SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            file: file.display().to_string(),
            valid: true,
            rows: None,
            row_groups: None,
            bytes: None,
            xxh3_128: None,
            pages_checked: None,
            duplicates: None,
            smiles_parsed: None,
            checks: BTreeMap::new(),
            failures: Vec::new(),
            memory_limit_bytes: 0,
            peak_rss_bytes: 0,
            peak_reserved_bytes: 0,
            residual_bytes: 0,
            spill_bytes: 0,
        }
    }

    /// A check that found nothing wrong.
    pub fn passed(&mut self, check: &'static str) {
        self.checks.insert(check, "passed".to_owned());
    }

    /// A check that was not made, and why.
    pub fn skipped(&mut self, check: &'static str, why: &str) {
        self.checks.insert(check, format!("skipped: {why}"));
    }

    /// Marks `check` by whether a failure of one of `codes` was met.
    pub fn conclude(&mut self, check: &'static str, codes: &[Code]) {
        let failed = self.failures.iter().any(|f| codes.contains(&f.code));
        self.checks
            .insert(check, if failed { "failed" } else { "passed" }.to_owned());
    }

    /// A failure; of each kind the first message is kept and all are counted.
    pub fn fail(&mut self, code: Code, message: String) {
        self.fail_many(code, message, 1);
    }

    /// As [`Verdict::fail`], `count` times.
    pub fn fail_many(&mut self, code: Code, message: String, count: u64) {
        self.valid = false;
        match self.failures.iter_mut().find(|f| f.code == code) {
            Some(failure) => failure.count += count,
            None => self.failures.push(Failure {
                code,
                message,
                count,
            }),
        }
    }

    /// Has a failure of this kind been met?
    #[must_use]
    pub fn has(&self, code: Code) -> bool {
        self.failures.iter().any(|f| f.code == code)
    }

    /// The failures met.
    #[must_use]
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    pub(crate) fn close(&mut self, budget: &Budget) {
        let memory = budget.figures();
        self.memory_limit_bytes = memory.limit.0;
        self.peak_rss_bytes = memory.peak_rss.0;
        self.peak_reserved_bytes = memory.peak_reserved.0;
        self.residual_bytes = memory.residual.0;
    }

    /// One sentence for people, or `None` for a valid table.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let first = self.failures.first()?;
        let named = if first.message.contains(&self.file) {
            String::new()
        } else {
            format!("`{}`: ", self.file)
        };
        let more = match self.failures.len() {
            1 => String::new(),
            2 => " (and 1 more kind of failure)".to_owned(),
            n => format!(" (and {} more kinds of failure)", n - 1),
        };
        Some(format!("{named}{}{more}", first.message))
    }
}
