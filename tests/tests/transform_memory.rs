//! `halo-transform-shard` keeps `--memory-limit` under a hard cap of that size, whatever the parents and the threads.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed precondition is a failed test, and a test says what it measured"
)]

use halocline_tests::memory::run_capped;
use halocline_tests::{command, json, library, np_68k, root, scratch};
use std::path::Path;

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

/// Runs under a hard cap equal to the limit; peak RSS as the kernel saw it, and rows written.
fn held(dir: &Path, library: &Path, threads: &str, args: &[&str]) -> (u64, u64) {
    let out = dir.join(format!("out-{threads}"));
    let mut shard = command("halo-transform-shard");
    shard.arg("--input").arg(library).arg("--out-dir").arg(&out);
    shard.args([
        "--threads",
        threads,
        "--memory-limit",
        "128MiB",
        "--no-progress",
    ]);
    shard.args(args);
    let ran = run_capped(&shard, LIMIT);
    ran.assert_within();
    let sidecar = json(&out.join("shard.stats.json"));
    let said = sidecar["peak_rss_bytes"].as_u64().unwrap();
    assert!(said <= LIMIT, "{sidecar}");
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
    let phenols = format!("{}Cc1ccc(O)cc1", "Cc1cc(O)c(cc1O)".repeat(28));
    let peptide = format!("{}O", "N[C@@H](Cc1ccc(O)cc1)C(=O)".repeat(35));
    let smiles = (0..40).map(|n| if n % 2 == 0 { &phenols } else { &peptide });
    // Isotopes make them different molecules.
    let smiles = smiles
        .enumerate()
        .map(|(n, s)| format!("[{}CH3]{s}", n + 13));
    let library = library(dir.path(), &tsv(smiles));
    for threads in ["1", "2", "16"] {
        let (_, rows) = held(
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
        let (_, rows) = held(dir.path(), &library, threads, &refs(&uncapped()));
        assert!(rows > 6 * 1_500, "{rows}");
    }
}

/// A parent whose products cannot fit is rejected, and says so; the others are done.
#[test]
fn a_parent_that_gives_more_than_the_limit_holds() {
    let dir = scratch();
    let phenols = format!("{}Cc1ccc(O)cc1", "Cc1cc(O)c(cc1O)".repeat(28));
    let library = library(
        dir.path(),
        &tsv(["Cc1ccccc1O".to_owned(), phenols, "Oc1ccccc1".to_owned()]),
    );
    let (_, rows) = held(dir.path(), &library, "2", &refs(&uncapped()));
    assert!(rows > 100, "{rows}");
}

#[test]
fn ten_times_the_rows_take_no_more_memory() {
    let dir = scratch();
    let rules = root().join("configs/halogens.yaml");
    let args = ["--rules", rules.to_str().unwrap(), "--class", "other"];
    let peak = |name: &str, step: usize, rows: usize| {
        let dir = dir.path().join(name);
        fs_err::create_dir(&dir).unwrap();
        // The heaviest parent sets the peak: both libraries have the same ones in front.
        let molecules = np_68k(step, rows);
        let smiles = molecules
            .lines()
            .skip(1)
            .map(|l| l.split('\t').nth(1).unwrap().to_owned());
        let library = library(&dir, &tsv(heavy(40).chain(smiles)));
        held(&dir, &library, "2", &args)
    };
    let ((few, few_rows), (many, many_rows)) = (peak("few", 15, 4_500), peak("many", 1, 45_000));
    assert!(
        few_rows > 25_000 && many_rows > 9 * few_rows,
        "{few_rows} and {many_rows} rows"
    );
    let ratio = many as f64 / few as f64;
    assert!(
        ratio < 1.05,
        "{few} bytes for {few_rows} rows, {many} for {many_rows}"
    );
}
