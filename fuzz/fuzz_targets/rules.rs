//! Rule files. What is accepted has names that are safe as file names, patterns within their limits and reactions that
//! the same words in the other format give again.

#![no_main]
#![expect(
    clippy::expect_used,
    reason = "a failed expectation is what fuzzing looks for"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use halocline_fuzz::{MemoryFile, check_error, is_plain_file_name, within};
use halocline_rules::{
    Layout, MAX_LABEL_BYTES, MAX_PATTERN_BYTES, MAX_REACTIONS, Reaction, RuleFile,
};
use libfuzzer_sys::fuzz_target;

/// A file of 64 KiB at most; aliases may repeat it 64 times.
const MOST_MEMORY: usize = 32 << 20;

fuzz_target!(|data: &[u8]| {
    let file = MemoryFile::new(data);
    let rules = match within(MOST_MEMORY, || RuleFile::load(file.path())) {
        Ok(rules) => rules,
        Err(error) => return check_error(&error),
    };
    let all = rules.all();
    assert!(all.len() <= MAX_REACTIONS);
    let mut ids = BTreeSet::new();
    let mut fingerprints = BTreeSet::new();
    for reaction in &all {
        check(reaction);
        assert!(ids.insert(&reaction.id), "`{}` is there twice", reaction.id);
        assert!(fingerprints.insert(&reaction.fingerprint));
    }
    let names: Vec<String> = all.iter().map(|r| r.id.clone()).collect();
    assert_eq!(rules.select(&names).expect("its own names"), all);
    assert!(rules.for_class("any", 0).is_err(), "depth 0");

    let classes = rules.classes();
    assert!(classes.windows(2).all(|pair| pair[0] < pair[1]));
    for class in &classes {
        assert!(is_plain_file_name(class));
        let first = rules.for_class(class, 1).expect("its own class");
        let deeper = rules.for_class(class, 2).expect("its own class");
        assert!(!first.is_empty() && deeper.starts_with(&first));
        for reaction in &deeper {
            check(reaction);
            assert!(ids.contains(&reaction.id));
        }
    }
    reload(&rules, &all, &classes);
});

fn check(reaction: &Reaction) {
    assert!(
        is_plain_file_name(&reaction.id),
        "unsafe name {:?}",
        reaction.id
    );
    let patterns = [Some(&reaction.smirks), reaction.query_smarts.as_ref()];
    for pattern in patterns.into_iter().flatten() {
        assert!(!pattern.is_empty() && pattern.len() <= MAX_PATTERN_BYTES);
        assert!(pattern.bytes().all(|b| b.is_ascii_graphic()));
    }
    let (left, right) = reaction.smirks.split_once(">>").expect("an arrow");
    assert!(!left.is_empty() && !right.is_empty() && !right.contains(">>"));
    for text in [&reaction.label, &reaction.family] {
        assert!(text.len() <= MAX_LABEL_BYTES && !text.chars().any(char::is_control));
    }
    assert_ne!(reaction.max_sites, Some(0));
    assert_eq!(reaction.fingerprint.len(), 32);
}

/// The reactions as a transforms file: read again, they are the same, and so are the classes of a transforms file.
fn reload(rules: &RuleFile, all: &[Reaction], classes: &[String]) {
    let Some(first) = all.first() else { return };
    let mut scopes: Vec<Vec<&str>> = vec![Vec::new(); all.len()];
    let transforms = rules.output() == Layout::PerRule;
    for class in classes.iter().filter(|_| transforms) {
        for reaction in rules.for_class(class, 1).expect("its own class") {
            let place = all.iter().position(|r| *r == reaction);
            scopes[place.expect("in the file")].push(class);
        }
    }
    let mut text = format!(
        "defaults:\n  exclude_sugar_like: {}\n  max_sites_per_mol: {}\ntransforms:\n",
        first.exclude_sugar_like,
        first.max_sites.map_or(-1, i64::from)
    );
    for (reaction, scope) in all.iter().zip(scopes) {
        let scope: Vec<String> = scope.into_iter().map(quoted).collect();
        let _ = writeln!(
            text,
            "  - name: {}\n    label: {}\n    family: {}\n    scope_classes: [{}]\n    smirks: {}",
            quoted(&reaction.id),
            quoted(&reaction.label),
            quoted(&reaction.family),
            scope.join(", "),
            quoted(&reaction.smirks)
        );
        if let Some(query) = &reaction.query_smarts {
            let _ = writeln!(text, "    query_smarts: {}", quoted(query));
        }
    }
    // 4,096 rules with every text at its limit are more than a file may hold.
    if text.len() as u64 > halocline_rules::yaml::MAX_FILE_BYTES {
        return;
    }
    let again = RuleFile::parse("again.yaml", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(again.all(), all);
    if transforms {
        assert_eq!(again.classes(), classes);
    }
}

/// A YAML scalar in double quotes, everything beyond ASCII as an escape.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}
