//! Who runs which stage when. A few worker threads look for the most downstream stage that can
//! run; when a stage cannot get its bytes, the same thread runs the stages after it until it can.
//!
//! Progress: maps start items in order, so the item a consumer waits for is queued or running.
//! When every worker waits, buffering stages are squeezed; when every worker waits again, the pool
//! is too small and the run ends with the last refusal.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use halocline_budget::{OutOfBudget, Pool, Reservation, release_idle_pages};

use crate::{CascadeError, Pressure};

/// What became of an attempt to run a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It did something; look again from the most downstream stage.
    Ran,
    /// It waits for input, room or bytes, or another thread has it.
    NotReady,
    /// It has ended.
    Done,
}

pub(crate) trait Runnable<E>: Send + Sync {
    fn name(&self) -> &'static str;
    /// `index` is this stage's place in the engine.
    fn step(&self, engine: &Engine<'_, E>, index: usize) -> Step;
}

/// How often a stage ran and how long, summed over threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageReport {
    /// The stage.
    pub name: &'static str,
    /// Items it took.
    pub runs: u64,
    /// Time inside the stage, stages it ran on the way included.
    pub busy: Duration,
}

#[derive(Default)]
struct Times {
    runs: AtomicU64,
    nanoseconds: AtomicU64,
}

pub(crate) struct Engine<'env, E> {
    pub(crate) pool: Pool,
    pub(crate) pressure: Pressure,
    threads: usize,
    stages: Vec<Box<dyn Runnable<E> + 'env>>,
    times: Vec<Times>,
    /// Items on links or inside stages.
    in_flight: AtomicUsize,
    /// Buffering stages are to pass on what they have.
    squeeze: AtomicBool,
    shared: Mutex<Shared<E>>,
    changed: Condvar,
}

struct Shared<E> {
    /// Raised by everything that may let a stage run.
    epoch: u64,
    waiting: usize,
    stopped: bool,
    error: Option<CascadeError<E>>,
    refusal: Option<(&'static str, OutOfBudget)>,
    panic: Option<Box<dyn Any + Send>>,
}

impl<'env, E: Send> Engine<'env, E> {
    pub(crate) fn new(
        pool: Pool,
        pressure: Pressure,
        threads: usize,
        stages: Vec<Box<dyn Runnable<E> + 'env>>,
    ) -> Self {
        let times = stages.iter().map(|_| Times::default()).collect();
        let shared = Shared {
            epoch: 0,
            waiting: 0,
            stopped: false,
            error: None,
            refusal: None,
            panic: None,
        };
        Self {
            pool,
            pressure,
            threads: threads.max(1),
            stages,
            times,
            in_flight: AtomicUsize::new(0),
            squeeze: AtomicBool::new(false),
            shared: Mutex::new(shared),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn run(self) -> Result<Vec<StageReport>, CascadeError<E>> {
        std::thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(|| self.work());
            }
            self.work();
        });
        let report = self
            .stages
            .iter()
            .zip(&self.times)
            .map(|(stage, times)| StageReport {
                name: stage.name(),
                runs: times.runs.load(Ordering::Relaxed),
                busy: Duration::from_nanos(times.nanoseconds.load(Ordering::Relaxed)),
            })
            .collect();
        let shared = self
            .shared
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = shared.panic {
            resume_unwind(panic);
        }
        shared.error.map_or(Ok(report), Err)
    }

    fn work(&self) {
        let worked = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let epoch = self.shared().epoch;
                match self.run_from(0) {
                    Step::Ran => {}
                    Step::Done => self.stop(None),
                    Step::NotReady => self.wait(epoch),
                }
                if self.is_stopped() {
                    return;
                }
            }
        }));
        if let Err(panic) = worked {
            // The others must not wait for a thread that is gone; `run` goes on with the panic.
            self.shared().panic.get_or_insert(panic);
            self.stop(None);
        }
    }

    /// Runs the most downstream stage at or after `first` that can run.
    fn run_from(&self, first: usize) -> Step {
        let last = self.stages.len() - 1;
        for (index, stage) in self.stages.iter().enumerate().skip(first).rev() {
            let start = Instant::now();
            match stage.step(self, index) {
                Step::Ran => {
                    let spent = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    self.times[index]
                        .nanoseconds
                        .fetch_add(spent, Ordering::Relaxed);
                    self.times[index].runs.fetch_add(1, Ordering::Relaxed);
                    self.notify();
                    return Step::Ran;
                }
                Step::Done if index == last => return Step::Done,
                Step::Done | Step::NotReady => {}
            }
        }
        Step::NotReady
    }

    fn shared(&self) -> MutexGuard<'_, Shared<E>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed that may let a waiting stage run.
    pub(crate) fn notify(&self) {
        self.shared().epoch += 1;
        self.changed.notify_all();
    }

    /// Sleeps until something changed since `epoch`.
    fn wait(&self, epoch: u64) {
        if self.shared().epoch != epoch {
            return;
        }
        // What this thread's heap keeps for its next stage, another thread may need now.
        release_idle_pages();
        let mut shared = self.shared();
        if shared.epoch != epoch || shared.stopped {
            return;
        }
        if shared.waiting + 1 == self.threads {
            // Nobody is left to change anything.
            if self.squeeze.swap(true, Ordering::Relaxed) {
                let (stage, source) = shared.refusal.take().unwrap_or_else(|| {
                    panic!("a cascade stalled without a refusal: a stage lost an item")
                });
                shared
                    .error
                    .get_or_insert(CascadeError::Budget { stage, source });
                shared.stopped = true;
            }
            shared.epoch += 1;
            self.changed.notify_all();
            return;
        }
        shared.waiting += 1;
        while shared.epoch == epoch && !shared.stopped {
            shared = self
                .changed
                .wait(shared)
                .unwrap_or_else(PoisonError::into_inner);
        }
        shared.waiting -= 1;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.shared().stopped
    }

    fn stop(&self, error: Option<CascadeError<E>>) {
        let mut shared = self.shared();
        if let Some(error) = error {
            shared.error.get_or_insert(error);
        }
        shared.stopped = true;
        shared.epoch += 1;
        self.changed.notify_all();
    }

    /// Ends the run with this error, unless another came first.
    pub(crate) fn fail(&self, error: CascadeError<E>) {
        self.stop(Some(error));
    }

    /// A reservation of `bytes` for the stage, or nothing: then the refusal is remembered.
    pub(crate) fn reserve(&self, stage: &'static str, bytes: u64) -> Option<Reservation> {
        let mut held = self.pool.claim(stage);
        match held.try_grow(bytes) {
            Ok(()) => Some(held),
            Err(refusal) => {
                self.shared().refusal = Some((stage, refusal));
                None
            }
        }
    }

    /// Makes `held` at least `bytes`, running later stages or waiting until there is room. False
    /// when the run has ended instead.
    pub(crate) fn grow(&self, held: &mut Reservation, bytes: u64, index: usize) -> bool {
        loop {
            let epoch = self.shared().epoch;
            let missing = bytes.saturating_sub(held.bytes());
            let Err(refusal) = held.try_grow(missing) else {
                return true;
            };
            self.shared().refusal = Some((self.stages[index].name(), refusal));
            let later = index + 1;
            if later >= self.stages.len() || self.run_from(later) != Step::Ran {
                self.wait(epoch);
            }
            if self.is_stopped() {
                return false;
            }
        }
    }

    pub(crate) fn entered(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn left(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether new work may start: always, but one item at a time when the machine is short.
    pub(crate) fn may_start(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 || !self.pressure.is_high()
    }

    /// Whether buffering stages are to pass on what they have before their limit.
    pub(crate) fn hurry(&self) -> bool {
        self.squeeze.load(Ordering::Relaxed) || self.pressure.is_high()
    }

    /// New work was started: the squeeze has helped.
    pub(crate) fn relax(&self) {
        self.squeeze.store(false, Ordering::Relaxed);
    }
}
