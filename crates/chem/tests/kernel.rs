//! The kernel on molecules whose products are known by hand; the oracle suite compares it with RDKit's Python at large.

#![expect(clippy::unwrap_used, reason = "a helper of tests may panic")]

use halocline_chem::{ChemError, Counts, Engine, Kernel, Options, SmilesBatch, Stage};
use halocline_rules::Reaction;

fn reaction(id: &str, smirks: &str) -> Reaction {
    Reaction {
        id: id.to_owned(),
        label: id.to_owned(),
        family: "test".to_owned(),
        smirks: smirks.to_owned(),
        query_smarts: None,
        max_sites: None,
        exclude_sugar_like: false,
        fingerprint: String::new(),
    }
}

fn options(engine: Engine) -> Options {
    Options {
        engine,
        ..Options::default()
    }
}

/// (row, rule path, site, SMILES, atoms) of every product, failures, counts.
type Rows = (
    Vec<(u32, Vec<u16>, i32, String, Vec<i32>)>,
    Vec<(u32, Option<u16>, Stage, String)>,
    Vec<Counts>,
);

fn run(reactions: &[Reaction], smiles: &[&str], depth: u32) -> Rows {
    let mut all: Option<Rows> = None;
    for engine in [Engine::Full, Engine::Auto] {
        let mut kernel = Kernel::new(reactions, &options(engine)).unwrap();
        let mut batch = SmilesBatch::new();
        smiles.iter().for_each(|s| batch.push(s));
        let results = kernel.run(&batch, depth).unwrap();
        let rows = (
            results
                .products()
                .map(|p| {
                    (
                        p.row,
                        p.path.to_vec(),
                        p.site,
                        p.smiles.to_owned(),
                        p.atoms.to_vec(),
                    )
                })
                .collect(),
            results
                .failures()
                .map(|f| (f.row, f.rule, f.stage, f.reason.to_owned()))
                .collect(),
            results.counts(),
        );
        match &all {
            None => all = Some(rows),
            Some(full) => assert_eq!(full, &rows, "the two engines differ"),
        }
    }
    all.unwrap()
}

const OME: &str = "[c:1][OX2H:2]>>[c:1][O:2]C";

#[test]
fn one_product_per_site_symmetric_ones_included() {
    let (products, failures, counts) = run(&[reaction("ome", OME)], &["Oc1ccc(O)cc1", "CCO"], 1);
    assert!(failures.is_empty());
    assert_eq!(
        products,
        vec![
            (0, vec![0], 0, "COc1ccc(O)cc1".to_owned(), vec![1, 0]),
            (0, vec![0], 1, "COc1ccc(O)cc1".to_owned(), vec![4, 5]),
        ]
    );
    assert_eq!(counts[0].matched, 2);
    assert_eq!(counts[0].products, 2);
}

#[test]
fn a_bad_molecule_is_a_failure_with_rdkits_words() {
    let (products, failures, _) = run(
        &[reaction("ome", OME)],
        &["C1CC", "CN(C)(C)C", "", "Oc1ccccc1"],
        1,
    );
    assert_eq!(products.len(), 1);
    assert_eq!(products[0].0, 3);
    let reasons: Vec<_> = failures.iter().map(|f| (f.0, f.1, f.2)).collect();
    assert_eq!(
        reasons,
        vec![
            (0, None, Stage::Parse),
            (1, None, Stage::Parse),
            (2, None, Stage::Parse)
        ]
    );
    assert!(failures[0].3.contains("unclosed ring"), "{}", failures[0].3);
    assert!(failures[1].3.contains("valence"), "{}", failures[1].3);
}

#[test]
fn a_product_that_does_not_sanitise_is_a_failure_of_its_site_only() {
    let (products, failures, counts) = run(
        &[
            reaction("ome", OME),
            reaction("bad", "[c:1][OX2H:2]>>[c:1][O:2](C)C"),
        ],
        &["Oc1ccccc1"],
        1,
    );
    assert_eq!(products.len(), 1);
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].1, failures[0].2), (Some(1), Stage::Sanitise));
    assert!(failures[0].3.contains("valence"), "{}", failures[0].3);
    assert_eq!(
        (counts[1].matched, counts[1].products, counts[1].failed),
        (1, 0, 1)
    );
}

#[test]
fn hydrogens_of_a_template_are_merged() {
    let (products, _, _) = run(
        &[reaction("h", "[c:1][OX2H:2]>>[c:1][N:2]([H])[H]")],
        &["Oc1ccccc1"],
        1,
    );
    assert_eq!(products[0].3, "Nc1ccccc1");
}

#[test]
fn sugar_rings_are_masked_and_counted() {
    let mut rule = reaction("sp3", "[C;R;H1,H2:1]>>[C;R:1]F");
    rule.exclude_sugar_like = true;
    let masked = |smiles: &str| {
        let (_, _, counts) = run(std::slice::from_ref(&rule), &[smiles], 1);
        (counts[0].matched, counts[0].masked)
    };
    assert_eq!(masked("OCC1OC(O)C(O)C(O)C1O"), (5, 5)); // glucose
    assert_eq!(masked("OCC1OC(OC2C(CO)OC(O)C(O)C2O)C(O)C(O)C1O"), (10, 10)); // lactose
    // Quercetin-3-O-glucoside: the sugar's five, nothing else is sp3.
    assert_eq!(
        masked("OCC1OC(Oc2c(-c3ccc(O)c(O)c3)oc3cc(O)cc(O)c3c2=O)C(O)C(O)C1O"),
        (5, 5)
    );
    assert_eq!(masked("C1CCCCC1"), (6, 0));
    assert_eq!(masked("O=C1OCC(O)C1O"), (3, 0)); // a lactone is no sugar
    assert_eq!(masked("C1CC2OC2O1"), (4, 0)); // an oxygen that bridges the ring is one oxygen
}

#[test]
fn a_cap_keeps_the_same_products_however_the_smiles_is_written() {
    let mut rule = reaction("sp2", "[cH:1]>>[c:1]Cl");
    rule.max_sites = Some(2);
    let names = |smiles: &str| {
        let (products, _, counts) = run(std::slice::from_ref(&rule), &[smiles], 1);
        assert_eq!(counts[0].matched - counts[0].capped, 2);
        let mut smiles: Vec<_> = products.into_iter().map(|p| p.3).collect();
        smiles.sort();
        smiles
    };
    assert_eq!(names("Cc1ccc(O)cc1N"), names("Nc1c(C)ccc(O)c1"));
}

#[test]
fn depth_two_is_depth_one_of_depth_one_and_each_product_once_per_parent() {
    let rules = [
        reaction("F", "[cH:1]>>[c:1]F"),
        reaction("Cl", "[cH:1]>>[c:1]Cl"),
    ];
    let parent = "Cc1ccccc1O";
    let (two, failures, _) = run(&rules, &[parent], 2);
    assert!(failures.is_empty());
    let mut deep: Vec<_> = two.iter().map(|p| p.3.clone()).collect();
    let distinct = deep.len();
    deep.sort();
    deep.dedup();
    assert_eq!(deep.len(), distinct, "a product came twice");
    let (one, _, _) = run(&rules, &[parent], 1);
    let mut firsts: Vec<_> = one.iter().map(|p| p.3.as_str()).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let (again, _, _) = run(&rules, &firsts, 1);
    let mut expected: Vec<_> = again.into_iter().map(|p| p.3).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(deep, expected);
    // Rows come ordered by rule path, then site; atoms are indices of the parent.
    assert!(
        two.windows(2)
            .all(|w| (&w[0].1, w[0].2) < (&w[1].1, w[1].2))
    );
    assert!(
        two.iter().all(|p| p.4.len() == 2
            && p.4[0] != p.4[1]
            && p.4.iter().all(|&a| (2..=5).contains(&a)))
    );
}

#[test]
fn the_other_fragment_is_left_behind_as_run_reactants_does() {
    let (products, _, _) = run(&[reaction("ome", OME)], &["Oc1ccccc1.[Na+]"], 1);
    assert_eq!(products[0].3, "COc1ccccc1");
}

#[test]
fn a_query_of_other_text_filters_the_sites() {
    let mut rule = reaction("ome", OME);
    rule.query_smarts = Some("[cR1:1]([OX2H:2])c[CH3]".to_owned());
    let (products, _, counts) = run(&[rule], &["Oc1ccc(O)c(C)c1"], 1);
    assert_eq!(counts[0].matched, 1);
    assert_eq!(products[0].3, "COc1ccc(O)cc1C");
}

#[test]
fn a_rule_rdkit_does_not_take_is_named_with_its_words() {
    for (smirks, words) in [
        ("[c:1][OX2H:2>>[c:1]", "SMARTS"),
        ("[c:1][OX2H:2]", "two > characters"),
        ("[c:1].[O:2]>>[c:1][O:2]", "one reactant"),
    ] {
        match Kernel::new(
            &[reaction("good", OME), reaction("broken", smirks)],
            &Options::default(),
        ) {
            Err(ChemError::Rules(bad)) => {
                assert_eq!(bad.len(), 1, "{bad:?}");
                assert_eq!(bad[0].0, "broken");
                assert!(bad[0].1.contains(words), "{bad:?}");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("`{smirks}` was taken"),
        }
    }
}

#[test]
fn all_bad_rules_are_named_each_with_its_own_words_first() {
    // RDKit warns of the map number 7, which is no news about the query.
    let mut query = reaction("query", "[c:1][OX2H:2]>>[c:1][O:2][C:7]");
    query.query_smarts = Some("[c:1]([OX2H".to_owned());
    let mut twice = reaction("twice", "[cH:1]>>[c:1]F");
    twice.query_smarts = Some("[cH:1]:[c:1]".to_owned());
    let rules = [
        query,
        reaction("good", OME),
        reaction("arrow", "[c:1][OX2H:2>>[c:1]"),
        twice,
    ];
    let Err(error) = Kernel::new(&rules, &Options::default()) else {
        panic!("taken")
    };
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(
        lines[3],
        "  rule `twice`: query SMARTS: map number 1 occurs twice"
    );
    assert!(
        lines[1]
            .starts_with("  rule `query`: RDKit cannot read the query SMARTS: SMARTS Parse Error"),
        "{text}"
    );
    assert!(lines[2].starts_with("  rule `arrow`: "), "{text}");
    assert!(!text.contains("apping number 7"), "{text}");
}

#[test]
fn map_numbers_of_products_alone_are_named() {
    let rules = [
        reaction("slip", "[c:1][OX2H:2]>>[c:1][N:7][C:12]"),
        reaction("ome", OME),
    ];
    let kernel = Kernel::new(&rules, &Options::default()).unwrap();
    assert_eq!(kernel.product_only_maps(), ["7, 12", ""]);
}

#[test]
fn a_parent_over_its_product_budget_is_rejected_whole() {
    let mut kernel = Kernel::new(
        &[reaction("f", "[cH:1]>>[c:1]F")],
        &Options {
            max_products: 3,
            ..Options::default()
        },
    )
    .unwrap();
    let mut batch = SmilesBatch::new();
    batch.push("c1ccccc1C");
    batch.push("Cc1cc(C)cc(C)c1");
    let results = kernel.run(&batch, 1).unwrap();
    let failures: Vec<_> = results.failures().collect();
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].row, failures[0].stage), (0, Stage::Limit));
    assert!(results.products().all(|p| p.row == 1));
    assert_eq!(results.num_products(), 3);
    assert_eq!(results.counts()[0].products, 3);
}
