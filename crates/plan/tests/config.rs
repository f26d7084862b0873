//! A configuration with mistakes names each of them, with line.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::error::Error as _;
use std::path::Path;

use halocline_plan::{Config, ConfigError};

fn shipped() -> String {
    std::fs::read_to_string(format!(
        "{}/../../configs/pipeline.yaml",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("p.yaml"), text)
}

/// The shipped configuration with one change; the error must hold the words and the line changed.
fn refused(from: &str, to: &str, words: &str) {
    let text = shipped();
    assert!(text.contains(from), "{from}");
    let line = text[..text.find(from).unwrap()].lines().count() + 1;
    let error = parse(&text.replacen(from, to, 1)).unwrap_err();
    let shown = format!(
        "{error}: {}",
        error.source().map(ToString::to_string).unwrap_or_default()
    );
    assert!(shown.contains(words), "`{words}` is not in: {shown}");
    assert!(
        shown.contains(&format!("p.yaml:{line}:")),
        "line {line} is not in: {shown}"
    );
}

#[test]
fn the_shipped_configuration_is_accepted() {
    let config = parse(&shipped()).unwrap();
    assert_eq!((config.classes.len(), config.depths), (6, vec![1, 2]));
    assert_eq!(config.limits.len(), 8);
}

/// Snakemake, and the records of finished jobs, compare the names of files as they are spelled.
#[test]
fn another_spelling_of_a_folder_is_the_same_folder() {
    for spelling in [
        "results",
        "./results",
        "results/",
        "results//.",
        "././results",
    ] {
        let text = shipped().replacen("results: results", &format!("results: {spelling}"), 1);
        let results = parse(&text).unwrap().results;
        assert_eq!(results.as_os_str(), "results", "{spelling}");
    }
    let here = shipped().replacen("results: results", "results: ./.", 1);
    assert_eq!(parse(&here).unwrap().results.as_os_str(), ".");
}

#[test]
fn single_mistakes_name_key_and_line() {
    refused(
        "results: results",
        "result: results",
        "unknown field `result`",
    );
    refused(
        "  class_column: class",
        "  klass: class",
        "unknown field `klass`",
    );
    refused("results: results", "results: \"{x}\"", "`results`");
    refused(
        "results: results",
        "results: \"\"",
        "cannot be used as a path",
    );
    refused(
        "results: results",
        "results: --help",
        "cannot be used as a path",
    );
    for path in ["./--help", "././-x", "~/results", "./~", "/", "//"] {
        let results = format!("results: {path}");
        refused("results: results", &results, "cannot be used as a path");
    }
    refused(
        "classes: [polyphenol,",
        "classes: [../polyphenol,",
        "not safe as a file name",
    );
    refused(
        "classes: [polyphenol,",
        "classes: [lipid,",
        "class `lipid` is named twice",
    );
    refused("depths: [1, 2]", "depths: [1, 9]", "expected 1 to 3");
    refused("depths: [1, 2]", "depths: [one]", "invalid");
    refused("depths: [1, 2]", "depths: []", "`depths` is empty");
    refused(
        "  shards: 2                   # per class",
        "  shards: 0",
        "expected 1 to 99999",
    );
    refused(
        "  split_input: {memory: 512MiB",
        "  split_input: {memory: 512",
        "`limits.split_input.memory`: `512` is not a size",
    );
    refused(
        "  report: {memory: 256MiB",
        "  report: {memory: 0MiB",
        "no limit",
    );
    refused(
        "  report: {memory: 256MiB, threads: 1",
        "  report: {memory: 256MiB, threads: 0",
        "`limits.report.threads`",
    );
    refused(
        "  report: {memory",
        "  raport: {memory",
        "unknown variant `raport`",
    );
    refused(
        "  # shards_for: {polyphenol-2X: 400}",
        "  shards_for: {polyphenol-7X: 400} #",
        "no library `polyphenol-7X`",
    );
}

/// Snakemake reads the same file, and takes text in quotes for text and a bare number for a number.
#[test]
fn values_have_the_type_they_are_written_as() {
    let (number, text) = ("expected a whole number without quotes", "expected text (");
    let flag = "expected true or false without quotes";
    refused(
        "  report: {memory: 256MiB, threads: 1",
        "  report: {memory: 256MiB, threads: '1'",
        number,
    );
    for depths in ["['1', 2]", "[1.0, 2]", "[-1, 2]", "[99999999999, 2]"] {
        let depths = format!("depths: {depths}");
        refused("depths: [1, 2]", &depths, number);
    }
    for results in ["5", "1.5", "yes"] {
        let results = format!("results: {results}");
        refused("results: results", &results, text);
    }
    for kept in ["'yes'", "1"] {
        let kept = format!("keep_intermediates: {kept}");
        refused("# keep_intermediates: true", &kept, flag);
    }
    // What is left empty is left out.
    for (from, to) in [
        ("results: results", "results: '5'"),
        ("# keep_intermediates: true", "keep_intermediates:"),
        ("# keep_intermediates: true", "keep_intermediates: yes"),
        ("\nresults:", "\nlibraries:\nresults:"),
        ("  smiles_column: smiles ", "  smiles_column: "),
        (
            "  keep: [id, class]\n  # shards_for",
            "  keep:\n  # shards_for",
        ),
        ("  # shards_for: {polyphenol-2X: 400}", "  shards_for: "),
    ] {
        assert!(shipped().contains(from), "{from}");
        let config = parse(&shipped().replacen(from, to, 1)).unwrap();
        assert_eq!(config.keep_intermediates, to.ends_with(" yes"));
    }
}

#[test]
fn columns_of_the_products_cannot_be_kept_beside_them() {
    for (key, line) in [
        ("halogenate", "  keep: [id, class]           # input"),
        ("transform", "  keep: [id, class]\n  # shards_for"),
    ] {
        for column in halocline_plan::PRODUCT_COLUMNS {
            let with = line.replace("class", column);
            refused(line, &with, &format!("`{key}.keep` names `{column}`"));
        }
    }
    // The names are those of the tables (crates/table), which this crate cannot ask: it would need all of Arrow.
    let schema = include_str!("../../table/src/schema.rs");
    let constant = |line: &'static str| {
        let (_, value) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
        value.strip_suffix("\";")
    };
    let named: Vec<&str> = schema.lines().filter_map(constant).collect();
    assert_eq!(named[0], "1", "the version of the schema");
    assert_eq!(named[1..], halocline_plan::PRODUCT_COLUMNS);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = shipped()
        .replace("512MiB", "512")
        .replace("depths: [1, 2]", "depths: [0]")
        .replace(
            "  report: {memory: 256MiB, threads: 1, runtime_minutes: 30, disk: 1GB}\n",
            "",
        );
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.contains("has 8 problems"), "{error}");
    assert!(error.contains("no entry for step `report`"), "{error}");
}

#[test]
fn libraries_must_be_of_known_classes_and_depths() {
    let with =
        |entry: &str| shipped().replace("\nresults:", &format!("\nlibraries: {entry}\n\nresults:"));
    assert_eq!(
        parse(&with("{lipid: {1: a.parquet}}"))
            .unwrap()
            .libraries
            .len(),
        1
    );
    for (entry, words) in [
        ("{lipids: {1: a.parquet}}", "names class `lipids`"),
        ("{lipid: {3: a.parquet}}", "names depth `3`"),
        ("{lipid: {x: a.parquet}}", "names depth `x`"),
    ] {
        let error = parse(&with(entry)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let start = shipped().find("input:").unwrap();
    let end = shipped().find("# Ready").unwrap();
    let without_input = format!("{}{}", &shipped()[..start], &shipped()[end..]);
    let error = parse(&without_input).unwrap_err().to_string();
    assert!(
        error.contains("no `input`") && error.contains("`polyphenol-1X`"),
        "{error}"
    );
}

#[test]
fn fingerprints_are_of_content_and_cost_one_reading() {
    use halocline_plan::fingerprint::{Cache, of_bytes};
    let dir = tempfile::tempdir().unwrap();
    let (file, store) = (dir.path().join("a"), dir.path().join("store/cache.json"));
    std::fs::write(&file, "content").unwrap();
    let mut cache = Cache::open(&store);
    assert_eq!(cache.fingerprint(&file).unwrap(), of_bytes(b"content"));
    cache.save();
    // touched: same content, same fingerprint
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    std::fs::File::options()
        .append(true)
        .open(&file)
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_eq!(
        Cache::open(&store).fingerprint(&file).unwrap(),
        of_bytes(b"content")
    );
    std::fs::write(&file, "other").unwrap();
    assert_eq!(
        Cache::open(&store).fingerprint(&file).unwrap(),
        of_bytes(b"other")
    );
    // a remembered fingerprint is not recomputed
    let stale = std::fs::read_to_string(&store)
        .unwrap()
        .replace(&of_bytes(b"content"), "remembered");
    std::fs::write(&file, "content").unwrap();
    let mut cache = Cache::open(&store);
    cache.fingerprint(&file).unwrap();
    cache.save();
    let text = std::fs::read_to_string(&store).unwrap();
    assert_ne!(stale, text);
    std::fs::write(&store, text.replace(&of_bytes(b"content"), "remembered")).unwrap();
    assert_eq!(
        Cache::open(&store).fingerprint(&file).unwrap(),
        "remembered"
    );
    assert!(cache.fingerprint(dir.path()).is_err());
    // rubbish in the cache is an empty cache
    std::fs::write(&store, "{").unwrap();
    assert_eq!(
        Cache::open(&store).fingerprint(&file).unwrap(),
        of_bytes(b"content")
    );
}
