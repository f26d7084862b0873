//! What can be wrong with a rule file, in words that name file, line and remedy.

use std::path::PathBuf;

/// Why a rule file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// The file could not be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// File.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any sensible rule file.
    #[error("{}: {bytes} bytes, but a YAML file here may have at most {limit}", path.display())]
    TooLarge {
        /// File.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Not valid YAML, not of the expected shape, an unknown key, or a YAML bomb.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Yaml {
        /// File.
        path: PathBuf,
        /// Line, from 1 (0: unknown).
        line: u64,
        /// Column, from 1 (0: unknown).
        column: u64,
        /// The parser's words.
        message: String,
    },
    /// Well-formed, but a value is not allowed.
    #[error("{}:{line}: {message}", path.display())]
    Invalid {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// Neither `transforms:` nor `reactions:` (or both) at the top.
    #[error("{}: neither a transforms file (top-level key `transforms`) nor a halogens file (`reactions`, `halogens`, `classes`)", path.display())]
    UnknownFormat {
        /// File.
        path: PathBuf,
    },
    /// No rule of the file names the class.
    #[error("class `{class}` is not in {}\nhint: known classes: {known}", path.display())]
    UnknownClass {
        /// File.
        path: PathBuf,
        /// The class asked for.
        class: String,
        /// Known classes, comma separated.
        known: String,
    },
    /// The class is switched off in the file.
    #[error("class `{class}` is disabled in {}", path.display())]
    DisabledClass {
        /// File.
        path: PathBuf,
        /// The class asked for.
        class: String,
    },
    /// No rule of that name.
    #[error("rule `{rule}` is not in {}\nhint: known rules: {known}", path.display())]
    UnknownRule {
        /// File.
        path: PathBuf,
        /// The rule asked for.
        rule: String,
        /// Known rules, comma separated.
        known: String,
    },
    /// The rule exists, or not, but not for that class and depth.
    #[error("rule `{rule}` does not apply to class `{class}` in {}\nhint: rules in scope: {known}", path.display())]
    NotInScope {
        /// File.
        path: PathBuf,
        /// The class asked for.
        class: String,
        /// The rule asked for.
        rule: String,
        /// Rules in scope, comma separated.
        known: String,
    },
    /// Depth counts substitutions.
    #[error("depth 0 means no substitution; it must be at least 1")]
    DepthZero,
}
