//! The Snakemake workflow with stand-ins for the tools (tests/stand-ins) and the real `halo-drive`: what runs
//! again and what does not, failures, configuration, profiles.

use halocline_tests::stand_ins::{Bench, JOBS, said};
use halocline_tests::{bin, root, run, workflow_bin_dir};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// A pipeline of its own, with the halo-drive of this build.
fn bench() -> Bench {
    Bench::new(&bin("halo-drive"))
}

/// Runs everything; the number of calls by tool.
fn run_all(bench: &Bench) -> BTreeMap<String, usize> {
    bench.calls();
    // no profile named, as in a fresh checkout
    run(&mut bench.snakemake(&["--cores", "16"]));
    let mut calls = BTreeMap::new();
    for tool in bench.calls().iter().filter_map(|l| l.split(' ').next()) {
        *calls.entry(tool.to_owned()).or_insert(0) += 1;
    }
    calls
}

/// What a dry run would run, by rule.
fn would_run(bench: &Bench) -> BTreeMap<String, usize> {
    let text = said(&mut bench.snakemake(&["--dry-run"]), 0);
    if text.contains("Nothing to be done") {
        return BTreeMap::new();
    }
    let table = text.split("Job stats:\n").nth(1);
    let table = table.unwrap_or_else(|| panic!("no job table in {text}"));
    table
        .lines()
        .skip(2)
        .map_while(|line| {
            let (rule, count) = line.split_once(' ')?;
            Some((rule.to_owned(), count.trim().parse().ok()?))
        })
        .filter(|(rule, _)| rule != "all" && rule != "total")
        .collect()
}

fn counts<const N: usize>(pairs: [(&str, usize); N]) -> BTreeMap<String, usize> {
    pairs.map(|(name, n)| (name.to_owned(), n)).into()
}

#[test]
fn only_what_changed_runs_again() {
    let bench = bench();
    assert_eq!(run_all(&bench).values().sum::<usize>(), JOBS);
    let nothing = BTreeMap::new();

    // a touched file
    let library = "results/library/lipid-1X/products.parquet";
    for file in ["data/np_700.tsv", "configs/transforms.yaml", library] {
        bench.touch(file);
    }
    assert_eq!(would_run(&bench), nothing);

    // a changed rule, and changed back: looking has cost nothing
    let (before, after) = ("[C:1](=[O:2])[O:3]CC\"", "[C:1](=[O:2])[O:3]CCC\"");
    bench.edit("transforms.yaml", before, after);
    let stale = counts([
        ("transform", 2),
        ("merge", 2),
        ("validate", 2),
        ("report", 1),
    ]);
    assert_eq!(would_run(&bench), stale);
    bench.edit("transforms.yaml", after, before);
    assert_eq!(would_run(&bench), nothing);
    bench.edit("transforms.yaml", before, after);
    // Jobs that are run again are named before anything runs, each with the reason.
    let text = said(&mut bench.snakemake(&["--dry-run"]), 0);
    let again: Vec<&str> = text.lines().filter(|l| l.starts_with("again: ")).collect();
    assert_eq!(again.len(), stale.values().sum::<usize>(), "{text}");
    for job in [
        "transform/lipid-1X/1x1/batch-0000: rules changed (",
        "merge/lipid-1X_FG_CARBOXYL__COOH__TO__COOEt: rule changed (",
    ] {
        let start = format!("again: {job}");
        assert!(again.iter().any(|l| l.starts_with(&start)), "{job}: {text}");
    }
    let calls = counts([
        ("halo-transform-shard", 2),
        ("halo-dedup-merge", 2),
        ("halo-validate-parquet", 2),
        ("halo-report", 1),
    ]);
    assert_eq!(run_all(&bench), calls);

    // intermediates that nobody needs any more
    std::fs::remove_dir_all(bench.path("results/work/transforms")).unwrap();
    std::fs::remove_dir_all(bench.path("results/work/library")).unwrap();
    assert_eq!(would_run(&bench), nothing);

    // one product: its batch and its merge, not the merges beside it
    let folder = bench.path("results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl");
    std::fs::remove_file(folder.join("products.parquet")).unwrap();
    let calls = counts([("halo-transform-shard", 1), ("halo-dedup-merge", 1)]);
    assert_eq!(run_all(&bench), calls);

    // damage of equal size
    std::fs::write(folder.join("validation.json"), "{\"valid\":TRUE}\n").unwrap();
    assert_eq!(would_run(&bench), counts([("validate", 1)]));

    // both engines share what they know
    run(&mut bench.drive("run"));
    assert_eq!(would_run(&bench), nothing);

    // memory and threads are not content; the input's content is
    bench.edit("pipeline.yaml", "512MiB, threads: 1", "600MiB, threads: 2");
    assert_eq!(would_run(&bench), nothing);
    std::fs::write(bench.path("data/np_700.tsv"), "id\tsmiles\tclass\nmore\n").unwrap();
    assert_eq!(would_run(&bench).values().sum::<usize>(), JOBS);
}

/// What Snakemake remembers of a job is older than the records when halo-drive has made it since.
#[test]
fn what_the_other_engine_did_is_believed() {
    let bench = bench();
    run_all(&bench);
    let label = |from: &str, to: &str| bench.edit("transforms.yaml", from, to);
    label("[C:1](=[O:2])[O:3]CC\"", "[C:1](=[O:2])[O:3]CCC\"");
    run(&mut bench.drive("run"));
    assert_eq!(would_run(&bench), BTreeMap::new());
    assert_eq!(run_all(&bench), BTreeMap::new());
    // Half of it: Snakemake does the other half, in one run.
    label("[C:1](=[O:2])[O:3]CCC\"", "[C:1](=[O:2])[O:3]CCCC\"");
    run(&mut bench.drive("run --until transform"));
    let calls = [
        ("halo-dedup-merge", 2),
        ("halo-validate-parquet", 2),
        ("halo-report", 1),
    ];
    assert_eq!(run_all(&bench), counts(calls));
    assert_eq!(run_all(&bench), BTreeMap::new());
}

#[test]
fn a_failure_is_reported_and_the_rest_is_done() {
    let bench = bench();
    let fail = "merge*lipid*COCl 2\nvalidate*aa_peptide*ALIPH__NH2__TO__NHMe kill\n";
    std::fs::write(bench.path("fail"), fail).unwrap();
    let text = said(&mut bench.snakemake(&["--cores", "4"]), 1);
    assert!(
        text.contains("halo-dedup-merge: error: told to fail"),
        "{text}"
    );
    assert!(
        text.contains("results/report/index.html says which"),
        "{text}"
    );
    for line in [
        "halocline: failed: merge/lipid-1X_FG_CARBOXYL__COOH__TO__COCl: halo-dedup-merge: error: told to fail; log: results/logs/merge/",
        "halocline: failed: validate/aa_peptide-1X_FG_AMINE_ALIPH__NH2__TO__NHMe: halocline: halo-validate-parquet: killed by signal 9: by somebody",
        "halocline: not done because of that: 2 jobs",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(bench.path("results/report/index.html").exists());
    std::fs::remove_file(bench.path("fail")).unwrap();
    let calls = [
        ("halo-dedup-merge", 1),
        ("halo-validate-parquet", 2),
        ("halo-report", 1),
    ];
    assert_eq!(run_all(&bench), counts(calls));
    // Snakemake's own report has ours in it.
    run(&mut bench.snakemake(&["--report", "report.html"]));
    assert!(std::fs::metadata(bench.path("report.html")).unwrap().len() > 10_000);
}

#[test]
fn tables_of_an_earlier_plan_are_named() {
    let bench = bench();
    run(&mut bench.drive("run"));
    bench.edit("pipeline.yaml", "[lipid, aa_peptide]", "[aa_peptide]");
    let text = said(&mut bench.snakemake(&["--dry-run"]), 0);
    let lines = text.lines().filter(|l| l.starts_with("not in the plan: "));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 6, "{text}");
    let library = "not in the plan: results/library/lipid-1X/products.parquet";
    assert_eq!(
        (lines[0], lines[5]),
        (library, "not in the plan: 2 more tables")
    );
}

/// A product that is made again has the bytes it had: neither its validation nor the report, with which shard tables go,
/// runs again, and the batch has made the tables of the other rules too.
#[test]
fn shard_tables_go_at_the_end_of_a_run_and_not_before_they_are_read() {
    let bench = bench();
    run_all(&bench);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
    let product = "results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet";
    let again = counts([("halo-transform-shard", 1), ("halo-dedup-merge", 1)]);
    bench.remove(product);
    assert_eq!(run_all(&bench), again);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());

    // What a merge that failed has still to read stays, and is enough.
    bench.remove(product);
    bench.set("fail", "halo-dedup-merge*lipid*COCl 1\n");
    said(&mut bench.snakemake(&["--cores", "4"]), 1);
    let left = bench.shard_tables();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].ends_with("shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet"));
    bench.remove("fail");
    // (The report of the failure is not the last one.)
    let rest = counts([("halo-dedup-merge", 1), ("halo-report", 1)]);
    assert_eq!(run_all(&bench), rest);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());

    // Nothing goes that is to be kept, nor when somebody only looks; without work it goes too.
    let (off, on) = ("# keep_intermediates: true", "keep_intermediates: true");
    bench.edit("pipeline.yaml", off, on);
    bench.remove(product);
    assert_eq!(run_all(&bench), again);
    let kept = bench.shard_tables();
    assert!(kept.len() > 1, "{kept:?}");
    bench.edit("pipeline.yaml", on, off);
    assert_eq!(would_run(&bench), BTreeMap::new());
    assert_eq!(bench.shard_tables(), kept);
    assert_eq!(run_all(&bench), BTreeMap::new());
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
}

/// The verdict says what is wrong with a table, and the report shows it: neither goes because its job failed.
#[test]
fn what_a_failed_job_has_written_stays() {
    let bench = bench();
    bench.set("fail", "halo-validate-parquet*lipid*COCl 1\n");
    said(&mut bench.snakemake(&["--cores", "4"]), 1);
    let folder = bench.path("results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl");
    let files = || {
        let names = fs_err::read_dir(&folder).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let left = files();
    assert!(left.contains(&"validation.json".into()), "{left:?}");
    // As under the other engine.
    said(&mut bench.drive("run --cores 4 --retries 0"), 1);
    assert_eq!(files(), left);
    bench.remove("fail");
    bench.calls();
    let rest = counts([("halo-validate-parquet", 1), ("halo-report", 1)]);
    assert_eq!(run_all(&bench), rest);
    assert_eq!(files(), left);
}

/// Ten lines that expand to 3,486,784,401 values: what checks or prints them takes all memory.
#[test]
fn a_configuration_that_expands_is_refused() {
    let bench = bench();
    let shipped = std::fs::read_to_string(bench.path("configs/pipeline.yaml")).unwrap();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let list = vec![format!("*a{}", i - 1); 9].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{list}]\n"));
    }
    bench.set("configs/pipeline.yaml", &format!("{shipped}{bomb}"));
    // Where it is not refused, it is stopped.
    let mut limited = Command::new("bash");
    let snakemake = bench.snakemake(&["--cores", "1", "-n"]);
    limited.args(["-c", "ulimit -v 4000000; exec timeout 60 \"$@\"", "-"]);
    limited
        .arg(snakemake.get_program())
        .args(snakemake.get_args());
    limited.current_dir(snakemake.get_current_dir().unwrap());
    for (name, value) in snakemake.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let text = said(&mut limited, 1);
    assert!(text.contains("more than 10,000 values"), "{text}");
}

/// A forced job whose inputs went with its products would have its outputs removed, and then fail.
#[test]
fn steps_that_cannot_be_forced_are_refused() {
    let bench = bench();
    // From nothing everything can be.
    assert_eq!(
        run(&mut bench.snakemake(&["--cores", "16", "--forceall"]))
            .status
            .code(),
        Some(0)
    );
    bench.calls();
    let folder = "results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl";
    let product = format!("{folder}/products.parquet");
    let refused = |args: &[&str]| {
        let text = said(
            &mut bench.snakemake(&[&["--cores", "16"], args].concat()),
            1,
        );
        assert!(
            text.contains("cannot be forced: `results/work/")
                && text.contains("start without -R, -f and -F"),
            "{args:?}: {text}"
        );
        assert_eq!(bench.calls().len(), 0, "{args:?}");
        assert!(bench.path(&product).exists(), "{args:?}");
    };
    refused(&["--forcerun", "merge"]);
    refused(&["--forcerun", "merge_library"]);
    refused(&["--forcerun", product.as_str()]);
    refused(&["--force", product.as_str()]);
    // Also when what they read is there still as the run starts, and goes because it is not to be kept.
    let (off, on) = ("# keep_intermediates: true", "keep_intermediates: true");
    bench.edit("pipeline.yaml", off, on);
    bench.remove(&product);
    run_all(&bench);
    bench.edit("pipeline.yaml", on, off);
    refused(&["--forcerun", product.as_str()]);
    // What is said to be done instead.
    bench.remove(&product);
    let again = [("halo-transform-shard", 1), ("halo-dedup-merge", 1)];
    assert_eq!(run_all(&bench), counts(again));
    // What has its inputs still, or is given them again, can be forced.
    let forced = |args: &[&str]| {
        run(&mut bench.snakemake(&[&["--cores", "16"], args].concat()));
        bench.calls().len()
    };
    let all_forced = forced(&["--forceall"]);
    assert_eq!(all_forced, JOBS);
    assert_eq!(forced(&["--forcerun", "validate"]), 21);
    assert_eq!(forced(&["--forcerun", "transform"]), 2);
    assert_eq!(forced(&["--force", "report"]), 1);
    // Not when the jobs before it are no longer known to be complete.
    std::fs::remove_dir_all(bench.path("results/work/plans")).unwrap();
    refused(&["--forceall"]);
    refused(&["--forcerun", "transform"]);
}

/// Snakemake compares no digests; it says who does.
#[test]
fn damage_of_equal_size_is_not_there_for_good() {
    let bench = bench();
    run(&mut bench.snakemake(&["--cores", "4", "--until", "transform"]));
    let shard = "results/work/transforms/lipid-1X/1x1/batch-0000/shard-00000";
    let table = format!("{shard}/FG_CARBOXYL__COOH__TO__COCl.parquet");
    bench.set(&table, "tabel\n");
    let text = said(&mut bench.snakemake(&["--cores", "4"]), 1);
    let (drive, args) = (
        "halo-drive",
        "run --config configs/pipeline.yaml --checksums",
    );
    let hint = format!(
        "halocline: a job that failed may have read what was damaged since it was made; `{drive} {args}` "
    );
    assert!(text.contains(&hint), "{text}");
    run(&mut bench.drive(args));
    assert_eq!(would_run(&bench), BTreeMap::new());
}

#[test]
fn configuration_mistakes_are_refused_before_anything_runs() {
    let bench = bench();
    let text = said(&mut bench.snakemake(&["-n", "--config", "bogus_key=1"]), 1);
    assert!(
        text.contains("Error validating config file") && text.contains("bogus_key"),
        "{text}"
    );
    let text = said(
        &mut bench.snakemake(&["-n", "--config", "bin_dir=/nowhere"]),
        1,
    );
    assert!(text.contains("run `make build`"), "{text}");
    // The keys are checked before anything else is looked at, the columns of the input before any job.
    let table = bench.path("data/np_700.tsv");
    std::fs::write(&table, "id\tsmiles\tklass\n").unwrap();
    let text = said(&mut bench.snakemake(&["-n"]), 1);
    assert!(
        text.contains("data/np_700.tsv` has no column `class`"),
        "{text}"
    );
    std::fs::remove_file(&table).unwrap();
    let args = ["-n", "--config", "bogus_key=1", "bin_dir=/nowhere"];
    let text = said(&mut bench.snakemake(&args), 1);
    assert!(text.contains("bogus_key"), "{text}");
    std::fs::write(&table, "id\tsmiles\tclass\n").unwrap();
    // An override reaches halo-drive and every command line.
    let text = said(
        &mut bench.snakemake(&["-n", "-p", "--config", "results=elsewhere"]),
        0,
    );
    let command = "--config elsewhere/work/pipeline.json --results elsewhere";
    assert!(text.contains(command), "{text}");
}

/// A SMIRKS that RDKit does not take is the first thing said, by both engines, and not by the first batch that needs it.
#[test]
fn a_rule_that_rdkit_refuses_is_said_before_anything_runs() {
    let bench = bench();
    let real = bench.path("bin/halo-transform-shard");
    std::fs::remove_file(&real).unwrap();
    std::os::unix::fs::symlink(bin("halo-transform-shard"), &real).unwrap();
    // Both rule files are taken as they are shipped.
    assert!(bench.expect(0, "run --dry-run").contains("jobs would run"));
    // A rule of a class that is not made is no business of these jobs.
    let phenol = "[c:1][OX2H:2]>>[c:1][O:2]C";
    bench.edit(
        "transforms.yaml",
        &format!("{phenol}\""),
        &format!("{phenol}(\""),
    );
    bench.expect(0, "run --dry-run");
    let carboxyl = "[CX3:1](=[O:2])[OX2H1:3]>>[C:1](=[O:2])Cl";
    bench.edit(
        "transforms.yaml",
        &format!("{carboxyl}\""),
        &format!("{carboxyl}(\""),
    );
    let said_by = [
        bench.expect(2, "run"),
        bench.expect(2, "run --dry-run"),
        said(&mut bench.snakemake(&["--cores", "2"]), 1),
    ];
    for text in said_by {
        let rule = "the rules in `configs/transforms.yaml` cannot be used: rule `FG_CARBOXYL__COOH__TO__COCl`: ";
        assert!(text.contains(rule), "{text}");
    }
    assert!(bench.calls().is_empty());
    // What does not apply them does not ask.
    assert!(bench.expect(1, "status").contains("not running"));
}

/// A configuration of one's own is the whole configuration, as it is to halo-drive: what it leaves out is left out.
#[test]
fn a_named_configuration_takes_nothing_from_the_shipped_one() {
    let bench = bench();
    let shipped = std::fs::read_to_string(bench.path("configs/pipeline.yaml")).unwrap();
    let (kept, end) = shipped.rsplit_once("  keep: [id, class]").unwrap();
    bench.set("mine.yaml", &format!("{kept}{end}"));
    let commands = |args: &[&str]| {
        let args = [&["-n", "-p"], args].concat();
        let text = said(&mut bench.snakemake(&args), 0);
        let all = text.lines().filter(|l| l.contains("halo-transform-shard"));
        let transforms = all.filter(|l| l.contains("work/transforms/"));
        let found: Vec<String> = transforms.map(str::to_owned).collect();
        assert_eq!(found.len(), 2, "{text}");
        (found[0].clone(), text)
    };
    let (transform, text) = commands(&["--configfile", "mine.yaml"]);
    assert!(!transform.contains("--keep"), "{transform}");
    assert!(text.contains("/mine.yaml --results results"), "{text}");
    // Values of the command line go over it, and over the shipped one when none is named.
    let (transform, text) = commands(&["--configfile", "mine.yaml", "--config", "results=mine"]);
    assert!(!transform.contains("--keep"), "{transform}");
    assert!(text.contains("mine/work/pipeline.json"), "{text}");
    let (transform, text) = commands(&["--config", "results=theirs"]);
    assert!(transform.contains("--keep id --keep class"), "{transform}");
    assert!(text.contains("theirs/work/pipeline.json"), "{text}");
    // Of several, each goes over those before it.
    bench.set("more.yaml", "transform: {keep: [class]}\n");
    let (transform, text) = commands(&["--configfile", "mine.yaml", "more.yaml"]);
    assert!(transform.contains("--keep class"), "{transform}");
    assert!(!transform.contains("--keep id"), "{transform}");
    assert!(text.contains("results/work/pipeline.json"), "{text}");
    // A part is no configuration.
    let text = said(
        &mut bench.snakemake(&["-n", "--configfile", "more.yaml"]),
        1,
    );
    assert!(text.contains("is a required property"), "{text}");
}

#[test]
fn schema_and_halo_drive_agree_on_what_a_configuration_is() {
    let bench = bench();
    let fine = [
        ("results: results", "results: '5'"),
        ("# keep_intermediates: true", "keep_intermediates: yes"),
        // A key that is left empty is left out.
        ("# keep_intermediates: true", "keep_intermediates:"),
        ("\nresults: results", "\nlibraries:\nresults: results"),
        (
            "\nresults: results",
            "\nlibraries: {lipid: }\nresults: results",
        ),
        ("  smiles_column: smiles ", "  smiles_column: "),
        ("  keep: [id, class]\n  # shards_for", "  keep:\n  #"),
        ("  # shards_for: {polyphenol-2X: 400}", "  shards_for:"),
        ("halogenate:\n", "halogenate:\n  shards_for:\n"),
    ];
    let mistakes = [
        ("results: results", "result: results"),
        ("  class_column: class", "  klass: class"),
        ("depths: [1]", "depths: [4]"),
        ("depths: [1]", "depths: []"),
        ("classes: [lipid, aa_peptide]", "classes: [../lipid]"),
        ("classes: [lipid, aa_peptide]", "classes: [lipid, lipid]"),
        (
            "  split_input: {memory: 512MiB",
            "  split_input: {memory: 512",
        ),
        (
            "  report: {memory: 256MiB, threads: 1",
            "  report: {memory: 256MiB, threads: 0",
        ),
        ("  report: {memory", "  raport: {memory"),
        ("  shards_per_batch: 1", "  shards_per_batch: 0"),
        (
            "halogenate:\n",
            "halogenate:\n  shards_for: {lipid-1X: 2}\n",
        ),
        // Text is text, numbers are numbers.
        ("results: results", "results: 5"),
        ("depths: [1]", "depths: ['1']"),
        ("depths: [1]", "depths: [1, 1.0]"),
        ("classes: [lipid, aa_peptide]", "classes: [lipid, 5]"),
        ("  smiles_column: smiles ", "  smiles_column: 5 "),
        ("# keep_intermediates: true", "keep_intermediates: 'yes'"),
        ("# keep_intermediates: true", "keep_intermediates: 1"),
        ("  shards_per_batch: 1", "  shards_per_batch: '1'"),
        (
            "  report: {memory: 256MiB, threads: 1",
            "  report: {memory: 256MiB, threads: '1'",
        ),
        (
            "  report: {memory: 256MiB, threads: 1",
            "  report: {memory: 256MiB, threads: 1025",
        ),
        ("transform:\n", "transform:\nother:\n"),
    ];
    let shipped = std::fs::read_to_string(bench.path("configs/pipeline.yaml")).unwrap();
    let mut files = vec![bench.path("configs/pipeline.yaml")];
    for (i, (from, to)) in fine.iter().chain(&mistakes).enumerate() {
        assert!(shipped.contains(from), "{from}");
        let file = bench.path(&format!("configs/changed-{i}.yaml"));
        std::fs::write(&file, shipped.replace(from, to)).unwrap();
        files.push(file);
    }
    let script = "import jsonschema, sys, yaml\n\
        schema = yaml.safe_load(open(sys.argv[1]))\n\
        check = jsonschema.Draft202012Validator(schema)\n\
        print(*[int(check.is_valid(yaml.safe_load(open(f)))) for f in sys.argv[2:]])";
    let mut python = Command::new(workflow_bin_dir().join("python"));
    python
        .args(["-c", script])
        .arg(root().join("workflow/schemas/config.schema.yaml"));
    let verdicts = said(python.args(&files), 0);
    let (fine, mistakes) = (" 1".repeat(fine.len()), " 0".repeat(mistakes.len()));
    assert_eq!(verdicts.trim(), format!("1{fine}{mistakes}"));
    for (verdict, file) in verdicts.split_whitespace().zip(&files) {
        let mut plan = bench.drive("plan --config");
        said(plan.arg(file), if verdict == "1" { 0 } else { 2 });
    }
}

#[test]
fn every_profile_is_accepted() {
    let bench = bench();
    for (name, reserve_mb) in [("workstation", 0), ("low-memory", 0), ("slurm", 300)] {
        let profile = root().join("profiles").join(name);
        let text = said(
            &mut bench.snakemake(&["-n", "--profile", profile.to_str().unwrap()]),
            0,
        );
        let memory = format!("mem_mb={}", 537 + reserve_mb);
        assert!(text.contains(&memory), "{name}: {text}");
    }
}

#[test]
fn the_low_memory_profile_fits_into_4_gib() {
    // What the jobs may take together, by the profile, and what the tools keep (tests/tests/*memory*.rs); Snakemake
    // itself has 300 MB with the demo (measured: 130), a gigabyte is left for the system.
    let path = root().join("profiles/low-memory/config.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let number = |key: &str| -> u64 {
        let line = text.lines().find_map(|l| l.trim().strip_prefix(key));
        line.unwrap().trim().parse().unwrap()
    };
    let (budget, cores) = (number("mem_mb:"), number("cores:"));
    assert!(
        budget + 300 + 1000 <= 4 * 1024 * 1_048_576 / 1_000_000,
        "{budget}"
    );
    let plan = run(Command::new(bin("halo-drive"))
        .arg("plan")
        .current_dir(root()));
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    for job in plan["jobs"].as_array().unwrap() {
        let job_mb = job["mem_mb"].as_u64().unwrap();
        // None has to be cut down to the budget, and as many fit as there are cores.
        assert!(job_mb * cores <= budget, "{}: {job_mb} MB", job["id"]);
    }
}

/// Both engines know what is complete by the same records and remove the same intermediates: not at the same time.
#[test]
fn one_engine_at_a_time() {
    let bench = bench();
    bench.set("slow", "1");
    let mut drive = bench.spawn("run --cores 2");
    bench.wait_for_calls(1);
    let text = said(&mut bench.snakemake(&["--cores", "2"]), 1);
    assert!(text.contains("another run is at work in"), "{text}");
    drive.kill().unwrap();
    drive.wait().unwrap();

    bench.calls();
    let mut snakemake = bench.snakemake(&["--cores", "2"]).spawn().unwrap();
    bench.wait_for_calls(1);
    let text = bench.expect(2, "run");
    assert!(text.contains("(Snakemake)"), "{text}");
    let text = bench.expect(1, "status");
    assert!(text.contains("(Snakemake)"), "{text}");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(snakemake.id().cast_signed()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    snakemake.wait().unwrap();
    bench.remove("slow");
    run(&mut bench.drive("run"));
}

/// Snakemake did not live to note the end of jobs that are complete: the rest is made, and only the rest.
#[test]
fn jobs_that_ended_without_snakemake_are_complete() {
    let bench = bench();
    bench.set("fail", "halo-transform-shard 1\n");
    said(&mut bench.snakemake(&["--cores", "2"]), 1);
    bench.remove("fail");
    // What it noted of the jobs that ended well, as it is while they run.
    let incomplete = bench.path(".snakemake/incomplete");
    let mut marks = 0;
    for file in std::fs::read_dir(bench.path(".snakemake/metadata")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), incomplete.join(file.file_name())).unwrap();
        marks += 1;
    }
    assert!(marks > 0);
    // All but the split of the input.
    assert_eq!(run_all(&bench).values().sum::<usize>(), JOBS - 1);
    run(&mut bench.drive("status"));
}

/// Clocks of other machines, a clock that was put back, files from elsewhere: no time stamp fails a job.
#[test]
fn files_from_the_future_fail_nothing() {
    let bench = bench();
    let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let to_tomorrow = |name: &str| {
        let file = fs_err::File::options().append(true).open(bench.path(name));
        file.unwrap().into_parts().0.set_modified(tomorrow).unwrap();
    };
    for name in [
        "data/np_700.tsv",
        "configs/halogens.yaml",
        "configs/transforms.yaml",
    ] {
        to_tomorrow(name);
    }
    assert_eq!(run_all(&bench).values().sum::<usize>(), JOBS);
    // Nor is a job blamed for a log of that day.
    let product = "results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet";
    to_tomorrow("results/logs/merge/lipid-1X_FG_CARBOXYL__COOH__TO__COCl.log");
    bench.remove(product);
    bench.set("fail", "halo-transform-shard*lipid* 1\n");
    let text = said(&mut bench.snakemake(&["--cores", "4"]), 1);
    assert!(
        text.contains("halocline: failed: transform/lipid-1X/"),
        "{text}"
    );
    assert!(!text.contains("halocline: failed: merge/"), "{text}");
}

/// The folder of the binaries may be called anything that PATH can hold.
#[test]
fn a_folder_of_binaries_with_an_odd_name() {
    let bench = bench();
    let odd = bench.path("a {b} $HOME `c` \\d 'e\" f");
    std::os::unix::fs::symlink(bench.path("bin"), &odd).unwrap();
    let mut snakemake = bench.snakemake(&["--cores", "4", "--until", "split_input"]);
    run(snakemake.env("HALOCLINE_BIN", &odd));
    assert_eq!(bench.calls().len(), 1);
    let text = said(
        bench
            .snakemake(&["-n"])
            .env("HALOCLINE_BIN", bench.path("bin:2")),
        1,
    );
    assert!(text.contains("run `make build`"), "{text}");
    std::os::unix::fs::symlink(bench.path("bin"), bench.path("bin:2")).unwrap();
    let text = said(
        bench
            .snakemake(&["-n"])
            .env("HALOCLINE_BIN", bench.path("bin:2")),
        1,
    );
    assert!(text.contains("has a colon in its name"), "{text}");
}
