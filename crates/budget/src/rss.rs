//! What the process uses now, what it has used at most, and what the machine has left.

use std::sync::{Mutex, PoisonError};

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Memory of the machine and of the cgroup this process lives in, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Physical memory.
    pub total: u64,
    /// What new allocations could get without swapping.
    pub available: u64,
    /// The tightest limit among this process's cgroup and its ancestors, if there is one.
    pub cgroup_limit: Option<u64>,
    /// Memory of the cgroup without page cache, when there is a limit.
    pub cgroup_used: Option<u64>,
}

impl Machine {
    /// Share of memory in use, 0 to 1: of the cgroup when it has a limit, or of the machine,
    /// whichever is shorter of memory.
    #[must_use]
    pub fn used_share(&self) -> f64 {
        let share = |used: u64, total: u64| used as f64 / total.max(1) as f64;
        let machine = share(self.total.saturating_sub(self.available), self.total);
        match (self.cgroup_used, self.cgroup_limit) {
            (Some(used), Some(limit)) => machine.max(share(used, limit)),
            _ => machine,
        }
    }
}

/// Reads the machine's memory. Costs some tens of microseconds; not for every row.
#[must_use]
pub fn machine() -> Machine {
    // Where the system tells nothing there is no limit to follow and no shortage to see.
    let Ok(mut system) = System::new() else {
        return Machine {
            total: u64::MAX,
            available: u64::MAX,
            cgroup_limit: None,
            cgroup_used: None,
        };
    };
    system.refresh_memory();
    let pid = Pid::from_u32(std::process::id());
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        false,
        ProcessRefreshKind::nothing(),
    );
    // `Process::cgroup_limits` follows the process into its own cgroup;
    // `System::cgroup_limits` sees only the root one.
    let limits = system
        .process(pid)
        .and_then(sysinfo::Process::cgroup_limits);
    let total = system.total_memory();
    let limits = limits.filter(|l| l.total_memory > 0 && l.total_memory < total);
    Machine {
        total,
        available: system.available_memory(),
        cgroup_limit: limits.as_ref().map(|l| l.total_memory),
        cgroup_used: limits.as_ref().map(|l| l.rss),
    }
}

/// Resident set of this process now, in bytes.
#[must_use]
pub fn current_bytes() -> u64 {
    status_bytes("VmRSS:").unwrap_or_else(resident_by_sysinfo)
}

/// The largest resident set this process ever had (`VmHWM`), in bytes. Where the system does not
/// tell, the largest value seen by these two functions.
#[must_use]
pub fn peak_bytes() -> u64 {
    status_bytes("VmHWM:").unwrap_or_else(|| {
        static SEEN: Mutex<u64> = Mutex::new(0);
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = (*seen).max(resident_by_sysinfo());
        *seen
    })
}

fn status_bytes(key: &str) -> Option<u64> {
    let status = fs_err::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn resident_by_sysinfo() -> u64 {
    let Ok(mut system) = System::new() else {
        return 0;
    };
    let pid = Pid::from_u32(std::process::id());
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[pid]),
        false,
        ProcessRefreshKind::nothing().with_memory(),
    );
    system.process(pid).map_or(0, sysinfo::Process::memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read() {
        let machine = machine();
        assert!(machine.total > 0 && machine.available <= machine.total);
        assert!((0.0..=1.0).contains(&machine.used_share()));
    }
}
