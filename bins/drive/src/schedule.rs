//! Order and admission: which job starts next, given cores, memory and what has ended. Knows no
//! processes and no clock of its own, so that it can be tested without either.
//!
//! Merges and validations come first: they free the disk their shards take. Then jobs on the
//! costliest remaining path. A job that does not fit lets smaller ones pass,
//! but only [`MOST_PASSES`] of them: then everything waits for it.

use std::collections::BTreeMap;
use std::time::Instant;

use halocline_plan::{Job, Step};

/// How many jobs may overtake one that waits for room.
const MOST_PASSES: u32 = 16;

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Waits for others, for room, or for its time.
    Waiting,
    Running,
    Done,
    /// Failed for good.
    Failed(String),
    /// Needs one that failed.
    Blocked(String),
}

#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) job: &'a Job,
    /// Why it runs.
    pub(crate) reason: String,
    pub(crate) standing: Standing,
    /// Runs that failed.
    pub(crate) failures: u32,
    /// Estimated CPU seconds, as well as they are known now.
    pub(crate) cost_seconds: f64,
    /// When its last run began.
    pub(crate) started: Option<Instant>,
    needs: Vec<usize>,
    rank: f64,
    not_before: Option<Instant>,
    passes: u32,
}

impl Entry<'_> {
    /// Whether shard tables may go once it and what follows it are done.
    fn frees_disk(&self) -> bool {
        matches!(self.job.step, Step::Merge | Step::Validate)
    }
}

/// Jobs to run and the room they share.
#[derive(Debug)]
pub(crate) struct Schedule<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    cores: u32,
    memory_bytes: u64,
    used_cores: u32,
    used_memory: u64,
}

impl<'a> Schedule<'a> {
    /// Jobs in table order (each after what it needs), with the reason why each runs.
    pub(crate) fn new(jobs: Vec<(&'a Job, String)>, cores: u32, memory_bytes: u64) -> Self {
        let index: BTreeMap<&str, usize> = jobs
            .iter()
            .enumerate()
            .map(|(i, (j, _))| (j.id.as_str(), i))
            .collect();
        let entries: Vec<Entry<'a>> = jobs
            .iter()
            .map(|(job, reason)| Entry {
                job,
                reason: reason.clone(),
                standing: Standing::Waiting,
                failures: 0,
                needs: job
                    .needs
                    .iter()
                    .filter_map(|n| index.get(n.as_str()).copied())
                    .collect(),
                cost_seconds: job.cost_seconds,
                started: None,
                rank: 0.0,
                not_before: None,
                passes: 0,
            })
            .collect();
        let mut schedule = Self {
            entries,
            cores,
            memory_bytes,
            used_cores: 0,
            used_memory: 0,
        };
        schedule.rank();
        schedule
    }

    /// Takes new estimates of costs, by job.
    pub(crate) fn set_costs(&mut self, costs: &BTreeMap<String, f64>) {
        for entry in &mut self.entries {
            if let Some(cost) = costs.get(&entry.job.id) {
                entry.cost_seconds = *cost;
            }
        }
        self.rank();
    }

    fn rank(&mut self) {
        let paths = self.longest_paths(|entry| entry.cost_seconds);
        for (entry, path) in self.entries.iter_mut().zip(paths) {
            entry.rank = path;
        }
    }

    /// Per job, the longest path of `seconds` from its start to the end of everything.
    fn longest_paths(&self, seconds: impl Fn(&Entry<'a>) -> f64) -> Vec<f64> {
        let mut paths = vec![0.0_f64; self.entries.len()];
        // Dependents stand behind what they need, so one pass from the end sees each path whole.
        for (i, entry) in self.entries.iter().enumerate().rev() {
            paths[i] += seconds(entry);
            for need in &entry.needs {
                paths[*need] = paths[*need].max(paths[i]);
            }
        }
        paths
    }

    /// Time until everything that can still run has run, when jobs take `seconds` from now on:
    /// never less than cores, memory or the longest path allow.
    pub(crate) fn time_left(&self, seconds: impl Fn(&Entry<'a>) -> f64) -> f64 {
        let left = |entry: &Entry<'a>| match entry.standing {
            Standing::Waiting | Standing::Running => seconds(entry),
            _ => 0.0,
        };
        let (mut of_cores, mut of_memory) = (0.0, 0.0);
        for entry in &self.entries {
            let seconds = left(entry);
            of_cores += seconds * f64::from(entry.job.threads.min(self.cores));
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let share = entry.job.memory_limit_bytes as f64 / self.memory_bytes.max(1) as f64;
            of_memory += seconds * share;
        }
        let paths = self.longest_paths(left);
        paths.into_iter().fold(
            (of_cores / f64::from(self.cores.max(1))).max(of_memory),
            f64::max,
        )
    }

    /// The next job to start now, if any fits; it counts as running from here on.
    pub(crate) fn start(&mut self, now: Instant) -> Option<usize> {
        let mut ready: Vec<usize> = (0..self.entries.len())
            .filter(|i| self.is_ready(*i, now))
            .collect();
        ready.sort_by(|a, b| {
            let (a_entry, b_entry) = (&self.entries[*a], &self.entries[*b]);
            (b_entry.frees_disk().cmp(&a_entry.frees_disk()))
                .then(b_entry.rank.total_cmp(&a_entry.rank))
                .then(a.cmp(b))
        });
        let mut passed: Vec<usize> = Vec::new();
        for i in ready {
            if self.fits(i) {
                for p in passed {
                    self.entries[p].passes += 1;
                }
                self.used_cores += self.threads(i);
                self.used_memory += self.entries[i].job.memory_limit_bytes;
                self.entries[i].standing = Standing::Running;
                self.entries[i].started = Some(now);
                return Some(i);
            }
            if self.entries[i].passes >= MOST_PASSES {
                return None;
            }
            passed.push(i);
        }
        None
    }

    /// The earliest time at which a job that waits for its time may start.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        let waiting = self
            .entries
            .iter()
            .filter(|e| e.standing == Standing::Waiting);
        waiting.filter_map(|e| e.not_before).min()
    }

    /// A running job has ended well.
    pub(crate) fn done(&mut self, i: usize) {
        self.release(i);
        self.entries[i].standing = Standing::Done;
    }

    /// A running job has failed and will be tried again at `not_before`.
    pub(crate) fn retry(&mut self, i: usize, not_before: Instant) {
        self.release(i);
        self.entries[i].failures += 1;
        self.entries[i].not_before = Some(not_before);
        self.entries[i].standing = Standing::Waiting;
    }

    /// A running job has failed for good; what needs it is blocked.
    pub(crate) fn failed(&mut self, i: usize, why: String) {
        self.release(i);
        self.entries[i].failures += 1;
        self.entries[i].standing = Standing::Failed(why);
        for k in i + 1..self.entries.len() {
            let entry = &self.entries[k];
            if entry.standing != Standing::Waiting || Self::is_soft(entry) {
                continue;
            }
            let lost = |n: &usize| {
                matches!(
                    self.entries[*n].standing,
                    Standing::Failed(_) | Standing::Blocked(_)
                )
            };
            if let Some(&need) = entry.needs.iter().find(|n| lost(n)) {
                let cause = match &self.entries[need].standing {
                    Standing::Blocked(root) => root.clone(),
                    _ => self.entries[need].job.id.clone(),
                };
                self.entries[k].standing = Standing::Blocked(cause);
            }
        }
    }

    /// A running job was stopped by us: it waits again.
    pub(crate) fn stopped(&mut self, i: usize) {
        self.release(i);
        self.entries[i].standing = Standing::Waiting;
    }

    pub(crate) fn running(&self) -> usize {
        self.entries
            .iter()
            .filter(|e| e.standing == Standing::Running)
            .count()
    }

    /// Whether a job has failed for good.
    pub(crate) fn has_failed(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|e| matches!(e.standing, Standing::Failed(_)))
    }

    /// Whether nothing is left that could ever start.
    pub(crate) fn is_over(&self) -> bool {
        self.entries
            .iter()
            .all(|e| !matches!(e.standing, Standing::Waiting | Standing::Running))
    }

    /// Whether everything a job needs is complete; a report may run without.
    pub(crate) fn needs_done(&self, i: usize) -> bool {
        self.entries[i]
            .needs
            .iter()
            .all(|n| self.entries[*n].standing == Standing::Done)
    }

    /// The report says what failed, so it runs after failures too.
    fn is_soft(entry: &Entry<'_>) -> bool {
        entry.job.step == Step::Report
    }

    fn is_ready(&self, i: usize, now: Instant) -> bool {
        let entry = &self.entries[i];
        let settled = |n: &usize| match self.entries[*n].standing {
            Standing::Done => true,
            Standing::Failed(_) | Standing::Blocked(_) => Self::is_soft(entry),
            Standing::Waiting | Standing::Running => false,
        };
        entry.standing == Standing::Waiting
            && entry.not_before.is_none_or(|t| t <= now)
            && entry.needs.iter().all(settled)
    }

    /// A job with more threads than there are cores runs alone.
    fn threads(&self, i: usize) -> u32 {
        self.entries[i].job.threads.min(self.cores)
    }

    fn fits(&self, i: usize) -> bool {
        self.used_cores + self.threads(i) <= self.cores
            && self.used_memory + self.entries[i].job.memory_limit_bytes <= self.memory_bytes
    }

    fn release(&mut self, i: usize) {
        self.used_cores -= self.threads(i);
        self.used_memory -= self.entries[i].job.memory_limit_bytes;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;

    pub(crate) fn job(id: &str, needs: &[&str], threads: u32, memory: u64, cost: f64) -> Job {
        Job {
            id: id.into(),
            step: if id == "report" {
                Step::Report
            } else {
                Step::Merge
            },
            name: id.into(),
            class: None,
            depth: None,
            rule: None,
            batch: None,
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            command: vec![],
            threads,
            memory_limit_bytes: memory,
            mem_mb: 0,
            disk_mb: 0,
            runtime_minutes: 1,
            cost_seconds: cost,
            log: String::new(),
            benchmark: String::new(),
            needs: needs.iter().map(|n| (*n).to_owned()).collect(),
            shard_tables: None,
            releases: vec![],
            provenance: BTreeMap::new(),
            key: String::new(),
        }
    }

    fn schedule(jobs: &[Job], cores: u32, memory: u64) -> Schedule<'_> {
        Schedule::new(
            jobs.iter().map(|j| (j, String::new())).collect(),
            cores,
            memory,
        )
    }

    fn start_all(s: &mut Schedule<'_>) -> Vec<String> {
        let now = Instant::now();
        std::iter::from_fn(|| s.start(now))
            .collect::<Vec<_>>()
            .iter()
            .map(|i| s.entries[*i].job.id.clone())
            .collect()
    }

    #[test]
    fn cores_and_memory_both_bound_what_runs() {
        let jobs: Vec<Job> = (0..8)
            .map(|i| job(&format!("j{i}"), &[], 1, 100, 1.0))
            .collect();
        assert_eq!(start_all(&mut schedule(&jobs, 3, 10_000)).len(), 3);
        assert_eq!(start_all(&mut schedule(&jobs, 99, 250)).len(), 2);
        let wide = [job("wide", &[], 16, 1, 1.0), job("small", &[], 1, 1, 0.5)];
        assert_eq!(start_all(&mut schedule(&wide, 4, 10)), ["wide"]);
    }

    #[test]
    fn the_costliest_path_comes_first() {
        let jobs = [
            job("short", &[], 1, 1, 5.0),
            job("head", &[], 1, 1, 1.0),
            job("tail", &["head"], 1, 1, 10.0),
        ];
        let mut s = schedule(&jobs, 1, 10);
        assert_eq!(start_all(&mut s), ["head"]);
        s.done(1);
        assert_eq!(start_all(&mut s), ["tail"]);
    }

    #[test]
    fn failure_blocks_what_depends_on_it_and_nothing_else_and_the_report_still_runs() {
        let jobs = [
            job("a", &[], 1, 1, 1.0),
            job("b", &["a"], 1, 1, 1.0),
            job("c", &["b"], 1, 1, 1.0),
            job("d", &[], 1, 1, 1.0),
            job("report", &["b", "c", "d"], 1, 1, 1.0),
        ];
        let mut s = schedule(&jobs, 4, 10);
        assert_eq!(start_all(&mut s), ["a", "d"]);
        s.failed(0, "exit 1".into());
        assert_eq!(s.entries[1].standing, Standing::Blocked("a".into()));
        assert_eq!(s.entries[2].standing, Standing::Blocked("a".into()));
        assert!(start_all(&mut s).is_empty() && !s.is_over());
        s.done(3);
        assert_eq!(start_all(&mut s), ["report"]);
        assert!(!s.needs_done(4));
        s.done(4);
        assert!(s.is_over());
    }

    #[test]
    fn retries_wait_for_their_time_and_free_their_room_meanwhile() {
        let jobs = [job("a", &[], 1, 10, 2.0), job("b", &[], 1, 10, 1.0)];
        let mut s = schedule(&jobs, 1, 10);
        assert_eq!(start_all(&mut s), ["a"]);
        let later = Instant::now() + Duration::from_secs(60);
        s.retry(0, later);
        assert_eq!(s.next_retry(), Some(later));
        assert_eq!(start_all(&mut s), ["b"]);
        s.done(1);
        assert_eq!(s.start(Instant::now()), None);
        assert_eq!(s.start(later), Some(0));
        assert_eq!(s.entries[0].failures, 1);
    }

    #[test]
    fn a_large_job_is_overtaken_only_so_often() {
        let mut jobs = vec![
            job("running", &[], 1, 50, 9.0),
            job("large", &[], 1, 100, 8.0),
        ];
        jobs.extend((0..100).map(|i| job(&format!("s{i}"), &[], 1, 10, 1.0)));
        let mut s = schedule(&jobs, 99, 100);
        let mut overtaken = 0;
        let now = Instant::now();
        assert_eq!(s.start(now), Some(0));
        while let Some(i) = s.start(now) {
            assert_ne!(i, 1);
            overtaken += 1;
            s.done(i);
        }
        assert_eq!(overtaken, MOST_PASSES);
        s.done(0);
        assert_eq!(s.start(now), Some(1));
    }

    #[test]
    fn what_frees_disk_comes_before_what_fills_it() {
        let mut jobs = [
            job("done", &[], 1, 1, 1.0),
            job("fill", &[], 1, 1, 100.0),
            job("merge", &["done"], 1, 1, 1.0),
        ];
        jobs[0].step = Step::Transform;
        jobs[1].step = Step::Transform;
        let mut s = schedule(&jobs, 1, 10);
        assert_eq!(start_all(&mut s), ["fill"]);
        s.done(1);
        assert_eq!(start_all(&mut s), ["done"]);
        let mut s = schedule(&jobs, 2, 10);
        assert_eq!(start_all(&mut s), ["fill", "done"]);
        s.done(0);
        s.stopped(1);
        s.cores = 1;
        assert_eq!(start_all(&mut s), ["merge"]);
    }

    #[test]
    fn new_costs_change_the_order() {
        let jobs = [job("a", &[], 1, 1, 5.0), job("b", &[], 1, 1, 1.0)];
        let mut s = schedule(&jobs, 1, 10);
        s.set_costs(&BTreeMap::from([("b".to_owned(), 9.0)]));
        assert_eq!(start_all(&mut s), ["b"]);
    }

    #[test]
    fn time_left_is_bound_by_cores_memory_and_the_longest_path() {
        let left = |s: &Schedule<'_>| s.time_left(|entry| entry.cost_seconds);
        let equal = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        let jobs: Vec<Job> = (0..8)
            .map(|i| job(&format!("j{i}"), &[], 1, 100, 10.0))
            .collect();
        equal(left(&schedule(&jobs, 4, 800)), 20.0);
        equal(left(&schedule(&jobs, 8, 200)), 40.0);
        let chain = [job("a", &[], 1, 1, 10.0), job("b", &["a"], 1, 1, 10.0)];
        let mut s = schedule(&chain, 8, 800);
        equal(left(&s), 20.0);
        assert_eq!(s.start(Instant::now()), Some(0));
        s.done(0);
        equal(left(&s), 10.0);
    }
}
