//! The `status` subcommand, and the journal that a run keeps for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use halocline_budget::Budget;
use halocline_cli::Outcome;
use halocline_plan::Step;
use serde::{Deserialize, Serialize};

use crate::args::{Format, StatusArgs};
use crate::check::{Checker, State};
use crate::lock::{self, Lock};
use crate::progress::people;
use crate::{facts, select, strays};

/// What runs right now, by job, with the second since 1970 in which it started. Only for people:
/// it is not synced to disk, and a run that was killed leaves it behind (the lock tells).
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    content: JournalFile,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct JournalFile {
    running: BTreeMap<String, u64>,
    /// When the run is expected to end, in seconds since 1970.
    expected_end: Option<u64>,
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |t| t.as_secs())
}

impl Journal {
    pub(crate) fn new(results: &Path) -> Self {
        Self {
            path: results.join("work/drive.json"),
            content: JournalFile::default(),
        }
    }

    pub(crate) fn started(&mut self, id: &str) {
        self.content.running.insert(id.to_owned(), now());
        self.write();
    }

    pub(crate) fn ended(&mut self, id: &str) {
        self.content.running.remove(id);
        self.write();
    }

    /// The run is expected to last that much longer.
    pub(crate) fn expect(&mut self, left: Duration) {
        self.content.expected_end = Some(now() + left.as_secs());
        self.write();
    }

    /// The run is over.
    pub(crate) fn end(&self) {
        let _ = std::fs::remove_file(&self.path);
    }

    fn write(&self) {
        let Ok(text) = serde_json::to_vec(&self.content) else {
            return;
        };
        let beside = self.path.with_extension("json.new");
        // A journal that cannot be written costs `status` its list of running jobs, nothing else.
        let _ = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &self.path));
    }

    fn read(results: &Path) -> JournalFile {
        let text = std::fs::read(results.join("work/drive.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    /// The process that runs the pipeline now, if any.
    engine: Option<String>,
    complete: bool,
    /// Seconds until the running process is expected to end; nothing when it should have ended by now.
    seconds_left: Option<u64>,
    steps: Vec<StepCount>,
    running: Vec<Running>,
    /// Neither complete nor running.
    incomplete: Vec<Incomplete>,
    /// Product tables that no job of the plan writes or reads.
    not_in_plan: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct StepCount {
    step: Step,
    jobs: usize,
    complete: usize,
    stale: usize,
    missing: usize,
    /// Only complete results need it: it may be gone.
    not_needed: usize,
    running: usize,
}

#[derive(Debug, Serialize)]
struct Running {
    id: String,
    seconds: u64,
}

#[derive(Debug, Serialize)]
struct Incomplete {
    id: String,
    state: &'static str,
    why: String,
}

/// Prints what is complete and what is not.
pub(crate) fn status(args: &StatusArgs, budget: &Budget) -> anyhow::Result<Outcome> {
    let planned = facts::plan(&args.source, budget)?;
    let table = &planned.table;
    let results = Path::new(&table.results);
    let engine = Lock::held_by(results);
    let JournalFile {
        mut running,
        expected_end,
    } = if engine.as_deref().is_some_and(lock::keeps_journal) {
        Journal::read(results)
    } else {
        JournalFile::default()
    };
    let survey = select::survey(table, &mut Checker::new(table, args.checksums));
    let mut report = Report {
        schema: "halocline.status/1",
        engine,
        complete: true,
        seconds_left: expected_end.and_then(|end| end.checked_sub(now()).filter(|left| *left > 0)),
        steps: Step::ALL
            .map(|step| StepCount {
                step,
                ..StepCount::default()
            })
            .into(),
        running: Vec::new(),
        incomplete: Vec::new(),
        not_in_plan: strays::find(table),
    };
    for (job, state) in &survey {
        let Some(count) = report.steps.iter_mut().find(|c| c.step == job.step) else {
            continue;
        };
        count.jobs += 1;
        let (state, why) = match state {
            Some(State::Complete) => {
                // It may have ended since the journal was read.
                running.remove(&job.id);
                count.complete += 1;
                continue;
            }
            _ if running.contains_key(&job.id) => {
                count.running += 1;
                report.complete &= state.is_none();
                continue;
            }
            None => {
                count.not_needed += 1;
                continue;
            }
            Some(State::Stale(why)) => {
                count.stale += 1;
                ("stale", why)
            }
            Some(State::Missing(why)) => {
                count.missing += 1;
                ("missing", why)
            }
        };
        report.complete = false;
        report.incomplete.push(Incomplete {
            id: job.id.clone(),
            state,
            why: why.clone(),
        });
    }
    report.running = running
        .into_iter()
        .map(|(id, since)| Running {
            id,
            seconds: now().saturating_sub(since),
        })
        .collect();
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Table => people_table(&report, args.jobs),
    };
    halocline_cli::print(&text)?;
    if report.complete {
        return Ok(Outcome::Done);
    }
    let running: usize = report.steps.iter().map(|c| c.running).sum();
    let left = report.incomplete.len() + running;
    let begun = report.steps.iter().any(|c| c.complete + c.stale > 0);
    Ok(Outcome::Incomplete(if begun || report.engine.is_some() {
        let jobs: usize = report.steps.iter().map(|c| c.jobs).sum();
        format!("{left} of {jobs} jobs are not complete")
    } else {
        format!("not started: {left} jobs to do")
    }))
}

fn people_table(report: &Report, jobs: bool) -> String {
    let mut out = match &report.engine {
        Some(who) => match report.seconds_left {
            Some(left) => format!(
                "running: {who}, about {} left\n",
                people(Duration::from_secs(left))
            ),
            None => format!("running: {who}\n"),
        },
        None => "not running\n".to_owned(),
    };
    let _ = writeln!(
        out,
        "{:14} {:>6} {:>9} {:>8} {:>8} {:>8} {:>11}",
        "step", "jobs", "complete", "running", "stale", "missing", "not needed"
    );
    for c in report.steps.iter().filter(|c| c.jobs > 0) {
        let _ = writeln!(
            out,
            "{:14} {:>6} {:>9} {:>8} {:>8} {:>8} {:>11}",
            c.step, c.jobs, c.complete, c.running, c.stale, c.missing, c.not_needed
        );
    }
    for job in &report.running {
        let _ = writeln!(
            out,
            "running  {} for {}",
            job.id,
            people(Duration::from_secs(job.seconds))
        );
    }
    if jobs {
        for job in &report.incomplete {
            let _ = writeln!(out, "{:8} {}: {}", job.state, job.id, job.why);
        }
    }
    out + &strays::lines(&report.not_in_plan)
}
