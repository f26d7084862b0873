//! More than one step: what it gives, and that it gives the same on any number of threads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::common::*;

/// The distinct products of `library` under the halogen rules of `class`, per parent.
fn halogenated(
    out: &Path,
    library: &Path,
    rules: &Path,
    class: &str,
    depth: &str,
) -> BTreeMap<i64, Vec<String>> {
    done(&job(
        library,
        rules,
        out,
        &args!["--class", class, "--depth", depth, "--threads", "2"],
    ));
    let mut by_parent: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in products(&out.join("products.parquet")) {
        by_parent.entry(row.row).or_default().push(row.smiles);
    }
    by_parent
}

#[test]
fn depth_2_is_depth_1_of_the_distinct_products_of_depth_1() {
    let dir = tempfile::tempdir().unwrap();
    // The list of depth 2 holds for both steps: the same rules, all of them in scope at depth 1.
    let text = std::fs::read_to_string(halogens()).unwrap();
    let both = dir.path().join("both.yaml");
    std::fs::write(&both, text.replace("]\n    depth_2_extra: [", ", ")).unwrap();
    // One parent per run: in-shard deduplication across parents must not hide a product.
    for (n, (class, smiles)) in [
        ("lipid", "OCCC=CCC(=O)CCC(=O)O"),
        ("lipid", "OCCCC(=O)CC(C)C(=O)O"),
        ("aa_peptide", "N[C@@H](Cc1ccc(O)cc1)C(=O)O"),
        ("alkaloid", "CN1CCc2cc3c(cc2C1)OCO3"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = |name: &str| dir.path().join(format!("{n}-{name}"));
        let parent = path("parent.parquet");
        library(&parent, &[smiles]);
        let two = halogenated(&path("2"), &parent, &halogens(), class, "2");
        let one = halogenated(&path("1"), &parent, &both, class, "1");
        let firsts = path("firsts.parquet");
        library(&firsts, &one[&0]);
        let again = halogenated(&path("1-of-1"), &firsts, &both, class, "1");
        let expected: BTreeSet<&String> = again.values().flatten().collect();
        let got: BTreeSet<&String> = two[&0].iter().collect();
        assert_eq!(got.len(), two[&0].len(), "{smiles}: a product came twice");
        assert!(got.len() > 10, "{smiles}: {}", got.len());
        assert_eq!(got, expected, "{smiles}");
    }
}

#[test]
fn halogen_tables_do_not_depend_on_threads_at_depth_2() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("library.parquet");
    library(&library_path, &of_class("lipid", 25));
    let mut first: Option<Vec<(String, String)>> = None;
    for threads in ["1", "2", "7"] {
        let out = dir.path().join(threads);
        done(&job(
            &library_path,
            &halogens(),
            &out,
            &args!["--class", "lipid", "--depth", "2", "--threads", threads],
        ));
        let found = tables(&out);
        assert_eq!(found.len(), 2);
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(*first, found, "--threads {threads}"),
        }
    }
}

/// With a table per rule and several steps each rule is expanded apart: what outgrows a limit under one is a reject of that
/// rule, wherever it stands among the others (in the second place it was no reject at all).
#[test]
fn a_parent_past_a_limit_under_one_rule_is_a_reject_of_that_rule() {
    let dir = tempfile::tempdir().unwrap();
    let rule = |name: &str, smirks: &str| {
        format!("- {{name: {name}, scope_classes: [any], smirks: \"{smirks}\"}}\n")
    };
    let few = rule("few", "[CX4:1][NX3;H2,H1:2]>>[C:1][N:2]C");
    let many = rule("many", "[c:1][OX2H:2]>>[c:1][O:2]C");
    let input = dir.path().join("l.parquet");
    // The second is rejected whole, and by one of the rules that need not read it not at all.
    library(
        &input,
        &["Oc1cc(O)c(CCN)c(O)c1O", "Oc1ccccc1(N)C(C)(C)(C)C", "CCN"],
    );
    for (name, order) in [("fm", [&few, &many]), ("mf", [&many, &few])] {
        let rules = dir.path().join(format!("{name}.yaml"));
        std::fs::write(&rules, format!("transforms:\n{}{}", order[0], order[1])).unwrap();
        let out = dir.path().join(name);
        let more = args!["--class", "any", "--depth", "2", "--max-products", "3"];
        done(&job(&input, &rules, &out, &more));
        let found = rejects(&out);
        let said: Vec<_> = found
            .iter()
            .map(|r| (r.row, r.rule.as_deref(), r.stage.as_str()))
            .collect();
        assert_eq!(said, [(0, Some("many"), "limit"), (1, None, "parse")]);
        let of = |rule: &str| -> Vec<i64> {
            let table = products(&out.join(format!("{rule}.parquet")));
            table.iter().map(|row| row.row).collect()
        };
        assert_eq!((of("few"), of("many")), (vec![0, 2], vec![]));
        let sidecar = shard_sidecar(&out);
        assert_eq!((sidecar.rows_in, sidecar.rows_done), (3, 2));
    }
}
