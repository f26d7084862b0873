//! Molecules that kill or hang RDKit cost their row, not the shard.
//!
//! RDKit runs in a child, the *worker*: this program again, told so by an environment variable. The process that was
//! started watches it. Every kernel notes the row it is at in a shared page (two stores per row), so that when the worker
//! dies of a signal (a stack overflow, a failed assertion), the few rows it was at are known; they are run alone, one
//! after the other, in workers whose death says which row it was (a *sweep*). A row that passes `--row-timeout` inside one
//! call of RDKit is known without that, and the worker is killed. Rows found so are quarantined: the shard starts again
//! and rejects them unseen. From the fourth event on a sweep goes on to the end of the shard, so that many such rows cost
//! two more passes, not one each.
//!
//! Cost where nothing happens: one more start of the program and its private pages, which the worker counts against
//! `--memory-limit`.
//!
//! Not here: deaths that are nobody's fault (SIGKILL by the kernel or a person, SIGTERM). They end the run.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, bail};
use halocline_chem::Stage;
use halocline_cli::Outcome;
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde::{Deserialize, Serialize};

/// Tells a process that it is a worker, and what it is to do; JSON of [`Task`].
const VARIABLE: &str = "HALOCLINE_TRANSFORM_WORKER";
/// Stack of every thread of a worker: a ring of 40,000 atoms still fits (RDKit finds rings by recursion), and whether a
/// molecule fits does not depend on the thread it meets.
pub(crate) const STACK_BYTES: usize = 8 << 20;
/// Kernels that may note their row at once: threads x rules that expand apart.
const SLOTS: usize = 4096;
const NOTE_BYTES: usize = SLOTS * 16;
/// Rows quarantined in one run past which something else must be wrong than the molecules.
const MOST_QUARANTINED: usize = 1_000;
/// Deaths no row could be found for, past which the run ends.
const MOST_UNEXPLAINED: u32 = 2;
/// Events after which a sweep goes on to the end of the shard.
const EVENTS_BEFORE_FULL_SWEEP: u32 = 3;
/// How often the watched rows are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// A row that is rejected unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quarantined {
    pub row: u64,
    /// It did not end, rather than ending the process.
    pub hung: bool,
    pub reason: String,
}

impl Quarantined {
    /// The stage at which the row is rejected.
    pub(crate) fn stage(&self) -> Stage {
        if self.hung {
            Stage::Limit
        } else {
            Stage::Crash
        }
    }
}

/// What a worker is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    fd: i32,
    /// Memory of the watching process that this one counts as its own.
    pub outside_bytes: u64,
    pub quarantine: Vec<Quarantined>,
    /// Only try these rows, alone, and write nothing; the end is cut to the shard's.
    pub sweep: Option<(u64, u64)>,
}

/// The task of this process, if it is a worker; its kernels note their rows from now on.
///
/// # Errors
/// A variable that is not a task: set by hand.
pub(crate) fn task() -> anyhow::Result<Option<Task>> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return Ok(None);
    };
    let task: Task = serde_json::from_str(&text)
        .with_context(|| format!("{VARIABLE} is for the program's own use"))?;
    halocline_chem::watch_rows(task.fd, NOTE_BYTES)?;
    Ok(Some(task))
}

/// The running worker, for the signal thread; 0 when there is none.
static WORKER: AtomicI32 = AtomicI32::new(0);
/// A signal has come: the signal thread ends the process.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Ends the worker as this process is being ended, and waits for it.
pub fn stop() {
    STOPPING.store(true, Ordering::SeqCst);
    for (signal, looks) in [(Signal::TERM, 1_000), (Signal::KILL, 200)] {
        let Some(pid) = Pid::from_raw(WORKER.load(Ordering::SeqCst)) else {
            return;
        };
        // It may have ended already: then there is nothing to do.
        let _ = kill_process(pid, signal);
        for _ in 0..looks {
            if WORKER.load(Ordering::SeqCst) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// How a worker ended.
enum End {
    /// By itself; it has said why.
    Code(u8),
    /// Of a signal that a molecule can raise, at these rows.
    Died { signal: i32, rows: Vec<u64> },
    /// Killed here: this row did not end.
    Hung { row: u64 },
}

/// Runs the same command line in workers until one ends by itself. `only`: the one row it is about, if it is.
///
/// # Errors
/// A worker that cannot be started, or dies of what no molecule explains.
pub(crate) fn supervise(
    row_timeout: Option<Duration>,
    only: Option<u64>,
) -> anyhow::Result<Outcome> {
    let watch = Watch::new(row_timeout)?;
    let mut quarantine: Vec<Quarantined> = Vec::new();
    let mut events = 0;
    let mut unexplained = 0;
    loop {
        let end = watch.run(&quarantine, None)?;
        if let Some(row) = only
            && !matches!(end, End::Code(_))
        {
            if !quarantine.is_empty() {
                bail!("the worker process ended on row {row}, which it need not have touched");
            }
            quarantine.push(match end {
                End::Died { signal, .. } => kills(row, signal),
                _ => watch.hung(row),
            });
            continue;
        }
        let (first, last) = match end {
            End::Code(code) => return Ok(Outcome::Child(code)),
            End::Hung { row } => {
                quarantine.push(watch.hung(row));
                (row + 1, row)
            }
            End::Died { signal, rows } => {
                let (Some(first), Some(last)) = (rows.iter().min(), rows.iter().max()) else {
                    bail!(
                        "the worker process died of {} while no molecule was at work",
                        name(signal)
                    );
                };
                tracing::warn!(
                    "the worker process died of {} at row{} {}; looking for the row that does it",
                    name(signal),
                    if rows.len() > 1 { "s" } else { "" },
                    list(&rows)
                );
                (*first, *last)
            }
        };
        events += 1;
        let end = if events > EVENTS_BEFORE_FULL_SWEEP {
            u64::MAX
        } else {
            last + 1
        };
        let known = quarantine.len();
        watch.sweep(&mut quarantine, first, end)?;
        if quarantine.len() == known && first <= last {
            unexplained += 1;
            if unexplained > MOST_UNEXPLAINED {
                bail!(
                    "the worker process died {unexplained} times near row {first}, and no row does that alone"
                );
            }
        }
        if quarantine.len() > MOST_QUARANTINED {
            bail!(
                "more than {MOST_QUARANTINED} molecules kill or hang RDKit: something else is wrong than the molecules"
            );
        }
    }
}

fn kills(row: u64, signal: i32) -> Quarantined {
    let signal = name(signal);
    tracing::warn!("row {row} kills the worker process ({signal}); it is quarantined");
    Quarantined {
        row,
        hung: false,
        reason: format!("RDKit ends the process on it: {signal}"),
    }
}

struct Watch {
    notes: File,
    row_timeout: Option<Duration>,
    outside_bytes: u64,
}

impl Watch {
    fn new(row_timeout: Option<Duration>) -> anyhow::Result<Self> {
        // Not closed on exec: the worker finds it under its number.
        let notes = rustix::fs::memfd_create("halocline-rows", MemfdFlags::empty())
            .context("cannot make the shared page of rows")?;
        let notes = File::from(notes);
        notes.set_len(NOTE_BYTES as u64)?;
        Ok(Self {
            notes,
            row_timeout,
            outside_bytes: private_bytes(),
        })
    }

    fn hung(&self, row: u64) -> Quarantined {
        let seconds = self.row_timeout.unwrap_or_default().as_secs_f64();
        tracing::warn!("row {row} did not end within {seconds} s; it is quarantined");
        Quarantined {
            row,
            hung: true,
            reason: format!("no end within {seconds} s inside one call of RDKit (--row-timeout)"),
        }
    }

    /// Tries rows `next..end` one by one and adds those that kill or hang a worker.
    fn sweep(
        &self,
        quarantine: &mut Vec<Quarantined>,
        mut next: u64,
        end: u64,
    ) -> anyhow::Result<()> {
        while next < end && quarantine.len() <= MOST_QUARANTINED {
            let found = match self.run(quarantine, Some((next, end)))? {
                End::Code(0) => return Ok(()),
                End::Code(code) => bail!("looking for the row ended with code {code}"),
                End::Hung { row } => self.hung(row),
                End::Died { signal, rows } => {
                    let [row] = rows[..] else {
                        bail!(
                            "the worker process died of {} at rows {}",
                            name(signal),
                            list(&rows)
                        );
                    };
                    kills(row, signal)
                }
            };
            next = found.row + 1;
            quarantine.push(found);
        }
        Ok(())
    }

    fn run(&self, quarantine: &[Quarantined], sweep: Option<(u64, u64)>) -> anyhow::Result<End> {
        let zeros = vec![0; NOTE_BYTES];
        self.notes.write_all_at(&zeros, 0)?;
        let task = Task {
            fd: self.notes.as_raw_fd(),
            outside_bytes: self.outside_bytes,
            quarantine: quarantine.to_vec(),
            sweep,
        };
        let mut args = std::env::args_os();
        let mut worker = Command::new("/proc/self/exe");
        if let Some(name) = args.next() {
            worker.arg0(name);
        }
        worker
            .args(args)
            .env(VARIABLE, serde_json::to_string(&task)?)
            .env(
                halocline_cli::PARENT_VARIABLE,
                std::process::id().to_string(),
            )
            .env("RUST_MIN_STACK", STACK_BYTES.to_string());
        let mut child = worker.spawn().context("cannot start the worker process")?;
        let pid = Pid::from_child(&child);
        WORKER.store(pid.as_raw_nonzero().get(), Ordering::SeqCst);
        let killed = self.wait(pid);
        let status = child.wait();
        WORKER.store(0, Ordering::SeqCst);
        while STOPPING.load(Ordering::SeqCst) {
            // The signal thread ends this process with the right code.
            std::thread::sleep(LOOK);
        }
        if let Some(row) = killed? {
            return Ok(End::Hung { row });
        }
        self.end(status?)
    }

    /// Until the worker has ended, which leaves it to be reaped; the row it was killed for, if it was.
    fn wait(&self, pid: Pid) -> anyhow::Result<Option<u64>> {
        let (send, ended) = channel();
        let waiter = std::thread::Builder::new()
            .name("worker".to_owned())
            .stack_size(64 << 10)
            .spawn(move || {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
                // Nobody listens any more: then nobody needs to know.
                let _ = send.send(());
            })
            .context("cannot start a thread")?;
        let mut killed = None;
        // Anything but a time-out is the end.
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
            if killed.is_none()
                && let Some(row) = self.overdue()?
            {
                killed = Some(row);
                // Not reaped yet, so that the number is still its.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // It has sent its word and ends.
        let _ = waiter.join();
        Ok(killed)
    }

    /// A row that has been at work for much longer than the kernel's own check between products would let it.
    fn overdue(&self) -> anyhow::Result<Option<u64>> {
        let Some(limit) = self.row_timeout else {
            return Ok(None);
        };
        let grace = (limit / 4).min(Duration::from_secs(5)) + Duration::from_millis(500);
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now_ms = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
        let most_ms = (limit + grace).as_millis() as u64;
        Ok(self
            .rows()?
            .into_iter()
            .find(|(_, started_ms)| now_ms.saturating_sub(*started_ms) > most_ms)
            .map(|(row, _)| row))
    }

    /// The rows at work, each with when it started.
    fn rows(&self) -> anyhow::Result<Vec<(u64, u64)>> {
        let mut bytes = vec![0; NOTE_BYTES];
        self.notes.read_exact_at(&mut bytes, 0)?;
        let number = |eight: &[u8]| u64::from_ne_bytes(eight.try_into().unwrap_or_default());
        Ok(bytes
            .chunks_exact(16)
            .map(|slot| (number(&slot[..8]), number(&slot[8..])))
            .filter(|(row_plus_one, _)| *row_plus_one > 0)
            .map(|(row_plus_one, started_ms)| (row_plus_one - 1, started_ms))
            .collect())
    }

    fn end(&self, status: ExitStatus) -> anyhow::Result<End> {
        if let Some(code) = status.code() {
            return Ok(End::Code(u8::try_from(code).unwrap_or(u8::MAX)));
        }
        let signal = status.signal().unwrap_or_default();
        let raised = [
            Signal::SEGV,
            Signal::ABORT,
            Signal::BUS,
            Signal::ILL,
            Signal::FPE,
        ];
        if !raised.iter().any(|s| s.as_raw() == signal) {
            bail!(
                "the worker process was ended by {}: by a person, or by the system because memory ran out",
                name(signal)
            );
        }
        let mut rows: Vec<u64> = self.rows()?.into_iter().map(|(row, _)| row).collect();
        rows.sort_unstable();
        Ok(End::Died { signal, rows })
    }
}

/// Pages of this process that it shares with nobody, rounded up for those it has yet to touch.
fn private_bytes() -> u64 {
    const MARGIN: u64 = 1 << 20;
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let kib: u64 = text
        .lines()
        .filter(|line| line.starts_with("Private_Dirty:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    kib * 1024 + MARGIN
}

fn name(signal: i32) -> String {
    let names = [
        (Signal::SEGV, "SIGSEGV"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::ILL, "SIGILL"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::TERM, "SIGTERM"),
    ];
    names
        .iter()
        .find(|(s, _)| s.as_raw() == signal)
        .map_or_else(
            || format!("signal {signal}"),
            |(_, name)| (*name).to_owned(),
        )
}

fn list(rows: &[u64]) -> String {
    let texts: Vec<String> = rows.iter().map(u64::to_string).collect();
    texts.join(", ")
}
