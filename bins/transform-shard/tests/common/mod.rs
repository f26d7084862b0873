//! What the tests of this binary share: small libraries, the binary itself, and tables as plain values.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test file is a crate of its own and uses a part of this; helpers of tests may panic"
)]

use std::ffi::OsString;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use halocline_cli::sidecar::Sidecar;
use halocline_table::plan_file::{PLAN_SCHEMA, Plan, Shard};
use halocline_table::{
    Kind, Meta, ReadOptions, TableReader, TableWriter, WriterOptions, file_digest, footer_digest,
};

pub(crate) const OME: &str = "FG_PHENOL_OH__OH__TO__OMe";
pub(crate) const COCL: &str = "FG_CARBOXYL__COOH__TO__COCl";

/// A path in the checkout.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

pub(crate) fn transforms() -> PathBuf {
    root("configs/transforms.yaml")
}

pub(crate) fn halogens() -> PathBuf {
    root("configs/halogens.yaml")
}

/// The ids of all 19 transform rules, in file order.
pub(crate) fn all_rules() -> Vec<String> {
    let text = std::fs::read_to_string(transforms()).unwrap();
    let names: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "))
        .map(str::to_owned)
        .collect();
    assert_eq!(names.len(), 19);
    names
}

/// Writes a library with the columns `smiles`, `k` (int64, nullable) and `class`.
pub(crate) fn library<S: AsRef<str>>(path: &Path, smiles: &[S]) {
    let rows: Vec<Option<&str>> = smiles.iter().map(|s| Some(s.as_ref())).collect();
    library_with_nulls(path, &rows);
}

pub(crate) fn library_with_nulls(path: &Path, smiles: &[Option<&str>]) {
    let schema = Arc::new(Schema::new(vec![
        Field::new("smiles", DataType::Utf8, true),
        Field::new("k", DataType::Int64, true),
        Field::new("class", DataType::Utf8, true),
    ]));
    let k: Int64Array = (0..smiles.len() as i64)
        .map(|i| (i % 7 != 3).then_some(i * 10))
        .collect();
    let class: StringArray = (0..smiles.len())
        .map(|i| Some(["one", "two"][i % 2]))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(smiles.iter().copied().collect::<StringArray>()),
        Arc::new(k),
        Arc::new(class),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut writer = TableWriter::create(
        path,
        &schema,
        &Meta::new(Kind::Library),
        WriterOptions::default(),
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

/// (SMILES, class) of the demo molecules.
pub(crate) fn np_700() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root("data/np_700.tsv")).unwrap();
    text.lines().skip(1).map(molecule).collect()
}

/// (SMILES, class) of `rows` molecules spread evenly over the 68,000 of the benchmark data.
pub(crate) fn np_68k(rows: usize) -> Vec<(String, String)> {
    let file = std::fs::File::open(root("data/np_68k.tsv.gz")).unwrap();
    let lines = std::io::BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    let all: Vec<String> = lines.skip(1).map(Result::unwrap).collect();
    (0..rows)
        .map(|i| molecule(&all[i * all.len() / rows]))
        .collect()
}

fn molecule(line: &str) -> (String, String) {
    let fields: Vec<&str> = line.split('\t').collect();
    (fields[1].to_owned(), fields[2].to_owned())
}

/// The first `rows` demo molecules of a class.
pub(crate) fn of_class(class: &str, rows: usize) -> Vec<String> {
    np_700()
        .into_iter()
        .filter(|(_, c)| c == class)
        .map(|(smiles, _)| smiles)
        .take(rows)
        .collect()
}

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_halo-transform-shard"));
    command.env_remove("RUST_LOG").arg("--no-progress");
    command
}

/// Arguments from texts and paths alike.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { [$(std::ffi::OsString::from(&$arg)),*] };
}

/// Arguments for all rows of a library, and `more`.
pub(crate) fn job(input: &Path, rules: &Path, out: &Path, more: &[OsString]) -> Vec<OsString> {
    let mut args = args!["--input", input, "--rules", rules, "--out-dir", out].to_vec();
    args.extend_from_slice(more);
    args
}

/// The same for a plan.
pub(crate) fn planned(plan: &Path, rules: &Path, out: &Path, more: &[OsString]) -> Vec<OsString> {
    let mut args = args!["--plan", plan, "--rules", rules, "--out-dir", out].to_vec();
    args.extend_from_slice(more);
    args
}

/// All rows through the transform rules of one class.
pub(crate) fn polyphenols(library: &Path, out: &Path) -> Vec<OsString> {
    job(library, &transforms(), out, &args!["--class", "polyphenol"])
}

/// The names of all 19 transform rules, as arguments.
pub(crate) fn every_rule() -> Vec<OsString> {
    let mut args = args!["--rule"].to_vec();
    args.extend(all_rules().into_iter().map(OsString::from));
    args
}

pub(crate) fn output(args: &[OsString]) -> Output {
    command().args(args).output().unwrap()
}

/// Runs to a good end; stdout.
pub(crate) fn done(args: &[OsString]) -> String {
    let output = output(args);
    assert!(
        output.status.success(),
        "{args:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs to an end with code 2; stderr.
pub(crate) fn fails(args: &[OsString]) -> String {
    let output = output(args);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    stderr
}

/// One row of a product table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProductRow {
    pub(crate) smiles: String,
    pub(crate) source: String,
    pub(crate) row: i64,
    pub(crate) rule: String,
    pub(crate) site: i32,
    pub(crate) atoms: Vec<i32>,
}

/// One row of a rejects table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RejectRow {
    pub(crate) row: i64,
    pub(crate) smiles: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) stage: String,
    pub(crate) site: Option<i32>,
    pub(crate) reason: String,
}

pub(crate) fn batches(path: &Path) -> Vec<RecordBatch> {
    let table = TableReader::open(path).unwrap();
    let all: Result<Vec<_>, _> = table.batches(ReadOptions::default()).unwrap().collect();
    all.unwrap()
}

pub(crate) fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(name).unwrap();
    let text = arrow::compute::cast(column, &DataType::Utf8).unwrap();
    text.as_string::<i32>()
        .iter()
        .map(|v| v.map(str::to_owned))
        .collect()
}

pub(crate) fn products(path: &Path) -> Vec<ProductRow> {
    let mut rows = Vec::new();
    for batch in batches(path) {
        let smiles = texts(&batch, "smiles");
        let source = texts(&batch, "source_smiles");
        let rule = texts(&batch, "xf_rule_id");
        let row = batch["source_row"].as_primitive::<Int64Type>();
        let site = batch["xf_site_index"].as_primitive::<Int32Type>();
        let atoms = batch["xf_site_atoms"].as_list::<i32>();
        for i in 0..batch.num_rows() {
            rows.push(ProductRow {
                smiles: smiles[i].clone().unwrap(),
                source: source[i].clone().unwrap(),
                row: row.value(i),
                rule: rule[i].clone().unwrap(),
                site: site.value(i),
                atoms: atoms.value(i).as_primitive::<Int32Type>().values().to_vec(),
            });
        }
    }
    rows
}

pub(crate) fn rejects(dir: &Path) -> Vec<RejectRow> {
    let mut rows = Vec::new();
    for batch in batches(&dir.join("rejects.parquet")) {
        let smiles = texts(&batch, "smiles");
        let rule = texts(&batch, "rule");
        let stage = texts(&batch, "stage");
        let reason = texts(&batch, "reason");
        let row = batch["row"].as_primitive::<Int64Type>();
        let site = batch["site_index"].as_primitive::<Int32Type>();
        for i in 0..batch.num_rows() {
            rows.push(RejectRow {
                row: row.value(i),
                smiles: smiles[i].clone(),
                rule: rule[i].clone(),
                stage: stage[i].clone().unwrap(),
                site: site.is_valid(i).then(|| site.value(i)),
                reason: reason[i].clone().unwrap(),
            });
        }
    }
    rows
}

pub(crate) fn sidecar(path: &Path) -> Sidecar {
    Sidecar::read(&Sidecar::path_for(path)).unwrap()
}

pub(crate) fn shard_sidecar(dir: &Path) -> Sidecar {
    Sidecar::read(&dir.join("shard.stats.json")).unwrap()
}

/// Name and digest of every Parquet file in `dir` and its folders, sorted.
pub(crate) fn tables(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.push((name, file_digest(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// A plan that cuts `library` into shards that end at these rows.
pub(crate) fn plan(path: &Path, library: &Path, ends: &[u64]) {
    let mut start = 0;
    let shards = ends.iter().enumerate().map(|(index, &end)| {
        let shard = Shard {
            index: index as u64,
            start,
            end,
            cost: 1.0,
        };
        start = end;
        shard
    });
    let plan = Plan {
        schema: PLAN_SCHEMA.to_owned(),
        input: library.to_owned(),
        input_rows: TableReader::open(library).unwrap().rows(),
        input_fingerprint: file_digest(library).unwrap(),
        input_footer: footer_digest(library).unwrap(),
        smiles_column: "smiles".to_owned(),
        shards: shards.collect(),
    };
    plan.write(path).unwrap();
}

/// A parent with an odd number of phenolic hydroxyls: hydroquinones in a chain.
pub(crate) fn phenols(n: usize) -> String {
    assert!(n % 2 == 1);
    format!("{}Cc1ccc(O)cc1", "Cc1cc(O)c(cc1O)".repeat(n / 2))
}

/// A parent with 12 n + 1 heavy atoms: a peptide of tyrosine.
pub(crate) fn heavy_atoms(n: usize) -> String {
    assert!(n % 12 == 1);
    format!("{}O", "N[C@@H](Cc1ccc(O)cc1)C(=O)".repeat(n / 12))
}
