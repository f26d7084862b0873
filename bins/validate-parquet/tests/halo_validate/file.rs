//! The file: cut off, damaged, without checksums, not what its sidecar says; and what can be salvaged of it.

use crate::{program, rows, table, validate};
use halocline_cli::sidecar::{Output, Sidecar};
use halocline_table::TableReader;
use std::path::Path;
use std::process::Command;

#[test]
fn damage_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(9000));
    let good = std::fs::read(&path).unwrap();
    let code = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let verdict = validate(&path, &[]);
        assert_eq!(verdict.exit, 1);
        verdict
            .codes()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(code(b""), ["empty_file"]);
    assert_eq!(code(b"hello"), ["not_parquet"]);
    assert_eq!(code(&good[..good.len() / 2]), ["no_footer"]);
    assert_eq!(code(&good[..good.len() - 1]), ["no_footer"]);
    let mut bad = good.clone();
    let at = good.len() - 200;
    bad[at..at + 100].fill(0xff);
    assert_eq!(code(&bad), ["footer_damaged"]);
    let mut bad = good.clone();
    bad[3000] ^= 4;
    let codes = code(&bad);
    assert!(codes.contains(&"digest".to_owned()), "{codes:?}");
    assert!(codes.contains(&"crc_mismatch".to_owned()), "{codes:?}");
    assert!(codes.contains(&"unreadable".to_owned()), "{codes:?}");
    // Without the sidecar, too.
    std::fs::remove_file(Sidecar::path_for(&path)).unwrap();
    let verdict = validate(&path, &[]);
    assert!(verdict.codes().contains(&"crc_mismatch"));
    // What was not read was not checked.
    for check in ["order", "unique", "smiles_parse"] {
        assert_eq!(
            verdict.json["checks"][check], "skipped: not every row could be read",
            "{check}"
        );
    }
    assert!(
        verdict.stderr.ends_with("(and 1 more kind of failure)\n"),
        "{}",
        verdict.stderr
    );
    assert!(
        verdict.json["checks"]["sidecar"]
            .as_str()
            .unwrap()
            .starts_with("skipped")
    );
}

/// A page header in Thrift's compact protocol, up to its checksum: page type, size, compressed size, CRC, as fields 1 to 4.
fn without_crc(header: &[u8]) -> (Vec<u8>, usize) {
    let varint = |at: usize| {
        let length = header[at..].iter().take_while(|b| **b & 0x80 != 0).count() + 1;
        (header[at..at + length].to_vec(), at + length)
    };
    let mut at = 0;
    let mut fields = Vec::new();
    for _ in 0..4 {
        assert_eq!(header[at], 0x15, "the next field, an i32");
        let (value, next) = varint(at + 1);
        fields.push(value);
        at = next;
    }
    // The field behind the checksum is one further away now. What is missing in length, longer forms of the numbers make up.
    let mut missing = 1 + fields.pop().unwrap().len();
    let mut out = Vec::new();
    for mut value in fields {
        out.push(0x15);
        while missing > 0 && value.len() < 5 {
            *value.last_mut().unwrap() |= 0x80;
            value.push(0);
            missing -= 1;
        }
        out.extend(value);
    }
    assert_eq!(missing, 0);
    out.push(header[at] + 0x10);
    assert_eq!(out.len(), at + 1);
    (out, at + 1)
}

#[test]
fn pages_without_a_checksum_or_with_a_broken_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(9000));
    std::fs::remove_file(Sidecar::path_for(&path)).unwrap();
    let good = std::fs::read(&path).unwrap();
    assert_eq!(validate(&path, &[]).exit, 0);
    let group = TableReader::open(&path)
        .unwrap()
        .row_group_metadata(0)
        .unwrap();
    let page = group.column(0).byte_range().0 as usize;
    let (header, length) = without_crc(&good[page..]);
    let mut bad = good.clone();
    bad[page..page + length].copy_from_slice(&header);
    std::fs::write(&path, &bad).unwrap();
    let verdict = validate(&path, &[]);
    assert_eq!((verdict.exit, verdict.codes()), (1, vec!["crc_missing"]));
    assert_eq!(verdict.json["failures"][0]["count"], 1);
    assert_eq!(verdict.json["checks"]["checksums"], "failed");
    let mut bad = good;
    bad[page..page + 4].fill(0xff);
    std::fs::write(&path, &bad).unwrap();
    let verdict = validate(&path, &[]);
    assert!(
        verdict.codes().contains(&"page_header"),
        "{:?}",
        verdict.codes()
    );
    assert!(verdict.stderr.contains("row group 0"), "{}", verdict.stderr);
}

#[test]
fn every_flipped_bit_is_found_with_its_sidecar() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(300));
    let good = std::fs::read(&path).unwrap();
    for i in 0..60usize {
        let mut bad = good.clone();
        let at = i * (good.len() - 1) / 59;
        bad[at] ^= 1 << (i % 8);
        std::fs::write(&path, &bad).unwrap();
        assert_eq!(validate(&path, &[]).exit, 1, "bit {at}");
    }
}

#[test]
fn a_sidecar_that_says_something_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(300));
    let place = Sidecar::path_for(&path);
    let good = Sidecar::read(&place).unwrap();
    let code = |change: fn(&mut Output)| {
        let mut sidecar = good.clone();
        change(sidecar.output.as_mut().unwrap());
        sidecar.write(&place).unwrap();
        validate(&path, &[]).codes().join(" ")
    };
    assert_eq!(code(|o| o.rows += 1), "row_count");
    assert_eq!(code(|o| o.bytes += 1), "file_size");
    assert_eq!(code(|o| o.xxh3_128 = "0".repeat(32)), "digest");
    std::fs::write(&place, "{").unwrap();
    assert_eq!(validate(&path, &[]).codes(), ["sidecar"]);
}

#[test]
fn a_cut_off_table_is_repaired_into_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = table(dir.path(), &rows(9000));
    let good = std::fs::read(&path).unwrap();
    let whole = TableReader::open(&path).unwrap();
    let first = whole.row_group_rows(2);
    let cut = dir.path().join("cut.parquet");
    let at = whole
        .row_group_metadata(2)
        .unwrap()
        .column(3)
        .byte_range()
        .0 as usize;
    std::fs::write(&cut, &good[..at]).unwrap();
    let new = dir.path().join("saved.parquet");
    let repair = || {
        Command::new(program())
            .args([&cut, Path::new("--repair"), &new])
            .output()
            .unwrap()
    };
    let output = repair();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("lost"), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows_saved"], first.start);
    assert_eq!(report["row_groups_saved"], 2);
    assert!(report["tail_bytes"].as_u64().unwrap() > 0);
    // It is whole, but not all that was there.
    let verdict = validate(&new, &[]);
    assert_eq!((verdict.exit, verdict.codes()), (1, vec!["salvaged"]));
    let saved = TableReader::open(&new).unwrap();
    assert_eq!((saved.rows(), saved.row_groups()), (first.start, 2));
    assert!(saved.meta().unwrap().extra.contains_key("salvaged"));
    // Where nothing can be saved nothing is written.
    let none = dir.path().join("none.parquet");
    std::fs::write(&cut, &good[..3000]).unwrap();
    let output = Command::new(program())
        .args([&cut, Path::new("--repair"), &none])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("nothing of"), "{stderr}");
    assert!(!none.exists());
    // The file that is there is not replaced; a file of others is an error.
    let again = repair();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8(again.stderr).unwrap().contains("already"));
}
