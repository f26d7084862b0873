//! A folder in which the whole pipeline runs on a cut of the demo's molecules, under either engine.

use crate::{bin_dir, command, np_700, root, workflow_bin_dir};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Transform jobs of the demo.
pub const JOBS: usize = 118;
/// Libraries of the demo: six classes, two depths.
pub const LIBRARIES: usize = 12;

/// The demo's configuration with a smaller input and its own results.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    /// Makes the folder, with `per_class` molecules of each class as input.
    pub fn new(dir: PathBuf, per_class: usize) -> Self {
        let write = |name: &str, text: &str| {
            fs_err::write(dir.join(name), text).unwrap_or_else(|e| panic!("{e}"));
        };
        fs_err::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
        write("molecules.tsv", &np_700(per_class));
        let demo = root().join("configs/pipeline.yaml");
        let text = fs_err::read_to_string(demo).unwrap_or_else(|e| panic!("{e}"));
        let changed = text
            .replace("path: data/np_700.tsv", "path: molecules.tsv")
            .replace(
                ": configs/",
                &format!(": {}/", root().join("configs").display()),
            );
        let known = changed.contains("path: molecules.tsv") && changed.contains("results: results");
        assert!(known, "the demo's configuration has another form now");
        write("pipeline.yaml", &changed);
        Self { dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of the results.
    pub fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    /// `halo-drive run`.
    pub fn drive(&self) -> Command {
        let mut drive = command("halo-drive");
        drive
            .args(["run", "--config", "pipeline.yaml", "--cores", "2"])
            .current_dir(&self.dir);
        drive
    }

    /// `snakemake`.
    pub fn snakemake(&self) -> Command {
        let mut path = vec![workflow_bin_dir(), bin_dir()];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let path = std::env::join_paths(path).unwrap_or_else(|e| panic!("{e}"));
        let mut snakemake = Command::new(workflow_bin_dir().join("snakemake"));
        snakemake.env("PATH", path).env("HALOCLINE_BIN", bin_dir());
        snakemake
            .env("XDG_CACHE_HOME", self.dir.join("cache"))
            .current_dir(&self.dir);
        snakemake.arg("--snakefile").arg(root().join("Snakefile"));
        snakemake.args(["--configfile", "pipeline.yaml", "--cores", "2"]);
        snakemake
    }

    /// All final tables, by their path in the folder.
    pub fn products(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for part in ["library", "transforms"] {
            for entry in
                fs_err::read_dir(self.results().join(part)).unwrap_or_else(|e| panic!("{e}"))
            {
                let entry = entry.unwrap_or_else(|e| panic!("{e}"));
                let name = Path::new(part)
                    .join(entry.file_name())
                    .join("products.parquet");
                let bytes =
                    fs_err::read(self.results().join(&name)).unwrap_or_else(|e| panic!("{e}"));
                found.insert(name, bytes);
            }
        }
        assert_eq!(
            found.len(),
            LIBRARIES + JOBS,
            "final tables in {}",
            self.dir.display()
        );
        found
    }

    /// Temporary files that were left anywhere in the results.
    pub fn temporaries(&self) -> Vec<PathBuf> {
        fn below(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs_err::read_dir(dir).unwrap_or_else(|e| panic!("{e}")) {
                let path = entry.unwrap_or_else(|e| panic!("{e}")).path();
                if path.is_dir() {
                    below(&path, found);
                } else if path.extension().is_some_and(|e| e == "tmp") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        below(&self.results(), &mut found);
        found
    }

    /// The report's JSON.
    pub fn report(&self) -> PathBuf {
        self.results().join("report/transform_pipeline_report.json")
    }
}
