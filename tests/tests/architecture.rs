//! The shape of the workspace, as DESIGN and ARCHITECTURE.md state it: who may depend on whom, how small a `main.rs` is,
//! where unsafe code and C++ may stand, and that every invariant of ARCHITECTURE.md names a test that exists.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_tests::{root, run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Normal and build dependencies in the resolved graph, by package name.
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

impl Graph {
    fn of_workspace() -> Self {
        let said = run(Command::new("rustc").arg("-vV").current_dir(root())).stdout;
        let said = String::from_utf8(said).unwrap();
        let host = said.lines().find_map(|line| line.strip_prefix("host: "));
        let mut cargo = Command::new(env!("CARGO"));
        // Of this machine's platform only: a build has fetched nothing of the others, and a new machine has only what the
        // build fetched.
        cargo
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", host.unwrap()])
            .current_dir(root());
        let metadata: serde_json::Value = serde_json::from_slice(&run(&mut cargo).stdout).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let names: BTreeMap<String, String> = metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let from = edges
                .entry(names[node["id"].as_str().unwrap()].clone())
                .or_default();
            for dep in node["deps"].as_array().unwrap() {
                let kinds = dep["dep_kinds"].as_array().unwrap();
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    from.insert(names[dep["pkg"].as_str().unwrap()].clone());
                }
            }
        }
        let members = metadata["workspace_members"].as_array().unwrap();
        let members = members
            .iter()
            .map(|id| names[id.as_str().unwrap()].clone())
            .collect();
        Self { edges, members }
    }

    /// Everything `package` needs, directly or not.
    fn closure(&self, package: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next = vec![package.to_owned()];
        while let Some(name) = next.pop() {
            for dep in self
                .edges
                .get(&name)
                .unwrap_or_else(|| panic!("no package {name}"))
            {
                if found.insert(dep.clone()) {
                    next.push(dep.clone());
                }
            }
        }
        found
    }
}

fn is_arrow(name: &str) -> bool {
    name == "arrow" || name.starts_with("arrow-") || name == "parquet"
}

#[test]
fn rdkit_is_reached_from_transform_shard_alone() {
    let graph = Graph::of_workspace();
    for member in &graph.members {
        let needs = graph.closure(member);
        let allowed = [
            "halocline-transform-shard",
            "halocline-chem",
            "halocline-chem-sys",
        ];
        for rdkit in ["halocline-chem", "halocline-chem-sys", "rdkit-sys", "cxx"] {
            assert!(
                !needs.contains(rdkit) || allowed.contains(&member.as_str()),
                "{member} reaches {rdkit}: a machine without RDKit could not build it"
            );
        }
    }
    assert!(
        graph
            .closure("halocline-transform-shard")
            .contains("halocline-chem-sys")
    );
}

#[test]
fn engine_report_and_foundations_need_no_arrow() {
    let graph = Graph::of_workspace();
    for member in [
        "drive", "report", "plan", "rules", "cli", "budget", "chem", "chem-sys",
    ] {
        let needs = graph.closure(&format!("halocline-{member}"));
        let arrow: Vec<_> = needs.iter().filter(|name| is_arrow(name)).collect();
        assert!(arrow.is_empty(), "{member} reaches {arrow:?}");
    }
    assert!(
        graph
            .closure("halocline-dedup-merge")
            .iter()
            .any(|name| is_arrow(name))
    );
}

#[test]
fn libraries_depend_downwards_only() {
    // What each crate may use of this workspace. A new edge is a decision: it is written here and in ARCHITECTURE.md.
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("budget", &[][..]),
        ("cascade", &["budget"]),
        ("chem", &["chem-sys", "rules"]),
        ("chem-sys", &[]),
        ("cli", &["budget"]),
        ("plan", &["budget", "rules"]),
        ("rules", &[]),
        ("table", &["budget"]),
        ("dedup-merge", &["budget", "cascade", "cli", "table"]),
        ("drive", &["budget", "cli", "plan"]),
        ("report", &["budget", "cli", "plan"]),
        ("split", &["budget", "cascade", "cli", "table"]),
        (
            "transform-shard",
            &["budget", "cascade", "chem", "cli", "rules", "table"],
        ),
        ("validate-parquet", &["budget", "cascade", "cli", "table"]),
        ("fuzz", &["cli", "plan", "rules", "table"]),
        ("tests", &[]),
    ]);
    let graph = Graph::of_workspace();
    let short = |name: &str| name.strip_prefix("halocline-").unwrap().to_owned();
    let known: BTreeSet<String> = allowed.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        graph
            .members
            .iter()
            .map(|m| short(m))
            .collect::<BTreeSet<_>>(),
        known
    );
    for member in &graph.members {
        for dep in graph.edges[member]
            .iter()
            .filter(|dep| graph.members.contains(*dep))
        {
            let (member, dep) = (short(member), short(dep));
            assert!(
                allowed[member.as_str()].contains(&dep.as_str()),
                "{member} must not use {dep}"
            );
        }
    }
}

/// All files below `dir` with one of the extensions, sorted.
fn files(dir: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extensions));
        } else if path
            .extension()
            .is_some_and(|e| extensions.iter().any(|x| e == *x))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources(extensions: &[&str]) -> Vec<PathBuf> {
    ["bins", "crates"]
        .iter()
        .flat_map(|dir| files(&root().join(dir), extensions))
        .collect()
}

#[test]
fn a_main_is_at_most_40_lines() {
    let mains: Vec<_> = files(&root().join("bins"), &["rs"])
        .into_iter()
        .filter(|path| path.ends_with("src/main.rs"))
        .collect();
    assert_eq!(mains.len(), 6);
    for main in mains {
        let lines = fs_err::read_to_string(&main).unwrap().lines().count();
        assert!(lines <= 40, "{}: {lines} lines", main.display());
    }
}

#[test]
fn cxx_and_unsafe_stand_in_chem_sys_only() {
    for path in sources(&["cc", "cpp", "cxx", "h", "hpp"]) {
        assert!(
            path.starts_with(root().join("crates/chem-sys")),
            "C++ outside chem-sys: {}",
            path.display()
        );
    }
    for path in sources(&["rs"]) {
        let text = fs_err::read_to_string(&path).unwrap();
        let opens = text.contains("allow(unsafe_code") || text.contains("expect(unsafe_code");
        if path == root().join("crates/budget/src/allocator.rs") {
            // Two calls into mimalloc, each with its own reason.
            assert_eq!(text.matches("expect(unsafe_code").count(), 2);
            let calls: Vec<&str> = text
                .lines()
                .filter(|line| line.contains("unsafe {"))
                .collect();
            let mimalloc = |line: &&str| line.contains("unsafe { libmimalloc_sys::mi_");
            assert!(calls.len() == 2 && calls.iter().all(mimalloc), "{calls:?}");
            continue;
        }
        let may = path.starts_with(root().join("crates/chem-sys"));
        assert!(!opens || may, "unsafe code in {}", path.display());
    }
    let chem = fs_err::read_to_string(root().join("crates/chem/src/lib.rs")).unwrap();
    assert!(chem.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    let workspace = fs_err::read_to_string(root().join("Cargo.toml")).unwrap();
    for lint in [
        "print_stdout",
        "print_stderr",
        "exit",
        "unwrap_used",
        "expect_used",
        "unsafe_code",
    ] {
        assert!(
            workspace.contains(&format!("{lint} = ")),
            "the workspace does not lint {lint}"
        );
    }
    let manifests = ["bins", "crates"]
        .iter()
        .flat_map(|dir| files(&root().join(dir), &["toml"]));
    let manifests: Vec<_> = manifests
        .filter(|path| path.ends_with("Cargo.toml"))
        .collect();
    assert_eq!(manifests.len(), 14);
    for manifest in manifests {
        let text = fs_err::read_to_string(&manifest).unwrap();
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} sets its own lints",
            manifest.display()
        );
    }
    let in_src = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "src");
    for path in sources(&["rs"]).into_iter().filter(in_src) {
        let text = fs_err::read_to_string(&path).unwrap();
        for lint in ["print_stdout", "print_stderr", "exit"] {
            let silenced = ["allow", "expect"]
                .iter()
                .any(|how| text.contains(&format!("{how}(clippy::{lint}")));
            assert!(!silenced, "{} silences {lint}", path.display());
        }
    }
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let text = fs_err::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    // 500 words to a page of A4.
    let words = text.split_whitespace().count();
    assert!(
        words <= 4 * 500,
        "ARCHITECTURE.md has {words} words, more than four pages"
    );
    let section = text
        .split("\n## ")
        .find(|section| section.starts_with("Invariants"))
        .unwrap();
    let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
    let invariants: Vec<&str> = section.split(" - ").skip(1).collect();
    assert!(
        invariants.len() >= 6,
        "the section `Invariants` lists {}",
        invariants.len()
    );
    for invariant in invariants {
        // "... (test: `path/to/file.rs::name`)"
        let named = invariant
            .split("(test: `")
            .nth(1)
            .and_then(|rest| rest.split('`').next());
        let named = named.unwrap_or_else(|| panic!("no test named for: {invariant}"));
        let (file, name) = named.split_once("::").unwrap();
        let source =
            fs_err::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{named}: {e}"));
        assert!(
            source.contains(&format!("fn {name}(")),
            "{file} has no test {name}"
        );
    }
}
