//! How far a run is, by estimated cost rather than by number of jobs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use halocline_plan::Step;

use crate::schedule::{Entry, Schedule, Standing};

/// Learns from ended jobs how many seconds an estimated second takes, per step.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Estimated and measured seconds of ended jobs.
    by_step: BTreeMap<Step, (f64, f64)>,
    said: Said,
}

/// The share of the work that was last said.
#[derive(Debug, Default)]
struct Said {
    share: f64,
    /// As it was estimated then.
    estimate: f64,
    /// Estimated seconds of all jobs when the estimate was last said as it is.
    work: f64,
}

impl Said {
    /// The share to say now. An estimate falls when the first job of a step shows how slow the step is, what is said does
    /// not: from there on, the rest of the way to 100 % stands for the rest of the work. But where counted rows make it
    /// more than twice the work, that would mislead for most of the run, and it starts afresh.
    fn next(&mut self, estimate: f64, work: f64) -> f64 {
        if work > 2.0 * self.work {
            self.share = estimate;
            self.work = work;
        } else if estimate > self.estimate {
            self.share = 1.0 - (1.0 - self.share) * (1.0 - estimate) / (1.0 - self.estimate);
        }
        self.estimate = estimate;
        self.share
    }
}

impl Pace {
    /// A job has ended after `wall`.
    pub(crate) fn ended(&mut self, entry: &Entry<'_>, wall: Duration) {
        let sums = self.by_step.entry(entry.job.step).or_default();
        sums.0 += entry.cost_seconds;
        sums.1 += wall.as_secs_f64();
    }

    /// Measured per estimated second: of the step, or of all steps before one of it has ended.
    /// `None` before anything has ended.
    fn factor(&self, step: Step) -> Option<f64> {
        let add = |a: (f64, f64), b: &(f64, f64)| (a.0 + b.0, a.1 + b.1);
        let (estimated, measured) = match self.by_step.get(&step) {
            Some(sums) => *sums,
            None => self.by_step.values().fold((0.0, 0.0), add),
        };
        (estimated > 0.0).then(|| measured / estimated)
    }

    /// Share of the work that is done, and the time until the rest is.
    pub(crate) fn progress(&mut self, schedule: &Schedule<'_>, now: Instant) -> Option<Progress> {
        let mut factors = BTreeMap::new();
        for step in Step::ALL {
            factors.insert(step, self.factor(step)?);
        }
        let whole = |entry: &Entry<'_>| entry.cost_seconds * factors[&entry.job.step];
        let left = |entry: &Entry<'_>| match (&entry.standing, entry.started) {
            (Standing::Running, Some(started)) => {
                // One that takes longer than expected ends some day: it counts as nearly done.
                let run = now.saturating_duration_since(started).as_secs_f64();
                (whole(entry) - run).max(whole(entry) / 20.0)
            }
            (Standing::Waiting | Standing::Running, _) => whole(entry),
            _ => 0.0,
        };
        let sum = |seconds: &dyn Fn(&Entry<'_>) -> f64| -> f64 {
            let reachable =
                |e: &&Entry<'_>| !matches!(e.standing, Standing::Failed(_) | Standing::Blocked(_));
            schedule.entries.iter().filter(reachable).map(seconds).sum()
        };
        let (all, rest) = (sum(&whole), sum(&left));
        let left = Duration::try_from_secs_f64(schedule.time_left(left)).ok()?;
        let done = if all > 0.0 { 1.0 - rest / all } else { 1.0 };
        let work = schedule.entries.iter().map(|e| e.cost_seconds).sum();
        Some(Progress {
            done: self.said.next(done, work),
            left,
        })
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Progress {
    /// Share of the estimated work, 0 to 1.
    pub(crate) done: f64,
    /// Expected time.
    pub(crate) left: Duration,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Rounded down, so that 100 % is the end.
        let percent = (self.done * 100.0).floor();
        write!(
            f,
            "{percent} % of the work, about {} left",
            people(self.left)
        )
    }
}

/// `45 s`, `12 min`, `3 h 20 min`.
pub(crate) fn people(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halocline_plan::Job;

    fn job(step: Step, n: u32) -> Job {
        let id = format!("{step}/{n}");
        Job {
            step,
            ..crate::schedule::tests::job(&id, &[], 1, 1, 1.0)
        }
    }

    #[test]
    fn a_step_slower_than_expected_takes_nothing_back() {
        let steps = [Step::Merge, Step::Validate];
        let jobs: Vec<Job> = steps
            .into_iter()
            .flat_map(|step| (0..4).map(move |n| job(step, n)))
            .collect();
        let rows = jobs.iter().map(|j| (j, String::new())).collect();
        let mut schedule = Schedule::new(rows, 1, 8);
        let mut pace = Pace::default();
        let now = Instant::now();
        let mut said = Vec::new();
        while let Some(i) = schedule.start(now) {
            schedule.done(i);
            let slow = schedule.entries[i].job.step == Step::Validate;
            let wall = Duration::from_secs(if slow { 10 } else { 1 });
            pace.ended(&schedule.entries[i], wall);
            said.push(pace.progress(&schedule, now).unwrap());
        }
        let shares: Vec<f64> = said.iter().map(|p| p.done).collect();
        assert!(shares.is_sorted(), "{shares:?}");
        // Half was said when the first slow one ended; the other three share the other half.
        for (share, expected) in shares[3..]
            .iter()
            .zip([0.5, 0.5, 4.0 / 6.0, 5.0 / 6.0, 1.0])
        {
            assert!((share - expected).abs() < 1e-9, "{shares:?}");
        }
        let left: Vec<u64> = said[3..].iter().map(|p| p.left.as_secs()).collect();
        assert_eq!(left, [4, 30, 20, 10, 0]);
    }

    #[test]
    fn far_more_work_than_was_thought_is_said() {
        let mut said = Said::default();
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(said.next(0.4, 10.0), 0.4));
        assert!(close(said.next(0.3, 15.0), 0.4));
        assert!(close(said.next(0.02, 900.0), 0.02));
        assert!(close(said.next(1.0, 900.0), 1.0));
    }

    #[test]
    fn times_for_people() {
        let shown = |s: f64| people(Duration::from_secs_f64(s));
        assert_eq!(
            [shown(0.25), shown(45.4), shown(700.0), shown(12_000.0)],
            ["0.2 s", "45 s", "12 min", "3 h 20 min"]
        );
    }
}
