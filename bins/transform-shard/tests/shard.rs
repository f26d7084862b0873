//! `halo-transform-shard` as a person runs it: tables, order, rejects, plans, resume, depth, refusals.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

#[macro_use]
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use run::*;

const OME: &str = "FG_PHENOL_OH__OH__TO__OMe";
const COCL: &str = "FG_CARBOXYL__COOH__TO__COCl";

/// Arguments for one class of transform rules over all rows of `library`.
fn polyphenols(library: &Path, out: &Path) -> Vec<OsString> {
    args![
        "--input",
        library,
        "--rules",
        transforms(),
        "--class",
        "polyphenol",
        "--out-dir",
        out
    ]
    .to_vec()
}

#[test]
fn bytes_do_not_depend_on_threads_or_on_a_limit_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("library.parquet");
    // All classes: rows with many products lie beside rows with none. Every molecule twice, so that there are duplicates.
    let molecules: Vec<String> = np_700().into_iter().map(|(s, _)| s).step_by(3).collect();
    let twice: Vec<&String> = molecules.iter().chain(&molecules).collect();
    library(&library_path, &twice);
    let mut first: Option<Vec<(String, String)>> = None;
    for (n, (threads, limit)) in [
        ("1", "1GiB"),
        ("2", "1GiB"),
        ("7", "1GiB"),
        ("1", "192MiB"),
        ("3", "256MiB"),
    ]
    .into_iter()
    .enumerate()
    {
        let out = dir.path().join(n.to_string());
        let mut args = polyphenols(&library_path, &out);
        args.extend(args![
            "--threads",
            threads,
            "--memory-limit",
            limit,
            "--keep",
            "k",
            "class"
        ]);
        done(&args);
        let found = tables(&out);
        assert_eq!(found.len(), 17, "16 rules and the rejects");
        let shard = shard_sidecar(&out);
        assert!(shard.duplicates > 0);
        assert!(
            shard.peak_rss_bytes <= shard.memory_limit_bytes,
            "{shard:?}"
        );
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(*first, found, "--threads {threads} --memory-limit {limit}"),
        }
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
        done(&args![
            "--input",
            library_path,
            "--rules",
            halogens(),
            "--class",
            "lipid",
            "--depth",
            "2",
            "--out-dir",
            out,
            "--threads",
            threads,
        ]);
        let found = tables(&out);
        assert_eq!(found.len(), 2);
        match &first {
            None => first = Some(found),
            Some(first) => assert_eq!(*first, found, "--threads {threads}"),
        }
    }
}

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
    done(&args![
        "--input",
        library_path,
        "--rules",
        halogens(),
        "--class",
        "polyphenol",
        "--out-dir",
        out,
        "--threads",
        "2",
    ]);
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
    done(&args![
        "--input",
        library_path,
        "--rules",
        rules,
        "--class",
        "polyphenol",
        "--out-dir",
        out,
        "--threads",
        "2",
    ]);
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
fn rows_shards_and_plans_cut_the_same_tables() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("l.parquet");
    library(&library_path, &of_class("polyphenol", 50));
    let plan_path = dir.path().join("plan.json");
    plan(&plan_path, &library_path, &[20, 20, 50]);

    let by_rows = dir.path().join("rows");
    let mut args = polyphenols(&library_path, &by_rows);
    args.extend(args!["--rows", "20..50"]);
    done(&args);
    let by_shard = dir.path().join("shard");
    done(&args![
        "--plan",
        plan_path,
        "--shard",
        "2",
        "--rules",
        transforms(),
        "--class",
        "polyphenol",
        "--out-dir",
        by_shard,
    ]);
    let batch = dir.path().join("batch");
    done(&args![
        "--plan",
        plan_path,
        "--shards",
        "0..3",
        "--rules",
        transforms(),
        "--class",
        "polyphenol",
        "--out-dir",
        batch,
    ]);
    assert_eq!(tables(&by_rows), tables(&by_shard));
    assert_eq!(tables(&by_rows), tables(&batch.join("shard-00002")));
    let empty = batch.join("shard-00001");
    assert!(products(&empty.join(format!("{OME}.parquet"))).is_empty());
    assert_eq!(shard_sidecar(&empty).rows_in, 0);

    let whole = dir.path().join("whole");
    done(&polyphenols(&library_path, &whole));
    let name = format!("{COCL}.parquet");
    let mut joined = products(&batch.join("shard-00000").join(&name));
    joined.extend(products(&batch.join("shard-00002").join(&name)));
    let mut seen = BTreeSet::new();
    joined.retain(|r| seen.insert(r.smiles.clone()));
    assert_eq!(joined, products(&whole.join(&name)));

    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(batch.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["schema"], "halocline.manifest/1");
    let shards = manifest["shards"].as_array().unwrap();
    let rows: Vec<_> = shards
        .iter()
        .map(|s| s["rows_in"].as_u64().unwrap())
        .collect();
    assert_eq!(rows, [20, 0, 30]);
    for shard in shards {
        let folder = batch.join(shard["dir"].as_str().unwrap());
        let named = shard["tables"].as_object().unwrap();
        assert_eq!(named.len(), 17);
        for (name, table) in named {
            let path = folder.join(format!("{name}.parquet"));
            let digest = halocline_table::file_digest(&path).unwrap();
            assert_eq!(table["xxh3_128"], digest);
            assert_eq!(table["bytes"], std::fs::metadata(&path).unwrap().len());
            let reader = halocline_table::TableReader::open(&path).unwrap();
            assert_eq!(table["rows"], reader.rows());
        }
    }
}

/// When each shard's completion marker was written.
fn marks(batch: &Path, shards: usize) -> Vec<std::time::SystemTime> {
    (0..shards)
        .map(|i| {
            let marker = batch.join(format!("shard-{i:05}/shard.stats.json"));
            std::fs::metadata(marker).unwrap().modified().unwrap()
        })
        .collect()
}

#[test]
fn a_batch_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("l.parquet");
    library(&library_path, &of_class("polyphenol", 30));
    let plan_path = dir.path().join("plan.json");
    plan(&plan_path, &library_path, &[10, 20, 30]);
    let rules = dir.path().join("rules.yaml");
    std::fs::copy(transforms(), &rules).unwrap();
    let batch = dir.path().join("batch");
    let go = args![
        "--plan",
        plan_path,
        "--shards",
        "0..3",
        "--rules",
        rules,
        "--class",
        "polyphenol",
        "--out-dir",
        batch,
    ];
    // Which of the three shards a run did again.
    let again = |before: &[std::time::SystemTime]| {
        done(&go);
        let after = marks(&batch, 3);
        (0..3)
            .filter(|&i| after[i] != before[i])
            .collect::<Vec<_>>()
    };
    done(&go);
    let whole = tables(&batch);
    let manifest = std::fs::read(batch.join("manifest.json")).unwrap();
    assert!(again(&marks(&batch, 3)).is_empty());

    // Died while shard 1 was written: neither its marker nor some of its tables are there.
    let before = marks(&batch, 3);
    std::fs::remove_file(batch.join("shard-00001/shard.stats.json")).unwrap();
    std::fs::remove_file(batch.join(format!("shard-00001/{OME}.parquet"))).unwrap();
    std::fs::remove_file(batch.join("manifest.json")).unwrap();
    assert_eq!(again(&before), [1]);
    assert_eq!(tables(&batch), whole);
    assert_eq!(
        std::fs::read(batch.join("manifest.json")).unwrap(),
        manifest
    );

    let before = marks(&batch, 3);
    std::fs::remove_dir_all(batch.join("shard-00002")).unwrap();
    assert_eq!(again(&before), [2]);
    assert_eq!(tables(&batch), whole);

    let before = marks(&batch, 3);
    let cut = batch.join(format!("shard-00000/{COCL}.parquet"));
    let file = std::fs::OpenOptions::new().write(true).open(&cut).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    drop(file);
    assert_eq!(again(&before), [0]);
    assert_eq!(tables(&batch), whole);

    // Another rule text: everything again, and other products.
    let before = marks(&batch, 3);
    let text = std::fs::read_to_string(&rules).unwrap();
    let changed = text.replace(
        "[c:1][OX2H:2]>>[c:1][O:2]C\"",
        "[c:1][OX2H:2]>>[c:1][O:2]CC\"",
    );
    assert_ne!(text, changed);
    std::fs::write(&rules, changed).unwrap();
    assert_eq!(again(&before), [0, 1, 2]);
    let other: Vec<_> = tables(&batch)
        .into_iter()
        .zip(&whole)
        .filter(|(a, b)| a != *b)
        .map(|(a, _)| a.0)
        .collect();
    assert!(
        !other.is_empty() && other.iter().all(|name| name.contains(OME)),
        "{other:?}"
    );
    // A comment is no other rule.
    let before = marks(&batch, 3);
    let text = std::fs::read_to_string(&rules).unwrap();
    std::fs::write(&rules, format!("# seen\n{text}")).unwrap();
    assert!(again(&before).is_empty());
}

/// The distinct products of `library` under the halogen rules of `class`, per parent.
fn halogenated(
    out: &Path,
    library: &Path,
    rules: &Path,
    class: &str,
    depth: &str,
) -> BTreeMap<i64, Vec<String>> {
    done(&args![
        "--input",
        library,
        "--rules",
        rules,
        "--class",
        class,
        "--depth",
        depth,
        "--out-dir",
        out,
        "--threads",
        "2"
    ]);
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
fn a_product_table_is_a_library_again() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("l.parquet");
    library(&library_path, &of_class("polyphenol", 25));
    let first = dir.path().join("first");
    done(&args![
        "--input",
        library_path,
        "--rules",
        halogens(),
        "--class",
        "polyphenol",
        "--keep",
        "k",
        "--out-dir",
        first,
    ]);
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
fn refusals_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("l.parquet");
    library(&library_path, &["Oc1ccccc1", "CCO"]);
    let out = dir.path().join("out");
    let plan_path = dir.path().join("plan.json");
    plan(&plan_path, &library_path, &[1, 2]);
    let broken = dir.path().join("broken.yaml");
    let text = std::fs::read_to_string(transforms()).unwrap();
    std::fs::write(
        &broken,
        text.replace("[c:1][OX2H:2]>>[c:1]N\"", "[c:1][OX2H:2>>[c:1]N\""),
    )
    .unwrap();
    let with = |extra: &[OsString]| {
        let mut args = args![
            "--input",
            library_path,
            "--rules",
            transforms(),
            "--out-dir",
            out
        ]
        .to_vec();
        args.extend_from_slice(extra);
        args
    };
    let other_rows = dir.path().join("other.json");
    let text = std::fs::read_to_string(&plan_path).unwrap();
    std::fs::write(
        &other_rows,
        text.replace("\"input_rows\": 2", "\"input_rows\": 3")
            .replace("\"end\": 2", "\"end\": 3"),
    )
    .unwrap();
    for (args, words) in [
        (
            args![
                "--input",
                dir.path().join("none.parquet"),
                "--rules",
                transforms(),
                "--rule",
                OME,
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["none.parquet"],
        ),
        (
            args![
                "--input",
                transforms(),
                "--rules",
                transforms(),
                "--rule",
                OME,
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["transforms.yaml", "Parquet"],
        ),
        (
            args![
                "--input",
                library_path,
                "--rules",
                dir.path().join("none.yaml"),
                "--rule",
                OME,
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["none.yaml"],
        ),
        (
            with(&args!["--rule", OME, "--smiles-column", "structure"]),
            vec!["structure", "smiles"],
        ),
        (with(&args!["--rule", OME, "--keep", "mass"]), vec!["mass"]),
        (
            with(&args!["--rule", OME, "--smiles-column", "k"]),
            vec!["`k`"],
        ),
        (with(&args!["--rule", "FG_NONE"]), vec!["FG_NONE"]),
        (with(&args!["--class", "mineral"]), vec!["mineral"]),
        (with(&args![]), vec!["--rule", "--class"]),
        (
            with(&args!["--rule", OME, "--rows", "0..3"]),
            vec!["0..3", "2 rows"],
        ),
        (with(&args!["--rule", OME, "--rows", "2..1"]), vec!["2..1"]),
        (
            with(&args!["--rule", OME, "--rows", "all"]),
            vec!["all", "0..1000"],
        ),
        (
            with(&args!["--rule", OME, "--depth", "0"]),
            vec!["--depth 0"],
        ),
        (
            with(&args!["--rule", OME, "--threads", "0"]),
            vec!["--threads"],
        ),
        (
            args![
                "--input",
                library_path,
                "--rules",
                broken,
                "--class",
                "polyphenol",
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["FG_PHENOL_OH__OH__TO__NH2", "[c:1][OX2H:2"],
        ),
        (
            args![
                "--plan",
                plan_path,
                "--shard",
                "2",
                "--rules",
                transforms(),
                "--rule",
                OME,
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["no shard 2"],
        ),
        (
            args![
                "--plan",
                plan_path,
                "--shards",
                "1..1",
                "--rules",
                transforms(),
                "--rule",
                OME,
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["1..1"],
        ),
        (
            args![
                "--plan",
                plan_path,
                "--rules",
                transforms(),
                "--rule",
                OME,
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["2 shards", "--shard"],
        ),
        (
            args![
                "--plan",
                other_rows,
                "--shard",
                "0",
                "--rules",
                transforms(),
                "--rule",
                OME,
                "--out-dir",
                out
            ]
            .to_vec(),
            vec!["2 rows", "3"],
        ),
    ] {
        let message = fails(&args);
        for word in words {
            assert!(
                message.contains(word),
                "{args:?}: `{word}` is not in: {message}"
            );
        }
        assert!(!message.contains("panicked"), "{message}");
    }
    assert!(!out.exists(), "a refused run leaves nothing");
}

#[test]
fn too_little_memory_is_refused_with_the_least_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let (library_path, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    library(&library_path, &of_class("polyphenol", 20));
    let with = |limit: &str| {
        let mut args = polyphenols(&library_path, &out);
        args.extend(args!["--memory-limit", limit, "--threads", "2"]);
        args
    };
    let message = fails(&with("40MiB"));
    let least = message
        .split("the least that works here is ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .map(|size| size.trim_end_matches("MiB").parse::<u64>().unwrap());
    let Some(least) = least else {
        panic!("no least limit in: {message}")
    };
    assert!(least < 128, "{message}");
    done(&with(&format!("{least}MiB")));
    let shard = shard_sidecar(&out);
    assert!(shard.peak_rss_bytes <= least << 20, "{shard:?}");
    assert!(fails(&with("0MiB")).contains("0MiB"));
    assert!(fails(&with("512")).contains("MiB"));
}

#[test]
fn an_interrupted_run_leaves_nothing_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("l.parquet");
    let molecules = of_class("polyphenol", 100);
    let many: Vec<&String> = std::iter::repeat_n(&molecules, 30).flatten().collect();
    library(&library_path, &many);
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let out = dir.path().join(format!("out{signal}"));
        let mut child = command()
            .args(polyphenols(&library_path, &out))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Once the folder is there, tables are open.
        let start = Instant::now();
        while !out.exists() {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        let killed = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let left: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
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
    std::fs::write(
        &rules,
        text.replace(
            "[c:1][OX2H:2]>>[c:1][O:2]C\"",
            "[c:1][OX2H:2]>>[c:1].[O:2]C\"",
        ),
    )
    .unwrap();
    let said = done(&args!["--rules", rules, "--rule", OME, "--explain-rules"]);
    assert!(said.contains("full route: more than one product"), "{said}");
}
