//! The report of a results folder as the steps leave it: everything there, something broken, nothing there.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use std::path::{Path, PathBuf};

use clap::Parser;
use fs_err as fs;
use halocline_cli::sidecar::{Output, Sidecar};
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

    /// Adds failed products to a summary.
    fn failed(&self, out: &Path, products: u64) {
        let path = out.join("SUMMARY.json");
        let mut summary: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        summary["stats"]["products_failed"] = products.into();
        fs::write(path, summary.to_string()).unwrap();
    }

    /// What a split of 1,074 rows leaves, of which 4 cannot be read.
    fn split_input(&self, rows_other: u64, classes: &[(&str, u64)]) {
        let folder = self.results().join("work/input");
        let mut sidecar = Sidecar::new("halo-split");
        sidecar.input_fingerprint = Some("input".to_owned());
        for (class, rows) in classes {
            (sidecar.rows_in, sidecar.rows_done) = (*rows, *rows);
            fs::create_dir_all(folder.join(class)).unwrap();
            let library = folder.join(class).join("library.parquet");
            sidecar.write(&Sidecar::path_for(&library)).unwrap();
        }
        (sidecar.rows_in, sidecar.rows_done) = (1074, 1070);
        sidecar.rows_rejected = [("column_count".to_owned(), 4)].into();
        sidecar.counts.insert("rows_other".to_owned(), rows_other);
        let rejects = folder.join("rejects.parquet");
        sidecar.write(&Sidecar::path_for(&rejects)).unwrap();
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
fn products_that_are_not_what_was_made_and_validated_are_not_valid() {
    let case = Case::new();
    let names = [
        "lipid-1X_FG_CARBOXYL__COOH__TO__COOMe",
        "lipid-1X_FG_CARBOXYL__COOH__TO__COOEt",
        "lipid-1X_FG_CARBOXYL__COOH__TO__COCl",
    ];
    let digest = "0123456789abcdef0123456789abcdef";
    let finish = || {
        for name in names {
            case.finish(
                name,
                10,
                9,
                &format!(r#"{{"valid": true, "xxh3_128": "{digest}"}}"#),
            );
            let products = case
                .results()
                .join("transforms")
                .join(name)
                .join("products.parquet");
            let path = Sidecar::path_for(&products);
            let mut sidecar = Sidecar::read(&path).unwrap();
            sidecar.output = Some(Output {
                path: "products.parquet".into(),
                rows: 9,
                bytes: 4,
                xxh3_128: digest.into(),
            });
            sidecar.write(&path).unwrap();
        }
    };
    let status = |name: &str| {
        case.run(&[]).unwrap();
        let report = case.report();
        let job = report.jobs.iter().find(|j| j.name == name).unwrap();
        (job.status, job.problem.clone().unwrap_or_default())
    };
    let file = |name: &str, file: &str| case.results().join("transforms").join(name).join(file);
    finish();
    assert_eq!(status(names[0]), (Status::Valid, String::new()));
    // Gone, cut short, of other bytes than were validated, without its sidecar.
    fs::remove_file(file(names[0], "products.parquet")).unwrap();
    let (what, why) = status(names[0]);
    assert!(
        what == Status::Missing && why.ends_with("products.parquet` is gone"),
        "{why}"
    );
    fs::write(file(names[1], "products.parquet"), b"PAR").unwrap();
    let (what, why) = status(names[1]);
    assert!(
        what == Status::Invalid && why.contains("has 3 bytes, its sidecar says 4"),
        "{why}"
    );
    fs::write(
        file(names[2], "validation.json"),
        r#"{"valid": true, "xxh3_128": "0"}"#,
    )
    .unwrap();
    let (what, why) = status(names[2]);
    assert!(
        what == Status::Invalid && why.contains("other bytes were validated"),
        "{why}"
    );
    finish();
    fs::remove_file(file(names[2], "products.parquet.stats.json")).unwrap();
    let (what, why) = status(names[2]);
    assert!(
        what == Status::Invalid && why.contains("its sidecar cannot be read"),
        "{why}"
    );
    // Where an engine works, what it has not recorded is not complete; nor is what it recorded of another rule.
    finish();
    let config = halocline_plan::Config::load(case.dir.path().join("pipeline.yaml")).unwrap();
    let facts = halocline_plan::Facts {
        tool_version: String::new(),
        rdkit_version: None,
        inputs: halocline_plan::input_files(&config)
            .into_iter()
            .map(|path| (path, String::new()))
            .collect(),
        scale: halocline_plan::Scale::from_bytes(0),
    };
    let table = halocline_plan::build(&config, &facts).unwrap();
    for (name, rule) in [(names[0], None), (names[1], Some("another"))] {
        let merge = table.job(&format!("merge/{name}")).unwrap();
        let rule = rule.map_or_else(|| merge.provenance["rule"].clone(), str::to_owned);
        let record = halocline_plan::record_path(&table.results, &merge.id);
        fs::create_dir_all(record.parent().unwrap()).unwrap();
        let text = serde_json::json!({"provenance": {"rule": rule}}).to_string();
        fs::write(record, text).unwrap();
    }
    assert_eq!(status(names[0]).0, Status::Valid);
    let (what, why) = status(names[1]);
    assert!(
        what == Status::Missing && why.contains("another text of its rule"),
        "{why}"
    );
    let (what, why) = status(names[2]);
    assert!(
        what == Status::Missing && why.contains("has not run to its end"),
        "{why}"
    );
}

#[test]
fn rows_that_went_nowhere_are_noted() {
    let case = Case::new();
    case.split_input(1037, &[("polyphenol", 33), ("lipid", 0)]);
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

#[test]
fn rows_of_no_class_are_those_of_the_present_classes() {
    let noted = |case: &Case| {
        case.run(&[]).unwrap();
        let mut notes = case.report().notes.into_iter();
        notes.find(|note| note.contains("of no class"))
    };
    // Split for a third class too, which the configuration names no more.
    let case = Case::new();
    case.split_input(20, &[("polyphenol", 33), ("lipid", 17), ("alkaloid", 1000)]);
    let note = "1,020 of 1,074 rows of the input are of no class that the configuration names";
    assert_eq!(noted(&case).as_deref(), Some(note));
    // Split for one class, when the configuration did not name the other: nobody has counted that one.
    let case = Case::new();
    case.split_input(1037, &[("polyphenol", 33)]);
    assert_eq!(noted(&case), None);
    // Nor is it known when the other class is left from another input.
    let folder = case.results().join("work/input/lipid");
    fs::create_dir_all(&folder).unwrap();
    let mut older = Sidecar::new("halo-split");
    (older.rows_in, older.rows_done) = (7, 7);
    older.input_fingerprint = Some("another".to_owned());
    let library = folder.join("library.parquet");
    older.write(&Sidecar::path_for(&library)).unwrap();
    assert_eq!(noted(&case), None);
}

#[test]
fn products_that_failed_are_counted_and_a_rule_of_which_most_fail_is_named() {
    let case = Case::new();
    let names = job_names(&case);
    for name in &names {
        case.finish(name, 20, 10, GOOD);
    }
    let said = case.run(&[]).unwrap();
    assert!(!said.contains("failed"), "{said}");
    assert_eq!(case.report().notes, [""; 0]);
    // Of the first rule nothing can be made, of the second most fails, of the third half.
    for (name, (made, failed)) in names.iter().zip([(0, 1292), (20, 21), (20, 20)]) {
        case.finish(name, made, made, GOOD);
        case.failed(&case.results().join("transforms").join(name), failed);
    }
    let library = case.results().join("library/lipid-1X");
    case.merged(&library, 0, 0);
    case.failed(&library, 5);
    let said = case.run(&[]).unwrap();
    let report = case.report();
    let failed: Vec<u64> = report.jobs.iter().map(|job| job.products_failed).collect();
    assert_eq!(failed[..4], [1292, 21, 20, 0]);
    assert_eq!(report.totals.products_failed, 1333);
    assert_eq!((report.totals.rejected, report.rejects.len()), (0, 0));
    let lipid = report.libraries.iter().find(|l| l.name == "lipid-1X");
    assert_eq!(lipid.unwrap().products_failed, 5);
    let rule = |n: usize| &report.jobs[n].rule;
    let begin = [
        "library lipid-1X: halogenation made 0 of 5 products".to_owned(),
        format!("rule {} made 0 of 1,292 products", rule(0)),
        format!("rule {} made 20 of 41 products", rule(1)),
    ];
    assert_eq!(report.notes.len(), begin.len(), "{:?}", report.notes);
    let page = case.read("index.html");
    for begin in &begin {
        let mut notes = report.notes.iter();
        let note = notes.find(|note| note.starts_with(begin)).unwrap();
        assert!(said.contains(&format!("note: {note}\n")), "{said}");
        assert!(page.contains(note));
    }
    assert!(said.contains("\n1,333 products failed\n"), "{said}");
    assert_eq!(case.run(&["--show"]).unwrap(), said);
    assert!(page.contains("<b>1,333</b>products failed"));
    assert!(page.contains("<td data-key=\"1292\">1,292</td>"));
    let tsv = case.read("jobs.tsv");
    let rows: Vec<Vec<&str>> = tsv.lines().map(|l| l.split('\t').collect()).collect();
    let column = rows[0].iter().position(|name| *name == "products_failed");
    assert_eq!(rows[1][column.unwrap()], "1292");
}

#[test]
fn figures_that_nobody_recorded_are_left_out() {
    let case = Case::new();
    let names = job_names(&case);
    for name in &names[..2] {
        let record = case
            .results()
            .join(format!("work/jobs/validate/{name}.json"));
        fs::create_dir_all(record.parent().unwrap()).unwrap();
        fs::write(record, r#"{"wall_seconds": 0.5}"#).unwrap();
    }
    case.finish(
        &names[0],
        20,
        10,
        r#"{"valid": true, "peak_rss_bytes": 12771328}"#,
    );
    case.finish(&names[1], 20, 10, GOOD);
    case.run(&[]).unwrap();
    let report: serde_json::Value = serde_json::from_str(&case.read(JSON)).unwrap();
    let runs = report["runs"].as_array().unwrap();
    let run = |name: &str| {
        let id = format!("validate/{name}");
        runs.iter().find(|run| run["id"] == id.as_str()).unwrap()
    };
    assert_eq!(run(&names[0])["peak_rss_bytes"], 12_771_328);
    assert!(run(&names[1]).get("peak_rss_bytes").is_none());
    for name in &names[..2] {
        assert_eq!(run(name)["wall_seconds"], 0.5);
        assert!(run(name).get("cpu_seconds").is_none());
    }
    let page = case.read("index.html");
    let dot = |name: &str| page.contains(&format!("<title>validate/{name}: 12.2 MiB of "));
    assert!(dot(&names[0]) && !dot(&names[1]));
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
    // A library counts before anything is made of it.
    case.merged(&case.results().join("library/lipid-1X"), 500, 400);
    let said = case.run(&[]).unwrap();
    assert!(said.contains("\n400 parents in 1 library -> 0 "), "{said}");
    for (n, name) in (1..).zip(&names) {
        case.finish(name, 100 * n, 50 * n, GOOD);
    }
    case.rejected();
    let said = case.run(&[]).unwrap();
    assert!(
        said.starts_with("22 of 22 jobs complete and valid\n"),
        "{said}"
    );
    assert!(said.contains("report/index.html"), "{said}");
    assert!(said.contains("\n500 parents in 2 libraries"), "{said}");
    let report = case.report();
    let all: u64 = (1..=22).sum();
    assert_eq!(report.totals.total_products, 100 * all);
    assert_eq!(report.totals.unique_products, 50 * all);
    // However many rules read them: what its merge counted, and 100 of the library that no merge made.
    assert_eq!((report.totals.parents, report.totals.libraries), (500, 2));
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
    assert!(tsv.lines().all(|line| line.split('\t').count() == 18));
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
fn a_class_without_rules_is_named() {
    let case = Case::new();
    let config = case.dir.path().join("pipeline.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let more = text.replace("polyphenol, lipid]", "polyphenol, lipid, other]");
    assert_ne!(more, text);
    fs::write(&config, more).unwrap();
    let note = "no rule is in scope of class other: nothing is made of its libraries";
    // It has molecules and no parents.
    case.merged(&case.results().join("library/other-1X"), 500, 400);
    let said = case.run(&[]).unwrap();
    assert!(said.contains("\n0 parents in 0 libraries "), "{said}");
    assert!(said.contains(&format!("note: {note}\n")), "{said}");
    assert_eq!(case.report().notes, [note]);
    fs::write(&config, text).unwrap();
    case.run(&[]).unwrap();
    assert_eq!(case.report().notes, [""; 0]);
}

#[test]
fn too_little_memory_is_refused_before_anything_is_written() {
    let case = Case::new();
    let error = case.run(&["--memory-limit", "1KiB"]).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("the least that works here is"), "{error}");
    assert!(!case.results().join("report").exists());
}
