//! Laws of the merge: any strategy, threads, limit and sharding give the same bytes; the first of
//! each key is kept, in order; merging again changes nothing.

#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use halocline_budget::MemoryLimit;
use halocline_cli::sidecar::Sidecar;
use halocline_dedup_merge::{Config, Job, MergeError, Merged, Strategy, run};
use halocline_table::{Kind, Meta, ReadOptions, TableReader, TableWriter, WriterOptions};
use proptest::prelude::*;

const STRATEGIES: [Strategy; 4] = [
    Strategy::Auto,
    Strategy::Memory,
    Strategy::Bloom,
    Strategy::Spill,
];

fn schema() -> Schema {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Schema::new(vec![
        Field::new("smiles", DataType::Utf8, false),
        Field::new("row", DataType::Int64, false),
        Field::new("site", DataType::Int32, true),
        Field::new("rule", dictionary, true),
        Field::new("score", DataType::Float64, true),
    ])
}

fn rows(keys: &[String], first: usize) -> RecordBatch {
    let number = |i: usize| first + i;
    let rule: DictionaryArray<Int32Type> = (0..keys.len())
        .map(|i| (number(i) % 5 > 0).then_some(["OMe", "NH2"][number(i) % 2]))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(keys)),
        Arc::new(Int64Array::from_iter_values(
            (0..keys.len()).map(|i| number(i) as i64),
        )),
        Arc::new(Int32Array::from_iter(
            (0..keys.len()).map(|i| (number(i) % 3 > 0).then_some(number(i) as i32)),
        )),
        Arc::new(rule),
        Arc::new(Float64Array::from_iter_values(
            (0..keys.len()).map(|i| number(i) as f64 / 7.0),
        )),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).unwrap()
}

/// Writes rows as shards that end where `cuts` say.
fn shards(dir: &Path, keys: &[String], cuts: &[usize]) -> Vec<PathBuf> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (keys.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(keys.len());
    let mut start = 0;
    let mut paths = Vec::new();
    for (index, end) in cuts.into_iter().enumerate() {
        let path = dir.join(format!("{index:05}.parquet"));
        write(
            &path,
            &rows(&keys[start..end], start),
            &Meta::new(Kind::Product),
        );
        paths.push(path);
        start = end;
    }
    paths
}

fn write(path: &Path, rows: &RecordBatch, meta: &Meta) {
    let options = WriterOptions {
        row_group_bytes: (rows.get_array_memory_size() as u64 / 100).max(20_000),
    };
    let mut writer = TableWriter::create(path, rows.schema_ref(), meta, options).unwrap();
    writer.write(rows).unwrap();
    writer.finish().unwrap();
}

/// One at a time: what a test asks for above the memory of this process, another may take in between.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(shards: Vec<PathBuf>, out: PathBuf, strategy: Strategy, threads: usize) -> Config {
    Config {
        shards,
        whole: false,
        summary: out.with_extension("SUMMARY.json"),
        tmp_dir: Some(out.parent().unwrap().to_owned()),
        out,
        keys: vec!["smiles".into()],
        strategy,
        threads,
        job: Job::default(),
        memory_limit: MemoryLimit::new(1 << 30).unwrap(),
    }
}

fn read(path: &Path) -> Vec<(String, i64)> {
    let table = TableReader::open(path).unwrap();
    let mut rows = Vec::new();
    for batch in table.batches(ReadOptions::default()).unwrap() {
        let batch = batch.unwrap();
        let smiles = batch.column(0).as_string::<i32>();
        let row = batch.column(1).as_primitive::<Int64Type>();
        rows.extend((0..batch.num_rows()).map(|i| (smiles.value(i).to_owned(), row.value(i))));
    }
    rows
}

fn first_of_each(keys: &[String]) -> Vec<(String, i64)> {
    let mut seen = BTreeSet::new();
    keys.iter()
        .enumerate()
        .filter(|(_, key)| seen.insert((*key).clone()))
        .map(|(row, key)| (key.clone(), row as i64))
        .collect()
}

/// Merges in every way and checks that all agree with the model and with each other.
fn check(keys: &[String], cuts: &[usize]) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    std::fs::create_dir(&whole).unwrap();
    let one = shards(&whole, keys, &[]);
    let reference = dir.path().join("reference.parquet");
    run(&config(one, reference.clone(), Strategy::Memory, 1)).unwrap();
    let want = first_of_each(keys);
    assert_eq!(read(&reference), want);
    let bytes = std::fs::read(&reference).unwrap();
    let paths = shards(dir.path(), keys, cuts);
    for strategy in STRATEGIES {
        for threads in [1, 2, 5] {
            let out = dir.path().join("out.parquet");
            let merged = run(&config(paths.clone(), out.clone(), strategy, threads)).unwrap();
            assert!(
                std::fs::read(&out).unwrap() == bytes,
                "{strategy:?} {threads}"
            );
            let sidecar = merged.sidecar;
            assert_eq!(sidecar.rows_in, keys.len() as u64);
            assert_eq!(sidecar.rows_out, want.len() as u64);
            assert_eq!(sidecar.duplicates, (keys.len() - want.len()) as u64);
            assert_eq!(
                sidecar.spill_bytes > 0,
                merged.strategy == Strategy::Spill && !keys.is_empty()
            );
        }
    }
    // Again, from its own output and sidecar.
    let again = dir.path().join("again.parquet");
    let merged = run(&config(vec![reference], again.clone(), Strategy::Auto, 2)).unwrap();
    assert_eq!(merged.sidecar.duplicates, 0);
    assert!(std::fs::read(&again).unwrap() == bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    #[test]
    fn every_way_gives_the_same_bytes(
        numbers in proptest::collection::vec((0_u32..400, 0_usize..60), 0..1_500),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let keys: Vec<String> =
            numbers.iter().map(|(n, length)| format!("C{}{n}", "c".repeat(*length / 20))).collect();
        check(&keys, &cuts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Limits from the least that works upwards. A strategy that is asked for and does not fit is refused and leaves
    /// nothing; `auto` never is.
    #[test]
    fn any_limit_gives_the_same_bytes(
        seed in any::<u32>(),
        distinct in 1_u32..60_000,
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
        ways in proptest::collection::vec((0_u64..96, 1_usize..9, 0_usize..4), 4),
    ) {
        let _alone = alone();
        let keys: Vec<String> = (0..40_000_u32)
            .map(|n| format!("CC{}", (n ^ seed).wrapping_mul(2_654_435_761) % distinct))
            .collect();
        let dir = tempfile::tempdir().unwrap();
        let paths = shards(dir.path(), &keys, &cuts);
        let reference = dir.path().join("reference.parquet");
        run(&config(paths.clone(), reference.clone(), Strategy::Memory, 1)).unwrap();
        let bytes = std::fs::read(&reference).unwrap();
        prop_assert_eq!(read(&reference), first_of_each(&keys));
        for (mib, threads, strategy) in ways {
            let out = dir.path().join("limited.parquet");
            // What this process has already counts; the other tests run beside this one.
            let least = halocline_budget::rss::peak_bytes() + (64 << 20);
            let mut limited = config(paths.clone(), out.clone(), STRATEGIES[strategy], threads);
            limited.memory_limit = MemoryLimit::new(least + (mib << 20)).unwrap();
            let refused = match run(&limited) {
                Ok(_) => false,
                Err(error) => {
                    prop_assert!(STRATEGIES[strategy] != Strategy::Auto, "{error}");
                    prop_assert!(!out.exists(), "{error}");
                    true
                }
            };
            prop_assert!(
                refused || std::fs::read(&out).unwrap() == bytes,
                "{mib} MiB {threads} {:?}", STRATEGIES[strategy]
            );
            if !refused {
                std::fs::remove_file(&out).unwrap();
            }
        }
    }
}

#[test]
fn all_equal() {
    check(
        &vec!["c1ccccc1".to_owned(); 30_000],
        &[0, 7, 10_000, 10_000],
    );
}

#[test]
fn all_distinct() {
    check(
        &(0..30_000).map(|n| format!("C{n}")).collect::<Vec<_>>(),
        &[1, 20_000],
    );
}

#[test]
fn nothing_at_all() {
    check(&[], &[0, 0]);
}

#[test]
fn empty_shards_between() {
    check(
        &["C".to_owned(), "N".to_owned(), "C".to_owned()],
        &[0, 0, 1, 1, 1, 3, 3],
    );
}

#[test]
fn ten_thousand_characters() {
    let keys: Vec<String> = (0..600)
        .map(|n| format!("{}{}", "C".repeat(10_000), n % 250))
        .collect();
    check(&keys, &[100, 350]);
}

#[test]
fn keys_longer_than_a_row_group() {
    let keys: Vec<String> = (0..6)
        .map(|n| format!("{}{}", "C".repeat(30_000), n % 4))
        .collect();
    check(&keys, &[2]);
}

/// What fewer rows do not reach: several partitions of the spill, and several row groups, which several threads encode
/// when there is memory for them.
#[test]
fn several_partitions_and_row_groups() {
    let _alone = alone();
    let keys: Vec<String> = (0..200_000)
        .map(|n| format!("{:C>200}", n * 7 % 180_000))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let paths = shards(dir.path(), &keys, &[1, 70_000, 150_000]);
    let out = dir.path().join("out.parquet");
    let mut reference = None;
    for strategy in [Strategy::Memory, Strategy::Bloom, Strategy::Spill] {
        for threads in [1, 4] {
            for little in [true, false] {
                let mut config = config(paths.clone(), out.clone(), strategy, threads);
                if little {
                    let limit = halocline_budget::rss::peak_bytes() + (80 << 20);
                    config.memory_limit = MemoryLimit::new(limit).unwrap();
                }
                let sidecar = run(&config).unwrap().sidecar;
                let partitions = sidecar.counts.get("spill_partitions").copied();
                assert_eq!(
                    partitions.is_some_and(|n| n > 1),
                    strategy == Strategy::Spill
                );
                let bytes = std::fs::read(&out).unwrap();
                assert!(
                    *reference.get_or_insert_with(|| bytes.clone()) == bytes,
                    "{strategy:?} {threads} {little}"
                );
            }
        }
    }
    assert!(TableReader::open(&out).unwrap().row_groups() > 1);
    assert_eq!(read(&out), first_of_each(&keys));
}

#[test]
fn other_and_several_key_columns() {
    let dir = tempfile::tempdir().unwrap();
    let keys: Vec<String> = (0..3_000).map(|n| format!("C{}", n % 30)).collect();
    let paths = shards(dir.path(), &keys, &[1_000]);
    let merge = |columns: &[&str], strategy| -> u64 {
        let mut config = config(paths.clone(), dir.path().join("out.parquet"), strategy, 2);
        config.keys = columns.iter().map(|c| (*c).to_owned()).collect();
        run(&config).unwrap().sidecar.rows_out
    };
    for strategy in STRATEGIES {
        assert_eq!(merge(&["row"], strategy), 3_000);
        // OMe, NH2 and null.
        assert_eq!(merge(&["rule"], strategy), 3);
        // Period of n % 30 against n % 10: thirty.
        assert_eq!(merge(&["smiles", "rule"], strategy), 30);
    }
    let mut config = config(paths, dir.path().join("out.parquet"), Strategy::Auto, 1);
    config.keys = vec!["inchi".into()];
    assert!(matches!(run(&config), Err(MergeError::Usage(text)) if text.contains("`inchi`")));
}

fn broken(change: impl Fn(&mut Meta), schema_change: bool) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.parquet"), dir.path().join("b.parquet"));
    let mut meta = Meta::new(Kind::Product);
    meta.rule = Some("R1".into());
    meta.rdkit_version = Some("2022.09.3".into());
    let batch = rows(&["C".to_owned()], 0);
    write(&a, &batch, &meta);
    change(&mut meta);
    let batch = if schema_change {
        batch.project(&[0, 1, 2]).unwrap()
    } else {
        batch
    };
    write(&b, &batch, &meta);
    let out = dir.path().join("out.parquet");
    let error = run(&config(vec![a, b], out.clone(), Strategy::Auto, 1)).unwrap_err();
    assert!(!out.exists());
    match error {
        MergeError::Broken(text) => text,
        other => panic!("{other}"),
    }
}

#[test]
fn shards_that_do_not_belong_together_are_refused_by_name() {
    let text = broken(|meta| meta.rule = Some("R2".into()), false);
    assert!(
        text.contains("rule is R2, not R1") && text.contains("b.parquet"),
        "{text}"
    );
    let text = broken(|meta| meta.rdkit_version = Some("2023.03.1".into()), false);
    assert!(
        text.contains("RDKit version is 2023.03.1, not 2022.09.3"),
        "{text}"
    );
    let text = broken(|meta| meta.schema_version = "product/0".into(), false);
    assert!(text.contains("schema version"), "{text}");
    let text = broken(|_| (), true);
    assert!(
        text.contains("its columns are smiles, row, site, not"),
        "{text}"
    );
}

#[test]
fn a_sidecar_of_another_table_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let paths = shards(dir.path(), &["C".to_owned(), "N".to_owned()], &[]);
    let mut sidecar = Sidecar::new("halo-test");
    sidecar.output = Some(halocline_cli::sidecar::Output {
        rows: 3,
        ..Default::default()
    });
    sidecar.write(&Sidecar::path_for(&paths[0])).unwrap();
    let error = run(&config(
        paths,
        dir.path().join("o.parquet"),
        Strategy::Auto,
        1,
    ))
    .unwrap_err();
    assert!(
        matches!(error, MergeError::Broken(text) if text.contains("2 rows") && text.contains('3'))
    );
}

#[test]
fn the_summary_has_the_users_keys_and_the_sidecars_sums() {
    let dir = tempfile::tempdir().unwrap();
    let keys: Vec<String> = (0..100).map(|n| format!("C{}", n % 60)).collect();
    let paths = shards(dir.path(), &keys, &[50]);
    for path in &paths {
        let mut sidecar = Sidecar::new("halo-test");
        sidecar.rows_in = 40;
        sidecar.rows_done = 39;
        sidecar.rows_rejected.insert("parse".into(), 1);
        sidecar.counts.insert("sites_matched".into(), 70);
        sidecar.write(&Sidecar::path_for(path)).unwrap();
    }
    let mut config = config(
        paths,
        dir.path().join("products.parquet"),
        Strategy::Auto,
        2,
    );
    config.job.transform = Some("T".into());
    config.job.class = Some("lipid".into());
    config.job.depth = Some(2);
    let Merged { sidecar, .. } = run(&config).unwrap();
    let text = std::fs::read_to_string(&config.summary).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["transform"], "T");
    assert_eq!(summary["source_subset"], "lipid-2X");
    assert_eq!(summary["total_input"], 80);
    assert_eq!(summary["total_processed"], 78);
    assert_eq!(summary["total_products"], 100);
    assert_eq!(summary["unique_products"], 60);
    assert_eq!(summary["stats"]["sites_matched"], 140);
    assert_eq!(summary["stats"]["duplicates"], 40);
    assert_eq!(summary["stats"]["rows_rejected"]["parse"], 2);
    for key in ["source_file", "elapsed_seconds", "throughput_mol_per_sec"] {
        assert!(summary.get(key).is_some(), "{key}");
    }
    assert!(
        sidecar
            .distinct_estimate
            .is_some_and(|n| (57..=63).contains(&n))
    );
    assert_eq!(
        Sidecar::read(&Sidecar::path_for(&config.out)).unwrap(),
        sidecar
    );
}
