//! Files that are wrong, by mistake or by intent, end in one error that names file and line.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::fmt::Write as _;
use std::path::Path;

use halocline_rules::{RuleFile, RulesError, yaml};

fn transforms(entry: &str) -> Result<RuleFile, RulesError> {
    RuleFile::parse(
        "rules.yaml",
        &format!("defaults:\n  exclude_sugar_like: true\ntransforms:\n{entry}"),
    )
}

const GOOD: &str = "  - name: A\n    scope_classes: [x]\n    smirks: \"[c:1]O>>[c:1]N\"\n";

fn refused(result: Result<RuleFile, RulesError>, words: &[&str]) {
    let error = result.unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn a_minimal_file_is_accepted() {
    let rules = transforms(GOOD).unwrap().all();
    assert_eq!(
        (
            rules.len(),
            rules[0].query_smarts.is_none(),
            rules[0].max_sites
        ),
        (1, true, None)
    );
}

#[test]
fn unknown_and_duplicate_keys_name_the_line() {
    refused(
        transforms(&format!("{GOOD}    smirk: x\n")),
        &["rules.yaml:7:", "unknown field `smirk`"],
    );
    refused(
        transforms(&format!("{GOOD}    name: B\n")),
        &["rules.yaml:7:", "duplicate"],
    );
    refused(
        transforms(&format!("{GOOD}{GOOD}")),
        &["rules.yaml:7:", "`A` stands already on line 4"],
    );
    refused(
        RuleFile::parse("rules.yaml", "rules: []\n"),
        &["rules.yaml", "transforms"],
    );
    refused(
        transforms("  - name: A\n    scope_classes: [x]\n"),
        &["rules.yaml:5:", "missing field `smirks`"],
    );
}

#[test]
fn names_that_would_leave_the_output_folder_are_refused() {
    for name in [
        "../x",
        "a/b",
        ".hidden",
        "-flag",
        "",
        "a b",
        "a\\nb",
        "ä",
        &"x".repeat(129),
        "..",
        "a\\0b",
    ] {
        refused(
            transforms(&GOOD.replace("name: A", &format!("name: \"{name}\""))),
            &["rules.yaml:4:", "file name"],
        );
    }
    refused(
        transforms(&GOOD.replace("[x]", "[\"../x\"]")),
        &["rules.yaml:5:", "class name"],
    );
}

#[test]
fn patterns_are_bounded_and_printable() {
    for (smirks, words) in [
        ("", "empty"),
        ("[c:1]", "no reaction arrow"),
        ("A>>B>>C", "more than one"),
        (">>[c:1]", "empty side"),
        ("[c:1] >>[c:1]N", "space"),
        ("[c:1]\\u0000>>[c:1]N", "control"),
    ] {
        refused(
            transforms(&GOOD.replace("[c:1]O>>[c:1]N", smirks)),
            &["rules.yaml:6:", words],
        );
    }
    let long = format!("[c:1]{}>>[c:1]N", "C".repeat(5000));
    refused(
        transforms(&GOOD.replace("[c:1]O>>[c:1]N", &long)),
        &["rules.yaml:6:", "5013 bytes"],
    );
}

#[test]
fn sites_per_molecule_are_minus_one_or_positive() {
    for bad in ["0", "-2", "99999999999"] {
        let text = format!("defaults:\n  max_sites_per_mol: {bad}\ntransforms:\n{GOOD}");
        refused(
            RuleFile::parse("rules.yaml", &text),
            &["rules.yaml:2:", "-1 (all)"],
        );
    }
    let text = format!("defaults:\n  max_sites_per_mol: 3\ntransforms:\n{GOOD}");
    assert_eq!(
        RuleFile::parse("r", &text).unwrap().all()[0].max_sites,
        Some(3)
    );
}

#[test]
fn a_file_of_ten_megabytes_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.yaml");
    std::fs::write(&path, GOOD.replace("[c:1]O", &"C".repeat(10 << 20))).unwrap();
    let error = RuleFile::load(&path).unwrap_err();
    assert!(
        matches!(error, RulesError::TooLarge { bytes, .. } if bytes > 10 << 20),
        "{error}"
    );
}

#[test]
fn yaml_bombs_are_errors_not_memory() {
    // Nine levels of nine aliases each: 387 million nodes when expanded.
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let list = vec![format!("*a{}", i - 1); 9].join(", ");
        let _ = writeln!(bomb, "a{i}: &a{i} [{list}]");
    }
    let _ = writeln!(bomb, "transforms: *a9");
    let started = std::time::Instant::now();
    assert!(RuleFile::parse("bomb.yaml", &bomb).is_err());
    assert!(RuleFile::parse("deep.yaml", &format!("transforms: {}", "[".repeat(100_000))).is_err());
    assert!(
        RuleFile::parse(
            "deep.yaml",
            &format!("transforms:\n{}", "- ".repeat(50_000))
        )
        .is_err()
    );
    let many = format!("transforms: [{}]", "1,".repeat(400_000));
    assert!(RuleFile::parse("many.yaml", &many).is_err());
    assert!(
        started.elapsed().as_secs() < 10,
        "took {:?}",
        started.elapsed()
    );
}

#[test]
fn bytes_that_are_not_text_name_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bin.yaml");
    std::fs::write(&path, b"transforms:\n- \xff\xfe\n").unwrap();
    let error = yaml::read(Path::new(&path)).unwrap_err().to_string();
    assert!(
        error.contains("bin.yaml:2:") && error.contains("UTF-8"),
        "{error}"
    );
    assert!(
        RuleFile::load(dir.path().join("absent.yaml"))
            .unwrap_err()
            .to_string()
            .contains("cannot read")
    );
}

#[test]
fn halogen_files_are_checked_too() {
    let base = "halogens: [F]\nreactions:\n  - {name: A__X, smirks: \"[cH:1]>>[c:1]X\"}\nclasses:\n  - {name: c, depth_1: [A__X]}\n";
    assert_eq!(
        RuleFile::parse("h.yaml", base)
            .unwrap()
            .for_class("c", 2)
            .unwrap()[0]
            .id,
        "A__F"
    );
    for (from, to, words) in [
        ("[F]", "[At]", "expected F, Cl, Br, I"),
        ("[F]", "[F, F]", "at most once"),
        ("[F]", "[]", "empty"),
        ("name: A__X", "name: A__Y", "must end in `X`"),
        ("[c:1]X", "[c:1]O", "no `X` outside brackets"),
        ("depth_1: [A__X]", "depth_1: [B__X]", "no reaction `B__X`"),
        ("depth_1: [A__X]", "depth_1: [A__X, A__X]", "listed twice"),
        ("depth_1: [A__X]", "depth_1: []", "no `depth_1` rules"),
        (
            "depth_1: [A__X]",
            "depth_1: [A__X], max_sites: [{rule: A__X, sites: 0}]",
            "-1 (all)",
        ),
        (
            "depth_1: [A__X]",
            "depth_1: [A__X], cap: 1",
            "unknown field `cap`",
        ),
    ] {
        assert!(base.contains(from));
        refused(
            RuleFile::parse("h.yaml", &base.replacen(from, to, 1)),
            &["h.yaml:", words],
        );
    }
}

#[test]
fn fingerprints_change_with_every_field_and_with_nothing_else() {
    let print = |text: &str| {
        RuleFile::parse("f", text).unwrap().all()[0]
            .fingerprint
            .clone()
    };
    let base = format!(
        "defaults:\n  exclude_sugar_like: true\ntransforms:\n{GOOD}    query_smarts: \"[c:1]O\"\n    family: f\n    label: l\n"
    );
    let reference = print(&base);
    assert_eq!(reference.len(), 32);
    for (from, to) in [
        ("name: A", "name: B"),
        ("[c:1]N", "[c:1]F"),
        ("query_smarts: \"[c:1]O\"", "query_smarts: \"[c:1]N\""),
        ("    query_smarts: \"[c:1]O\"\n", ""),
        ("like: true", "like: false"),
        ("like: true", "like: true\n  max_sites_per_mol: 2"),
        ("family: f", "family: g"),
        ("label: l", "label: m"),
    ] {
        assert!(base.contains(from));
        assert_ne!(
            print(&base.replacen(from, to, 1)),
            reference,
            "{from} -> {to}"
        );
    }
    assert_eq!(
        print(&format!(
            "# a comment\n{}",
            base.replace("scope_classes: [x]", "scope_classes: [x, y]")
        )),
        reference
    );
}

/// The halogen is longer than the `X` it stands for: limits hold for what comes out.
#[test]
fn halogens_do_not_carry_a_rule_over_the_limits() {
    let file = |name: &str, label: &str, smirks: &str| {
        RuleFile::parse(
            "halogens.yaml",
            &format!(
                "halogens: [F, Cl]\nreactions:\n  - name: {name}\n    label: {label}\n    smirks: \"{smirks}\"\nclasses: []\n"
            ),
        )
    };
    let name = |bytes: usize| format!("{}X", "a".repeat(bytes - 1));
    assert_eq!(
        file(&name(127), "l", "[c:1]>>[c:1]X").unwrap().all()[1]
            .id
            .len(),
        128
    );
    refused(
        file(&name(128), "l", "[c:1]>>[c:1]X"),
        &["halogens.yaml:3:", "with Cl has 129 bytes", "at most 128"],
    );
    let label = "l".repeat(256);
    assert!(file("AX", &label[..250], "[c:1]>>[c:1]X").is_ok());
    refused(
        file("AX", &label, "[c:1]>>[c:1]X"),
        &["halogens.yaml:4:", "with F has 261 bytes", "at most 256"],
    );
    let smirks = format!("[c:1]>>[c:1]{}", "(X)".repeat(1300));
    refused(
        file("AX", "l", &smirks),
        &["halogens.yaml:5:", "at most 4096"],
    );
}
