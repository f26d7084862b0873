//! Progress: a bar on a terminal, a log line every ten seconds elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const LOG_EVERY: Duration = Duration::from_secs(10);

/// All bars of the process, so that log lines can step aside for them.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);
/// Set by `--no-progress`.
static SILENT: AtomicBool = AtomicBool::new(false);

pub(crate) fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// A stderr that does not tear the bars.
pub(crate) struct BesideBars;

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// Counts rows and shows them. Shared between threads by reference; one call per batch.
#[derive(Debug)]
pub struct Progress {
    label: &'static str,
    total: Option<u64>,
    done: AtomicU64,
    start: Instant,
    last_line: Mutex<Instant>,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Starts counting rows towards `total`, when it is known.
    #[must_use]
    pub fn rows(total: Option<u64>, label: &'static str) -> Self {
        let show = io::stderr().is_terminal() && !SILENT.load(Ordering::Relaxed);
        let bar = show.then(|| {
            let bar = match total {
                Some(total) => ProgressBar::new(total),
                None => ProgressBar::new_spinner(),
            };
            let template = if total.is_some() {
                "{msg} {wide_bar} {human_pos}/{human_len} rows {per_sec} {eta}"
            } else {
                "{msg} {spinner} {human_pos} rows {per_sec}"
            };
            // A template that does not parse leaves indicatif's own.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(label);
            BARS.add(bar)
        });
        let now = Instant::now();
        Self {
            label,
            total,
            done: AtomicU64::new(0),
            start: now,
            last_line: Mutex::new(now),
            bar,
        }
    }

    /// `rows` more are done.
    pub fn inc(&self, rows: u64) {
        let done = self.done.fetch_add(rows, Ordering::Relaxed) + rows;
        if let Some(bar) = &self.bar {
            bar.inc(rows);
        } else if !SILENT.load(Ordering::Relaxed) {
            let mut last = self
                .last_line
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if last.elapsed() >= LOG_EVERY {
                *last = Instant::now();
                self.line(done);
            }
        }
    }

    /// Rows done so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }

    fn line(&self, done: u64) {
        let per_second = done as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        match self.total {
            Some(total) => tracing::info!(
                "{}: {done} of {total} rows ({:.0} %), {per_second:.0} rows/s",
                self.label,
                100.0 * done as f64 / total.max(1) as f64
            ),
            None => tracing::info!("{}: {done} rows, {per_second:.0} rows/s", self.label),
        }
    }
}
