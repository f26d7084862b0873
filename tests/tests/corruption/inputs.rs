//! Inputs of split, transform and merge: refused in one sentence, or the same tables.

use crate::{Damage, Made, ended_well, flips, quiet, tables, transform};
use halocline_tests::random::Random;
use halocline_tests::{np_700, scratch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Gives `tool` each of `inputs` damaged: it ends well, and when it ends as done it has written what it writes from the
/// undamaged input.
fn takes_damage(what: &str, dir: &Path, inputs: &[&Path], tool: &dyn Fn(&Path) -> Command) {
    let out = dir.join("out");
    let run_on = |place: &str| -> (bool, BTreeMap<PathBuf, Vec<u8>>) {
        if out.exists() {
            fs_err::remove_dir_all(&out).unwrap();
        }
        fs_err::create_dir_all(&out).unwrap();
        let output = tool(&out).output().unwrap();
        let done = ended_well(&output, place);
        (done, if done { tables(&out) } else { BTreeMap::new() })
    };
    let (done, want) = run_on("undamaged");
    assert!(done, "{what}: refused undamaged");
    let mut random = Random::seeded("damage");
    let (mut refused, mut same) = (0, 0);
    for n in 0..flips() {
        let input = inputs[usize::try_from(n).unwrap() % inputs.len()];
        let good = fs_err::read(input).unwrap();
        let damage = Damage::random(&mut random, good.len());
        fs_err::write(input, damage.apply(&good)).unwrap();
        let place = format!("{what}, {}: {damage}", input.display());
        let (done, got) = run_on(&place);
        fs_err::write(input, &good).unwrap();
        if done {
            assert!(got == want, "{place}: taken, and the tables are others");
            same += 1;
        } else {
            refused += 1;
        }
    }
    eprintln!("{what}: {refused} refused, {same} made the same tables");
    assert!(refused > 0, "{what}: no damage was noticed at all");
}

#[test]
fn split_takes_damage() {
    let dir = scratch();
    let made = Made::new(dir.path(), &np_700(20));
    takes_damage(
        "halo-split, partitioned",
        dir.path(),
        &[&made.library],
        &|out| {
            let mut tool = quiet("halo-split");
            tool.arg(&made.library)
                .arg("--out-dir")
                .arg(out)
                .args(["--shards", "2"]);
            tool.args([
                "--partition-by",
                "class",
                "--partitions",
                "polyphenol,lipid",
            ]);
            tool
        },
    );
    // Compressed text carries a checksum of its own.
    let text = np_700(20);
    let input = dir.path().join("molecules.tsv.gz");
    let mut gz = flate2::write::GzEncoder::new(
        fs_err::File::create(&input).unwrap(),
        flate2::Compression::default(),
    );
    std::io::Write::write_all(&mut gz, text.as_bytes()).unwrap();
    gz.finish().unwrap();
    takes_damage("halo-split of .gz", dir.path(), &[&input], &|out| {
        let mut tool = quiet("halo-split");
        tool.arg(&input)
            .arg("--out-dir")
            .arg(out)
            .args(["--shards", "2"]);
        tool.args(["--format", "tsv"]);
        tool
    });
}

#[test]
fn transform_takes_damage() {
    let dir = scratch();
    let made = Made::new(dir.path(), &np_700(20));
    takes_damage(
        "halo-transform-shard",
        dir.path(),
        &[&made.library, &made.plan],
        &|out| {
            let mut tool = transform(&made.plan, out);
            tool.args(["--shards", "0..2"]);
            tool
        },
    );
}

#[test]
fn merge_takes_damage() {
    let dir = scratch();
    let made = Made::new(dir.path(), &np_700(20));
    let sidecar = |table: &Path| PathBuf::from(format!("{}.stats.json", table.display()));
    let sidecars: Vec<PathBuf> = made.shards.iter().map(|s| sidecar(s)).collect();
    for strategy in ["memory", "bloom", "spill"] {
        let inputs = [&*made.shards[0], &*made.shards[1], &*sidecars[0]];
        takes_damage(
            &format!("halo-dedup-merge, {strategy}"),
            dir.path(),
            &inputs,
            &|out| {
                let mut tool = quiet("halo-dedup-merge");
                tool.args(&made.shards).args(["--strategy", strategy]);
                tool.arg("--out").arg(out.join("products.parquet"));
                tool
            },
        );
    }
    // One shard alone has no other to disagree with; the footer must be enough, with a sidecar and without.
    let alone = |out: &Path| {
        let mut tool = quiet("halo-dedup-merge");
        tool.arg(&made.shards[0])
            .arg("--out")
            .arg(out.join("products.parquet"));
        tool
    };
    takes_damage(
        "halo-dedup-merge, one shard",
        dir.path(),
        &[&made.shards[0]],
        &alone,
    );
    fs_err::remove_file(&sidecars[0]).unwrap();
    takes_damage(
        "halo-dedup-merge, one shard, no sidecar",
        dir.path(),
        &[&made.shards[0]],
        &alone,
    );
}
