//! Product tables that are no part of the plan: a rule was renamed or removed, a class or depth dropped. They stay, because
//! a plan that names them again finds them complete, but somebody who reads the folder may take them for results.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use halocline_plan::{Job, JobTable};

/// Most tables that are named; the others are counted.
const MOST_NAMED: usize = 5;

/// Tables below `library` and `transforms` of the results that no job writes or reads, sorted.
pub(crate) fn find<'a>(table: &'a JobTable) -> Vec<String> {
    let files = |job: &'a Job| job.outputs.values().chain(job.inputs.values()).flatten();
    let planned: BTreeSet<&String> = table.jobs.iter().flat_map(files).collect();
    let mut found = Vec::new();
    for part in ["library", "transforms"] {
        let folder = format!("{}/{part}", table.results);
        // None yet, or one that cannot be read, holds nothing to be named.
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let file = format!("{folder}/{}/products.parquet", name.to_string_lossy());
            if !planned.contains(&file) && Path::new(&file).is_file() {
                found.push(file);
            }
        }
    }
    found.sort();
    found
}

/// A line for each of the first tables, and one for the others.
pub(crate) fn lines(found: &[String]) -> String {
    let mut out = String::new();
    for file in found.iter().take(MOST_NAMED) {
        let _ = writeln!(out, "not in the plan: {file}");
    }
    if found.len() > MOST_NAMED {
        let more = found.len() - MOST_NAMED;
        let _ = writeln!(out, "not in the plan: {more} more tables");
    }
    out
}
