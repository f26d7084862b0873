//! The frame of every `main`: parse, log, watch signals, run, report the error once, exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use clap::error::ErrorKind;
use halocline_budget::publish;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use crate::{Common, exit, progress};

/// How a run that met no error ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done: exit 0.
    Done,
    /// The data broke a contract, and this says which: exit 1.
    Broken(String),
    /// What was asked about is not complete yet, and this says how far it is: exit 1.
    Incomplete(String),
    /// A child process did the work, has said what there was to say, and ended with this exit code.
    Child(u8),
}

/// Text for clap's `version`: the workspace's version, then one line per extra fact, e.g.
/// `version("RDKit 2022.09.3")`. Kept for the life of the process; call it once, in the `command`
/// attribute.
#[must_use]
pub fn version(extra: &str) -> &'static str {
    let own = env!("CARGO_PKG_VERSION");
    if extra.is_empty() {
        return own;
    }
    Box::leak(format!("{own}\n{extra}").into_boxed_str())
}

/// Runs a binary: parses `A` (usage errors exit 2), starts the log on stderr, removes temporaries
/// and exits 130/143 on SIGINT/SIGTERM, calls `run`, and reports an error once, as a chain.
///
/// `on_signal` removes what the tool itself must remove; named temporaries of
/// `halocline_budget::publish` are removed here.
pub fn main<A: clap::Parser>(
    name: &str,
    common: fn(&A) -> &Common,
    on_signal: fn(),
    run: fn(A) -> anyhow::Result<Outcome>,
) -> ExitCode {
    let quiet_child = follow_parent();
    let args = match A::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to stdout and are no error; clap knows which.
            let _ = error.print();
            let help = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            return ExitCode::from(if help { exit::DONE } else { exit::USAGE });
        }
    };
    let flags = common(&args);
    if flags.no_progress {
        progress::silence();
    }
    let speaker = (!quiet_child).then(|| name.to_owned());
    if let Err(error) = start_log(flags).and_then(|()| watch_signals(speaker, on_signal)) {
        complain(name, &format!("error: {error:#}"));
        return ExitCode::from(exit::USAGE);
    }
    match run(args) {
        Ok(Outcome::Done) => ExitCode::from(exit::DONE),
        Ok(Outcome::Child(code)) => ExitCode::from(code),
        Ok(Outcome::Incomplete(what)) => {
            complain(name, &what);
            ExitCode::from(exit::BROKEN)
        }
        Ok(Outcome::Broken(what)) => {
            complain(name, &format!("broken: {what}"));
            ExitCode::from(exit::BROKEN)
        }
        Err(error) => {
            complain(name, &format!("error: {error:#}"));
            ExitCode::from(exit::USAGE)
        }
    }
}

/// Name of the environment variable in which a parent puts its process id to have its children
/// killed when it dies, however it dies (`halo-drive`).
pub const PARENT_VARIABLE: &str = "HALOCLINE_PARENT";

/// When the parent named itself in [`PARENT_VARIABLE`], the kernel kills this process when that
/// parent dies: a job never outlives the engine that would count its result. In a grandchild that
/// inherited the variable it has no effect. Returns whether this process is that child.
fn follow_parent() -> bool {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    let named = std::env::var(PARENT_VARIABLE).ok();
    let Some(named) = named.and_then(|v| v.parse().ok()).and_then(Pid::from_raw) else {
        return false;
    };
    let is_child = getppid() == Some(named);
    if is_child {
        // Where the kernel does not know the request, the job outlives its parent and writes the
        // same bytes under the same name; nothing is lost but time.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
    let died = if is_child {
        getppid() != Some(named)
    } else {
        !is_running(named)
    };
    if died {
        // It died before the request was in place.
        signal_hook::low_level::exit(i32::from(exit::SIGTERM));
    }
    is_child
}

/// Whether a process has not ended. One that has ended but was not waited for still takes signals,
/// so that its state is asked for; without /proc it counts as running.
fn is_running(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let Ok(stat) = stat else {
        return rustix::process::test_kill_process(pid).is_ok();
    };
    // The state stands behind the name, which is in parentheses and may hold anything.
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X'))
}

fn complain(name: &str, text: &str) {
    // A closed stderr leaves nobody to tell; the exit code still speaks.
    let _ = writeln!(io::stderr().lock(), "{name}: {}", legible(text));
}

/// Writes to stdout. A reader that has gone away (`| head`) is no error.
///
/// # Errors
/// Any other failure, with the number of bytes.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).with_context(|| format!("cannot write {} bytes to stdout", text.len()))
        }
        _ => Ok(()),
    }
}

/// Most bytes of a message; a key of a hostile file can be as long as the file.
const MOST_MESSAGE_BYTES: usize = 4 << 10;

/// The text of an error as a terminal may show it: messages quote what stands in files, and a file can hold escape
/// sequences. Control characters other than line breaks are escaped; what is too long loses its middle.
#[must_use]
pub fn legible(text: &str) -> String {
    let shown = |c: char| -> String {
        if c.is_control() && c != '\n' {
            c.escape_default().collect()
        } else {
            c.into()
        }
    };
    if text.len() <= MOST_MESSAGE_BYTES {
        return text.chars().map(shown).collect();
    }
    // The end holds the cause and the hint.
    let head = text.floor_char_boundary(MOST_MESSAGE_BYTES / 2);
    let tail = text.ceil_char_boundary(text.len() - MOST_MESSAGE_BYTES / 2);
    let mut out: String = text[..head].chars().map(shown).collect();
    out.push_str(&format!(" [… {} bytes …] ", tail - head));
    out.extend(text[tail..].chars().map(shown));
    out
}

fn start_log(flags: &Common) -> anyhow::Result<()> {
    let text = flags.filter();
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| anyhow::anyhow!("`{text}` is no log level: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        // Of a line that cannot be written it would tell stderr, and panic where that is what cannot be written to.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    let installed = if io::stderr().is_terminal() {
        builder
            .with_writer(Mutex::new(progress::BesideBars))
            .without_time()
            .try_init()
    } else {
        builder.with_writer(io::stderr).try_init()
    };
    installed.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// Says once, where there is somebody to hear it, why the process ends. By a thread of its own that is not waited for
/// long: a stderr that nobody empties must not keep the process from ending.
fn say_stopped(name: String, signal: i32) {
    let (said, heard) = std::sync::mpsc::channel();
    let speak = move || {
        let why = if signal == SIGINT {
            "interrupted (SIGINT)"
        } else {
            "ended from outside (SIGTERM)"
        };
        complain(&name, &format!("{why}; its temporary files are removed"));
        let _ = said.send(());
    };
    let thread = std::thread::Builder::new().stack_size(64 << 10);
    if thread.spawn(speak).is_ok() {
        let _ = heard.recv_timeout(Duration::from_millis(500));
    }
}

/// `speaker` is the name to speak under, `None` where the parent speaks.
fn watch_signals(speaker: Option<String>, on_signal: fn()) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| anyhow::anyhow!("cannot watch SIGINT and SIGTERM: {error}"))?;
    std::thread::Builder::new()
        .name("signals".into())
        .stack_size(64 << 10)
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                on_signal();
                publish::remove_temporaries();
                if let Some(name) = speaker {
                    say_stopped(name, signal);
                }
                let code = if signal == SIGINT {
                    exit::SIGINT
                } else {
                    exit::SIGTERM
                };
                // `_exit`: destructors of C++ statics must not run under threads that use them.
                signal_hook::low_level::exit(i32::from(code));
            }
        })
        .map_err(|error| anyhow::anyhow!("cannot start the signal thread: {error}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Args {
        #[command(flatten)]
        common: Common,
    }

    #[test]
    fn flags_become_a_filter_and_a_limit() {
        let parse = |text: &str| Args::try_parse_from(text.split(' ')).map(|a| a.common);
        assert_eq!(parse("x").unwrap().filter(), "info");
        assert_eq!(parse("x -vv").unwrap().filter(), "trace");
        assert_eq!(parse("x -q").unwrap().filter(), "warn");
        assert_eq!(parse("x --log-level debug").unwrap().filter(), "debug");
        let filter = "warn,halocline_drive=debug";
        let given = parse(&format!("x --log-level {filter}")).unwrap();
        assert_eq!(given.filter(), filter);
        let limit = parse("x --memory-limit 64MiB").unwrap().limit();
        assert_eq!(limit.bytes(), 64 << 20);
        for bad in [
            "x --memory-limit 64",
            "x --memory-limit 0MiB",
            "x -v -q",
            "x --log-level wrn",
            "x --log-level x=debug,wrn",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_cannot_drive_the_terminal() {
        assert_eq!(
            legible("unknown field `\u{1b}[2J\u{9b}`\nhint: é"),
            "unknown field `\\u{1b}[2J\\u{9b}`\nhint: é"
        );
        let long = format!("key `{}` is unknown", "é".repeat(100_000));
        let shown = legible(&long);
        assert!(shown.len() < MOST_MESSAGE_BYTES + 64, "{}", shown.len());
        assert!(shown.starts_with("key `é") && shown.ends_with("` is unknown"));
    }

    #[test]
    fn version_lines_are_added() {
        assert_eq!(version(""), env!("CARGO_PKG_VERSION"));
        assert!(version("RDKit 1.2").ends_with("\nRDKit 1.2"));
    }
}
