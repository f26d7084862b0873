//! The `run` subcommand: starts jobs as room and order allow, collects them, records them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::bail;
use halocline_budget::{Budget, ByteSize, in_memory, rss};
use halocline_cli::{Outcome, exit};
use halocline_plan::{Job, Step, record_path};

use crate::args::RunArgs;
use crate::children::{self, Busy};
use crate::execute::{describe, execute, last_words};
use crate::facts::{self, Planned};
use crate::lock::Lock;
use crate::manifest::Manifest;
use crate::progress::{Pace, people};
use crate::record::Subject;
use crate::release::release_leftovers;
use crate::schedule::{Schedule, Standing};
use crate::sources::Changed;
use crate::status::Journal;
use crate::{record, select, show, strays};

/// First pause before a retry; each further one is four times as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long nothing is said while jobs run.
const SILENCE: Duration = Duration::from_secs(60);

/// Measured time per step.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    time: BTreeMap<Step, Duration>,
}

impl Tally {
    /// Wall time of all jobs of a step together.
    pub(crate) fn time_of(&self, step: Step) -> Option<Duration> {
        self.time.get(&step).copied()
    }
}

/// Runs everything that is not complete.
pub(crate) fn run(args: &RunArgs, budget: &Budget) -> anyhow::Result<Outcome> {
    let planned = facts::plan(&args.source, budget)?;
    facts::check_programs(&planned)?;
    let table = &planned.table;
    let targets = select::targets(table, &args.only, args.until)?;
    check_tmp_dir(args.tmp_dir.as_deref())?;
    let results = Path::new(&table.results);
    let lock = if args.dry_run {
        None
    } else {
        Some(Lock::take(results)?)
    };

    let work = select::work(table, targets, args.checksums);
    if work.jobs.is_empty() {
        if lock.is_some() {
            release_leftovers(table);
        }
        halocline_cli::print(&format!(
            "nothing to do: all {} results are complete\n",
            work.targets.len()
        ))?;
        halocline_cli::print(&strays::lines(&strays::find(table)))?;
        return Ok(Outcome::Done);
    }
    let (cores, memory_bytes) = room(args, work.jobs.iter().map(|(job, _)| *job))?;
    facts::check_rules(&planned, work.jobs.iter().map(|(job, _)| *job))?;
    if args.dry_run {
        let lines: Vec<String> = work
            .jobs
            .iter()
            .map(|(j, why)| format!("{}: {why}\n", j.id))
            .collect();
        halocline_cli::print(&format!(
            "{}{} jobs would run\n",
            lines.concat(),
            lines.len()
        ))?;
        return Ok(Outcome::Done);
    }
    // Also of jobs that this run may not come to: the report believes what is recorded.
    for (job, _) in &work.jobs {
        record::set_aside(&record_path(&table.results, &job.id))?;
    }
    let before: Vec<Step> = work
        .targets
        .iter()
        .filter(|j| work.complete.contains(j.id.as_str()))
        .map(|j| j.step)
        .collect();
    tracing::info!(
        "{} jobs to run, {} results complete; {cores} cores and {:#} for jobs",
        work.jobs.len(),
        work.complete.len(),
        ByteSize(memory_bytes)
    );
    let mut run = Run {
        planned: &planned,
        args,
        schedule: Schedule::new(work.jobs, cores, memory_bytes),
        journal: Journal::new(results),
        pace: Pace::default(),
        tally: Tally::default(),
        spoken: Instant::now(),
        incomplete_report: false,
        own_failure: None,
        may_be_damaged: false,
    };
    let busy = Busy::start();
    let outcome = run.all(&before);
    run.journal.end();
    if !children::stopping() {
        release_leftovers(table);
        halocline_cli::print(&strays::lines(&strays::find(table)))?;
    }
    drop(lock);
    drop(busy);
    if children::stopping() {
        // The signal thread ends the process with the signal's exit code.
        std::thread::sleep(Duration::from_secs(60));
    }
    outcome
}

/// The jobs get it as `TMPDIR`, which they pass over in silence where it is of no use: so it is said here.
fn check_tmp_dir(dir: Option<&Path>) -> anyhow::Result<()> {
    let Some(dir) = dir else { return Ok(()) };
    if !dir.is_dir() {
        bail!(
            "--tmp-dir `{}` is not a folder\nhint: make it, or name another",
            dir.display()
        );
    }
    if in_memory(dir) {
        tracing::warn!(
            "--tmp-dir `{}` is a tmpfs, where spilled bytes stay in memory: jobs spill where their output goes",
            dir.display()
        );
    }
    Ok(())
}

/// Cores and memory for jobs; every job must fit on its own.
fn room<'a>(args: &RunArgs, mut jobs: impl Iterator<Item = &'a Job>) -> anyhow::Result<(u32, u64)> {
    let machine_cores =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    let cores = args.cores.map_or(machine_cores, std::num::NonZeroU32::get);
    let machine = rss::machine();
    let half = machine.cgroup_limit.unwrap_or(u64::MAX).min(machine.total) / 2;
    let memory = args
        .memory
        .map_or(half, halocline_budget::MemoryLimit::bytes);
    if let Some(job) = jobs.find(|j| j.memory_limit_bytes > memory) {
        bail!(
            "{} may use {}, but all jobs together only {}\nhint: raise --memory, or lower `limits.{}.memory` in the configuration",
            job.id,
            ByteSize(job.memory_limit_bytes),
            ByteSize(memory),
            job.step
        );
    }
    Ok((cores, memory))
}

struct Run<'a> {
    planned: &'a Planned,
    args: &'a RunArgs,
    schedule: Schedule<'a>,
    journal: Journal,
    pace: Pace,
    tally: Tally,
    /// When something was last said.
    spoken: Instant,
    /// The report was written, but not everything it reports on is complete.
    incomplete_report: bool,
    /// What halo-drive itself could not do, of the first job that failed for it: not the job's fault.
    own_failure: Option<String>,
    /// A job that reads what others made ended with 1 or 2.
    may_be_damaged: bool,
}

/// Why a job's run came to nothing.
struct Failure {
    why: String,
    /// With which exit code, where it was the job that ended.
    code: Option<i32>,
    /// Whether it may go better another time.
    again: bool,
    /// Whether halo-drive itself failed: a log or a record that it could not write, a program that it could not start.
    own: bool,
}

impl Failure {
    fn of_drive(error: &anyhow::Error) -> Self {
        Self {
            why: format!("{error:#}"),
            code: None,
            again: true,
            own: true,
        }
    }
}

/// A job's end, as its thread reports it.
struct Ended {
    index: usize,
    result: anyhow::Result<ExitStatus>,
    wall: Duration,
}

impl<'a> Run<'a> {
    fn all(&mut self, before: &[Step]) -> anyhow::Result<Outcome> {
        let (sender, receiver) = mpsc::channel::<Ended>();
        let mut halted = false;
        std::thread::scope(|scope| -> anyhow::Result<()> {
            loop {
                halted = halted
                    || children::stopping()
                    || (self.args.stop_on_error && self.schedule.has_failed());
                while !halted && let Some(index) = self.schedule.start(Instant::now()) {
                    let job = self.schedule.entries[index].job;
                    tracing::info!("start {} ({})", job.id, self.schedule.entries[index].reason);
                    if let Err(error) = record::forget(&self.planned.table, job) {
                        self.failed(index, Failure::of_drive(&error));
                        break;
                    }
                    self.journal.started(&job.id);
                    let attempt = self.schedule.entries[index].failures;
                    let (sender, bin_dir) = (sender.clone(), &self.planned.bin_dir);
                    let (tmp_dir, checksums) = (self.args.tmp_dir.as_deref(), self.args.checksums);
                    scope.spawn(move || {
                        // This thread starts the process and lives as long as it does: the
                        // kernel's "kill me when my parent dies" is about the starting thread.
                        let started = Instant::now();
                        let damaged = if checksums && attempt == 0 {
                            remove_damaged(job)
                        } else {
                            Ok(())
                        };
                        let result = damaged.and_then(|()| execute(job, bin_dir, tmp_dir, attempt));
                        let _ = sender.send(Ended {
                            index,
                            result,
                            wall: started.elapsed(),
                        });
                    });
                }
                if self.schedule.running() == 0 && (halted || self.schedule.is_over()) {
                    return Ok(());
                }
                let pause = match self.schedule.next_retry() {
                    Some(time) if !halted => time.saturating_duration_since(Instant::now()),
                    _ => Duration::from_secs(1),
                };
                match receiver
                    .recv_timeout(pause.clamp(Duration::from_millis(10), Duration::from_secs(1)))
                {
                    Ok(ended) => self.ended(ended),
                    Err(RecvTimeoutError::Timeout) => self.say_alive(),
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        })?;
        let entries = self.schedule.entries.iter();
        let not_done = entries.filter(|e| e.standing != Standing::Done).count();
        if not_done > 0 && !halted && before.contains(&Step::Report) {
            self.report_again();
        }
        halocline_cli::print(&show::summary(&self.schedule, &self.tally, before))?;
        let incomplete = not_done + usize::from(self.incomplete_report);
        if children::stopping() {
            halocline_cli::print("stopped by a signal; the same command goes on from here\n")?;
        }
        if incomplete == 0 {
            halocline_cli::print(&format!(
                "complete: {} results\n",
                before.len() + self.results()
            ))?;
            return Ok(Outcome::Done);
        }
        let incomplete = format!(
            "{incomplete} of {} jobs are incomplete",
            self.schedule.entries.len()
        );
        if let Some(own) = &self.own_failure {
            bail!("{own}\nhint: {incomplete}; the same command runs them again, and only them");
        }
        let damaged = if self.may_be_damaged && !self.args.checksums {
            "; with --checksums also those whose outputs were damaged since, which may be why a job failed"
        } else {
            ""
        };
        Ok(Outcome::Broken(format!(
            "{incomplete}\nhint: the same command runs them again, and only them{damaged}"
        )))
    }

    /// A report that was complete before a job failed may speak of what is no longer there: it is written again, as the
    /// one of Snakemake is, and not recorded.
    fn report_again(&self) {
        let Some(report) = self.planned.table.of(Step::Report).next() else {
            return;
        };
        let tmp_dir = self.args.tmp_dir.as_deref();
        let written = record::forget(&self.planned.table, report)
            .and_then(|()| execute(report, &self.planned.bin_dir, tmp_dir, 0));
        match written {
            Ok(status) if status.success() => {}
            Ok(status) => tracing::error!(
                "{}: {}{}",
                report.id,
                describe(status),
                last_words(&report.log)
            ),
            Err(error) => tracing::error!("{}: {error:#}", report.id),
        }
    }

    fn results(&self) -> usize {
        let result = |step: Step| {
            matches!(
                step,
                Step::MergeLibrary | Step::Merge | Step::Validate | Step::Report
            )
        };
        self.schedule
            .entries
            .iter()
            .filter(|e| e.standing == Standing::Done && result(e.job.step))
            .count()
    }

    /// Takes note of a job's end: complete, to be tried again, or failed for good.
    fn ended(&mut self, ended: Ended) {
        let Ended {
            index,
            result,
            wall,
        } = ended;
        let job: &'a Job = self.schedule.entries[index].job;
        self.journal.ended(&job.id);
        *self.tally.time.entry(job.step).or_default() += wall;
        let failure = match result {
            Ok(status) if status.success() => {
                if job.step == Step::Report && !self.schedule.needs_done(index) {
                    // Written, but not of everything: not recorded, so that it is written again.
                    self.schedule.done(index);
                    self.incomplete_report = true;
                    return;
                }
                match self.complete(job, wall) {
                    Ok(()) => {
                        self.schedule.done(index);
                        self.estimate_again(job);
                        self.pace.ended(&self.schedule.entries[index], wall);
                        self.say_done(job, wall);
                        return;
                    }
                    Err(failure) => failure,
                }
            }
            Ok(_) if children::stopping() => {
                self.schedule.stopped(index);
                return;
            }
            Ok(status) => Failure {
                why: format!("{}{}", describe(status), last_words(&job.log)),
                code: status.code(),
                again: status.code() != Some(i32::from(exit::BROKEN)),
                own: false,
            },
            Err(error) => Failure::of_drive(&error),
        };
        self.failed(index, failure);
    }

    /// Takes note of a job's failure: to be tried again, or for good.
    fn failed(&mut self, index: usize, failure: Failure) {
        let Failure {
            why,
            code,
            again,
            own,
        } = failure;
        let job: &'a Job = self.schedule.entries[index].job;
        let failures = self.schedule.entries[index].failures;
        if again && failures < self.args.retries {
            let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 4_u32.saturating_pow(failures));
            tracing::warn!("{}: {why}; again in {}", job.id, people(pause));
            self.schedule.retry(index, Instant::now() + pause);
        } else {
            tracing::error!("{}: {why}; log: {}", job.id, job.log);
            // What reads a damaged file says so as what it has found (1) or as what it could not read (2).
            let by_itself = [exit::BROKEN, exit::USAGE].map(|code| Some(i32::from(code)));
            self.may_be_damaged |= by_itself.contains(&code) && !job.needs.is_empty();
            if own && self.own_failure.is_none() {
                self.own_failure = Some(format!("{}: {why}", job.id));
            }
            self.schedule.failed(index, why);
        }
    }

    /// Records that a job which ended well is complete.
    fn complete(&self, job: &Job, wall: Duration) -> Result<(), Failure> {
        let subject = Subject::new(&self.planned.table, job);
        let record =
            record::examine(&subject, Some(wall.as_secs_f64())).map_err(|error| Failure {
                why: format!("{error:#}"),
                code: None,
                again: !error.is::<Changed>(),
                own: false,
            })?;
        record::save(&subject, &record).map_err(|error| Failure::of_drive(&error))
    }

    /// Once a job has made rows countable, costs are estimated from the counts.
    fn estimate_again(&mut self, job: &Job) {
        let counts = match job.step {
            Step::SplitInput | Step::MergeLibrary | Step::SplitLibrary => true,
            // The last batch of its library.
            Step::Halogenate | Step::Transform => !self.schedule.entries.iter().any(|e| {
                e.job.step == job.step
                    && e.job.library() == job.library()
                    && matches!(e.standing, Standing::Waiting | Standing::Running)
            }),
            _ => false,
        };
        if counts {
            match self.planned.costs() {
                Ok(costs) => self.schedule.set_costs(&costs),
                // Of no consequence for the work itself.
                Err(error) => tracing::debug!("costs stay as they are: {error:#}"),
            }
        }
    }

    fn say_done(&mut self, job: &Job, wall: Duration) {
        let entries = &self.schedule.entries;
        let done = entries
            .iter()
            .filter(|e| e.standing == Standing::Done)
            .count();
        tracing::info!(
            "done  {} in {} ({done} of {}{})",
            job.id,
            people(wall),
            entries.len(),
            self.progress()
        );
        self.spoken = Instant::now();
    }

    /// A word now and then while nothing ends.
    fn say_alive(&mut self) {
        if self.args.common.no_progress || self.spoken.elapsed() < SILENCE {
            return;
        }
        let now = Instant::now();
        let running: Vec<String> = self
            .schedule
            .entries
            .iter()
            .filter(|e| e.standing == Standing::Running)
            .map(|e| {
                let run = e.started.map(|s| now.saturating_duration_since(s));
                format!("{} for {}", e.job.id, people(run.unwrap_or_default()))
            })
            .collect();
        let named = running.iter().take(3).cloned().collect::<Vec<_>>();
        let more = if running.len() > 3 { ", …" } else { "" };
        tracing::info!(
            "{} running: {}{more}{}",
            running.len(),
            named.join(", "),
            self.progress()
        );
        self.spoken = now;
    }

    /// How far the run is, for a line of the log and for `status`; empty when it cannot be known.
    fn progress(&mut self) -> String {
        let Some(progress) = self.pace.progress(&self.schedule, Instant::now()) else {
            return String::new();
        };
        self.journal.expect(progress.left);
        if self.args.common.no_progress {
            return String::new();
        }
        format!(", {progress}")
    }
}

/// Removes shard tables of an earlier run of the job whose bytes are not those it wrote.
fn remove_damaged(job: &Job) -> anyhow::Result<()> {
    let manifests = job.outputs.get("manifest").into_iter().flatten();
    let earlier = manifests.filter_map(|path| Manifest::read(path).ok());
    earlier.into_iter().try_for_each(|m| m.remove_damaged())
}
