//! `halo-drive` with stand-ins for the other binaries: order, resume, retries, limits, signals.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const TOOLS: [&str; 5] = [
    "halo-split",
    "halo-transform-shard",
    "halo-dedup-merge",
    "halo-validate-parquet",
    "halo-report",
];

/// A small pipeline in a folder of its own: two classes, one depth, one batch each.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let fake = format!("{}/tests/fake/halo-fake", env!("CARGO_MANIFEST_DIR"));
        std::fs::create_dir(bench.path("bin")).unwrap();
        for tool in TOOLS {
            symlink(&fake, bench.path(&format!("bin/{tool}"))).unwrap();
        }
        let configs = format!("{}/../../configs", env!("CARGO_MANIFEST_DIR"));
        std::fs::create_dir(bench.path("configs")).unwrap();
        for name in ["halogens.yaml", "transforms.yaml", "pipeline.yaml"] {
            std::fs::copy(
                format!("{configs}/{name}"),
                bench.path(&format!("configs/{name}")),
            )
            .unwrap();
        }
        bench.edit(
            "pipeline.yaml",
            "[polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]",
            "[lipid, aa_peptide]",
        );
        bench.edit("pipeline.yaml", "depths: [1, 2]", "depths: [1]");
        bench.edit("pipeline.yaml", "  shards: 2 ", "  shards: 1 ");
        std::fs::create_dir(bench.path("data")).unwrap();
        std::fs::write(bench.path("data/np_700.tsv"), "id\tsmiles\tclass\n").unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path(&format!("configs/{file}"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    fn set(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_halo-drive"));
        command
            .args(args.split_whitespace())
            .current_dir(self.dir.path())
            .env("HALOCLINE_BIN", self.path("bin"))
            .env("FAKE_DIR", self.dir.path());
        command
    }

    fn run(&self, args: &str) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, expects the exit code, gives stdout and stderr together.
    fn expect(&self, code: i32, args: &str) -> String {
        let out = self.run(args);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(out.status.code(), Some(code), "{args}:\n{text}");
        text
    }

    /// Calls of the stand-ins since the last time, sorted.
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("calls"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn spawn(&self, args: &str) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn wait_for_calls(&self, n: usize) {
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

/// 1 split, then per class 1 halogenation, 1 merge, 1 split, 1 transform, and 6 + 15 rules
/// merged and validated, and 1 report.
const ALL: usize = 1 + 2 * 4 + 2 * 21 + 1;

#[test]
fn everything_runs_once_and_then_there_is_nothing_to_do() {
    let bench = Bench::new();
    let text = bench.expect(0, "run --cores 4");
    assert!(text.contains("complete: 45 results"), "{text}");
    assert_eq!(bench.calls().len(), ALL);
    let text = bench.expect(0, "run");
    assert!(
        text.contains("nothing to do: all 45 results are complete"),
        "{text}"
    );
    assert!(bench.calls().is_empty());
    assert!(bench.expect(0, "status").contains("not running"));
    // Touched files redo nothing, and neither does another cut of the work.
    let later = std::time::SystemTime::now() + Duration::from_secs(100);
    for file in ["data/np_700.tsv", "results/library/lipid-1X/SUMMARY.json"] {
        std::fs::File::options()
            .append(true)
            .open(bench.path(file))
            .unwrap()
            .set_modified(later)
            .unwrap();
    }
    bench.edit("pipeline.yaml", "  shards: 1 ", "  shards: 3 ");
    assert!(bench.expect(0, "run").contains("nothing to do"));
}

#[test]
fn command_lines_are_those_of_the_plan() {
    let bench = Bench::new();
    bench.expect(0, "run");
    let plan: serde_json::Value = serde_json::from_slice(&bench.run("plan").stdout).unwrap();
    let mut planned: Vec<String> = plan["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|j| {
            j["command"]
                .as_array()
                .unwrap()
                .iter()
                .map(|a| a.as_str().unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    planned.sort();
    assert_eq!(bench.calls(), planned);
    assert_eq!(plan["rdkit_version"], "1.0");
    assert!(
        bench
            .expect(0, "plan --format table")
            .contains("21 product tables")
    );
}

#[test]
fn what_changed_is_done_again_and_the_reason_is_printed() {
    let bench = Bench::new();
    bench.expect(0, "run");
    bench.calls();

    bench.edit(
        "transforms.yaml",
        "[CX3:1](=[O:2])[OX2H1:3]>>[C:1](=[O:2])[O:3]CC\"",
        "[CX3:1](=[O:2])[OX2H1:3]>>[C:1](=[O:2])[O:3]CCC\"",
    );
    let text = bench.expect(0, "run");
    assert!(text.contains("rule changed ("), "{text}");
    let calls = bench.calls();
    let of = |tool: &str| calls.iter().filter(|c| c.starts_with(tool)).count();
    assert_eq!(
        [
            of("halo-split"),
            of("halo-transform"),
            of("halo-dedup"),
            of("halo-validate"),
            of("halo-report")
        ],
        [0, 2, 2, 2, 1]
    );

    std::fs::write(bench.path("rdkit"), "2.0").unwrap();
    let text = bench.expect(1, "status --jobs");
    assert!(text.contains("RDKit changed (1.0 -> 2.0)"), "{text}");
    std::fs::remove_file(bench.path("rdkit")).unwrap();

    let products = "results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet";
    bench.set(products, "products X\n");
    let text = bench.expect(0, "run");
    assert!(text.contains("bytes, 9 were written"), "{text}");
    // its batch, whose shard tables are gone, and its merge; the validation's record holds no bytes of the products
    assert_eq!(bench.calls().len(), 2);
    std::fs::remove_file(bench.path(products)).unwrap();
    let text = bench.expect(0, "run --dry-run");
    assert!(
        text.contains("COCl/products.parquet` is gone") && text.contains("2 jobs would run"),
        "{text}"
    );
    assert!(bench.calls().is_empty());
    bench.expect(0, "run");

    bench.set("data/np_700.tsv", "id\tsmiles\tclass\nother\n");
    let text = bench.expect(0, "run");
    assert!(text.contains("input file changed ("), "{text}");
}

#[test]
fn intermediates_may_be_gone_while_results_are_complete() {
    let bench = Bench::new();
    bench.expect(0, "run");
    bench.calls();
    for folder in ["input", "library", "transforms", "plans"] {
        std::fs::remove_dir_all(bench.path(&format!("results/work/{folder}"))).unwrap();
    }
    assert!(bench.expect(0, "run").contains("nothing to do"));
    // one product gone: its batch, and what the batch needs, are made again, and no more
    std::fs::remove_file(
        bench.path("results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/SUMMARY.json"),
    )
    .unwrap();
    bench.expect(0, "run");
    let calls = bench.calls();
    assert_eq!(calls.len(), 3, "{calls:?}"); // split of the library, batch, merge
}

#[test]
fn a_shard_table_that_is_gone_makes_its_batch_incomplete() {
    let bench = Bench::new();
    bench.expect(0, "run --until transform");
    bench.calls();
    std::fs::remove_file(
        bench.path("results/work/transforms/lipid-1X/1x1/batch-0000/shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet"),
    )
    .unwrap();
    let text = bench.expect(0, "run --until transform");
    assert!(
        text.contains("shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet` is gone"),
        "{text}"
    );
    assert_eq!(bench.calls().len(), 1);
}

#[test]
fn failures_are_retried_then_left_and_the_rest_is_done() {
    let bench = Bench::new();
    bench.set(
        "fail",
        "--out-dir*plans/lipid 2\n--out-dir*transforms/aa_peptide-1X*batch kill\n",
    );
    let text = bench.expect(1, "run --retries 1 --cores 4");
    assert!(
        text.contains(
            "split_library/lipid-1X: exit 2: halo-split: error: told to fail; again in 1.0 s"
        ),
        "{text}"
    );
    assert!(text.contains("killed by signal 9"), "{text}");
    assert!(text.contains("blocked  13 jobs that need split_library/lipid-1X: transform/lipid-1X/1x1/batch-0000, merge/"), "{text}");
    let calls = bench.calls();
    let count = |part: &str| calls.iter().filter(|c| c.contains(part)).count();
    assert_eq!(count("--out-dir results/work/plans/lipid"), 2);
    assert_eq!(count("--out-dir results/work/transforms/aa_peptide"), 2);
    assert_eq!(count("halo-report"), 1, "the report says what failed");
    std::fs::remove_file(bench.path("fail")).unwrap();
    let text = bench.expect(0, "run --cores 4");
    assert!(text.contains("complete: 45 results"), "{text}");
}

#[test]
fn broken_data_is_not_retried_and_is_said() {
    let bench = Bench::new();
    bench.set("fail", "halo-validate*COCl 1\n");
    let text = bench.expect(1, "run --only lipid");
    assert!(
        text.contains("failed   validate/lipid-1X_FG_CARBOXYL__COOH__TO__COCl: exit 1"),
        "{text}"
    );
    assert!(text.contains("1 of "), "{text}");
    let calls = bench.calls();
    assert_eq!(
        calls
            .iter()
            .filter(|c| c.contains("validate") && c.contains("COCl"))
            .count(),
        1
    );
}

#[test]
fn stop_on_error_starts_nothing_new() {
    let bench = Bench::new();
    bench.set("fail", "halo-split 2\n");
    let text = bench.expect(1, "run --retries 0 --stop-on-error");
    assert_eq!(bench.calls().len(), 1, "{text}");
}

#[test]
fn only_and_until_select() {
    let bench = Bench::new();
    bench.expect(0, "run --only lipid-1X/*COCl --until merge");
    let calls = bench.calls();
    assert_eq!(calls.len(), 6, "{calls:?}"); // split, halogenate, merge, split, transform, merge
    bench.expect(0, "run --only lipid/*COCl");
    assert_eq!(bench.calls().len(), 1);
    bench.expect(0, "run --until merge_library");
    assert_eq!(bench.calls().len(), 2);
    let text = bench.expect(2, "run --only nothing");
    assert!(
        text.contains("libraries are aa_peptide-1X, lipid-1X"),
        "{text}"
    );
    assert!(
        bench
            .expect(2, "run --until nowhere")
            .contains("is no step")
    );
}

#[test]
fn limits_that_cannot_hold_are_refused_first() {
    let bench = Bench::new();
    let text = bench.expect(2, "run --memory 256MiB");
    assert!(
        text.contains("may use 512MiB, but all jobs together only 256MiB"),
        "{text}"
    );
    std::fs::remove_file(bench.path("bin/halo-report")).unwrap();
    let text = bench.expect(2, "run");
    assert!(
        text.contains("halo-report not found") && text.contains("make build"),
        "{text}"
    );
    std::fs::remove_file(bench.path("data/np_700.tsv")).unwrap();
    assert!(bench.expect(2, "plan").contains("data/np_700.tsv"));
    bench.edit("pipeline.yaml", "results: results", "result: results");
    assert!(
        bench
            .expect(2, "status")
            .contains("configs/pipeline.yaml:15:1: unknown field `result`")
    );
}

#[test]
fn a_second_run_is_refused_while_the_first_lives() {
    let bench = Bench::new();
    bench.set("slow", "1");
    let mut first = bench.spawn("run");
    bench.wait_for_calls(1);
    let text = bench.expect(2, "run");
    assert!(text.contains(&format!("process {}", first.id())), "{text}");
    let text = bench.expect(1, "status --jobs");
    assert!(
        text.contains(&format!("running: process {}", first.id())),
        "{text}"
    );
    assert!(text.contains("running  split_input/input for"), "{text}");
    first.kill().unwrap();
    first.wait().unwrap();
    std::fs::remove_file(bench.path("slow")).unwrap();
    bench.expect(0, "run");
}

fn signal(child: &Child, signal: &str) {
    assert!(
        Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn signals_stop_the_children_and_leave_a_state_to_resume() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let bench = Bench::new();
        bench.set("slow", "0.2");
        let child = bench.spawn("run --cores 3");
        bench.wait_for_calls(4);
        bench.set("slow", "30");
        // whatever was running ends, and what starts now does not
        std::thread::sleep(Duration::from_millis(700));
        let start = Instant::now();
        signal(&child, name);
        let out = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(code), "{text}");
        assert!(
            start.elapsed() < Duration::from_secs(8),
            "took {:?}",
            start.elapsed()
        );
        assert!(
            text.contains("the same command goes on from here"),
            "{text}"
        );
        std::fs::remove_file(bench.path("slow")).unwrap();
        let before = bench.calls().len();
        bench.expect(0, "run --cores 3");
        let after = bench.calls().len();
        assert!(
            after < ALL,
            "what was complete was done again: {before} and {after} calls"
        );
    }
}

#[test]
fn engines_that_look_at_files_are_told_what_is_complete() {
    let bench = Bench::new();
    bench.expect(0, "run");
    let settle = || -> Vec<serde_json::Value> {
        let plan: serde_json::Value =
            serde_json::from_slice(&bench.run("plan --settle").stdout).unwrap();
        plan["jobs"].as_array().unwrap().clone()
    };
    let incomplete = |jobs: &[serde_json::Value]| -> usize {
        for job in jobs {
            let there = bench.path(job["record_file"].as_str().unwrap()).exists();
            assert_eq!(job["complete"].as_bool().unwrap(), there, "{}", job["id"]);
        }
        jobs.iter().filter(|j| j["complete"] == false).count()
    };
    assert_eq!(incomplete(&settle()), 0);
    // edited, and edited back: nothing is lost by having looked in between
    bench.edit("transforms.yaml", "[O:3]CC\"", "[O:3]CCC\"");
    assert_eq!(incomplete(&settle()), 2 + 2 + 2 + 1);
    bench.edit("transforms.yaml", "[O:3]CCC\"", "[O:3]CC\"");
    assert!(bench.expect(0, "run").contains("nothing to do"));
    assert_eq!(incomplete(&settle()), 0);

    // another engine does the job, removing the record first, and says so
    let jobs = settle();
    let split = &jobs[0];
    let (file, text) = (
        split["record_file"].as_str().unwrap(),
        split["record"].as_str().unwrap(),
    );
    std::fs::remove_file(bench.path(file)).unwrap();
    assert_eq!(incomplete(&settle()), 1);
    let record = |text: &str| bench.command("record").arg(text).output().unwrap();
    assert!(record(text).status.success());
    assert_eq!(incomplete(&settle()), 0);
    std::fs::remove_file(bench.path("results/work/input/lipid/plan.json")).unwrap();
    let refused = record(text);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr)
            .contains("did not write `results/work/input/lipid/plan.json`")
    );
    assert_eq!(record("{}").status.code(), Some(2));
}

#[test]
fn touched_outputs_are_read_once_and_changed_ones_are_found() {
    let bench = Bench::new();
    bench.expect(0, "run");
    let verdict =
        bench.path("results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/validation.json");
    let record = bench.path("results/work/jobs/validate/lipid-1X_FG_CARBOXYL__COOH__TO__COCl.json");
    let modified = |path: &PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
    let touch = |path: &PathBuf| {
        std::thread::sleep(Duration::from_millis(20));
        std::fs::File::options()
            .append(true)
            .open(path)
            .unwrap()
            .set_modified(std::time::SystemTime::now())
            .unwrap();
    };
    touch(&verdict);
    assert!(modified(&record) < modified(&verdict));
    assert!(bench.expect(0, "run").contains("nothing to do"));
    assert!(
        modified(&record) > modified(&verdict),
        "the file would be read at every start"
    );
    // the same size, other bytes
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(&verdict, "{\"valid\":TRUE}\n").unwrap();
    let text = bench.expect(0, "run");
    assert!(
        text.contains("validation.json` has other bytes than were written"),
        "{text}"
    );
}

#[test]
fn every_help_text_has_an_example() {
    let bench = Bench::new();
    for command in ["", "plan", "run", "status", "record"] {
        let text = bench.expect(0, &format!("{command} --help"));
        assert!(
            text.contains("Example") && text.contains("halo-drive "),
            "{text}"
        );
    }
}

impl Bench {
    /// Shard tables of products or libraries that are there, rejects apart.
    fn shard_tables(&self) -> Vec<PathBuf> {
        fn below(dir: &std::path::Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    below(&path, found);
                } else if path.extension().is_some_and(|e| e == "parquet") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        for part in ["library", "transforms"] {
            below(&self.path("results/work").join(part), &mut found);
        }
        found
    }
}

const COCL: &str = "results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet";

#[test]
fn shards_go_when_their_products_are_validated_and_nothing_becomes_stale() {
    let bench = Bench::new();
    bench.edit("pipeline.yaml", "  shards: 1 ", "  shards: 3 ");
    bench.expect(0, "run --until merge");
    bench.calls();
    // 21 rules in 3 shards each; the shards of the libraries went with their merges
    assert_eq!(bench.shard_tables().len(), 3 * 21);
    bench.set("fail", "halo-validate*COCl 1\n");
    bench.expect(1, "run");
    assert_eq!(
        bench.shard_tables().len(),
        3 * 2,
        "{:?}",
        bench.shard_tables()
    );
    std::fs::remove_file(bench.path("fail")).unwrap();
    bench.calls();
    bench.expect(0, "run");
    // what is gone is not missed
    assert_eq!(bench.calls().len(), 2 + 1);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
    assert!(bench.expect(0, "run").contains("nothing to do"));
    bench.expect(0, "status");
    let plan: serde_json::Value =
        serde_json::from_slice(&bench.run("plan --settle").stdout).unwrap();
    for job in plan["jobs"].as_array().unwrap() {
        assert_eq!(
            (&job["complete"], &job["runs"]),
            (&true.into(), &false.into()),
            "{job}"
        );
    }

    // A product that is needed again brings its batches back, and what they made beside it goes again.
    std::fs::remove_file(bench.path(COCL)).unwrap();
    let text = bench.expect(0, "run --dry-run");
    assert!(
        text.contains("FG_CARBOXYL__COOH__TO__COCl.parquet` is gone"),
        "{text}"
    );
    bench.expect(0, "run");
    assert_eq!(bench.calls().len(), 3 + 1);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
}

#[test]
fn one_failed_merge_keeps_its_shards_and_no_others() {
    let bench = Bench::new();
    bench.set("fail", "halo-dedup-merge*lipid*COCl 1\n");
    bench.expect(1, "run");
    let left = bench.shard_tables();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].ends_with("shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet"));
    std::fs::remove_file(bench.path("fail")).unwrap();
    bench.calls();
    bench.expect(0, "run");
    let calls = bench.calls();
    assert_eq!(
        calls.len(),
        3,
        "the batch is complete, other tables of it gone or not: {calls:?}"
    );
}

#[test]
fn kept_intermediates_stay_until_they_are_not_to_be_kept() {
    let bench = Bench::new();
    let config = bench.path("configs/pipeline.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\nkeep_intermediates: true\n")).unwrap();
    bench.expect(0, "run");
    assert_eq!(bench.shard_tables().len(), 2 + 21);
    std::fs::write(&config, text).unwrap();
    bench.expect(0, "run --dry-run");
    assert_eq!(bench.shard_tables().len(), 2 + 21);
    assert!(bench.expect(0, "run").contains("nothing to do"));
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
}

#[test]
fn rules_edited_while_a_job_runs_are_not_recorded_as_the_old_ones() {
    let bench = Bench::new();
    bench.expect(0, "run --until split_library");
    bench.calls();
    bench.set("slow", "1");
    let child = bench.spawn("run --until transform --only lipid");
    bench.wait_for_calls(1);
    bench.edit("transforms.yaml", "[O:3]CC\"", "[O:3]CCC\"");
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(
        text.contains("the rules of lipid in `configs/transforms.yaml` changed while this ran"),
        "{text}"
    );
    assert_eq!(bench.calls().len(), 1, "it would say so again");
    std::fs::remove_file(bench.path("slow")).unwrap();
    // of rules that concern others, and of comments, nobody speaks
    bench.set("slow", "1");
    let child = bench.spawn("run --until transform --only lipid");
    bench.wait_for_calls(1);
    bench.edit("transforms.yaml", "# phenol_mod", "# of phenols");
    bench.edit("transforms.yaml", ">>[c:1]CCN", ">>[c:1]CCCN");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn an_input_or_tool_replaced_while_a_job_runs_is_found() {
    let bench = Bench::new();
    bench.set("slow", "1");
    let child = bench.spawn("run --until split_input");
    bench.wait_for_calls(1);
    bench.set("data/np_700.tsv", "id\tsmiles\tclass\nother\n");
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(
        text.contains("`data/np_700.tsv` changed while this ran"),
        "{text}"
    );
}

#[test]
fn costs_follow_the_rows_that_became_known() {
    let bench = Bench::new();
    bench.set(
        "rows",
        "halo-dedup-merge*library/lipid-1X 5000000\nhalo-split*library/lipid-1X 5000000\nhalo-transform*plans/lipid*COCl 7\n",
    );
    let cost = |id: &str| -> f64 {
        let plan: serde_json::Value = serde_json::from_slice(&bench.run("plan").stdout).unwrap();
        let jobs = plan["jobs"].as_array().unwrap();
        jobs.iter().find(|j| j["id"] == id).unwrap()["cost_seconds"]
            .as_f64()
            .unwrap()
    };
    let (lipid, other) = (
        "transform/lipid-1X/1x1/batch-0000",
        "transform/aa_peptide-1X/1x1/batch-0000",
    );
    assert!(cost(lipid) < 1.0);
    bench.expect(0, "run --until merge_library");
    assert!(
        cost(lipid) > 1000.0 && cost(other) < 1.0,
        "{} {}",
        cost(lipid),
        cost(other)
    );
    // and so does the order: the other library has more rules, and would come first with as many rows
    bench.set("fail", "halo-transform*plans/lipid 1\n");
    let text = bench.expect(1, "run --cores 1 --retries 0 --until transform");
    let started: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("start transform/"))
        .collect();
    assert!(
        started[0].contains("lipid"),
        "the costlier library first: {text}"
    );
}

#[test]
fn progress_is_of_the_work_and_not_of_the_number_of_jobs() {
    let bench = Bench::new();
    bench.set(
        "rows",
        "halo-split*library/lipid-1X 5000000\nhalo-dedup-merge*library/lipid-1X 5000000\n",
    );
    let text = bench.expect(0, "run --cores 1 --until transform");
    let line = text
        .lines()
        .find(|l| l.contains("done  split_library/lipid-1X"))
        .unwrap();
    let before = |part: &str| -> u32 {
        let (before, _) = line.split_once(part).unwrap();
        before.rsplit(['(', ' ']).next().unwrap().parse().unwrap()
    };
    // most jobs are done, but nearly all of the work is to come
    assert!(before(" of 9") >= 5, "{text}");
    assert!(before(" % of the work") < 20, "{text}");
    assert!(line.contains(" left)"), "{text}");
}

#[test]
fn a_process_whose_parent_is_dead_but_not_waited_for_does_not_start() {
    let bench = Bench::new();
    let mut dead = Command::new("true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", dead.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let start = |parent: u32| {
        let mut command = bench.command("--version");
        command.env("HALOCLINE_PARENT", parent.to_string());
        command.output().unwrap().status.code()
    };
    assert_eq!(start(dead.id()), Some(143));
    dead.wait().unwrap();
    assert_eq!(start(dead.id()), Some(143));
    assert_eq!(start(std::process::id()), Some(0));
    assert_eq!(start(1), Some(0), "some other process that lives");
}

#[test]
fn a_version_that_cannot_be_had_makes_nothing_stale() {
    let bench = Bench::new();
    bench.expect(0, "run");
    bench.calls();
    bench.set("mute", "");
    for command in ["run", "status", "plan --settle"] {
        let text = bench.expect(2, command);
        assert!(
            text.contains("--version` does not say which RDKit it has (signal: 9"),
            "{text}"
        );
    }
    assert!(bench.calls().is_empty());
    std::fs::remove_file(bench.path("mute")).unwrap();
    assert!(bench.expect(0, "run").contains("nothing to do"));
}
