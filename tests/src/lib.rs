//! What the cross-binary tests share: where the workspace and its binaries are, cuts of the demo data, the Python of
//! the oracle, the memory harness, and pipelines under either engine with the real tools or with stand-ins.
//!
//! Not here: anything a crate can test by itself; such tests stand in the crate.
//!
//! Functions of this library are called from tests only and panic with a sentence that says what to do.

#![expect(clippy::print_stderr, reason = "stderr is where a test speaks")]

pub mod memory;
pub mod place;
pub mod process;
pub mod random;
pub mod stand_ins;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The number in an environment variable, when it is set.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_else(|| panic!("{} has no parent", tests.display()))
}

/// The folder of the workspace's binaries: `target/<profile>` of the running test.
///
/// A test executable lies in `target/<profile>/deps`, so this follows `CARGO_TARGET_DIR` and every profile.
pub fn bin_dir() -> PathBuf {
    let test = std::env::current_exe()
        .unwrap_or_else(|e| panic!("the test does not know its own path: {e}"));
    let profile = test.ancestors().nth(2);
    profile
        .map(Path::to_path_buf)
        .unwrap_or_else(|| panic!("{} lies in no target folder", test.display()))
}

/// The path of the binary `name` (`halo-split`, …), built with the profile of the running test.
pub fn bin(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build --workspace --bins` first (with `--release` when the tests run so)",
        path.display()
    );
    path
}

/// A command of the binary `name`, to be run in the root of the checkout.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(bin(name));
    command.current_dir(root()).env_remove("RUST_LOG");
    command
}

/// Runs to the end with output captured; panics with both streams when the exit code is not `code`.
pub fn run_expecting(command: &mut Command, code: i32) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    assert!(
        output.status.code() == Some(code),
        "{command:?} ended with {} instead of code {code}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// Runs to a good end, or panics with everything the command said.
pub fn run(command: &mut Command) -> Output {
    run_expecting(command, 0)
}

/// The interpreter with RDKit 2022.9.5, pyarrow, DuckDB and Polars (`tests/requirements.txt`).
pub fn python() -> PathBuf {
    let python = root().join(".venv-test/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: run `scripts/setup.sh test` first",
        python.display()
    );
    python
}

/// The folder with `snakemake` in it (`workflow/envs/requirements.txt`).
pub fn workflow_bin_dir() -> PathBuf {
    let dir = root().join(".venv/bin");
    assert!(
        dir.join("snakemake").is_file(),
        "{} is missing: run `scripts/setup.sh workflow` first",
        dir.display()
    );
    dir
}

/// The first `per_class` molecules of each class of `data/np_700.tsv`, header line included.
pub fn np_700(per_class: usize) -> String {
    let path = root().join("data/np_700.tsv");
    let text = fs_err::read_to_string(&path).unwrap_or_else(|e| panic!("{e}"));
    let mut taken = std::collections::HashMap::new();
    let mut lines = text.lines();
    let mut cut = String::new();
    cut.extend(lines.next().map(|header| format!("{header}\n")));
    for line in lines {
        let class = line
            .split('\t')
            .nth(2)
            .unwrap_or_else(|| panic!("{}: no class in `{line}`", path.display()));
        let n = taken.entry(class.to_owned()).or_insert(0);
        if *n < per_class {
            *n += 1;
            cut.push_str(line);
            cut.push('\n');
        }
    }
    cut
}

/// Every `step`-th molecule of `data/np_68k.tsv.gz`, `rows` of them, header line included.
pub fn np_68k(step: usize, rows: usize) -> String {
    let path = root().join("data/np_68k.tsv.gz");
    let file = fs_err::File::open(&path).unwrap_or_else(|e| panic!("{e}"));
    let mut lines = std::io::BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    let mut next = || {
        let line = lines.next()?;
        Some(line.unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    let mut cut = next().unwrap_or_default() + "\n";
    let molecules = std::iter::from_fn(next).step_by(step).take(rows);
    molecules.for_each(|line| cut.extend([line.as_str(), "\n"]));
    cut
}

/// Writes `tsv` into `dir` and turns it into a Parquet library with `halo-split`; the path of the library.
pub fn library(dir: &Path, tsv: &str) -> PathBuf {
    let input = dir.join("molecules.tsv");
    fs_err::write(&input, tsv).unwrap_or_else(|e| panic!("{e}"));
    let out = dir.join("library");
    run(command("halo-split")
        .arg(&input)
        .arg("--out-dir")
        .arg(&out)
        .args(["--shards", "1"]));
    out.join("library.parquet")
}

/// A Parquet table as pyarrow, DuckDB and Polars see it (`tests/oracle/tables.py`): `rows`, `columns`, `metadata`, `data`.
/// Panics when they do not agree.
pub fn table(path: &Path) -> serde_json::Value {
    let mut reader = Command::new(python());
    reader.arg(root().join("tests/oracle/tables.py")).arg(path);
    let output = run(&mut reader);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A JSON file.
pub fn json(path: &Path) -> serde_json::Value {
    let text = fs_err::read_to_string(path).unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files below a folder, by their paths in it, with their bytes.
pub fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: &Path| fs_err::read(path).unwrap_or_else(|e| panic!("{e}"));
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs_err::read_dir(&next).unwrap_or_else(|e| panic!("{e}")) {
            let path = entry.unwrap_or_else(|e| panic!("{e}")).path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap_or(&path).to_owned();
                found.insert(name, read(&path));
            }
        }
    }
    found
}

/// A scratch folder inside the target folder of the checkout, removed when dropped.
///
/// Not under `/tmp`, which may be a tmpfs: memory tests would then measure their own spill files.
pub fn scratch() -> tempfile::TempDir {
    let parent = bin_dir().join("tests-scratch");
    fs_err::create_dir_all(&parent).unwrap_or_else(|e| panic!("{e}"));
    tempfile::tempdir_in(&parent)
        .unwrap_or_else(|e| panic!("no scratch folder in {}: {e}", parent.display()))
}
