//! Rules a stranger might bring (`tests/oracle/strangers.py` lists them) give what Python's `RunReactants` gives, with
//! either engine; and so do rules made up at random.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_tests::random::Random;
use halocline_tests::{command, library, np_68k, number, python, root, run, scratch, table};
use std::process::Command;

/// Molecules beside the real ones, so that every rule but those that need written hydrogens finds a site.
const EXTRA: &[&str] = &[
    "Oc1ccc(O)cc1",
    "C[C@](N)(CC)C(=O)O",
    "C/C=C/C",
    "O=C1C=CC(=O)c2ccccc21",
    "C1OC1c1ccccc1",
    "Cc1ccccc1",
    "Cc1cccc(I)c1",
    "C[C@H](O)c1ccccc1",
    "C[C@@H](O)c1ccccc1",
    "C[S@](=O)c1ccccc1",
    "C[P@](=O)(O)c1ccccc1",
    "O=P(O)c1ccccc1",
    "C1=CS(F)(F)C=C1",
    "C1CSCCN1",
    // Elements that the text names by their numbers alone.
    "[15#7H2]c1ccccc1",
    "[18#8H]c1ccccc1",
    // Which of the rings are aromatic depends on the Kekule form.
    "C1=c2oc3cc(cc4nc(co4)nc4cc(nc1s2)S4)C3",
    "C1=c2cc1cc1nc(nc3ccc(nc4cc(c2)s4)o3)s1",
    "O=C1c2cc1cn1c(=S)c(cc3nc(oc4n(O)c(c2)C=4)=C3)C=C1",
    // The same without a macrocycle: two rings share more than one bond.
    "c1c2c3CN=C2c1c(c3)CO",
    "c1c(Cl)c2c(cc1Cl)c(Cl)c1c3c2c(cc1)=C3",
    "c1c2[n+]3cc(c3=C3C4NC3N2B(N4)CO)c1",
    // A ring of three leaves two sets of smallest rings.
    "C12=CC=CC3C1(OCN)C2=3",
    "C(N)(C1=C2C3N(C=C1)C2=3)=O",
    // So many aromatic rings in one system that a Kekule form is not found in every order of atoms.
    "c1o[nH]c2c3cccccc[n+]3c3c(cc4c(c5ccccc5c5ccccccc5c5cc6ccc7c(cc8c(n7)cc(F)nc8)c6sc54)c3)[c-]3ccccccc3c2c1",
    // Stereo of rings, without a CIP code.
    "OC(=O)[C@H]1C2CC[C@H]1CC2",
    "N[C@H]1CC2(C1)C[C@H](CO)C2",
    "OC[C@H]1CC2(C1)C[C@@H](CO)C2",
    "O[C@H]1[C@@H]2C[C@@H]3C[C@H](C2)C[C@H]1C3",
    // Cages whose atoms are not told apart, though no symmetry exchanges them.
    "C12C3(C4C1C1C3C3C5C(C4C12)C1C5C13)C(=O)O",
    "C12(C3C4C5C6C7C1C(C3C5C76)C24)CN",
    // Aromatic only next to a carbonyl.
    "Cn1ccccc1=O",
    "Cc1cc(=O)oc(C)c1",
    "Cc1cc(=O)[nH]c(=O)[nH]1",
    "O=C1C=CC=CC=C1O",
];

/// Both engines make the same tables of these rules over `parents` and the molecules above, and those of the oracle;
/// returns the oracle's last line.
fn compare(parents: &str, which: &[&str]) -> String {
    let dir = scratch();
    let mut tsv = parents.to_owned();
    for smiles in EXTRA {
        let columns = tsv.lines().next().unwrap().split('\t');
        let row: Vec<&str> = columns
            .map(|c| if c == "smiles" { smiles } else { "x" })
            .collect();
        tsv += &(row.join("\t") + "\n");
    }
    let library = library(dir.path(), &tsv);
    let oracle = |what: &str| {
        let mut oracle = Command::new(python());
        oracle.arg(root().join("tests/oracle/strangers.py"));
        oracle.arg(what).args(which);
        oracle
    };
    let rules = dir.path().join("rules.yaml");
    fs_err::write(&rules, run(&mut oracle("rules")).stdout).unwrap();
    let ours = |engine: &str| dir.path().join(engine);
    for engine in ["full", "auto"] {
        let mut shard = command("halo-transform-shard");
        shard
            .arg("--input")
            .arg(&library)
            .arg("--rules")
            .arg(&rules);
        shard.args(["--class", "any", "--threads", "2", "--engine", engine]);
        run(shard.arg("--out-dir").arg(ours(engine)));
    }
    let mut compare = oracle("compare");
    compare.args(["--verbose", "--library"]).arg(&library);
    let said = run(compare.arg("--ours").arg(ours("auto"))).stdout;
    for entry in fs_err::read_dir(ours("full")).unwrap() {
        let full = entry.unwrap().path();
        if full.extension().is_some_and(|e| e == "parquet") {
            let auto = ours("auto").join(full.file_name().unwrap());
            let same = fs_err::read(&full).unwrap() == fs_err::read(&auto).unwrap();
            assert!(
                same,
                "{}: {}\n{}",
                full.display(),
                table(&full)["data"],
                table(&auto)["data"]
            );
        }
    }
    let said = String::from_utf8(said).unwrap();
    said.lines().last().unwrap().to_owned()
}

#[test]
fn a_strangers_rules_give_what_run_reactants_gives() {
    let said = compare(&np_68k(170, 400), &[]);
    let all = format!("{} parents, 69 rules of which 67 acted", 400 + EXTRA.len());
    assert!(said.starts_with(&all), "{said}");
}

/// Rules that nobody thought of. `make test` makes up the same ones every time, `HALOCLINE_RULE_SETS=50` (as
/// `make torture` sets it) so many times others.
#[test]
fn made_up_rules_give_what_run_reactants_gives() {
    let sets = number("HALOCLINE_RULE_SETS");
    let mut random = Random::seeded("made-up rules");
    for _ in 0..sets.unwrap_or(1) {
        let seed = sets.map_or(1, |_| random.below(1 << 32)).to_string();
        let said = compare(&np_68k(900, 70), &["--random", &seed]);
        eprintln!("rules of seed {seed}: {said}");
        let all = format!("{} parents, 80 rules", 70 + EXTRA.len());
        assert!(said.starts_with(&all), "{said}");
    }
}
