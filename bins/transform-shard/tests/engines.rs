//! `--engine auto` gives what `--engine full` gives, byte for byte: over real molecules of every class, and over
//! molecules made to fool a local edit.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

#[macro_use]
mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use common::*;

/// Molecules of the benchmark data that go through both engines.
const MOLECULES: usize = 5_000;
/// Of each class, at depth 2.
const DEPTH_2_MOLECULES: usize = 25;

/// Runs both engines; what `auto` edited, and how many products there were.
fn both_engines(dir: &Path, name: &str, args: &[OsString]) -> (u64, u64) {
    let out = |engine: &str| dir.join(format!("{name}-{engine}"));
    for engine in ["full", "auto"] {
        let mut args = args.to_vec();
        args.extend(args![
            "--engine",
            engine,
            "--threads",
            "2",
            "--out-dir",
            out(engine),
            "-q"
        ]);
        done(&args);
    }
    let (full, auto) = (out("full"), out("auto"));
    if tables(&full) != tables(&auto) {
        panic!("{name}: {}", first_difference(&full, &auto));
    }
    let (full, auto) = (shard_sidecar(&full), shard_sidecar(&auto));
    assert_eq!(full.counts["products_edited"], 0);
    let sums = |sidecar: &halocline_cli::sidecar::Sidecar| -> BTreeMap<String, u64> {
        let chemistry =
            |name: &String| name.starts_with("sites_") || name.starts_with("products_made");
        sidecar
            .counts
            .iter()
            .filter(|(n, _)| chemistry(n))
            .map(|(n, c)| (n.clone(), *c))
            .collect()
    };
    assert_eq!(sums(&full), sums(&auto), "{name}");
    (auto.counts["products_edited"], auto.counts["products_made"])
}

/// The first row in which two shards differ.
fn first_difference(full: &Path, auto: &Path) -> String {
    for ((name, a), (_, b)) in tables(full).into_iter().zip(tables(auto)) {
        if a == b {
            continue;
        }
        if name == "rejects.parquet" {
            return format!(
                "rejects: full {:?}\nauto {:?}",
                rejects(full),
                rejects(auto)
            );
        }
        let (a, b) = (products(&full.join(&name)), products(&auto.join(&name)));
        for (a, b) in a.iter().zip(&b) {
            if a != b {
                return format!("{name}\nfull {a:?}\nauto {b:?}");
            }
        }
        return format!("{name}: {} rows with full, {} with auto", a.len(), b.len());
    }
    "no table differs".to_owned()
}

#[test]
fn transforms_agree_on_5000_molecules_of_all_classes() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    let molecules: Vec<String> = np_68k(MOLECULES).into_iter().map(|(s, _)| s).collect();
    library(&input, &molecules);
    let mut args = args!["--input", input, "--rules", transforms()].to_vec();
    args.extend(every_rule());
    let (edited, made) = both_engines(dir.path(), "transforms", &args);
    eprintln!("{edited} of {made} products edited");
    assert!(made > 10_000 && edited > made / 2, "{edited} of {made}");
}

#[test]
fn halogens_agree_on_5000_molecules_of_all_classes() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    let molecules: Vec<String> = np_68k(MOLECULES).into_iter().map(|(s, _)| s).collect();
    assert_eq!(molecules.len(), MOLECULES);
    library(&input, &molecules);
    let mut args = args!["--input", input, "--rules", halogens(), "--rule"].to_vec();
    args.extend(halogen_rules());
    let (edited, made) = both_engines(dir.path(), "halogens", &args);
    eprintln!("{edited} of {made} products edited");
    assert!(made > 150_000 && edited > made / 2, "{edited} of {made}");
}

/// With the caps of each class, which choose among the sites.
#[test]
fn halogens_agree_under_the_caps_of_every_class() {
    let dir = tempfile::tempdir().unwrap();
    let mut by_class: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (smiles, class) in np_700() {
        by_class.entry(class).or_default().push(smiles);
    }
    for (class, molecules) in by_class {
        if class == "polysaccharide" {
            continue;
        }
        let input = dir.path().join(format!("{class}.parquet"));
        library(&input, &molecules);
        let args = args!["--input", input, "--rules", halogens(), "--class", class];
        let (edited, made) = both_engines(dir.path(), &class, &args);
        eprintln!("{class}: {edited} of {made} products edited");
        assert!(made > 0 && edited > 0, "{class}: {edited} of {made}");
    }
}

#[test]
fn halogens_agree_at_depth_2() {
    let dir = tempfile::tempdir().unwrap();
    let mut by_class: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (smiles, class) in np_700() {
        by_class.entry(class).or_default().push(smiles);
    }
    for (class, mut molecules) in by_class {
        if class == "polysaccharide" {
            continue;
        }
        molecules.retain(|smiles| smiles.len() < 60);
        molecules.truncate(DEPTH_2_MOLECULES);
        let input = dir.path().join(format!("{class}.parquet"));
        library(&input, &molecules);
        let args = args![
            "--input",
            input,
            "--rules",
            halogens(),
            "--class",
            class,
            "--depth",
            "2"
        ];
        both_engines(dir.path(), &class, &args);
    }
}

/// The molecules of `adversarial.smi`.
fn adversarial() -> Vec<String> {
    let text = std::fs::read_to_string(root("bins/transform-shard/tests/adversarial.smi")).unwrap();
    text.lines()
        .filter(|line| !line.starts_with("# "))
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
}

#[test]
fn large_parents_agree() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    let polyene = format!("OC{}/C(=O)O", "/C=C".repeat(12));
    library(&input, &[phenols(57), heavy_atoms(421), polyene]);
    let mut args = args!["--input", input, "--rules", transforms()].to_vec();
    args.extend(every_rule());
    let (edited, made) = both_engines(dir.path(), "transforms", &args);
    assert!(made > 350 && edited > 300, "{edited} of {made}");
    // Caps hold, so that this stays a matter of seconds.
    let args = args!["--input", input, "--rules", halogens(), "--class", "other"];
    both_engines(dir.path(), "halogens", &args);
}

/// Every halogen rule, uncapped classes included.
fn halogen_rules() -> Vec<OsString> {
    let text = std::fs::read_to_string(halogens()).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "));
    let names = names.map(|name| name.split(' ').next().unwrap());
    let names: Vec<OsString> = names
        .filter(|name| name.ends_with('X'))
        .map(OsString::from)
        .collect();
    assert_eq!(names.len(), 5);
    names
}

#[test]
fn molecules_made_to_fool_an_edit_agree() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    let molecules = adversarial();
    library(&input, &molecules);
    let mut with_transforms = args!["--rules", transforms()].to_vec();
    with_transforms.extend(every_rule());
    let mut with_halogens = args!["--rules", halogens(), "--rule"].to_vec();
    with_halogens.extend(halogen_rules());
    let from = |input: &Path, rules: &[OsString]| {
        let mut args = args!["--input", input].to_vec();
        args.extend_from_slice(rules);
        args
    };
    let (edited, made) = both_engines(dir.path(), "transforms", &from(&input, &with_transforms));
    assert!(edited > 500, "{edited} of {made}");
    let (edited, made) = both_engines(dir.path(), "halogens", &from(&input, &with_halogens));
    assert!(edited > 2_000, "{edited} of {made}");

    // What must not sanitise or parse was rejected, nothing else was.
    let bad = rejects(&dir.path().join("halogens-full"));
    let whole = bad.iter().filter(|r| r.rule.is_none()).count();
    assert!(whole < molecules.len() / 10, "{bad:?}");

    // Canonical SMILES of this RDKit take the light parse.
    let table = dir.path().join("halogens-full/products.parquet");
    let (edited, made) = both_engines(dir.path(), "of-products", &from(&table, &with_transforms));
    assert!(edited > 2_000, "{edited} of {made}");
    let light = shard_sidecar(&dir.path().join("of-products-auto")).counts["parsed_light"];
    assert!(light > 500, "{light}");
}

#[test]
fn molecules_made_to_fool_an_edit_agree_at_depth_2() {
    let dir = tempfile::tempdir().unwrap();
    // The small ones: what an edit does to an edit shows there as well.
    let small: Vec<String> = adversarial()
        .into_iter()
        .filter(|s| s.len() <= 28)
        .collect();
    assert!(small.len() > 150);
    for class in ["lipid", "aa_peptide", "alkaloid"] {
        let input = dir.path().join(format!("{class}.parquet"));
        library(&input, &small);
        let args = args![
            "--input",
            input,
            "--rules",
            halogens(),
            "--class",
            class,
            "--depth",
            "2"
        ];
        both_engines(dir.path(), class, &args);
    }
}

/// Another program that changes a product table copies what the table says about itself: that its SMILES are those of this
/// RDKit. Nobody may believe it then.
#[test]
fn a_table_that_another_program_wrote_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("l.parquet");
    library(&input, &["Oc1ccc(O)cc1", "Oc1ccc(O)c(Cl)c1"]);
    let first = dir.path().join("first");
    done(&job(&input, &transforms(), &first, &args!["--rule", OME]));
    let ours = first.join(format!("{OME}.parquet"));
    let rewritten = dir.path().join("rewritten.parquet");
    let table = halocline_table::TableReader::open(&ours).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_key_value_metadata(table.file_metadata().key_value_metadata().cloned())
        .build();
    let batches = batches(&ours);
    let schema = batches[0].schema();
    let file = std::fs::File::create(&rewritten).unwrap();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(file, schema.clone(), Some(properties)).unwrap();
    for batch in batches {
        let mut columns = batch.columns().to_vec();
        // A phenol that a query for aromatic atoms does not find, unless it is read as a stranger's.
        columns[0] = std::sync::Arc::new(arrow::array::StringArray::from_iter_values(
            (0..batch.num_rows()).map(|_| "COC1=CC=C(O)C=C1"),
        ));
        let batch = arrow::array::RecordBatch::try_new(schema.clone(), columns).unwrap();
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    both_engines(
        dir.path(),
        "rewritten",
        &args![
            "--input",
            &rewritten,
            "--rules",
            transforms(),
            "--rule",
            OME
        ],
    );
    let products = products(
        &dir.path()
            .join("rewritten-auto")
            .join(format!("{OME}.parquet")),
    );
    assert_eq!(products[0].smiles, "COc1ccc(OC)cc1");
}
