//! Processes, from /proc: which there are below one, whether one still lives, how old it is.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// A process, told from a later one of the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pid: i32,
    /// Ticks since the machine started.
    started: u64,
}

impl Process {
    /// The process of that number, unless it has ended; one that was not waited for yet has.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; the fields behind it are state, parent, …, start (the 20th).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let alive = !matches!(*fields.first()?, "Z" | "X");
        let started = fields.get(19)?.parse().ok()?;
        alive.then_some(Self { pid, started })
    }

    /// Whether it runs or is stopped.
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// What stands in a file of its folder in /proc; empty when it has ended.
    fn read(self, file: &str) -> String {
        let bytes = std::fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }

    /// Its name, of which the kernel keeps 15 bytes; empty when it has ended.
    pub fn name(self) -> String {
        self.read("comm")
    }

    /// Its command line, with a zero byte behind each word.
    pub fn arguments(self) -> String {
        self.read("cmdline")
    }

    /// How many threads it has.
    pub fn threads(self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid));
        tasks.map_or(0, Iterator::count)
    }

    /// How long it has run.
    pub fn age(self) -> Duration {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime: f64 = uptime
            .split(' ')
            .next()
            .and_then(|seconds| seconds.parse().ok())
            .unwrap_or_else(|| panic!("/proc/uptime holds no number: {uptime}"));
        // Ticks of the kernel's interface: 100 a second on every Linux of today.
        Duration::from_secs_f64((uptime - self.started as f64 / 100.0).max(0.0))
    }

    /// Sends a signal; whether it got there.
    pub fn signal(self, signal: Signal) -> bool {
        self.is_alive() && kill(Pid::from_raw(self.pid), signal).is_ok()
    }
}

/// A process and all below it; the first is the process itself. Nothing when it has ended.
pub fn tree(root: u32) -> Vec<Process> {
    let root = i32::try_from(root).ok().and_then(Process::find);
    let mut found: Vec<Process> = root.into_iter().collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let tasks = std::fs::read_dir(format!("/proc/{}/task", parent.pid));
        for task in tasks.into_iter().flatten().filter_map(Result::ok) {
            // A process may end while it is looked at.
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = text.split_whitespace().filter_map(|pid| pid.parse().ok());
            found.extend(children.filter_map(Process::find));
        }
    }
    found
}

/// All below a process.
pub fn below(root: u32) -> Vec<Process> {
    tree(root).into_iter().skip(1).collect()
}

/// Waits until none of the processes lives; which do after `time`, for people, when some do.
pub fn all_end<'a>(
    processes: impl IntoIterator<Item = &'a Process> + Clone,
    time: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + time;
    loop {
        let alive = processes.clone().into_iter().filter(|p| p.is_alive());
        let alive: Vec<String> = alive.map(|p| p.described()).collect();
        if alive.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("still alive after {time:?}: {}", alive.join("; ")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Process {
    /// Number, name, state and parent.
    fn described(self) -> String {
        let status = self.read("status");
        let of = |key: &str| status.lines().find(|line| line.starts_with(key));
        let (state, parent) = (of("State:"), of("PPid:"));
        let (state, parent) = (state.unwrap_or_default(), parent.unwrap_or_default());
        format!("{} {} {state} {parent}", self.pid, self.name())
    }
}
