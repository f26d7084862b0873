//! The three kinds of stage: a source, a map that runs on several threads, and a serial stage that
//! sees items in order and may hold a state.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use halocline_budget::Reservation;

use crate::engine::{Engine, Runnable, Step};
use crate::link::{Item, Link, Taken};
use crate::{After, CascadeError, Weigh};

/// Where a serial stage puts what it passes on.
pub struct Emit<'a, U> {
    put: &'a mut dyn FnMut(U),
}

impl<U> Emit<'_, U> {
    /// Passes an item to the next stage. May run later stages on this thread, and wait, until the
    /// item's bytes are reserved.
    pub fn push(&mut self, item: U) {
        (self.put)(item);
    }
}

/// Why a stage is asked to pass on what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its byte limit is reached.
    Limit,
    /// Memory is short; passing on less than a full load is welcome, not required.
    Pressure,
    /// There are no more items.
    End,
}

/// A serial stage: takes items in order, holds a state, passes items on when it likes and when it
/// must.
pub trait Accumulate: Send {
    /// What it takes.
    type In;
    /// What it passes on.
    type Out;
    /// Its error.
    type Error;

    /// Takes an item.
    ///
    /// # Errors
    /// The stage's own; the run ends.
    fn take(&mut self, item: Self::In, out: &mut Emit<'_, Self::Out>) -> Result<(), Self::Error>;

    /// Bytes the state holds now. They are reserved after each item; an item's own bytes pass
    /// over to the state or to what is emitted without a gap.
    fn bytes(&self) -> u64;

    /// Passes on what the state holds. With [`After::Flush`] the state must be below its limit
    /// afterwards unless `why` is [`Why::Pressure`].
    ///
    /// # Errors
    /// The stage's own; the run ends.
    fn pass(&mut self, why: Why, out: &mut Emit<'_, Self::Out>) -> Result<(), Self::Error>;
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::WouldBlock) => None,
        // A stage panicked: the engine is stopping, nobody may look at its state.
        Err(TryLockError::Poisoned(_)) => None,
    }
}

pub(crate) struct Source<T, F> {
    pub(crate) name: &'static str,
    pub(crate) item_bytes: u64,
    pub(crate) state: Mutex<SourceState<F>>,
    pub(crate) out: Arc<Link<T>>,
}

pub(crate) struct SourceState<F> {
    pub(crate) next: F,
    pub(crate) sequence: u64,
    pub(crate) done: bool,
}

impl<E, T, F> Runnable<E> for Source<T, F>
where
    E: Send,
    T: Weigh + Send,
    F: FnMut() -> Result<Option<T>, E> + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn step(&self, engine: &Engine<'_, E>, index: usize) -> Step {
        let Some(mut state) = try_lock(&self.state) else {
            return Step::NotReady;
        };
        if state.done {
            return Step::Done;
        }
        if self.out.is_full() || !engine.may_start() {
            return Step::NotReady;
        }
        let Some(mut held) = engine.reserve(self.name, self.item_bytes) else {
            return Step::NotReady;
        };
        match (state.next)() {
            Err(error) => engine.fail(CascadeError::Stage(error)),
            Ok(None) => {
                state.done = true;
                self.out.close(state.sequence);
            }
            Ok(Some(value)) => {
                if settle(engine, &mut held, value.bytes(), index) {
                    engine.entered();
                    self.out.put(state.sequence, Item { value, held });
                    state.sequence += 1;
                }
            }
        }
        engine.relax();
        Step::Ran
    }
}

pub(crate) struct Map<T, U, B, F> {
    pub(crate) name: &'static str,
    /// Bytes a run needs beside its input's, output included.
    pub(crate) bound: B,
    pub(crate) apply: F,
    pub(crate) running: AtomicUsize,
    pub(crate) done: AtomicBool,
    pub(crate) input: Arc<Link<T>>,
    pub(crate) out: Arc<Link<U>>,
}

impl<E, T, U, B, F> Runnable<E> for Map<T, U, B, F>
where
    E: Send,
    T: Weigh + Send,
    U: Weigh + Send,
    B: Fn(&T) -> u64 + Send + Sync,
    F: Fn(T) -> Result<U, E> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn step(&self, engine: &Engine<'_, E>, index: usize) -> Step {
        if self.done.load(Ordering::Acquire) {
            return Step::Done;
        }
        if self.out.is_full() {
            return Step::NotReady;
        }
        let mut working = None;
        let taken = self.input.take(|value| {
            working = engine.reserve(self.name, (self.bound)(value));
            if working.is_some() {
                // Counted before the item leaves the link, so that `End` below is not seen early.
                self.running.fetch_add(1, Ordering::AcqRel);
            }
            working.is_some()
        });
        match taken {
            Taken::NotYet => Step::NotReady,
            Taken::End => {
                if self.running.load(Ordering::Acquire) > 0 {
                    return Step::NotReady;
                }
                if self.done.swap(true, Ordering::AcqRel) {
                    return Step::Done;
                }
                self.out.close(self.input.taken());
                Step::Ran
            }
            Taken::Item(sequence, Item { value, mut held }) => {
                engine.relax();
                if let Some(working) = working {
                    held.absorb(working);
                }
                match (self.apply)(value) {
                    Err(error) => engine.fail(CascadeError::Stage(error)),
                    Ok(value) => {
                        if settle(engine, &mut held, value.bytes(), index) {
                            self.out.put(sequence, Item { value, held });
                        }
                    }
                }
                self.running.fetch_sub(1, Ordering::AcqRel);
                Step::Ran
            }
        }
    }
}

pub(crate) struct Serial<A: Accumulate> {
    pub(crate) name: &'static str,
    pub(crate) limit_bytes: u64,
    pub(crate) after: After,
    pub(crate) state: Mutex<SerialState<A>>,
    pub(crate) input: Arc<Link<A::In>>,
    pub(crate) out: Arc<Link<A::Out>>,
}

pub(crate) struct SerialState<A> {
    pub(crate) accumulate: A,
    pub(crate) held: Reservation,
    /// Bytes the state had when it last passed on and kept.
    pub(crate) kept_bytes: u64,
    pub(crate) sequence: u64,
    pub(crate) done: bool,
}

impl<E, A> Serial<A>
where
    E: Send,
    A: Accumulate<Error = E>,
    A::Out: Weigh,
{
    /// Calls the stage with an emitter, then reserves what its state holds.
    fn call(
        &self,
        engine: &Engine<'_, E>,
        index: usize,
        state: &mut SerialState<A>,
        action: impl FnOnce(&mut A, &mut Emit<'_, A::Out>) -> Result<(), E>,
    ) {
        let SerialState {
            accumulate,
            held,
            sequence,
            ..
        } = state;
        let mut put = |value: A::Out| {
            if engine.is_stopped() {
                return;
            }
            let bytes = value.bytes();
            let mut part = held.take(bytes.min(held.bytes()));
            if engine.grow(&mut part, bytes, index) {
                engine.entered();
                self.out.put(*sequence, Item { value, held: part });
                *sequence += 1;
                engine.notify();
            }
        };
        match action(accumulate, &mut Emit { put: &mut put }) {
            Err(error) => engine.fail(CascadeError::Stage(error)),
            Ok(()) => {
                settle(engine, held, accumulate.bytes(), index);
            }
        }
    }

    fn is_over(&self, state: &SerialState<A>) -> bool {
        let bytes = state.accumulate.bytes();
        match self.after {
            After::Flush => bytes >= self.limit_bytes,
            After::Keep => bytes.saturating_sub(state.kept_bytes) >= self.limit_bytes,
        }
    }

    fn pass(&self, engine: &Engine<'_, E>, index: usize, state: &mut SerialState<A>, why: Why) {
        self.call(engine, index, state, |stage, out| stage.pass(why, out));
        state.kept_bytes = state.accumulate.bytes();
        if why == Why::Limit && self.after == After::Flush && self.is_over(state) {
            let held_bytes = state.kept_bytes;
            engine.fail(CascadeError::NotFlushed {
                stage: self.name,
                held_bytes,
            });
        }
    }
}

impl<E, A> Runnable<E> for Serial<A>
where
    E: Send,
    A: Accumulate<Error = E>,
    A::In: Weigh + Send,
    A::Out: Weigh + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn step(&self, engine: &Engine<'_, E>, index: usize) -> Step {
        let Some(mut guard) = try_lock(&self.state) else {
            return Step::NotReady;
        };
        let state = &mut *guard;
        if state.done {
            return Step::Done;
        }
        if self.out.is_full() {
            return Step::NotReady;
        }
        match self.input.take(|_| true) {
            Taken::Item(_, Item { value, held }) => {
                state.held.absorb(held);
                self.call(engine, index, state, |stage, out| stage.take(value, out));
                if self.is_over(state) && !engine.is_stopped() {
                    self.pass(engine, index, state, Why::Limit);
                }
                engine.left();
                Step::Ran
            }
            Taken::NotYet => {
                let before = (state.accumulate.bytes(), state.sequence);
                let fresh = self.after == After::Flush || before.0 > state.kept_bytes;
                if before.0 == 0 || !fresh || !engine.hurry() {
                    return Step::NotReady;
                }
                self.pass(engine, index, state, Why::Pressure);
                if (state.accumulate.bytes(), state.sequence) == before {
                    return Step::NotReady;
                }
                Step::Ran
            }
            Taken::End => {
                self.call(engine, index, state, |stage, out| stage.pass(Why::End, out));
                if !engine.is_stopped() {
                    state.done = true;
                    state.held.release();
                    self.out.close(state.sequence);
                }
                Step::Ran
            }
        }
    }
}

/// Makes `held` exactly `bytes`. False when the run has ended instead.
fn settle<E: Send>(
    engine: &Engine<'_, E>,
    held: &mut Reservation,
    bytes: u64,
    index: usize,
) -> bool {
    match held.bytes().checked_sub(bytes) {
        Some(less) => {
            held.shrink(less);
            true
        }
        None => engine.grow(held, bytes, index),
    }
}
