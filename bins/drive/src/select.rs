//! Which jobs a run is about, and which of them have to run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use halocline_plan::{Job, JobTable, Step};

use crate::check::{Checker, State};

/// Jobs whose outputs are results; the others only serve them.
fn is_result(step: Step) -> bool {
    matches!(
        step,
        Step::MergeLibrary | Step::Merge | Step::Validate | Step::Report
    )
}

/// Ids of the jobs that `--only` and `--until` ask for.
///
/// # Errors
/// A pattern that matches nothing; a report of a part.
pub(crate) fn targets<'a>(
    table: &'a JobTable,
    only: &[String],
    until: Option<Step>,
) -> anyhow::Result<Vec<&'a Job>> {
    for pattern in only {
        if !table.jobs.iter().any(|j| matches(pattern, j)) {
            if let Some(rules) = rules_there(table, pattern) {
                bail!(
                    "--only `{pattern}` matches no job\nhint: rules there are {}",
                    rules.join(", ")
                );
            }
            let mut libraries: Vec<String> = table.jobs.iter().filter_map(Job::library).collect();
            libraries.sort();
            libraries.dedup();
            bail!(
                "--only `{pattern}` matches no job\nhint: libraries are {}",
                libraries.join(", ")
            );
        }
    }
    if !only.is_empty() && until == Some(Step::Report) {
        bail!(
            "--until report does not go with --only: the report is of the whole pipeline\nhint: without --until everything of --only is made; the report comes with a run without --only"
        );
    }
    let wanted = |job: &&Job| {
        let step = match until {
            Some(last) => job.step == last || (job.step < last && is_result(job.step)),
            None => is_result(job.step),
        };
        step && (only.is_empty() || only.iter().any(|p| matches(p, job)))
    };
    Ok(table.jobs.iter().filter(wanted).collect())
}

/// The rules of the libraries that a pattern with a rule names, if it names any.
fn rules_there(table: &JobTable, pattern: &str) -> Option<Vec<String>> {
    let (place, _) = pattern.split_once('/')?;
    let of_place = table.jobs.iter().filter(|job| matches(place, job));
    let mut rules: Vec<String> = of_place.filter_map(|job| job.rule.clone()).collect();
    rules.sort();
    rules.dedup();
    (!rules.is_empty()).then_some(rules)
}

/// `CLASS`, `LIBRARY`, or either with `/RULE`; `*` stands for any text.
fn matches(pattern: &str, job: &Job) -> bool {
    let (place, rule) = match pattern.split_once('/') {
        Some((place, rule)) => (place, Some(rule)),
        None => (pattern, None),
    };
    let of_class = job.class.as_deref().is_some_and(|c| glob(place, c));
    let of_library = job.library().is_some_and(|l| glob(place, &l));
    let of_rule = match rule {
        None => true,
        Some(rule) => job.rule.as_deref().is_some_and(|r| glob(rule, r)),
    };
    (of_class || of_library) && of_rule
}

/// Whether `text` is `pattern` with each `*` replaced by some text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(first) else {
        return false;
    };
    (0..=text.len())
        .filter(|i| text.is_char_boundary(*i))
        .any(|i| glob(rest, &text[i..]))
}

/// What there is to do: jobs to run with the reason, and how many targets are complete already.
pub(crate) struct Work<'a> {
    /// In table order.
    pub(crate) jobs: Vec<(&'a Job, String)>,
    /// Targets, complete or not.
    pub(crate) targets: Vec<&'a Job>,
    /// Ids of the targets that are complete.
    pub(crate) complete: BTreeSet<&'a str>,
}

/// Finds what has to run for `targets`: those that are not complete, and what they need that is
/// not complete, and so on. What only complete jobs need is not looked at: it may be gone.
pub(crate) fn work<'a>(table: &'a JobTable, targets: Vec<&'a Job>, checksums: bool) -> Work<'a> {
    let mut states = states(table, &targets, &mut Checker::new(table, checksums));
    let done = |job: &&&Job| states.get(job.id.as_str()) == Some(&State::Complete);
    let complete = targets.iter().filter(done).map(|j| j.id.as_str()).collect();
    let jobs = table
        .jobs
        .iter()
        .filter_map(|job| match states.remove(job.id.as_str())? {
            State::Complete => None,
            State::Missing(why) | State::Stale(why) => Some((job, why)),
        })
        .collect();
    Work {
        jobs,
        targets,
        complete,
    }
}

/// Every job with its state; `None` where only complete jobs need it, so that it does not matter.
pub(crate) fn survey<'a>(
    table: &'a JobTable,
    checker: &mut Checker<'a>,
) -> Vec<(&'a Job, Option<State>)> {
    let targets: Vec<&Job> = table.jobs.iter().filter(|j| is_result(j.step)).collect();
    let mut states = states(table, &targets, checker);
    table
        .jobs
        .iter()
        .map(|job| (job, states.remove(job.id.as_str())))
        .collect()
}

/// States of the targets and of what the incomplete ones need.
fn states<'a>(
    table: &'a JobTable,
    targets: &[&'a Job],
    checker: &mut Checker<'a>,
) -> BTreeMap<&'a str, State> {
    let by_id: BTreeMap<&str, &Job> = table.jobs.iter().map(|j| (j.id.as_str(), j)).collect();
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    let mut stack: Vec<&Job> = targets.to_vec();
    while let Some(job) = stack.pop() {
        if states.contains_key(job.id.as_str()) {
            continue;
        }
        let state = checker.state(job);
        // The report reads what is there; it does not make the rest necessary.
        if state != State::Complete && job.step != Step::Report {
            stack.extend(job.needs.iter().filter_map(|n| by_id.get(n.as_str())));
        }
        states.insert(&job.id, state);
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("*", "x"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c", "ac"),
            ("*b*", "abc"),
            ("a**c", "abc"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a", "b"),
            ("a", "ab"),
            ("a*", "ba"),
            ("*a", "ab"),
            ("a*c", "ab"),
            ("", "a"),
        ] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
