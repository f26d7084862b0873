//! The memory harness: runs a command under a hard cap and measures its peak from outside.
//!
//! The cap is a memory cgroup (version 1 or 2) of the size of the limit. A cgroup also charges page cache. The kernel
//! reclaims clean cache before it kills, but dirty pages that the disk has not taken yet cannot be dropped: `dd` to a
//! busy disk was killed at 32 MiB with an RSS of 3 (Linux 6.18, cgroup 1, 2026-11-20). Page cache is not the process's
//! memory, so a command that was killed *below* its limit is run once more with [`PAGE_CACHE_ROOM_BYTES`] on top of the cap;
//! its peak RSS is still held against the limit itself. Where no memory cgroup can be made, an address-space limit stands
//! in; it is far looser, and [`Capped::cap`] and a line on stderr say so.
//!
//! Either way [`Capped::assert_within`] compares the peak RSS that the kernel reports (`wait4`) with the limit, at a
//! tolerance of 1.00.
//!
//! A small helper, `capped-child`, starts the command: `ru_maxrss` of a child starts from the RSS of the process
//! that forked it, and a test process may be large.

use crate::{bin, bin_dir, scratch};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Address space granted above the limit when no cgroup is at hand: program and libraries (RDKit: 200 MB), thread stacks
/// (8 MiB each), malloc arenas that are reserved but not touched (mimalloc takes 1 GiB at once).
pub const ADDRESS_SPACE_ALLOWANCE_BYTES: u64 = 3 << 30;

/// Room for dirty page cache above the limit, in the second run of a command that was killed below its limit.
pub const PAGE_CACHE_ROOM_BYTES: u64 = 64 << 20;

/// What keeps the child from taking more than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// `memory.limit_in_bytes` of a cgroup of its own.
    CgroupV1,
    /// `memory.max` of a cgroup of its own, swap forbidden.
    CgroupV2,
    /// `RLIMIT_AS` of the limit and [`ADDRESS_SPACE_ALLOWANCE_BYTES`]: stops a runaway, does not prove the limit.
    AddressSpace,
}

/// What the helper measures and writes, one JSON object.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Measured {
    /// Largest resident set, from `wait4`.
    pub peak_rss_bytes: u64,
    /// User and system time of the command and its children.
    pub cpu_seconds: f64,
    /// From start to end.
    pub wall_seconds: f64,
    /// Exit code, when the command exited.
    pub exit_code: Option<i32>,
    /// Signal, when it was killed.
    pub signal: Option<i32>,
}

/// A command that ran to its end under a cap.
#[derive(Debug)]
pub struct Capped {
    /// The limit that was to be held.
    pub limit_bytes: u64,
    /// How it was enforced.
    pub cap: Cap,
    /// What was measured.
    pub measured: Measured,
    /// Did the kernel kill it for memory?
    pub killed_for_memory: bool,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
    command: String,
}

impl Capped {
    /// Did it stay within the limit and end by itself with `code`? The reason if not.
    pub fn verdict(&self, code: i32) -> Result<(), String> {
        let Self {
            limit_bytes,
            measured,
            command,
            stderr,
            cap,
            ..
        } = self;
        let peak = measured.peak_rss_bytes;
        if self.killed_for_memory {
            return Err(format!(
                "{command}: killed by the {cap:?} cap of {limit_bytes} bytes\n{stderr}"
            ));
        }
        if peak > *limit_bytes {
            return Err(format!(
                "{command}: peak RSS {peak} bytes, limit {limit_bytes} bytes\n{stderr}"
            ));
        }
        if measured.exit_code != Some(code) {
            return Err(format!(
                "{command}: expected exit code {code}, got {measured:?}\n{stderr}"
            ));
        }
        Ok(())
    }

    /// Panics unless the command exited with 0 and its peak RSS is at or under the limit.
    pub fn assert_within(&self) {
        if let Err(reason) = self.verdict(0) {
            panic!("{reason}");
        }
    }

    /// Panics when [`Capped::assert_within`] would not, or would for another reason than memory: a build that leaks must
    /// come to more than the limit, or see for itself that what it has left is too little.
    pub fn assert_caught(&self) {
        let Err(reason) = self.verdict(0) else {
            panic!(
                "{}: a leaking build passed, {:?}",
                self.command, self.measured
            );
        };
        let gave_up =
            self.measured.exit_code == Some(2) && self.stderr.contains("error: a memory limit of");
        assert!(
            gave_up || self.measured.peak_rss_bytes > self.limit_bytes,
            "it failed, but not for its memory, {:?}: {reason}",
            self.measured
        );
    }
}

/// Which build of the four programs with a memory limit a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The one that is shipped.
    Real,
    /// The same libraries under an allocator that gives nothing back (`examples/leaking-halo.rs`).
    Leaking,
}

impl Build {
    /// The path of the program `name` (`halo-split`, …).
    pub fn program(self, name: &str) -> PathBuf {
        if self == Self::Real {
            return bin(name);
        }
        let example = bin_dir().join("examples/leaking-halo");
        assert!(
            example.is_file(),
            "{} is missing: run `cargo build --workspace --examples` first (with `--release` when the tests run so)",
            example.display()
        );
        let dir = bin_dir().join("tests-scratch/leaking");
        fs_err::create_dir_all(&dir).unwrap_or_else(|e| panic!("{e}"));
        let link = dir.join(name);
        // Its name says which program it is. Another test may have made it.
        match std::os::unix::fs::symlink(&example, &link) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                panic!("{}: {e}", link.display())
            }
            _ => link,
        }
    }
}

/// Runs `command` to its end with at most `limit_bytes` of memory.
///
/// Takes program, arguments, working folder and environment changes of `command`; its streams are captured. The command
/// may be run twice (see the module), so what it writes must be what a second run may find.
pub fn run_capped(command: &Command, limit_bytes: u64) -> Capped {
    let ran = run_once(command, limit_bytes, 0);
    if ran.killed_for_memory && ran.measured.peak_rss_bytes <= limit_bytes {
        eprintln!(
            "{}: killed below its limit; once more with room for dirty page cache",
            ran.command
        );
        return run_once(command, limit_bytes, PAGE_CACHE_ROOM_BYTES);
    }
    ran
}

fn run_once(command: &Command, limit_bytes: u64, room_bytes: u64) -> Capped {
    let dir = scratch();
    let out = dir.path().join("measured.json");
    let cgroup = Cgroup::create(limit_bytes + room_bytes);
    let mut helper = Command::new(bin("capped-child"));
    helper.arg("--out").arg(&out);
    let cap = match &cgroup {
        Some(group) => {
            helper.arg("--cgroup").arg(&group.path);
            group.cap
        }
        None => {
            eprintln!(
                "no memory cgroup can be made here: an address-space limit stands in for the hard cap"
            );
            helper
                .arg("--address-space")
                .arg((limit_bytes + ADDRESS_SPACE_ALLOWANCE_BYTES).to_string());
            Cap::AddressSpace
        }
    };
    helper
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        helper.current_dir(folder);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => helper.env(key, value),
            None => helper.env_remove(key),
        };
    }
    let output = helper
        .output()
        .unwrap_or_else(|e| panic!("cannot start capped-child: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "capped-child failed: {stderr}");
    let text = fs_err::read_to_string(&out).unwrap_or_else(|e| panic!("{e}"));
    let measured: Measured = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let killed = cgroup.as_ref().is_some_and(|group| group.oom_kills() > 0);
    Capped {
        limit_bytes,
        cap,
        measured,
        killed_for_memory: killed,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr,
        command: format!("{command:?}"),
    }
}

/// A memory cgroup of its own, removed when dropped.
struct Cgroup {
    path: PathBuf,
    cap: Cap,
}

impl Cgroup {
    /// Below this process's own group; nothing where that is not allowed.
    fn create(limit_bytes: u64) -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let mut candidates = Vec::new();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
            if controllers.split(',').any(|c| c == "memory") {
                candidates.push((Path::new("/sys/fs/cgroup/memory").join(path), Cap::CgroupV1));
            } else if controllers.is_empty() {
                candidates.push((Path::new("/sys/fs/cgroup").join(path), Cap::CgroupV2));
            }
        }
        candidates
            .into_iter()
            .find_map(|(parent, cap)| Self::below(&parent, cap, limit_bytes))
    }

    fn below(parent: &Path, cap: Cap, limit_bytes: u64) -> Option<Self> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = parent.join(format!("halocline-test-{}-{n}", Pid::this()));
        std::fs::create_dir(&path).ok()?;
        let group = Self { path, cap };
        let limit = limit_bytes.to_string();
        let set = |file: &str, value: &str| std::fs::write(group.path.join(file), value).is_ok();
        let capped = match cap {
            Cap::CgroupV1 => {
                // Swap accounting may be off; then there is no memsw file, and on a machine without swap no need for it.
                let capped = set("memory.limit_in_bytes", &limit);
                set("memory.memsw.limit_in_bytes", &limit);
                capped
            }
            Cap::CgroupV2 => {
                set("memory.swap.max", "0");
                set("memory.max", &limit)
            }
            Cap::AddressSpace => false,
        };
        capped.then_some(group)
    }

    /// How many processes of the group the kernel killed for memory.
    fn oom_kills(&self) -> u64 {
        let file = if self.cap == Cap::CgroupV1 {
            "memory.oom_control"
        } else {
            "memory.events"
        };
        let text = fs_err::read_to_string(self.path.join(file)).unwrap_or_else(|e| panic!("{e}"));
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill ")?.parse::<u64>().ok())
            .sum()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The kernel may take a moment to let go of a process that has just ended.
        for _ in 0..50 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("cannot remove {}", self.path.display());
    }
}
