//! The running jobs, and what becomes of them when a signal arrives: they get SIGTERM, have their
//! time to remove their temporaries, and what they completed before is recorded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use duct::Handle;
use duct::unix::HandleExt as _;

/// How long children have to end after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

static STOPPING: AtomicBool = AtomicBool::new(false);
static RUNNING: Mutex<BTreeMap<String, Arc<Handle>>> = Mutex::new(BTreeMap::new());
/// Whether a run is in its main loop; the signal handler waits until it has left it.
static BUSY: Mutex<bool> = Mutex::new(false);
static IDLE: Condvar = Condvar::new();

fn running() -> MutexGuard<'static, BTreeMap<String, Arc<Handle>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a signal has asked the run to stop.
pub(crate) fn stopping() -> bool {
    STOPPING.load(Ordering::SeqCst)
}

/// While this lives, the signal handler waits for the run to wind up.
pub(crate) struct Busy;

impl Busy {
    pub(crate) fn start() -> Self {
        *BUSY.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Self
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *BUSY.lock().unwrap_or_else(PoisonError::into_inner) = false;
        IDLE.notify_all();
    }
}

/// A job while it runs.
pub(crate) struct Child {
    id: String,
    handle: Arc<Handle>,
}

impl Child {
    /// Puts a started job under the signal handler's care.
    pub(crate) fn register(id: &str, handle: Handle) -> Self {
        let handle = Arc::new(handle);
        running().insert(id.to_owned(), Arc::clone(&handle));
        if stopping() {
            // The signal came between the decision to start and the start.
            let _ = handle.send_signal(libc::SIGTERM);
        }
        Self {
            id: id.to_owned(),
            handle,
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> std::io::Result<std::process::ExitStatus> {
        self.handle.wait().map(|output| output.status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        running().remove(&self.id);
    }
}

/// Called on SIGINT and SIGTERM, on the signal thread, before the process exits.
pub fn on_signal() {
    STOPPING.store(true, Ordering::SeqCst);
    signal_all(libc::SIGTERM);
    if !wait_idle(GRACE) {
        signal_all(libc::SIGKILL);
        wait_idle(GRACE);
    }
}

fn signal_all(signal: libc::c_int) {
    for handle in running().values() {
        // One that has just ended cannot be signalled, and need not be.
        let _ = handle.send_signal(signal);
    }
}

fn wait_idle(time: Duration) -> bool {
    let busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = IDLE.wait_timeout_while(busy, time, |busy| *busy);
    waited.map_or(true, |(_, timeout)| !timeout.timed_out())
}
