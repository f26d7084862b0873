//! The rule files this repository ships hold exactly the chemistry that was agreed.

#![expect(clippy::unwrap_used, reason = "test code")]

use halocline_rules::{Layout, RuleFile};

fn shipped(name: &str) -> RuleFile {
    RuleFile::load(format!(
        "{}/../../configs/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

#[test]
fn transforms_are_nineteen_rules_in_59_class_rule_pairs() {
    let rules = shipped("transforms.yaml");
    assert_eq!(rules.output(), Layout::PerRule);
    assert_eq!(rules.all().len(), 19);
    let per_class: Vec<(String, usize)> = rules
        .classes()
        .into_iter()
        .map(|c| {
            let n = rules.for_class(&c, 1).unwrap().len();
            (c, n)
        })
        .collect();
    let expected = [
        ("aa_peptide", 15),
        ("alkaloid", 12),
        ("lipid", 6),
        ("polyphenol", 16),
        ("terpenoid", 10),
    ];
    assert_eq!(per_class, expected.map(|(c, n)| (c.to_owned(), n)));
    assert_eq!(per_class.iter().map(|(_, n)| n).sum::<usize>(), 59);
    for rule in rules.all() {
        assert!(rule.exclude_sugar_like);
        assert_eq!(rule.max_sites, None);
        let query = rule.query_smarts.unwrap();
        assert!(
            rule.smirks.starts_with(&format!("{query}>>")),
            "{} does not start with its query",
            rule.id
        );
    }
}

#[test]
fn transform_products_are_those_of_the_table() {
    let table = [
        ("FG_PHENOL_OH__OH__TO__OMe", "[c:1][O:2]C"),
        ("FG_PHENOL_OH__OH__TO__NH2", "[c:1]N"),
        ("FG_PHENOL_OH__OH__TO__CH2CH2NH2", "[c:1]CCN"),
        ("FG_PHENOL_OH__OH__TO__CH2CH2COOH", "[c:1]CCC(=O)O"),
        ("FG_AMINE_AR__NH2__TO__F", "[c:1]F"),
        ("FG_AMINE_AR__NH2__TO__Cl", "[c:1]Cl"),
        ("FG_AMINE_AR__NH2__TO__Br", "[c:1]Br"),
        ("FG_AMINE_AR__NH2__TO__I", "[c:1]I"),
        ("FG_AMINE_AR__NH2__TO__OH", "[c:1]O"),
        ("FG_AMINE_AR__NH2__TO__NHMe", "[c:1][N:2]C"),
        ("FG_AMINE_AR__NH2__TO__NMe2", "[c:1][N:2](C)C"),
        ("FG_AMINE_AR__NH2__TO__NHCHO", "[c:1][N:2]C=O"),
        ("FG_AMINE_AR__NH2__TO__NHAc", "[c:1][N:2]C(C)=O"),
        ("FG_AMINE_ALIPH__NH2__TO__NHMe", "[C:1][N:2]C"),
        ("FG_AMINE_ALIPH__NH2__TO__NMe2", "[C:1][N:2](C)C"),
        ("FG_AMINE_ALIPH__NH2__TO__NHAc", "[C:1][N:2]C(C)=O"),
        ("FG_CARBOXYL__COOH__TO__COOMe", "[C:1](=[O:2])[O:3]C"),
        ("FG_CARBOXYL__COOH__TO__COOEt", "[C:1](=[O:2])[O:3]CC"),
        ("FG_CARBOXYL__COOH__TO__COCl", "[C:1](=[O:2])Cl"),
    ];
    let found: Vec<(String, String)> = shipped("transforms.yaml")
        .all()
        .into_iter()
        .map(|r| (r.id, r.smirks.split_once(">>").unwrap().1.to_owned()))
        .collect();
    assert_eq!(found, table.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn halogenation_per_class_and_depth() {
    let rules = shipped("halogens.yaml");
    assert_eq!(rules.output(), Layout::Library);
    let (sp2, sp3, cooh) = ("RING_SP2__CH__TO__X", "RING_SP3__CH__TO__X", "COOH__TO__CX");
    let (alpha, oh) = ("ALPHA_CARBONYL__CH2__TO__X", "PRIMARY_OH__CH2OH__TO__X");
    type Row<'a> = (&'a str, &'a [(&'a str, Option<u32>)], usize);
    let table: [Row<'_>; 6] = [
        (
            "terpenoid",
            &[
                (sp2, None),
                (sp3, Some(6)),
                (cooh, Some(2)),
                (oh, Some(3)),
                (alpha, Some(3)),
            ],
            4,
        ),
        (
            "alkaloid",
            &[
                (sp2, Some(10)),
                (cooh, Some(4)),
                (sp3, Some(4)),
                (alpha, Some(4)),
            ],
            3,
        ),
        (
            "polyphenol",
            &[(sp2, Some(12)), (sp3, None), (cooh, Some(3))],
            3,
        ),
        (
            "lipid",
            &[(cooh, Some(3)), (alpha, Some(3)), (oh, Some(3))],
            3,
        ),
        (
            "aa_peptide",
            &[(sp2, Some(2)), (cooh, Some(2)), (alpha, Some(2))],
            2,
        ),
        ("other", &[(sp2, Some(8)), (cooh, Some(3)), (sp3, None)], 2),
    ];
    for (class, families, at_depth_1) in table {
        for (depth, expected) in [(1, &families[..at_depth_1]), (2, families)] {
            let found: Vec<(String, String, Option<u32>)> = rules
                .for_class(class, depth)
                .unwrap()
                .into_iter()
                .map(|r| (r.id, r.family, r.max_sites))
                .collect();
            let expected: Vec<(String, String, Option<u32>)> = expected
                .iter()
                .flat_map(|(family, cap)| {
                    ["F", "Cl", "Br", "I"].map(|x| {
                        (
                            format!("{}{x}", family.strip_suffix('X').unwrap()),
                            (*family).to_owned(),
                            *cap,
                        )
                    })
                })
                .collect();
            assert_eq!(found, expected, "{class} at depth {depth}");
        }
    }
    assert!(
        rules
            .for_class("polysaccharide", 1)
            .unwrap_err()
            .to_string()
            .contains("disabled")
    );
    assert!(
        rules
            .all()
            .iter()
            .all(|r| r.exclude_sugar_like && r.query_smarts.is_none())
    );
}

#[test]
fn halogen_smirks_keep_the_connectivity_primitive() {
    let rules = shipped("halogens.yaml");
    let smirks = |id: &str| rules.select(&[id.to_owned()]).unwrap()[0].smirks.clone();
    assert_eq!(smirks("RING_SP2__CH__TO__Cl"), "[cH:1]>>[c:1]Cl");
    assert_eq!(smirks("RING_SP3__CH__TO__Br"), "[C;R;H1,H2:1]>>[C;R:1]Br");
    assert_eq!(smirks("COOH__TO__CF"), "[c,#6:1]-C(=O)[O;H1]>>[#6:1]F");
    assert_eq!(
        smirks("ALPHA_CARBONYL__CH2__TO__I"),
        "[CH2:1][CX3:2]=[O:3]>>[CH:1](I)[CX3:2]=[O:3]"
    );
    assert_eq!(
        smirks("PRIMARY_OH__CH2OH__TO__F"),
        "[CH2:1][OX2H]>>[CH2:1]F"
    );
    let four = rules.select(&["RING_SP2__CH__TO__X".to_owned()]).unwrap();
    assert_eq!(four.len(), 4);
}

#[test]
fn unknown_names_list_what_is_known() {
    let rules = shipped("transforms.yaml");
    let error = rules.for_class("phenol", 1).unwrap_err().to_string();
    assert!(
        error.contains("`phenol`")
            && error.contains("aa_peptide, alkaloid, lipid, polyphenol, terpenoid"),
        "{error}"
    );
    let error = rules.select(&["FG_NO".to_owned()]).unwrap_err().to_string();
    assert!(error.contains("FG_CARBOXYL__COOH__TO__COCl"), "{error}");
    let error = rules
        .for_class_named("lipid", 1, &["FG_PHENOL_OH__OH__TO__OMe".to_owned()])
        .unwrap_err()
        .to_string();
    assert!(error.contains("does not apply to class `lipid`"), "{error}");
    assert!(rules.for_class("lipid", 0).is_err());
}
