//! Every folder of `tests/cases` (parents.tsv, rules.yaml, command.txt, expected.tsv; `--dump-case ROW` writes them) gives
//! what it says, with both engines; and `--explain` says the same in words.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

#[macro_use]
mod common;

use std::ffi::OsString;
use std::path::Path;

use common::*;

/// The lines a run of the case gives, in the form of `expected.tsv`, sorted.
fn lines(case: &Path, scratch: &Path, engine: &str) -> Vec<String> {
    let parents = std::fs::read_to_string(case.join("parents.tsv")).unwrap();
    let smiles: Vec<&str> = parents.lines().skip(1).collect();
    assert_eq!(smiles.len(), 1, "{}: a case is one parent", case.display());
    let input = scratch.join(format!("{engine}.parquet"));
    library(&input, &smiles);
    let out = scratch.join(engine);
    let mut args = args!["--input", input, "--out-dir", out, "--engine", engine, "-q"].to_vec();
    args.extend(args!["--rules", case.join("rules.yaml")]);
    let command = std::fs::read_to_string(case.join("command.txt")).unwrap();
    args.extend(command.lines().map(OsString::from));
    done(&args);
    let mut lines = Vec::new();
    for (name, _) in tables(&out) {
        if name != "rejects.parquet" {
            for row in products(&out.join(&name)) {
                let atoms: Vec<String> = row.atoms.iter().map(i32::to_string).collect();
                let atoms = atoms.join(",");
                lines.push(format!(
                    "product\t{}\t{}\t{atoms}\t{}",
                    row.rule, row.site, row.smiles
                ));
            }
        }
    }
    for row in rejects(&out) {
        let rule = row.rule.unwrap_or("-".to_owned());
        let site = row.site.map_or("-".to_owned(), |s| s.to_string());
        let reason = row.reason.replace(['\t', '\n'], " ");
        lines.push(format!("rejected\t{rule}\t{site}\t{}\t{reason}", row.stage));
    }
    lines.sort();
    lines
}

fn expected(case: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(case.join("expected.tsv")).unwrap();
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn every_case_gives_what_it_says() {
    let mut cases = 0;
    for entry in std::fs::read_dir(root("tests/cases")).unwrap() {
        let case = entry.unwrap().path();
        if !case.join("command.txt").is_file() {
            continue;
        }
        for engine in ["full", "auto"] {
            let dir = tempfile::tempdir().unwrap();
            let got = lines(&case, dir.path(), engine);
            assert_eq!(
                got,
                expected(&case),
                "{} with --engine {engine}",
                case.display()
            );
        }
        cases += 1;
    }
    assert!(cases >= 5, "{cases} cases");
}

#[test]
fn a_dumped_case_is_a_case() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    let sugar = "OCC1OC(Oc2c(-c3ccc(O)c(O)c3)oc3cc(O)cc(O)c3c2=O)C(O)C(O)C1O";
    library(&input, &["CCO", sugar, "C1CC", "C[C@H](N)C(=O)O"]);
    for (row, rules, extra) in [
        (
            1,
            transforms(),
            args!["--class", "polyphenol", "--depth", "1"],
        ),
        (
            1,
            halogens(),
            args!["--class", "polyphenol", "--depth", "2"],
        ),
        (
            2,
            transforms(),
            args!["--class", "polyphenol", "--depth", "1"],
        ),
        (
            3,
            transforms(),
            args!["--rule", "FG_CARBOXYL__COOH__TO__COOMe", "--depth", "1"],
        ),
        // A limit is part of the case.
        (
            1,
            transforms(),
            args!["--class", "polyphenol", "--max-products", "3"],
        ),
    ] {
        let case = tempfile::tempdir().unwrap();
        let mut args = job(&input, &rules, case.path(), &args![]);
        args.extend(args!["--dump-case", row.to_string(), "-q"]);
        args.extend(extra);
        done(&args);
        let scratch = tempfile::tempdir().unwrap();
        let got = lines(case.path(), scratch.path(), "auto");
        assert!(!got.is_empty());
        assert_eq!(got, expected(case.path()));
    }
}

#[test]
fn explain_says_what_became_of_every_site() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    let masked = "OCC1OC(c2ccc(O)cc2)C(O)C(O)C1O";
    let rows = [
        Some(masked),
        Some("C1CC"),
        None,
        Some("C1CCCCCCCC1CO"),
        Some("CCC"),
    ];
    library_with_nulls(&input, &rows);
    let explain = |row: &str, rules: &Path, class: &str| {
        done(&args![
            "--input",
            input,
            "--rules",
            rules,
            "--class",
            class,
            "--row",
            row,
            "--explain",
            "-q"
        ])
    };
    let said = explain("0", &transforms(), "polyphenol");
    assert!(said.starts_with("row 0 of "), "{said}");
    assert!(
        said.contains("full parse (the table does not say "),
        "{said}"
    );
    assert!(said.contains("  1 sites, 0 masked, 0 capped, 1 products (1 by local edit, 0 by the full route), 0 failed\n  site 0  atoms [8, 9]  -> COc1ccc("), "{said}");
    assert!(
        said.contains("FG_CARBOXYL__COOH__TO__COOMe") && said.contains("  no site"),
        "{said}"
    );
    let said = explain("0", &halogens(), "terpenoid");
    assert!(said.contains("masked: in or on a sugar ring"), "{said}");
    let said = explain("1", &transforms(), "polyphenol");
    assert!(
        said.contains("rejected whole at stage parse") && said.contains("unclosed ring"),
        "{said}"
    );
    assert!(explain("2", &transforms(), "polyphenol").contains("null"));
    let said = explain("3", &halogens(), "terpenoid");
    assert!(
        said.contains("9 sites, 0 masked, 3 capped, 6 products"),
        "{said}"
    );
    assert_eq!(
        said.matches("capped: past the first 6 in canonical order")
            .count(),
        3 * 4,
        "{said}"
    );
    assert!(!explain("4", &transforms(), "polyphenol").contains("->"));

    let bad = dir.path().join("bad.yaml");
    let text = std::fs::read_to_string(transforms()).unwrap();
    let text = text.replace(
        "[c:1][OX2H:2]>>[c:1][O:2]C\"",
        "[c:1][OX2H:2]>>[c:1][O:2](C)C\"",
    );
    std::fs::write(&bad, text).unwrap();
    let said = explain("0", &bad, "polyphenol");
    assert!(
        said.contains("site 0  atoms []  rejected at stage sanitise: ") && said.contains("valence"),
        "{said}"
    );

    let refused = fails(&args![
        "--input",
        input,
        "--rules",
        transforms(),
        "--class",
        "polyphenol",
        "--row",
        "5",
        "--explain"
    ]);
    assert!(
        refused.contains("row 5") && refused.contains("5 rows"),
        "{refused}"
    );
}

#[test]
fn explain_rules_says_which_lane_and_why() {
    let said = done(&args!["--rules", transforms(), "--explain-rules"]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 19);
    for (line, id) in lines.iter().zip(all_rules()) {
        let (name, lane) = line.split_once('\t').unwrap();
        assert_eq!(name, id);
        assert!(
            lane == "local edit" || lane.starts_with("full route: "),
            "{line}"
        );
    }
    assert!(lines[0].ends_with("\tlocal edit"), "{}", lines[0]);
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yaml");
    let text = std::fs::read_to_string(transforms()).unwrap();
    let ome = "[c:1][OX2H:2]>>[c:1][O:2]C\"";
    assert!(text.contains(ome));
    for (smirks, lane) in [
        (
            "[c:1][OX2H:2]>>[c:1].[O:2]C",
            "full route: more than one product",
        ),
        ("[O:2][c:1]>>[c:1][O:2]C", "local edit"),
        ("[#6:1][#8:2]>>[C:1][O:2]C", "local edit"),
        ("[C,c:1]-,=[O:2]>>[C:1]=[O:2]", "local edit"),
        (
            "[C:1]=[O:2]>>[C:1][O:2]",
            "full route: the order of a bond of the parent changes",
        ),
        (
            "[C:1][O:2]>>[C:1]=[O:2]",
            "full route: the order of a bond of the parent changes",
        ),
        (
            "[c:1][OX2H:2]>>[c:1][O-:2]",
            "full route: an atom of the parent gets a charge",
        ),
        (
            "[nX2:1]>>[n:1]C",
            "full route: an aromatic heteroatom of the parent takes part",
        ),
        (
            "[c:1][OX2H:2]>>[c:1][N:2]",
            "full route: an atom of the parent becomes another element",
        ),
        (
            "[c:1][OX2H:2]>>[C:1][O:2]",
            "full route: an atom of the parent becomes aromatic, or ceases to be",
        ),
    ] {
        std::fs::write(&rules, text.replace(ome, &format!("{smirks}\""))).unwrap();
        let said = done(&args!["--rules", &rules, "--rule", OME, "--explain-rules"]);
        assert_eq!(said.trim_end(), format!("{OME}\t{lane}"), "{smirks}");
    }
}
