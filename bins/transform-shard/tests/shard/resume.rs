//! Batches of shards go on where they stopped; a run that is stopped leaves nothing.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::*;

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
    let go = planned(
        &plan_path,
        &rules,
        &batch,
        &args!["--shards", "0..3", "--class", "polyphenol"],
    );
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

    // The other engine makes the same, and is not told that it has been made.
    let mut full = go.clone();
    full.extend(args!["--engine", "full"]);
    let before = marks(&batch, 3);
    done(&full);
    let after = marks(&batch, 3);
    assert!((0..3).all(|i| after[i] != before[i]));
    assert_eq!(tables(&batch), whole);
    done(&go);

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
