//! A disk that fills up, as output folder and as `--tmp-dir`: every program says in one sentence which file needed how many
//! bytes, leaves nothing that looks finished and no temporary, and completes with the same bytes once there is space.
//!
//! The disk is a small tmpfs, mounted in a mount namespace of this test alone; without root in a user namespace
//! besides. Where neither is allowed the test says so and proves nothing.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]
#![expect(clippy::print_stderr, reason = "stderr is where a test speaks")]

use halocline_tests::place::Place;
use halocline_tests::stand_ins::Bench;
use halocline_tests::{
    bin, command, files_below, json, library, np_68k, np_700, root, run, run_expecting, scratch,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const OME: &str = "FG_PHENOL_OH__OH__TO__OMe";
/// A tmpfs gives out whole pages.
const PAGE: u64 = 4096;
const INSIDE: &str = "HALOCLINE_TEST_MAY_MOUNT";

/// Runs `test` where it may mount: this very test again, in namespaces of its own.
fn where_mounting_is_allowed(name: &str, test: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return test();
    }
    for flags in [&["-m"][..], &["-r", "-m"]] {
        let can = Command::new("unshare").args(flags).arg("true").output();
        if !can.is_ok_and(|o| o.status.success()) {
            continue;
        }
        let mut again = Command::new("unshare");
        again.args(flags).arg(std::env::current_exe().unwrap());
        again
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1");
        run(&mut again);
        return;
    }
    eprintln!("{name}: no file system can be mounted here, so a full disk was NOT tested");
}

/// What takes nothing that is written to it.
fn full() -> std::fs::File {
    let full = fs_err::File::options().write(true).open("/dev/full");
    full.unwrap().into_parts().0
}

/// A small disk, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(dir: &Path, bytes: u64) -> Self {
        fs_err::create_dir_all(dir).unwrap();
        let disk = Self(dir.to_owned());
        disk.mount(&format!("size={bytes}"));
        disk
    }

    fn mount(&self, options: &str) {
        let mut mount = Command::new("mount");
        run(mount
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(&self.0));
    }

    fn make_space(&self) {
        self.mount("remount,size=64m");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Tables and plans: their bytes depend on the rows alone.
fn reproducible(files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<&Path, &[u8]> {
    let kept = files.iter().filter(|(path, _)| {
        path.extension().is_some_and(|e| e == "parquet") || path.ends_with("plan.json")
    });
    kept.map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
        .collect()
}

/// One sentence with the disk's path and a number of bytes; no file of `finals`; no temporary.
fn assert_refused(tool: &mut Command, disk: &Path, finals: &[&str], size: u64) {
    let output = tool.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(2),
        "{tool:?} on {size} bytes: {said}"
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "one sentence: {said}");
    assert!(
        said.contains(": error: ")
            && said.contains("no space left on the device")
            && said.contains(&*disk.to_string_lossy())
            && said.contains(" more needed"),
        "{said}"
    );
    for file in files_below(disk).into_keys() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let temporary = name.starts_with('.') || name.ends_with(".tmp");
        assert!(!temporary, "{size} bytes: {} was left", file.display());
        let done = finals.iter().any(|f| file.ends_with(f));
        assert!(!done, "{size} bytes: {} looks finished", file.display());
    }
}

/// Runs `tool` with its output on disks that are too small in several ways, then with space. `tool` is given the disk.
fn survives(scratch: &Path, finals: &[&str], tool: &dyn Fn(&Path) -> Command) {
    let dir = scratch.join("disk");
    // Every size up to what is needed; the largest refused ones fail at the last files.
    let needed = {
        let disk = Disk::new(&dir, 64 << 20);
        run(&mut tool(&disk.0));
        let pages = |bytes: &Vec<u8>| (bytes.len() as u64).div_ceil(PAGE);
        files_below(&disk.0).values().map(pages).sum::<u64>()
    };
    assert!(needed > 0, "it wrote nothing");
    let sizes: std::collections::BTreeSet<u64> = [
        1,
        2,
        needed / 3,
        needed / 2,
        needed.saturating_sub(2),
        needed - 1,
    ]
    .into_iter()
    .filter(|pages| (1..needed).contains(pages))
    .collect();
    let want = {
        let disk = Disk::new(&dir, 64 << 20);
        run(&mut tool(&disk.0));
        files_below(&disk.0)
    };
    if needed == 1 {
        // A file of less than a page: the disk is full before it starts.
        let disk = Disk::new(&dir, PAGE);
        fs_err::write(disk.0.join("ballast"), [0; PAGE as usize]).unwrap();
        assert_refused(&mut tool(&disk.0), &disk.0, finals, 0);
        fs_err::remove_file(disk.0.join("ballast")).unwrap();
        run(&mut tool(&disk.0));
        assert_eq!(reproducible(&files_below(&disk.0)), reproducible(&want));
    }
    for pages in sizes {
        let disk = Disk::new(&dir, pages * PAGE);
        assert_refused(&mut tool(&disk.0), &disk.0, finals, pages * PAGE);
        disk.make_space();
        run(&mut tool(&disk.0));
        let got = files_below(&disk.0);
        assert!(
            reproducible(&got) == reproducible(&want),
            "{pages} pages, then space: other bytes"
        );
        assert!(
            finals
                .iter()
                .all(|f| got.keys().any(|file| file.ends_with(f)))
        );
    }
}

/// A quiet command: one line of stderr at most.
fn quiet(name: &str) -> Command {
    let mut tool = command(name);
    tool.args(["-qq", "--no-progress"]);
    tool
}

/// Shards of one rule over molecules with phenols.
fn shards(dir: &Path) -> PathBuf {
    let library = library(dir, &np_700(100));
    let plan = dir.join("plan");
    run(quiet("halo-split")
        .arg(&library)
        .arg("--out-dir")
        .arg(&plan)
        .args(["--shards", "2"]));
    let out = dir.join("shards");
    run(transform(&plan.join("plan.json"), &out).args(["--shards", "0..2"]));
    out
}

fn transform(plan: &Path, out: &Path) -> Command {
    let mut tool = quiet("halo-transform-shard");
    tool.arg("--plan").arg(plan).arg("--out-dir").arg(out);
    tool.arg("--rules")
        .arg(root().join("configs/transforms.yaml"));
    tool.args(["--rule", OME, "FG_PHENOL_OH__OH__TO__NH2", "--keep", "id"]);
    tool
}

fn merge(shards: &Path, out: &Path, strategy: &str) -> Command {
    let mut tool = quiet("halo-dedup-merge");
    tool.arg("--shards-from").arg(shards);
    tool.args(["--table", &format!("{OME}.parquet"), "--strategy", strategy]);
    tool.arg("--out").arg(out.join("products.parquet"));
    tool
}

/// Where a text goes to stdout, that may be a file on a full disk.
#[test]
fn a_full_stdout_is_named() {
    let dir = scratch();
    let library = library(dir.path(), &np_700(10));
    let place = Place::new(dir.path().join("place"), 1);
    let config = place.dir().join("pipeline.yaml");
    let with = |name: &str, args: &[&str]| {
        let mut tool = command(name);
        tool.args(args).args(["-qq", "--no-progress"]);
        tool.current_dir(place.dir());
        tool
    };
    let library = library.to_str().unwrap();
    let config = config.to_str().unwrap();
    let rules = root().join("configs/transforms.yaml");
    for mut tool in [
        with("halo-validate-parquet", &[library]),
        with("halo-split", &[library, "--shards", "2", "--inspect"]),
        with("halo-drive", &["plan", "--config", config]),
        with("halo-drive", &["status", "--config", config]),
        with("halo-drive", &["run", "--dry-run", "--config", config]),
        with("halo-report", &["--config", config]),
        with(
            "halo-transform-shard",
            &["--explain-rules", "--rules", rules.to_str().unwrap()],
        ),
    ] {
        let output = tool.stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{tool:?}: {said}");
        assert!(said.contains("stdout"), "{tool:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{tool:?}: {said}");
        // A log that cannot be written ends nothing.
        tool.arg("-v").stdout(std::process::Stdio::null());
        let told = tool.output().unwrap();
        assert!(!told.stderr.is_empty(), "{tool:?} has a log");
        let untold = tool.stderr(full()).output().unwrap();
        assert_eq!(untold.status, told.status, "{tool:?}");
    }
}

#[test]
fn split_on_a_full_disk() {
    where_mounting_is_allowed("split_on_a_full_disk", || {
        let dir = scratch();
        let input = dir.path().join("molecules.tsv");
        fs_err::write(&input, np_700(100)).unwrap();
        survives(dir.path(), &["plan.json"], &|disk| {
            let mut tool = quiet("halo-split");
            tool.arg(&input)
                .arg("--out-dir")
                .arg(disk)
                .args(["--shards", "2"]);
            tool
        });
    });
}

#[test]
fn transform_on_a_full_disk() {
    where_mounting_is_allowed("transform_on_a_full_disk", || {
        let dir = scratch();
        let library = library(dir.path(), &np_700(100));
        let plan = library.with_file_name("plan.json");
        survives(dir.path(), &["shard.stats.json"], &|disk| {
            let mut tool = transform(&plan, &disk.join("out"));
            tool.args(["--shard", "0"]);
            tool
        });
        survives(dir.path(), &["manifest.json"], &|disk| {
            let mut tool = transform(&plan, &disk.join("out"));
            tool.args(["--shards", "0..1"]);
            tool
        });
    });
}

#[test]
fn merge_on_a_full_disk() {
    where_mounting_is_allowed("merge_on_a_full_disk", || {
        let dir = scratch();
        let shards = shards(dir.path());
        for strategy in ["memory", "bloom", "spill"] {
            let finals = ["products.parquet", "products.parquet.stats.json"];
            survives(dir.path(), &finals, &|disk| merge(&shards, disk, strategy));
        }
        // Spill files have no names: what they take is seen from outside only.
        let out = dir.path().join("merged");
        fs_err::create_dir_all(&out).unwrap();
        let disk = Disk::new(&dir.path().join("spill"), PAGE);
        let spill = |strategy: &str| {
            let mut tool = merge(&shards, &out, strategy);
            tool.arg("--tmp-dir").arg(&disk.0);
            tool
        };
        assert_refused(&mut spill("spill"), &disk.0, &[], PAGE);
        assert_eq!(files_below(&out).len(), 0, "nothing is finished");
        // Neither of the others spills.
        run(&mut spill("bloom"));
        let want = fs_err::read(out.join("products.parquet")).unwrap();
        disk.make_space();
        run(&mut spill("spill"));
        assert_eq!(fs_err::read(out.join("products.parquet")).unwrap(), want);
    });
}

#[test]
fn validate_on_a_full_disk() {
    where_mounting_is_allowed("validate_on_a_full_disk", || {
        let dir = scratch();
        let shards = shards(dir.path());
        run(&mut merge(&shards, dir.path(), "auto"));
        let table = dir.path().join("products.parquet");
        // The verdict; its sample of SMILES goes through files elsewhere.
        survives(dir.path(), &["verdict.json"], &|disk| {
            let mut tool = quiet("halo-validate-parquet");
            tool.arg(&table).arg("--tmp-dir").arg(dir.path());
            tool.arg("--out").arg(disk.join("verdict.json"));
            tool
        });
        let cut = dir.path().join("cut.parquet");
        let bytes = fs_err::read(&table).unwrap();
        fs_err::write(&cut, &bytes[..bytes.len() - 10]).unwrap();
        survives(dir.path(), &["saved.parquet"], &|disk| {
            let mut tool = quiet("halo-validate-parquet");
            tool.arg(&cut)
                .arg("--repair")
                .arg(disk.join("saved.parquet"));
            tool.stdout(std::process::Stdio::null());
            tool
        });
    });
}

#[test]
fn validate_with_a_full_spill_folder() {
    where_mounting_is_allowed("validate_with_a_full_spill_folder", || {
        let dir = scratch();
        let rows = 600_000;
        let mut text = String::from("smiles\n");
        (0..rows).for_each(|i| text.push_str(&format!("C{i}\n")));
        let library = library(dir.path(), &text);
        let disk = Disk::new(&dir.path().join("spill"), 16 * PAGE);
        let validate = || {
            let mut tool = quiet("halo-validate-parquet");
            tool.arg(&library)
                .args(["--keys", "smiles", "--memory-limit", "32MiB"]);
            tool.arg("--tmp-dir").arg(&disk.0);
            tool
        };
        assert_refused(&mut validate(), &disk.0, &[], 16 * PAGE);
        disk.make_space();
        let output = run(&mut validate());
        let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&verdict["valid"], &verdict["duplicates"]),
            (&true.into(), &0.into())
        );
        assert!(
            verdict["spill_bytes"].as_u64().unwrap() > 16 * PAGE,
            "it spilled"
        );
    });
}

#[test]
fn report_and_drive_on_a_full_disk() {
    where_mounting_is_allowed("report_and_drive_on_a_full_disk", || {
        let dir = scratch();
        let calm = Place::new(dir.path().join("calm"), 2);
        run(&mut calm.drive());
        survives(dir.path(), &["transform_pipeline_report.json"], &|disk| {
            let mut tool = quiet("halo-report");
            tool.current_dir(calm.dir())
                .args(["--config", "pipeline.yaml"]);
            tool.arg("--out-dir").arg(disk);
            tool.stdout(std::process::Stdio::null());
            tool
        });
        // The whole pipeline: what fits is done, the rest says why not, and the next run does only that.
        let place = Place::new(dir.path().join("disturbed"), 2);
        let disk = Disk::new(&place.results(), 2 << 20);
        let mut first = place.drive();
        let output = first.arg("--no-progress").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Whether a log of its own had room is a matter of moments.
        let own = said.lines().any(|l| l.starts_with("halo-drive: error: "));
        assert_eq!(
            output.status.code(),
            Some(if own { 2 } else { 1 }),
            "documented: 1, unless halo-drive itself could not write; {said}"
        );
        let full = |line: &&str| line.to_ascii_lowercase().contains("no space left on");
        let named = |line: &str| line.contains("results/") && line.contains("more ");
        assert!(said.lines().any(|line| full(&line)), "{said}");
        let unnamed = said.lines().filter(full).find(|line| !named(line));
        assert_eq!(
            unnamed, None,
            "every sentence about the disk names file and bytes"
        );
        assert!(place.temporaries().is_empty(), "{:?}", place.temporaries());
        disk.make_space();
        run(place.drive().arg("--no-progress"));
        assert_eq!(place.products(), calm.products());
        assert!(json(&place.report())["totals"]["valid"].as_u64() > Some(100));
    });
}

/// A job whose disk is full is a job that failed: the run is incomplete, and says which file needed how many bytes.
#[test]
fn drive_says_which_job_met_a_full_disk() {
    where_mounting_is_allowed("drive_says_which_job_met_a_full_disk", || {
        let dir = scratch();
        let place = Place::new(dir.path().join("place"), 2);
        let disk = Disk::new(&place.results().join("work/transforms"), 2 * PAGE);
        let some = || {
            let mut drive = place.drive();
            drive.args(["--only", "lipid-1X", "--until", "transform"]);
            drive.args(["--retries", "0", "-qq", "--no-progress"]);
            drive
        };
        let output = run_expecting(&mut some(), 1);
        // What stops the run of a whole pipeline is said even by a run that is told to be quiet.
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = said.lines().filter(|l| l.starts_with("failed "));
        for line in failed.clone() {
            let words = [
                "failed   transform/lipid-1X",
                "halo-transform-shard: error: ",
                "no space left on the device for `results/work/transforms/",
                " more needed",
            ];
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
        }
        assert!(failed.count() > 0, "{said}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("halo-drive: broken: "), "{error}");
        disk.make_space();
        run(&mut some());
    });
}

/// What halo-drive writes itself has no room: its own error, and not that of a job.
#[test]
fn drive_that_cannot_write_logs_records_or_its_lock() {
    where_mounting_is_allowed("drive_that_cannot_write_logs_records_or_its_lock", || {
        for (folder, what) in [
            ("results/logs", "cannot write the log `results/logs/"),
            ("results/work/jobs", "cannot write `results/work/jobs/"),
            (
                "results/work",
                "cannot write the lock `results/work/drive.lock`",
            ),
        ] {
            let bench = Bench::new(&bin("halo-drive"));
            let disk = Disk::new(&bench.path(folder), PAGE);
            let said = bench.expect(2, "run --retries 0");
            let error = said.lines().find(|l| l.starts_with("halo-drive: error: "));
            let error = error.unwrap_or_else(|| panic!("{folder}: {said}"));
            assert!(error.contains(what), "{folder}: {error}");
            let full = error.to_ascii_lowercase().contains("no space left on");
            let bytes = error.contains(" more needed") || error.contains(" more bytes needed");
            assert!(full && bytes, "{folder}: {error}");
            disk.make_space();
            bench.expect(0, "run");
        }
    });
}

#[test]
fn a_device_that_is_always_full_is_named() {
    let dir = scratch();
    let input = dir.path().join("molecules.tsv");
    fs_err::write(&input, np_68k(1000, 20)).unwrap();
    // Tables are written beside their target and renamed, which a device in /dev does not survive; it must stay one.
    for (tool, flag) in [
        ("halo-validate-parquet", "--out"),
        ("halo-validate-parquet", "--repair"),
    ] {
        let output = quiet(tool)
            .arg(&input)
            .arg(flag)
            .arg("/dev/full")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("/dev/full"), "{said}");
    }
    let kind = fs_err::metadata("/dev/full").unwrap().file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&kind));
    // Stdout that takes nothing is an I/O error, not a verdict.
    let mut tool = quiet("halo-validate-parquet");
    let output = tool.arg(&input).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
