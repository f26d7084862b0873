//! The Snakemake workflow with stand-ins for the tools (tests/stand-ins) and the real `halo-drive`: what runs
//! again and what does not, and one engine at a time; failures and configuration beside it.

mod configuration;
mod failures;

use halocline_tests::stand_ins::{Bench, JOBS, PRODUCT, said};
use halocline_tests::{bin, run};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    let again = counts([("halo-transform-shard", 1), ("halo-dedup-merge", 1)]);
    bench.remove(PRODUCT);
    assert_eq!(run_all(&bench), again);
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());

    // What a merge that failed has still to read stays, and is enough.
    bench.remove(PRODUCT);
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
    bench.keep_intermediates(true);
    bench.remove(PRODUCT);
    assert_eq!(run_all(&bench), again);
    let kept = bench.shard_tables();
    assert!(kept.len() > 1, "{kept:?}");
    bench.keep_intermediates(false);
    assert_eq!(would_run(&bench), BTreeMap::new());
    assert_eq!(bench.shard_tables(), kept);
    assert_eq!(run_all(&bench), BTreeMap::new());
    assert_eq!(bench.shard_tables(), Vec::<PathBuf>::new());
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
    let refused = |args: &[&str]| {
        let text = said(
            &mut bench.snakemake(&[&["--cores", "16"], args].concat()),
            1,
        );
        assert!(
            text.contains("cannot be forced: `results/work/")
                && text.contains("start without -R, -f and -F")
                && text.contains("this job too once `results/"),
            "{args:?}: {text}"
        );
        assert_eq!(bench.calls().len(), 0, "{args:?}");
        assert!(bench.path(PRODUCT).exists(), "{args:?}");
    };
    refused(&["--forcerun", "merge"]);
    refused(&["--forcerun", "merge_library"]);
    refused(&["--forcerun", PRODUCT]);
    refused(&["--force", PRODUCT]);
    // Also when what they read is there still as the run starts, and goes because it is not to be kept.
    bench.keep_intermediates(true);
    bench.remove(PRODUCT);
    run_all(&bench);
    bench.keep_intermediates(false);
    refused(&["--forcerun", PRODUCT]);
    // What is said to be done instead.
    bench.remove(PRODUCT);
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
