//! Starts one command under a cap, waits for it, and writes what the kernel measured. Part of the memory harness
//! (`halocline_tests::memory`), which says why this is a process of its own.
//!
//! `capped-child --out FILE [--cgroup DIR] [--address-space BYTES] -- PROGRAM ARG...`

use anyhow::{Context, Result, bail};
use halocline_tests::memory::Measured;
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Instant;

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let mut value = |flag: &str| args.next().with_context(|| format!("{flag} needs a value"));
    let (mut out, mut cgroup, mut address_space) = (None, None, None);
    loop {
        let flag = value("the command line")?;
        match flag.to_str() {
            Some("--out") => out = Some(value("--out")?),
            Some("--cgroup") => cgroup = Some(value("--cgroup")?),
            Some("--address-space") => address_space = Some(value("--address-space")?),
            Some("--") => break,
            _ => bail!("unknown flag {flag:?}"),
        }
    }
    let out = out.context("--out is missing")?;
    let program: Vec<OsString> = args.collect();
    if let Some(bytes) = address_space {
        let bytes: u64 = bytes.to_str().context("--address-space")?.parse()?;
        setrlimit(Resource::RLIMIT_AS, bytes, bytes)?;
    }
    // A shell moves itself into the group and becomes the command, so that the command is charged from its first page on
    // and this helper is not.
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        r#"[ -z "$0" ] || echo $$ > "$0/cgroup.procs" || exit 97; exec "$@""#,
    ]);
    command.arg(cgroup.unwrap_or_default()).args(program);
    let start = Instant::now();
    let status = command.status()?;
    let wall_seconds = start.elapsed().as_secs_f64();
    if status.code() == Some(97) {
        bail!("cannot move into the cgroup");
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let measured = Measured {
        peak_rss_bytes: u64::try_from(usage.max_rss())? * 1024, // Linux reports KiB
        cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
        wall_seconds,
        exit_code: status.code(),
        signal: status.signal(),
    };
    fs_err::write(&out, serde_json::to_vec(&measured)?)?;
    Ok(())
}
