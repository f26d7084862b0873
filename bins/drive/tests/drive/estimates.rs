//! Costs, order and progress follow the work that became known.

use crate::bench;

#[test]
fn costs_follow_the_rows_that_became_known() {
    let bench = bench();
    // Neither the order of the table nor the number of rules puts the lipids first.
    bench.edit(
        "pipeline.yaml",
        "[lipid, aa_peptide]",
        "[aa_peptide, lipid]",
    );
    bench.set(
        "rows",
        "halo-dedup-merge*library/lipid-1X 5000000\nhalo-split*library/lipid-1X 5000000\nhalo-transform*plans/lipid*COCl 7\n",
    );
    let cost = |id: &str| -> f64 {
        let plan = bench.json("plan");
        let jobs = plan["jobs"].as_array().unwrap();
        jobs.iter().find(|j| j["id"] == id).unwrap()["cost_seconds"]
            .as_f64()
            .unwrap()
    };
    let (lipid, other) = (
        "transform/lipid-1X/1x1/batch-0000",
        "transform/aa_peptide-1X/1x1/batch-0000",
    );
    assert!(cost(lipid) < 1.0);
    bench.expect(0, "run --until merge_library");
    assert!(
        cost(lipid) > 1000.0 && cost(other) < 1.0,
        "{} {}",
        cost(lipid),
        cost(other)
    );
    // and so does the order: the other library has more rules, and would come first with as many rows
    bench.set("fail", "halo-transform*plans/lipid 1\n");
    let text = bench.expect(1, "run --cores 1 --retries 0 --until transform");
    let started: Vec<&str> = text
        .lines()
        .filter(|l| l.contains("start transform/"))
        .collect();
    assert!(
        started[0].contains("lipid"),
        "the costlier library first: {text}"
    );
}

#[test]
fn progress_is_of_the_work_and_not_of_the_number_of_jobs() {
    let bench = bench();
    bench.set(
        "rows",
        "halo-split*library/lipid-1X 5000000\nhalo-dedup-merge*library/lipid-1X 5000000\n",
    );
    let text = bench.expect(0, "run --cores 1 --until transform");
    let line = text
        .lines()
        .find(|l| l.contains("done  split_library/lipid-1X"))
        .unwrap();
    let before = |part: &str| -> u32 {
        let (before, _) = line.split_once(part).unwrap();
        before.rsplit(['(', ' ']).next().unwrap().parse().unwrap()
    };
    // most jobs are done, but nearly all of the work is to come
    assert!(before(" of 9") >= 5, "{text}");
    assert!(before(" % of the work") < 20, "{text}");
    assert!(line.contains(" left)"), "{text}");
}
