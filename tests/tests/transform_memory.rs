//! `halo-transform-shard` keeps `--memory-limit` under a hard cap of that size, whatever the parents, the threads and the
//! number of rows; a build that leaks does not.
//!
//! `HALOCLINE_ROWS=50000000` (as `make bench` sets it for all memory tests) takes 500,000 parents, one for a hundred rows:
//! a parent here is work, not a row to copy.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed precondition is a failed test, and a test says what it measured"
)]

use halocline_tests::memory::{Build, Capped, run_capped};
use halocline_tests::{command, json, library, np_68k, root, scratch};
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 128 * MIB;

/// A table of these SMILES.
fn tsv(smiles: impl IntoIterator<Item = String>) -> String {
    let mut text = String::from("id\tsmiles\n");
    for (n, smiles) in smiles.into_iter().enumerate() {
        text += &format!("{n}\t{smiles}\n");
    }
    text
}

/// Runs a build under a hard cap equal to the limit.
fn capped(
    build: Build,
    limit: u64,
    out: &Path,
    library: &Path,
    threads: &str,
    args: &[&str],
) -> Capped {
    let mut shard = Command::new(build.program("halo-transform-shard"));
    shard.arg("--input").arg(library).arg("--out-dir").arg(out);
    shard.args([
        "--threads",
        threads,
        "--memory-limit",
        &format!("{limit}B"),
        "--no-progress",
    ]);
    shard.args(args);
    run_capped(&shard, limit)
}

/// A build that leaks, on the same rows under the same cap.
fn leaks(limit: u64, dir: &Path, library: &Path, args: &[&str]) {
    let out = dir.join("leaking");
    capped(Build::Leaking, limit, &out, library, "2", args).assert_caught();
}

/// Runs under a hard cap equal to the limit, and holds it; peak RSS as the kernel saw it, and rows written.
fn held(limit: u64, dir: &Path, library: &Path, threads: &str, args: &[&str]) -> (u64, u64) {
    let out = dir.join(format!("out-{threads}"));
    let ran = capped(Build::Real, limit, &out, library, threads, args);
    ran.assert_within();
    let sidecar = json(&out.join("shard.stats.json"));
    let said = sidecar["peak_rss_bytes"].as_u64().unwrap();
    assert!(said <= limit, "{sidecar}");
    let rows = sidecar["rows_out"].as_u64().unwrap();
    eprintln!(
        "{} threads: peak {} MiB, said {} MiB, {rows} rows, {:.1} s",
        threads,
        ran.measured.peak_rss_bytes / MIB,
        said / MIB,
        ran.measured.wall_seconds
    );
    fs_err::remove_dir_all(&out).unwrap();
    (ran.measured.peak_rss_bytes, rows)
}

fn transforms(class: &str) -> [String; 4] {
    let rules = root().join("configs/transforms.yaml");
    ["--rules", rules.to_str().unwrap(), "--class", class].map(str::to_owned)
}

/// Aromatic halogenation at every site, without the caps of a class, to depth 2.
fn uncapped() -> [String; 6] {
    let rules = root().join("configs/halogens.yaml");
    let rules = rules.to_str().unwrap();
    [
        "--rules",
        rules,
        "--depth",
        "2",
        "--rule",
        "RING_SP2__CH__TO__X",
    ]
    .map(str::to_owned)
}

fn refs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

#[test]
fn real_polyphenols_under_all_rules() {
    let dir = scratch();
    let all = np_68k(1, 68_000);
    let polyphenols = all
        .lines()
        .filter(|l| l.split('\t').nth(2) == Some("polyphenol"));
    let smiles = polyphenols
        .map(|l| l.split('\t').nth(1).unwrap().to_owned())
        .take(2_000);
    let library = library(dir.path(), &tsv(smiles));
    for threads in ["1", "2", "16"] {
        let (_, rows) = held(
            LIMIT,
            dir.path(),
            &library,
            threads,
            &refs(&transforms("polyphenol")),
        );
        assert!(rows > 15_000, "{rows}");
    }
}

/// Parents with 57 phenols and with 421 heavy atoms in turn.
fn heavy(parents: u32) -> impl Iterator<Item = String> {
    let phenols = format!("{}Cc1ccc(O)cc1", "Cc1cc(O)c(cc1O)".repeat(28));
    let peptide = format!("{}O", "N[C@@H](Cc1ccc(O)cc1)C(=O)".repeat(35));
    // Isotopes make them different molecules.
    (0..parents).map(move |n| {
        format!(
            "[{}CH3]{}",
            n + 13,
            if n % 2 == 0 { &phenols } else { &peptide }
        )
    })
}

#[test]
fn parents_with_57_phenols_and_with_421_heavy_atoms() {
    let dir = scratch();
    let library = library(dir.path(), &tsv(heavy(40)));
    for threads in ["1", "2", "16"] {
        let (_, rows) = held(
            LIMIT,
            dir.path(),
            &library,
            threads,
            &refs(&transforms("polyphenol")),
        );
        assert!(rows > 5_000, "{rows}");
    }
}

#[test]
fn parents_that_give_thousands_of_products_at_depth_2() {
    let dir = scratch();
    let all = np_68k(1, 68_000);
    let polyphenols = all
        .lines()
        .filter(|l| l.split('\t').nth(2) == Some("polyphenol"));
    let smiles = polyphenols.map(|l| l.split('\t').nth(1).unwrap().to_owned());
    let mut smiles: Vec<String> = smiles.filter(|s| s.matches("cc").count() > 12).collect();
    smiles.sort_by_key(|s| s.len());
    smiles.truncate(6);
    let library = library(dir.path(), &tsv(smiles));
    for threads in ["1", "2", "16"] {
        let (_, rows) = held(LIMIT, dir.path(), &library, threads, &refs(&uncapped()));
        assert!(rows > 6 * 1_500, "{rows}");
    }
}

/// The polyphenols that give the most products at depth 2 under the rules of their class (10,120 of row 2796), each among
/// ordinary ones: under a limit that carries them on one thread, every number of threads carries them, and writes the same.
#[test]
fn the_parents_with_the_most_products_pass_on_any_number_of_threads() {
    let dir = scratch();
    let all = np_68k(1, 68_000);
    let polyphenols: Vec<&str> = all
        .lines()
        .filter(|l| l.split('\t').nth(2) == Some("polyphenol"))
        .map(|l| l.split('\t').nth(1).unwrap())
        .collect();
    let most = [2796, 3407, 7563, 3407];
    let smiles = most.iter().enumerate().flat_map(|(n, row)| {
        // A row that comes a second time is another molecule by an isotope.
        let methane = format!("[{}CH4].", n + 13);
        let ordinary = (0..8).map(move |i| 100 * n + i);
        let ordinary = ordinary.map(|row| polyphenols[row].to_owned());
        std::iter::once(methane + polyphenols[*row]).chain(ordinary)
    });
    let library = library(dir.path(), &tsv(smiles));
    let rules = root().join("configs/halogens.yaml");
    let rules = rules.to_str().unwrap();
    let args = ["--rules", rules, "--class", "polyphenol", "--depth", "2"];
    let written = |limit: u64, threads: &str| {
        let out = dir.path().join(format!("out-{limit}-{threads}"));
        let ran = capped(Build::Real, limit, &out, &library, threads, &args);
        ran.assert_within();
        let digests = ["products", "rejects"].map(|name| {
            let sidecar = json(&out.join(format!("{name}.parquet.stats.json")));
            let file = &sidecar["output"];
            (file["rows"].as_u64().unwrap(), file["xxh3_128"].clone())
        });
        eprintln!(
            "{} MiB, {threads} threads: peak {} MiB, {} rows, {:.1} s",
            limit / MIB,
            ran.measured.peak_rss_bytes / MIB,
            digests[0].0,
            ran.measured.wall_seconds
        );
        fs_err::remove_dir_all(&out).unwrap();
        digests
    };
    let first = written(LIMIT, "1");
    assert!(first[0].0 > 45_000 && first[1].0 == 0, "{first:?}");
    // With 112 MiB the share of one of several threads is less than half of what the largest of them needs.
    for (limit, threads) in [(128, "4"), (128, "16"), (112, "1"), (112, "4"), (112, "16")] {
        assert_eq!(
            first,
            written(limit * MIB, threads),
            "{limit} MiB, {threads} threads"
        );
    }
}

/// What a parent gives does not depend on the memory there is: where its products do not fit, the run ends and says under
/// which limit they would, and `--max-products` rejects it under any limit alike.
#[test]
fn a_parent_that_outgrows_the_limit_ends_the_run_and_hears_what_would_do() {
    let dir = scratch();
    let phenols = |n| format!("{}Cc1ccc(O)cc1", "Cc1cc(O)c(cc1O)".repeat(n));
    let phenol = || "Cc1ccccc1O".to_owned();
    // The second one needs more: what the hint says must do for it, too.
    let library = library(
        dir.path(),
        &tsv([phenol(), phenols(15), phenol(), phenols(24)]),
    );
    let run = |limit: &str, threads: &str, more: &[&str]| {
        let out = dir.path().join("out");
        let mut shard = command("halo-transform-shard");
        shard
            .arg("--input")
            .arg(&library)
            .arg("--out-dir")
            .arg(&out);
        shard.args(["--memory-limit", limit, "--threads", threads, "-q"]);
        shard
            .args(refs(&uncapped()))
            .args(more)
            .arg("--no-progress");
        let limit: u64 = limit.strip_suffix("MiB").unwrap().parse().unwrap();
        (run_capped(&shard, limit * MIB), out)
    };
    let tables = |(ran, out): (Capped, std::path::PathBuf)| {
        ran.assert_within();
        ["products", "rejects"].map(|name| {
            let sidecar = json(&out.join(format!("{name}.parquet.stats.json")));
            let file = &sidecar["output"];
            (file["rows"].as_u64().unwrap(), file["xxh3_128"].clone())
        })
    };
    let (ran, out) = run("80MiB", "1", &[]);
    ran.verdict(2).unwrap();
    assert!(!out.join("products.parquet").exists());
    let said = &ran.stderr;
    assert!(said.contains("row 1 gives about "), "{said}");
    let enough = said.split("hint: --memory-limit ").nth(1).unwrap();
    let enough = enough.split(' ').next().unwrap();
    let products = tables(run(enough, "16", &[]));
    assert!(products[0].0 > 25_000 && products[1].0 == 0, "{products:?}");
    assert_eq!(products, tables(run("1024MiB", "2", &[])));
    // Rejected by the number of its products: a rule of the data, not of the machine.
    let fewer = ["--max-products", "1000"];
    let rejected = tables(run("80MiB", "2", &fewer));
    assert!(rejected[0].0 < 1_000 && rejected[1].0 == 2, "{rejected:?}");
    assert_eq!(rejected, tables(run("1024MiB", "16", &fewer)));
}

/// Molecules of np_68k that begin with a methyl, again and again, told apart by its isotope.
fn methyls(rows: usize) -> impl Iterator<Item = String> {
    let all = np_68k(1, usize::MAX);
    let methyl = |s: &str| {
        let next = s.strip_prefix('C').and_then(|s| s.chars().next());
        next.is_some_and(|c| "CNOSc".contains(c))
    };
    let molecules: Vec<String> = all
        .lines()
        .skip(1)
        .map(|l| l.split('\t').nth(1).unwrap().to_owned())
        .filter(|s| methyl(s))
        .collect();
    (0..rows).map(move |n| {
        let (round, place) = (n / molecules.len(), n % molecules.len());
        format!("[{}CH3]{}", round + 13, &molecules[place][1..])
    })
}

/// Ten times the rows: less than 5 % more memory. While a heavy parent is at work, the products of those behind it wait
/// for their turn until they fill what they may reserve, and below that the peak follows the rows. At 128 MiB it takes
/// some 12,000 parents to fill it (peak 50 MB at 4,000, 55 MB at 12,000 and at 40,000, release build, 2026-11-20), at
/// 76 MiB fewer than 4,500 (41.6 to 42.6 MB at 4,500, 42.6 MB at 45,000). So here the limit is 76 MiB, which still
/// carries two threads, and there are never fewer than 4,500 parents.
#[test]
fn ten_times_the_rows_take_no_more_memory() {
    let limit = 76 * MIB;
    let dir = scratch();
    let rules = root().join("configs/halogens.yaml");
    let args = ["--rules", rules.to_str().unwrap(), "--class", "other"];
    let asked = std::env::var("HALOCLINE_ROWS").ok();
    let parents = asked
        .as_ref()
        .map_or(0, |rows| rows.parse::<usize>().unwrap() / 100)
        .max(45_000);
    let molecules = |rows: usize| -> Vec<String> {
        if asked.is_some() {
            return methyls(rows).collect();
        }
        // Both spread over all of np_68k.
        let all = np_68k(if rows < 45_000 { 15 } else { 1 }, rows);
        let smiles = all.lines().skip(1).map(|l| l.split('\t').nth(1).unwrap());
        smiles.map(str::to_owned).collect()
    };
    let peak = |name: &str, rows: usize| {
        let dir = dir.path().join(name);
        fs_err::create_dir(&dir).unwrap();
        // The heaviest parent sets the peak: both libraries have the same ones in front.
        let library = library(&dir, &tsv(heavy(40).chain(molecules(rows))));
        if name == "many" {
            leaks(limit, &dir, &library, &args);
        }
        held(limit, &dir, &library, "2", &args)
    };
    // A peak is a maximum, and moves by a few per cent with how two threads meet: the short run gets three tries at it.
    let short: Vec<(u64, u64)> = ["few", "few again", "few once more"]
        .map(|name| peak(name, parents / 10))
        .into();
    let few = short.iter().map(|s| s.0).max().unwrap();
    let few_rows = short[0].1;
    let (many, many_rows) = peak("many", parents);
    assert!(
        few_rows > 5 * parents as u64 / 10 && many_rows > 8 * few_rows,
        "{few_rows} and {many_rows} rows"
    );
    let ratio = many as f64 / few as f64;
    assert!(
        ratio < 1.05,
        "{few} bytes for {few_rows} rows, {many} for {many_rows}"
    );
}
