//! Rules and configurations.

use crate::{MIB, listing, refused, small_library, transform};
use halocline_tests::memory::run_capped;
use halocline_tests::{command, root, scratch};

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
