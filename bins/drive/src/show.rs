//! What goes to stdout: the job table, and the summary at the end of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use halocline_budget::{Budget, ByteSize};
use halocline_cli::Outcome;
use halocline_plan::{Job, JobTable, Step};

use crate::args::{Format, PlanArgs};
use crate::check::{Checker, State};
use crate::facts;
use crate::lock::{self, Lock};
use crate::progress::people;
use crate::record::Subject;
use crate::run::Tally;
use crate::schedule::{Schedule, Standing};
use crate::{release, select, strays};

/// Bytes of a job in the plan's JSON, as values and as text (measured 2026-11 with 16,074 jobs: 10 KiB).
const TEXT_BYTES: u64 = 12 << 10;

/// The `plan` subcommand.
pub(crate) fn plan(args: &PlanArgs, budget: &Budget) -> anyhow::Result<Outcome> {
    let planned = facts::plan(&args.source, budget)?;
    let table = &planned.table;
    let _text = facts::reserve(budget, "the text of the plan", table.jobs.len(), TEXT_BYTES)?;
    let mut value = with_records(table)?;
    if args.settle {
        let results = Path::new(&table.results);
        // What it settles, the run relies on.
        if let Some(holder) = Lock::held_by(results) {
            anyhow::bail!("{}", lock::taken(results, Some(holder)));
        }
        let runs = settle(table, &mut value)?;
        facts::check_rules(&planned, runs.into_iter())?;
        value["not_in_plan"] = strays::lines(&strays::find(table)).into();
    }
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&value)? + "\n",
        Format::Table => jobs(table),
    };
    halocline_cli::print(&text)?;
    Ok(Outcome::Done)
}

/// The table, where the `lock` of a run is, and per job its `record_file` and the `record` text.
fn with_records(table: &JobTable) -> anyhow::Result<serde_json::Value> {
    let mut value = serde_json::to_value(table)?;
    value["lock"] = lock::path(Path::new(&table.results))
        .to_string_lossy()
        .into();
    let entries = value["jobs"].as_array_mut().into_iter().flatten();
    for (job, entry) in table.jobs.iter().zip(entries) {
        let subject = Subject::new(table, job);
        entry["record_file"] = subject.path().to_string_lossy().into();
        entry["record"] = serde_json::to_string(&subject)?.into();
    }
    Ok(value)
}

/// Settles the records, and adds per job: `complete`, `why` it is not, whether it `runs` (what only complete results need
/// may be incomplete for good), which file that a complete one read is `gone`, and the text for `release`, which believes
/// the records that are settled here. Returns the jobs that run.
fn settle<'a>(table: &'a JobTable, value: &mut serde_json::Value) -> anyhow::Result<Vec<&'a Job>> {
    let mut checker = Checker::new(table, false);
    let entries = value["jobs"].as_array_mut().into_iter().flatten();
    let survey = select::survey(table, &mut checker);
    let mut runs = Vec::new();
    let mut tickets = release::tickets(table)?;
    for ((job, state), entry) in survey.into_iter().zip(entries) {
        let settled = checker.settle(job)?;
        let complete = settled == State::Complete;
        entry["why"] = match settled {
            State::Complete => serde_json::Value::Null,
            State::Missing(why) | State::Stale(why) => why.into(),
        };
        entry["complete"] = complete.into();
        let again = state.is_some_and(|s| s != State::Complete);
        entry["runs"] = again.into();
        entry["release"] = tickets.remove(job.id.as_str()).into();
        let gone = if complete { job.first_gone() } else { None };
        entry["gone"] = gone.map(|path| path.to_string_lossy().into_owned()).into();
        if again {
            runs.push(job);
        }
    }
    Ok(runs)
}

fn jobs(table: &JobTable) -> String {
    let width = table.jobs.iter().map(|j| j.id.len()).max().unwrap_or(0);
    let mut out = format!(
        "{:width$}  {:>7}  {:>9}  {:>10}  command\n",
        "job", "threads", "memory", "est. cost"
    );
    for job in &table.jobs {
        let _ = writeln!(
            out,
            "{:width$}  {:>7}  {:>9}  {:>9.1}s  {}",
            job.id,
            job.threads,
            ByteSize(job.memory_limit_bytes),
            job.cost_seconds,
            job.command.join(" ")
        );
    }
    let _ = writeln!(
        out,
        "{} jobs, {} product tables",
        table.jobs.len(),
        table.of(Step::Merge).count()
    );
    out
}

/// The table at the end of a run: per step what became of its jobs, then every incomplete one.
pub(crate) fn summary(schedule: &Schedule<'_>, tally: &Tally, complete_before: &[Step]) -> String {
    let mut out = format!(
        "{:14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>12}\n",
        "step", "complete", "run now", "failed", "blocked", "not run", "job time"
    );
    for step in Step::ALL {
        let of = |want: fn(&Standing) -> bool| {
            schedule
                .entries
                .iter()
                .filter(|e| e.job.step == step && want(&e.standing))
                .count()
        };
        let before = complete_before.iter().filter(|s| **s == step).count();
        let done = of(|s| *s == Standing::Done);
        let (failed, blocked) = (
            of(|s| matches!(s, Standing::Failed(_))),
            of(|s| matches!(s, Standing::Blocked(_))),
        );
        let left = of(|s| matches!(s, Standing::Waiting | Standing::Running));
        if before + done + failed + blocked + left == 0 {
            continue;
        }
        let time = tally.time_of(step).map_or_else(String::new, people);
        let _ = writeln!(
            out,
            "{step:14} {before:>9} {done:>9} {failed:>9} {blocked:>9} {left:>9} {time:>12}"
        );
    }
    let mut blocked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in &schedule.entries {
        match &entry.standing {
            Standing::Failed(why) => {
                let _ = writeln!(
                    out,
                    "failed   {}: {why}; log: {}",
                    entry.job.id, entry.job.log
                );
            }
            Standing::Blocked(root) => blocked.entry(root).or_default().push(&entry.job.id),
            _ => {}
        }
    }
    for (root, jobs) in blocked {
        let named = jobs.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let more = if jobs.len() > 3 { ", …" } else { "" };
        let _ = writeln!(
            out,
            "blocked  {} jobs that need {root}: {named}{more}",
            jobs.len()
        );
    }
    out
}
