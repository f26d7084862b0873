//! The header of the input table, asked before anything runs: whether it has the columns that the configuration names.
//! One line, of text tables that have a header (.csv, .tsv, plain or .gz); halo-split checks every table when it reads it,
//! and its reader of tables would bring all of Arrow into this program.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context as _, bail};
use halocline_plan::Config;

/// Longest header that is read.
const MOST_BYTES: u64 = 1 << 20;

/// Refuses an input table whose header lacks a column that the configuration names, or has one twice.
///
/// # Errors
/// That, or a file that cannot be read.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    let Some(input) = &config.input else {
        return Ok(());
    };
    let name = input.path.to_string_lossy();
    let plain = name.strip_suffix(".gz");
    let table = plain.unwrap_or(&name);
    let names = if table.ends_with(".tsv") {
        let line = first_line(&input.path, plain.is_some())?;
        line.split('\t').map(str::to_owned).collect()
    } else if table.ends_with(".csv") {
        fields(&first_line(&input.path, plain.is_some())?)
    } else {
        return Ok(());
    };
    let class = ("input.class_column", Some(&input.class_column));
    let smiles = ("input.smiles_column", input.smiles_column.as_ref());
    let keep = config.halogenate.keep.iter();
    let keep = keep.map(|column| ("halogenate.keep", Some(column)));
    for (key, column) in [class, smiles].into_iter().chain(keep) {
        if let Some(column) = column
            && !names.contains(column)
        {
            bail!(
                "the input table `{name}` has no column `{column}` ({key} in `{}`); its columns are {}",
                config.path.display(),
                names.join(", ")
            );
        }
    }
    let twice = (1..names.len()).find(|n| names[..*n].contains(&names[*n]));
    if let Some(n) = twice {
        bail!(
            "the input table `{name}` has more than one column `{}`",
            names[n]
        );
    }
    Ok(())
}

fn first_line(path: &Path, compressed: bool) -> anyhow::Result<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let content: Box<dyn Read> = if compressed {
            Box::new(flate2::read::MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let mut line = Vec::new();
        BufReader::new(content.take(MOST_BYTES)).read_until(b'\n', &mut line)?;
        Ok(line)
    };
    let line = read().with_context(|| format!("cannot read `{}`", path.display()))?;
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    let line = String::from_utf8_lossy(line);
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The fields of one line of CSV, quoted as RFC 4180 says.
fn fields(line: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).from_reader(line.as_bytes());
    let record = reader.into_records().next().and_then(Result::ok);
    let fields = record.iter().flatten();
    fields.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_csv_header() {
        assert_eq!(fields("id,smiles"), ["id", "smiles"]);
        assert_eq!(fields(r#"id,"a, ""b""",c"#), ["id", r#"a, "b""#, "c"]);
        assert_eq!(fields("a,"), ["a", ""]);
        assert!(fields("").is_empty());
    }
}
