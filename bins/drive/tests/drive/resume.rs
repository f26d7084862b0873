//! What is done again, and what is not.

use crate::bench;
use halocline_tests::stand_ins::PRODUCT;
use std::path::PathBuf;
use std::time::Duration;

#[test]
fn what_changed_is_done_again_and_the_reason_is_printed() {
    let bench = bench();
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
    bench.remove("rdkit");

    bench.set(PRODUCT, "products X\n");
    let text = bench.expect(0, "run");
    assert!(text.contains("bytes, 9 were written"), "{text}");
    // its batch, whose shard tables are gone, and its merge; the validation's record holds no bytes of the products
    assert_eq!(bench.calls().len(), 2);
    bench.remove(PRODUCT);
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
    let bench = bench();
    bench.expect(0, "run");
    bench.calls();
    for folder in ["input", "library", "transforms", "plans"] {
        std::fs::remove_dir_all(bench.path(&format!("results/work/{folder}"))).unwrap();
    }
    assert!(bench.expect(0, "run").contains("nothing to do"));
    // one product gone: its batch, and what the batch needs, are made again, and no more
    bench.remove("results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/SUMMARY.json");
    bench.expect(0, "run");
    let calls = bench.calls();
    assert_eq!(calls.len(), 3, "{calls:?}"); // split of the library, batch, merge
}

#[test]
fn a_shard_table_that_is_gone_makes_its_batch_incomplete() {
    let bench = bench();
    bench.expect(0, "run --until transform");
    bench.calls();
    bench.remove("results/work/transforms/lipid-1X/1x1/batch-0000/shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet");
    let text = bench.expect(0, "run --until transform");
    assert!(
        text.contains("shard-00000/FG_CARBOXYL__COOH__TO__COCl.parquet` is gone"),
        "{text}"
    );
    assert_eq!(bench.calls().len(), 1);
}

#[test]
fn engines_that_look_at_files_are_told_what_is_complete() {
    let bench = bench();
    bench.expect(0, "run");
    let settle = || -> Vec<serde_json::Value> {
        let plan = bench.json("plan --settle");
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
    let record = |text: &str| bench.drive("record").arg(text).output().unwrap();
    assert!(record(text).status.success());
    assert_eq!(incomplete(&settle()), 0);
    bench.remove("results/work/input/lipid/plan.json");
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
    let bench = bench();
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
fn rules_edited_while_a_job_runs_are_not_recorded_as_the_old_ones() {
    let bench = bench();
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
    bench.remove("slow");
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
    let bench = bench();
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
fn a_version_that_cannot_be_had_makes_nothing_stale() {
    let bench = bench();
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
    bench.remove("mute");
    assert!(bench.expect(0, "run").contains("nothing to do"));
}

#[test]
fn a_library_that_was_moved_is_read_where_it_is_now() {
    let bench = bench();
    bench.set("old.parquet", "library");
    let at = |path: &str| format!("libraries:\n  lipid: {{1: {path}}}\nresults: results");
    bench.edit("pipeline.yaml", "results: results", &at("old.parquet"));
    bench.expect(0, "run");
    std::fs::rename(bench.path("old.parquet"), bench.path("new.parquet")).unwrap();
    bench.edit("pipeline.yaml", "old.parquet", "new.parquet");
    assert!(bench.expect(0, "run").contains("nothing to do"));
    bench.calls();
    // The plan of its shards names the file: what has to be transformed again needs it made again.
    bench.remove(PRODUCT);
    let text = bench.expect(0, "run --dry-run");
    assert!(
        text.contains("library path changed (old.parquet -> new.parquet)"),
        "{text}"
    );
    bench.expect(0, "run");
    let calls = bench.calls();
    assert!(
        calls.len() == 3 && calls[1].starts_with("halo-split new.parquet"),
        "{calls:?}"
    );
}

#[test]
fn tables_of_an_earlier_plan_are_named_and_stay() {
    let bench = bench();
    bench.expect(0, "run");
    let named = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|l| l.starts_with("not in the plan: "));
        lines.map(str::to_owned).collect()
    };
    for command in ["run", "status"] {
        assert_eq!(named(&bench.expect(0, command)), Vec::<String>::new());
    }
    bench.edit(
        "transforms.yaml",
        "name: FG_CARBOXYL__COOH__TO__COCl\n",
        "name: renamed\n",
    );
    let files = ["aa_peptide", "lipid"].map(|class| {
        format!("results/transforms/{class}-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet")
    });
    let lines = files.clone().map(|file| format!("not in the plan: {file}"));
    assert_eq!(named(&bench.expect(1, "status")), lines);
    for _ in 0..2 {
        assert_eq!(
            named(&bench.expect(0, "run")),
            lines,
            "also with nothing to do"
        );
    }
    let status = bench.json("status --format json");
    assert_eq!(status["not_in_plan"], serde_json::json!(files));
    // As the driver says it, for Snakemake to say the same.
    let plan = bench.json("plan --settle");
    let said = plan["not_in_plan"].as_str().unwrap();
    assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    // A class that is dropped leaves its library and 6 products; a library that is read is no stranger.
    bench.edit("pipeline.yaml", "[lipid, aa_peptide]", "[aa_peptide]");
    let lines = named(&bench.expect(0, "run"));
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(
        lines[0],
        "not in the plan: results/library/lipid-1X/products.parquet"
    );
    assert_eq!(lines[5], "not in the plan: 4 more tables");
    let ready =
        "libraries:\n  lipid: {1: results/library/lipid-1X/products.parquet}\nresults: results";
    bench.edit("pipeline.yaml", "[aa_peptide]", "[lipid, aa_peptide]");
    bench.edit("pipeline.yaml", "results: results", ready);
    assert_eq!(named(&bench.expect(1, "status")).len(), 2);
    assert!(bench.path(&files[0]).exists());
}

/// The plan of its shards stays complete, and names the library that its batches read.
#[test]
fn a_library_that_is_made_again_is_there_before_its_batches_read_it() {
    let bench = bench();
    bench.expect(0, "run");
    bench.calls();
    let library = "results/library/lipid-1X/products.parquet";
    for damaged in [false, true] {
        if damaged {
            bench.set(library, "something else\n");
        } else {
            bench.remove(library);
        }
        bench.remove(PRODUCT);
        let text = bench.expect(0, "run --cores 4 --retries 0");
        assert!(text.contains("complete: "), "{text}");
        // In the order in which they were started.
        let calls = std::fs::read_to_string(bench.path("calls")).unwrap();
        let tools = calls.lines().map(|l| l.split(' ').next().unwrap());
        let expected = [
            "halo-transform-shard", // of the halogenation
            "halo-dedup-merge",
            "halo-transform-shard",
            "halo-dedup-merge",
        ];
        assert_eq!(tools.collect::<Vec<_>>(), expected, "{calls}");
        assert!(calls.contains(&format!("--out {library}")), "{calls}");
        bench.calls();
    }
    // Without the library there is nothing to start them on.
    bench.remove(library);
    bench.remove(PRODUCT);
    bench.set("fail", "halo-dedup-merge*library/lipid 1\n");
    let text = bench.expect(1, "run --cores 4 --retries 0");
    let blocked = "blocked  2 jobs that need merge_library/lipid-1X: transform/lipid-1X/1x1/batch-0000, merge/lipid-1X_";
    assert!(text.contains(blocked), "{text}");
    let calls = bench.calls();
    assert!(
        !calls.iter().any(|c| c.contains("work/transforms")),
        "{calls:?}"
    );
}

/// Nothing of it holds there, and that is what is said.
#[test]
fn results_elsewhere_are_not_taken_for_damaged_ones() {
    let bench = bench();
    bench.expect(0, "run");
    bench.calls();
    std::fs::rename(bench.path("results"), bench.path("moved")).unwrap();
    let name = |from: &str, to: &str| {
        let line = |path: &str| format!("results: {path}");
        bench.edit("pipeline.yaml", &line(from), &line(to));
    };
    let here = bench.path("moved");
    let here = here.to_str().unwrap();
    for (before, now) in [("results", "moved"), ("moved", here)] {
        name(before, now);
        let text = bench.expect(0, "run --dry-run");
        let why = format!(
            "merge_library/lipid-1X: it was recorded with the results in `results`, and `results` is `{now}` now"
        );
        assert!(text.contains(&why), "{text}");
        assert!(!text.contains("was not written by"), "{text}");
    }
    // Under its old name, by a link too, it is as it was.
    std::os::unix::fs::symlink("moved", bench.path("results")).unwrap();
    name(here, "results");
    assert!(bench.expect(0, "run").contains("nothing to do"));
    assert!(bench.calls().is_empty());
}

#[test]
fn what_a_failed_run_did_not_come_to_is_not_recorded_any_more() {
    let bench = bench();
    bench.expect(0, "run");
    let ethyl = |from: &str, to: &str| {
        let rule = |n: &str| format!("[CX3:1](=[O:2])[OX2H1:3]>>[C:1](=[O:2])[O:3]{n}\"");
        bench.edit("transforms.yaml", &rule(from), &rule(to));
    };
    ethyl("CC", "CCC");
    bench.set("fail", "halo-transform-shard*transforms/lipid* 2\n");
    let text = bench.expect(1, "run --retries 0");
    assert!(
        text.contains("with --checksums also those whose outputs were damaged since, which may be why a job failed"),
        "{text}"
    );
    let record = |rule: &str| {
        let name = format!("lipid-1X_FG_CARBOXYL__COOH__TO__{rule}");
        bench
            .path(&format!("results/work/jobs/merge/{name}.json"))
            .exists()
    };
    assert_eq!([record("COOMe"), record("COOEt")], [true, false]);
    let text = bench.expect(0, "run --dry-run");
    assert!(text.contains("rule changed ("), "{text}");
    // Edited back, it is as it was.
    ethyl("CCC", "CC");
    bench.calls();
    bench.expect(0, "run");
    let calls = bench.calls();
    let merged = |c: &String| c.starts_with("halo-dedup-merge") && c.contains("lipid");
    assert!(!calls.iter().any(merged), "{calls:?}");
}
