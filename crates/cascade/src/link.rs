//! The ordered, accounted queue between two stages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use halocline_budget::Reservation;

/// An item on its way, with the bytes reserved for it.
#[derive(Debug)]
pub(crate) struct Item<T> {
    pub(crate) value: T,
    pub(crate) held: Reservation,
}

/// Items by sequence number. Producers may deliver out of order; the consumer takes them in order.
#[derive(Debug)]
pub(crate) struct Link<T> {
    /// Bytes on the link above which its producer is not started again.
    limit_bytes: AtomicU64,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    queue: BTreeMap<u64, Item<T>>,
    /// Sequence number the consumer takes next.
    next: u64,
    /// Bytes in `queue`.
    bytes: u64,
    /// Number of items there will have been, once that is known.
    total: Option<u64>,
}

/// What the consumer finds.
pub(crate) enum Taken<T> {
    Item(u64, Item<T>),
    /// The next item is not there yet.
    NotYet,
    /// There will be no more.
    End,
}

impl<T> Link<T> {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes: AtomicU64::new(limit_bytes),
            state: Mutex::new(State {
                queue: BTreeMap::new(),
                next: 0,
                bytes: 0,
                total: None,
            }),
        }
    }

    pub(crate) fn set_limit(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, sequence: u64, item: Item<T>) {
        let mut state = self.state();
        state.bytes += item.held.bytes();
        let before = state.queue.insert(sequence, item);
        assert!(
            before.is_none(),
            "sequence number {sequence} was used twice"
        );
    }

    /// Takes the next item in order, if `ready` (asked with the item still on the link) says so.
    pub(crate) fn take(&self, ready: impl FnOnce(&T) -> bool) -> Taken<T> {
        let mut state = self.state();
        let next = state.next;
        if state.total == Some(next) {
            return Taken::End;
        }
        let Some(entry) = state.queue.first_entry() else {
            return Taken::NotYet;
        };
        if *entry.key() != next || !ready(&entry.get().value) {
            return Taken::NotYet;
        }
        let item = entry.remove();
        state.next += 1;
        state.bytes -= item.held.bytes();
        Taken::Item(next, item)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.state().bytes >= self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Number of items taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.state().next
    }

    /// No item with this number or a higher one will come.
    pub(crate) fn close(&self, total: u64) {
        self.state().total = Some(total);
    }
}
