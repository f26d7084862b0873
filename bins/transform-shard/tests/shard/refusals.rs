//! What is refused before anything is written, and in which words.

use std::ffi::OsString;

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
