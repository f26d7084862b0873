//! The programs called by hand, one after the other, on real molecules: what holds across them.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_tests::{command, json, library, np_700, root, run, scratch, table};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const OME: &str = "FG_PHENOL_OH__OH__TO__OMe";

/// The molecules of one class of `np_700`, with its header.
fn of_class(class: &str, rows: usize) -> String {
    let all = np_700(rows);
    let header = all.lines().next().unwrap().to_owned();
    let of_class = all
        .lines()
        .filter(|line| line.split('\t').nth(2) == Some(class));
    std::iter::once(header.as_str())
        .chain(of_class)
        .map(|line| format!("{line}\n"))
        .collect()
}

/// How a job is run; none of it may change a byte of the products.
#[derive(Clone, Copy)]
struct How {
    shards: u32,
    threads: u32,
    transform_memory: &'static str,
    merge_memory: &'static str,
    strategy: &'static str,
}

/// Split, transform, merge and validate one library of polyphenols under all rules of the class; the merged tables
/// and their summaries.
fn job(dir: &Path, library: &Path, how: How) -> BTreeMap<String, PathBuf> {
    let (plan, shards) = (dir.join("plan"), dir.join("shards"));
    let count = how.shards.to_string();
    run(command("halo-split")
        .arg(library)
        .arg("--out-dir")
        .arg(&plan)
        .args(["--shards", &count]));
    let mut transform = command("halo-transform-shard");
    transform
        .arg("--plan")
        .arg(plan.join("plan.json"))
        .args(["--shards", &format!("0..{count}")]);
    transform
        .arg("--rules")
        .arg(root().join("configs/transforms.yaml"))
        .args(["--class", "polyphenol"]);
    transform.args([
        "--depth",
        "1",
        "--keep",
        "id",
        "--threads",
        &how.threads.to_string(),
    ]);
    transform
        .args(["--memory-limit", how.transform_memory])
        .arg("--out-dir")
        .arg(&shards);
    run(&mut transform);
    let manifest = json(&shards.join("manifest.json"));
    assert_eq!(
        manifest["shards"].as_array().unwrap().len(),
        how.shards as usize
    );
    let mut merged = BTreeMap::new();
    for name in manifest["shards"][0]["tables"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| name.starts_with("FG_"))
    {
        let rule = name.trim_end_matches(".parquet");
        let out = dir.join(rule).join("products.parquet");
        fs_err::create_dir_all(out.parent().unwrap()).unwrap();
        let mut merge = command("halo-dedup-merge");
        merge
            .arg("--shards-from")
            .arg(&shards)
            .args(["--table", &format!("{rule}.parquet")]);
        merge
            .arg("--out")
            .arg(&out)
            .arg("--summary")
            .arg(out.with_file_name("SUMMARY.json"));
        merge.args([
            "--threads",
            &how.threads.to_string(),
            "--memory-limit",
            how.merge_memory,
        ]);
        merge.args([
            "--strategy",
            how.strategy,
            "--transform",
            rule,
            "--class",
            "polyphenol",
            "--depth",
            "1",
        ]);
        run(merge.arg("--source-file").arg(library));
        let mut validate = command("halo-validate-parquet");
        run(validate.arg(&out).args(["--expect-rule", rule]));
        merged.insert(rule.to_owned(), out);
    }
    assert_eq!(merged.len(), 16);
    merged
}

#[test]
fn bytes_do_not_depend_on_threads_shards_or_memory() {
    let dir = scratch();
    let library = library(dir.path(), &of_class("polyphenol", 100));
    let plain = How {
        shards: 1,
        threads: 1,
        transform_memory: "1GiB",
        merge_memory: "1GiB",
        strategy: "auto",
    };
    let wanted = job(&dir.path().join("plain"), &library, plain);
    let others = [
        How {
            shards: 7,
            threads: 4,
            ..plain
        },
        How {
            shards: 3,
            threads: 2,
            transform_memory: "256MiB",
            merge_memory: "64MiB",
            strategy: "bloom",
        },
        How {
            shards: 23,
            merge_memory: "64MiB",
            strategy: "spill",
            ..plain
        },
    ];
    for (n, how) in others.into_iter().enumerate() {
        let got = job(&dir.path().join(format!("other-{n}")), &library, how);
        for (rule, path) in &wanted {
            let same = fs_err::read(path).unwrap() == fs_err::read(&got[rule]).unwrap();
            assert!(
                same,
                "{rule}: {} and {} differ",
                path.display(),
                got[rule].display()
            );
        }
    }
}

#[test]
fn a_product_table_is_an_input() {
    let dir = scratch();
    let library = library(dir.path(), &of_class("polyphenol", 40));
    let how = How {
        shards: 2,
        threads: 2,
        transform_memory: "512MiB",
        merge_memory: "256MiB",
        strategy: "auto",
    };
    let first = job(&dir.path().join("first"), &library, how);
    let first = &first[OME];
    let products = table(first);
    let second = job(&dir.path().join("second"), first, how);
    let again = table(&second[OME]);
    assert!(again["rows"].as_u64().unwrap() > 0);
    // The parents of the second round are products of the first, row by row.
    let column =
        |table: &serde_json::Value, name: &str| table["data"][name].as_array().unwrap().clone();
    let made = column(&products, "smiles");
    for (row, parent) in column(&again, "source_row")
        .iter()
        .zip(column(&again, "source_smiles"))
    {
        let row = usize::try_from(row.as_u64().unwrap()).unwrap();
        assert_eq!(made[row], parent);
    }
}

#[test]
fn a_product_table_keeps_its_contract_in_other_readers() {
    let dir = scratch();
    let library = library(dir.path(), &of_class("polyphenol", 40));
    let how = How {
        shards: 3,
        threads: 1,
        transform_memory: "512MiB",
        merge_memory: "256MiB",
        strategy: "auto",
    };
    let merged = job(&dir.path().join("job"), &library, how);
    let products = table(&merged[OME]);
    let columns: Vec<(&str, &str)> = products["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column[0].as_str().unwrap(), column[1].as_str().unwrap()))
        .collect();
    let dictionary = "dictionary<values=string, indices=int32, ordered=0>";
    let wanted = [
        ("smiles", "string"),
        ("source_smiles", "string"),
        ("source_row", "int64"),
        ("xf_rule_id", dictionary),
        ("xf_label", dictionary),
        ("xf_family", dictionary),
        ("xf_site_index", "int32"),
        ("xf_site_atoms", "list<item: int32 not null>"),
        ("id", "string"),
    ];
    let lists_renamed: Vec<(&str, &str)> = columns
        .iter()
        .map(|&(name, kind)| {
            (
                name,
                if kind.starts_with("list<") {
                    wanted[7].1
                } else {
                    kind
                },
            )
        })
        .collect();
    assert_eq!(lists_renamed, wanted, "{columns:?}");
    let data = |name: &str| products["data"][name].as_array().unwrap().clone();
    let smiles: Vec<String> = data("smiles")
        .iter()
        .map(|s| s.as_str().unwrap().to_owned())
        .collect();
    let distinct: std::collections::BTreeSet<&String> = smiles.iter().collect();
    assert_eq!(distinct.len(), smiles.len(), "a SMILES stands twice");
    let order: Vec<(u64, u64)> = data("source_row")
        .iter()
        .zip(data("xf_site_index"))
        .map(|(row, site)| (row.as_u64().unwrap(), site.as_u64().unwrap()))
        .collect();
    assert!(order.is_sorted(), "the rows are out of order");
    assert!(data("xf_rule_id").iter().all(|rule| rule == OME));
    let summary = json(&merged[OME].with_file_name("SUMMARY.json"));
    assert_eq!(summary["unique_products"], products["rows"], "{summary}");
    assert!(summary["total_products"].as_u64() >= summary["unique_products"].as_u64());
    for key in [
        "transform",
        "source_file",
        "source_subset",
        "total_input",
        "total_processed",
        "elapsed_seconds",
    ] {
        assert!(
            !summary[key].is_null(),
            "SUMMARY.json has no {key}: {summary}"
        );
    }
    assert!(
        summary["throughput_mol_per_sec"].is_number() && summary["stats"].is_object(),
        "{summary}"
    );
    assert_eq!(summary["total_input"], 40);
}

#[test]
fn a_bad_molecule_costs_its_row() {
    let dir = scratch();
    let good = "Oc1ccccc1";
    // Unclosed ring, no element, five bonds on a carbon, an aromatic ring that cannot be.
    let bad = ["Oc1cccc", "Oc1ccccc1Xx", "CC(C)(C)(C)C", "c1cccc1"];
    let mut tsv = String::from("id\tsmiles\n");
    for (n, smiles) in bad.iter().chain([&good]).enumerate() {
        tsv.push_str(&format!("m{n}\t{smiles}\n"));
    }
    // What is no molecule at all stops at the door, with its line number.
    tsv.push_str("m5\t\nm6\nm7\tOc1ccc(O)cc1\n");
    let library = library(dir.path(), &tsv);
    let refused = table(&library.with_file_name("rejects.parquet"));
    assert_eq!(
        refused["data"]["line"],
        serde_json::json!([7, 8]),
        "{refused}"
    );
    let molecules = table(&library);
    assert_eq!(molecules["rows"], 6);
    let out = dir.path().join("out");
    let mut shard = command("halo-transform-shard");
    shard
        .arg("--input")
        .arg(&library)
        .args(["--rows", "0..6", "--rule", OME, "--depth", "1"]);
    run(shard
        .arg("--rules")
        .arg(root().join("configs/transforms.yaml"))
        .arg("--out-dir")
        .arg(&out));
    let products = table(&out.join(format!("{OME}.parquet")));
    let parents: std::collections::BTreeSet<u64> = products["data"]["source_row"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row.as_u64().unwrap())
        .collect();
    assert_eq!(parents, [4, 5].into());
    let rejects = table(&out.join("rejects.parquet"));
    assert_eq!(
        rejects["data"]["row"],
        serde_json::json!([0, 1, 2, 3]),
        "{rejects}"
    );
    assert_eq!(rejects["data"]["smiles"], serde_json::json!(bad));
    for reason in rejects["data"]["reason"].as_array().unwrap() {
        assert!(!reason.as_str().unwrap().is_empty(), "{rejects}");
    }
    let sidecar = json(&out.join("shard.stats.json"));
    let lost: u64 = sidecar["rows_rejected"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(
        (
            sidecar["rows_in"].as_u64(),
            sidecar["rows_done"].as_u64(),
            lost
        ),
        (Some(6), Some(2), 4)
    );
}

#[test]
fn usage_errors_exit_with_2_and_write_nothing() {
    let dir = scratch();
    let out = dir.path().join("out");
    let config = root().join("configs/transforms.yaml");
    let cases: [(&str, Vec<&str>); 5] = [
        ("halo-split", vec!["missing.tsv", "--shards", "2"]),
        (
            "halo-split",
            vec!["data/np_700.tsv", "--shards", "2", "--memory-limit", "512"],
        ),
        (
            "halo-transform-shard",
            vec![
                "--input",
                "missing.parquet",
                "--rows",
                "0..1",
                "--class",
                "polyphenol",
            ],
        ),
        ("halo-dedup-merge", vec!["missing.parquet"]),
        ("halo-report", vec!["--config", "missing.yaml"]),
    ];
    for (name, args) in cases {
        let mut tool = command(name);
        tool.args(&args);
        match name {
            "halo-dedup-merge" => tool.arg("--out").arg(dir.path().join("products.parquet")),
            "halo-transform-shard" => tool.arg("--rules").arg(&config).arg("--out-dir").arg(&out),
            _ => tool.arg("--out-dir").arg(&out),
        };
        let said = halocline_tests::run_expecting(&mut tool, 2);
        let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
        let named = args.iter().any(|arg| stderr.contains(arg));
        assert!(
            stderr.contains("error") && named,
            "{name} {args:?}: {stderr}"
        );
        let left = std::fs::read_dir(&out).map_or(0, |entries| entries.count());
        assert_eq!(
            left,
            0,
            "{name} {args:?} left something in {}",
            out.display()
        );
    }
}

/// A shard that is not there, or there twice, is noticed although every table that is there is whole.
#[test]
fn a_missing_or_repeated_shard_is_noticed() {
    let dir = scratch();
    let library = library(dir.path(), &of_class("polyphenol", 40));
    let how = How {
        shards: 4,
        threads: 1,
        transform_memory: "512MiB",
        merge_memory: "256MiB",
        strategy: "auto",
    };
    job(dir.path(), &library, how);
    let shards = dir.path().join("shards");
    let rule = "FG_PHENOL_OH__OH__TO__OMe";
    let table = |index: u32| shards.join(format!("shard-{index:05}/{rule}.parquet"));
    let out = dir.path().join("merged.parquet");
    let refused = |given: &[u32], what: &str| {
        let mut merge = command("halo-dedup-merge");
        merge.args(given.iter().map(|index| table(*index)));
        let said = halocline_tests::run_expecting(merge.arg("--out").arg(&out), 1);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains(what), "{given:?}: {said}");
        assert!(!out.exists());
    };
    refused(&[0, 2, 3], "of the library are missing");
    refused(&[0, 1, 0, 2, 3], "given twice, or they are not in order");
    refused(&[1, 0, 2, 3], "given twice, or they are not in order");
    // A part of a library, to debug it.
    run(command("halo-dedup-merge")
        .args([table(1), table(2)])
        .arg("--out")
        .arg(&out));
    // Of a folder every row is wanted: the last shards, the first ones, and one in the middle.
    for gone in [3, 0, 1] {
        let folder = shards.join(format!("shard-{gone:05}"));
        let aside = dir.path().join("aside");
        fs_err::rename(&folder, &aside).unwrap();
        let mut merge = command("halo-dedup-merge");
        merge.arg("--shards-from").arg(&shards);
        merge.args(["--table", &format!("{rule}.parquet")]);
        let said = halocline_tests::run_expecting(merge.arg("--out").arg(&out), 1);
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(
            said.contains("of the library are missing"),
            "{gone}: {said}"
        );
        fs_err::rename(&aside, &folder).unwrap();
    }
    // The library is made anew, of the same rows in another order, between the first shards and the last.
    let other = dir.path().join("other");
    fs_err::create_dir(&other).unwrap();
    let rows = of_class("polyphenol", 40);
    let (header, rows) = rows.split_once('\n').unwrap();
    let turned: Vec<&str> = rows.lines().rev().collect();
    let turned = format!("{header}\n{}\n", turned.join("\n"));
    let turned = halocline_tests::library(&other, &turned);
    job(&other, &turned, how);
    let theirs = |index: u32| other.join(format!("shards/shard-{index:05}"));
    for index in [2, 3] {
        let folder = shards.join(format!("shard-{index:05}"));
        fs_err::rename(&folder, dir.path().join(format!("mine-{index}"))).unwrap();
        fs_err::rename(theirs(index), &folder).unwrap();
    }
    let mut merge = command("halo-dedup-merge");
    merge.arg("--shards-from").arg(&shards);
    merge.args(["--table", &format!("{rule}.parquet")]);
    let said = halocline_tests::run_expecting(merge.arg("--out").arg(&out), 1);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("was made of another library"), "{said}");
    fs_err::remove_file(&out).unwrap();
    refused(&[0, 2, 1], "and others between them");
    // The transformation notices it already: as many rows, but not those the plan was made for.
    fs_err::copy(&turned, &library).unwrap();
    let mut shard = command("halo-transform-shard");
    shard.arg("--plan").arg(dir.path().join("plan/plan.json"));
    shard.args(["--shard", "0", "--rule", rule, "--rules"]);
    shard.arg(root().join("configs/transforms.yaml"));
    let said = halocline_tests::run_expecting(shard.arg("--out-dir").arg(&out), 2);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("is not the library that the plan was made for"),
        "{said}"
    );
}
