//! Product tables: what `halo-validate-parquet` finds.

use crate::{Damage, Made, OME, ended_well, flips, quiet};
use halocline_tests::random::Random;
use halocline_tests::{np_700, python, run, scratch};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Digest of every value of a table, or nothing when it cannot be read; one process for many tables.
fn values(tables: &[PathBuf]) -> Vec<Option<String>> {
    const SCRIPT: &str = "
import hashlib, sys
import pyarrow.parquet
for path in sys.stdin.read().splitlines():
    try:
        table = pyarrow.parquet.read_table(path)
        text = repr((table.schema.names, table.to_pydict()))
        print(hashlib.sha256(text.encode()).hexdigest())
    except Exception:
        print('-')
";
    let mut reader = Command::new(python());
    reader.args(["-c", SCRIPT]);
    reader
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped());
    let mut child = reader.spawn().unwrap();
    let list: Vec<String> = tables
        .iter()
        .map(|p| format!("{}\n", p.display()))
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    let feeding =
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, list.concat().as_bytes()));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Option<String>> = text
        .lines()
        .map(|line| (line != "-").then(|| line.to_owned()))
        .collect();
    assert_eq!(found.len(), tables.len());
    found
}

#[test]
fn damaged_products_are_found_or_have_the_same_values() {
    let dir = scratch();
    let made = Made::new(dir.path(), &np_700(40));
    let good = fs_err::read(&made.products).unwrap();
    let sidecar =
        fs_err::read(made.products.with_file_name("products.parquet.stats.json")).unwrap();
    let mut random = Random::seeded("damage");
    let mut damages = Vec::new();
    for n in 0..flips() {
        damages.push(Damage::flip(&mut random, 0..good.len()));
        if n % 5 == 0 {
            // Among the cuts are the very last bytes.
            let short = usize::try_from(n / 5).unwrap();
            let lost = if short < 12 {
                short
            } else {
                random.below(good.len())
            };
            damages.push(Damage::Cut {
                at: good.len() - 1 - lost,
            });
        }
    }
    let (mut found_alone, mut unchanged) = (0, 0);
    let mut silent: Vec<(Damage, PathBuf)> = Vec::new();
    let path = dir.path().join("damaged.parquet");
    let place = dir.path().join("damaged.parquet.stats.json");
    let validate = || {
        let mut validate = quiet("halo-validate-parquet");
        validate
            .arg(&path)
            .args(["--expect-rule", OME])
            .output()
            .unwrap()
    };
    for (n, damage) in damages.iter().enumerate() {
        fs_err::write(&path, damage.apply(&good)).unwrap();
        // With its sidecar everything is found.
        fs_err::write(&place, &sidecar).unwrap();
        let output = validate();
        let valid = ended_well(&output, &damage.to_string());
        assert!(!valid, "{damage}: valid beside its sidecar");
        let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["valid"], false, "{damage}");
        // Without it, what is not found must have changed no value.
        fs_err::remove_file(&place).unwrap();
        let output = validate();
        if ended_well(&output, &damage.to_string()) {
            let kept = dir.path().join(format!("silent-{n}.parquet"));
            fs_err::rename(&path, &kept).unwrap();
            silent.push((*damage, kept));
        } else {
            found_alone += 1;
        }
    }
    let mut tables = vec![made.products.clone()];
    tables.extend(silent.iter().map(|(_, path)| path.clone()));
    let values = values(&tables);
    for ((damage, _), value) in silent.iter().zip(&values[1..]) {
        // Some of what is behind the pages and is not needed, pyarrow does not take; then it is no value either.
        assert!(
            value.is_none() || *value == values[0],
            "{damage}: not found, and pyarrow reads other values"
        );
        unchanged += u32::from(value.is_some());
    }
    assert!(values[0].is_some());
    eprintln!(
        "{} damages: all found beside the sidecar; without it {found_alone} found, {unchanged} changed no value, {} pyarrow refuses",
        damages.len(),
        silent.len() - usize::try_from(unchanged).unwrap()
    );
    assert!(
        found_alone > damages.len() / 2,
        "most damage is found without a sidecar"
    );
}

/// Puts the name of the program that wrote `source` into `target`, which pyarrow has just written: of a table that another
/// program wrote, nobody believes what it says about itself.
const SIGN: &str = "
import pathlib
of = lambda path: pq.read_metadata(path).created_by.encode()
path = pathlib.Path(target)
path.write_bytes(path.read_bytes().replace(of(target), of(source)[:len(of(target))].ljust(len(of(target)))))
";

/// Rewrites a table without its last row group, and a sidecar whose counts agree but for those of the output.
#[test]
fn a_row_group_that_is_gone_is_noticed() {
    const SCRIPT: &str = "
import sys
import pyarrow.parquet as pq
source, target, groups = sys.argv[1], sys.argv[2], int(sys.argv[3])
whole = pq.ParquetFile(source)
schema = whole.schema_arrow
with pq.ParquetWriter(target, schema, write_page_checksum=True) as writer:
    writer.add_key_value_metadata({k.decode(): v.decode() for k, v in whole.metadata.metadata.items() if k != b'ARROW:schema'})
    rows = whole.read()
    each = (rows.num_rows + 3) // 4
    for n in range(groups):
        writer.write_table(rows.slice(n * each, each))
";
    let script = format!("{SCRIPT}{SIGN}");
    let dir = scratch();
    let made = Made::new(dir.path(), &np_700(40));
    let shorten = |groups: &str, target: &Path| {
        let mut python = Command::new(python());
        run(python
            .args(["-c", &script])
            .arg(&made.products)
            .arg(target)
            .arg(groups));
    };
    let whole = dir.path().join("whole.parquet");
    shorten("4", &whole);
    let validate = |path: &Path| quiet("halo-validate-parquet").arg(path).output().unwrap();
    let describe = |path: &Path| PathBuf::from(format!("{}.stats.json", path.display()));
    // Its own table, by another writer, is a good one.
    assert!(ended_well(&validate(&whole), "whole"));
    let short = dir.path().join("short.parquet");
    shorten("3", &short);
    assert!(ended_well(
        &validate(&short),
        "without a sidecar a shorter table is a table"
    ));
    fs_err::copy(describe(&made.products), describe(&short)).unwrap();
    let output = validate(&short);
    assert!(!ended_well(&output, "short"));
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let codes = verdict["failures"].to_string();
    assert!(codes.contains("row_count"), "{codes}");
    // A merge of it, too, with a sidecar from when it was whole.
    let out = dir.path().join("merged.parquet");
    let output = quiet("halo-dedup-merge")
        .arg(&short)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(!ended_well(&output, "merge of the short table"));
    assert!(!out.exists());
}

#[test]
fn smiles_that_do_not_parse_are_found_where_rdkit_is_at_hand() {
    const SCRIPT: &str = "
import sys
import pyarrow as pa, pyarrow.parquet as pq
source, target = sys.argv[1], sys.argv[2]
table = pq.read_table(source)
smiles = table.column('smiles').to_pylist()
smiles[3] = 'c1ccccc1C(C)(C)(C)(C)C'
table = table.set_column(0, pa.field('smiles', pa.string(), False), pa.array(smiles))
with pq.ParquetWriter(target, table.schema, write_page_checksum=True) as writer:
    pairs = pq.read_metadata(source).metadata
    writer.add_key_value_metadata({k.decode(): v.decode() for k, v in pairs.items() if k != b'ARROW:schema'})
    writer.write_table(table)
";
    let script = format!("{SCRIPT}{SIGN}");
    let dir = scratch();
    let made = Made::new(dir.path(), &np_700(10));
    let verdict = |path: &Path, program: &Path, limit: &str| -> serde_json::Value {
        let mut tool = Command::new(program);
        tool.arg(path).args(["-qq", "--memory-limit", limit]);
        let output = tool.output().unwrap();
        ended_well(&output, "validate");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let program = halocline_tests::bin("halo-validate-parquet");
    let good = verdict(&made.products, &program, "512MiB");
    assert_eq!(
        (&good["valid"], &good["checks"]["smiles_parse"]),
        (&true.into(), &"passed".into())
    );
    assert_eq!(good["smiles_parsed"], good["rows"], "all of so few rows");
    let bad = dir.path().join("bad.parquet");
    let mut python = Command::new(python());
    run(python.args(["-c", &script]).arg(&made.products).arg(&bad));
    let found = verdict(&bad, &program, "512MiB");
    assert_eq!(found["failures"][0]["code"], "smiles_parse", "{found}");
    let message = found["failures"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("row 3 does not parse") && message.contains("valence"),
        "{message}"
    );
    assert_eq!(found["failures"].as_array().unwrap().len(), 1, "{found}");
    // Not at hand, or no room for it: said, and no failure.
    let alone = dir.path().join("halo-validate-parquet");
    fs_err::copy(&program, &alone).unwrap();
    for (program, limit, why) in [
        (&alone, "512MiB", "no RDKit at hand"),
        (&program, "64MiB", "no room"),
    ] {
        let unasked = verdict(&bad, program, limit);
        let said = unasked["checks"]["smiles_parse"].as_str().unwrap();
        assert!(
            said.starts_with("skipped: ") && said.contains(why),
            "{said}"
        );
        assert_eq!(unasked["valid"], true);
    }
    let left = fs_err::read_dir(dir.path()).unwrap();
    let hidden = left.filter(|e| {
        e.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.')
    });
    assert_eq!(hidden.count(), 0, "the sample is gone");
}
