//! Rules and configurations.

use crate::{MIB, listing, refused, small_library, transform};
use halocline_tests::memory::run_capped;
use halocline_tests::{command, library, root, scratch};

#[test]
fn rules_that_would_leave_the_folder_or_the_memory() {
    let dir = scratch();
    let library = small_library(dir.path());
    let rules = dir.path().join("rules.yaml");
    let good = "transforms:\n  - name: A\n    scope_classes: [x]\n    smirks: \"[c:1]O>>[c:1]N\"\n";
    let bomb = {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..10 {
            let list = vec![format!("*a{}", i - 1); 9].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{list}]\n"));
        }
        text + "transforms: *a9\n"
    };
    let named = |name: &str| good.replace("name: A", &format!("name: \"{name}\""));
    let smarts = |n: usize| good.replace("[c:1]O", &format!("[c:1]{}", "C".repeat(n)));
    let cases: Vec<(String, &[&str])> = vec![
        (named("../../outside"), &["rules.yaml:2:", "file name"]),
        (named("/tmp/outside"), &["rules.yaml:2:", "file name"]),
        (named("a\\nb"), &["rules.yaml:2:", "file name"]),
        (named("a\\0b"), &["rules.yaml:2:", "file name"]),
        (named("rejects"), &["rules.yaml", "rejects"]),
        (
            good.replace("[x]", "[\"../x\"]"),
            &["rules.yaml:3:", "class name"],
        ),
        (smarts(10 << 20), &["rules.yaml", "bytes"]),
        (smarts(100_000), &["rules.yaml:4:", "100013 bytes"]),
        (
            good.replace("[c:1]O", &format!("{}c:1]O", "[".repeat(3000))),
            &["rule `A`"],
        ),
        (
            good.replace("[c:1]O", &format!("[c:1]{}", "(C".repeat(1900))),
            &["rule `A`"],
        ),
        (
            good.replace("[c:1]O", &format!("[{}c:1]O", "$(C".repeat(1000))),
            &["rule `A`"],
        ),
        (bomb, &["rules.yaml:"]),
        (
            format!("transforms: {}", "[".repeat(100_000)),
            &["rules.yaml:1:"],
        ),
        (
            format!("transforms:\n{}", "- ".repeat(50_000)),
            &["rules.yaml:"],
        ),
        (
            format!("transforms: [{}]", "1,".repeat(400_000)),
            &["rules.yaml:"],
        ),
        ("transforms: 7\n".to_owned(), &["rules.yaml:1:"]),
        ("\u{feff}".to_owned(), &["rules.yaml"]),
        (String::new(), &["rules.yaml"]),
    ];
    let before = {
        fs_err::write(&rules, "").unwrap();
        fs_err::create_dir_all(dir.path().join("out")).unwrap();
        listing(dir.path())
    };
    for (text, words) in cases {
        fs_err::write(&rules, &text).unwrap();
        let mut tool = transform(&library, &rules, &dir.path().join("out"));
        let ran = run_capped(tool.args(["--class", "x"]), 128 * MIB);
        refused(&ran, words);
        assert_eq!(listing(dir.path()), before, "nothing was written");
    }
    // A name that is asked for, not given, is looked up and nothing else.
    fs_err::write(&rules, good).unwrap();
    for flag in ["--rule", "--class"] {
        let mut tool = transform(&library, &rules, &dir.path().join("out"));
        refused(
            &run_capped(tool.args([flag, "../../etc/passwd"]), 128 * MIB),
            &["../../etc/passwd"],
        );
        assert_eq!(listing(dir.path()), before);
    }
}

#[test]
fn configurations_that_would_leave_the_folder() {
    let dir = scratch();
    let config = dir.path().join("pipeline.yaml");
    let shipped = fs_err::read_to_string(root().join("configs/pipeline.yaml")).unwrap();
    let from = "classes: [polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]";
    assert!(shipped.contains(from));
    let line = 1 + shipped[..shipped.find(from).unwrap()].matches('\n').count();
    let at = format!("pipeline.yaml:{line}:");
    let mut cases: Vec<(String, Vec<&str>)> = Vec::new();
    for class in ["a/b", "../up", "/etc", "a\\nb", ".hidden", "", "a b"] {
        let to = format!("classes: [polyphenol, \"{class}\"]");
        cases.push((shipped.replace(from, &to), vec![&at]));
    }
    let deep = format!("classes: {}", "[".repeat(50_000));
    cases.push((shipped.replace(from, &deep), vec!["pipeline.yaml:"]));
    cases.push(("x".repeat(3 << 20), vec!["pipeline.yaml", "bytes"]));
    cases.push(("\0\0\0".to_owned(), vec!["pipeline.yaml"]));
    for (text, words) in cases {
        fs_err::write(&config, text).unwrap();
        let before = listing(dir.path());
        for (tool, args) in [
            ("halo-drive", &["run", "--config", "pipeline.yaml"][..]),
            ("halo-drive", &["plan", "--config", "pipeline.yaml"]),
            ("halo-report", &["--config", "pipeline.yaml"]),
        ] {
            let mut tool = command(tool);
            tool.args(args)
                .args(["-qq", "--memory-limit", "128MiB"])
                .current_dir(dir.path());
            refused(&run_capped(&tool, 128 * MIB), &words);
            assert_eq!(listing(dir.path()), before);
        }
    }
}

/// Tables that lack what the configuration names are refused by the plan, whatever their format, before a job runs and
/// before they are read for their fingerprints.
#[test]
fn tables_without_the_columns_that_are_named() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    let tsv = "key\tsmiles\tclass\n1\tCCO\tlipid\n";
    let odd = tsv.replace("smiles", "mol");
    library(dir.path(), tsv);
    fs_err::rename(at("library/library.parquet"), at("good.parquet")).unwrap();
    fs_err::write(at("good.tsv"), tsv).unwrap();
    fs_err::write(at("good.data"), tsv).unwrap();
    fs_err::write(at("odd.tsv"), &odd).unwrap();
    let mut split = command("halo-split");
    split.arg(at("odd.tsv")).args(["--shards", "1", "-qq"]);
    split.args(["--smiles-column", "mol", "--out-dir"]);
    halocline_tests::run(split.arg(at("odd")));
    fs_err::rename(at("odd/library.parquet"), at("odd.parquet")).unwrap();
    fs_err::write(at("good.csv.zst"), zstd(&tsv.replace('\t', ","))).unwrap();
    fs_err::write(at("odd.tsv.zst"), zstd(&odd)).unwrap();
    fs_err::write(at("twice.tsv"), tsv.replace("key", "class")).unwrap();
    fs_err::write(at("words.smi"), "CCO ethanol\n").unwrap();
    let good = fs_err::read(at("good.parquet")).unwrap();
    fs_err::write(at("cut.parquet"), &good[..good.len() - 9]).unwrap();
    let config = |change: &[(&str, &str)]| {
        let mut text = fs_err::read_to_string(root().join("configs/pipeline.yaml")).unwrap();
        let rules = format!(": {}/", root().join("configs").display());
        text = text.replace(": configs/", &rules);
        let shipped = [
            (
                "[polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]",
                "[lipid]",
            ),
            ("depths: [1, 2]", "depths: [1]"),
            ("keep: [id, class]", "keep: [key]"),
            ("data/np_700.tsv", "good.tsv"),
        ];
        for (from, to) in shipped.iter().chain(change) {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        fs_err::write(at("pipeline.yaml"), text).unwrap();
    };
    let plan = || {
        let mut drive = command("halo-drive");
        drive.args(["plan", "--config", "pipeline.yaml", "-qq"]);
        drive.arg("--memory-limit").arg("128MiB");
        drive.current_dir(dir.path());
        run_capped(&drive, 128 * MIB)
    };
    // Nothing is read for its fingerprint, nothing remembered.
    let refuses = |words: &[&str]| {
        let _ = std::fs::remove_dir_all(at("results"));
        refused(&plan(), words);
        assert!(!at("results").exists());
    };
    let ready = |path: &str| format!("\nlibraries: {{lipid: {{1: {path}}}}}\nresults: results");
    for (input, class, keep) in [
        ("good.tsv", "class", "key"),
        ("good.csv.zst", "class", "key"),
        ("good.parquet", "class", "key"),
        ("words.smi", "name", "name"),
    ] {
        config(&[
            ("path: good.tsv", &format!("path: {input}")),
            ("class_column: class", &format!("class_column: {class}")),
            ("[key]", &format!("[{keep}]")),
        ]);
        plan().verdict(0).unwrap();
        // The same table without each of them.
        for (from, to) in [
            ("class_column: ", "class_column: no_"),
            ("keep: [", "keep: [no_"),
        ] {
            let text = fs_err::read_to_string(at("pipeline.yaml")).unwrap();
            fs_err::write(at("pipeline.yaml"), text.replace(from, to)).unwrap();
            let key = if from == "keep: [" {
                "halogenate.keep"
            } else {
                "input.class_column"
            };
            refuses(&[
                &format!("the table `{input}` has no column `no_"),
                key,
                "its columns are ",
            ]);
            fs_err::write(at("pipeline.yaml"), text).unwrap();
        }
    }
    config(&[("\nresults: results", &ready("good.parquet"))]);
    plan().verdict(0).unwrap();
    let unnamed = ("  smiles_column: smiles ", "  # ");
    let odd_input = ("path: good.tsv", "path: odd.tsv.zst");
    for (change, words) in [
        (
            vec![odd_input],
            &[
                "`input.smiles_column`",
                "odd.tsv.zst",
                "no column `smiles`",
                "`mol`",
            ][..],
        ),
        (
            vec![odd_input, unnamed],
            &[
                "odd.tsv.zst",
                "no SMILES column",
                "hint: name it with `input.smiles_column`",
            ],
        ),
        (
            vec![("path: good.tsv", "path: twice.tsv")],
            &["column `class` is there more than once"],
        ),
        (
            vec![("path: good.tsv", "path: good.data")],
            &["`input.path`", "hint: give it a name that ends in .csv"],
        ),
        (
            vec![("\nresults: results", &ready("odd.parquet"))],
            &[
                "`libraries.lipid.1`",
                "no SMILES column",
                "hint: a ready library needs a column",
            ],
        ),
        (
            vec![("path: good.tsv", "path: cut.parquet")],
            &["`input.path`", "no footer"],
        ),
        (
            vec![("\nresults: results", &ready("good.tsv"))],
            &["`libraries.lipid.1`", "not Parquet but TSV"],
        ),
        (
            vec![("\nresults: results", &ready("cut.parquet"))],
            &["`libraries.lipid.1`", "no footer"],
        ),
        (
            vec![
                ("\nresults: results", &ready("good.parquet")),
                ("[key]", "[id]"),
            ],
            &["`good.parquet`", "transform.keep"],
        ),
    ] {
        config(&change);
        refuses(words);
    }
    assert!(
        !at("results").exists(),
        "nothing was read, nothing remembered"
    );
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}
