//! Sites that are alike by symmetry give one text, and it is the one `runReactants` gives for each of them: on molecules
//! whose ties are symmetries, on those whose ties are not, and on cages where RDKit ranks in another way.

use halocline_chem::{Engine, Kernel, Options, SmilesBatch};
use halocline_rules::Reaction;

const MOLECULES: &[&str] = &[
    "Cc1ccc(O)cc1",                           // a ring that flips
    "CC(C)(C)c1ccc(O)cc1",                    // and three ends alike
    "Oc1ccc(-c2ccc(O)cc2)cc1",                // two rings that flip, exchanged
    "Oc1cc(O)cc(O)c1",                        // threefold
    "c1ccccc1",                               // sixfold
    "CC(C)CC(C)C",                            // ends alike on atoms alike
    "c1ccc2ccccc2c1",                         // one exchange of five pairs
    "OC(=O)CC(C(=O)O)CC(=O)O",                // acids, two of three alike
    "C1CCC(CC1)C1CCCC1",                      // rings joined by a bond
    "C1CCC2CCCCC2C1",                         // and fused
    "C12C3C4C1C5C4C3C25",                     // cubane
    "C1C2CC3CC1CC(C2)C3",                     // adamantane
    "C12C3C1C1C2C31",                         // prismane
    "C1CC2CCC1CC2",                           // bicyclo[2.2.2]octane
    "C1CC2CC1CC2",                            // norbornane
    "c1cc2ccc3ccc4ccc5ccc6ccc1c1c2c3c4c5c61", // coronene
    "c1cc2CCc3ccc(CCc1cc2)cc3",               // a cyclophane
    "C1CC11CC1",                              // a spiro atom
    "C1CC1C1CC1",                             // two alike rings
    "FC(F)(F)c1cc(O)cc(C(F)(F)F)c1",
    "Oc1ccc(Cc2ccc(O)cc2)cc1",
    "OCC(CO)(CO)CO",
    "C1CC2CC1C1CCCC21",
    "C1CCC2(CC1)CCCCC2",
    "C1=CC=CC=CC=C1",
    "c1ccc(cc1)C(c1ccccc1)c1ccccc1",
    "NCCN(CCN)CCN",
    "CN(C)c1ccc(N(C)C)cc1",
    "C1CC2CCC3CCC1C23",
    "C1OCCC12COCC2", // two rings exchanged as wholes about one atom
    "C1C2(CCC2)CC1", // four atoms alike, and no exchange of two that leaves the rest
    "C12C3C4C5C1C6C7C2C8C3C9C4C1C5C6C2C7C8C9C12", // dodecahedrane
];

const RULES: &[&str] = &[
    "[cH:1]>>[c:1]F",
    "[cH:1]>>[c:1]Cl",
    "[cH:1]>>[c:1]Br",
    "[C;R;H1,H2:1]>>[C;R:1]Cl",
    "[CX4;H3:1]>>[C:1]Cl",
    "[c:1][OX2H:2]>>[c:1][O:2]C",
    "[CH2:1][OX2H]>>[CH2:1]I",
    "[CX3:1](=[O:2])[OX2H1:3]>>[C:1](=[O:2])[O:3]CC",
    "[CX4:1][NX3;H2:2]>>[C:1][N:2](C)C",
    "[CH2:1][CH2:2]>>[CH:1](F)[CH:2]Cl",
    "[cH:1][cH:2]>>[c:1](F)[c:2]Br",
    "[CH2:1][CX4:3][CH2:2]>>[CH:1](F)[C:3][CH:2]Cl",
];

#[test]
fn sites_alike_share_the_text_that_run_reactants_gives() {
    let rules: Vec<Reaction> = RULES
        .iter()
        .map(|smirks| Reaction {
            id: (*smirks).to_owned(),
            label: (*smirks).to_owned(),
            family: "test".to_owned(),
            smirks: (*smirks).to_owned(),
            query_smarts: None,
            max_sites: None,
            exclude_sugar_like: false,
            fingerprint: String::new(),
        })
        .collect();
    let mut batch = SmilesBatch::new();
    MOLECULES.iter().for_each(|smiles| batch.push(smiles));
    let mut seen = Vec::new();
    let mut shared = 0;
    for engine in [Engine::Full, Engine::Auto] {
        let mut kernel = Kernel::new(
            &rules,
            &Options {
                engine,
                ..Options::default()
            },
        )
        .unwrap();
        let results = kernel.run(&batch, 1).unwrap();
        shared = results.profile().shared;
        seen.push(
            results
                .products()
                .map(|p| {
                    format!(
                        "{} {} site {} {:?}: {}",
                        MOLECULES[p.row as usize],
                        RULES[usize::from(p.path[0])],
                        p.site,
                        p.atoms,
                        p.smiles
                    )
                })
                .collect::<Vec<_>>(),
        );
        assert_eq!(results.failures().count(), 0);
    }
    let different: Vec<_> = seen[0]
        .iter()
        .zip(&seen[1])
        .filter(|(a, b)| a != b)
        .collect();
    assert!(
        different.is_empty() && seen[0].len() == seen[1].len(),
        "runReactants, and the lane: {different:#?}"
    );
    // 40 of 783; none would mean that nothing is tested.
    assert!(shared > 30, "{shared} of {} were shared", seen[1].len());
}
