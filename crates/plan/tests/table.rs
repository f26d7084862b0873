//! The job table of the shipped configuration, and what its keys depend on.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use halocline_plan::{Config, Facts, JobTable, PlanError, Scale, Step, build, input_files};

fn root() -> String {
    format!("{}/../..", env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> String {
    std::fs::read_to_string(format!("{}/configs/pipeline.yaml", root())).unwrap()
}

/// The shipped configuration with rule files found from the test's directory.
fn config(text: &str) -> Config {
    let text = text.replace(": configs/", &format!(": {}/configs/", root()));
    Config::parse(Path::new("pipeline.yaml"), &text).unwrap()
}

fn facts(config: &Config) -> Facts {
    Facts {
        tool_version: "0.1.0".into(),
        rdkit_version: Some("2022.09.3".into()),
        inputs: input_files(config)
            .into_iter()
            .map(|f| (f.clone(), format!("print of {f}")))
            .collect(),
        scale: Scale {
            input_rows: 700.0,
            ..Scale::default()
        },
    }
}

fn table(text: &str) -> JobTable {
    let config = config(text);
    build(&config, &facts(&config)).unwrap()
}

fn count(table: &JobTable, step: Step) -> usize {
    table.of(step).count()
}

#[test]
fn the_demo_has_118_product_tables() {
    let table = table(&shipped());
    let counts = Step::ALL.map(|step| count(&table, step));
    // six classes make twelve libraries of two batches each; `other` has no transform rules
    assert_eq!(counts, [1, 24, 12, 10, 20, 118, 118, 1]);
    let pairs: BTreeSet<_> = table
        .of(Step::Merge)
        .map(|j| (j.class.clone(), j.rule.clone()))
        .collect();
    assert_eq!(pairs.len(), 59);
}

#[test]
fn ids_outputs_and_logs_are_unique_and_needs_come_first() {
    let table = table(&shipped());
    let mut ids = BTreeSet::new();
    let mut files = BTreeSet::new();
    for job in &table.jobs {
        assert!(
            job.needs.iter().all(|n| ids.contains(n)),
            "{} comes before what it needs",
            job.id
        );
        assert!(ids.insert(job.id.clone()));
        for file in job
            .outputs
            .values()
            .flatten()
            .chain([&job.log, &job.benchmark])
        {
            assert!(files.insert(file.clone()), "{file} is written twice");
        }
    }
    // every input is made by a needed job or is there from the start
    let makers: BTreeMap<&String, &String> = table
        .jobs
        .iter()
        .flat_map(|j| j.outputs.values().flatten().map(move |f| (f, &j.id)))
        .collect();
    for job in &table.jobs {
        for file in job.inputs.values().flatten() {
            match makers.get(file) {
                Some(maker) => assert!(job.needs.contains(maker), "{} reads {file}", job.id),
                None => assert!(
                    file.contains("configs/") || file == "data/np_700.tsv",
                    "{file}"
                ),
            }
        }
    }
}

#[test]
fn command_lines_are_the_contract() {
    let table = table(&shipped());
    let command = |id: &str| {
        table
            .job(id)
            .unwrap()
            .command
            .join(" ")
            .replace(&root(), ".")
    };
    assert_eq!(
        command("split_input/input"),
        "halo-split data/np_700.tsv --out-dir results/work/input --shards 2 --cost halogenate --smiles-column smiles --partition-by class \
         --partitions polyphenol,terpenoid,alkaloid,lipid,aa_peptide,other --memory-limit 512MiB"
    );
    assert_eq!(
        command("halogenate/lipid-2X/2x1/batch-0001"),
        "halo-transform-shard --plan results/work/input/lipid/plan.json --shards 1..2 --rules ./configs/halogens.yaml \
         --class lipid --depth 2 --out-dir results/work/library/lipid-2X/2x1/batch-0001 --keep id --keep class \
         --threads 1 --memory-limit 512MiB"
    );
    assert_eq!(
        command("transform/lipid-2X/2x1/batch-0000"),
        "halo-transform-shard --plan results/work/plans/lipid-2X/plan.json --shards 0..1 --rules ./configs/transforms.yaml \
         --class lipid --depth 1 --out-dir results/work/transforms/lipid-2X/2x1/batch-0000 --keep id --keep class \
         --threads 1 --memory-limit 512MiB"
    );
    assert_eq!(
        command("merge/lipid-1X_FG_CARBOXYL__COOH__TO__COCl"),
        "halo-dedup-merge --shards-from results/work/transforms/lipid-1X/2x1 --table FG_CARBOXYL__COOH__TO__COCl.parquet \
         --out results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet \
         --summary results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/SUMMARY.json \
         --transform FG_CARBOXYL__COOH__TO__COCl --class lipid --source-file results/library/lipid-1X/products.parquet \
         --depth 1 --threads 1 --memory-limit 512MiB"
    );
    assert_eq!(
        command("validate/lipid-1X_FG_CARBOXYL__COOH__TO__COCl"),
        "halo-validate-parquet results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/products.parquet \
         --expect-rule FG_CARBOXYL__COOH__TO__COCl \
         --out results/transforms/lipid-1X_FG_CARBOXYL__COOH__TO__COCl/validation.json --keep id,class --memory-limit 512MiB"
    );
    assert_eq!(
        table.job("report/report").unwrap().needs.len(),
        12 + 118 + 118
    );
    assert_eq!(table.job("split_input/input").unwrap().mem_mb, 537);
}

#[test]
fn shards_are_cut_into_batches_without_gap() {
    let text = shipped().replace(
        "  shards: 2                   # per library\n  shards_per_batch: 1",
        "  shards: 7\n  shards_per_batch: 3\n  shards_for: {lipid-2X: 1}",
    );
    let table = table(&text);
    let ranges = |library: &str| -> Vec<String> {
        let flag = |j: &halocline_plan::Job| {
            j.command[j.command.iter().position(|a| a == "--shards").unwrap() + 1].clone()
        };
        table
            .of(Step::Transform)
            .filter(|j| j.library().unwrap() == library)
            .map(flag)
            .collect()
    };
    assert_eq!(ranges("polyphenol-1X"), ["0..3", "3..6", "6..7"]);
    assert_eq!(ranges("lipid-2X"), ["0..1"]);
}

#[test]
fn ready_libraries_skip_halogenation() {
    let text = shipped()
        .replace(
            "classes: [polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]",
            "classes: [polyphenol, lipid]",
        )
        .replace(
            "\nresults:",
            "\nlibraries:\n  polyphenol: {1: /data/p1.parquet, 2: /data/p2.parquet}\n\nresults:",
        );
    let mixed = table(&text);
    assert_eq!(
        Step::ALL.map(|s| count(&mixed, s)),
        [1, 4, 2, 4, 8, 44, 44, 1]
    );
    let split = mixed.job("split_library/polyphenol-2X").unwrap();
    assert!(split.needs.is_empty() && split.inputs["library"] == ["/data/p2.parquet"]);
    assert!(
        mixed
            .job("split_input/input")
            .unwrap()
            .command
            .contains(&"lipid".to_owned())
    );

    let start = text.find("input:").unwrap();
    let end = text.find("# Ready halogenated").unwrap();
    let text = format!("{}{}", &text[..start], &text[end..])
        .replace("[polyphenol, lipid]", "[polyphenol]");
    let ready = table(&text);
    assert_eq!(
        Step::ALL.map(|s| count(&ready, s)),
        [0, 0, 0, 2, 4, 32, 32, 1]
    );
}

fn changed(before: &JobTable, after: &JobTable) -> BTreeSet<String> {
    after
        .jobs
        .iter()
        .filter(|j| before.job(&j.id).is_none_or(|b| b.key != j.key))
        .map(|j| j.id.clone())
        .collect()
}

#[test]
fn a_changed_smirks_makes_its_own_products_stale_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let rules = std::fs::read_to_string(format!("{}/configs/transforms.yaml", root())).unwrap();
    let path = dir.path().join("transforms.yaml");
    let text = shipped().replace("configs/transforms.yaml", &path.to_string_lossy());
    std::fs::write(&path, &rules).unwrap();
    let before = table(&text);
    std::fs::write(&path, rules.replace(">>[c:1]CCN", ">>[c:1]CCCN")).unwrap();
    let after = table(&text);
    let changed = changed(&before, &after);
    let of = |step: &str| {
        changed
            .iter()
            .filter(|id| id.starts_with(&format!("{step}/")))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("merge").len(), 4);
    assert_eq!(of("validate").len(), 4);
    assert!(
        of("merge")
            .iter()
            .all(|id| id.ends_with("_FG_PHENOL_OH__OH__TO__CH2CH2NH2"))
    );
    // the batches of the two classes in scope hold that rule among others
    assert_eq!(of("transform").len(), 8);
    assert_eq!(changed.len(), 4 + 4 + 8 + 1);
}

#[test]
fn keys_follow_content_and_versions_but_not_limits_or_cuts() {
    let text = shipped();
    let before = table(&text);
    let with = |change: &dyn Fn(&mut Facts)| {
        let config = config(&text);
        let mut facts = facts(&config);
        change(&mut facts);
        build(&config, &facts).unwrap()
    };
    let all = before.jobs.len();
    let other_input = with(&|f| f.inputs.values_mut().for_each(|v| v.push('!')));
    assert_eq!(changed(&before, &other_input).len(), all);
    assert_eq!(
        changed(&before, &with(&|f| f.tool_version = "0.2.0".into())).len(),
        all
    );
    let other_rdkit = changed(
        &before,
        &with(&|f| f.rdkit_version = Some("2023.03.1".into())),
    );
    assert_eq!(other_rdkit.len(), all - 1); // all but the split of the input

    let more = table(&text.replace("512MiB, threads: 1", "600MiB, threads: 2"));
    assert_eq!(changed(&before, &more), BTreeSet::new());
    let finer = table(&text.replace("shards: 2 ", "shards: 4 "));
    let stale = changed(&before, &finer);
    assert!(
        stale.iter().all(|id| id.starts_with("split")
            || id.starts_with("halogenate")
            || id.starts_with("transform")),
        "{stale:?}"
    );
}

/// The plan of a library's shards names the file; what is made of it has the same bytes, wherever it lies.
#[test]
fn a_library_elsewhere_is_cut_again_and_not_transformed_again() {
    let at = |path: &str| {
        let library = format!("\nlibraries:\n  lipid: {{1: {path}}}\n\nresults:");
        let config = config(&shipped().replace("\nresults:", &library));
        let mut facts = facts(&config);
        facts.inputs.insert(path.into(), "the same content".into());
        build(&config, &facts).unwrap()
    };
    let (before, after) = (at("/data/old.parquet"), at("/data/new.parquet"));
    let split = BTreeSet::from(["split_library/lipid-1X".to_owned()]);
    assert_eq!(changed(&before, &after), split);
}

/// A library made here has the columns that halogenation kept; of a ready one the plan does not know.
#[test]
fn what_the_transforms_keep_is_kept_by_the_halogenation() {
    let (line, with) = (
        "  keep: [id, class]\n  # shards_for",
        "  keep: [id, source]\n  # shards_for",
    );
    let text = shipped().replace(line, with);
    let refused = |text: &str| {
        let config = config(text);
        build(&config, &facts(&config)).unwrap_err().to_string()
    };
    let error = refused(&text);
    for part in [
        "`transform.keep` names `source`",
        "`polyphenol-1X`",
        "`halogenate.keep`: id, class",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    let all = "classes: [polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]";
    let ready = |classes: &str| {
        let lipid = "\nlibraries:\n  lipid: {1: /data/l1.parquet, 2: /data/l2.parquet}\nresults:";
        text.replace("\nresults:", lipid)
            .replace(all, &format!("classes: {classes}"))
    };
    // a class without transform rules is kept as it is
    table(&ready("[lipid, other]"));
    let error = refused(&ready("[lipid, alkaloid]"));
    assert!(error.contains("`alkaloid-1X`"), "{error}");
}

/// Ready 1X libraries of these classes, and one rule for each: what the plan says to it.
fn with_rules(pairs: [(&str, &str); 2]) -> Result<JobTable, PlanError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("transforms.yaml");
    let rule = |(class, name): (&str, &str)| {
        format!("  - name: {name}\n    scope_classes: [{class}]\n    smirks: \"[O:1]>>[O:1]C\"\n")
    };
    std::fs::write(&file, format!("transforms:\n{}", pairs.map(rule).concat())).unwrap();
    let classes = BTreeSet::from(pairs.map(|(class, _)| class));
    let library = |class: &&str| format!("\n  {class}: {{1: /data/{class}.parquet}}");
    let libraries: String = classes.iter().map(library).collect();
    let names: Vec<&str> = classes.into_iter().collect();
    let text = shipped()
        .replace("configs/transforms.yaml", &file.to_string_lossy())
        .replace(
            "[polyphenol, terpenoid, alkaloid, lipid, aa_peptide, other]",
            &format!("[{}]", names.join(", ")),
        )
        .replace("depths: [1, 2]", "depths: [1]")
        .replace("\nresults:", &format!("\nlibraries:{libraries}\nresults:"));
    let config = config(&text);
    build(&config, &facts(&config))
}

#[test]
fn two_jobs_of_one_name_are_refused() {
    let error = with_rules([("polyphenol", "r-1X_q"), ("polyphenol-1X_r", "q")]).unwrap_err();
    let text = error.to_string();
    for part in [
        "`merge/polyphenol-1X_r-1X_q`",
        "class `polyphenol` with rule `r-1X_q`",
        "class `polyphenol-1X_r` with rule `q`",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    with_rules([("polyphenol", "r-1X_q"), ("polyphenol-1X_r", "q2")]).unwrap();
}

fn tables_of(released: &halocline_plan::ShardTables) -> Vec<String> {
    let text = |p: std::path::PathBuf| p.to_string_lossy().into_owned();
    released.paths().map(text).collect()
}

#[test]
fn shards_go_when_what_they_were_made_for_is_complete() {
    let text = shipped().replace(
        "  shards: 2                   # per library\n  shards_per_batch: 1",
        "  shards: 3\n  shards_per_batch: 2",
    );
    let table = table(&text);
    let rule = "lipid-2X_FG_CARBOXYL__COOH__TO__COCl";
    let (merge, validate) = (
        table.job(&format!("merge/{rule}")).unwrap(),
        table.job(&format!("validate/{rule}")).unwrap(),
    );
    let shards = [
        "batch-0000/shard-00000",
        "batch-0000/shard-00001",
        "batch-0001/shard-00002",
    ]
    .map(|s| {
        format!("results/work/transforms/lipid-2X/3x2/{s}/FG_CARBOXYL__COOH__TO__COCl.parquet")
    });
    assert_eq!(tables_of(merge.shard_tables.as_ref().unwrap()), shards);
    assert!(merge.releases.is_empty(), "not before they are validated");
    assert_eq!(tables_of(&validate.releases[0]), shards);
    let library = table.job("merge_library/lipid-2X").unwrap();
    assert_eq!(library.releases[0], *library.shard_tables.as_ref().unwrap());
    assert_eq!(
        tables_of(&library.releases[0])[1],
        "results/work/library/lipid-2X/2x1/batch-0001/shard-00001/products.parquet"
    );
    // every table goes once, and the report names each of them again
    let of = |report: bool| -> BTreeSet<String> {
        let jobs = table.jobs.iter();
        jobs.filter(|j| (j.step == Step::Report) == report)
            .flat_map(|j| &j.releases)
            .flat_map(tables_of)
            .collect()
    };
    assert_eq!(of(true), of(false));
    assert_eq!(of(true).len(), 12 * 2 + 118 * 3);

    let kept = self::table(&format!("{text}\nkeep_intermediates: true\n"));
    assert!(kept.jobs.iter().all(|j| j.releases.is_empty()));
    assert!(kept.job(&merge.id).unwrap().shard_tables.is_some());
    assert_eq!(changed(&table, &kept), BTreeSet::new());
}

#[test]
fn known_rows_take_the_place_of_guesses() {
    let config = config(&shipped());
    let mut facts = facts(&config);
    let cost =
        |facts: &Facts, id: &str| build(&config, facts).unwrap().job(id).unwrap().cost_seconds;
    let (lipid, other) = (
        "transform/lipid-1X/2x1/batch-0000",
        "transform/aa_peptide-1X/2x1/batch-0000",
    );
    let (merge, validate) = (
        "merge/lipid-1X_FG_CARBOXYL__COOH__TO__COCl",
        "validate/lipid-1X_FG_CARBOXYL__COOH__TO__COCl",
    );
    let guess = [lipid, other, merge].map(|id| cost(&facts, id));
    // the split of the input counts each class
    facts.scale.classes.insert("lipid".into(), 70_000.0);
    let counted = [lipid, other, merge].map(|id| cost(&facts, id));
    assert!(
        counted[0] > 100.0 * guess[0] && counted[2] > 10.0 * guess[2],
        "{guess:?} {counted:?}"
    );
    assert_eq!(counted[1].to_bits(), guess[1].to_bits());
    // the merged library counts more exactly
    facts
        .scale
        .libraries
        .insert("lipid-1X".into(), 50_000_000.0);
    assert!(cost(&facts, lipid) > 10.0 * counted[0]);
    // and so do the shards of one rule, for that rule
    facts
        .scale
        .products
        .insert("lipid-1X_FG_CARBOXYL__COOH__TO__COCl".into(), 0.0);
    assert!(cost(&facts, merge) < 0.1 && cost(&facts, validate) < 0.1);
    assert!(cost(&facts, "merge/lipid-1X_FG_CARBOXYL__COOH__TO__COOMe") > 10.0);
    // estimates are no content
    let keys = |facts: &Facts| {
        build(&config, facts)
            .unwrap()
            .jobs
            .into_iter()
            .map(|j| j.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&facts), keys(&self::facts(&config)));
}
