//! From a library of parents to published tables of products, `halo-transform-shard` allocates per batch, per row group
//! and per page, but not per product: four times the products of the same parents cost no more allocations than the
//! pages they fill. RDKit's C++ has its own allocator here and is not counted.
//!
//! A test of its own process, as it counts what every thread of the process allocates.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]
#![expect(
    unsafe_code,
    reason = "an allocator that counts cannot be written without"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use halocline_cli::sidecar::Sidecar;
use halocline_tests::{library, root};
use halocline_transform_shard::{Args, run};

/// Blocks asked for, and blocks that were grown.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every block is `System`'s, under the caller's own layout.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the same promise to this function.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
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
