//! Files with a flipped bit or a cut-off end. Damage to a product table is found by `halo-validate-parquet`, or provably
//! changed no value; damage to an input ends in one clear sentence, never in a panic and never in a wrong table.
//!
//! A reduced number of damages in `make test`; `make torture` sets `HALOCLINE_DAMAGES=1000` (flips; a fifth as many
//! truncations).

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]
#![expect(clippy::print_stderr, reason = "stderr is where a test speaks")]

use halocline_tests::place::Place;
use halocline_tests::{
    command, files_below, json, library, np_68k, np_700, python, root, run, scratch,
};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OME: &str = "FG_PHENOL_OH__OH__TO__OMe";

/// Flipped bits per kind of file.
fn flips() -> u64 {
    match std::env::var("HALOCLINE_DAMAGES") {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("HALOCLINE_DAMAGES={text} is no number")),
        Err(_) => 60,
    }
}

/// A small generator of its own: the seed is printed, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let seed = std::env::var("HALOCLINE_SEED").map_or_else(
            |_| u64::from(now.subsec_nanos()) << 20 | 1,
            |text| text.parse().unwrap(),
        );
        eprintln!("HALOCLINE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// What is done to a file.
#[derive(Clone, Copy)]
enum Damage {
    Flip { byte: usize, bit: usize },
    Cut { at: usize },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { byte, bit } => write!(f, "bit {bit} of byte {byte} flipped"),
            Self::Cut { at } => write!(f, "cut at byte {at}"),
        }
    }
}

impl Damage {
    /// Of six, one is a cut, two are flips in the last kilobytes (where no checksum of Parquet stands), and three are
    /// flips anywhere.
    fn random(random: &mut Random, length: usize) -> Self {
        let tail = length.min(3000);
        match random.below(6) {
            0 => Self::Cut {
                at: random.below(length),
            },
            1 | 2 => Self::flip(random, length - tail..length),
            _ => Self::flip(random, 0..length),
        }
    }

    fn flip(random: &mut Random, within: std::ops::Range<usize>) -> Self {
        Self::Flip {
            byte: within.start + random.below(within.len()),
            bit: random.below(8),
        }
    }

    fn apply(self, good: &[u8]) -> Vec<u8> {
        match self {
            Self::Flip { byte, bit } => {
                let mut bad = good.to_vec();
                bad[byte] ^= 1 << bit;
                bad
            }
            Self::Cut { at } => good[..at].to_vec(),
        }
    }
}

/// The end of a program that was given damage: done, or refused in one sentence. Anything else is a failure.
fn ended_well(output: &Output, what: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(!said.contains("panicked"), "{what}: {said}");
    if code == Some(0) {
        return true;
    }
    assert!(
        matches!(code, Some(1 | 2)),
        "{what}: {}: {said}",
        output.status
    );
    let sentences: Vec<&str> = said.lines().filter(|l| !l.contains("hint: ")).collect();
    assert_eq!(sentences.len(), 1, "{what}: one sentence, not: {said}");
    assert!(said.starts_with("halo-"), "{what}: {said}");
    false
}

fn quiet(name: &str) -> Command {
    let mut tool = command(name);
    tool.args(["-qq", "--no-progress"]);
    tool
}

fn transform(input: &Path, out: &Path) -> Command {
    let mut tool = quiet("halo-transform-shard");
    let flag = if input.extension().is_some_and(|e| e == "json") {
        "--plan"
    } else {
        "--input"
    };
    tool.arg(flag).arg(input).arg("--out-dir").arg(out);
    tool.arg("--rules")
        .arg(root().join("configs/transforms.yaml"));
    tool.args(["--rule", OME, "--keep", "id"]);
    tool
}

/// A library, its plan, shards of it and their products merged.
struct Made {
    library: PathBuf,
    plan: PathBuf,
    shards: Vec<PathBuf>,
    products: PathBuf,
}

impl Made {
    fn new(dir: &Path, molecules: &str) -> Self {
        let library = library(dir, molecules);
        let plans = dir.join("plan");
        let mut split = quiet("halo-split");
        run(split
            .arg(&library)
            .arg("--out-dir")
            .arg(&plans)
            .args(["--shards", "2"]));
        let plan = plans.join("plan.json");
        let out = dir.join("shards");
        run(transform(&plan, &out).args(["--shards", "0..2"]));
        let shards: Vec<PathBuf> = (0..2)
            .map(|n| out.join(format!("shard-0000{n}/{OME}.parquet")))
            .collect();
        let products = dir.join("products.parquet");
        run(quiet("halo-dedup-merge")
            .args(&shards)
            .arg("--out")
            .arg(&products));
        Self {
            library,
            plan,
            shards,
            products,
        }
    }
}

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
    let mut random = Random::new();
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
    for (n, damage) in damages.iter().enumerate() {
        fs_err::write(&path, damage.apply(&good)).unwrap();
        // With its sidecar everything is found.
        fs_err::write(&place, &sidecar).unwrap();
        let mut validate = quiet("halo-validate-parquet");
        let output = validate
            .arg(&path)
            .args(["--expect-rule", OME])
            .output()
            .unwrap();
        let valid = ended_well(&output, &damage.to_string());
        assert!(!valid, "{damage}: valid beside its sidecar");
        let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["valid"], false, "{damage}");
        // Without it, what is not found must have changed no value.
        fs_err::remove_file(&place).unwrap();
        let mut validate = quiet("halo-validate-parquet");
        let output = validate
            .arg(&path)
            .args(["--expect-rule", OME])
            .output()
            .unwrap();
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

/// Tables below a folder.
fn tables(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = files_below(dir);
    found.retain(|path, _| path.extension().is_some_and(|e| e == "parquet"));
    found
}

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
    let mut random = Random::new();
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
fn transform_of_a_range_takes_damage_to_the_page_index() {
    let dir = scratch();
    // Several pages of every column.
    let library = library(dir.path(), &np_68k(1, 68_000));
    let good = fs_err::read(&library).unwrap();
    // The footer's length stands before the last magic; the index lies before the footer.
    let tail: [u8; 4] = good[good.len() - 8..good.len() - 4].try_into().unwrap();
    let footer = good.len() - 8 - u32::from_le_bytes(tail) as usize;
    let run_on = |bytes: &[u8], what: &str| {
        fs_err::write(&library, bytes).unwrap();
        let out = dir.path().join("out");
        let mut tool = transform(&library, &out);
        let output = tool
            .args(["class", "source", "licence", "--rows", "45000..45020"])
            .output()
            .unwrap();
        ended_well(&output, what).then(|| tables(&out))
    };
    let want = run_on(&good, "undamaged").unwrap();
    let mut random = Random::new();
    let (mut refused, mut same) = (0, 0);
    for _ in 0..flips() {
        let damage = Damage::flip(&mut random, footer - 600..footer);
        match run_on(&damage.apply(&good), &damage.to_string()) {
            None => refused += 1,
            Some(got) => {
                assert!(got == want, "{damage}: taken, and the tables are others");
                same += 1;
            }
        }
    }
    eprintln!("page index: {refused} refused, {same} made the same tables");
    assert!(refused > 0);
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
    let dir = scratch();
    let made = Made::new(dir.path(), &np_700(40));
    let shorten = |groups: &str, target: &Path| {
        let mut python = Command::new(python());
        run(python
            .args(["-c", SCRIPT])
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
    run(python.args(["-c", SCRIPT]).arg(&made.products).arg(&bad));
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

#[test]
fn report_and_drive_take_damage() {
    let dir = scratch();
    let place = Place::new(dir.path().join("place"), 1);
    run(&mut place.drive());
    let want = place.products();
    let results = place.results();
    let job = format!("polyphenol-1X_{OME}");
    let files = [
        format!("transforms/{job}/SUMMARY.json"),
        format!("transforms/{job}/validation.json"),
        format!("transforms/{job}/products.parquet.stats.json"),
        format!("transforms/{job}/products.parquet"),
        format!("work/jobs/merge/{job}.json"),
        format!("work/jobs/validate/{job}.json"),
        "work/fingerprints.json".to_owned(),
        "library/polyphenol-1X/products.parquet".to_owned(),
        "work/plans/polyphenol-1X/plan.json".to_owned(),
    ]
    .map(|f| results.join(f));
    for file in &files {
        assert!(file.is_file(), "{} is not there", file.display());
    }
    let mut random = Random::new();
    // Each run of the drive looks at 300 jobs: a second or two.
    let rounds = usize::try_from(flips() / 12)
        .unwrap()
        .clamp(files.len(), 60);
    let mut mended = 0;
    for n in 0..rounds {
        let file = &files[n % files.len()];
        let good = fs_err::read(file).unwrap();
        let damage = Damage::random(&mut random, good.len());
        fs_err::write(file, damage.apply(&good)).unwrap();
        let place_of = format!("{}: {damage}", file.display());
        let mut report = quiet("halo-report");
        report
            .current_dir(place.dir())
            .args(["--config", "pipeline.yaml"]);
        let output = report
            .arg("--out-dir")
            .arg(dir.path().join("report"))
            .output()
            .unwrap();
        // What is broken is listed; it does not stop the report.
        assert!(ended_well(&output, &place_of), "{place_of}");
        json(&dir.path().join("report/transform_pipeline_report.json"));
        let mut drive = place.drive();
        let output = drive.args(["-qq", "--no-progress"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{place_of}: {said}");
        assert!(
            output.status.success(),
            "{place_of}: {}: {said}",
            output.status
        );
        assert!(
            place.products() == want,
            "{place_of}: the run is complete, and its tables are others"
        );
        mended += u32::from(fs_err::read(file).unwrap() == good);
    }
    eprintln!("halo-report and halo-drive: {rounds} damages, {mended} files are as they were");
}
