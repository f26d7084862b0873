//! The workflow on a real SLURM cluster: munged, slurmctld and slurmd of this machine, with memory limits enforced, started
//! by `scripts/slurm-single-node.sh` and ended with it. Where a machine cannot do that, the test says so on stderr.
//!
//! The demo goes through as it is. In `make test` what a cluster would get as many submissions travels in a few (each costs
//! 2 s of Snakemake here, its work a fraction of that); `HALOCLINE_SLURM=full`, in `make torture`, takes the profile as it is.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]
#![expect(clippy::print_stderr, reason = "a test that cannot run says so")]

use halocline_tests::place::{JOBS, LIBRARIES, Place};
use halocline_tests::process::{Process, all_end, below};
use halocline_tests::{bin, bin_dir, root, run, run_expecting, scratch};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A merge of the demo, and one of the same library that has nothing to do with it.
const VICTIM: &str = "lipid-1X_FG_CARBOXYL__COOH__TO__COCl";
const BESIDE: &str = "lipid-1X_FG_CARBOXYL__COOH__TO__COOMe";
/// What the stand-in of the victim takes; its rule declares 837.
const TAKEN_MIB: u32 = 2000;

/// One cluster at a time: the tests of this file share a folder, and with it the names of cgroups.
static CLUSTER: Mutex<()> = Mutex::new(());

fn script() -> PathBuf {
    root().join("scripts/slurm-single-node.sh")
}

/// Whether this machine can run a cluster; says why not.
fn can_run() -> bool {
    let output = Command::new(script()).arg("check").output().unwrap();
    if output.status.code() != Some(3) {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        return true;
    }
    let why = String::from_utf8_lossy(&output.stderr);
    eprintln!("SLURM IS NOT TESTED on this machine: {}", why.trim());
    false
}

/// `scripts/slurm-single-node.sh run`, which dies with the thread that starts it, with the cluster and all its jobs.
fn beside_cluster() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(script());
    command.arg("run").arg(bin_dir().join("slurm"));
    command
}

/// Runs Snakemake of `place` on the cluster, expects the exit code, gives all that was said.
fn on_slurm(place: &Place, tools: &Path, args: &[&str], code: i32) -> String {
    let snakemake = place.snakemake();
    let mut command = beside_cluster();
    command
        .arg(snakemake.get_program())
        .args(snakemake.get_args());
    command.arg("--profile").arg(root().join("profiles/slurm"));
    command
        .arg("--workflow-profile")
        .arg(root().join("profiles/default"));
    // The profile waits as long as a real cluster needs.
    command.args(["--slurm-init-seconds-before-status-checks", "2"]);
    command.args(["--latency-wait", "10"]);
    for (name, value) in snakemake.get_envs() {
        command.env(name, value.unwrap());
    }
    command.env("HALOCLINE_BIN", tools).args(args);
    let output = run_expecting(command.current_dir(place.dir()), code);
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// All final tables that are there, by their path in the results.
fn tables(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for part in ["library", "transforms"] {
        for entry in fs_err::read_dir(place.results().join(part)).unwrap() {
            let name = Path::new(part)
                .join(entry.unwrap().file_name())
                .join("products.parquet");
            if let Ok(bytes) = std::fs::read(place.results().join(&name)) {
                found.insert(name, bytes);
            }
        }
    }
    found
}

fn assert_same_tables(got: &Place, wanted: &BTreeMap<PathBuf, Vec<u8>>) {
    let got = tables(got);
    let names = |tables: &BTreeMap<PathBuf, Vec<u8>>| tables.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&got), names(wanted));
    for (name, bytes) in wanted {
        assert!(got[name] == *bytes, "{} differs", name.display());
    }
}

/// A folder of binaries in which the merge of the victim is a program that takes memory, and holds it.
fn tools_with_a_leak(dir: &Path) -> PathBuf {
    let tools = dir.join("tools");
    fs_err::create_dir(&tools).unwrap();
    for tool in [
        "drive",
        "split",
        "transform-shard",
        "validate-parquet",
        "report",
    ] {
        let name = format!("halo-{tool}");
        symlink(bin(&name), tools.join(&name)).unwrap();
    }
    let merge = tools.join("halo-dedup-merge");
    let text = format!(
        "#!/bin/bash\nset -o pipefail\ncase \"$*\" in *{VICTIM}*)\n  echo x >>{attempts}\n  \
         head -c {TAKEN_MIB}M /dev/zero | tail -c {TAKEN_MIB}M | {{ read -rt 20 _ || true; }}\n  exit ;;\nesac\nexec {merge} \"$@\"\n",
        attempts = dir.join("attempts").display(),
        merge = bin("halo-dedup-merge").display(),
    );
    fs_err::write(&merge, text).unwrap();
    fs_err::set_permissions(&merge, std::fs::Permissions::from_mode(0o755)).unwrap();
    tools
}

#[test]
fn np_700_through_slurm_and_a_job_that_outgrows_its_memory() {
    let _one = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if !can_run() {
        return;
    }
    let full = std::env::var("HALOCLINE_SLURM").is_ok_and(|v| v == "full");
    let dir = scratch();
    let place = |name: &str| {
        let place = Place::new(dir.path().join(name), usize::MAX);
        let file = place.dir().join("pipeline.yaml");
        let mut text = fs_err::read_to_string(&file).unwrap();
        // The second part runs two jobs again, and not what made their shards.
        text += "\nkeep_intermediates: true\n";
        fs_err::write(&file, text).unwrap();
        place
    };

    // To the end, with the bytes of a workstation.
    let workstation = place("workstation");
    run(&mut workstation.drive());
    let wanted = tables(&workstation);
    assert_eq!(wanted.len(), LIBRARIES + JOBS);
    let cluster = place("cluster");
    // (long groups would be slow: the pauses between two questions for states grow until something has ended)
    let together = [
        "--groups",
        "halogenate=made",
        "merge_library=made",
        "split_library=cut",
        "transform=cut",
        "merge=table",
        "validate=table",
        "--group-components",
        "made=2",
        "cut=2",
        "table=4",
        // One core for a group: SLURM gives the memory of a submission to one step at a time.
        "--cores",
        "1",
    ];
    let started = Instant::now();
    let said = on_slurm(&cluster, &bin_dir(), if full { &[] } else { &together }, 0);
    eprintln!("np_700 on SLURM: {:.0} s", started.elapsed().as_secs_f64());
    assert_same_tables(&cluster, &wanted);
    assert_eq!(cluster.temporaries(), Vec::<PathBuf>::new());
    // `all` is the one job that needs no node.
    let submitted = said.matches("has been submitted with SLURM jobid").count();
    eprintln!("{submitted} submissions");
    let expected = if full { 180..=305 } else { 30..=60 };
    assert!(expected.contains(&submitted), "{said}");
    let said = run(cluster.snakemake().arg("--dry-run"));
    let said =
        String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("Nothing to be done"), "{said}");

    // Two products are lost with their verdicts, and the program that makes one of them again takes more than its rule declares.
    for name in [VICTIM, BESIDE] {
        let folder = cluster.results().join("transforms").join(name);
        fs_err::remove_file(folder.join("products.parquet")).unwrap();
        fs_err::remove_file(folder.join("validation.json")).unwrap();
    }
    let tools = tools_with_a_leak(dir.path());
    let said = on_slurm(&cluster, &tools, &[], 1);
    // Once, and twice more with the same memory.
    let attempts = fs_err::read_to_string(dir.path().join("attempts")).unwrap();
    assert_eq!(attempts, "x\nx\nx\n");
    let failed = said
        .lines()
        .find(|line| line.starts_with(&format!("halocline: failed: merge/{VICTIM}: ")));
    if said.contains("memory limits by cgroup") {
        let failed = failed.unwrap_or_else(|| panic!("{said}"));
        let why = "this job took more memory than its limit of 837 MiB (SLURM job ";
        assert!(failed.contains(why), "{failed}");
    } else {
        // Polling ends the whole job, and only SLURM can say why.
        assert!(said.contains("exceeded memory limit"), "{said}");
    }
    assert!(
        said.contains("halocline: not done because of that: 1 jobs"),
        "{said}"
    );
    // The rest is done.
    let mut rest = wanted.clone();
    rest.remove(
        &Path::new("transforms")
            .join(VICTIM)
            .join("products.parquet"),
    );
    assert_same_tables(&cluster, &rest);
    let verdict = cluster.results().join("transforms").join(BESIDE);
    assert!(verdict.join("validation.json").exists());
}

#[test]
fn a_cluster_ends_with_whoever_started_it_and_the_next_one_starts() {
    let _one = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    if !can_run() {
        return;
    }
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let mut cluster = beside_cluster();
        // A job in the middle of its work, in a cgroup of its own.
        cluster.args(["srun", "--ntasks=1", "--mem=50", "sleep", "1000"]);
        let mut cluster = cluster.stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let processes = loop {
            let processes = below(cluster.id());
            let running = |name: &str| processes.iter().any(|p| p.name().starts_with(name));
            // (the daemons wait for each other in sleeps of a tenth of a second)
            if running("slurmstepd") && running("sleep") {
                break processes;
            }
            assert!(Instant::now() < deadline, "no job within 30 s");
            std::thread::sleep(Duration::from_millis(50));
        };
        let itself = Process::find(i32::try_from(cluster.id()).unwrap()).unwrap();
        assert!(itself.signal(signal));
        cluster.wait().unwrap();
        all_end(&processes, Duration::from_secs(5)).unwrap_or_else(|e| panic!("{signal}: {e}"));
    }
    run(beside_cluster().args(["srun", "--ntasks=1", "true"]));
    let left = Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "2", "-name"])
        .arg("slurm_halo*")
        .output()
        .unwrap();
    let left = String::from_utf8(left.stdout).unwrap();
    // Of this folder; another checkout may be at work.
    let node = fs_err::read_to_string(bin_dir().join("slurm/hosts")).unwrap();
    let node = node.split_whitespace().last().unwrap();
    assert!(!left.contains(node), "{left}");
}
