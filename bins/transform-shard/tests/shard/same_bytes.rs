//! The same tables, whatever the threads, the limit and the way rows are named.

use std::collections::BTreeSet;

use crate::common::*;

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
    done(&planned(
        &plan_path,
        &transforms(),
        &by_shard,
        &args!["--shard", "2", "--class", "polyphenol"],
    ));
    let batch = dir.path().join("batch");
    done(&planned(
        &plan_path,
        &transforms(),
        &batch,
        &args!["--shards", "0..3", "--class", "polyphenol"],
    ));
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
