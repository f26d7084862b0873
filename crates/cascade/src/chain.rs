//! The builder: a cascade is written as a chain of calls, from the source to the sink.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex};

use halocline_budget::Pool;

use crate::engine::{Engine, Runnable, StageReport};
use crate::link::Link;
use crate::stage::{Accumulate, Emit, Map, Serial, SerialState, Source, SourceState, Why};
use crate::{After, CascadeError, Pressure, Weigh};

/// The start of a chain: the pool its stages share, and the threads that run them.
#[derive(Debug)]
pub struct Cascade {
    pool: Pool,
    threads: usize,
    pressure: Pressure,
}

impl Cascade {
    /// A cascade on one thread, watching for pressure at the default share.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self {
            pool: pool.clone(),
            threads: 1,
            pressure: Pressure::default(),
        }
    }

    /// Runs on so many threads, the caller's included. What comes out does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Watches for pressure in another way.
    #[must_use]
    pub fn pressure(mut self, pressure: Pressure) -> Self {
        self.pressure = pressure;
        self
    }

    /// Starts the chain. `next` gives items until `None`. `item_bytes` are reserved before each
    /// call; the source rests while `queue_bytes` of its items wait.
    pub fn source<'env, T, E, F>(
        self,
        name: &'static str,
        item_bytes: u64,
        queue_bytes: u64,
        next: F,
    ) -> Chain<'env, T, E>
    where
        T: Weigh + Send + 'env,
        E: Send + 'env,
        F: FnMut() -> Result<Option<T>, E> + Send + 'env,
    {
        let out = Arc::new(Link::new(queue_bytes));
        let state = Mutex::new(SourceState {
            next,
            sequence: 0,
            done: false,
        });
        let source = Source {
            name,
            item_bytes,
            state,
            out: Arc::clone(&out),
        };
        Chain {
            cascade: self,
            stages: vec![Box::new(source)],
            last: out,
        }
    }
}

/// A chain under construction whose last stage gives `T`.
#[must_use = "a chain does nothing until its sink is run"]
pub struct Chain<'env, T, E> {
    cascade: Cascade,
    stages: Vec<Box<dyn Runnable<E> + 'env>>,
    last: Arc<Link<T>>,
}

impl<'env, T, E> Chain<'env, T, E>
where
    T: Weigh + Send + 'env,
    E: Send + 'env,
{
    /// Applies `apply` to each item, on several threads at once; order is kept. Before it runs,
    /// `bound(&item)` bytes are reserved beside the item's own; together they must cover the work
    /// and its result. It is not started while `queue_bytes` of its results wait.
    pub fn map<U, B, F>(
        mut self,
        name: &'static str,
        queue_bytes: u64,
        bound: B,
        apply: F,
    ) -> Chain<'env, U, E>
    where
        U: Weigh + Send + 'env,
        B: Fn(&T) -> u64 + Send + Sync + 'env,
        F: Fn(T) -> Result<U, E> + Send + Sync + 'env,
    {
        let out = Arc::new(Link::new(queue_bytes));
        self.stages.push(Box::new(Map {
            name,
            bound,
            apply,
            running: AtomicUsize::new(0),
            done: AtomicBool::new(false),
            input: self.last,
            out: Arc::clone(&out),
        }));
        Chain {
            cascade: self.cascade,
            stages: self.stages,
            last: out,
        }
    }

    /// Collects items until they weigh `limit_bytes`, then calls `process` with all of them, in
    /// order. Also earlier under pressure, and at the end.
    pub fn buffer<U, F>(self, name: &'static str, limit_bytes: u64, process: F) -> Chain<'env, U, E>
    where
        U: Weigh + Send + 'env,
        F: FnMut(Vec<T>, &mut Emit<'_, U>) -> Result<(), E> + Send + 'env,
    {
        let buffer = Buffer {
            items: Vec::new(),
            bytes: 0,
            process,
            marker: PhantomData,
        };
        self.accumulate(name, limit_bytes, After::Flush, buffer)
    }

    /// Adds a serial stage with a state of its own.
    pub fn accumulate<A>(
        mut self,
        name: &'static str,
        limit_bytes: u64,
        after: After,
        stage: A,
    ) -> Chain<'env, A::Out, E>
    where
        A: Accumulate<In = T, Error = E> + 'env,
        A::Out: Weigh + Send + 'env,
    {
        let out = Arc::new(Link::new(limit_bytes));
        let state = SerialState {
            accumulate: stage,
            held: self.cascade.pool.claim(name),
            kept_bytes: 0,
            sequence: 0,
            done: false,
        };
        self.stages.push(Box::new(Serial {
            name,
            limit_bytes,
            after,
            state: Mutex::new(state),
            input: self.last,
            out: Arc::clone(&out),
        }));
        Chain {
            cascade: self.cascade,
            stages: self.stages,
            last: out,
        }
    }

    /// Sets how many bytes of the last stage's results may wait before that stage rests, where it
    /// is not the stage's own limit. With 1, it rests while any result waits.
    pub fn queue(self, queue_bytes: u64) -> Self {
        self.last.set_limit(queue_bytes);
        self
    }

    /// Ends the chain: `consume` gets every item, in order.
    pub fn sink<F>(self, name: &'static str, consume: F) -> Ready<'env, E>
    where
        F: FnMut(T) -> Result<(), E> + Send + 'env,
    {
        let sink = Sink {
            consume,
            marker: PhantomData,
        };
        let chain = self.accumulate(name, u64::MAX, After::Flush, sink);
        Ready {
            cascade: chain.cascade,
            stages: chain.stages,
        }
    }
}

/// A whole chain.
#[must_use = "a chain does nothing until it is run"]
pub struct Ready<'env, E> {
    cascade: Cascade,
    stages: Vec<Box<dyn Runnable<E> + 'env>>,
}

impl<E: Send> Ready<'_, E> {
    /// Runs it to the end and says what each stage did.
    ///
    /// # Errors
    /// The first error of a stage, or [`CascadeError::Budget`] when a stage cannot go on within
    /// the pool.
    pub fn run(self) -> Result<Vec<StageReport>, CascadeError<E>> {
        let Cascade {
            pool,
            threads,
            pressure,
        } = self.cascade;
        Engine::new(pool, pressure, threads, self.stages).run()
    }
}

struct Buffer<T, U, F> {
    items: Vec<T>,
    bytes: u64,
    process: F,
    marker: PhantomData<fn() -> U>,
}

impl<T, U, E, F> Accumulate for Buffer<T, U, F>
where
    T: Weigh + Send,
    F: FnMut(Vec<T>, &mut Emit<'_, U>) -> Result<(), E> + Send,
{
    type In = T;
    type Out = U;
    type Error = E;

    fn take(&mut self, item: T, _: &mut Emit<'_, U>) -> Result<(), E> {
        self.bytes += item.bytes();
        self.items.push(item);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn pass(&mut self, _: Why, out: &mut Emit<'_, U>) -> Result<(), E> {
        if self.items.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        (self.process)(std::mem::take(&mut self.items), out)
    }
}

struct Sink<T, F> {
    consume: F,
    marker: PhantomData<fn(T)>,
}

impl<T, E, F> Accumulate for Sink<T, F>
where
    F: FnMut(T) -> Result<(), E> + Send,
{
    type In = T;
    type Out = Nothing;
    type Error = E;

    fn take(&mut self, item: T, _: &mut Emit<'_, Nothing>) -> Result<(), E> {
        (self.consume)(item)
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn pass(&mut self, _: Why, _: &mut Emit<'_, Nothing>) -> Result<(), E> {
        Ok(())
    }
}

/// What a sink passes on.
pub(crate) struct Nothing(Infallible);

impl Weigh for Nothing {
    fn bytes(&self) -> u64 {
        match self.0 {}
    }
}
