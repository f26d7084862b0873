//! The whole pipeline on ten molecules of each class, under both engines, with the binaries of this profile.

use halocline_tests::place::{JOBS, LIBRARIES, Place};
use halocline_tests::process::{Process, all_end, below};
use halocline_tests::{json, run, scratch, table};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn snakemake_and_drive_make_the_same_bytes() {
    let dir = scratch();
    let by_drive = Place::new(dir.path().join("drive"), 10);
    run(&mut by_drive.drive());
    let by_snakemake = Place::new(dir.path().join("snakemake"), 10);
    run(&mut by_snakemake.snakemake());

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
        let jobs = Some(JOBS as u64);
        assert_eq!(
            (totals["jobs"].as_u64(), totals["valid"].as_u64()),
            (jobs, jobs),
            "{totals}"
        );
        assert!(
            totals["unique_products"].as_u64().unwrap() > 1000,
            "{totals}"
        );
        assert_eq!(report["libraries"].as_array().unwrap().len(), LIBRARIES);
        assert!(report["runs"].as_array().unwrap().len() > JOBS);
        assert_eq!(place.temporaries(), Vec::<PathBuf>::new());
    }

    // The second time there is nothing to do.
    for (place, mut engine) in [
        (&by_drive, by_drive.drive()),
        (&by_snakemake, by_snakemake.snakemake()),
    ] {
        let before = fs_err::metadata(place.report())
            .unwrap()
            .modified()
            .unwrap();
        run(&mut engine);
        let after = fs_err::metadata(place.report())
            .unwrap()
            .modified()
            .unwrap();
        assert!(before == after, "{engine:?} made the report a second time");
    }

    // Other programs open what was made.
    let name = "transforms/polyphenol-2X_FG_PHENOL_OH__OH__TO__OMe/products.parquet";
    let products = table(&by_drive.results().join(name));
    assert!(products["rows"].as_u64().unwrap() > 0);
}

#[test]
fn no_job_outlives_a_snakemake_that_was_killed() {
    let dir = scratch();
    let place = Place::new(dir.path().join("killed"), 10);
    let mut engine = place.snakemake();
    let mut engine = engine
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let job = loop {
        let processes = below(engine.id());
        // (Planning asks the same program for its version. A process that has not come as far as its second thread, which
        // waits for signals, would find out that its parent died only when it goes on.)
        let tool = |process: &&Process| {
            process.name().starts_with("halo-transform")
                && process.arguments().contains("--shards")
                && process.threads() > 1
        };
        if let Some(job) = processes.iter().find(tool) {
            break *job;
        }
        assert!(Instant::now() < deadline, "no job was started");
        std::thread::sleep(Duration::from_millis(5));
    };
    // Stopped, it cannot end by having done its work.
    assert!(job.signal(Signal::SIGSTOP));
    let processes = below(engine.id());
    engine.kill().unwrap();
    engine.wait().unwrap();
    if let Err(alive) = all_end(&processes, Duration::from_secs(10)) {
        job.signal(Signal::SIGKILL);
        panic!("outlived Snakemake (the job was {job:?}): {alive}");
    }
}
