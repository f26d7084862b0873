//! Who may work: all threads, or one alone.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use halocline_budget::release_idle_pages;

/// Held by a thread while it runs RDKit or encodes, the work that the bytes set aside per thread are for. A thread that
/// has the gate for itself may use the others' bytes. Whoever holds it waits for nothing else, so it cannot deadlock.
#[derive(Debug, Default)]
pub(crate) struct Gate(RwLock<()>);

impl Gate {
    /// Waits until no thread works alone.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, ()> {
        if let Ok(entered) = self.0.try_read() {
            return entered;
        }
        // The one that works alone may need them.
        release_idle_pages();
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other thread works. The caller must not have entered.
    pub(crate) fn enter_alone(&self) -> RwLockWriteGuard<'_, ()> {
        release_idle_pages();
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
