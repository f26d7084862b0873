//! YAML under limits: small files only, shallow, few aliases, duplicate keys refused, and errors
//! that carry the line. Used for rule files here and for the pipeline's configuration in `plan`.
//!
//! The parser's own limits (`serde_saphyr::budget`) count events, nodes, depth and alias replays;
//! they do not limit text that is already in memory, so the size of the file is checked first.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;

use crate::RulesError;

/// Largest YAML file, in bytes. The users' rules take 8 KB.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads a YAML file as text, refusing more than [`MAX_FILE_BYTES`] without reading them.
///
/// # Errors
/// I/O errors (with path), a file too large, text that is not UTF-8.
pub fn read(path: &Path) -> Result<String, RulesError> {
    use std::io::Read;
    let unread = |source| RulesError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unread)?;
    let mut bytes = Vec::new();
    // One byte more than allowed: growth between a size query and the read cannot slip through.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let on_disk = std::fs::metadata(path).map_or(bytes.len() as u64, |m| m.len());
        let bytes = on_disk.max(MAX_FILE_BYTES + 1);
        return Err(RulesError::TooLarge {
            path: path.to_owned(),
            bytes,
            limit: MAX_FILE_BYTES,
        });
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count();
        RulesError::Invalid {
            path: path.to_owned(),
            line: line as u64,
            message: "not UTF-8 text".into(),
        }
    })
}

/// Parses one YAML document. `path` only names it in errors.
///
/// # Errors
/// [`RulesError::Yaml`] with line and column.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, RulesError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_nodes: 100_000,
            max_depth: 16,
            max_documents: 1,
            max_aliases: 64,
            max_anchors: 64,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1 << 20,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        let (line, column) = e.location().map_or((0, 0), |l| (l.line(), l.column()));
        // The place stands in front of our message; the parser repeats it behind its own.
        let rendered = e.render();
        let place = format!(" at line {line}, column {column}");
        let message = rendered
            .strip_suffix(&place)
            .unwrap_or(&rendered)
            .replace('\n', " ");
        RulesError::Yaml {
            path: path.to_owned(),
            line,
            column,
            message,
        }
    })
}

/// Line a value was written on, from 1.
#[must_use]
pub fn line<T>(value: &Spanned<T>) -> u64 {
    value.referenced.line()
}
