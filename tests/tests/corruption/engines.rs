//! What `halo-report` and `halo-drive` read of finished work.

use crate::{Damage, OME, ended_well, flips, quiet};
use halocline_tests::place::Place;
use halocline_tests::random::Random;
use halocline_tests::{json, run, scratch};

#[test]
fn report_and_drive_take_damage() {
    let dir = scratch();
    let place = Place::new(dir.path().join("place"), 1);
    run(&mut place.drive());
    let want = place.products();
    let results = place.results();
    let job = format!("polyphenol-1X_{OME}");
    let files = [
        format!("transforms/{job}/SUMMARY.json"),
        format!("transforms/{job}/validation.json"),
        format!("transforms/{job}/products.parquet.stats.json"),
        format!("transforms/{job}/products.parquet"),
        format!("work/jobs/merge/{job}.json"),
        format!("work/jobs/validate/{job}.json"),
        "work/fingerprints.json".to_owned(),
        "library/polyphenol-1X/products.parquet".to_owned(),
        "work/plans/polyphenol-1X/plan.json".to_owned(),
    ]
    .map(|f| results.join(f));
    for file in &files {
        assert!(file.is_file(), "{} is not there", file.display());
    }
    let mut random = Random::seeded("damage");
    // Each run of the drive looks at 300 jobs: a second or two.
    let rounds = usize::try_from(flips() / 12)
        .unwrap()
        .clamp(files.len(), 60);
    let mut mended = 0;
    for n in 0..rounds {
        let file = &files[n % files.len()];
        let good = fs_err::read(file).unwrap();
        let damage = Damage::random(&mut random, good.len());
        fs_err::write(file, damage.apply(&good)).unwrap();
        let place_of = format!("{}: {damage}", file.display());
        let mut report = quiet("halo-report");
        report
            .current_dir(place.dir())
            .args(["--config", "pipeline.yaml"]);
        let output = report
            .arg("--out-dir")
            .arg(dir.path().join("report"))
            .output()
            .unwrap();
        // What is broken is listed; it does not stop the report.
        assert!(ended_well(&output, &place_of), "{place_of}");
        json(&dir.path().join("report/transform_pipeline_report.json"));
        let mut drive = place.drive();
        let output = drive.args(["-qq", "--no-progress"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{place_of}: {said}");
        assert!(
            output.status.success(),
            "{place_of}: {}: {said}",
            output.status
        );
        assert!(
            place.products() == want,
            "{place_of}: the run is complete, and its tables are others"
        );
        mended += u32::from(fs_err::read(file).unwrap() == good);
    }
    eprintln!("halo-report and halo-drive: {rounds} damages, {mended} files are as they were");
}
