//! What is refused before anything is written, and in which words.

use std::ffi::OsString;
use std::path::Path;

use crate::common::*;

#[test]
fn refusals_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let library_path = dir.path().join("l.parquet");
    library(&library_path, &["Oc1ccccc1", "CCO"]);
    let out = dir.path().join("out");
    let plan_path = dir.path().join("plan.json");
    plan(&plan_path, &library_path, &[1, 2]);
    let broken = dir.path().join("broken.yaml");
    let text = std::fs::read_to_string(transforms()).unwrap();
    std::fs::write(
        &broken,
        text.replace("[c:1][OX2H:2]>>[c:1]N\"", "[c:1][OX2H:2>>[c:1]N\""),
    )
    .unwrap();
    let with = |extra: &[OsString]| job(&library_path, &transforms(), &out, extra);
    let other_rows = dir.path().join("other.json");
    let text = std::fs::read_to_string(&plan_path).unwrap();
    std::fs::write(
        &other_rows,
        text.replace("\"input_rows\": 2", "\"input_rows\": 3")
            .replace("\"end\": 2", "\"end\": 3"),
    )
    .unwrap();
    let elsewhere = dir.path().join("elsewhere.json");
    std::fs::write(
        &elsewhere,
        text.replace(library_path.to_str().unwrap(), "gone/l.parquet"),
    )
    .unwrap();
    for (args, words) in [
        (
            planned(
                &elsewhere,
                &transforms(),
                &out,
                &args!["--shard", "0", "--rule", OME],
            ),
            vec!["elsewhere.json", "gone/l.parquet`: no such file", "--input"],
        ),
        (
            job(
                &dir.path().join("none.parquet"),
                &transforms(),
                &out,
                &args!["--rule", OME],
            ),
            vec!["none.parquet"],
        ),
        (
            job(&transforms(), &transforms(), &out, &args!["--rule", OME]),
            vec!["transforms.yaml", "Parquet"],
        ),
        (
            job(
                &library_path,
                &dir.path().join("none.yaml"),
                &out,
                &args!["--rule", OME],
            ),
            vec!["none.yaml"],
        ),
        (
            with(&args!["--rule", OME, "--smiles-column", "structure"]),
            vec!["structure", "smiles"],
        ),
        (with(&args!["--rule", OME, "--keep", "mass"]), vec!["mass"]),
        (
            with(&args!["--rule", OME, "--smiles-column", "k"]),
            vec!["`k`"],
        ),
        (with(&args!["--rule", "FG_NONE"]), vec!["FG_NONE"]),
        (with(&args!["--class", "mineral"]), vec!["mineral"]),
        (with(&args![]), vec!["--rule", "--class"]),
        (
            with(&args!["--rule", OME, "--rows", "0..3"]),
            vec!["0..3", "2 rows"],
        ),
        (with(&args!["--rule", OME, "--rows", "2..1"]), vec!["2..1"]),
        (
            with(&args!["--rule", OME, "--rows", "all"]),
            vec!["all", "0..1000"],
        ),
        (
            with(&args!["--rule", OME, "--depth", "0"]),
            vec!["--depth 0"],
        ),
        (
            with(&args!["--rule", OME, "--threads", "0"]),
            vec!["--threads"],
        ),
        (
            job(
                &library_path,
                &broken,
                &out,
                &args!["--class", "polyphenol"],
            ),
            vec!["FG_PHENOL_OH__OH__TO__NH2", "[c:1][OX2H:2"],
        ),
        (
            planned(
                &plan_path,
                &transforms(),
                &out,
                &args!["--shard", "2", "--rule", OME],
            ),
            vec!["no shard 2"],
        ),
        (
            planned(
                &plan_path,
                &transforms(),
                &out,
                &args!["--shards", "1..1", "--rule", OME],
            ),
            vec!["1..1"],
        ),
        (
            planned(&plan_path, &transforms(), &out, &args!["--rule", OME]),
            vec!["2 shards", "--shard"],
        ),
        (
            planned(
                &other_rows,
                &transforms(),
                &out,
                &args!["--shard", "0", "--rule", OME],
            ),
            vec!["2 rows", "3"],
        ),
    ] {
        let message = fails(&args);
        for word in words {
            assert!(
                message.contains(word),
                "{args:?}: `{word}` is not in: {message}"
            );
        }
        assert!(!message.contains("panicked"), "{message}");
    }
    assert!(!out.exists(), "a refused run leaves nothing");
}

#[test]
fn library_plan_and_rules_are_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("d/shard-00001")).unwrap();
    library(&at("l.parquet"), &["Oc1ccccc1", "CCO"]);
    plan(&at("p.json"), &at("l.parquet"), &[1, 2]);
    let ome = args!["--rule", OME];
    let halogen = args!["--class", "polyphenol"];
    let case = args!["--rule", OME, "--dump-case", "0"];
    let shard = args!["--rule", OME, "--shard", "0"];
    let shards = args!["--rule", OME, "--shards", "0..2"];
    let out = at("new/../d");
    let per_rule = transforms();
    // In the place of a file the run would write: the library, the plan, the rules.
    for (name, args) in [
        (format!("{OME}.parquet"), ome.as_slice()),
        ("rejects.parquet".to_owned(), &ome),
        ("shard.stats.json".to_owned(), &ome),
        (format!("{OME}.parquet.stats.json"), &ome),
        ("rejects.parquet".to_owned(), &shard),
        (format!("shard-00001/{OME}.parquet"), &shards),
        ("shard-00001/rejects.parquet".to_owned(), &shards),
        ("shard-00001/shard.stats.json".to_owned(), &shards),
        ("manifest.json".to_owned(), &shards),
        ("products.parquet".to_owned(), &halogen),
        ("parents.tsv".to_owned(), &case),
        ("command.txt".to_owned(), &case),
        ("expected.tsv".to_owned(), &case),
        ("rules.yaml".to_owned(), &case),
    ] {
        let taken = at("d").join(&name);
        let rules = if args == halogen {
            halogens()
        } else {
            per_rule.clone()
        };
        let by_plan = args == shard || args == shards;
        let with = |library: &Path, plan: &Path, rules: &Path| {
            let mut all = if by_plan {
                let mut all = planned(plan, rules, &out, args);
                all.extend(args!["--input", library]);
                all
            } else {
                job(library, rules, &out, args)
            };
            all.push("-q".into());
            all
        };
        let (l, p) = (at("l.parquet"), at("p.json"));
        let mut runs = vec![(&l, with(&taken, &p, &rules))];
        if by_plan {
            runs.push((&p, with(&l, &taken, &rules)));
        }
        if name != "rules.yaml" {
            runs.push((&rules, with(&l, &p, &taken)));
        }
        for (input, run) in runs {
            std::fs::copy(input, &taken).unwrap();
            let message = fails(&run);
            let says = format!("--out-dir would overwrite `{}`", taken.display());
            assert!(message.contains(&says), "{run:?}: {message}");
            assert_eq!(
                std::fs::read(input).unwrap(),
                std::fs::read(&taken).unwrap()
            );
            std::fs::remove_file(&taken).unwrap();
            assert!(!at("new").exists());
            for folder in ["d", "d/shard-00001"] {
                let mut left = std::fs::read_dir(at(folder)).unwrap();
                let only = left.all(|entry| entry.unwrap().path().is_dir());
                assert!(only, "{run:?} has written into {folder}");
            }
        }
    }
    // The library that a plan names, and a link to it.
    std::os::unix::fs::symlink(at("l.parquet"), at("d/rejects.parquet")).unwrap();
    let message = fails(&planned(&at("p.json"), &per_rule, &at("d"), &shard));
    let says = format!("--out-dir would overwrite `{}`", at("l.parquet").display());
    assert!(message.contains(&says), "{message}");
    std::fs::remove_file(at("d/rejects.parquet")).unwrap();
    // Beside its library and plan a run may write, and may be repeated; so may a case, from its own rules.
    for _ in 0..2 {
        for args in [&shard, &shards] {
            done(&planned(&at("p.json"), &per_rule, dir.path(), args));
        }
        done(&job(&at("l.parquet"), &per_rule, dir.path(), &ome));
        done(&job(&at("l.parquet"), &per_rule, dir.path(), &case));
        done(&job(&at("l.parquet"), &at("rules.yaml"), dir.path(), &case));
    }
    let explained = args!["--rule", OME, "--row", "0", "--explain"];
    done(&job(
        &at(&format!("{OME}.parquet")),
        &per_rule,
        dir.path(),
        &explained,
    ));
}

#[test]
fn too_little_memory_is_refused_with_the_least_that_works() {
    let dir = tempfile::tempdir().unwrap();
    let (library_path, out) = (dir.path().join("l.parquet"), dir.path().join("out"));
    library(&library_path, &of_class("polyphenol", 20));
    let with = |limit: &str| {
        let mut args = polyphenols(&library_path, &out);
        args.extend(args!["--memory-limit", limit, "--threads", "2"]);
        args
    };
    let message = fails(&with("40MiB"));
    let least = message
        .split("the least that works here is ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .map(|size| size.trim_end_matches("MiB").parse::<u64>().unwrap());
    let Some(least) = least else {
        panic!("no least limit in: {message}")
    };
    assert!(least < 128, "{message}");
    done(&with(&format!("{least}MiB")));
    let shard = shard_sidecar(&out);
    assert!(shard.peak_rss_bytes <= least << 20, "{shard:?}");
    let rules = transforms();
    let explain = args![
        "--rules",
        &rules,
        "--explain-rules",
        "--memory-limit",
        "1KiB"
    ];
    assert!(fails(&explain).contains("the least that works here is"));
    assert!(fails(&with("0MiB")).contains("0MiB"));
    assert!(fails(&with("512")).contains("MiB"));
}
