//! One job as a process: started with its log, waited for, and how it ended in words.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context as _, bail};
use halocline_cli::PARENT_VARIABLE;
use halocline_plan::Job;

use crate::children::Child;
use crate::record;

/// Starts one job and waits for it. Its output goes to its log.
pub(crate) fn execute(
    job: &Job,
    bin_dir: &Path,
    tmp_dir: Option<&Path>,
    attempt: u32,
) -> anyhow::Result<ExitStatus> {
    for file in job.outputs.values().flatten().chain([&job.log]) {
        if let Some(folder) = Path::new(file).parent() {
            record::make_folder(folder)?;
        }
    }
    let mut log = File::options()
        .create(true)
        .write(true)
        .append(attempt > 0)
        .truncate(attempt == 0)
        .open(&job.log)
        .with_context(|| format!("cannot open the log `{}`", job.log))?;
    let line = format!("$ {}\n", job.command.join(" "));
    log.write_all(line.as_bytes()).with_context(|| {
        format!(
            "cannot write the log `{}`: at least {} more bytes needed",
            job.log,
            line.len()
        )
    })?;
    let Some((program, arguments)) = job.command.split_first() else {
        bail!("{} has no command", job.id)
    };
    let mut command = duct::cmd(bin_dir.join(program), arguments)
        .stdin_null()
        .stdout_to_stderr()
        .stderr_file(log)
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .unchecked();
    if let Some(dir) = tmp_dir {
        command = command.env("TMPDIR", dir);
    }
    let handle = command
        .start()
        .with_context(|| format!("cannot start `{}`", bin_dir.join(program).display()))?;
    Ok(Child::register(&job.id, handle).wait()?)
}

/// How a process ended, for people.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(9)) => {
            "killed by signal 9 (by somebody, or by the kernel for want of memory)".into()
        }
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last line of a log, where a tool says why it gives up.
pub(crate) fn last_words(log: &str) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(4096)))?;
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    // An error may have a hint on its own line; the line that names the tool says what happened.
    let line = text
        .lines()
        .rev()
        .find(|l| l.starts_with("halo-"))
        .or_else(|| text.lines().rev().find(|l| !l.trim().is_empty()));
    match line {
        Some(line) if !line.starts_with("$ ") => format!(": {line}"),
        _ => String::new(),
    }
}
