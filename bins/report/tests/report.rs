//! The report of a results folder as the steps leave it: everything there, something broken, nothing there.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use std::path::{Path, PathBuf};

use clap::Parser;
use fs_err as fs;
use halocline_cli::sidecar::Sidecar;
use halocline_report::{Args, JSON, Report, Status, run};

const CLASSES: [&str; 2] = ["polyphenol", "lipid"];

/// A folder with a configuration of two classes at one depth (16 + 6 jobs).
struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let text = fs::read_to_string(rules.join("pipeline.yaml")).unwrap();
        let text = text
            .replace(
                "results: results",
                &format!("results: {}", dir.path().join("results").display()),
            )
            .replace(": configs/", &format!(": {}/", rules.display()))
            .replace("depths: [1, 2]", "depths: [1]");
        let classes = text
            .lines()
            .find(|line| line.starts_with("classes:"))
            .unwrap();
        let text = text.replace(classes, &format!("classes: [{}]", CLASSES.join(", ")));
        fs::write(dir.path().join("pipeline.yaml"), text).unwrap();
        Self { dir }
    }

    fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    /// What merge and validator leave.
    fn finish(&self, name: &str, total: u64, unique: u64, verdict: &str) {
        let out = self.results().join("transforms").join(name);
        self.merged(&out, total, unique);
        fs::write(out.join("validation.json"), verdict).unwrap();
    }

    fn merged(&self, out: &Path, total: u64, unique: u64) {
        fs::create_dir_all(out).unwrap();
        let summary = serde_json::json!({
            "transform": "x", "source_file": "y", "source_subset": "z", "total_input": 100, "total_processed": 90,
            "total_products": total, "unique_products": unique, "elapsed_seconds": 1.5,
            "throughput_mol_per_sec": 60.0, "stats": {"anything": 1},
        });
        fs::write(out.join("SUMMARY.json"), summary.to_string()).unwrap();
        let products = out.join("products.parquet");
        fs::write(&products, b"PAR1").unwrap();
        let mut sidecar = Sidecar::new("halo-dedup-merge");
        sidecar.rows_in = total;
        sidecar.rows_done = total;
        sidecar.rdkit_version = Some("2022.09.3".to_owned());
        sidecar.wall_seconds = total as f64 / 100.0;
        sidecar.peak_rss_bytes = 40 << 20;
        sidecar.memory_limit_bytes = 512 << 20;
        sidecar.write(&Sidecar::path_for(&products)).unwrap();
    }

    fn rejected(&self) {
        let shard = self
            .results()
            .join("work/transforms/lipid-1X/2x1/batch-0000/shard-00000");
        fs::create_dir_all(&shard).unwrap();
        let mut sidecar = Sidecar::new("halo-transform-shard");
        sidecar.rows_in = 7;
        sidecar.rows_done = 4;
        sidecar.rows_rejected = [("parse <br>".to_owned(), 3)].into();
        sidecar.write(&shard.join("shard.stats.json")).unwrap();
    }

    fn run(&self, more: &[&str]) -> anyhow::Result<String> {
        let config = self.dir.path().join("pipeline.yaml");
        let mut args = vec!["halo-report", "--config", config.to_str().unwrap()];
        args.extend(more);
        run(&Args::try_parse_from(args).unwrap())
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.results().join("report").join(file)).unwrap()
    }

    fn report(&self) -> Report {
        serde_json::from_str(&self.read(JSON)).unwrap()
    }
}

#[test]
fn rows_that_went_nowhere_are_noted() {
    let case = Case::new();
    let input = case.results().join("work/input");
    fs::create_dir_all(&input).unwrap();
    let mut sidecar = Sidecar::new("halo-split");
    (sidecar.rows_in, sidecar.rows_done) = (1074, 1070);
    sidecar.rows_rejected = [("column_count".to_owned(), 4)].into();
    sidecar.counts.insert("rows_other".to_owned(), 1037);
    let rejects = input.join("rejects.parquet");
    sidecar.write(&Sidecar::path_for(&rejects)).unwrap();
    let library = case.results().join("library/lipid-1X");
    case.merged(&library, 0, 0);
    let summary = fs::read_to_string(library.join("SUMMARY.json")).unwrap();
    let summary = summary.replace("\"total_input\":100", "\"total_input\":0");
    fs::write(library.join("SUMMARY.json"), summary).unwrap();
    let said = case.run(&[]).unwrap();
    let report = case.report();
    assert_eq!(report.rejects["split_input"]["column_count"], 4);
    for note in [
        "1,037 of 1,074 rows of the input are of no class that the configuration names",
        "library lipid-1X is empty: no molecule is of its class",
    ] {
        assert!(report.notes.iter().any(|n| n == note), "{:?}", report.notes);
        assert!(said.contains(&format!("note: {note}\n")), "{said}");
        assert!(case.read("index.html").contains(note));
    }
}

const GOOD: &str = r#"{"schema": "halocline.verdict/1", "valid": true, "failures": []}"#;

fn job_names(case: &Case) -> Vec<String> {
    case.run(&[]).unwrap();
    case.report().jobs.into_iter().map(|job| job.name).collect()
}

#[test]
fn a_complete_run_adds_up() {
    let case = Case::new();
    let names = job_names(&case);
    assert_eq!(names.len(), 22);
    for (n, name) in (1..).zip(&names) {
        case.finish(name, 100 * n, 50 * n, GOOD);
    }
    case.merged(&case.results().join("library/lipid-1X"), 500, 400);
    case.rejected();
    let said = case.run(&[]).unwrap();
    assert!(
        said.starts_with("22 of 22 jobs complete and valid\n"),
        "{said}"
    );
    assert!(said.contains("report/index.html"), "{said}");
    assert!(said.contains("200 parents in 2 libraries"), "{said}");
    let report = case.report();
    let all: u64 = (1..=22).sum();
    assert_eq!(report.totals.total_products, 100 * all);
    assert_eq!(report.totals.unique_products, 50 * all);
    // 100 parents in each of the two libraries, however many rules read them.
    assert_eq!(report.totals.parents, 200);
    assert_eq!(report.totals.rejected, 3);
    assert_eq!(report.rdkit_version.as_deref(), Some("2022.09.3"));
    assert!(
        report
            .jobs
            .iter()
            .all(|job| job.status == Status::Valid && job.unique_share == Some(0.5))
    );
    assert!(
        report
            .runs
            .is_sorted_by(|a, b| a.wall_seconds >= b.wall_seconds)
    );
    assert_eq!(report.runs[0].id, format!("merge/{}", names[21]));
    assert!(
        report
            .libraries
            .iter()
            .any(|library| library.complete && library.unique_products == 400)
    );
    let tsv = case.read("jobs.tsv");
    assert_eq!(tsv.lines().count(), 23);
    assert!(tsv.lines().all(|line| line.split('\t').count() == 17));
    // `--show` says the same again and writes nothing.
    fs::remove_file(case.results().join("report/jobs.tsv")).unwrap();
    assert_eq!(case.run(&["--show"]).unwrap(), said);
    assert!(!case.results().join("report/jobs.tsv").exists());
}

#[test]
fn the_page_needs_no_network_and_escapes_what_it_shows() {
    let case = Case::new();
    let names = job_names(&case);
    let hostile = r#"{"valid": false, "failures": [{"code": "x", "message": "<script>alert('&')</script>"}]}"#;
    for (n, name) in names.iter().enumerate() {
        case.finish(name, 20, 10, if n == 0 { hostile } else { GOOD });
    }
    case.rejected();
    case.run(&[]).unwrap();
    let page = case.read("index.html");
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"));
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("parse &lt;br&gt;"));
    for outside in ["http:", "https:", "//", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(outside), "the page refers to `{outside}`");
    }
    for part in [
        "Failures",
        "Class by rule",
        "Slowest jobs",
        "Memory",
        "Rejected rows",
        "All jobs",
        "<svg",
    ] {
        assert!(page.contains(part), "the page has no `{part}`");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert_eq!(page.matches("<tr>").count(), page.matches("</tr>").count());
}

#[test]
fn what_failed_is_named_with_its_reason() {
    let case = Case::new();
    let names = job_names(&case);
    case.finish(
        &names[0],
        20,
        10,
        r#"{"valid": false, "failures": [{"code": "duplicates", "message": "3 keys twice"}]}"#,
    );
    // Merged, but its validation died.
    case.finish(&names[1], 20, 10, "");
    fs::remove_file(
        case.results()
            .join("transforms")
            .join(&names[1])
            .join("validation.json"),
    )
    .unwrap();
    let log = case
        .results()
        .join(format!("logs/validate/{}.log", names[1]));
    fs::create_dir_all(log.parent().unwrap()).unwrap();
    fs::write(
        &log,
        "some line\nhalo-validate-parquet: error: no space left\nbye\n",
    )
    .unwrap();
    // A summary cut short.
    case.finish(&names[2], 20, 10, GOOD);
    fs::write(
        case.results()
            .join("transforms")
            .join(&names[2])
            .join("SUMMARY.json"),
        "{\"total_in",
    )
    .unwrap();
    // Its input never came to be: the step that failed is named, not the one that waited.
    let batch = case.results().join("logs/split_input/input.log");
    fs::create_dir_all(batch.parent().unwrap()).unwrap();
    fs::write(&batch, "halo-split: error: cannot open `np.tsv`\n").unwrap();
    let said = case.run(&[]).unwrap();
    assert!(said.starts_with("0 of 22 jobs"), "{said}");
    let jobs = case.report().jobs;
    assert_eq!(
        (jobs[0].status, jobs[0].problem.as_deref()),
        (Status::Invalid, Some("3 keys twice"))
    );
    assert_eq!(jobs[1].status, Status::Missing);
    assert!(
        jobs[1]
            .problem
            .as_deref()
            .unwrap()
            .contains("no space left"),
        "{:?}",
        jobs[1]
    );
    assert_eq!(jobs[2].status, Status::Missing);
    let upstream = jobs[3].problem.as_deref().unwrap();
    assert!(
        upstream.starts_with("split_input/input failed:") && upstream.contains("np.tsv"),
        "{upstream}"
    );
}

#[test]
fn an_empty_folder_is_reported_as_such() {
    let case = Case::new();
    assert!(case.run(&["--show"]).is_err());
    let said = case.run(&[]).unwrap();
    assert!(said.starts_with("0 of 22 jobs"), "{said}");
    assert!(said.contains("0 parents in 0 libraries"), "{said}");
    assert!(
        case.report()
            .jobs
            .iter()
            .all(|job| job.status == Status::Missing && job.problem.is_some())
    );
}

#[test]
fn too_little_memory_is_refused_before_anything_is_written() {
    let case = Case::new();
    let error = case.run(&["--memory-limit", "1KiB"]).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("the least that works here is"), "{error}");
    assert!(!case.results().join("report").exists());
}
