//! From a library of parents to published tables of products, `halo-transform-shard` allocates per batch, per row group
//! and per page, but not per product: four times the products of the same parents cost no more allocations than the
//! pages they fill. RDKit's C++ has its own allocator here and is not counted.
//!
//! And the footer of a table in the making, which no row group takes with it, holds what the table says it holds.
//!
//! Tests of their own process, one after the other, as they count what every thread of the process allocates.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]
#![expect(
    unsafe_code,
    reason = "an allocator that counts cannot be written without"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::OsString;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use clap::Parser;
use halocline_cli::sidecar::Sidecar;
use halocline_table::{Kind, Meta, SHARD_ROW_GROUP_BYTES, TableWriter, WriterOptions};
use halocline_tests::{library, root};
use halocline_transform_shard::{Args, run};

/// Blocks asked for, and blocks that were grown.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Bytes in blocks now.
static LIVE: AtomicI64 = AtomicI64::new(0);

/// One test at a time.
static TURN: Mutex<()> = Mutex::new(());

struct Counting;

fn count(more: i64) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    LIVE.fetch_add(more, Ordering::Relaxed);
}

// SAFETY: every block is `System`'s, under the caller's own layout.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Parents of one length, whatever the number of phenols on each; all products of all of them are distinct.
fn parents(phenols: usize) -> String {
    let mut tsv = "smiles\n".to_owned();
    for n in 0..1_440 {
        let chain = |length: usize| "C".repeat(length);
        let x = |i: usize| if i < phenols { "O" } else { "F" };
        tsv += &format!(
            "{}N{}O{}c1c({})c({})c({})c({})c1F\n",
            chain(n % 12),
            chain(n / 12 % 12),
            chain(n / 144),
            x(0),
            x(1),
            x(2),
            x(3)
        );
    }
    tsv
}

/// Allocations, and rows written, of the rules over parents with so many phenols.
fn counted(phenols: usize, rules: &[&str]) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let library = library(dir.path(), &parents(phenols));
    let out = dir.path().join("out");
    let mut args: Vec<OsString> = ["halo-transform-shard", "--no-isolate", "--no-progress"]
        .map(OsString::from)
        .to_vec();
    args.extend(["--threads", "2", "--input"].map(OsString::from));
    args.extend([library.into(), "--out-dir".into(), out.clone().into()]);
    args.extend([
        "--rules".into(),
        root().join("configs/transforms.yaml").into(),
    ]);
    args.extend(rules.iter().map(OsString::from));
    let args = Args::try_parse_from(args).unwrap();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run(args, &mut std::io::sink()).unwrap();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let shard = Sidecar::read(&out.join("shard.stats.json")).unwrap();
    assert_eq!(shard.duplicates, 0);
    (allocations, shard.rows_out)
}

#[test]
fn allocations_do_not_grow_with_the_products() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for rules in [
        &["--rule", "FG_PHENOL_OH__OH__TO__OMe"][..],
        &["--class", "polyphenol"][..],
    ] {
        // The same batches of parents, four times the products.
        let (few_allocations, few) = counted(1, rules);
        let (many_allocations, many) = counted(4, rules);
        assert!(few >= 1_440 && many == 4 * few, "{few} and {many} products");
        let each = (many_allocations as f64 - few_allocations as f64) / (many as f64 - few as f64);
        eprintln!("{rules:?}: {each:.2} allocations for each further product");
        // 0.3 (2026-11-20): a third of it for every 96 KiB of rows that become a batch, two thirds for every slice and page
        // that is encoded, and for the free memory that is looked at four times a second. A block for each product would be
        // one more.
        assert!(
            each < 0.6,
            "{rules:?}: {few_allocations} allocations for {few} products, {many_allocations} for {many}: \
             {each:.2} for each further product"
        );
    }
}

/// A table of a shard with a thousand row groups: what it holds between them is in `memory_bytes`, which is what is
/// reserved, and is little.
#[test]
fn the_footer_of_a_table_in_the_making_is_small_and_counted() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = |n: i64| {
        Arc::new(StringArray::from_iter_values(
            (n..n + 8).map(|n| format!("C{n}")),
        ))
    };
    let columns = |n: i64| -> Vec<(&str, ArrayRef)> {
        let numbers = Int64Array::from_iter_values(n..n + 8);
        vec![
            ("smiles", text(n) as ArrayRef),
            ("source", text(n) as ArrayRef),
            ("source_row", Arc::new(numbers) as ArrayRef),
        ]
    };
    let dir = tempfile::tempdir().unwrap();
    let first = RecordBatch::try_from_iter(columns(0)).unwrap();
    // Every batch is a row group, as far as statistics go like one of a shard.
    let options = WriterOptions { row_group_bytes: 1 };
    assert!(options.row_group_bytes < SHARD_ROW_GROUP_BYTES);
    let path = dir.path().join("table.parquet");
    let meta = Meta::new(Kind::Product);
    let mut writer = TableWriter::create(&path, &first.schema(), &meta, options).unwrap();
    let mut seen = Vec::new();
    for n in 0..1_000 {
        writer
            .write(
                &RecordBatch::try_from_iter(columns(8 * n))
                    .unwrap()
                    .slice(0, 1),
            )
            .unwrap();
        if [199, 999].contains(&n) {
            seen.push((LIVE.load(Ordering::Relaxed), writer.memory_bytes() as i64));
        }
    }
    let (live, said) = (seen[1].0 - seen[0].0, seen[1].1 - seen[0].1);
    let chunks = 800 * 3;
    eprintln!("{} bytes a chunk, {} said", live / chunks, said / chunks);
    // A buffer here and there may have found its size in between.
    assert!(
        live <= said + 4096,
        "{live} bytes are held, {said} are said to be"
    );
    assert!(said < 200 * chunks, "{said} bytes for {chunks} chunks");
    assert_eq!(writer.finish().unwrap().rows, 1_000);
}
