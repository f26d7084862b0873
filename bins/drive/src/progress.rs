//! How far a run is, by estimated cost rather than by number of jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use halocline_plan::{Job, Step};

/// Learns from ended jobs how many seconds an estimated second takes, per step.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Estimated and measured seconds of ended jobs.
    by_step: BTreeMap<Step, (f64, f64)>,
}

impl Pace {
    /// A job has ended after `wall`.
    pub(crate) fn ended(&mut self, job: &Job, wall: Duration) {
        let sums = self.by_step.entry(job.step).or_default();
        sums.0 += job.cost_seconds;
        sums.1 += wall.as_secs_f64();
    }

    /// Expected seconds of a job on one slot. `None` before anything has ended.
    fn seconds(&self, job: &Job) -> Option<f64> {
        let (estimated, measured) = match self.by_step.get(&job.step) {
            Some(sums) => *sums,
            None => self
                .by_step
                .values()
                .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1)),
        };
        (estimated > 0.0).then(|| job.cost_seconds * measured / estimated)
    }

    /// Time until the jobs of `left` have run on `slots` slots.
    pub(crate) fn remaining<'a>(
        &self,
        left: impl Iterator<Item = &'a Job>,
        slots: usize,
    ) -> Option<Duration> {
        let mut total = 0.0;
        let mut longest: f64 = 0.0;
        for job in left {
            let seconds = self.seconds(job)?;
            total += seconds;
            longest = longest.max(seconds);
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let shared = total / slots.max(1) as f64;
        Duration::try_from_secs_f64(shared.max(longest)).ok()
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

    #[test]
    fn times_for_people() {
        let shown = |s: f64| people(Duration::from_secs_f64(s));
        assert_eq!(
            [shown(0.25), shown(45.4), shown(700.0), shown(12_000.0)],
            ["0.2 s", "45 s", "12 min", "3 h 20 min"]
        );
    }
}
