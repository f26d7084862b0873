//! The memory harness can fail: a child that takes more than its limit is caught, one that stays below is not.

use halocline_tests::memory::{Build, Cap, run_capped};
use halocline_tests::{bin, bin_dir, root, scratch};
use std::process::Command;

const MIB: u64 = 1 << 20;

fn leak(mib: u64) -> Command {
    let mut command = Command::new(bin("leak"));
    command.arg(mib.to_string());
    command
}

#[test]
fn a_child_that_leaks_is_caught() {
    let ran = run_capped(&leak(400), 64 * MIB);
    let reason = ran.verdict(0).unwrap_err();
    match ran.cap {
        Cap::CgroupV1 | Cap::CgroupV2 => {
            assert!(ran.killed_for_memory, "{reason}");
            assert_eq!(ran.measured.signal, Some(9), "{reason}");
        }
        Cap::AddressSpace => assert!(reason.contains("peak RSS"), "{reason}"),
    }
}

#[test]
fn a_child_just_above_its_limit_is_caught() {
    // 65 MiB against 64: within what an eye on a monitor would let pass.
    let ran = run_capped(&leak(65), 64 * MIB);
    let reason = ran.verdict(0).unwrap_err();
    assert!(
        reason.contains("killed by") || reason.contains("peak RSS"),
        "{reason}"
    );
}

#[test]
fn a_child_below_its_limit_passes_and_its_peak_is_its_own() {
    let ran = run_capped(&leak(40), 64 * MIB);
    ran.assert_within();
    let peak = ran.measured.peak_rss_bytes;
    assert!((40 * MIB..48 * MIB).contains(&peak), "peak RSS {peak}");
    // The peak of a child must not start from the RSS of the test that started it.
    let ballast = vec![1_u8; 200 << 20];
    let beside = run_capped(&leak(40), 64 * MIB);
    assert!(ballast.iter().step_by(4096).all(|&b| b == 1));
    assert!(beside.measured.peak_rss_bytes < 48 * MIB, "{beside:?}");
}

#[test]
fn page_cache_is_not_counted_against_the_child() {
    let file = bin_dir().join("tests-scratch/page-cache.bin");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut dd = Command::new("dd");
    dd.args(["if=/dev/zero", "bs=1M", "count=200"])
        .arg(format!("of={}", file.display()));
    let ran = run_capped(&dd, 32 * MIB);
    let read = run_capped(Command::new("sha256sum").arg(&file), 32 * MIB);
    std::fs::remove_file(&file).unwrap();
    ran.assert_within();
    read.assert_within();
}

#[test]
fn another_exit_code_is_a_failure() {
    let ran = run_capped(Command::new("false").arg("x"), 64 * MIB);
    assert!(ran.verdict(0).is_err());
    assert!(ran.verdict(1).is_ok());
}

/// Each of the four programs as a leaking build does all its work where it has the memory, with the same bytes: what ends
/// it in the other memory tests is its memory.
#[test]
fn a_leaking_build_does_the_same_work() {
    let dir = scratch();
    let input = root().join("data/np_700.tsv");
    let made = [Build::Real, Build::Leaking].map(|build| {
        let dir = dir.path().join(format!("{build:?}"));
        let ran = |name: &str, args: &[&str]| {
            let mut command = Command::new(build.program(name));
            std::fs::create_dir_all(&dir).unwrap();
            command.args(args).current_dir(&dir);
            command.args(["--memory-limit", "512MiB", "--no-progress", "-q"]);
            let ran = run_capped(&command, 512 * MIB);
            ran.assert_within();
            ran.measured.peak_rss_bytes
        };
        let input = input.to_str().unwrap();
        let rules = root().join("configs/halogens.yaml");
        let rules = rules.to_str().unwrap();
        let peaks = [
            ran(
                "halo-split",
                &[input, "--out-dir", "split", "--shards", "1"],
            ),
            ran(
                "halo-transform-shard",
                &[
                    "--input",
                    "split/library.parquet",
                    "--out-dir",
                    "shard",
                    "--rules",
                    rules,
                    "--class",
                    "other",
                ],
            ),
            ran(
                "halo-dedup-merge",
                &["shard/products.parquet", "--out", "merged.parquet"],
            ),
            ran("halo-validate-parquet", &["merged.parquet"]),
        ];
        let bytes = |name: &str| std::fs::read(dir.join(name)).unwrap();
        (
            peaks,
            bytes("split/library.parquet"),
            bytes("merged.parquet"),
        )
    });
    let [
        (real, library, merged),
        (leaking, same_library, same_merged),
    ] = made;
    eprintln!("peaks of the four programs: {real:?}; leaking: {leaking:?}");
    assert!(library == same_library && merged == same_merged);
}
