//! Configurations, rules, profiles and folders that are refused or taken, before anything runs.

use crate::bench;
use halocline_tests::stand_ins::said;
use halocline_tests::{bin, root, run, workflow_bin_dir};
use std::process::Command;

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
