//! A small pipeline whose tools are stand-ins (`tests/stand-ins/halo-fake`), under the real `halo-drive` or Snakemake: for
//! what an engine does around its jobs, where the jobs' own work would only take time.

use crate::{files_below, root, run_expecting, workflow_bin_dir};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Jobs of the pipeline: 1 split, then per class 1 halogenation, 1 merge, 1 split, 1 transform, and 6 + 15 rules merged
/// and validated, and 1 report.
pub const JOBS: usize = 1 + 2 * 4 + 2 * 21 + 1;

/// A product of the pipeline.
pub const PRODUCT: &str =
    "results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet";

/// A folder of its own with two classes at one depth, one batch each.
#[derive(Debug)]
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    /// `drive` is the real halo-drive.
    pub fn new(drive: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("no scratch folder: {e}"));
        let bench = Self { dir };
        for folder in ["bin", "configs", "data"] {
            fs_err::create_dir(bench.path(folder)).unwrap_or_else(|e| panic!("{e}"));
        }
        let link = |target: &Path, tool: &str| {
            let made = symlink(target, bench.path("bin").join(tool));
            made.unwrap_or_else(|e| panic!("{tool}: {e}"));
        };
        let fake = root().join("tests/stand-ins/halo-fake");
        for tool in [
            "halo-split",
            "halo-transform-shard",
            "halo-dedup-merge",
            "halo-validate-parquet",
            "halo-report",
        ] {
            link(&fake, tool);
        }
        link(drive, "halo-drive");
        for name in ["halogens.yaml", "transforms.yaml", "pipeline.yaml"] {
            let copy = bench.path(&format!("configs/{name}"));
            fs_err::copy(root().join("configs").join(name), copy).unwrap_or_else(|e| panic!("{e}"));
        }
        let classes = "[polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]";
        bench.edit("pipeline.yaml", classes, "[lipid, aa_peptide]");
        bench.edit("pipeline.yaml", "depths: [1, 2]", "depths: [1]");
        bench.edit("pipeline.yaml", "  shards: 2 ", "  shards: 1 ");
        bench.set("data/np_700.tsv", "id\tsmiles\tclass\n");
        bench
    }

    /// The path of a file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces text of a configuration file; the text must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path("configs").join(file);
        let text = fs_err::read_to_string(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(text.contains(from), "{file} holds no `{from}`");
        fs_err::write(&path, text.replace(from, to)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Writes a file of the folder: an input, or what the stand-ins are told (see `halo-fake`).
    pub fn set(&self, name: &str, text: &str) {
        fs_err::write(self.path(name), text).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Removes a file of the folder.
    pub fn remove(&self, name: &str) {
        fs_err::remove_file(self.path(name)).unwrap_or_else(|e| panic!("{e}"));
    }

    /// A file of the folder is written to without a change.
    pub fn touch(&self, name: &str) {
        self.date(name, SystemTime::now());
    }

    /// A file of the folder gets another time.
    pub fn date(&self, name: &str, time: SystemTime) {
        let file = fs_err::File::options().append(true).open(self.path(name));
        let dated = file.and_then(|file| file.into_parts().0.set_modified(time));
        dated.unwrap_or_else(|e| panic!("{name}: {e}"));
    }

    /// Whether shard tables stay.
    pub fn keep_intermediates(&self, keep: bool) {
        let (off, on) = ("# keep_intermediates: true", "keep_intermediates: true");
        let (from, to) = if keep { (off, on) } else { (on, off) };
        self.edit("pipeline.yaml", from, to);
    }

    fn with_stand_ins(&self, mut command: Command) -> Command {
        command
            .current_dir(self.dir.path())
            .env("HALOCLINE_BIN", self.path("bin"))
            .env("FAKE_DIR", self.dir.path())
            .env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    /// `halo-drive` with these words.
    pub fn drive(&self, args: &str) -> Command {
        let mut drive = self.with_stand_ins(Command::new(self.path("bin/halo-drive")));
        drive.args(args.split_whitespace());
        drive
    }

    /// `snakemake` with these words.
    pub fn snakemake(&self, args: &[&str]) -> Command {
        let mut snakemake = self.with_stand_ins(Command::new(workflow_bin_dir().join("snakemake")));
        snakemake.arg("--snakefile").arg(root().join("Snakefile"));
        snakemake.args(args);
        snakemake
    }

    /// Runs `halo-drive`, expects the exit code, gives stdout and stderr together.
    pub fn expect(&self, code: i32, args: &str) -> String {
        said(&mut self.drive(args), code)
    }

    /// What `halo-drive` prints as JSON.
    pub fn json(&self, args: &str) -> serde_json::Value {
        let output = run_expecting(&mut self.drive(args), 0);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{args}: {e}"))
    }

    /// Starts `halo-drive`.
    pub fn spawn(&self, args: &str) -> Child {
        let mut drive = self.drive(args);
        drive.stdout(Stdio::piped()).stderr(Stdio::piped());
        drive.spawn().unwrap_or_else(|e| panic!("{args}: {e}"))
    }

    /// Shard tables of products or libraries that are there, rejects apart.
    pub fn shard_tables(&self) -> Vec<PathBuf> {
        let parts = ["library", "transforms"].map(|part| self.path("results/work").join(part));
        let below = |dir: &PathBuf| {
            files_below(dir)
                .into_keys()
                .map(|name| dir.join(name))
                .collect()
        };
        let files = parts.iter().filter(|dir| dir.is_dir());
        let files = files.flat_map::<Vec<PathBuf>, _>(below);
        files
            .filter(|f| f.extension().is_some_and(|e| e == "parquet"))
            .collect()
    }

    /// Calls of the stand-ins since the last time, sorted.
    pub fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("calls"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Waits until the stand-ins were called `n` times since [`Bench::calls`].
    pub fn wait_for_calls(&self, n: usize) {
        let start = Instant::now();
        while std::fs::read_to_string(self.path("calls")).map_or(0, |t| t.lines().count()) < n {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "nothing was called"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Runs, expects the exit code, gives stdout and stderr together.
pub fn said(command: &mut Command, code: i32) -> String {
    let Output { stdout, stderr, .. } = run_expecting(command, code);
    String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
}
