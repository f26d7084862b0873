//! Processes of a run are killed at random moments and the run is started again, until it is done: the products must be
//! those of an undisturbed run, no temporary file may be left, and what was complete must not have been made again.
//!
//! A few kills in `make test`; `make torture` sets `HALOCLINE_KILLS=200`.

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]

use halocline_tests::place::Place;
use halocline_tests::scratch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Molecules of each class: few, since what is tested is what happens between the jobs and not in them.
const MOLECULES: usize = 4;

/// Kills per engine.
fn kills() -> u32 {
    match std::env::var("HALOCLINE_KILLS") {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("HALOCLINE_KILLS={text} is no number")),
        Err(_) => 3,
    }
}

/// A process and all below it, from /proc.
fn tree(root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.filter_map(Result::ok) {
            let children =
                std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse().ok())
                    .map(Pid::from_raw),
            );
        }
    }
    found
}

/// A small generator of its own: the seed is printed, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Inode of every final table that is there: a table made again has another.
fn tables(place: &Place) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for part in ["library", "transforms"] {
        let Ok(entries) = std::fs::read_dir(place.results().join(part)) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path().join("products.parquet");
            if let Ok(meta) = path.metadata() {
                found.insert(path, meta.ino());
            }
        }
    }
    found
}

fn start(mut command: Command, log: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    command
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// What happened on the way to a complete run.
#[derive(Default)]
struct Disturbed {
    kills: u32,
    /// Tables that were there before a start and others after it.
    made_again: usize,
}

/// Starts the engine until it ends undisturbed, with at most `kills` kills on the way, one to a start.
fn disturb(
    place: &Place,
    engine: &dyn Fn() -> Command,
    signal: Signal,
    kills: u32,
    random: &mut Random,
) -> Disturbed {
    let log = place.dir().join("engine.log");
    let mut happened = Disturbed::default();
    loop {
        let before = tables(place);
        let mut child = start(engine(), &log);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let moment = Instant::now() + Duration::from_millis(200 + random.below(4000));
        let mut struck = false;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if happened.kills < kills && !struck && Instant::now() >= moment {
                let tree = tree(pid);
                let victim = tree[usize::try_from(random.below(tree.len() as u64)).unwrap()];
                struck = kill(victim, signal).is_ok();
                happened.kills += u32::from(struck);
            }
            // The engine is watched, not waited for: a kill has to fall at its moment.
            std::thread::sleep(Duration::from_millis(10));
        };
        let after = tables(place);
        let other = before
            .iter()
            .filter(|(path, inode)| after.get(*path).is_some_and(|now| now != *inode));
        happened.made_again += other.count();
        if !struck {
            let said = std::fs::read_to_string(&log).unwrap();
            let tail = said
                .lines()
                .rev()
                .take(40)
                .collect::<Vec<_>>()
                .into_iter()
                .rev();
            assert!(
                status.success(),
                "{status} without a kill:\n{}",
                tail.collect::<Vec<_>>().join("\n")
            );
            return happened;
        }
    }
}

fn survives(signal: Signal, kills: u32, engine: fn(&Place) -> Command, unlock: fn(&Place)) {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let seed = u64::from(now.subsec_nanos()) << 20 | 1;
    let mut random = Random(seed);
    let dir = scratch();
    let calm = Place::new(dir.path().join("calm"), MOLECULES);
    halocline_tests::run(&mut calm.drive());
    let wanted = calm.products();
    let mut left = kills;
    for round in 0.. {
        let place = Place::new(dir.path().join(format!("disturbed-{round}")), MOLECULES);
        let command = || {
            unlock(&place);
            engine(&place)
        };
        let happened = disturb(&place, &command, signal, left, &mut random);
        let got = place.products();
        for (path, bytes) in &wanted {
            assert!(
                got[path] == *bytes,
                "{} differs (seed {seed})",
                path.display()
            );
        }
        assert_eq!(place.temporaries(), Vec::<PathBuf>::new(), "seed {seed}");
        // A job that was done but not yet recorded when its engine died is made again: two cores, two such jobs a kill.
        let most = 2 * happened.kills as usize;
        assert!(
            happened.made_again <= most,
            "{} of at most {most} made again (seed {seed})",
            happened.made_again
        );
        left -= happened.kills;
        fs_err::remove_dir_all(place.dir()).unwrap();
        if left == 0 {
            break;
        }
    }
}

#[test]
fn drive_survives_kills() {
    survives(Signal::SIGKILL, kills(), Place::drive, |_| ());
}

#[test]
fn drive_survives_being_asked_to_stop() {
    survives(Signal::SIGTERM, kills().div_ceil(2), Place::drive, |_| ());
    survives(Signal::SIGINT, kills().div_ceil(2), Place::drive, |_| ());
}

#[test]
fn snakemake_survives_kills() {
    survives(
        Signal::SIGKILL,
        kills().div_ceil(2),
        Place::snakemake,
        Place::unlock,
    );
}
