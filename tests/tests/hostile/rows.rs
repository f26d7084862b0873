//! Rows at random: products, or rejects with a reason.

use crate::{MIB, OME, quiet, split};
use halocline_tests::memory::run_capped;
use halocline_tests::{json, np_68k, root, scratch, table};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Where the rows of a whole run of split and transform went.
fn every_row_is_somewhere(rows: &[Vec<u8>]) -> Result<(), TestCaseError> {
    let dir = scratch();
    let input = dir.path().join("molecules.tsv");
    let mut text = b"smiles\n".to_vec();
    for row in rows {
        text.extend_from_slice(row);
        text.push(b'\n');
    }
    fs_err::write(&input, &text).unwrap();
    let out = dir.path().join("library");
    let ran = split(&input, &out, &[]);
    prop_assert_eq!(ran.measured.exit_code, Some(0), "{}", ran.stderr);
    let read = json(&out.join("rejects.parquet.stats.json"));
    let lost: u64 = read["rows_rejected"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(serde_json::Value::as_u64)
        .sum();
    let molecules = read["rows_out"].as_u64().unwrap();
    prop_assert_eq!(read["rows_in"].as_u64().unwrap(), lost + molecules);
    let shard = dir.path().join("shard");
    let mut tool = quiet("halo-transform-shard");
    tool.arg("--input")
        .arg(out.join("library.parquet"))
        .arg("--out-dir")
        .arg(&shard);
    tool.arg("--rules")
        .arg(root().join("configs/transforms.yaml"));
    tool.args([
        "--class",
        "polyphenol",
        "--threads",
        "2",
        "--row-timeout",
        "20",
        "--memory-limit",
        "256MiB",
    ]);
    let ran = run_capped(&tool, 256 * MIB);
    prop_assert_eq!(ran.measured.exit_code, Some(0), "{}", ran.stderr);
    prop_assert!(ran.verdict(0).is_ok() && !ran.stderr.contains("panicked"));
    let stats = json(&shard.join("shard.stats.json"));
    let rejects = table(&shard.join("rejects.parquet"));
    let column =
        |table: &serde_json::Value, name: &str| table["data"][name].as_array().unwrap().clone();
    let mut whole = BTreeSet::new();
    for ((row, rule), reason) in column(&rejects, "row")
        .iter()
        .zip(column(&rejects, "rule"))
        .zip(column(&rejects, "reason"))
    {
        prop_assert!(
            !reason.as_str().unwrap().is_empty(),
            "row {row} is rejected without a reason"
        );
        prop_assert!(row.as_u64().unwrap() < molecules);
        if rule.is_null() {
            prop_assert!(
                whole.insert(row.as_u64().unwrap()),
                "row {row} is rejected twice"
            );
        }
    }
    prop_assert_eq!(stats["rows_in"].as_u64().unwrap(), molecules);
    prop_assert_eq!(
        stats["rows_done"].as_u64().unwrap(),
        molecules - whole.len() as u64
    );
    let products = table(&shard.join(format!("{OME}.parquet")));
    for (row, smiles) in column(&products, "source_row")
        .iter()
        .zip(column(&products, "smiles"))
    {
        prop_assert!(
            !whole.contains(&row.as_u64().unwrap()),
            "row {row} is a product and a reject"
        );
        prop_assert!(!smiles.as_str().unwrap().is_empty());
    }
    Ok(())
}

/// What is done to a real SMILES: at a place, remove, double or replace a byte.
fn mutated(real: &str, changes: &[(u16, u8, u8)]) -> Vec<u8> {
    const ALPHABET: &[u8] = b"CNOPSFIBclnos[]()=#@+-123456789%/\\.:*H$~>\"\t ";
    let mut bytes = real.as_bytes().to_vec();
    for (place, kind, value) in changes {
        let at = usize::from(*place) % bytes.len().max(1);
        let letter = ALPHABET[usize::from(*value) % ALPHABET.len()];
        match kind % 3 {
            0 if !bytes.is_empty() => drop(bytes.remove(at)),
            1 if !bytes.is_empty() => bytes[at] = letter,
            _ => bytes.insert(at, letter),
        }
    }
    bytes
}

#[test]
fn random_rows_are_products_or_rejects_with_a_reason() {
    let real: Vec<String> = np_68k(30, 2000)
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').nth(1).map(str::to_owned))
        .collect();
    assert!(
        real.len() > 1000 && real[0].contains('C'),
        "{:?}",
        real.first()
    );
    let count = real.len();
    let noise = proptest::collection::vec(any::<u8>(), 0..80);
    let change = (any::<u16>(), any::<u8>(), any::<u8>());
    let mutant = (0..count, proptest::collection::vec(change, 1..4));
    let row = prop_oneof![
        1 => noise,
        4 => mutant.prop_map(move |(i, changes)| mutated(&real[i], &changes)),
    ];
    let rows = proptest::collection::vec(row, 2000);
    let mut config = ProptestConfig::with_cases(
        std::env::var("HALOCLINE_DAMAGES").map_or(1, |n| n.parse::<u32>().unwrap().div_ceil(100)),
    );
    // A failing library is large; a few halvings are enough to look at.
    config.max_shrink_iters = 20;
    config.failure_persistence = None;
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&rows, |rows| every_row_is_somewhere(&rows))
        .unwrap();
}
