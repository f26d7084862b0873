//! The whole pipeline on ten molecules of each class, under both engines, with the binaries of this profile.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_tests::{
    bin_dir, command, json, np_700, root, run, scratch, table, workflow_bin_dir,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const JOBS: u64 = 118;
const LIBRARIES: usize = 12;

/// A folder to run in: the demo's configuration with a smaller input and its own results.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new(dir: PathBuf) -> Self {
        fs_err::create_dir_all(&dir).unwrap();
        fs_err::write(dir.join("molecules.tsv"), np_700(10)).unwrap();
        let text = fs_err::read_to_string(root().join("configs/pipeline.yaml")).unwrap();
        let changed = text
            .replace(
                "path: data/np_700.tsv",
                &format!("path: {}", dir.join("molecules.tsv").display()),
            )
            .replace(
                "results: results",
                &format!("results: {}", dir.join("results").display()),
            )
            .replace(
                ": configs/",
                &format!(": {}/", root().join("configs").display()),
            );
        assert_eq!(
            changed.matches(&*root().to_string_lossy()).count(),
            4,
            "the demo's configuration has changed"
        );
        fs_err::write(dir.join("pipeline.yaml"), changed).unwrap();
        Self { dir }
    }

    fn drive(&self) -> Output {
        let mut drive = command("halo-drive");
        drive
            .arg("run")
            .arg("--config")
            .arg(self.dir.join("pipeline.yaml"))
            .args(["--cores", "2"]);
        run(drive.current_dir(&self.dir))
    }

    fn snakemake(&self) -> Output {
        let path = std::env::join_paths([
            workflow_bin_dir(),
            bin_dir(),
            "/usr/bin".into(),
            "/bin".into(),
        ])
        .unwrap();
        let mut snakemake = Command::new("snakemake");
        snakemake
            .env("PATH", path)
            .env("HALOCLINE_BIN", bin_dir())
            .env("XDG_CACHE_HOME", self.dir.join("cache"));
        snakemake
            .arg("--snakefile")
            .arg(root().join("Snakefile"))
            .arg("--directory")
            .arg(&self.dir);
        snakemake
            .arg("--configfile")
            .arg(self.dir.join("pipeline.yaml"))
            .args(["--cores", "2"]);
        run(snakemake.current_dir(root()))
    }

    /// All final tables by their path in the results.
    fn products(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for part in ["library", "transforms"] {
            for entry in fs_err::read_dir(self.dir.join("results").join(part)).unwrap() {
                let path = entry.unwrap().path().join("products.parquet");
                let name = path.strip_prefix(&self.dir).unwrap().to_owned();
                found.insert(name, fs_err::read(&path).unwrap());
            }
        }
        assert_eq!(found.len() as u64, LIBRARIES as u64 + JOBS);
        found
    }

    fn report(&self) -> PathBuf {
        self.dir
            .join("results/report/transform_pipeline_report.json")
    }
}

fn temporaries(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(temporaries(&path));
        } else if path.extension().is_some_and(|e| e == "tmp") {
            found.push(path);
        }
    }
    found
}

#[test]
fn snakemake_and_drive_make_the_same_bytes() {
    let dir = scratch();
    let by_drive = Place::new(dir.path().join("drive"));
    by_drive.drive();
    let by_snakemake = Place::new(dir.path().join("snakemake"));
    by_snakemake.snakemake();

    let (drive, snakemake) = (by_drive.products(), by_snakemake.products());
    for (name, bytes) in &drive {
        assert!(
            snakemake[name] == *bytes,
            "{} differs between the engines",
            name.display()
        );
    }

    for place in [&by_drive, &by_snakemake] {
        let report = json(&place.report());
        let totals = &report["totals"];
        assert_eq!(
            (totals["jobs"].as_u64(), totals["valid"].as_u64()),
            (Some(JOBS), Some(JOBS)),
            "{totals}"
        );
        assert!(
            totals["unique_products"].as_u64().unwrap() > 1000,
            "{totals}"
        );
        assert_eq!(report["libraries"].as_array().unwrap().len(), LIBRARIES);
        assert!(report["runs"].as_array().unwrap().len() as u64 > JOBS);
        assert_eq!(
            temporaries(&place.dir.join("results")),
            Vec::<PathBuf>::new()
        );
    }

    // The second time there is nothing to do.
    for (place, engine) in [(&by_drive, "drive"), (&by_snakemake, "snakemake")] {
        let before = fs_err::metadata(place.report())
            .unwrap()
            .modified()
            .unwrap();
        match engine {
            "drive" => place.drive(),
            _ => place.snakemake(),
        };
        let after = fs_err::metadata(place.report())
            .unwrap()
            .modified()
            .unwrap();
        assert!(before == after, "{engine} made the report a second time");
    }

    // Other programs open what was made.
    let name = "results/transforms/polyphenol-2X_FG_PHENOL_OH__OH__TO__OMe/products.parquet";
    let products = table(&by_drive.dir.join(name));
    assert!(products["rows"].as_u64().unwrap() > 0);
}
