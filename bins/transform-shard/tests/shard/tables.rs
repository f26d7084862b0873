//! Which rows the tables hold, in which order, and what of the parents they carry.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use crate::common::*;

#[test]
fn rows_come_by_parent_rule_and_site_and_the_first_of_equal_products_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (library_path, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    let mut molecules = of_class("polyphenol", 60);
    molecules.extend(of_class("polyphenol", 60));
    library(&library_path, &molecules);
    let file = halocline_rules::RuleFile::load(halogens()).unwrap();
    let order: BTreeMap<String, usize> = file
        .for_class("polyphenol", 1)
        .unwrap()
        .into_iter()
        .enumerate()
        .map(|(i, r)| (r.id, i))
        .collect();
    done(&job(
        &library_path,
        &halogens(),
        &out,
        &args!["--class", "polyphenol", "--threads", "2"],
    ));
    let rows = products(&out.join("products.parquet"));
    assert!(rows.len() > 500);
    let keys: Vec<_> = rows
        .iter()
        .map(|r| (r.row, order[&r.rule], r.site))
        .collect();
    assert!(keys.windows(2).all(|w| w[0] < w[1]));
    let distinct: BTreeSet<_> = rows.iter().map(|r| &r.smiles).collect();
    assert_eq!(distinct.len(), rows.len());
    assert!(
        rows.iter().all(|r| r.row < 60),
        "the second copies came later"
    );
    for row in &rows {
        assert_eq!(row.source, molecules[row.row as usize]);
        assert!(!row.atoms.is_empty());
    }
    let shard = shard_sidecar(&out);
    assert_eq!(shard.rows_out, rows.len() as u64);
    assert_eq!(
        shard.counts["products_made"],
        shard.rows_out + shard.duplicates
    );
    let table = sidecar(&out.join("products.parquet"));
    let estimate = table.distinct_estimate.unwrap() as f64;
    assert!(
        (estimate / rows.len() as f64 - 1.0).abs() < 0.1,
        "{estimate}"
    );
}

#[test]
fn bad_molecules_are_rejects_with_rdkits_words() {
    let dir = tempfile::tempdir().unwrap();
    let (library_path, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    let rows = [
        Some("Oc1ccccc1"),
        Some("C1CC"),
        Some("CN(C)(C)C"),
        None,
        Some(""),
        Some("not a molecule"),
        Some("c1cccc1"),
        Some("OC(=O)c1ccccc1O"),
    ];
    library_with_nulls(&library_path, &rows);
    let rules = dir.path().join("rules.yaml");
    let text = std::fs::read_to_string(transforms()).unwrap();
    // A rule whose products cannot be sanitised.
    let text = text.replace(
        "[c:1][OX2H:2]>>[c:1]CCN\"",
        "[c:1][OX2H:2]>>[c:1]C(C)(C)(C)C\"",
    );
    std::fs::write(&rules, text).unwrap();
    done(&job(
        &library_path,
        &rules,
        &out,
        &args!["--class", "polyphenol", "--threads", "2"],
    ));
    let found = rejects(&out);
    let whole: Vec<_> = found.iter().filter(|r| r.rule.is_none()).collect();
    let said: Vec<_> = whole
        .iter()
        .map(|r| (r.row, r.smiles.as_deref(), r.stage.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (1, Some("C1CC"), "parse"),
            (2, Some("CN(C)(C)C"), "parse"),
            (3, None, "parse"),
            (4, Some(""), "parse"),
            (5, Some("not a molecule"), "parse"),
            (6, Some("c1cccc1"), "parse"),
        ]
    );
    assert!(
        whole[0].reason.contains("unclosed ring"),
        "{}",
        whole[0].reason
    );
    assert!(whole[1].reason.contains("valence"), "{}", whole[1].reason);
    assert!(
        whole[5].reason.to_lowercase().contains("kekulize"),
        "{}",
        whole[5].reason
    );
    let sites: Vec<_> = found
        .iter()
        .filter(|r| r.rule.is_some())
        .map(|r| (r.row, r.rule.as_deref().unwrap(), r.stage.as_str(), r.site))
        .collect();
    let bad = "FG_PHENOL_OH__OH__TO__CH2CH2NH2";
    assert_eq!(
        sites,
        [(0, bad, "sanitise", Some(0)), (7, bad, "sanitise", Some(0))]
    );
    assert!(products(&out.join(format!("{bad}.parquet"))).is_empty());
    assert_eq!(products(&out.join(format!("{OME}.parquet"))).len(), 2);

    for path in [
        out.join("rejects.parquet"),
        out.join(format!("{OME}.parquet")),
    ] {
        let sidecar = sidecar(&path);
        assert_eq!((sidecar.rows_in, sidecar.rows_done), (8, 2));
        assert_eq!(
            sidecar.rows_rejected,
            BTreeMap::from([("parse".to_owned(), 6)])
        );
    }
    let shard = shard_sidecar(&out);
    assert_eq!(
        shard.rows_in,
        shard.rows_done + shard.rows_rejected.values().sum::<u64>()
    );
    assert_eq!(shard.counts["products_failed"], 2);
    assert_eq!(shard.counts[&format!("products_failed:{bad}")], 2);
}

#[test]
fn kept_columns_are_those_of_the_parent() {
    let dir = tempfile::tempdir().unwrap();
    let (library_path, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    library(&library_path, &of_class("polyphenol", 40));
    let mut args = polyphenols(&library_path, &out);
    args.extend(args!["--keep", "class", "k"]);
    done(&args);
    let mut seen = 0;
    for batch in batches(&out.join(format!("{OME}.parquet"))) {
        let names: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names[8..], ["class", "k"]);
        let row = batch["source_row"].as_primitive::<Int64Type>();
        let k = batch["k"].as_primitive::<Int64Type>();
        let class = texts(&batch, "class");
        for (i, class) in class.iter().enumerate() {
            let parent = row.value(i);
            let expected = (parent % 7 != 3).then_some(parent * 10);
            assert_eq!(k.is_valid(i).then(|| k.value(i)), expected);
            assert_eq!(class.as_deref(), Some(["one", "two"][parent as usize % 2]));
            seen += 1;
        }
    }
    assert!(seen > 50);
}

#[test]
fn a_product_table_is_a_library_again() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("l.parquet");
    library(&library_path, &of_class("polyphenol", 25));
    let first = dir.path().join("first");
    done(&job(
        &library_path,
        &halogens(),
        &first,
        &args!["--class", "polyphenol", "--keep", "k"],
    ));
    let table = first.join("products.parquet");
    // Columns of the first step are carried under their names, but what the second step writes itself cannot be.
    let second = dir.path().join("second");
    let mut args = polyphenols(&table, &second);
    args.extend(args!["--keep", "k"]);
    done(&args);
    let parents = products(&table);
    let rows = products(&second.join(format!("{OME}.parquet")));
    assert!(rows.len() > parents.len() / 2);
    for row in &rows {
        assert_eq!(row.source, parents[row.row as usize].smiles);
    }
    // The SMILES are known to be canonical and of this RDKit: the light parse was used, and changed nothing.
    let shard = shard_sidecar(&second);
    assert!(shard.counts["parsed_light"] > 0);
    let plain = dir.path().join("plain.parquet");
    library(
        &plain,
        &parents.iter().map(|p| &p.smiles).collect::<Vec<_>>(),
    );
    let third = dir.path().join("third");
    done(&polyphenols(&plain, &third));
    assert_eq!(shard_sidecar(&third).counts["parsed_light"], 0);
    assert_eq!(products(&third.join(format!("{OME}.parquet"))), rows);
    let message = fails(&{
        let mut args = polyphenols(&table, &dir.path().join("no"));
        args.extend(args!["--keep", "xf_rule_id"]);
        args
    });
    assert!(message.contains("xf_rule_id"), "{message}");
}

#[test]
fn the_profile_is_in_the_sidecar_and_in_the_log_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    library(&input, &of_class("polyphenol", 20));
    let stages = [
        "read",
        "react.parse",
        "react.match",
        "react.edit",
        "react.full_route",
        "react.canonicalise",
        "react.rows",
        "deduplicate",
        "encode",
        "write",
        "wait",
    ];
    for asked in [true, false] {
        let out = dir.path().join(asked.to_string());
        let mut args = polyphenols(&input, &out);
        if asked {
            args.push("--profile".into());
        }
        let ran = output(&args);
        assert!(ran.status.success());
        let log = String::from_utf8_lossy(&ran.stderr).into_owned();
        let sidecar = shard_sidecar(&out);
        for stage in stages {
            let seconds = sidecar.stages[stage];
            assert!(seconds.cpu_seconds >= 0.0 && seconds.wall_seconds >= 0.0);
            let line = format!("{stage}: {:.3} s CPU", seconds.cpu_seconds);
            assert_eq!(log.contains(&line), asked, "{line} in {log}");
        }
        for stage in ["react.parse", "react.match", "react.canonicalise", "react"] {
            assert!(sidecar.stages[stage].wall_seconds > 0.0, "{stage}");
        }
    }
}
