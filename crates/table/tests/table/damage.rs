//! Files that were damaged: what is found, what is refused, what is saved.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use halocline_table::{ReadOptions, TableError, TableReader, pages};

use crate::{SMALL, read, write};

#[test]
fn every_page_has_a_crc_and_a_flipped_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 8_000, |_| 8_000);
    let table = TableReader::open(&path).unwrap();
    let counts = pages::check_pages(&table, |fault| panic!("{fault:?}")).unwrap();
    assert_eq!(counts.without_crc, 0);
    assert!(counts.pages > 50, "{}", counts.pages);
    let good = std::fs::read(&path).unwrap();
    let chunk = table.row_group_metadata(1).unwrap().column(0).byte_range();
    for step in 0..60 {
        let mut bad = good.clone();
        let at = (chunk.0 + 40 + step * (chunk.1 - 40) / 60) as usize;
        bad[at] ^= 1 << (step % 8);
        let bad_path = dir.path().join("bad.parquet");
        std::fs::write(&bad_path, &bad).unwrap();
        let table = TableReader::open(&bad_path).unwrap();
        let mut faults = Vec::new();
        pages::check_pages(&table, |fault| {
            faults.push(fault);
            true
        })
        .unwrap();
        assert!(
            !faults.is_empty(),
            "bit {at} was not found by the page check"
        );
        assert_eq!(
            (faults[0].row_group, faults[0].column.as_str()),
            (1, "smiles")
        );
        let outcome: Result<Vec<_>, _> = table.batches(ReadOptions::default()).unwrap().collect();
        if faults[0].checksum {
            let error = outcome.unwrap_err().to_string();
            assert!(
                error.contains("bad.parquet") && error.contains("rows"),
                "{error}"
            );
        }
    }
}

#[test]
fn damage_anywhere_is_an_error_and_never_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 3_000, |_| 3_000);
    let good = std::fs::read(&path).unwrap();
    let bad_path = dir.path().join("bad.parquet");
    let try_read = |bytes: &[u8]| -> Result<u64, TableError> {
        std::fs::write(&bad_path, bytes).unwrap();
        let table = TableReader::open(&bad_path)?;
        let mut rows = 0;
        pages::check_pages(&table, |_| true)?;
        for batch in table.batches(ReadOptions::default())? {
            rows += batch?.num_rows() as u64;
        }
        Ok(rows)
    };
    assert_eq!(try_read(&good).unwrap(), 3_000);
    for cut in [
        0,
        3,
        4,
        11,
        12,
        100,
        good.len() / 2,
        good.len() - 9,
        good.len() - 1,
    ] {
        let error = try_read(&good[..cut]).unwrap_err();
        assert!(error.to_string().contains("bad.parquet"), "{error}");
    }
    let mut x = 88172645463325252u64;
    for _ in 0..400 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let mut bad = good.clone();
        // Half of the flips into the last tenth: index and footer.
        let span = if x & 1 == 0 {
            good.len()
        } else {
            good.len() / 10
        };
        let at = good.len() - 1 - (x >> 8) as usize % span;
        bad[at] ^= 1 << (x >> 5 & 7);
        if let Ok(rows) = try_read(&bad) {
            assert_eq!(
                rows, 3_000,
                "flip at {at} changed the number of rows unnoticed"
            );
        }
    }
}

/// No checksum of Parquet covers the footer: every bit of it, flipped, is refused or changes neither rows nor metadata.
#[test]
fn no_bit_of_the_footer_changes_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 20, |_| 20);
    let good = std::fs::read(&path).unwrap();
    let what_is_read = |path: &Path| -> Result<_, TableError> {
        let table = TableReader::open(path)?;
        let mut rows = Vec::new();
        for batch in table.batches(ReadOptions::default())? {
            rows.push(batch?);
        }
        let shape = (table.rows(), table.row_groups(), Arc::clone(table.schema()));
        Ok((rows, shape, table.meta().cloned()))
    };
    let want = what_is_read(&path).unwrap();
    let end = good.len() - 8;
    let length = u32::from_le_bytes(good[end..end + 4].try_into().unwrap()) as usize;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut same = 0;
    for bit in (end - length) * 8..good.len() * 8 {
        let (byte, at) = (good[bit / 8], (bit / 8) as u64);
        // In place: a file that is written anew thirty thousand times waits for the disk as often.
        file.write_all_at(&[byte ^ 1 << (bit % 8)], at).unwrap();
        let read = what_is_read(&path);
        file.write_all_at(&[byte], at).unwrap();
        if let Ok(got) = read {
            assert!(got == want, "bit {} of byte {}: {got:?}", bit % 8, bit / 8);
            same += 1;
        }
    }
    // Statistics and sizes that nobody reads may differ.
    assert!(same < length * 8 / 2, "{same} of {} bits", length * 8);
}

/// Of a text column whose logical type is damaged so, pyarrow makes bytes; the library under this one still saw text.
#[test]
fn what_only_other_readers_see_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 20, |_| 20);
    let good = std::fs::read(&path).unwrap();
    TableReader::open(&path).unwrap();
    // Field 10, a structure, in it field 1, a structure: the logical type of a text.
    let texts: Vec<usize> = (0..good.len() - 5)
        .filter(|at| good[*at..].starts_with(b"\x4c\x1c\x00\x00\x00"))
        .collect();
    assert!(!texts.is_empty());
    for at in texts {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at + 1] ^= 1 << bit;
            std::fs::write(&path, &bad).unwrap();
            assert!(
                TableReader::open(&path).is_err(),
                "bit {bit} of byte {}",
                at + 1
            );
        }
    }
}

#[test]
fn a_file_without_footer_is_salvaged_row_group_by_row_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    write(&path, 10_000, |_| 1_000);
    let good = std::fs::read(&path).unwrap();
    let table = TableReader::open(&path).unwrap();
    let groups = table.row_groups();
    assert!(groups >= 4);
    let cut_at = |group: usize| {
        let chunk = table
            .row_group_metadata(group)
            .unwrap()
            .column(5)
            .byte_range();
        (chunk.0 + chunk.1 / 2) as usize
    };
    let cut = dir.path().join("cut.parquet");
    for group in 0..groups {
        std::fs::write(&cut, &good[..cut_at(group)]).unwrap();
        assert!(matches!(
            TableReader::open(&cut),
            Err(TableError::NoFooter { .. })
        ));
        let saved = halocline_table::salvage(&cut).unwrap();
        let rows = table.row_group_rows(group).start;
        assert_eq!((saved.table.rows(), saved.damaged_row_groups), (rows, 0));
        assert_eq!(saved.row_group_bytes, SMALL);
        assert_eq!(saved.table.meta(), table.meta());
        assert_eq!(saved.table.schema(), table.schema());
        let all = read(&saved.table, ReadOptions::default());
        let options = ReadOptions {
            rows: Some(0..rows),
            ..ReadOptions::default()
        };
        assert_eq!(all.column(0), read(&table, options.clone()).column(0));
        assert_eq!(all.column(7), read(&table, options).column(7));
    }
    // A damaged page costs its row group, not those behind it; a damaged record as well.
    let mut bad = good.clone();
    bad[cut_at(1)] ^= 1;
    std::fs::write(&cut, &bad[..good.len() - 20]).unwrap();
    let saved = halocline_table::salvage(&cut).unwrap();
    let lost = table.row_group_rows(1).end - table.row_group_rows(1).start;
    assert_eq!((saved.damaged_row_groups, saved.damaged_rows), (1, lost));
    assert_eq!(saved.table.rows(), 10_000 - lost);
    let mut bad = good.clone();
    let record = table.row_group_metadata(1).unwrap().column(9).byte_range();
    bad[(record.0 + record.1) as usize + 30] ^= 1;
    std::fs::write(&cut, &bad).unwrap();
    assert_eq!(
        halocline_table::salvage(&cut).unwrap().table.rows(),
        10_000 - lost
    );
    // A whole file loses nothing; a file of others cannot be salvaged.
    assert_eq!(
        halocline_table::salvage(&path).unwrap().table.rows(),
        10_000
    );
    std::fs::write(
        &cut,
        b"PAR1 something else entirely, long enough to be read",
    )
    .unwrap();
    let error = halocline_table::salvage(&cut).unwrap_err().to_string();
    assert!(error.contains("cut.parquet"), "{error}");
}
