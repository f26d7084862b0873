//! Processes of a run are killed at random moments and the run is started again, until it is done: the products must be
//! those of an undisturbed run, no temporary file may be left, and what was complete must not have been made again.
//!
//! A few kills in `make test`; `make torture` sets `HALOCLINE_KILLS=200`. That is the number of SIGKILLs, for both engines
//! together; a fifth as many signals to stop, SIGTERM and SIGINT in turn, come on top for each engine. `HALOCLINE_SEED`
//! repeats a run's choices (the moments also depend on the machine).

#![expect(clippy::unwrap_used, reason = "a failed precondition is a failed test")]
#![expect(clippy::print_stderr, reason = "stderr is where a test speaks")]

use halocline_tests::place::Place;
use halocline_tests::process::{Process, all_end, tree};
use halocline_tests::random::Random;
use halocline_tests::{bin, number, run, scratch};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// Molecules of each class: few in `make test`, since what is tested is what happens between the jobs and not in them; all
/// of np_700 in `make torture`.
fn molecules() -> usize {
    number("HALOCLINE_KILLS").map_or(4, |_| usize::MAX)
}
/// How long an engine may take to its end, disturbed or not.
const LONGEST_RUN: Duration = Duration::from_secs(600);
/// How long what a killed engine had started may live.
const LONGEST_ORPHAN: Duration = Duration::from_secs(2);

/// SIGKILLs for both engines together.
fn kills() -> u64 {
    number("HALOCLINE_KILLS").unwrap_or(5)
}

/// One of the tools at work; planning asks halo-drive, and halo-transform-shard for its version.
fn is_job(process: Process) -> bool {
    let name = process.name();
    ["halo-split", "halo-dedup", "halo-validate", "exe"]
        .iter()
        .any(|tool| name.starts_with(tool))
}

/// A moment that many milliseconds from now.
fn moment(random: &mut Random, range: &std::ops::Range<usize>) -> Instant {
    let pause = range.start + random.below(range.end - range.start);
    Instant::now() + Duration::from_millis(pause as u64)
}

/// The records of complete jobs, each with the moment at which its file was made. A job that is run again loses its
/// record first, and gets one in another file.
fn records(place: &Place) -> BTreeMap<PathBuf, SystemTime> {
    fn below(dir: &Path, found: &mut BTreeMap<PathBuf, SystemTime>) {
        for entry in std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            let path = entry.path();
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|e| e == "json")
                && let Ok(meta) = path.metadata()
            {
                found.insert(path, meta.created().unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    below(&place.results().join("work/jobs"), &mut found);
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

/// What is done to an engine.
struct Attack {
    engine: fn(&Place) -> Command,
    /// Sent in turn.
    kinds: &'static [Signal],
    signals: u64,
    /// Milliseconds to the next signal; of a start, from its first job on.
    pause: std::ops::Range<usize>,
    /// Whether nothing the engine started may outlive it.
    takes_all_along: bool,
}

/// What happened on the way to complete runs.
#[derive(Default)]
struct Happened {
    signals: u64,
    starts: u64,
    /// Signals by the name of the process that got them.
    victims: BTreeMap<String, u64>,
}

/// Starts the engine again and again until everything is complete, with at most `signals` signals on the way.
fn disturb(place: &Place, attack: &Attack, signals: u64, random: &mut Random) -> Happened {
    let log = place.dir().join("engine.log");
    let mut happened = Happened::default();
    loop {
        let before = records(place);
        let mut child = start((attack.engine)(place), &log);
        happened.starts += 1;
        let begun = Instant::now();
        // An engine that starts slowly would be hit in its start alone: that is one signal in eight.
        let mut next = (random.below(8) == 0).then(|| moment(random, &attack.pause));
        let mut struck = 0;
        let mut family = BTreeSet::new();
        let status = loop {
            let members = tree(child.id());
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if next.is_none() && members.iter().any(|p| is_job(*p)) {
                next = Some(moment(random, &attack.pause));
            }
            let is_time = next.is_some_and(|m| Instant::now() >= m);
            if happened.signals < signals && is_time && !members.is_empty() {
                let victim = members[random.below(members.len())];
                let name = victim.name();
                let turn = usize::try_from(happened.signals).unwrap();
                let signal = attack.kinds[turn % attack.kinds.len()];
                if victim.signal(signal) {
                    struck += 1;
                    happened.signals += 1;
                    let what = format!("{} {name}", signal.as_str());
                    *happened.victims.entry(what).or_default() += 1;
                }
                next = Some(moment(random, &attack.pause));
            }
            family.extend(members);
            assert!(
                begun.elapsed() < LONGEST_RUN,
                "the engine does not end:\n{}",
                tail(&log)
            );
            // The engine is watched, not waited for: a signal has to fall at its moment.
            std::thread::sleep(Duration::from_millis(10));
        };
        if attack.takes_all_along {
            outlive_nothing(&family);
        }
        let after = records(place);
        let again: Vec<&PathBuf> = before
            .iter()
            .filter(|(path, made)| after.get(*path) != Some(*made))
            .map(|(path, _)| path)
            .collect();
        assert!(
            again.is_empty(),
            "after {struck} signals these were complete and are not, or were made again: {again:?}\n{}",
            tail(&log)
        );
        assert!(
            status.success() || struck > 0,
            "{status} undisturbed:\n{}",
            tail(&log)
        );
        if status.success() {
            return happened;
        }
    }
}

/// None of the processes lives much longer.
fn outlive_nothing(family: &BTreeSet<Process>) {
    if let Err(alive) = all_end(family, LONGEST_ORPHAN) {
        panic!("these outlive their engine: {alive}");
    }
}

fn tail(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

const KILL: &[Signal] = &[Signal::SIGKILL];
const STOP: &[Signal] = &[Signal::SIGTERM, Signal::SIGINT];

/// The products of a run that nothing disturbed.
fn undisturbed() -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static PRODUCTS: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    PRODUCTS.get_or_init(|| {
        let dir = scratch();
        let calm = Place::new(dir.path().join("calm"), molecules());
        run(&mut calm.drive());
        calm.products()
    })
}

fn survives(attack: &Attack) {
    let mut random = Random::seeded(&format!("{} x {:?}", attack.signals, attack.kinds));
    let seed = random.seed();
    let dir = scratch();
    let wanted = undisturbed();
    let begun = Instant::now();
    let mut total = Happened::default();
    let mut rounds = 0;
    while total.signals < attack.signals {
        rounds += 1;
        let place = Place::new(dir.path().join(format!("disturbed-{rounds}")), molecules());
        let happened = disturb(&place, attack, attack.signals - total.signals, &mut random);
        assert!(
            place.results().join("library").is_dir(),
            "the engine ended well without results (seed {seed}):\n{}",
            tail(&place.dir().join("engine.log"))
        );
        let got = place.products();
        for (path, bytes) in wanted {
            assert!(
                got[path] == *bytes,
                "{} differs (seed {seed})",
                path.display()
            );
        }
        assert_eq!(place.temporaries(), Vec::<PathBuf>::new(), "seed {seed}");
        // Every record, output and checksum agrees.
        let mut status = Command::new(bin("halo-drive"));
        run(status
            .args(["status", "--config", "pipeline.yaml", "--checksums"])
            .current_dir(place.dir()));
        total.signals += happened.signals;
        total.starts += happened.starts;
        for (name, n) in happened.victims {
            *total.victims.entry(name).or_default() += n;
        }
        fs_err::remove_dir_all(place.dir()).unwrap();
    }
    eprintln!(
        "{} signals in {rounds} runs, {} starts, {:.0} s: products equal, nothing made again, to {:?}",
        total.signals,
        total.starts,
        begun.elapsed().as_secs_f64(),
        total.victims
    );
}

fn drive(kinds: &'static [Signal], signals: u64) -> Attack {
    Attack {
        engine: Place::drive,
        kinds,
        signals,
        pause: 0..2500,
        takes_all_along: true,
    }
}

/// What it started goes on without it where there is no `setpriv`.
fn snakemake(kinds: &'static [Signal], signals: u64) -> Attack {
    Attack {
        engine: Place::snakemake,
        kinds,
        signals,
        pause: 0..3000,
        takes_all_along: false,
    }
}

#[test]
fn drive_survives_kills() {
    survives(&drive(KILL, kills() - kills() * 2 / 5));
}

#[test]
fn drive_survives_being_asked_to_stop() {
    survives(&drive(STOP, kills().div_ceil(10) * 2));
}

#[test]
fn snakemake_survives_kills() {
    survives(&snakemake(KILL, kills() * 2 / 5));
}

#[test]
fn snakemake_survives_being_asked_to_stop() {
    survives(&snakemake(STOP, kills().div_ceil(10) * 2));
}

/// One library and one rule of it, with jobs that take seconds.
fn one_rule(place: &Place) -> Command {
    let mut drive = place.drive();
    drive.args([
        "--only",
        "polyphenol-2X/FG_PHENOL_OH__OH__TO__OMe",
        "--until",
        "merge",
    ]);
    drive
}

#[test]
fn nothing_outlives_a_killed_drive() {
    const LONG: Duration = Duration::from_millis(300);
    const PRODUCTS: &str = "transforms/polyphenol-2X_FG_PHENOL_OH__OH__TO__OMe/products.parquet";
    let dir = scratch();
    let [calm, place] = ["calm", "killed"].map(|name| Place::new(dir.path().join(name), 60));
    run(&mut one_rule(&calm));
    let log = place.dir().join("engine.log");
    let mut engine = start(one_rule(&place), &log);
    // A transform at work: its first process, and the worker that this one watches.
    let family = loop {
        let members = tree(engine.id());
        let long = |p: &&Process| p.name().starts_with("halo-transform") && p.age() > LONG;
        if members.iter().filter(long).count() >= 2 {
            break members;
        }
        assert!(
            engine.try_wait().unwrap().is_none(),
            "no transform was seen:\n{}",
            tail(&log)
        );
        std::thread::sleep(Duration::from_millis(5));
    };
    engine.kill().unwrap();
    engine.wait().unwrap();
    outlive_nothing(&family.into_iter().collect());
    run(&mut one_rule(&place));
    let bytes = |place: &Place| fs_err::read(place.results().join(PRODUCTS)).unwrap();
    assert!(bytes(&place) == bytes(&calm), "other products after a kill");
    assert_eq!(place.temporaries(), Vec::<PathBuf>::new());
}
